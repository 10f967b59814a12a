/** What the examples share: a table of flags, the help text made of it, and one sentence for an error. */

import { parseArgs } from "@std/cli/parse-args";

/** How the value of a flag is read, and what the help says about it. */
export interface Flag<T> {
  /** What stands behind the flag in the help text; "" for a switch. */
  readonly value: string;
  /** What the flag does. */
  readonly help: string;
  /** The text of a flag that was not given; null where that gives undefined, or false for a switch. */
  readonly fallback: string | null;
  /** The value of a text. @throws {RangeError} saying what was expected */
  readonly read: (text: string, name: string) => T;
  /** Whether a run that goes on may have another value than before. */
  readonly free?: boolean;
}

/** The values of a table of flags. */
export type Values<F> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

/** The error of a value that a flag cannot have. */
function unfit(name: string, text: string, expected: string): RangeError {
  return new RangeError(`Cannot use --${name} ${text}: expected ${expected}`);
}

/** A number of at least `least`. */
export function numberFlag(least: number, fallback: number, help: string): Flag<number> {
  const read = (text: string, name: string) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least && value < Infinity) return value;
    throw unfit(name, text, `a number of at least ${least}`);
  };
  return { value: "X", help, fallback: `${fallback}`, read };
}

/** A whole number of at least `least`; undefined where there is no fallback. */
export function countFlag(least: number, fallback: number, help: string): Flag<number>;
export function countFlag(least: number, fallback: null, help: string): Flag<number | undefined>;
export function countFlag(least: number, fallback: number | null, help: string): Flag<number> {
  const read = (text: string, name: string) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
    throw unfit(name, text, `a whole number of at least ${least}`);
  };
  return { value: "N", help, fallback: fallback === null ? null : `${fallback}`, read };
}

/** One of some words; undefined where there is no fallback. */
export function choiceFlag<const T extends string>(
  choices: readonly T[],
  fallback: T,
  help: string,
): Flag<T>;
export function choiceFlag<const T extends string>(
  choices: readonly T[],
  fallback: null,
  help: string,
): Flag<T | undefined>;
export function choiceFlag<const T extends string>(
  choices: readonly T[],
  fallback: T | null,
  help: string,
): Flag<T> {
  const read = (text: string, name: string) => {
    const choice = choices.find((c) => c === text);
    if (choice === undefined) throw unfit(name, text, choices.join(", "));
    return choice;
  };
  return { value: "NAME", help: `${help}: ${choices.join(", ")}`, fallback, read };
}

/** Any text, such as a path; undefined where there is no fallback. */
export function textFlag(fallback: string, help: string): Flag<string>;
export function textFlag(fallback: null, help: string): Flag<string | undefined>;
export function textFlag(fallback: string | null, help: string): Flag<string> {
  return { value: "TEXT", help, fallback, read: (text) => text };
}

/** A flag without a value, or with true or false behind an equals sign. */
export function switchFlag(help: string): Flag<boolean> {
  const read = (text: string, name: string) => {
    if (text === "true" || text === "false") return text === "true";
    throw unfit(name, text, "true or false");
  };
  return { value: "", help, fallback: "false", read };
}

/** A flag whose value may change when a run goes on. */
export function free<F extends Flag<unknown>>(flag: F): F {
  return { ...flag, free: true };
}

/** Flags that every example has. */
export const common = {
  seed: countFlag(0, 42, "seed of the weights, the order and all else that is drawn"),
  device: free(choiceFlag(["auto", "webgpu", "cpu", "reference"], "auto", "where it runs")),
  runs: free(textFlag("runs", "where the run folder is made")),
} as const;

/** A run that a program goes on with. */
export interface Earlier {
  /** How errors call it. */
  readonly name: string;
  /** The values of its flags. */
  readonly settings: Readonly<Record<string, unknown>>;
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** The help text of a program. */
function helpOf(purpose: string, flags: Readonly<Record<string, Flag<unknown>>>): string {
  const rows = Object.entries(flags).map(([name, { value, help, fallback }]) => [
    `  --${kebab(name)} ${value}`.trimEnd(),
    fallback === null || value === "" ? help : `${help} (${fallback})`,
  ]);
  rows.push(["  --json", "the last line of stdout is one JSON object"], ["  --help", "this text"]);
  const width = Math.max(...rows.map(([flag]) => flag.length)) + 2;
  return [purpose, "", ...rows.map(([flag, help]) => flag.padEnd(width) + help)].join("\n");
}

/** The values of the flags: what the command line says, else those of an earlier run, else fallbacks. */
function valuesOf<F extends Readonly<Record<string, Flag<unknown>>>>(
  flags: F,
  given: Readonly<Record<string, string>>,
  earlier: Earlier | null,
): Values<F> {
  return Object.fromEntries(
    Object.entries(flags).map(([key, { fallback, read, free }]) => {
      const [name, text] = [kebab(key), given[kebab(key)]];
      const own = text === undefined ? undefined : read(text, name);
      const known = earlier === null ? undefined : earlier.settings[key];
      if (earlier !== null && own !== undefined && own !== known && !free) {
        const before = known === undefined ? "none" : `--${name} ${known}`;
        throw new RangeError(
          `Cannot go on with ${earlier.name} and --${name} ${text}: expected ${before}, as it began`,
        );
      }
      if (own !== undefined) return [key, own];
      if (known !== undefined) return [key, read(`${known}`, name)];
      return [key, fallback === null ? undefined : read(fallback, name)];
    }),
  ) as Values<F>;
}

/** What the command line says, by flag. */
function parse(flags: Readonly<Record<string, Flag<unknown>>>) {
  const names = Object.keys(flags).map(kebab);
  const switches = Object.keys(flags).filter((key) => flags[key].value === "").map(kebab);
  const { json, help, _: _rest, ...args } = parseArgs(Deno.args, {
    string: names.filter((name) => !switches.includes(name)),
    boolean: ["json", "help", ...switches],
    unknown: (arg) => {
      throw new TypeError(`Cannot understand "${arg}": expected the flags that --help lists`);
    },
  });
  // A switch that nobody gave is there, too.
  const wasGiven = (name: string) =>
    Deno.args.some((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`));
  const given = Object.entries(args).filter(([name]) => wasGiven(name));
  return { json, help, given: Object.fromEntries(given.map(([name, v]) => [name, `${v}`])) };
}

/**
 * Runs a program: reads the command line by a table of flags, and prints what `main` gives, as a table
 * or as JSON. An error is one sentence on stderr, and exit code 1.
 *
 * @param purpose what the program does, for --help
 * @param flags the flags by name
 * @param main the program; gives the numbers to print
 * @param earlierOf the run that goes on, from what the command line says; null for a new one
 */
export async function program<F extends Readonly<Record<string, Flag<unknown>>>>(
  purpose: string,
  flags: F,
  main: (values: Values<F>) => Promise<Record<string, unknown>>,
  earlierOf: (given: Readonly<Record<string, string>>) => Earlier | null = () => null,
): Promise<void> {
  try {
    const { json, help, given } = parse(flags);
    if (help) return console.log(helpOf(purpose, flags));
    const result = await main(valuesOf(flags, given, earlierOf(given)));
    if (json) console.log(JSON.stringify(result));
    else console.table(Object.entries(result).map(([name, value]) => ({ name, value })));
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    Deno.exitCode = 1;
  }
}
