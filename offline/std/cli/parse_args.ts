/**
 * Command line flags over `node:util`, with the signature of `@std/cli/parse-args`.
 *
 * @module
 */

import { parseArgs as tokenize } from "node:util";

/** Options of {@linkcode parseArgs}. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  D extends Record<string, unknown> = Record<string, unknown>,
> {
  /** Flags without a value; false when absent. */
  boolean?: ReadonlyArray<B>;
  /** Flags whose value stays text; `""` when the value is missing. */
  string?: ReadonlyArray<S>;
  /** Values of absent flags. */
  default?: D;
  /** Other names of a flag. */
  alias?: Record<string, string | ReadonlyArray<string>>;
  /** Flags that `--no-NAME` sets to false. */
  negatable?: ReadonlyArray<string>;
  /** Called for each argument that no option declares; false drops it. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Parsed flags by name, and the arguments that belong to none under `_`. */
export type Args<
  B extends string = string,
  S extends string = string,
  D extends Record<string, unknown> = Record<string, unknown>,
> =
  & { [K in S]: K extends keyof D ? string | D[K] : string | undefined }
  & { [K in B]: K extends keyof D ? boolean | D[K] : boolean }
  & { [K in Exclude<keyof D, S | B>]: unknown }
  & Record<string, unknown>
  & { _: Array<string | number> };

type Token = NonNullable<ReturnType<typeof tokenize>["tokens"]>[number];
type OptionToken = Extract<Token, { kind: "option" }>;

interface Names {
  boolean: Set<string>;
  string: Set<string>;
  negatable: Set<string>;
  others: Map<string, string[]>;
}

/**
 * Parses command line arguments.
 *
 * @param args the arguments, as in `Deno.args`
 * @param options which flags there are
 * @returns values by name; what belongs to no flag under `_`, numbers where it looks like one
 *
 * @example
 * ```ts
 * import { parseArgs } from "@std/cli/parse-args";
 *
 * const flags = parseArgs(["--epochs", "3", "--json"], { string: ["epochs"], boolean: ["json"] });
 * if (flags.epochs !== "3" || !flags.json) throw new Error("Unexpected flags");
 * ```
 */
export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const D extends Record<string, unknown> = Record<never, never>,
>(args: string[], options: ParseOptions<B, S, D> = {}): Args<B, S, D> {
  const names = collectNames(options as ParseOptions);
  const result: Record<string, unknown> & { _: Array<string | number> } = { _: [] };
  const { tokens } = tokenize({ args, strict: false, allowPositionals: true, tokens: true });
  const unknown = options.unknown ?? ((): boolean => true);
  let ended = false;

  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (token.kind === "option-terminator") {
      ended = true;
    } else if (token.kind === "positional") {
      if (ended) result._.push(token.value);
      else if (unknown(token.value) !== false) result._.push(plain(token.value, names, "_"));
    } else {
      const { name, value, used } = readOption(token, tokens[i + 1], names);
      if (used) i++;
      const declared = names.boolean.has(name) || names.string.has(name) || names.others.has(name);
      if (!declared && unknown(args[token.index], name, value) === false) continue;
      assign(result, names, name, typeof value === "string" ? plain(value, names, name) : value);
    }
  }
  for (const [name, value] of Object.entries(options.default ?? {})) {
    if (!Object.hasOwn(result, name)) assign(result, names, name, value);
  }
  for (const name of names.boolean) {
    if (!Object.hasOwn(result, name)) result[name] = false;
  }
  return result as unknown as Args<B, S, D>;
}

function readOption(
  token: OptionToken,
  next: Token | undefined,
  names: Names,
): { name: string; value: unknown; used: boolean } {
  const negated = token.rawName.startsWith("--no-") ? token.rawName.slice(5) : "";
  if (names.negatable.has(negated)) return { name: negated, value: false, used: false };
  const name = token.name;
  const isBoolean = names.boolean.has(name);
  if (token.value !== undefined) {
    return { name, value: isBoolean ? token.value !== "false" : token.value, used: false };
  }
  // The value is the next argument, unless that one is a flag or belongs to "-ab"'s second letter
  const text = next?.kind === "positional" && next.index === token.index + 1
    ? next.value
    : undefined;
  if (text !== undefined && isBoolean && (text === "true" || text === "false")) {
    return { name, value: text === "true", used: true };
  }
  if (text !== undefined && !isBoolean) return { name, value: text, used: true };
  return { name, value: names.string.has(name) ? "" : true, used: false };
}

function collectNames(options: ParseOptions): Names {
  const others = new Map<string, string[]>();
  for (const [name, alias] of Object.entries(options.alias ?? {})) {
    const all = [name, ...(typeof alias === "string" ? [alias] : alias)];
    for (const each of all) others.set(each, all.filter((other) => other !== each));
  }
  function withAliases(list: ReadonlyArray<string> = []): Set<string> {
    return new Set(list.flatMap((name) => [name, ...(others.get(name) ?? [])]));
  }
  return {
    boolean: withAliases(options.boolean),
    string: withAliases(options.string),
    negatable: withAliases(options.negatable),
    others,
  };
}

function assign(
  result: Record<string, unknown>,
  names: Names,
  name: string,
  value: unknown,
): void {
  for (const each of [name, ...(names.others.get(name) ?? [])]) {
    Object.defineProperty(result, each, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}

function plain(text: string, names: Names, name: string): string | number {
  if (names.string.has(name)) return text;
  const numeric = /^0x[0-9a-f]+$/i.test(text) ||
    /^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/.test(text);
  return numeric ? Number(text) : text;
}
