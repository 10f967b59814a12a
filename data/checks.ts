/** Checks of options that several files share. */

/**
 * Checks that an option is a whole number in a range.
 *
 * @param action what cannot be done otherwise, as in "make a DataLoader"
 * @param name the option
 * @param value its value
 * @param least smallest value that it may have
 * @param most largest value that it may have
 * @throws {RangeError} when it is not such a number
 */
export function checkCount(
  action: string,
  name: string,
  value: number,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER
    ? `of at least ${least}`
    : `from ${least} to ${most}`;
  throw new RangeError(`Cannot ${action} as ${name} must be a whole number ${range}: got ${value}`);
}

/**
 * Checks that the fractions of a split are above 0, and all of the data set together.
 *
 * @param fractions the share of each part
 * @throws {RangeError} when they are not
 */
export function checkFractions(fractions: readonly number[]): void {
  const sum = fractions.reduce((total, fraction) => total + fraction, 0);
  if (fractions.every((fraction) => fraction > 0) && Math.abs(sum - 1) < 1e-9) return;
  throw new RangeError(
    "Cannot split the data set as fractions must be above 0 with a sum of 1: " +
      `got [${fractions.join(", ")}]`,
  );
}

/**
 * Checks that a saved state comes from something with the same options; those that it leaves out may
 * be any.
 *
 * @param action what cannot be done otherwise, as in "load the state of a DataLoader"
 * @param saved the state
 * @param own what the state would be here
 * @param names the options
 * @throws {RangeError} when one differs
 */
export function checkSame<K extends string>(
  action: string,
  saved: { readonly [name in K]?: number },
  own: { readonly [name in K]: number },
  names: readonly K[],
): void {
  for (const name of names) {
    if (saved[name] === undefined || saved[name] === own[name]) continue;
    throw new RangeError(`Cannot ${action} as ${name} must be ${own[name]}: got ${saved[name]}`);
  }
}
