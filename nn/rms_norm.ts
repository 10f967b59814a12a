/** Normalisation by the root mean square. */

import { type Device, ones, ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { rowNorm } from "../core/tensor/row_norm.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a root-mean-square normalisation is made. */
export interface RMSNormOptions {
  /** Added to the mean square. @default {2 ** -23, the step of f32 at 1} */
  readonly eps?: number;
  /** Whether a scale per element is learnt. @default {true} */
  readonly elementwiseAffine?: boolean;
  /** Where the parameter lives. @default {the default device} */
  readonly device?: Device;
}

/**
 * Normalises the last axes by their root mean square: `y = x / √(mean(x²) + eps) · weight`.
 *
 * Parameter: `weight` of the normalized shape. As torch.nn.RMSNorm (PyTorch 2.4); Zhang & Sennrich,
 * "Root mean square layer normalization", 2019. For f16 inputs, too, eps is that of f32, in which
 * the layer computes.
 *
 * @example
 * ```ts
 * import { RMSNorm } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new RMSNorm(4, { eps: 0, device });
 * const y = layer.forward(tensor([[2, -2, 2, 2]], { device }));
 * assertEquals(await y.array(), [[1, -1, 1, 1]]);
 * ```
 */
export class RMSNorm extends Module {
  /** Sizes of the last axes, over which the mean square is taken. */
  readonly normalizedShape: readonly number[];
  /** Added to the mean square. */
  readonly eps: number;
  /** Scale of the normalized shape, or null */
  readonly weight: Tensor | null = null;

  /**
   * Starts with weight 1.
   *
   * @param normalizedShape sizes of the last axes, or the size of the last one
   * @param options eps, elementwiseAffine, device
   * @throws {RangeError} if a number is out of its range, or there is no axis
   */
  constructor(normalizedShape: number | readonly number[], options: RMSNormOptions = {}) {
    super();
    const { eps = 2 ** -23, elementwiseAffine = true, device } = options;
    const shape = typeof normalizedShape === "number" ? [normalizedShape] : [...normalizedShape];
    if (shape.length === 0) {
      throw new RangeError("Cannot make RMSNorm over no axes: expected at least one size");
    }
    for (const size of shape) checkInteger("RMSNorm", "normalizedShape", size, 1);
    this.normalizedShape = shape;
    this.eps = checkNumber("RMSNorm", "eps", eps, [0, Infinity]);
    if (elementwiseAffine) this.weight = this.registerParameter("weight", ones(shape, { device }));
  }

  /**
   * Normalises.
   *
   * @param x [..., ...normalizedShape], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if the last axes are not the normalized shape
   */
  forward(x: Tensor): Tensor {
    const { normalizedShape: shape } = this;
    const first = x.ndim - shape.length;
    if (first < 0 || shape.some((n, d) => n !== x.shape[first + d])) {
      throw new ShapeError(
        `Cannot apply RMSNorm to ${showShape(x.shape)}: expected the last axes to be ${
          showShape(shape)
        }`,
      );
    }
    const axes = shape.map((_, d) => first + d);
    return rowNorm({ x, axes, eps: this.eps, centered: false, scale: this.weight, shift: null });
  }
}
