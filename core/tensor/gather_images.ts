/** Batches of images that lie on the device as bytes. */

import { gatherImagesKernel } from "../../kernels/gather_images.ts";
import type { StridedOperand } from "../../kernels/map.ts";
import type { DType } from "../../kernels/types.ts";
import type { Device } from "../backend/device.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { stridedOperand } from "./axis_lines.ts";
import { tensor } from "./create.ts";
import { checkDevices, denseOperand, operandOf } from "./launch.ts";
import { Key } from "./random.ts";
import { contiguousStrides } from "./shape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Largest number of pixels that an image may move. */
const MOST_PADDING = 2047;

/** Random moves and mirror images, as functions of key, epoch and sample. */
export interface ImageAugmentation {
  /**
   * Pixels that an image may move up, down, left and right, all distances alike; what comes into
   * sight is 0. The same as cropping at random after padding by so many zeros. From 0 to 2047.
   * @default {0}
   */
  readonly cropPadding?: number;
  /** Probability of a mirror image, left and right exchanged. @default {0} */
  readonly flip?: number;
}

/** What random moves of a batch are drawn from, as tensors. */
export interface ImageDraw {
  /** u32 [4], made by {@linkcode augmentationDraw}. */
  readonly draw: Tensor;
  /** [1] i32 or u32: other epochs have other moves. */
  readonly epoch: Tensor;
}

/** How bytes become a batch. */
export interface GatherImagesOptions {
  /** Sizes of one image: channels, height, width. */
  readonly shape: readonly [number, number, number];
  /** f32 [256], or [C, 256] for channels of their own: the value of each pixel level. */
  readonly levels: Tensor;
  /**
   * [N] i32 or u32: which images; an index outside gives an image of NaN.
   * @default {all images, in order}
   */
  readonly index?: Tensor;
  /** Random moves. @default {none} */
  readonly augment?: ImageDraw;
  /**
   * [N] i32 or u32: the number of each image for the random moves, where there is no index.
   * @default {the index}
   */
  readonly samples?: Tensor;
}

/**
 * Picks images that lie on the device as bytes, gives every pixel the value of its level, and moves
 * and mirrors them at random if asked; all in one kernel. Not differentiable.
 *
 * @param images u32 [M, ceil(C·H·W / 4)]: four pixels to a word, the first in the lowest byte, in
 * the order [H, W, C]
 * @param options shape, levels, index, augmentation
 * @returns f32 [N, C, H, W], channels last in memory
 * @throws {ShapeError} if the shape of a tensor does not fit
 * @throws {DTypeError} if a tensor has another dtype
 * @throws {TypeError} if the tensors live on different devices, or moves have no samples
 *
 * @example
 * ```ts
 * import { gatherImages, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const images = tensor(new Uint32Array([0x04030201, 0x08070605]), { device, shape: [2, 1] });
 * const levels = tensor(Float32Array.from({ length: 256 }, (_, level) => level * 10), { device });
 * const index = tensor(new Uint32Array([1]), { device });
 * const batch = gatherImages(images, { shape: [1, 2, 2], levels, index });
 * assertEquals(await batch.array(), [[[[50, 60], [70, 80]]]]);
 * ```
 */
export function gatherImages(images: Tensor, options: GatherImagesOptions): Tensor {
  const { shape, index, augment } = options;
  checkImages(images, shape);
  const levels = levelsOperand(options);
  if (index !== undefined && options.samples !== undefined) {
    throw new TypeError("Cannot gather images: expected an index or samples, found both");
  }
  const samples = index ?? (augment && options.samples);
  if (augment !== undefined) checkDraw(augment, samples);
  const count = index?.size ?? images.shape[0];
  if (samples !== undefined) checkNumbers(index ? "index" : "samples", samples, [count]);
  const tensors = [images, options.levels, samples, augment?.draw, augment?.epoch]
    .filter((t) => t !== undefined);
  checkDevices("gather images from", tensors);
  const [channels, height, width] = shape;
  const out = emptyImages(images, [count, channels, height, width]);
  if (out.size === 0) return out;
  if (images.shape[0] === 0) {
    throw new ShapeError(`Cannot gather ${count} images: expected images to take them from`);
  }
  const operand = (t: Tensor): StridedOperand => stridedOperand(t, t.strides);
  images.device.record({
    kernel: gatherImagesKernel({
      count,
      rows: images.shape[0],
      shape: [channels, height, width],
      images: operand(images),
      levels,
      samples: samples === undefined ? null : operand(samples),
      gathered: index !== undefined,
      shift: augment === undefined
        ? null
        : { draw: operand(augment.draw), epoch: operand(augment.epoch) },
    }),
    inputs: tensors.map(operandOf),
    outputs: [denseOperand(out)],
    scalars: [],
  });
  return out;
}

/** With one channel both orders are the same, and row-major strides are what other ops look for. */
function emptyImages(images: Tensor, shape: readonly [number, number, number, number]): Tensor {
  const [, channels, height, width] = shape;
  const strides = channels === 1
    ? contiguousStrides(shape)
    : [channels * height * width, 1, width * channels, channels];
  return empty(images.device, shape, "f32", "gather images", strides);
}

/**
 * Random moves as {@linkcode gatherImages} takes them.
 *
 * @param augment how far and how often
 * @param key the stream of random numbers
 * @param device where the tensor goes; the default device by default
 * @returns u32 [4]: the key's words, the share of 2^24 draws that mirror, the padding
 * @throws {RangeError} if `cropPadding` or `flip` is out of range
 * @throws {TypeError} if the key is none
 */
export function augmentationDraw(augment: ImageAugmentation, key: Key, device?: Device): Tensor {
  const { cropPadding = 0, flip = 0 } = augment;
  checkAugmentation(augment);
  if (!(key instanceof Key)) {
    throw new TypeError(`Cannot augment images from ${typeof key}: expected a Key`);
  }
  const threshold = Math.ceil(flip * 2 ** 24);
  return tensor(Uint32Array.of(key.k0, key.k1, threshold, cropPadding), { device });
}

/**
 * Checks random moves.
 *
 * @param augment as a user gives it
 * @throws {RangeError} if `cropPadding` or `flip` is out of range
 */
export function checkAugmentation({ cropPadding = 0, flip = 0 }: ImageAugmentation): void {
  if (!Number.isInteger(cropPadding) || cropPadding < 0 || cropPadding > MOST_PADDING) {
    throw new RangeError(
      `Cannot augment images with cropPadding ${cropPadding}: expected an integer from 0 to ` +
        MOST_PADDING,
    );
  }
  if (!(flip >= 0 && flip <= 1)) {
    throw new RangeError(
      `Cannot augment images with flip ${flip}: expected a probability from 0 to 1`,
    );
  }
}

function checkImages(images: Tensor, shape: readonly number[]): void {
  if (shape.length !== 3 || shape.some((n) => !Number.isInteger(n) || n < 1)) {
    throw new ShapeError(
      `Cannot gather images of shape ${showShape(shape)}: expected channels, height and width, ` +
        "integers of at least 1",
    );
  }
  checkDType("images", images.dtype, ["u32"]);
  const words = Math.ceil(shape[0] * shape[1] * shape[2] / 4);
  const fits = images.ndim === 2 && images.shape[1] === words;
  if (!fits || (images.strides[1] !== 1 && words > 1) || images.strides[0] < 0) {
    throw new ShapeError(
      `Cannot gather images of shape ${showShape(shape)} from words of shape ${
        showShape(images.shape)
      }: expected [M, ${words}] with the words of an image next to each other`,
    );
  }
}

/** The table over [C, 256]. */
function levelsOperand({ levels, shape: [channels] }: GatherImagesOptions): StridedOperand {
  checkDType("levels", levels.dtype, ["f32"]);
  const own = levels.ndim === 2 && levels.shape[0] === channels;
  if (levels.shape.at(-1) !== 256 || !(own || levels.ndim === 1)) {
    throw new ShapeError(
      `Cannot gather images of ${channels} channels with levels of shape ${
        showShape(levels.shape)
      }: expected [256] or [${channels}, 256]`,
    );
  }
  return stridedOperand(levels, own ? levels.strides : [0, levels.strides[0]]);
}

function checkDraw({ draw, epoch }: ImageDraw, samples: Tensor | undefined): void {
  if (samples === undefined) {
    throw new TypeError("Cannot augment images without an index: expected samples");
  }
  checkDType("draw", draw.dtype, ["u32"]);
  checkNumbers("draw", draw, [4]);
  checkNumbers("epoch", epoch, [1]);
}

function checkNumbers(name: string, t: Tensor, shape: readonly number[]): void {
  checkDType(name, t.dtype, ["i32", "u32"]);
  if (t.ndim === 1 && t.shape[0] === shape[0]) return;
  throw new ShapeError(
    `Cannot gather images with ${name} of shape ${showShape(t.shape)}: expected ${
      name === "index" ? "one axis" : showShape(shape)
    }`,
  );
}

function checkDType(name: string, found: DType, expected: readonly DType[]): void {
  if (expected.includes(found)) return;
  throw new DTypeError(
    `Cannot gather images with ${name} of dtype ${found}: expected ${expected.join(" or ")}`,
  );
}
