/** The images that examples learn: well-known sets, or images drawn by code in their place. */

import {
  cifar10,
  digits,
  DownloadError,
  fashionMnist,
  type ImageDataset,
  mnist,
  shapes,
} from "../data/mod.ts";

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

/** Which images of 32 × 32 are asked for. */
export interface ColorOptions extends Omit<DigitOptions, "dataset"> {
  /** The set; where none is named it is CIFAR-10, or shapes where that cannot be downloaded. */
  readonly dataset: "cifar10" | "shapes" | undefined;
}

/**
 * Training and test images of 32 × 32 in colour.
 *
 * @param options which; `data` is the folder with CIFAR-10's binary files
 * @returns both splits
 * @throws {Error} if they cannot be read, or not be downloaded although they were named
 */
export async function colorImages(options: ColorOptions): Promise<[ImageDataset, ImageDataset]> {
  const { dataset, data: dataDir, seed } = options;
  const load = (split: "train" | "test", limit?: number) =>
    dataset === "shapes"
      ? shapes({ split, count: limit, seed })
      : cifar10({ split, dataDir, limit });
  try {
    return [await load("train", options.limit), await load("test", options.testLimit)];
  } catch (error) {
    if (!(error instanceof DownloadError) || dataset !== undefined) throw error;
    console.error(`CIFAR-10 cannot be downloaded here (${error.message}); using shapes.`);
    return await colorImages({ ...options, dataset: "shapes" });
  }
}
