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
