/** Labelled images in memory. */

import { checkCount } from "./checks.ts";
import type { Normalization } from "./dataset.ts";
import { LabelledDataset } from "./labelled_dataset.ts";

/** What an {@linkcode ImageDataset} is made of. */
export interface ImageDatasetOptions {
  /** Name for messages and reports. */
  readonly name: string;
  /** Pixels, `[count, C, H, W]` in row-major order, 0 to 255. */
  readonly images: Uint8Array;
  /** Classes, `[count]`, 0 to `classes.length - 1`. */
  readonly labels: Uint8Array;
  /** Sizes of one image: channels, height, width. */
  readonly shape: readonly [number, number, number];
  /** Names of the classes. */
  readonly classes: readonly string[];
  /**
   * Mean and standard deviation of the training images, on pixels from 0 to 1. Default: 0 and 1.
   */
  readonly normalization?: Normalization;
}

/**
 * Labelled images in memory, one byte for each pixel.
 *
 * @example
 * ```ts
 * import { ImageDataset } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const dataset = new ImageDataset({
 *   name: "checkers",
 *   images: new Uint8Array([0, 255, 255, 0, 255, 0, 0, 255]),
 *   labels: new Uint8Array([0, 1]),
 *   shape: [1, 2, 2],
 *   classes: ["rising", "falling"],
 * });
 * assertEquals([dataset.count, dataset.get(1).label], [2, 1]);
 * assertEquals(dataset.statistics(), { mean: [0.5], std: [0.5] });
 * ```
 */
export class ImageDataset extends LabelledDataset {
  /** Pixels, `[count, C, H, W]` in row-major order, 0 to 255. */
  readonly images: Uint8Array;
  /** Classes, `[count]`. */
  declare readonly labels: Uint8Array;
  /** Sizes of one image: channels, height, width. */
  declare readonly shape: readonly [number, number, number];
  /** Mean and standard deviation of the training images, on pixels from 0 to 1. */
  readonly normalization: Normalization;

  /**
   * Checks the arrays and keeps them.
   *
   * @param options name, pixels, classes; arrays are not copied
   * @throws {RangeError} when a size is invalid, the counts of images and labels differ, or a label
   * is not a class
   */
  constructor(options: ImageDatasetOptions) {
    super({ ...options, inputs: options.images });
    this.images = options.images;
    this.normalization = options.normalization ?? { mean: 0, std: 1 };
  }

  /**
   * The first images.
   *
   * @param count how many, at least 0; all when there are fewer
   * @returns a data set over the same memory
   * @throws {RangeError} when `count` is not a whole number of at least 0
   */
  take(count: number): ImageDataset {
    checkCount("take images", "count", count, 0);
    const kept = Math.min(count, this.length);
    return new ImageDataset({
      name: this.name,
      images: this.images.subarray(0, kept * this.itemSize),
      labels: this.labels.subarray(0, kept),
      shape: this.shape,
      classes: this.classes,
      normalization: this.normalization,
    });
  }

  /**
   * Mean and standard deviation of each channel over all pixels.
   *
   * @returns one of each for every channel, on pixels from 0 to 1; the standard deviation is that
   * of the population
   * @throws {RangeError} when there is no image
   */
  statistics(): { mean: number[]; std: number[] } {
    checkCount(`measure data set "${this.name}"`, "the number of images", this.length, 1);
    const [channels, height, width] = this.shape;
    const area = height * width;
    const histograms = Array.from({ length: channels }, () => new Float64Array(256));
    for (let at = 0; at < this.images.length; at++) {
      histograms[Math.floor(at / area) % channels][this.images[at]]++;
    }
    const moments = histograms.map((histogram) => momentsOf(histogram, this.length * area));
    return { mean: moments.map(({ mean }) => mean), std: moments.map(({ std }) => std) };
  }
}

function momentsOf(histogram: Float64Array, count: number): { mean: number; std: number } {
  const mean = histogram.reduce((sum, times, level) => sum + times * level, 0) / count;
  const square = histogram.reduce((sum, times, level) => sum + times * (level - mean) ** 2, 0);
  return { mean: mean / 255, std: Math.sqrt(square / count) / 255 };
}
