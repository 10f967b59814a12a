/** Checks of what schedules are made of. */

/** A number for the first group, which the others follow in proportion, or one for each group. */
export type PerGroup = number | readonly number[];

/** Fails unless an object holds only known options. */
export function checkNames(owner: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot make ${owner}: expected an object of options, found ${showValue(options)}`,
    );
  }
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new RangeError(
    `Cannot make ${owner} with unknown options ${unknown.join(", ")}: expected some of ${
      known.join(", ")
    }`,
  );
}

/** The number, if it lies between two bounds, both included. */
export function checkNumber(
  owner: string,
  name: string,
  value: unknown,
  [low, high]: readonly [number, number] = [-Number.MAX_VALUE, Number.MAX_VALUE],
): number {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot make ${owner} with ${name} ${showValue(value)}: expected a number`,
    );
  }
  if (value >= low && value <= high) return value;
  const range = high < Number.MAX_VALUE
    ? `a number from ${low} to ${high}`
    : low > -Number.MAX_VALUE
    ? `a finite number of at least ${low}`
    : "a finite number";
  throw new RangeError(`Cannot make ${owner} with ${name} ${value}: expected ${range}`);
}

/** The number, if it is whole and at least the least. */
export function checkCount(owner: string, name: string, value: unknown, least: number): number {
  if (typeof value !== "number") checkNumber(owner, name, value);
  else if (Number.isSafeInteger(value) && value >= least) return value;
  throw new RangeError(
    `Cannot make ${owner} with ${name} ${value}: expected a whole number from ${least}`,
  );
}

/** The flag, if it is one. */
export function checkFlag(owner: string, name: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new TypeError(
    `Cannot make ${owner} with ${name} ${showValue(value)}: expected true or false`,
  );
}

/** The word, if it is one of some. */
export function checkWord<W extends string>(
  owner: string,
  name: string,
  value: unknown,
  words: readonly W[],
): W {
  if (words.includes(value as W)) return value as W;
  throw new RangeError(
    `Cannot make ${owner} with ${name} ${showValue(value)}: expected one of ${words.join(", ")}`,
  );
}

/** The rate or rates, if all are finite numbers of at least the least; a list is copied. */
export function checkRates(owner: string, name: string, value: unknown, least = 0): PerGroup {
  const high = Number.MAX_VALUE;
  if (!Array.isArray(value)) return checkNumber(owner, name, value, [least, high]);
  if (value.length === 0) {
    throw new RangeError(
      `Cannot make ${owner} with an empty list for ${name}: expected a number for each group`,
    );
  }
  return value.map((v, i) => checkNumber(owner, `${name}[${i}]`, v, [least, high]));
}

/** How a value reads in a message. */
export function showValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? `a list of ${value.length}` : "an object";
}
