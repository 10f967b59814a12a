/** Values that can be stored as JSON without losing anything in silence. */

const MAX_DEPTH = 32;

/** A value that JSON can hold. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** How `toJsonValue` treats what JSON has no form for. */
export interface JsonValueOptions {
  /** Where NaN and infinities become the words "NaN", "Infinity" and "-Infinity"; else refused. */
  nonFiniteAsWords?: boolean;
}

/**
 * A copy of a value in the form in which JSON stores it.
 *
 * Properties that are `undefined` are left out, as absent ones; objects with `toJSON` give what it
 * returns; every other value without a JSON form is refused.
 *
 * @param value what to store
 * @param path what messages call the value, such as "params"
 * @param options how to treat NaN and infinities
 * @returns a copy of nothing but null, booleans, finite numbers, strings, arrays, plain objects
 * @throws {TypeError} naming the path of a value without a JSON form, such as `params.sizes[2]`
 * @throws {RangeError} if the value is nested deeper than 32 levels, as a circular one is
 */
export function toJsonValue(
  value: unknown,
  path: string,
  options: JsonValueOptions = {},
): JsonValue {
  return convert(value, path, 0, options);
}

/** `toJsonValue` of a plain object. */
export function toJsonObject(
  value: unknown,
  path: string,
  options: JsonValueOptions = {},
): Record<string, JsonValue> {
  if (typeof value !== "object" || value === null) refuse(path, "a plain object", value);
  const copy = convert(value, path, 0, options);
  if (typeof copy !== "object" || copy === null || Array.isArray(copy)) {
    refuse(path, "a plain object", value);
  }
  return copy as Record<string, JsonValue>;
}

function convert(
  value: unknown,
  path: string,
  depth: number,
  options: JsonValueOptions,
): JsonValue {
  if (depth > MAX_DEPTH) {
    throw new RangeError(
      `Cannot store ${path} as JSON: expected at most ${MAX_DEPTH} levels, found more or a cycle`,
    );
  }
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return convertNumber(value, path, options);
  if (typeof value !== "object") return refuse(path, "a value that JSON can hold", value);
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") {
    const plain = (value as { toJSON(): unknown }).toJSON();
    return convert(plain, path, depth + 1, options);
  }
  if (Array.isArray(value)) {
    return Array.from(value, (item, i) => convert(item, `${path}[${i}]`, depth + 1, options));
  }
  return convertObject(value, path, depth, options);
}

function convertNumber(value: number, path: string, options: JsonValueOptions): number | string {
  if (Number.isFinite(value)) return value;
  if (options.nonFiniteAsWords) return String(value);
  return refuse(path, "a finite number", value);
}

function convertObject(
  value: object,
  path: string,
  depth: number,
  options: JsonValueOptions,
): Record<string, JsonValue> {
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) refuse(path, "a plain object", value);
  const copy: Record<string, JsonValue> = {};
  for (const [key, item] of Object.entries(value)) {
    const itemPath = /^[\w$]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
    if (key === "__proto__") refuse(itemPath, "another name", item);
    if (item !== undefined) copy[key] = convert(item, itemPath, depth + 1, options);
  }
  return copy;
}

function refuse(path: string, expected: string, value: unknown): never {
  throw new TypeError(
    `Cannot store ${path} as JSON: expected ${expected}, found ${describeValue(value)}`,
  );
}

/** How a value reads in a message: itself when it is short, else its type or class. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(clip(value));
  if (value === null || ["number", "boolean", "undefined"].includes(typeof value)) {
    return String(value);
  }
  if (typeof value !== "object") return `a ${typeof value}`;
  const name = Object.getPrototypeOf(value)?.constructor?.name ?? "object";
  return `${/^[AEIOU]/i.test(name) ? "an" : "a"} ${name}`;
}

function clip(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
