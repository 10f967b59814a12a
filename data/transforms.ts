/**
 * From stored values to network inputs: pixels to normalised f32, features to mean 0 and deviation
 * 1.
 */

import type { Normalization } from "./dataset.ts";

/**
 * Writes one image as f32.
 *
 * @param image pixels, 0 to 255, channels outermost
 * @param channels number of channels
 * @param out where the values go
 * @param offset first element of `out` to be written
 */
export type ImageTransform = (
  image: Uint8Array,
  channels: number,
  out: Float32Array,
  offset: number,
) => void;

/**
 * Normalises pixels: `(pixel / 255 - mean) / std`, for each channel.
 *
 * The 256 results of each channel are computed once, in double precision, and then looked up.
 *
 * @param options `mean` and `std` on pixels from 0 to 1, one for all channels or one for each.
 * Default: 0 and 1
 * @returns a function that writes one image
 * @throws {RangeError} when a mean is not finite, a standard deviation is not above 0, or their
 * counts differ; when the function is called, also if an image has another number of channels
 *
 * @example
 * ```ts
 * import { normalize } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const out = new Float32Array(2);
 * normalize({ mean: 0.5, std: 0.25 })(new Uint8Array([0, 255]), 1, out, 0);
 * assertEquals(out, new Float32Array([-2, 2]));
 * ```
 */
export function normalize(options: Partial<Normalization> = {}): ImageTransform {
  const tables = levelTables(options);
  return (image, channels, out, offset) => {
    checkChannels(tables, channels);
    const area = image.length / channels;
    for (let channel = 0; channel < channels; channel++) {
      const table = tables[channel % tables.length];
      const end = (channel + 1) * area;
      for (let at = channel * area; at < end; at++) out[offset + at] = table[image[at]];
    }
  };
}

/**
 * What the 256 levels of a pixel become: `(level / 255 - mean) / std`, in double precision, then
 * rounded.
 *
 * @param options `mean` and `std`, one for all channels or one for each. Default: 0 and 1
 * @returns one table of 256 values for all channels, or one for each
 * @throws {RangeError} when a mean is not finite, a standard deviation is not above 0, or their
 * counts differ
 */
export function levelTables(options: Partial<Normalization> = {}): Float32Array<ArrayBuffer>[] {
  const mean = [options.mean ?? 0].flat();
  const std = [options.std ?? 1].flat();
  checkMoments(mean, std);
  return Array.from({ length: Math.max(mean.length, std.length) }, (_, channel) => {
    const [m, s] = [mean[channel % mean.length], std[channel % std.length]];
    return Float32Array.from({ length: 256 }, (_, pixel) => (pixel / 255 - m) / s);
  });
}

/**
 * Checks that tables are for all channels alike or for as many as there are.
 *
 * @param tables from {@linkcode levelTables}
 * @param channels number of channels of an image
 * @throws {RangeError} when they are for another number
 */
export function checkChannels(tables: readonly Float32Array[], channels: number): void {
  if (tables.length === 1 || tables.length === channels) return;
  throw new RangeError(
    `Cannot normalise an image of ${channels} channels as mean and std are for ${tables.length}`,
  );
}

function checkMoments(mean: readonly number[], std: readonly number[]): void {
  const wrongMean = mean.find((value) => !Number.isFinite(value));
  if (wrongMean !== undefined || mean.length === 0) {
    throw new RangeError(`Cannot normalise as a mean must be a finite number: got ${wrongMean}`);
  }
  const wrongStd = std.find((value) => !(value > 0 && Number.isFinite(value)));
  if (wrongStd !== undefined || std.length === 0) {
    throw new RangeError(
      `Cannot normalise as a standard deviation must be a finite number above 0: got ${wrongStd}`,
    );
  }
  if (mean.length !== std.length && mean.length !== 1 && std.length !== 1) {
    throw new RangeError(
      `Cannot normalise as mean and std must be for as many channels: ` +
        `got ${mean.length} and ${std.length}`,
    );
  }
}

/** Mean and standard deviation of every feature, as {@linkcode Standardizer} keeps them. */
export interface StandardizerState {
  /** Mean of each feature. */
  readonly mean: readonly number[];
  /** Standard deviation of each feature; 1 where a feature is constant. */
  readonly std: readonly number[];
}

/**
 * Brings every feature to mean 0 and standard deviation 1: `(x - mean) / std`.
 *
 * Fit it on the training rows alone, then apply it to all. A constant feature becomes 0.
 *
 * @example
 * ```ts
 * import { Standardizer } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const rows = new Float32Array([1, 10, 3, 10]); // two rows of two features
 * assertEquals(Standardizer.fit(rows, 2).apply(rows), new Float32Array([-1, 0, 1, 0]));
 * ```
 */
export class Standardizer implements StandardizerState {
  /** Mean of each feature. */
  readonly mean: readonly number[];
  /** Standard deviation of each feature; 1 where a feature is constant. */
  readonly std: readonly number[];

  /**
   * Restores a standardizer.
   *
   * @param state mean and standard deviation of each feature, as `JSON.stringify` wrote them
   * @throws {RangeError} when they are not finite, not above 0, or not as many
   */
  constructor(state: StandardizerState) {
    checkMoments(state.mean, state.std);
    if (state.mean.length !== state.std.length) {
      throw new RangeError(
        `Cannot standardise as mean and std must be for as many features: ` +
          `got ${state.mean.length} and ${state.std.length}`,
      );
    }
    this.mean = [...state.mean];
    this.std = [...state.std];
  }

  /**
   * Measures rows.
   *
   * @param rows `[count, width]` in row-major order, at least one row
   * @param width number of features
   * @returns a standardizer with the mean and the population's standard deviation, summed in double
   * precision
   * @throws {RangeError} when the rows are not whole or there is none
   */
  static fit(rows: Float32Array, width: number): Standardizer {
    const count = rowCount(rows, width);
    if (count === 0) throw new RangeError("Cannot fit a standardizer as there is no row");
    const mean = new Array<number>(width).fill(0);
    rows.forEach((value, at) => mean[at % width] += value / count);
    const variance = new Array<number>(width).fill(0);
    rows.forEach((value, at) => variance[at % width] += (value - mean[at % width]) ** 2 / count);
    // Rounding leaves a constant feature a deviation near, not at, 0
    const std = variance.map((value, i) =>
      Math.sqrt(value) > 1e-12 * Math.max(1, Math.abs(mean[i])) ? Math.sqrt(value) : 1
    );
    return new Standardizer({ mean, std });
  }

  /**
   * Standardises rows.
   *
   * @param rows `[count, width]` in row-major order
   * @returns new rows
   * @throws {RangeError} when the rows are not whole
   */
  apply(rows: Float32Array): Float32Array<ArrayBuffer> {
    const width = this.mean.length;
    rowCount(rows, width);
    return Float32Array.from(
      rows,
      (value, at) => (value - this.mean[at % width]) / this.std[at % width],
    );
  }
}

function rowCount(rows: Float32Array, width: number): number {
  const count = rows.length / width;
  if (Number.isInteger(width) && width >= 1 && Number.isInteger(count)) return count;
  throw new RangeError(
    `Cannot standardise as rows must have ${width} features: got ${rows.length} values`,
  );
}
