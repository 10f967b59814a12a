/** Batch normalisation. */

import { currentCapture } from "../core/backend/capture.ts";
import { type Device, ones, ShapeError, showShape, type Tensor, zeros } from "../core/mod.ts";
import { batchNorm } from "../core/tensor/batch_norm.ts";
import type { RunningStatistics } from "../core/tensor/column_stats.ts";
import { map } from "../core/tensor/map.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { checkChannels, checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a batch normalisation is made. */
export interface BatchNormOptions {
  /** Added to the variance. @default {1e-5} */
  readonly eps?: number;
  /**
   * Share of the new batch in the running statistics; null takes the mean over all batches.
   * @default {0.1}
   */
  readonly momentum?: number | null;
  /** Whether a scale and a shift per channel are learnt. @default {true} */
  readonly affine?: boolean;
  /**
   * Whether running statistics are kept for evaluation; otherwise each batch uses its own.
   * @default {true}
   */
  readonly trackRunningStats?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** What batch normalisations of any number of axes share. */
export abstract class BatchNorm extends Module {
  /** Number of channels, the size of axis 1. */
  readonly numFeatures: number;
  /** Added to the variance. */
  readonly eps: number;
  /** Share of the new batch in the running statistics; null for the mean over all batches. */
  readonly momentum: number | null;
  /** Scale [numFeatures], or null */
  readonly weight: Tensor | null = null;
  /** Shift [numFeatures], or null */
  readonly bias: Tensor | null = null;
  /** Mean of the batches [numFeatures], or null */
  readonly running_mean: Tensor | null = null;
  /** Unbiased variance of the batches [numFeatures], or null */
  readonly running_var: Tensor | null = null;
  /** Number of batches, an i32 scalar, or null */
  readonly num_batches_tracked: Tensor | null = null;
  readonly #ranks: readonly [number, number];

  /**
   * Starts with weight 1, bias 0, running mean 0 and running variance 1.
   *
   * @param numFeatures number of channels, at least 0
   * @param options eps, momentum, affine, trackRunningStats, device
   * @param ranks the numbers of axes that inputs may have
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numFeatures: number, options: BatchNormOptions, ranks: readonly [number, number]) {
    super();
    const owner = new.target.name;
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true, device } = options;
    this.numFeatures = checkInteger(owner, "numFeatures", numFeatures, 0);
    this.eps = checkNumber(owner, "eps", eps, [0, Infinity]);
    this.momentum = momentum === null ? null : checkNumber(owner, "momentum", momentum, [0, 1]);
    this.#ranks = ranks;
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
   * Normalises each channel: in training by the batch, in evaluation by the running statistics.
   *
   * @param x [N, numFeatures, ...], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if the input does not fit, or in training if a channel has fewer than 2
   * values
   */
  forward(x: Tensor): Tensor {
    checkChannels(this.constructor.name, x, this.#ranks, this.numFeatures);
    const { running_mean: mean, running_var: variance } = this;
    return this.training || mean === null || variance === null
      ? this.#byBatch(x)
      : this.#byRunning(x, mean, variance);
  }

  #byBatch(x: Tensor): Tensor {
    const axes = x.shape.map((_, d) => d).filter((d) => d !== 1);
    const count = axes.reduce((n, d) => n * x.shape[d], 1);
    if (this.training && count < 2) {
      throw new ShapeError(
        `Cannot apply ${this.constructor.name} to ${
          showShape(x.shape)
        } in training: expected at least 2 ` +
          `values per channel, found ${count}`,
      );
    }
    const [scale, shift] = [this.weight, this.bias].map((t) => this.#perChannel(t, x));
    return batchNorm(x, this.eps, scale, shift, this.training ? this.#running() : null);
  }

  /** The running statistics with their momentum, for a batch of training. */
  #running(): RunningStatistics | null {
    const { running_mean: mean, running_var: variance, num_batches_tracked: count } = this;
    if (mean === null || variance === null || count === null) return null;
    const { momentum } = this;
    // A captured step holds the momentum that it was captured with.
    currentCapture()?.guard(() => this.momentum === momentum);
    return { mean, variance, count, momentum };
  }

  #byRunning(x: Tensor, mean: Tensor, variance: Tensor): Tensor {
    const centered = apply("sub", input(0), input(1));
    const root = apply("rsqrt", apply("add", input(2), constant(this.eps)));
    const values = [x, mean, variance];
    let expr: Expr = apply("mul", centered, root);
    if (this.weight !== null && this.bias !== null) {
      expr = apply("add", apply("mul", expr, input(3)), input(4));
      values.push(this.weight, this.bias);
    }
    const [first, ...rest] = values;
    const inputs = [first, ...rest.map((t) => this.#perChannel(t, x)!)];
    return map("normalise the batch", expr, inputs, { dtype: x.dtype });
  }

  #perChannel(t: Tensor | null, x: Tensor): Tensor | null {
    return t && t.reshape([this.numFeatures, ...x.shape.slice(2).map(() => 1)]);
  }
}

/**
 * Normalises each channel of vectors or sequences over the batch:
 * `y = (x − mean) / √(variance + eps) · weight + bias`.
 *
 * In training the mean and the biased variance are those of the batch, and the running ones move
 * towards its mean and unbiased variance; in evaluation the running ones are used. As
 * torch.nn.BatchNorm1d.
 *
 * @example
 * ```ts
 * import { BatchNorm1d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new BatchNorm1d(2, { eps: 0, device });
 * const y = layer.forward(tensor([[1, 10], [3, 30]], { device }));
 * assertEquals(await y.array(), [[-1, -1], [1, 1]]);
 * ```
 */
export class BatchNorm1d extends BatchNorm {
  /**
   * Starts with weight 1, bias 0, running mean 0 and running variance 1.
   *
   * @param numFeatures number of channels of inputs [N, numFeatures] or [N, numFeatures, L]
   * @param options eps, momentum, affine, trackRunningStats, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super(numFeatures, options, [2, 3]);
  }
}

/**
 * Normalises each channel of images over batch, height and width:
 * `y = (x − mean) / √(variance + eps) · weight + bias`.
 *
 * In training the mean and the biased variance are those of the batch, and the running ones move
 * towards its mean and unbiased variance; in evaluation the running ones are used. As
 * torch.nn.BatchNorm2d.
 *
 * @example
 * ```ts
 * import { BatchNorm2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new BatchNorm2d(1, { momentum: 0.5, device });
 * layer.forward(tensor([[[[1, 3]]]], { device }));
 * assertEquals(await layer.running_mean!.array(), [1]);
 * assertEquals(await layer.running_var!.array(), [1.5]); // half of 1, half of 2
 * ```
 */
export class BatchNorm2d extends BatchNorm {
  /**
   * Starts with weight 1, bias 0, running mean 0 and running variance 1.
   *
   * @param numFeatures number of channels of inputs [N, numFeatures, H, W]
   * @param options eps, momentum, affine, trackRunningStats, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super(numFeatures, options, [4, 4]);
  }
}
