/** Normalisation of each sample by itself. */

import { type Device, ones, ShapeError, showShape, type Tensor, zeros } from "../core/mod.ts";
import { rowNorm } from "../core/tensor/row_norm.ts";
import { checkChannels, checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a layer normalisation is made. */
export interface LayerNormOptions {
  /** Added to the variance. @default {1e-5} */
  readonly eps?: number;
  /** Whether a scale (and a shift) per element are learnt. @default {true} */
  readonly elementwiseAffine?: boolean;
  /** Whether the shift is learnt, where the scale is. @default {true} */
  readonly bias?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/**
 * Normalises the last axes of each sample: `y = (x − mean) / √(variance + eps) · weight + bias`.
 *
 * Mean and biased variance are taken over the axes of `normalizedShape`, in two passes. As
 * torch.nn.LayerNorm; Ba, Kiros & Hinton, "Layer normalization", 2016.
 *
 * @example
 * ```ts
 * import { LayerNorm } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new LayerNorm(2, { eps: 0, device });
 * const y = layer.forward(tensor([[1, 3], [10, 30]], { device }));
 * assertEquals(await y.array(), [[-1, 1], [-1, 1]]);
 * ```
 */
export class LayerNorm extends Module {
  /** Sizes of the last axes, over which the statistics are taken. */
  readonly normalizedShape: readonly number[];
  /** Added to the variance. */
  readonly eps: number;
  /** Scale of the normalized shape, or null */
  readonly weight: Tensor | null = null;
  /** Shift of the normalized shape, or null */
  readonly bias: Tensor | null = null;

  /**
   * Starts with weight 1 and bias 0.
   *
   * @param normalizedShape sizes of the last axes, or the size of the last one
   * @param options eps, elementwiseAffine, bias, device
   * @throws {RangeError} if a number is out of its range, or there is no axis
   */
  constructor(normalizedShape: number | readonly number[], options: LayerNormOptions = {}) {
    super();
    const { eps = 1e-5, elementwiseAffine = true, bias = true, device } = options;
    const shape = typeof normalizedShape === "number" ? [normalizedShape] : [...normalizedShape];
    if (shape.length === 0) {
      throw new RangeError("Cannot make LayerNorm over no axes: expected at least one size");
    }
    for (const size of shape) checkInteger("LayerNorm", "normalizedShape", size, 1);
    this.normalizedShape = shape;
    this.eps = checkNumber("LayerNorm", "eps", eps, [0, Infinity]);
    if (!elementwiseAffine) return;
    this.weight = this.registerParameter("weight", ones(shape, { device }));
    if (bias) this.bias = this.registerParameter("bias", zeros(shape, { device }));
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
        `Cannot apply LayerNorm to ${showShape(x.shape)}: expected the last axes to be ${
          showShape(shape)
        }`,
      );
    }
    const axes = shape.map((_, d) => first + d);
    return rowNorm({ x, axes, eps: this.eps, scale: this.weight, shift: this.bias });
  }
}

/** How a group normalisation is made. */
export interface GroupNormOptions {
  /** Added to the variance. @default {1e-5} */
  readonly eps?: number;
  /** Whether a scale and a shift per channel are learnt. @default {true} */
  readonly affine?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/**
 * Normalises groups of channels of each sample: `y = (x − mean) / √(variance + eps) · weight +
 * bias`.
 *
 * Mean and biased variance are taken over the channels of a group and all further axes. As
 * torch.nn.GroupNorm; Wu & He, "Group normalization", 2018.
 *
 * @example
 * ```ts
 * import { GroupNorm } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new GroupNorm(2, 4, { eps: 0, device });
 * const y = layer.forward(tensor([[1, 3, 10, 30]], { device }));
 * assertEquals(await y.array(), [[-1, 1, -1, 1]]);
 * ```
 */
export class GroupNorm extends Module {
  /** Number of groups. */
  readonly numGroups: number;
  /** Number of channels, the size of axis 1. */
  readonly numChannels: number;
  /** Added to the variance. */
  readonly eps: number;
  /** Scale [numChannels], or null */
  readonly weight: Tensor | null = null;
  /** Shift [numChannels], or null */
  readonly bias: Tensor | null = null;

  /**
   * Starts with weight 1 and bias 0.
   *
   * @param numGroups number of groups, at least 1
   * @param numChannels number of channels, divisible by the groups
   * @param options eps, affine, device
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super();
    const { eps = 1e-5, affine = true, device } = options;
    this.numGroups = checkInteger("GroupNorm", "numGroups", numGroups, 1);
    this.numChannels = checkInteger("GroupNorm", "numChannels", numChannels, 1);
    this.eps = checkNumber("GroupNorm", "eps", eps, [0, Infinity]);
    if (numChannels % numGroups !== 0) {
      throw new RangeError(
        `Cannot make GroupNorm of ${numChannels} channels in ${numGroups} groups: expected the ` +
          "channels to be divisible by the groups",
      );
    }
    if (!affine) return;
    this.weight = this.registerParameter("weight", ones([numChannels], { device }));
    this.bias = this.registerParameter("bias", zeros([numChannels], { device }));
  }

  /**
   * Normalises.
   *
   * @param x [N, numChannels, ...], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if axis 1 is not numChannels
   */
  forward(x: Tensor): Tensor {
    checkChannels("GroupNorm", x, [2, Infinity], this.numChannels);
    const { numGroups, numChannels } = this;
    const [n, , ...rest] = x.shape;
    const grouped = x.reshape([n, numGroups, numChannels / numGroups, ...rest]);
    const axes = grouped.shape.map((_, d) => d).slice(2);
    const shape = [numGroups, numChannels / numGroups, ...rest.map(() => 1)];
    const scale = this.weight && this.weight.reshape(shape);
    const shift = this.bias && this.bias.reshape(shape);
    return rowNorm({ x: grouped, axes, eps: this.eps, scale, shift }).reshape(x.shape);
  }
}
