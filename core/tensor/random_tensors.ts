/**
 * Tensors of random numbers: element i (in row-major order) is a function of the key and i, on
 * every device the same.
 */

import { normalCdf } from "../../kernels/normal_distribution.ts";
import { type Draw, randomKernel } from "../../kernels/random.ts";
import type { DType, Shape } from "../../kernels/types.ts";
import { currentCapture } from "../backend/capture.ts";
import { type Device, deviceOr } from "../backend/device.ts";
import { DTypeError } from "../errors.ts";
import { checkShape, tensor, type TensorOptions } from "./create.ts";
import { denseOperand } from "./launch.ts";
import { advanceStream, Key, nextKey, shuffled, streamKey } from "./random.ts";
import { noGrad } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** How a random tensor is made. */
export interface RandomOptions extends TensorOptions {
  /**
   * What the numbers are drawn from; a function is asked again by every replay of a captured step.
   * @default {the next key of the default stream}
   */
  readonly key?: Key | (() => Key);
}

/** Range of uniform(). */
export interface UniformOptions extends RandomOptions {
  /** Smallest value. @default {0} */
  readonly low?: number;
  /** Upper end, which does not belong to the range. @default {1} */
  readonly high?: number;
}

/** Moments of normal(). */
export interface NormalOptions extends RandomOptions {
  /** Mean of the numbers. @default {0} */
  readonly mean?: number;
  /** Standard deviation, at least 0. @default {1} */
  readonly std?: number;
}

/** Moments of truncatedNormal() before the cut, and the cut. */
export interface TruncatedNormalOptions extends NormalOptions {
  /** Smallest value. @default {-2} */
  readonly low?: number;
  /** Largest value. @default {2} */
  readonly high?: number;
}

/** Where a tensor of random numbers lives and what it is drawn from. */
export interface DrawOptions {
  /**
   * What the numbers are drawn from; a function is asked again by every replay of a captured step.
   * @default {the next key of the default stream}
   */
  readonly key?: Key | (() => Key);
  /** Where it lives. @default {the default device} */
  readonly device?: Device;
}

/** The key now, and how later replays of a captured step find theirs; a key that is given as such stays. */
function keyOf(given: Key | (() => Key) | undefined): { key: Key; live?: () => Key } {
  if (given === undefined) {
    advanceStream();
    return { key: streamKey(), live: streamKey };
  }
  return typeof given === "function" ? { key: given(), live: given } : { key: given };
}

/** Draws the numbers of a tensor; `dtype` f16 is rounded from f32. */
function draw(
  op: string,
  kind: Draw,
  shape: Shape,
  scalars: readonly number[],
  type: DType,
  options: RandomOptions,
): Tensor {
  const { key, live } = keyOf(options.key);
  if (!(key instanceof Key)) {
    throw new TypeError(`Cannot draw ${op} numbers from ${typeof key}: expected a Key`);
  }
  const { dtype = type } = options;
  if (dtype !== type && !(type === "f32" && dtype === "f16")) {
    throw new DTypeError(
      `Cannot draw ${op} numbers of dtype ${dtype}: expected ${
        type === "f32" ? "f32 or f16" : type
      }`,
    );
  }
  const device = deviceOr(options.device);
  const full = empty(device, checkShape("tensor", shape), type, op);
  if (full.size > 0) {
    device.record({
      kernel: randomKernel({ draw: kind, count: full.size }),
      inputs: [],
      outputs: [denseOperand(full)],
      scalars: [key.k0, key.k1, ...scalars],
      live: live && (() => {
        const { k0, k1 } = live();
        return [k0, k1, ...scalars];
      }),
    });
  }
  const out = noGrad(() => full.to(dtype));
  if (out !== full) full.dispose();
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

function checkNumbers(op: string, numbers: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) {
      throw new RangeError(
        `Cannot draw ${op} numbers with ${name} ${value}: expected a finite f32`,
      );
    }
  }
}

function checkProbability(op: string, p: number): void {
  if (!(p >= 0 && p <= 1)) {
    throw new RangeError(`Cannot draw ${op} numbers with p ${p}: expected a number from 0 to 1`);
  }
}

/** The largest f32 below a finite one. */
function below(value: number): number {
  const words = new Int32Array(1);
  const floats = new Float32Array(words.buffer);
  floats[0] = value;
  if (floats[0] === 0) return -(2 ** -149);
  words[0] += floats[0] > 0 ? -1 : 1;
  return floats[0];
}

/**
 * Numbers evenly distributed over [low, high): `low + (high - low) · k / 2^24`.
 *
 * @param shape sizes of the axes
 * @param options range, key, dtype (f32, or f16, whose rounding may reach `high`), device,
 * requiresGrad
 * @throws {RangeError} if an end is not finite, or `low` above `high`
 * @throws {DTypeError} if the dtype is no float
 *
 * @example
 * ```ts
 * import { Key, referenceDevice, uniform } from "@legoml/legoml/core";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const options = { key: new Key(42), low: -1, device: referenceDevice() };
 * const values = await uniform([3], options).data();
 * assert(values.every((x) => x >= -1 && x < 1));
 * assertEquals(await uniform([3], options).data(), values);
 * ```
 */
export function uniform(shape: Shape, options: UniformOptions = {}): Tensor {
  const { low = 0, high = 1 } = options;
  checkNumbers("uniform", { low, high, "high - low": high - low });
  if (low > high) {
    throw new RangeError(
      `Cannot draw uniform numbers from ${low} to ${high}: expected low not to be above high`,
    );
  }
  return draw("uniform", "uniform", shape, [low, high - low, below(high)], "f32", options);
}

/**
 * Normally distributed numbers, by Box and Muller's method.
 *
 * @param shape sizes of the axes
 * @param options mean, std, key, dtype (f32 or f16), device, requiresGrad
 * @throws {RangeError} if the mean is not finite, or the deviation not finite or negative
 * @throws {DTypeError} if the dtype is no float
 *
 * @example
 * ```ts
 * import { Key, normal, referenceDevice } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = normal([10_000], { mean: 3, std: 0.1, key: new Key(0), device });
 * assertAlmostEquals(await x.mean().item(), 3, 0.01);
 * ```
 */
export function normal(shape: Shape, options: NormalOptions = {}): Tensor {
  const { mean = 0, std = 1 } = options;
  checkMoments("normal", mean, std);
  return draw("normal", "normal", shape, [mean, std], "f32", options);
}

function checkMoments(op: string, mean: number, std: number): void {
  checkNumbers(op, { mean, std });
  if (std < 0) {
    throw new RangeError(
      `Cannot draw ${op} numbers with std ${std}: expected a number of at least 0`,
    );
  }
}

/** Probabilities below this one have no f32 that could be told from 0. */
const SMALLEST_SPAN = 1e-30;

/**
 * Normally distributed numbers of which only those from `low` to `high` are taken, by inverting the
 * distribution function.
 *
 * @param shape sizes of the axes
 * @param options mean and std before the cut, the ends of the cut, key, dtype (f32 or f16), device,
 * requiresGrad
 * @throws {RangeError} if `low` is not below `high`, or if hardly any normal number lies between
 * them
 * @throws {DTypeError} if the dtype is no float
 *
 * @example
 * ```ts
 * import { Key, referenceDevice, truncatedNormal } from "@legoml/legoml/core";
 * import { assert } from "@std/assert";
 *
 * const options = { std: 0.02, low: -0.04, high: 0.04, key: new Key(0), device: referenceDevice()
 * }; const values = await truncatedNormal([100], options).data(); assert(values.every((x) =>
 * Math.abs(x) <= 0.04));
 * ```
 */
export function truncatedNormal(shape: Shape, options: TruncatedNormalOptions = {}): Tensor {
  const { mean = 0, std = 1, low = -2, high = 2 } = options;
  checkMoments("truncated normal", mean, std);
  checkNumbers("truncated normal", { low, high });
  const [from, until] = [(low - mean) / std, (high - mean) / std];
  // Both ends from the side on which neither is close to 1.
  const span = from > 0 ? normalCdf(-from) - normalCdf(-until) : normalCdf(until) - normalCdf(from);
  if (!(low < high) || !(span >= SMALLEST_SPAN)) {
    throw new RangeError(
      `Cannot draw normal numbers of mean ${mean} and deviation ${std} from ${low} to ${high}: ` +
        "expected low below high, and not both far out in one tail",
    );
  }
  const scalars = [mean, std, low, high, normalCdf(from), normalCdf(-until), span];
  return draw("truncated normal", "truncated", shape, scalars, "f32", options);
}

/**
 * Integers evenly distributed over [low, high).
 *
 * @param low smallest value, an i32
 * @param high upper end, which does not belong to the range; at most 2^31
 * @param shape sizes of the axes
 * @param options key and device
 * @returns i32
 * @throws {RangeError} if the ends are no integers of that range, or `low` is not below `high`
 *
 * @example
 * ```ts
 * import { Key, randint, referenceDevice } from "@legoml/legoml/core";
 * import { assert } from "@std/assert";
 *
 * const dice = randint(1, 7, [20], { key: new Key(0), device: referenceDevice() });
 * assert((await dice.data()).every((x) => x >= 1 && x <= 6));
 * ```
 */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: DrawOptions = {},
): Tensor {
  const valid = Number.isInteger(low) && Number.isInteger(high) && low >= -(2 ** 31) &&
    high <= 2 ** 31 && low < high && high - low < 2 ** 32;
  if (!valid) {
    throw new RangeError(
      `Cannot draw integers from ${low} to before ${high}: expected integers of 32 bits, the ` +
        "first smaller",
    );
  }
  return draw("integer", "integer", shape, [low, high - low], "i32", options);
}

/**
 * Words of 32 random bits.
 *
 * @param shape sizes of the axes
 * @param options key and device
 * @returns u32
 */
export function randomBits(shape: Shape, options: DrawOptions = {}): Tensor {
  return draw("random", "bits", shape, [], "u32", options);
}

/** `[0, 2^24)` holds the draws of a probability. */
function threshold(p: number): number {
  return Math.ceil(p * 2 ** 24);
}

/**
 * Ones with a probability, else zeros.
 *
 * @param shape sizes of the axes
 * @param p probability of a one, from 0 to 1
 * @param options key, dtype (f32 or f16), device
 * @throws {RangeError} if `p` is no probability
 * @throws {DTypeError} if the dtype is no float
 */
export function bernoulli(shape: Shape, p: number, options: RandomOptions = {}): Tensor {
  checkProbability("Bernoulli", p);
  return draw("Bernoulli", "choice", shape, [threshold(p), 1, 0], "f32", options);
}

/**
 * What dropout multiplies with: 0 with probability `p`, else `1 / (1 - p)`.
 *
 * @param shape sizes of the axes
 * @param p probability of a zero, from 0 to 1
 * @param key what it is drawn from; a function is asked again by every replay of a captured step
 * @param device where it lives; the default device by default
 * @returns f32
 * @throws {RangeError} if `p` is no probability
 */
export function dropoutMask(
  shape: Shape,
  p: number,
  key: Key | (() => Key),
  device?: Device,
): Tensor {
  checkProbability("dropout", p);
  const scalars = [threshold(p), 0, p < 1 ? 1 / (1 - p) : 0];
  return draw("dropout", "choice", shape, scalars, "f32", { key, device });
}

/**
 * The numbers 0 to n - 1 in random order, by Fisher and Yates' shuffle on the host: one keyed
 * number for each exchange.
 *
 * @param n how many, from 0 to 2^31 - 1
 * @param options key and device
 * @returns [n] i32
 * @throws {RangeError} if `n` is no integer of that range
 */
export function permutation(n: number, options: DrawOptions = {}): Tensor {
  if (!Number.isInteger(n) || n < 0 || n >= 2 ** 31) {
    throw new RangeError(
      `Cannot permute ${n} numbers: expected an integer from 0 to 2^31 - 1`,
    );
  }
  currentCapture()?.refuse("permute numbers on the host");
  const { key = nextKey(), device } = options;
  const drawn = typeof key === "function" ? key() : key;
  return tensor(Int32Array.from(shuffled(n, drawn)), { device });
}
