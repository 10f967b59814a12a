/** Normalisation of images over their channels. */

import { type Device, full, ones, type Tensor, zeros } from "../core/mod.ts";
import { map, sumOf } from "../core/tensor/map.ts";
import { rowNorm } from "../core/tensor/row_norm.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { checkChannels, checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a normalisation of pixels is made. */
export interface LayerNorm2dOptions {
  /** Added to the variance. @default {1e-6} */
  readonly eps?: number;
  /** Whether a scale and a shift per channel are learnt. @default {true} */
  readonly affine?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/**
 * Normalises the channels of each pixel: `y = (x − mean) / √(variance + eps) · weight + bias` with
 * mean and biased variance over axis 1 alone.
 *
 * Parameters: `weight` and `bias` [C]. As the "channels first" LayerNorm of Liu et al., "A ConvNet
 * for the 2020s", 2022. It differs from `GroupNorm(1, C)`, which takes the statistics over height
 * and width, too.
 *
 * @example
 * ```ts
 * import { LayerNorm2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new LayerNorm2d(2, { eps: 0, device });
 * const x = tensor([[[[1, 10]], [[3, 30]]]], { device });
 * assertEquals(await layer.forward(x).array(), [[[[-1, -1]], [[1, 1]]]]);
 * ```
 */
export class LayerNorm2d extends Module {
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
   * @param numChannels number of channels, at least 1
   * @param options eps, affine, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numChannels: number, options: LayerNorm2dOptions = {}) {
    super();
    const { eps = 1e-6, affine = true, device } = options;
    this.numChannels = checkInteger("LayerNorm2d", "numChannels", numChannels, 1);
    this.eps = checkNumber("LayerNorm2d", "eps", eps, [0, Infinity]);
    if (!affine) return;
    this.weight = this.registerParameter("weight", ones([numChannels], { device }));
    this.bias = this.registerParameter("bias", zeros([numChannels], { device }));
  }

  /**
   * Normalises.
   *
   * @param x [N, numChannels, H, W], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if x holds no such images
   */
  forward(x: Tensor): Tensor {
    checkChannels("LayerNorm2d", x, [4, 4], this.numChannels);
    const [scale, shift] = [this.weight, this.bias].map((t) => t && t.reshape([-1, 1, 1]));
    return rowNorm({ x, axes: [1], eps: this.eps, scale, shift });
  }
}

/** How a global response normalisation is made. */
export interface GRNOptions {
  /** What gamma and beta start from; 0 makes the layer the identity. @default {0} */
  readonly init?: number;
  /** Added to the mean of the norms. @default {1e-6} */
  readonly eps?: number;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

const x = input(0);
const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);
const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
const square = apply("square", x);
const some = apply("gt", x, constant(0));
// The derivative of the norm at 0 is 0: the root sees 1 where there is nothing.
const norm = apply(
  "where",
  some,
  apply("sqrt", apply("where", some, x, constant(1))),
  constant(0),
);
const response = add(add(mul(mul(x, input(1)), input(2)), input(3)), x);

/**
 * Global response normalisation: `y = gamma · x · n + beta + x`, where n is the L2 norm of the
 * channel over height and width, divided by the mean of these norms over the channels plus eps.
 *
 * Parameters: `gamma` and `beta` [1, C, 1, 1], which start at 0 as in Woo et al., "ConvNeXt V2",
 * 2023. The derivative of the norm of an empty channel is 0.
 *
 * @example
 * ```ts
 * import { GRN } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([[[[1]], [[3]]]], { device });
 * assertEquals(await new GRN(2, { device }).forward(x).array(), await x.array());
 * const layer = new GRN(2, { init: 1, eps: 0, device });
 * assertEquals(await layer.forward(x).array(), [[[[2.5]], [[8.5]]]]); // n is 1/2 and 3/2
 * ```
 */
export class GRN extends Module {
  /** Number of channels, the size of axis 1. */
  readonly channels: number;
  /** Added to the mean of the norms. */
  readonly eps: number;
  /** Factor of the normalised input [1, C, 1, 1] */
  readonly gamma: Tensor;
  /** Shift [1, C, 1, 1] */
  readonly beta: Tensor;

  /**
   * Starts gamma and beta from one value.
   *
   * @param channels number of channels, at least 1
   * @param options init, eps, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(channels: number, options: GRNOptions = {}) {
    super();
    const { init = 0, eps = 1e-6, device } = options;
    this.channels = checkInteger("GRN", "channels", channels, 1);
    this.eps = checkNumber("GRN", "eps", eps, [0, Infinity]);
    const start = checkNumber("GRN", "init", init);
    const shape = [1, channels, 1, 1];
    this.gamma = this.registerParameter("gamma", full(shape, start, { device }));
    this.beta = this.registerParameter("beta", full(shape, start, { device }));
  }

  /**
   * Normalises.
   *
   * @param x [N, channels, H, W], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if x holds no such images
   */
  forward(x: Tensor): Tensor {
    checkChannels("GRN", x, [4, 4], this.channels);
    const squares = sumOf("GRN", square, [x], [2, 3]).reshape([x.shape[0], x.shape[1], 1, 1]);
    const norms = map("GRN", norm, [squares]);
    const share = norms.div(norms.mean(1, { keepdim: true }).add(this.eps));
    return map("GRN", response, [x, share, this.gamma, this.beta], { dtype: x.dtype });
  }
}
