/** Checks of what layers are made with and fed with. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";

/**
 * The number, if it is an integer of at least the least value.
 *
 * @param owner the layer, for the message
 * @param name the argument, for the message
 * @param value what was given
 * @param least the least value
 * @returns the value
 * @throws {RangeError} if it is no such integer
 */
export function checkInteger(owner: string, name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(
      `Cannot make ${owner} with ${name} ${value}: expected an integer of at least ${least}`,
    );
  }
  return value;
}

/**
 * The number, if it lies between two bounds, both included.
 *
 * @param owner the layer, for the message
 * @param name the argument, for the message
 * @param value what was given
 * @param range the bounds
 * @returns the value
 * @throws {RangeError} if it does not, or is NaN
 */
export function checkNumber(
  owner: string,
  name: string,
  value: number,
  [low, high]: readonly [number, number] = [-Infinity, Infinity],
): number {
  if (typeof value !== "number" || !(value >= low && value <= high)) {
    throw new RangeError(
      `Cannot make ${owner} with ${name} ${value}: expected a number from ${low} to ${high}`,
    );
  }
  return value;
}

/**
 * Checks the number of axes of an input, and the size of its axis of channels.
 *
 * @param owner the layer, for the message
 * @param x the input
 * @param ranks the numbers of axes that are allowed
 * @param channels the size of axis 1
 * @throws {ShapeError} if the input does not fit
 */
export function checkChannels(
  owner: string,
  x: Tensor,
  ranks: readonly [number, number],
  channels: number,
): void {
  const [low, high] = ranks;
  if (x.ndim >= low && x.ndim <= high && x.shape[1] === channels) return;
  const axes = low === high
    ? `${low}`
    : high === Infinity
    ? `at least ${low}`
    : `${low} to ${high}`;
  throw new ShapeError(
    `Cannot apply ${owner} to ${
      showShape(x.shape)
    }: expected ${axes} axes with ${channels} channels ` +
      "along axis 1",
  );
}
