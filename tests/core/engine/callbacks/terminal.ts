/** A terminal that interprets what is written to it, as far as a display needs one. */

/** What stands on the screen of a terminal, and scrolled out of it. */
export class Terminal {
  columns: number;
  readonly rows: number;
  /** Everything that was written. */
  written = "";
  /** Lines of the screen and above it; a line longer than the terminal is wide takes more rows. */
  lines: string[] = [""];
  #row = 0;
  #column = 0;

  constructor(columns: number, rows = 24) {
    this.columns = columns;
    this.rows = rows;
  }

  readonly write = (text: string): void => {
    this.written += text;
    // deno-lint-ignore no-control-regex -- what terminals are told
    for (const part of text.match(/\x1b\[[0-9;]*[A-Za-z]|[^]/gu) ?? []) this.#put(part);
  };

  /** The lines as a person reads them, without blanks at their ends. */
  get text(): string[] {
    const lines = this.lines.map((line) => line.trimEnd());
    while (lines.length > 1 && lines.at(-1) === "") lines.pop();
    return lines;
  }

  /** Row of the cursor, from 0. */
  get row(): number {
    return this.#row;
  }

  /** Gets narrower or wider, and breaks lines anew as terminals do: the cursor stays at its character. */
  resize(columns: number): void {
    const before = this.lines.slice(0, this.#row).flatMap((line) => broken(line, columns));
    const [own, ...after] = this.lines.slice(this.#row).map((line) => broken(line, columns));
    if (this.#column !== 0) throw new Error("a resize is known only with the cursor at column 0");
    this.lines = [...before, ...own, ...after.flat()];
    this.#row = before.length;
    this.columns = columns;
  }

  #put(part: string): void {
    // deno-lint-ignore no-control-regex -- what terminals are told
    const command = part.match(/^\x1b\[(\d*)([A-Za-z])$/);
    if (part === "\r") this.#column = 0;
    else if (part === "\n") this.#newLine();
    else if (command === null) this.#print(part);
    else if (command[2] === "K") this.#cut(this.#row, this.#column);
    else if (command[2] === "J") {
      this.#cut(this.#row, this.#column);
      this.lines.length = this.#row + 1;
    } else if (command[2] === "A") {
      // The top of the screen stops the cursor.
      const top = Math.max(0, this.lines.length - this.rows);
      this.#row = Math.max(top, this.#row - Number(command[1] || 1));
    } else if (command[2] !== "m") throw new Error(`unknown ${JSON.stringify(part)}`);
  }

  #newLine(): void {
    this.#row++;
    this.#column = 0;
    if (this.#row === this.lines.length) this.lines.push("");
  }

  #print(character: string): void {
    if (this.#column === this.columns) this.#newLine();
    const line = this.lines[this.#row].padEnd(this.#column);
    this.lines[this.#row] = line.slice(0, this.#column) + character + line.slice(this.#column + 1);
    this.#column++;
  }

  #cut(row: number, column: number): void {
    this.lines[row] = this.lines[row].slice(0, column);
  }
}

function broken(line: string, columns: number): string[] {
  const parts = Array.from(
    { length: Math.ceil(line.length / columns) },
    (_, i) => line.slice(i * columns, (i + 1) * columns),
  );
  return parts.length === 0 ? [""] : parts;
}
