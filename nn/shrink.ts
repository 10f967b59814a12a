/** Activations that cut small values off, and softmax over channels. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { checkNumber } from "./checks.ts";
import { Module } from "./module.ts";
import type { SoftmaxOptions } from "./softmax.ts";

/** From where on values pass. */
export interface ShrinkOptions {
  /** Size up to which values become 0, at least 0. @default {0.5} */
  readonly lambda?: number;
}

/** What replaces small values. */
export interface ThresholdOptions {
  /** Values up to this one are replaced. */
  readonly threshold: number;
  /** What they become. */
  readonly value: number;
}

/**
 * `x` where `|x|` is above lambda, 0 elsewhere. As torch.nn.Hardshrink.
 *
 * @example
 * ```ts
 * import { Hardshrink } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([-2, 0.25, 1], { device: referenceDevice() });
 * assertEquals(await new Hardshrink().forward(x).array(), [-2, 0, 1]);
 * ```
 */
export class Hardshrink extends Module {
  /** Size up to which values become 0. */
  readonly lambda: number;

  /**
   * Takes the options.
   *
   * @param options lambda
   * @throws {RangeError} if lambda is below 0
   */
  constructor(options: ShrinkOptions = {}) {
    super();
    this.lambda = checkNumber("Hardshrink", "lambda", options.lambda ?? 0.5, [0, Infinity]);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.hardshrink(this.lambda);
  }
}

/**
 * `x` moved towards 0 by lambda, and 0 within it: `sign(x) · max(|x| − lambda, 0)`. As
 * torch.nn.Softshrink.
 *
 * @example
 * ```ts
 * import { Softshrink } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([-2, 0.25, 1], { device: referenceDevice() });
 * assertEquals(await new Softshrink().forward(x).array(), [-1.5, 0, 0.5]);
 * ```
 */
export class Softshrink extends Module {
  /** Size up to which values become 0. */
  readonly lambda: number;

  /**
   * Takes the options.
   *
   * @param options lambda
   * @throws {RangeError} if lambda is below 0
   */
  constructor(options: ShrinkOptions = {}) {
    super();
    this.lambda = checkNumber("Softshrink", "lambda", options.lambda ?? 0.5, [0, Infinity]);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.softshrink(this.lambda);
  }
}

/**
 * `x` where it is above a threshold, another value elsewhere. As torch.nn.Threshold.
 *
 * @example
 * ```ts
 * import { Threshold } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = new Threshold({ threshold: 1, value: -5 });
 * const x = tensor([0, 1, 2], { device: referenceDevice() });
 * assertEquals(await layer.forward(x).array(), [-5, -5, 2]);
 * ```
 */
export class Threshold extends Module {
  /** Values up to this one are replaced. */
  readonly threshold: number;
  /** What they become. */
  readonly value: number;

  /**
   * Takes the options.
   *
   * @param options threshold, value
   * @throws {RangeError} if one is no number
   */
  constructor(options: ThresholdOptions) {
    super();
    this.threshold = checkNumber("Threshold", "threshold", options.threshold);
    this.value = checkNumber("Threshold", "value", options.value);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.le(this.threshold).where(this.value, x).to(x.dtype);
  }
}

/**
 * Softmax over the channels of each pixel. As torch.nn.Softmax2d.
 *
 * @example
 * ```ts
 * import { Softmax2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[3, 1000]], [[3, 0]]]], { device: referenceDevice() });
 * assertEquals(await new Softmax2d().forward(x).array(), [[[[0.5, 1]], [[0.5, 0]]]]);
 * ```
 */
export class Softmax2d extends Module {
  /**
   * Applies softmax along the axis of channels.
   *
   * @param x [N, C, H, W] or [C, H, W], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if x holds no images
   */
  forward(x: Tensor): Tensor {
    if (x.ndim !== 3 && x.ndim !== 4) {
      throw new ShapeError(
        `Cannot apply Softmax2d to ${showShape(x.shape)}: expected [N, C, H, W] or [C, H, W]`,
      );
    }
    return x.softmax(-3).to(x.dtype);
  }
}

/**
 * Softmax of the negative: `e^−x / Σ e^−x` along an axis. As torch.nn.Softmin.
 *
 * @example
 * ```ts
 * import { Softmin } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[3, 3], [1000, 0]], { device: referenceDevice() });
 * assertEquals(await new Softmin({ dim: 1 }).forward(x).array(), [[0.5, 0.5], [0, 1]]);
 * ```
 */
export class Softmin extends Module {
  /** The axis along which the results sum to 1. */
  readonly dim: number;

  /**
   * Takes the options.
   *
   * @param options dim
   */
  constructor(options: SoftmaxOptions) {
    super();
    this.dim = options.dim;
  }

  /**
   * Applies the function along the axis.
   *
   * @param x a tensor with the axis, f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if there is no such axis
   */
  forward(x: Tensor): Tensor {
    return x.neg().softmax(this.dim).to(x.dtype);
  }
}
