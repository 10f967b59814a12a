/**
 * Fields of nodes: what a value may be, and what it is where it was left out. One table of them
 * checks the options of a constructor and the JSON of a file alike.
 *
 * @module
 */

/** Something in the description of a model that cannot be used. */
export class NodeError extends TypeError {
  /** The name of the class. */
  override readonly name = "NodeError";

  /**
   * Made where a description is read.
   *
   * @param message the whole story
   * @param path where in the description, such as `TinyCNNNode.convBlocks[1].kernelSize`
   */
  constructor(message: string, readonly path: string) {
    super(message);
  }
}

/** How the value of a field is checked. */
export interface Field<T> {
  /** What a value must be, in words. */
  readonly expected: string;
  /** The value of a field that was left out; absent where it must be given. */
  readonly fallback?: () => T;
  /**
   * The value if it is allowed, as a copy where it could be changed from outside; undefined
   * otherwise.
   *
   * @param value what was given
   * @param path where, for messages of what lies deeper
   * @param depth how many nodes lie around it
   */
  readonly read: (value: unknown, path: string, depth: number) => T | undefined;
}

/** The fields of a node by name. */
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** The values of fields. */
export type FieldValues<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};

function field<T>(
  expected: string,
  read: Field<T>["read"],
  fallback: T | undefined,
): Field<T> {
  return fallback === undefined ? { expected, read } : { expected, read, fallback: () => fallback };
}

function isInteger(value: unknown, least: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/**
 * An integer.
 *
 * @param least the least value
 * @param fallback where it was left out
 * @returns the field
 */
export function integer(least: number, fallback?: number): Field<number> {
  const read = (value: unknown) => isInteger(value, least) ? value : undefined;
  return field(`an integer of at least ${least}`, read, fallback);
}

/**
 * A value of another field, or null, which is also what a left-out one is.
 *
 * @param field the other field
 * @returns the field
 */
export function orNull<T>(field: Field<T>): Field<T | null> {
  return {
    expected: `${field.expected}, or null`,
    read: (value, path, depth) => value === null ? null : field.read(value, path, depth),
    fallback: () => null,
  };
}

/**
 * A number between two bounds, both included.
 *
 * @param low the least value
 * @param high the greatest value
 * @param fallback where it was left out
 * @returns the field
 */
export function number(low: number, high: number, fallback?: number): Field<number> {
  const read = (value: unknown) =>
    typeof value === "number" && value >= low && value <= high ? value : undefined;
  return field(`a number from ${low} to ${high}`, read, fallback);
}

/**
 * True or false.
 *
 * @param fallback where it was left out
 * @returns the field
 */
export function boolean(fallback?: boolean): Field<boolean> {
  return field("true or false", (v) => typeof v === "boolean" ? v : undefined, fallback);
}

/**
 * One of some texts.
 *
 * @param allowed the texts
 * @param fallback where it was left out
 * @returns the field
 */
export function choice<T extends string>(allowed: readonly T[], fallback?: T): Field<T> {
  const read = (value: unknown) => allowed.find((text) => text === value);
  return field(allowed.map((text) => `"${text}"`).join(" or "), read, fallback);
}

/**
 * Integers in a list.
 *
 * @param least the least value of each
 * @param count the least length
 * @param fallback where it was left out
 * @returns the field
 */
export function integers(
  least: number,
  count: number,
  fallback?: readonly number[],
): Field<readonly number[]> {
  const read = (value: unknown) =>
    Array.isArray(value) && value.length >= count && value.every((n) => isInteger(n, least))
      ? [...value]
      : undefined;
  return field(`at least ${count} integers of at least ${least} in a list`, read, fallback);
}

/**
 * One integer for height and width, or [height, width].
 *
 * @param least the least value
 * @param fallback where it was left out
 * @returns the field
 */
export function pair(
  least: number,
  fallback?: number,
): Field<number | readonly [number, number]> {
  const read = (value: unknown): number | readonly [number, number] | undefined => {
    if (!Array.isArray(value)) return isInteger(value, least) ? value : undefined;
    const fits = value.length === 2 && value.every((n) => isInteger(n, least));
    return fits ? [value[0], value[1]] : undefined;
  };
  return field(`an integer of at least ${least}, or two of them in a list`, read, fallback);
}

/**
 * The values of all fields from an object that gives some of them.
 *
 * @param fields what is allowed
 * @param given the object; undefined counts as left out
 * @param path the place of the object, for messages
 * @param depth how many nodes lie around it
 * @returns a value for each field
 * @throws {NodeError} for the first field that is unknown, missing, or has a value that is not
 * allowed
 */
export function readFields<F extends Fields>(
  fields: F,
  given: Readonly<Record<string, unknown>>,
  path: string,
  depth = 0,
): FieldValues<F> {
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(fields, name)) continue;
    const known = Object.keys(fields).join(", ") || "none";
    throw new NodeError(
      `Cannot use ${path}: it has no field "${name}", expected fields among: ${known}`,
      path,
    );
  }
  const values = Object.entries(fields).map(([name, field]): [string, unknown] => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    return [name, readField(field, value, `${path}.${name}`, depth)];
  });
  return Object.fromEntries(values) as FieldValues<F>;
}

function readField(field: Field<unknown>, value: unknown, path: string, depth: number): unknown {
  if (value === undefined) {
    if (field.fallback !== undefined) return field.fallback();
    throw new NodeError(`Cannot use ${path}: expected ${field.expected}, found nothing`, path);
  }
  const read = field.read(value, path, depth);
  if (read !== undefined) return read;
  throw new NodeError(
    `Cannot use ${path}: expected ${field.expected}, found ${describe(value)}`,
    path,
  );
}

/** A value in few words. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) {
    const text = value.every((part) => typeof part === "number") ? `[${value.join(", ")}]` : "";
    return text !== "" && text.length <= 40 ? text : `a list of ${value.length}`;
  }
  if (typeof value === "string") return `"${value.length > 40 ? `${value.slice(0, 40)}…` : value}"`;
  if (typeof value === "object") return "an object";
  return typeof value === "function" ? "a function" : String(value);
}
