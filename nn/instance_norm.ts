/** Normalisation of each channel of each sample. */

import {
  type Device,
  noGrad,
  ones,
  ShapeError,
  showShape,
  type Tensor,
  zeros,
} from "../core/mod.ts";
import { updateInto } from "../core/tensor/in_place.ts";
import { map } from "../core/tensor/map.ts";
import { rowNorm } from "../core/tensor/row_norm.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How an instance normalisation is made. */
export interface InstanceNormOptions {
  /** Added to the variance. @default {1e-5} */
  readonly eps?: number;
  /** Share of the new batch in the running statistics, from 0 to 1. @default {0.1} */
  readonly momentum?: number;
  /** Whether a scale and a shift per channel are learnt. @default {false} */
  readonly affine?: boolean;
  /**
   * Whether running statistics are kept for evaluation; otherwise each sample uses its own.
   * @default {false}
   */
  readonly trackRunningStats?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** What instance normalisations of any number of axes share. */
export abstract class InstanceNorm extends Module {
  /** Number of channels. */
  readonly numFeatures: number;
  /** Added to the variance. */
  readonly eps: number;
  /** Share of the new batch in the running statistics. */
  readonly momentum: number;
  /** Scale [numFeatures], or null */
  readonly weight: Tensor | null = null;
  /** Shift [numFeatures], or null */
  readonly bias: Tensor | null = null;
  /** Mean over the samples of their means [numFeatures], or null */
  readonly running_mean: Tensor | null = null;
  /** Mean over the samples of their unbiased variances [numFeatures], or null */
  readonly running_var: Tensor | null = null;
  /** A key of PyTorch's state dict, which counts nothing there either; an i32 scalar, or null */
  readonly num_batches_tracked: Tensor | null = null;
  readonly #space: number;

  /**
   * Starts with weight 1, bias 0, running mean 0 and running variance 1, as far as there are any.
   *
   * @param numFeatures number of channels, at least 1
   * @param options eps, momentum, affine, trackRunningStats, device
   * @param space number of axes behind that of channels
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numFeatures: number, options: InstanceNormOptions, space: number) {
    super();
    const owner = new.target.name;
    const { eps = 1e-5, momentum = 0.1, affine = false, trackRunningStats = false, device } =
      options;
    this.numFeatures = checkInteger(owner, "numFeatures", numFeatures, 1);
    this.eps = checkNumber(owner, "eps", eps, [0, Infinity]);
    this.momentum = checkNumber(owner, "momentum", momentum, [0, 1]);
    this.#space = space;
    const shape = [numFeatures];
    if (affine) {
      this.weight = this.registerParameter("weight", ones(shape, { device }));
      this.bias = this.registerParameter("bias", zeros(shape, { device }));
    }
    if (trackRunningStats) {
      this.running_mean = this.registerBuffer("running_mean", zeros(shape, { device }));
      this.running_var = this.registerBuffer("running_var", ones(shape, { device }));
      const count = zeros([], { dtype: "i32", device });
      this.num_batches_tracked = this.registerBuffer("num_batches_tracked", count);
    }
  }

  /**
   * Normalises each channel of each sample: by its own statistics, or in evaluation by the running
   * ones where they are kept.
   *
   * @param x [N, numFeatures, ...] or [numFeatures, ...], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if the input does not fit, or if a channel has fewer than 2 values of
   * which statistics would be taken
   */
  forward(x: Tensor): Tensor {
    const space = this.#space;
    const owner = this.constructor.name;
    if (x.ndim < space + 1 || x.ndim > space + 2 || x.shape.at(-space - 1) !== this.numFeatures) {
      throw new ShapeError(
        `Cannot apply ${owner} to ${showShape(x.shape)}: expected ${space + 1} or ${
          space + 2
        } axes with ${this.numFeatures} channels before the last ${space}`,
      );
    }
    const { running_mean: mean, running_var: variance } = this;
    if (mean !== null && variance !== null) {
      if (!this.training) return this.#byRunning(x, mean, variance);
      this.#checkCount(x);
      this.#move(x, mean, variance);
    } else this.#checkCount(x);
    const axes = x.shape.map((_, d) => d).slice(-space);
    const [scale, shift] = [this.weight, this.bias].map((t) => this.#perChannel(t));
    return rowNorm({ x, axes, eps: this.eps, scale, shift });
  }

  #checkCount(x: Tensor): void {
    const count = x.shape.slice(-this.#space).reduce((a, b) => a * b, 1);
    if (count >= 2) return;
    throw new ShapeError(
      `Cannot apply ${this.constructor.name} to ${
        showShape(x.shape)
      } by its own statistics: expected at least 2 values per channel, found ${count}`,
    );
  }

  /** Moves the running statistics towards the means over the samples. */
  #move(x: Tensor, mean: Tensor, variance: Tensor): void {
    if (x.size === 0) return;
    const samples = x.detach().reshape([-1, this.numFeatures, ...x.shape.slice(-this.#space)]);
    const axes = samples.shape.map((_, d) => d).slice(2);
    const share = this.momentum;
    const moved = apply(
      "add",
      apply("mul", input(0), constant(1 - share)),
      apply("mul", input(1), constant(share)),
    );
    noGrad(() => {
      updateInto("move", mean, moved, [samples.mean([0, ...axes])]);
      updateInto("move", variance, moved, [samples.var(axes).mean(0)]);
    });
  }

  #byRunning(x: Tensor, mean: Tensor, variance: Tensor): Tensor {
    const root = apply("rsqrt", apply("add", input(2), constant(this.eps)));
    let expr: Expr = apply("mul", apply("sub", input(0), input(1)), root);
    const values = [mean, variance];
    if (this.weight !== null && this.bias !== null) {
      expr = apply("add", apply("mul", expr, input(3)), input(4));
      values.push(this.weight, this.bias);
    }
    const inputs = [x, ...values.map((t) => this.#perChannel(t)!)];
    return map("normalise by running statistics", expr, inputs, { dtype: x.dtype });
  }

  #perChannel(t: Tensor | null): Tensor | null {
    return t && t.reshape([this.numFeatures, ...new Array<number>(this.#space).fill(1)]);
  }
}

/**
 * Normalises each channel of each sequence over its places:
 * `y = (x − mean) / √(variance + eps) · weight + bias` with the biased variance. As
 * torch.nn.InstanceNorm1d; Ulyanov, Vedaldi & Lempitsky, "Instance normalization", 2016.
 *
 * @example
 * ```ts
 * import { InstanceNorm1d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new InstanceNorm1d(2, { eps: 0, device });
 * const y = layer.forward(tensor([[[1, 3], [10, 30]]], { device }));
 * assertEquals(await y.array(), [[[-1, 1], [-1, 1]]]);
 * ```
 */
export class InstanceNorm1d extends InstanceNorm {
  /**
   * Starts without parameters, as far as the options ask for none.
   *
   * @param numFeatures number of channels of inputs [N, numFeatures, L] or [numFeatures, L]
   * @param options eps, momentum, affine, trackRunningStats, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numFeatures: number, options: InstanceNormOptions = {}) {
    super(numFeatures, options, 1);
  }
}

/**
 * Normalises each channel of each image over height and width:
 * `y = (x − mean) / √(variance + eps) · weight + bias` with the biased variance. As
 * torch.nn.InstanceNorm2d.
 *
 * @example
 * ```ts
 * import { InstanceNorm2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new InstanceNorm2d(1, { eps: 0, device });
 * const y = layer.forward(tensor([[[[1], [3]]]], { device }));
 * assertEquals(await y.array(), [[[[-1], [1]]]]);
 * ```
 */
export class InstanceNorm2d extends InstanceNorm {
  /**
   * Starts without parameters, as far as the options ask for none.
   *
   * @param numFeatures number of channels of inputs [N, numFeatures, H, W] or [numFeatures, H, W]
   * @param options eps, momentum, affine, trackRunningStats, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numFeatures: number, options: InstanceNormOptions = {}) {
    super(numFeatures, options, 2);
  }
}
