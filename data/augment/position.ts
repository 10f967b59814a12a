/** Which random numbers a batch gets. */

import {
  AutogradError,
  type Device,
  DTypeError,
  isGradEnabled,
  Key,
  ShapeError,
  type Tensor,
} from "../../core/mod.ts";
import { effect } from "../../core/backend/capture.ts";
import type { DrawPlace } from "../../core/tensor/augment_images.ts";
import { checkCount } from "../checks.ts";
import type { ImageShape } from "./step.ts";

/** What random numbers are drawn from: a seed, or a key. */
export interface RandomSource {
  /** A whole number from 0 to 2^53 - 1. Default: 0. */
  readonly seed?: number;
  /** In place of a seed. */
  readonly key?: Key;
}

/** Which images a batch holds, and when. */
export interface AugmentPosition {
  /** i32 or u32 [N], the number of each image. Default: its place in the batch. */
  readonly samples?: Tensor;
  /**
   * i32 or u32 [1], or a whole number from 0 to 2^32 - 1, which captured steps keep. Default: the
   * count of calls, which captured steps continue.
   */
  readonly epoch?: Tensor | number;
}

/**
 * The key of a source.
 *
 * @param source seed or key
 * @param purpose what a seed is folded with
 * @returns the key
 * @throws {RangeError} if the seed is out of range
 * @throws {TypeError} if the key is none, or there are both
 */
export function keyOf({ seed, key }: RandomSource, purpose: string): Key {
  if (key === undefined) return new Key(seed ?? 0).fold(purpose);
  if (!(key instanceof Key) || seed !== undefined) {
    throw new TypeError(
      `Cannot draw an ${purpose}: expected a Key or a seed, found ${
        key instanceof Key ? "both" : typeof key
      }`,
    );
  }
  return key;
}

/** Counts calls, so that each draws other numbers; captured steps go on counting. */
export class DrawCounter {
  /** What numbers are drawn from. */
  readonly key: Key;
  readonly #owner: string;
  #position = 0;

  /** Starts at 0. */
  constructor(owner: string, key: Key) {
    this.#owner = owner;
    this.key = key;
  }

  /** Calls so far. */
  get position(): number {
    return this.#position;
  }

  set position(value: number) {
    checkCount(`set the position of ${this.#owner}`, "it", value, 0, 2 ** 32 - 1);
    this.#position = value;
  }

  /** Where the numbers of the next call are drawn. */
  place({ samples, epoch }: AugmentPosition): DrawPlace<Tensor> {
    const { k0, k1 } = this.key;
    if (typeof epoch === "number") return { samples, words: { now: [k0, k1, epoch] } };
    if (epoch !== undefined) return { samples, epoch, words: { now: [k0, k1, 0] } };
    effect(() => void this.#position++, () => void this.#position--);
    const live = () => [k0, k1, this.#position - 1];
    return { samples, words: { now: live(), live } };
  }
}

/**
 * Checks a batch of images.
 *
 * @param action what cannot be done otherwise
 * @param images f32 [N, C, H, W]
 * @param at samples and epoch
 * @returns channels, height, width
 */
export function checkBatch(
  action: string,
  images: Tensor,
  { samples, epoch }: AugmentPosition,
): ImageShape {
  if (images.dtype !== "f32") {
    throw new DTypeError(`Cannot ${action} images of dtype ${images.dtype}: expected f32`);
  }
  if (images.ndim !== 4) {
    throw new ShapeError(
      `Cannot ${action} images of shape [${images.shape.join(", ")}]: expected [N, C, H, W]`,
    );
  }
  if (images.requiresGrad && isGradEnabled()) {
    throw new AutogradError(
      `Cannot ${action} images that need a gradient: expected images of a data set, as none passes`,
    );
  }
  const [count, channels, height, width] = images.shape;
  if (samples !== undefined) checkNumbers(action, "samples", samples, count, images.device);
  if (typeof epoch === "number") checkCount(`${action} images`, "epoch", epoch, 0, 2 ** 32 - 1);
  else if (epoch !== undefined) checkNumbers(action, "epoch", epoch, 1, images.device);
  return [channels, height, width];
}

function checkNumbers(
  action: string,
  name: string,
  t: Tensor,
  count: number,
  device: Device,
): void {
  if (t.dtype !== "i32" && t.dtype !== "u32") {
    throw new DTypeError(
      `Cannot ${action} images with ${name} of dtype ${t.dtype}: expected i32 or u32`,
    );
  }
  if (t.ndim !== 1 || t.shape[0] !== count) {
    throw new ShapeError(
      `Cannot ${action} images with ${name} of shape [${t.shape.join(", ")}]: expected [${count}]`,
    );
  }
  if (t.device !== device) {
    throw new TypeError(
      `Cannot ${action} images with ${name} on another device: found ${device.kind} and ${t.device.kind}`,
    );
  }
}
