/**
 * Values that parameters start from, drawn from a key: equal keys give equal bits.
 *
 * @example A weight for a layer of rectifiers
 * ```ts
 * import { init } from "@legoml/legoml/nn";
 * import { Key, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const options = { nonlinearity: "relu", key: new Key(42), device: referenceDevice() } as const;
 * const weight = init.kaimingNormal([64, 32], options);
 * assertEquals(weight.shape, [64, 32]);
 * assertEquals(await weight.data(), await init.kaimingNormal([64, 32], options).data());
 * ```
 *
 * @module
 */

import {
  type Device,
  full,
  type Key,
  normal,
  type Shape,
  ShapeError,
  showShape,
  type Tensor,
  truncatedNormal,
  uniform,
} from "../core/mod.ts";
import { sizeOf } from "../kernels/types.ts";

export { normal, truncatedNormal, uniform };

/** Where a new tensor lies, and which numbers it is drawn from. */
export interface InitOptions {
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the tensor lives. @default {the default device} */
  readonly device?: Device;
}

/** What a layer is followed by, by the names of the tensor methods. */
export type Nonlinearity =
  | "linear"
  | "conv2d"
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leakyRelu"
  | "selu";

/** How Kaiming initialisers scale. */
export interface KaimingOptions extends InitOptions {
  /** Slope of the leaky rectifier that follows. @default {0} */
  readonly a?: number;
  /** Keep the variance of outputs (`fanIn`) or of gradients (`fanOut`). @default {"fanIn"} */
  readonly mode?: "fanIn" | "fanOut";
  /** What follows the layer. @default {"leakyRelu"} */
  readonly nonlinearity?: Nonlinearity;
}

/** How Xavier initialisers scale. */
export interface XavierOptions extends InitOptions {
  /** Factor of the standard deviation. @default {1} */
  readonly gain?: number;
}

/** Numbers of inputs and outputs that meet in one weight. */
export interface Fans {
  /** Inputs of one output. */
  readonly fanIn: number;
  /** Outputs of one input. */
  readonly fanOut: number;
}

/**
 * Fan in and fan out of a weight, PyTorch's way: axis 1 and axis 0, each times the size of the
 * kernel.
 *
 * @param shape [out, in, ...kernel]
 * @returns both numbers
 * @throws {ShapeError} for fewer than two axes
 */
export function fans(shape: Shape): Fans {
  if (shape.length < 2) {
    throw new ShapeError(
      `Cannot compute the fans of a weight of shape ${showShape(shape)}: expected at least 2 axes`,
    );
  }
  const kernel = sizeOf(shape.slice(2));
  return { fanIn: shape[1] * kernel, fanOut: shape[0] * kernel };
}

/**
 * By how much a nonlinearity shrinks the standard deviation; the recommended factor against it.
 *
 * @param nonlinearity what follows the layer
 * @param slope of a leaky rectifier, 0.01 by default
 * @returns the factor, as torch.nn.init.calculate_gain
 * @throws {RangeError} for an unknown name
 */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  switch (nonlinearity) {
    case "linear":
    case "conv2d":
    case "sigmoid":
      return 1;
    case "tanh":
      return 5 / 3;
    case "relu":
      return Math.SQRT2;
    case "leakyRelu":
      return Math.sqrt(2 / (1 + slope * slope));
    case "selu":
      return 3 / 4;
    default:
      throw new RangeError(
        `Cannot calculate the gain of "${nonlinearity}": expected linear, conv2d, sigmoid, ` +
          "tanh, relu, leakyRelu or selu",
      );
  }
}

function kaimingStd(shape: Shape, options: KaimingOptions): number {
  const { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" } = options;
  if (mode !== "fanIn" && mode !== "fanOut") {
    throw new RangeError(`Cannot initialise in mode "${mode}": expected fanIn or fanOut`);
  }
  // A weight without elements has no fan; what it would be drawn from does not matter.
  return calculateGain(nonlinearity, a) / Math.sqrt(Math.max(1, fans(shape)[mode]));
}

function xavierStd(shape: Shape, { gain = 1 }: XavierOptions): number {
  const { fanIn, fanOut } = fans(shape);
  return gain * Math.sqrt(2 / Math.max(1, fanIn + fanOut));
}

function symmetric(shape: Shape, std: number, { key, device }: InitOptions): Tensor {
  const bound = Math.sqrt(3) * std;
  return uniform(shape, { low: -bound, high: bound, key, device });
}

/**
 * Uniform in ±gain·√(3 / fan): keeps the variance through layers of rectifiers.
 *
 * @param shape [out, in, ...kernel]
 * @param options slope, mode, nonlinearity, key, device
 * @returns f32 of the shape
 * @throws {ShapeError} for fewer than two axes
 *
 * Source: He et al., "Delving deep into rectifiers", 2015; torch.nn.init.kaiming_uniform_.
 */
export function kaimingUniform(shape: Shape, options: KaimingOptions = {}): Tensor {
  return symmetric(shape, kaimingStd(shape, options), options);
}

/**
 * Normal with the standard deviation gain / √fan.
 *
 * @param shape [out, in, ...kernel]
 * @param options slope, mode, nonlinearity, key, device
 * @returns f32 of the shape
 * @throws {ShapeError} for fewer than two axes
 *
 * Source: He et al., 2015; torch.nn.init.kaiming_normal_.
 */
export function kaimingNormal(shape: Shape, options: KaimingOptions = {}): Tensor {
  const { key, device } = options;
  return normal(shape, { mean: 0, std: kaimingStd(shape, options), key, device });
}

/**
 * Uniform in ±gain·√(6 / (fanIn + fanOut)): a compromise between outputs and gradients.
 *
 * @param shape [out, in, ...kernel]
 * @param options gain, key, device
 * @returns f32 of the shape
 * @throws {ShapeError} for fewer than two axes
 *
 * Source: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
 * networks", 2010; torch.nn.init.xavier_uniform_.
 */
export function xavierUniform(shape: Shape, options: XavierOptions = {}): Tensor {
  return symmetric(shape, xavierStd(shape, options), options);
}

/**
 * Normal with the standard deviation gain·√(2 / (fanIn + fanOut)).
 *
 * @param shape [out, in, ...kernel]
 * @param options gain, key, device
 * @returns f32 of the shape
 * @throws {ShapeError} for fewer than two axes
 *
 * Source: Glorot & Bengio, 2010; torch.nn.init.xavier_normal_.
 */
export function xavierNormal(shape: Shape, options: XavierOptions = {}): Tensor {
  const { key, device } = options;
  return normal(shape, { mean: 0, std: xavierStd(shape, options), key, device });
}

/**
 * One value everywhere.
 *
 * @param shape sizes of the axes
 * @param value the value
 * @param options device
 * @returns f32 of the shape
 */
export function constant(shape: Shape, value: number, options: InitOptions = {}): Tensor {
  return full(shape, value, { device: options.device });
}
