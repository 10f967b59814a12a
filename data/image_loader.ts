/** Batches of images that are made on the device. */

import { getLogger } from "@logtape/logtape";
import {
  augmentationDraw,
  type Device,
  type ImageAugmentation,
  Key,
  OutOfMemoryError,
  type Tensor,
  tensor,
} from "../core/mod.ts";
import { deviceOr } from "../core/backend/device.ts";
import { checkAugmentation } from "../core/tensor/gather_images.ts";
import { labelOf } from "./batch.ts";
import { checkCount } from "./checks.ts";
import { type Dataset, itemsOf, type LabelledItem, type Normalization } from "./dataset.ts";
import { HEAD, ImageBatch, type ImageSource } from "./image_batch.ts";
import { DataLoader, type DataLoaderOptions, type Prepared } from "./loader.ts";
import { type PackedFormat, packedFormat, packImage } from "./packed_images.ts";
import { ResidentDataset, uploadIndices, uploadLevels } from "./resident.ts";

const logger = getLogger(["legoml", "data"]);

/** Options of {@linkcode ImageLoader}. */
export interface ImageLoaderOptions
  extends Omit<DataLoaderOptions<LabelledItem, ImageBatch>, "collate"> {
  /** What images are normalised with. Default: what the data set says, else 0 and 1. */
  readonly normalization?: Normalization;
  /** Random moves, others in every epoch. Default: none. */
  readonly augment?: ImageAugmentation;
  /**
   * Bytes up to which the data set is kept on the device; 0 for never. Default: 268,435,456
   * (256 MiB).
   */
  readonly residentBytes?: number;
}

/**
 * A {@linkcode DataLoader} for labelled images that lets the device make the batches.
 *
 * A data set of up to `residentBytes` is uploaded once, as bytes; a batch then costs an upload of
 * its indices. Of a larger one, or of one that the device has no buffer for, each batch uploads its
 * bytes, a quarter of what f32 would take; they are packed ahead, while the program waits for the
 * device. Either way a kernel unpacks, normalises and augments, inside of the step if that is
 * captured.
 *
 * Order and contents are those of a `DataLoader` with the same seed, bit for bit, as long as there
 * is no augmentation. How an image is moved depends on seed, epoch and the image's index alone.
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { digits, ImageLoader } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * using loader = new ImageLoader(digits({ split: "train", count: 100 }), {
 *   batchSize: 32,
 *   shuffle: true,
 *   seed: 42,
 *   augment: { cropPadding: 2 },
 *   device: referenceDevice(),
 * });
 * for await (const { inputs, targets } of loader) {
 *   assertEquals(inputs.shape, [targets.size, 1, 28, 28]);
 * }
 * assertEquals([loader.isResident, loader.state().epoch], [true, 1]);
 * ```
 */
export class ImageLoader extends DataLoader<LabelledItem, ImageBatch> implements Disposable {
  readonly #format: PackedFormat;
  readonly #source: ImageSource;
  readonly #own: readonly Disposable[];

  /**
   * Checks the options and uploads the data set if it is to stay on the device.
   *
   * @param dataset labelled images as bytes, at least one, all of one shape; a
   * {@linkcode ResidentDataset} is used where it lies
   * @param options batch size, order, normalisation, augmentation, device
   * @throws {TypeError} when the items are not images of bytes, or the data set is on another
   * device
   * @throws {RangeError} when a number is out of range, there is no image, or a shape or a label is
   * invalid
   * @throws {DeviceError} when there is neither a device nor a default device
   */
  constructor(dataset: Dataset<LabelledItem>, options: ImageLoaderOptions = {}) {
    const { residentBytes = 2 ** 28, augment, ...rest } = options;
    const action = "make an ImageLoader";
    checkCount(action, "residentBytes", residentBytes, 0);
    checkCount(action, "the number of images", dataset.length, 1);
    if (augment !== undefined) checkAugmentation(augment);
    const device = deviceOr(
      options.device ?? (dataset instanceof ResidentDataset ? dataset.device : undefined),
    );
    super(dataset, { ...rest, device });
    this.#format = packedFormat(action, dataset.get(0));
    const { source, own } = sourceOf(dataset, this.#format, { ...options, residentBytes, device });
    const draw = isMoving(augment) ? uploadDraw(augment, this.seed, device) : undefined;
    this.#source = { ...source, draw };
    this.#own = draw === undefined ? own : [...own, draw];
  }

  /** Whether the data set lies on the device. */
  get isResident(): boolean {
    return this.#source.resident !== undefined;
  }

  /**
   * Prepares a batch on the host.
   *
   * @param indices which images, in this order
   * @param epoch index of the epoch
   * @returns makes the batch on a device; a promise of that where images are made elsewhere
   */
  protected override prepare(indices: Uint32Array, epoch: number): Prepared<ImageBatch> {
    const source = this.#source;
    if (source.resident !== undefined) {
      return (device) => new ImageBatch(source, uploadIndices(indices, epoch, device));
    }
    const pack = (items: readonly LabelledItem[]) => {
      const words = this.#pack(items, indices, epoch);
      const shape = [indices.length, HEAD + this.#format.words];
      return (device?: Device) => new ImageBatch(source, tensor(words, { shape, device }));
    };
    const items = itemsOf(this.dataset, indices);
    return items instanceof Promise ? items.then(pack) : pack(items);
  }

  /** Gives back what the loader keeps on the device; batches cannot be read any more. */
  dispose(): void {
    for (const resource of this.#own) resource[Symbol.dispose]();
  }

  /** Gives the memory back at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Number, epoch, label and pixels of every example: one upload. */
  #pack(
    items: readonly LabelledItem[],
    indices: Uint32Array,
    epoch: number,
  ): Uint32Array<ArrayBuffer> {
    const row = HEAD + this.#format.words;
    const words = new Uint32Array(indices.length * row);
    const bytes = new Uint8Array(words.buffer);
    items.forEach((item, i) => {
      words.set([indices[i], epoch, labelOf(item)], i * row);
      packImage(item, this.#format, bytes, 4 * (i * row + HEAD));
    });
    return words;
  }
}

interface Placement {
  readonly device: Device;
  readonly residentBytes: number;
  readonly normalization?: Normalization;
}

/** Where batches come from, and what the loader has to give back. */
function sourceOf(
  dataset: Dataset<LabelledItem>,
  format: PackedFormat,
  { device, residentBytes, normalization }: Placement,
): { source: ImageSource; own: readonly Disposable[] } {
  if (dataset instanceof ResidentDataset) {
    return sharedSource(dataset, format, device, normalization);
  }
  const bytes = dataset.length * (format.words + 1) * 4;
  const resident = bytes <= residentBytes ? tryUpload(dataset, device, normalization) : null;
  if (resident !== null) return { source: resident.source, own: [resident] };
  const levels = uploadLevels(normalization ?? dataset.normalization, format, device);
  return { source: { levels }, own: [levels] };
}

/** A data set that is somebody else's. */
function sharedSource(
  dataset: ResidentDataset,
  format: PackedFormat,
  device: Device,
  normalization: Normalization | undefined,
): { source: ImageSource; own: readonly Disposable[] } {
  if (dataset.device !== device) {
    throw new TypeError(
      "Cannot make an ImageLoader as the data set must be on the loader's device: got " +
        `${dataset.device.kind} and ${device.kind}`,
    );
  }
  if (normalization === undefined) return { source: dataset.source, own: [] };
  const levels = uploadLevels(normalization, format, device);
  return { source: { ...dataset.source, levels }, own: [levels] };
}

/** Null where the device has no buffer of that size; the loader then uploads batches. */
function tryUpload(
  dataset: Dataset<LabelledItem>,
  device: Device,
  normalization: Normalization | undefined,
): ResidentDataset | null {
  try {
    return new ResidentDataset(dataset, { device, normalization });
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    logger.warn(
      "The data set stays on the host, and every batch is uploaded, as {reason}",
      { reason: error.message },
    );
    return null;
  }
}

/** Whether there is anything to draw. */
function isMoving(augment: ImageAugmentation | undefined): augment is ImageAugmentation {
  return (augment?.cropPadding ?? 0) > 0 || (augment?.flip ?? 0) > 0;
}

function uploadDraw(augment: ImageAugmentation, seed: number, device: Device): Tensor {
  return augmentationDraw(augment, new Key(seed).fold("data augmentation"), device).keep();
}
