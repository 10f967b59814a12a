/** The debug ladder: how much the library tells of its work on standard error. */

import { environment, writeError } from "./host.ts";

const HIGHEST = 5;

/**
 * The level in force, in an object since it is asked for at every kernel call.
 *
 * 1 adapter, limits, seeds, captures; 2 every dispatch with its time and rates; 3 bytes at every submission, tape nodes; 4
 * the source of every kernel;
 * 5 minimum, maximum, mean and odd values of every output.
 */
export const debug: { level: number } = { level: initialLevel() };

function initialLevel(): number {
  const text = environment("LEGOML_DEBUG");
  if (text === undefined || text === "") return 0;
  const level = Number(text);
  if (isLevel(level)) return level;
  writeError(`legoml: LEGOML_DEBUG is left out: expected 0 to ${HIGHEST}, found "${text}"`);
  return 0;
}

function isLevel(level: number): boolean {
  return Number.isInteger(level) && level >= 0 && level <= HIGHEST;
}

/**
 * Sets how much the library tells of its work on standard error; the environment variable `LEGOML_DEBUG` sets it from the
 * start, where the program may read it. Each level includes those below it.
 *
 * | level | what is written                                                                                |
 * | ----- | ---------------------------------------------------------------------------------------------- |
 * | 1     | each device that is opened: features and limits; seeds; captured steps; kernels measured        |
 * | 2     | every kernel that ran: shapes, µs, GFLOP/s and GB/s, at once on the CPU, elsewhere at a read    |
 * | 3     | bytes in use at every submission; nodes of the tape as backward visits them                    |
 * | 4     | the WGSL of every kernel that is compiled; on the CPU the size and the tasks of its module     |
 * | 5     | minimum, maximum, mean, NaN and infinities of every output; slow, since each is read           |
 *
 * @param level a whole number from 0 (silence) to 5
 * @returns the level before
 * @throws {RangeError} if it is none
 *
 * @example Watch one step
 * ```ts
 * import { setDebug } from "@legoml/legoml/core";
 *
 * const before = setDebug(2);
 * // … a step …
 * setDebug(before);
 * ```
 */
export function setDebug(level: number): number {
  if (!isLevel(level)) {
    throw new RangeError(
      `Cannot set the debug level: expected a whole number from 0 to ${HIGHEST}, found ${level}`,
    );
  }
  const before = debug.level;
  debug.level = level;
  return before;
}

/** Writes a line if the level in force is at least this one. */
export function debugLine(level: number, text: () => string): void {
  if (debug.level >= level) writeError(`legoml ${level}: ${text()}`);
}

/** Least, largest and mean value, and how many are NaN or infinite. */
export function statisticsOf(values: ArrayLike<number>): string {
  let [least, largest, sum, nan, infinite] = [Infinity, -Infinity, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (Number.isNaN(v)) nan++;
    else if (!Number.isFinite(v)) infinite++;
    else {
      least = Math.min(least, v);
      largest = Math.max(largest, v);
      sum += v;
    }
  }
  const finite = values.length - nan - infinite;
  const show = (x: number) => finite === 0 ? "–" : String(Number(x.toPrecision(5)));
  return `${values.length} values, min ${show(least)}, max ${show(largest)}, ` +
    `mean ${show(sum / finite)}, NaN ${nan}, infinite ${infinite}`;
}
