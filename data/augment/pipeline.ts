/** Steps of augmentation one after the other, on a device or on the host. */

import { noGrad, type Tensor } from "../../core/mod.ts";
import {
  type AugmentMachine,
  deviceMachine,
  drawColumns,
  type DrawPlace,
  hostMachine,
  place,
  rowsOf,
} from "../../core/tensor/augment_images.ts";
import { checkCount } from "../checks.ts";
import { checkBatch, DrawCounter, keyOf, type RandomSource } from "./position.ts";
import { type PipelinePlan, planSteps } from "./plan.ts";
import { parsePipeline } from "./registry.ts";
import type { AugmentPosition } from "./position.ts";
import {
  type Augmentation,
  type AugmentationJson,
  type ImageShape,
  isStep,
  type PlannedStep,
} from "./step.ts";

/** A pipeline as plain data. */
export interface AugmentPipelineJson {
  /** Seed of its random numbers; absent where a key was given. */
  readonly seed?: number;
  /** Its steps. */
  readonly steps: readonly AugmentationJson[];
}

/** An augmented image on the host. */
export interface AugmentedImage {
  /** Channels outermost, in row-major order. */
  readonly values: Float32Array<ArrayBuffer>;
  /** Channels, height, width. */
  readonly shape: ImageShape;
}

/**
 * Steps of augmentation, one after the other.
 *
 * What happens to an image is a function of seed, its number and the epoch (or the count of calls),
 * whatever else draws random numbers. So there is nothing to save but that count, and the host and
 * all devices do the same to it, up to rounding. Neighbouring steps that move whole pixels or change
 * each by itself share one kernel.
 *
 * Pixels are from 0 to 1 until {@linkcode normalizeImages}. Gradients do not pass through.
 *
 * @example
 * ```ts
 * import { jit, Key, referenceDevice, uniform } from "@legoml/legoml/core";
 * import { AugmentPipeline, randomCrop, randomHorizontalFlip } from "@legoml/legoml/data";
 * import { assertEquals, assertNotEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const steps = [randomCrop({ padding: 2 }), randomHorizontalFlip()];
 * const augment = new AugmentPipeline(steps, { seed: 42 });
 * const step = jit((x: ReturnType<typeof uniform>) => augment.apply(x));
 * const images = uniform([4, 3, 8, 8], { key: new Key(0), device });
 * const first = await step(images).data();
 * assertNotEquals(await step(images).data(), first);
 * augment.position = 0; // where a run starts again
 * assertEquals(await step(images).data(), first);
 * ```
 */
export class AugmentPipeline {
  /** What happens, in this order. */
  readonly steps: readonly Augmentation[];
  readonly #steps: readonly PlannedStep[];
  readonly #source: RandomSource;
  readonly #counter: DrawCounter;
  readonly #plans = new Map<string, PipelinePlan>();

  /**
   * Takes steps.
   *
   * @param steps what happens, in this order
   * @param source a seed, or a key. Default: seed 0
   * @throws {RangeError} if the seed is not a whole number from 0 to 2^53 - 1
   * @throws {TypeError} if a step or the key is none
   */
  constructor(steps: readonly Augmentation[], source: RandomSource = {}) {
    this.#steps = steps.map((step, at) => {
      if (isStep(step)) return step;
      throw new TypeError(
        `Cannot make an AugmentPipeline: expected steps such as randomCrop(), found ${typeof step} ` +
          `at ${at}`,
      );
    });
    this.steps = this.#steps;
    this.#source = source;
    this.#counter = new DrawCounter("AugmentPipeline", keyOf(source, "augmentation"));
  }

  /** Calls of `apply` without an epoch so far; set it to continue a run. */
  get position(): number {
    return this.#counter.position;
  }

  set position(value: number) {
    this.#counter.position = value;
  }

  /** Whether any step draws random numbers. */
  get isRandom(): boolean {
    return this.steps.some((step) => step.isRandom);
  }

  /** The steps that are not random, for evaluation. */
  evaluation(): AugmentPipeline {
    return new AugmentPipeline(this.steps.filter((step) => !step.isRandom), this.#source);
  }

  /**
   * Shape of the images that come out.
   *
   * @param shape channels, height, width of those that go in
   * @returns the same of the results
   * @throws {RangeError} if a step cannot change such images
   */
  outputShape(shape: ImageShape): ImageShape {
    return this.#plan(shape).shape;
  }

  /**
   * Changes a batch on its device, also inside of a captured step.
   *
   * Image n is drawn by `samples[n]`, else by n; and by the epoch, else by the count of calls.
   *
   * @param images f32 [N, C, H, W], from 0 to 1
   * @param at `samples`: i32 or u32 [N], such as an `ImageBatch`'s `indices`; `epoch`: i32 or u32
   * [1], or a whole number, which captured steps keep
   * @returns f32 [N, C, H', W'], channels last in memory, without a history
   * @throws {ShapeError} if there are no such images, or samples and epoch do not fit
   * @throws {DTypeError} if a tensor has another dtype
   * @throws {AutogradError} if the images need a gradient
   * @throws {RangeError} if a step cannot change such images
   */
  apply(images: Tensor, at: AugmentPosition = {}): Tensor {
    const shape = checkBatch("augment", images, at);
    const plan = this.#plan(shape);
    if (images.shape[0] === 0) {
      throw new RangeError("Cannot augment an empty batch: expected at least one image");
    }
    const draws = plan.columns.length === 0 ? null : this.#counter.place(at);
    return noGrad(() => runPlan(deviceMachine(images.device), plan, images, draws));
  }

  /**
   * Changes one image on the host, as `apply` does on a device, in double precision.
   *
   * @param image bytes, which become `byte / 255`, or values from 0 to 1; channels outermost
   * @param shape channels, height, width
   * @param at number of the image and epoch, whole numbers from 0 to 2^32 - 1
   * @returns values and shape
   * @throws {RangeError} if the image has another size, or a step cannot change it
   */
  applyToImage(
    image: Uint8Array | Float32Array,
    shape: ImageShape,
    at: { readonly sample: number; readonly epoch: number },
  ): AugmentedImage {
    const [channels, height, width] = shape;
    const area = height * width;
    checkCount("augment an image", "sample", at.sample, 0, 2 ** 32 - 1);
    checkCount("augment an image", "epoch", at.epoch, 0, 2 ** 32 - 1);
    if (image.length !== channels * area) {
      throw new RangeError(
        `Cannot augment an image of shape [${shape.join(", ")}]: expected ${
          channels * area
        } values, found ${image.length}`,
      );
    }
    const plan = this.#plan(shape);
    const scale = image instanceof Uint8Array ? 255 : 1;
    const data = Float64Array.from(image, (value) => value / scale);
    const block = { data, shape: [1, ...shape], strides: [channels * area, area, width, 1] };
    const samples = { data: Float64Array.of(at.sample), shape: [1], strides: [1] };
    const { k0, k1 } = this.#counter.key;
    const words = { now: [k0, k1, at.epoch] };
    const out = runPlan(hostMachine, plan, block, { samples, words });
    return { values: planar(out), shape: plan.shape };
  }

  /**
   * The pipeline as plain data, for {@linkcode AugmentPipeline.fromJSON}.
   *
   * @returns seed and steps
   */
  toJSON(): AugmentPipelineJson {
    const steps = this.steps.map((step) => step.toJSON());
    const { key, seed = 0 } = this.#source;
    return key === undefined ? { seed, steps } : { steps };
  }

  /**
   * A pipeline from plain data.
   *
   * @param json from `toJSON`, or written by hand; options that are left out have their defaults
   * @returns the pipeline
   * @throws {TypeError} if it is no such data, or a step has an unknown name or option
   * @throws {RangeError} if an option is out of range
   */
  static fromJSON(json: AugmentPipelineJson): AugmentPipeline {
    const { steps, seed } = parsePipeline(json);
    return new AugmentPipeline(steps, { seed });
  }

  #plan(shape: ImageShape): PipelinePlan {
    const key = String(shape);
    let plan = this.#plans.get(key);
    if (plan === undefined) this.#plans.set(key, plan = planSteps(this.#steps, shape));
    return plan;
  }
}

/**
 * Makes an {@linkcode AugmentPipeline}.
 *
 * @param steps what happens, in this order
 * @param source a seed, or a key. Default: seed 0
 * @returns the pipeline
 * @throws {RangeError} if the seed is not a whole number from 0 to 2^53 - 1
 * @throws {TypeError} if a step or the key is none
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { compose, cutout, digits, ImageLoader, normalizeImages } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const normalization = { mean: 0.13, std: 0.31 };
 * const augment = compose([normalizeImages(normalization), cutout({ size: 8 })], { seed: 42 });
 * // Pixels from 0 to 1, since the pipeline normalises them.
 * using loader = new ImageLoader(digits({ split: "train", count: 20 }), {
 *   batchSize: 10,
 *   shuffle: true,
 *   normalization: { mean: 0, std: 1 },
 *   device: referenceDevice(),
 * });
 * for await (const { inputs, indices } of loader) {
 *   assertEquals(augment.apply(inputs, { samples: indices }).shape, [10, 1, 28, 28]);
 * }
 * ```
 */
export function compose(
  steps: readonly Augmentation[],
  source: RandomSource = {},
): AugmentPipeline {
  return new AugmentPipeline(steps, source);
}

function runPlan<T>(
  machine: AugmentMachine<T>,
  plan: PipelinePlan,
  images: T,
  where: DrawPlace<T> | null,
): T {
  const [count] = machine.shapeOf(images);
  const draws = plan.columns.length === 0
    ? null
    : drawColumns(machine, count, plan.columns, where!);
  let now = images;
  for (const { parts, box, apply } of plan.stages) {
    let next: T;
    if (apply !== undefined) next = apply(machine, now, draws!);
    else {
      const rows = box === undefined ? null : rowsOf(machine, box, draws!);
      next = place(machine, now, parts!, draws, rows);
      if (rows !== null) machine.drop(rows);
    }
    if (now !== images) machine.drop(now);
    now = next;
  }
  if (draws !== null) machine.drop(draws);
  return now;
}

/** Channels outermost, from any order. */
function planar(block: {
  readonly data: Float64Array;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}): Float32Array<ArrayBuffer> {
  const [, channels, height, width] = block.shape;
  const [, sc, sy, sx] = block.strides;
  const out = new Float32Array(channels * height * width);
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) out[to++] = block.data[c * sc + y * sy + x * sx];
    }
  }
  return out;
}
