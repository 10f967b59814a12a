/** Data sets that lie on a device. */

import { type Device, type Tensor, tensor } from "../core/mod.ts";
import { deviceOr } from "../core/backend/device.ts";
import { labelOf } from "./batch.ts";
import { checkCount } from "./checks.ts";
import { checkIndex, type Dataset, type LabelledItem, type Normalization } from "./dataset.ts";
import { ImageBatch, type ImageSource, type ResidentTensors } from "./image_batch.ts";
import { type PackedFormat, packedFormat, packImage } from "./packed_images.ts";
import { checkChannels, levelTables } from "./transforms.ts";

/** Options of {@linkcode ResidentDataset}. */
export interface ResidentOptions {
  /** Where the images go. Default: the default device. */
  readonly device?: Device;
  /** What images are normalised with. Default: what the data set says, else 0 and 1. */
  readonly normalization?: Normalization;
}

/**
 * Labelled images on a device, one byte for each pixel.
 *
 * They are uploaded once. A batch then costs an upload of its indices: one kernel picks the images,
 * unpacks and normalises them, with the same result, bit for bit, as
 * {@linkcode classificationCollate} gives on the host.
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { digits, ResidentDataset } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const dataset = digits({ split: "train", count: 20 });
 * using resident = new ResidentDataset(dataset, { device: referenceDevice() });
 * const { inputs, targets } = resident.batch([3, 17, 3]);
 * assertEquals(inputs.shape, [3, 1, 28, 28]);
 * assertEquals(await targets.array(), [3, 7, 3]);
 * ```
 */
export class ResidentDataset implements Dataset<LabelledItem>, Disposable {
  /** Where the images are. */
  readonly device: Device;
  /** Sizes of one image: channels, height, width. */
  readonly shape: readonly [number, number, number];
  /** What images are normalised with. */
  readonly normalization: Normalization;

  readonly #dataset: Dataset<LabelledItem>;
  readonly #source: ImageSource & { readonly resident: ResidentTensors };

  /**
   * Uploads the images and their classes.
   *
   * @param dataset labelled images as bytes, at least one, all of one shape
   * @param options device and normalisation
   * @throws {TypeError} when the items are not images of bytes
   * @throws {RangeError} when there is no image, a shape differs, a label is not a class, or the
   * normalisation is invalid
   * @throws {OutOfMemoryError} when the device cannot hold the images
   */
  constructor(dataset: Dataset<LabelledItem>, options: ResidentOptions = {}) {
    const action = "keep a data set on a device";
    checkCount(action, "the number of images", dataset.length, 1);
    const format = packedFormat(action, dataset.get(0));
    this.device = deviceOr(options.device);
    this.shape = format.shape;
    this.normalization = options.normalization ?? dataset.normalization ?? { mean: 0, std: 1 };
    this.#dataset = dataset;
    // The largest first: where it does not fit, there is nothing to take back
    const resident = upload(dataset, format, this.device);
    const levels = uploadLevels(this.normalization, format, this.device);
    this.#source = { levels, resident };
  }

  /** Number of images. */
  get length(): number {
    return this.#dataset.length;
  }

  /** Bytes that images and classes take on the device. */
  get bytes(): number {
    const { images, labels } = this.#source.resident;
    return 4 * (images.size + labels.size);
  }

  /** What batches are made of. */
  get source(): ImageSource {
    return this.#source;
  }

  /**
   * One example, from the host.
   *
   * @param index from 0 to `length - 1`
   * @returns pixels, sizes, class
   * @throws {RangeError} when there is no such example
   */
  get(index: number): LabelledItem {
    return this.#dataset.get(index);
  }

  /**
   * A batch of the images as they are, normalised.
   *
   * @param indices which images, in this order; may repeat
   * @returns a batch whose tensors are made when they are read
   * @throws {RangeError} when there is no such image
   */
  batch(indices: ArrayLike<number>): ImageBatch {
    for (let i = 0; i < indices.length; i++) checkIndex(indices[i], this.length);
    return new ImageBatch(this.#source, uploadIndices(indices, 0, this.device));
  }

  /** Gives the device's memory back; batches cannot be read any more. */
  dispose(): void {
    const { levels, resident: { images, labels } } = this.#source;
    for (const tensor of [levels, images, labels]) tensor.dispose();
  }

  /** Gives the memory back at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Uploads what a batch of a resident data set consists of.
 *
 * @param indices which images
 * @param epoch which draws their random moves have, a whole number from 0 to 2^32 - 1
 * @param device where to
 * @returns u32 `[indices.length + 1]`
 */
export function uploadIndices(
  indices: ArrayLike<number>,
  epoch: number,
  device: Device | undefined,
): Tensor {
  const words = new Uint32Array(indices.length + 1);
  words.set(indices);
  words[indices.length] = epoch;
  return tensor(words, { device });
}

/**
 * Uploads the value of each pixel level.
 *
 * @param normalization mean and standard deviation
 * @param format the images' sizes
 * @param device where to
 * @returns f32 `[C, H, W, 256]`, the same along H and W, and along C where all channels are
 * normalised alike; lives until it is disposed
 * @throws {RangeError} when the normalisation is invalid, or for another number of channels
 */
export function uploadLevels(
  normalization: Normalization | undefined,
  format: PackedFormat,
  device: Device | undefined,
): Tensor {
  const tables = levelTables(normalization);
  checkChannels(tables, format.shape[0]);
  const values = new Float32Array(tables.length * 256);
  tables.forEach((table, channel) => values.set(table, channel * 256));
  using table = tensor(values, { device });
  const strides = [tables.length === 1 ? 0 : 256, 0, 0, 1];
  return table.alias({ shape: [...format.shape, 256], strides, offset: 0 }).keep();
}

function upload(
  dataset: Dataset<LabelledItem>,
  format: PackedFormat,
  device: Device,
): ResidentTensors {
  const { words } = format;
  const packed = new Uint32Array(dataset.length * words);
  const labels = new Int32Array(dataset.length);
  const bytes = new Uint8Array(packed.buffer);
  for (let i = 0; i < dataset.length; i++) {
    const item = dataset.get(i);
    packImage(item, format, bytes, i * words * 4);
    labels[i] = labelOf(item);
  }
  return {
    images: tensor(packed, { shape: [dataset.length, words], device }).keep(),
    labels: tensor(labels, { device }).keep(),
  };
}
