/** Softmax as a layer, and its logarithm. */

import type { Tensor } from "../core/mod.ts";
import { Module } from "./module.ts";

/** Along which axis the results sum to 1. */
export interface SoftmaxOptions {
  /** The axis; negative ones count from the end. */
  readonly dim: number;
}

/**
 * Exponentials that sum to 1 along an axis: `e^x / Σ e^x`, without overflow. As torch.nn.Softmax.
 *
 * @example
 * ```ts
 * import { Softmax } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[3, 3], [1000, 0]], { device: referenceDevice() });
 * assertEquals(await new Softmax({ dim: 1 }).forward(x).array(), [[0.5, 0.5], [1, 0]]);
 * ```
 */
export class Softmax extends Module {
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
    return x.softmax(this.dim).to(x.dtype);
  }
}

/**
 * Logarithm of the softmax along an axis: `x − log Σ e^x`, without overflow. As
 * torch.nn.LogSoftmax.
 */
export class LogSoftmax extends Module {
  /** The axis along which the exponentials of the results sum to 1. */
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
    return x.logSoftmax(this.dim).to(x.dtype);
  }
}
