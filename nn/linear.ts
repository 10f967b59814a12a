/** The affine layer. */

import { linear, nextKey, type Tensor } from "../core/mod.ts";
import { checkInteger } from "./checks.ts";
import { type InitOptions, kaimingUniform, uniform } from "./init.ts";
import { Module } from "./module.ts";

/** How a linear layer is made. */
export interface LinearOptions extends InitOptions {
  /** Whether a bias is added. @default {true} */
  readonly bias?: boolean;
}

/**
 * Affine map over the last axis: `y = x Wᵀ + b`.
 *
 * Parameters: `weight` [outFeatures, inFeatures] and `bias` [outFeatures], both uniform in
 * ±1/√inFeatures, as torch.nn.Linear. Sums accumulate in f32.
 *
 * @example
 * ```ts
 * import { Linear } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new Linear(2, 1, { device });
 * layer.loadStateDict({
 *   weight: tensor([[2, 3]], { device }),
 *   bias: tensor([1], { device }),
 * });
 * const y = layer.forward(tensor([[1, 0], [0, 1]], { device }));
 * assertEquals(await y.array(), [[3], [4]]);
 * ```
 */
export class Linear extends Module {
  /** Size of the last axis of the input. */
  readonly inFeatures: number;
  /** Size of the last axis of the output. */
  readonly outFeatures: number;
  /** [outFeatures, inFeatures] */
  readonly weight: Tensor;
  /** [outFeatures], or null */
  readonly bias: Tensor | null;

  /**
   * Draws weight and bias from the key.
   *
   * @param inFeatures size of the last axis of the input, at least 0
   * @param outFeatures size of the last axis of the output, at least 0
   * @param options bias, key, device
   * @throws {RangeError} if a size is no integer of at least 0
   */
  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    const { bias = true, key = nextKey(), device } = options;
    this.inFeatures = checkInteger("Linear", "inFeatures", inFeatures, 0);
    this.outFeatures = checkInteger("Linear", "outFeatures", outFeatures, 0);
    const weight = kaimingUniform([outFeatures, inFeatures], {
      a: Math.sqrt(5),
      key: key.fold("weight"),
      device,
    });
    this.weight = this.registerParameter("weight", weight);
    this.bias = bias
      ? this.registerParameter("bias", fanInBias(outFeatures, inFeatures, { key, device }))
      : null;
  }

  /**
   * Applies the map.
   *
   * @param x [..., inFeatures], f32 or f16
   * @returns [..., outFeatures], of the same dtype
   * @throws {ShapeError} if the last axis is not inFeatures
   */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/**
 * PyTorch's start of a bias: uniform in ±1/√fanIn.
 *
 * @param size number of outputs
 * @param fanIn inputs of one output; 0 gives zeros
 * @param options the key of the layer, and the device
 * @returns [size] f32
 */
export function fanInBias(size: number, fanIn: number, options: InitOptions): Tensor {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  const { key = nextKey(), device } = options;
  return uniform([size], { low: -bound, high: bound, key: key.fold("bias"), device });
}
