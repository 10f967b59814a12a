/** Other names for the tensors of a model, as other programs call them. */

/**
 * How keys are renamed: a function that gives the new key, or null to leave the tensor out; or a list of
 * rules, of which the first that fits counts. A text is replaced where it begins a key, a RegExp where it
 * matches, with `$1` in the replacement as in `String.replace`; a replacement of null leaves the tensor
 * out.
 */
export type KeyRename =
  | ((key: string) => string | null)
  | readonly (readonly [pattern: string | RegExp, replacement: string | null])[];

/**
 * Renames the keys of a record, such as those of a state dict.
 *
 * Keys that no rule fits stay as they are.
 *
 * @param record values by key
 * @param rename the new names
 * @returns the same values by their new keys, in the same order
 * @throws {TypeError} if a function gives neither a string nor null
 * @throws {RangeError} if two values get the same key
 *
 * @example What `DataParallel` and Lightning put before the keys
 * ```ts
 * import { renameKeys } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const saved = { "module.encoder.0.weight": 1, "module.head.weight": 2, "optimizer.step": 3 };
 * const named = renameKeys(saved, [
 *   ["optimizer.", null],
 *   [/^module\.encoder\.(\d+)/, "layers.$1"],
 *   ["module.", ""],
 * ]);
 * assertEquals(named, { "layers.0.weight": 1, "head.weight": 2 });
 * ```
 */
export function renameKeys<T>(
  record: Readonly<Record<string, T>>,
  rename: KeyRename,
): Record<string, T> {
  const newName = typeof rename === "function" ? rename : (key: string) => byRules(key, rename);
  const origin = new Map<string, string>();
  const renamed: [string, T][] = [];
  for (const [key, value] of Object.entries(record)) {
    const name: unknown = newName(key);
    if (name === null) continue;
    if (typeof name !== "string") {
      throw new TypeError(
        `Cannot rename "${key}": expected a string or null, found ${typeof name}`,
      );
    }
    const other = origin.get(name);
    if (other !== undefined) {
      throw new RangeError(
        `Cannot rename "${key}": expected a name of its own, found "${name}", which "${other}" has`,
      );
    }
    origin.set(name, key);
    renamed.push([name, value]);
  }
  return Object.fromEntries(renamed);
}

function byRules(key: string, rules: Exclude<KeyRename, (key: string) => unknown>): string | null {
  for (const [pattern, replacement] of rules) {
    const fits = typeof pattern === "string" ? key.startsWith(pattern) : key.search(pattern) >= 0;
    if (!fits) continue;
    if (replacement === null) return null;
    return typeof pattern === "string"
      ? replacement + key.slice(pattern.length)
      : key.replace(pattern, replacement);
  }
  return key;
}
