/** The digits that several examples learn: MNIST or its like, or digits drawn by code. */

import { digits, DownloadError, fashionMnist, type ImageDataset, mnist } from "../data/mod.ts";

/** Which images are asked for. */
export interface DigitOptions {
  /** The set; where none is named it is MNIST, or digits drawn by code where that cannot be downloaded. */
  readonly dataset: "mnist" | "fashion" | "digits" | undefined;
  /** Folder with the four IDX files, instead of a download. */
  readonly data: string | undefined;
  /** Seed of the digits that are drawn. */
  readonly seed: number;
  /** At most so many training images. */
  readonly limit: number | undefined;
  /** At most so many test images; undefined for all. */
  readonly testLimit?: number;
}

/**
 * Training and test images of 28 × 28.
 *
 * @param options which
 * @returns both splits
 * @throws {Error} if they cannot be read, or not be downloaded although they were named
 */
export async function digitImages(options: DigitOptions): Promise<[ImageDataset, ImageDataset]> {
  const { dataset, data: dataDir, seed } = options;
  const load = (split: "train" | "test") => {
    const limit = split === "train" ? options.limit : options.testLimit;
    if (dataset === "digits") return digits({ split, seed, count: limit });
    return (dataset === "fashion" ? fashionMnist : mnist)({ split, dataDir, limit });
  };
  try {
    return [await load("train"), await load("test")];
  } catch (error) {
    if (!(error instanceof DownloadError) || dataset !== undefined) throw error;
    console.error(
      `MNIST cannot be downloaded here (${error.message}); using digits drawn by code.`,
    );
    return await digitImages({ ...options, dataset: "digits" });
  }
}
