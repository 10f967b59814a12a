/** A loader that augments images on the host. */

import { type Device, tensor } from "../../core/mod.ts";
import { checkShape, type ClassificationBatch, labelOf } from "../batch.ts";
import type { Dataset, LabelledItem } from "../dataset.ts";
import { DataLoader, type DataLoaderOptions } from "../loader.ts";
import type { AugmentPipeline } from "./pipeline.ts";
import type { ImageShape } from "./step.ts";

/** Options of {@linkcode AugmentLoader}. */
export interface AugmentLoaderOptions
  extends Omit<DataLoaderOptions<LabelledItem, ClassificationBatch>, "collate"> {
  /** What happens to each image, normalising included. */
  readonly augment: AugmentPipeline;
}

/**
 * A {@linkcode DataLoader} that changes each image on the host, while batches are prepared ahead.
 *
 * How an image changes depends on the pipeline's seed, the epoch and the image's index alone, so
 * batch size, order and where a run continues do not matter. The same is what
 * {@linkcode AugmentPipeline.apply} does on a device with these indices and this epoch.
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { AugmentLoader, compose, digits, randomAffine } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const loader = new AugmentLoader(digits({ split: "train", count: 20 }), {
 *   augment: compose([randomAffine({ degrees: 10, translate: [0.1, 0.1] })], { seed: 42 }),
 *   batchSize: 10,
 *   device: referenceDevice(),
 * });
 * for await (const { inputs } of loader) assertEquals(inputs.shape, [10, 1, 28, 28]);
 * ```
 */
export class AugmentLoader extends DataLoader<LabelledItem, ClassificationBatch> {
  /** What happens to each image. */
  readonly augment: AugmentPipeline;

  /**
   * Checks the options.
   *
   * @param dataset labelled images, bytes or values from 0 to 1, all of one shape
   * @param options pipeline, batch size, order, device
   * @throws {TypeError} if the items are no labelled images
   * @throws {RangeError} if a number is out of range, or a step cannot change such images
   */
  constructor(dataset: Dataset<LabelledItem>, options: AugmentLoaderOptions) {
    const { augment, ...rest } = options;
    super(dataset, rest);
    this.augment = augment;
    if (dataset.length > 0) augment.outputShape(imageShape(dataset.get(0)));
  }

  /**
   * Prepares a batch on the host.
   *
   * @param indices which images, in this order
   * @param epoch index of the epoch
   * @returns makes the tensors on a device
   */
  protected override prepare(
    indices: Uint32Array,
    epoch: number,
  ): (device?: Device) => ClassificationBatch {
    const first = imageShape(this.dataset.get(indices[0]));
    const shape = this.augment.outputShape(first);
    const size = shape[0] * shape[1] * shape[2];
    const values = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    indices.forEach((index, i) => {
      const item = this.dataset.get(index);
      checkShape(item, first, first[0] * first[1] * first[2]);
      const image = this.augment.applyToImage(item.input, first, { sample: index, epoch });
      values.set(image.values, i * size);
      labels[i] = labelOf(item);
    });
    return (device) => ({
      inputs: tensor(values, { shape: [indices.length, ...shape], device }),
      targets: tensor(labels, { device }),
      size: indices.length,
    });
  }
}

function imageShape({ shape }: LabelledItem): ImageShape {
  if (shape.length === 3) return [shape[0], shape[1], shape[2]];
  throw new TypeError(
    `Cannot make an AugmentLoader: expected items of channels, height and width, found shape ` +
      `[${shape.join(", ")}]`,
  );
}
