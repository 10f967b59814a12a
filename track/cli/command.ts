/** What the commands share: flags, help, what they print to. */

/** Where a command prints. */
export interface Output {
  /** A line of what was asked for. */
  out(line: string): void;
  /** A line about how it goes. */
  err(line: string): void;
}

/** A flag of a command. */
export interface Flag {
  /** What stands behind it in the help text; "" for a switch. */
  readonly value: string;
  /** What it does. */
  readonly help: string;
  /** Whether it may be given more than once. @default {false} */
  readonly many?: boolean;
}

/** What a command line gave. */
export interface Input {
  /** The arguments that belong to no flag. */
  readonly args: readonly string[];
  /** The arguments behind "--". */
  readonly rest: readonly string[];
  /** The values of a flag, in their order. */
  all(flag: string): readonly string[];
  /** The value of a flag, if it was given. */
  text(flag: string): string | undefined;
  /** Whether a flag was given. */
  has(flag: string): boolean;
}

/** A command. */
export interface Command {
  /** What stands behind its name, such as "RUN". */
  readonly usage: string;
  /** What it does, in a sentence without a full stop. */
  readonly purpose: string;
  /** More lines for its help text. @default {none} */
  readonly details?: readonly string[];
  /** How many arguments it takes. */
  readonly count: readonly [least: number, most: number];
  /** Its flags by name. */
  readonly flags: Readonly<Record<string, Flag>>;
  /** Does it; gives the exit code. */
  run(input: Input, output: Output): number | Promise<number>;
}

/** The flag for the folder of the runs. */
export const dirFlag: Flag = { value: "FOLDER", help: "where the runs are (runs)" };
/** The flag for output that programs read. */
export const jsonFlag: Flag = { value: "", help: "print JSON" };

/** The help text of a command. */
export function helpOf(name: string, { usage, purpose, details = [], flags }: Command): string {
  const rows = Object.entries(flags).map(([flag, { value, help, many }]) => [
    `  --${flag}${value === "" ? "" : ` ${value}`}`,
    many ? `${help}; may be repeated` : help,
  ]);
  rows.push(["  --help", "this text"]);
  const head = `legoml ${name}${usage === "" ? "" : ` ${usage}`}`;
  return [head, "", `${purpose}.`, ...details, "", ...columns(rows)].join("\n");
}

/** Lines of two columns. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, right]) => left.padEnd(width) + right);
}

/**
 * Takes a command line apart: `--flag value`, `--flag=value`, switches, arguments, and behind "--" what
 * is for others. Nothing that the command does not know passes.
 *
 * @throws {TypeError} naming what does not fit
 */
export function parseLine(name: string, command: Command, line: readonly string[]): Input {
  const end = line.indexOf("--");
  const [own, rest] = end < 0 ? [line, []] : [line.slice(0, end), line.slice(end + 1)];
  const args: string[] = [];
  const values = new Map<string, string[]>();
  for (let i = 0; i < own.length; i++) {
    if (!own[i].startsWith("--")) {
      args.push(own[i]);
      continue;
    }
    const [, flag, given] = own[i].match(/^--([^=]*)(?:=([\s\S]*))?$/)!;
    const known = Object.hasOwn(command.flags, flag) ? command.flags[flag] : undefined;
    if (known === undefined) {
      const all = Object.keys(command.flags).map((each) => `--${each}`).join(", ");
      throw new TypeError(`Cannot understand --${flag}: ${name} has ${all} and --help`);
    }
    const before = values.get(flag) ?? [];
    if (before.length > 0 && !known.many) {
      throw new TypeError(`Cannot use --${flag} twice: expected it once`);
    }
    if (known.value === "" && given !== undefined) {
      throw new TypeError(`Cannot use --${flag}=${given}: expected no value`);
    }
    const text = known.value === "" ? "" : given ?? own[++i];
    if (text === undefined) {
      throw new TypeError(`Cannot use --${flag}: expected ${known.value} behind it`);
    }
    values.set(flag, [...before, text]);
  }
  const [least, most] = command.count;
  if (args.length < least || args.length > most) {
    const form = command.usage === "" ? "no arguments" : command.usage;
    throw new TypeError(
      `Cannot run ${name} with ${args.length} argument${args.length === 1 ? "" : "s"}: ` +
        `expected ${form}`,
    );
  }
  return {
    args,
    rest,
    all: (flag) => values.get(flag) ?? [],
    text: (flag) => values.get(flag)?.[0],
    has: (flag) => values.has(flag),
  };
}

/** The value of a flag as a whole number. @throws {RangeError} if it is none in the range */
export function wholeNumber(
  input: Input,
  flag: string,
  fallback: number,
  [least, most]: readonly [number, number] = [1, Number.MAX_SAFE_INTEGER],
): number {
  const text = input.text(flag);
  if (text === undefined) return fallback;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
  throw new RangeError(`Cannot use --${flag} ${text}: expected a whole number ${range}`);
}

/** A value as JSON; NaN and infinities become words. */
export function jsonText(value: unknown): string {
  const word = (_: string, item: unknown) =>
    typeof item === "number" && !Number.isFinite(item) ? String(item) : item;
  return JSON.stringify(value, word, 2);
}

/** Rows of cells as lines of equal columns; those of the numbered columns stand at the right. */
export function textTable(
  rows: readonly (readonly string[])[],
  numbers: readonly number[] = [],
): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => [...row[i]].length)));
  const cell = (text: string, i: number) => {
    const room = " ".repeat(widths[i] - [...text].length);
    return numbers.includes(i) ? room + text : text + room;
  };
  return rows.map((row) => row.map((text, i) => cell(plain(text), i)).join("  ").trimEnd())
    .join("\n");
}

/** Text without control characters, which could steer a terminal. */
export function plain(text: string): string {
  // deno-lint-ignore no-control-regex -- they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
}

/** Names in a sentence: at most ten, and how many more there are. */
export function naming(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(", ");
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}
