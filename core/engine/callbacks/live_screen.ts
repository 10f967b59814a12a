/** Writing to a terminal: a block of lines in place, and where other output goes meanwhile. */

/** What a display needs of the system; browsers have none of it. */
interface System {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly noColor?: boolean;
  readonly permissions?: {
    querySync(which: { name: "env"; variable: string }): { readonly state: string };
  };
  readonly env?: { get(name: string): string | undefined };
  consoleSize(): { columns: number; rows: number };
}

interface Output {
  writeSync(bytes: Uint8Array): number;
  isTerminal(): boolean;
}

/** The size of a terminal that does not tell it. */
const USUAL = { columns: 80, rows: 24 };

/** Takes text that is to be shown. */
export type Write = (text: string) => void;

function system(): System | undefined {
  return (globalThis as { Deno?: System }).Deno;
}

/** Writes to standard output or standard error, or to the console where there is neither. */
export function writerTo(stream: "stdout" | "stderr"): Write {
  const output = system()?.[stream];
  if (output === undefined) return (text) => console.log(text.trimEnd());
  return (text) => {
    let bytes = new TextEncoder().encode(text);
    while (bytes.length > 0) bytes = bytes.subarray(output.writeSync(bytes));
  };
}

/** Whether standard error is a terminal that can move its cursor, for a person who looks at it. */
export function isLively(): boolean {
  if (system()?.stderr.isTerminal() !== true) return false;
  const term = environment("TERM");
  return term !== "dumb" && term !== "" && !environment("CI");
}

/** Whether nobody asked for text without colours. */
export function wantsColor(): boolean {
  return system()?.noColor !== true;
}

/** A variable of the environment, where the program may read it without asking a person. */
function environment(variable: string): string | undefined {
  const host = system();
  const allowed = host?.permissions?.querySync({ name: "env", variable }).state === "granted";
  return allowed ? host?.env?.get(variable) : undefined;
}

/** Columns and rows of the terminal as they are now. */
export function terminalSize(): { columns: number; rows: number } {
  try {
    const { columns, rows } = system()?.consoleSize() ?? USUAL;
    return { columns: columns || USUAL.columns, rows: rows || USUAL.rows };
  } catch {
    // Not the size of a terminal, such as that of a pipe.
    return USUAL;
  }
}

/** The screen that has a block now; two blocks at once would write over each other. */
let taken: LiveScreen | null = null;

/**
 * A block of lines that is drawn again in its place.
 *
 * The cursor waits in an empty line above the block. So a terminal that breaks lines anew when it
 * gets narrower changes nothing before it, and what others write is never overwritten: the next
 * drawing begins behind it. What goes through `console` meanwhile appears above the block.
 */
export class LiveScreen {
  readonly #write: Write;
  #lines: readonly string[] = [];
  #release: () => void;

  private constructor(write: Write) {
    this.#write = write;
    const undo = divertConsole((print) => this.#above(print));
    const leave = () => this.close();
    globalThis.addEventListener?.("unload", leave);
    this.#release = () => {
      undo();
      globalThis.removeEventListener?.("unload", leave);
      taken = null;
    };
  }

  /** Takes the screen, or gives null where another block is there. */
  static open(write: Write): LiveScreen | null {
    if (taken !== null) return null;
    return taken = new LiveScreen(write);
  }

  /** Puts the block of before in the place of the one that is there. */
  draw(lines: readonly string[]): void {
    const block = ["", ...lines].join("\x1b[K\n");
    this.#write(`\r${block}\x1b[J\x1b[${lines.length}A\r`);
    this.#lines = lines;
  }

  /** Leaves the block where it is, the cursor behind it, and gives the screen back. */
  close(): void {
    this.#release();
    this.#release = () => {};
    if (this.#lines.length > 0) this.#write(`\r${this.#lines.join("\x1b[K\n")}\x1b[J\n`);
    this.#lines = [];
  }

  #above(print: () => unknown): unknown {
    if (this.#lines.length === 0) return print();
    this.#write("\r\x1b[J");
    try {
      return print();
    } finally {
      this.draw(this.#lines);
    }
  }
}

type Printer = (...values: unknown[]) => unknown;

/** Lets `around` call every method of the console, until the returned function is called. */
function divertConsole(around: (print: () => unknown) => unknown): () => void {
  const methods = console as unknown as Record<string, Printer>;
  let inside = false;
  let on = true;
  const diverted = Object.entries(methods).filter(([, own]) => typeof own === "function").map(
    ([name, own]) => {
      const instead: Printer = (...values) => {
        const print = () => own.apply(console, values);
        // One method may call another.
        if (!on || inside) return print();
        inside = true;
        try {
          return around(print);
        } finally {
          inside = false;
        }
      };
      methods[name] = instead;
      return { name, own, instead };
    },
  );
  return () => {
    on = false;
    // A method that somebody has replaced since then is theirs.
    for (const { name, own, instead } of diverted) {
      if (methods[name] === instead) methods[name] = own;
    }
  };
}
