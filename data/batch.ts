/** Batches, and the collate functions that make them. */

import { tensor } from "../core/mod.ts";
import type { Device, Tensor } from "../core/mod.ts";
import type { LabelledItem, Normalization } from "./dataset.ts";
import { type ImageTransform, normalize } from "./transforms.ts";

/** Inputs with the class of each. */
export interface ClassificationBatch {
  /** f32, `[B, C, H, W]` for images, `[B, F]` for features. */
  readonly inputs: Tensor;
  /** i32 `[B]`, classes from 0. */
  readonly targets: Tensor;
  /** Number of examples, B. */
  readonly size: number;
}

/** Inputs that are their own targets. */
export interface AutoencoderBatch {
  /** f32, `[B, C, H, W]` for images, `[B, F]` for features. */
  readonly inputs: Tensor;
  /** The same tensor as `inputs`. */
  readonly targets: Tensor;
  /** Number of examples, B. */
  readonly size: number;
}

/**
 * Makes a batch in two stages, so that the loader can prepare batches ahead.
 *
 * The call copies what it needs of the items into host arrays; the function that it returns makes
 * the tensors of them.
 */
export type Collate<Item, Batch> = (items: readonly Item[]) => (device?: Device) => Batch;

/** Options of the collate functions. */
export interface CollateOptions {
  /**
   * Mean and standard deviation that images are normalised with. Default: 0 and 1, on pixels from 0
   * to 1.
   */
  readonly normalization?: Normalization;
}

/**
 * Makes classification batches: images become normalised f32, features are taken as they are,
 * classes become i32.
 *
 * @param options `normalization` of images
 * @returns a function for the loader's `collate`; it throws a RangeError when the items' shapes
 * differ or a label is not from 0 to `classCount - 1`
 * @throws {RangeError} when the normalization is invalid
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { classificationCollate } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const collate = classificationCollate({ normalization: { mean: 0.5, std: 0.5 } });
 * const item = { input: new Uint8Array([0, 255]), shape: [1, 1, 2], label: 3, classCount: 10 };
 * const batch = collate([item])(referenceDevice());
 * assertEquals(await batch.inputs.array(), [[[[-1, 1]]]]);
 * assertEquals(await batch.targets.array(), [3]);
 * ```
 */
export function classificationCollate(
  options: CollateOptions = {},
): Collate<LabelledItem, ClassificationBatch> {
  const transform = normalize(options.normalization);
  return (items) => {
    const { values, shape } = gatherInputs(items, transform);
    const labels = gatherLabels(items);
    return (device) => ({
      inputs: tensor(values, { shape, device }),
      targets: tensor(labels, { dtype: "i32", device }),
      size: items.length,
    });
  };
}

/**
 * Makes autoencoder batches: the inputs of {@linkcode classificationCollate} as inputs and targets.
 *
 * @param options `normalization` of images
 * @returns a function for the loader's `collate`; it throws a RangeError when the items' shapes
 * differ
 * @throws {RangeError} when the normalization is invalid
 */
export function autoencoderCollate(
  options: CollateOptions = {},
): Collate<LabelledItem, AutoencoderBatch> {
  const transform = normalize(options.normalization);
  return (items) => {
    const { values, shape } = gatherInputs(items, transform);
    return (device) => {
      const inputs = tensor(values, { shape, device });
      return { inputs, targets: inputs, size: items.length };
    };
  };
}

function gatherInputs(
  items: readonly LabelledItem[],
  transform: ImageTransform,
): { values: Float32Array<ArrayBuffer>; shape: number[] } {
  const { shape } = items[0];
  const size = shape.reduce((product, length) => product * length, 1);
  const values = new Float32Array(items.length * size);
  items.forEach((item, i) => {
    checkShape(item, shape, size);
    if (item.input instanceof Uint8Array) transform(item.input, shape[0], values, i * size);
    else values.set(item.input, i * size);
  });
  return { values, shape: [items.length, ...shape] };
}

/**
 * Checks that an item can go into a batch with others.
 *
 * @param item the item
 * @param shape what all items must have
 * @param size product of `shape`
 * @throws {RangeError} when it has another shape
 */
export function checkShape(item: LabelledItem, shape: readonly number[], size: number): void {
  const same = item.shape.length === shape.length && item.shape.every((s, i) => s === shape[i]);
  if (same && item.input.length === size) return;
  throw new RangeError(
    `Cannot make a batch as every item must have shape [${shape.join(", ")}]: ` +
      `got [${item.shape.join(", ")}] with ${item.input.length} elements`,
  );
}

function gatherLabels(items: readonly LabelledItem[]): Int32Array<ArrayBuffer> {
  return Int32Array.from(items, labelOf);
}

/**
 * The class of an item.
 *
 * @param item the item
 * @returns its label
 * @throws {RangeError} when it is not a whole number from 0 to `classCount - 1`
 */
export function labelOf({ label, classCount }: LabelledItem): number {
  if (Number.isInteger(label) && label >= 0 && label < classCount) return label;
  throw new RangeError(
    `Cannot make a batch as a label must be a whole number from 0 to ${
      classCount - 1
    }: got ${label}`,
  );
}
