/** Layers over channels: a learnt factor for each, and another order. */

import { type Device, full, ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/**
 * Mixes the channels of groups: channel `g·(C / groups) + k` goes to `k·groups + g`, so that
 * neighbours come from different groups. As torch.nn.ChannelShuffle; Zhang et al., "ShuffleNet",
 * 2018.
 *
 * @example
 * ```ts
 * import { ChannelShuffle } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[1, 2, 3, 4]], { device: referenceDevice() });
 * assertEquals(await new ChannelShuffle(2).forward(x).array(), [[1, 3, 2, 4]]);
 * ```
 */
export class ChannelShuffle extends Module {
  /** Number of groups. */
  readonly groups: number;

  /**
   * Takes the groups.
   *
   * @param groups number of groups, at least 1
   * @throws {RangeError} if it is no such integer
   */
  constructor(groups: number) {
    super();
    this.groups = checkInteger("ChannelShuffle", "groups", groups, 1);
  }

  /**
   * Reorders the channels.
   *
   * @param x [N, C, ...], any dtype
   * @returns the same shape and dtype
   * @throws {ShapeError} if there is no axis of channels, or the groups do not divide it
   */
  forward(x: Tensor): Tensor {
    const { groups } = this;
    const [batch, channels, ...space] = x.shape;
    if (x.ndim < 2 || channels % groups !== 0) {
      throw new ShapeError(
        `Cannot apply ChannelShuffle to ${
          showShape(x.shape)
        }: expected [N, C, ...] with channels divisible by ${groups}`,
      );
    }
    // Channels become the last axis in memory, as they are in images.
    const axes = space.map((_, d) => 3 + d);
    const grouped = x.reshape([batch, groups, channels / groups, ...space]);
    const mixed = grouped.permute([0, ...axes, 2, 1]).reshape([batch, ...space, channels]);
    return mixed.permute([0, x.ndim - 1, ...space.map((_, d) => 1 + d)]);
  }
}

/** How a layer scale is made. */
export interface LayerScaleOptions {
  /** What all factors start from. @default {1e-5} */
  readonly init?: number;
  /** Number of axes of the inputs, at least 2. @default {4} */
  readonly dims?: number;
  /** The axis of channels; negative ones count from the end. @default {1} */
  readonly channelDim?: number;
  /** Where the factors live. @default {the default device} */
  readonly device?: Device;
}

/**
 * A learnt factor for each channel: `y = gamma · x`. Small at the start, so that a deep residual
 * model begins as nearly the identity.
 *
 * Parameter: `gamma` with size 1 along all axes but that of channels: [1, C, 1, 1] for images.
 * Touvron et al., "Going deeper with image transformers", 2021.
 *
 * @example
 * ```ts
 * import { LayerScale } from "@legoml/legoml/nn";
 * import { ones, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new LayerScale(2, { init: 0.5, dims: 3, device });
 * assertEquals(layer.gamma.shape, [1, 2, 1]);
 * assertEquals(await layer.forward(ones([1, 2, 1], { device })).array(), [[[0.5], [0.5]]]);
 * ```
 */
export class LayerScale extends Module {
  /** Number of channels. */
  readonly channels: number;
  /** Factors, with size 1 along all axes but that of channels. */
  readonly gamma: Tensor;

  /**
   * Starts all factors from one value.
   *
   * @param channels number of channels, at least 1
   * @param options init, dims, channelDim, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(channels: number, options: LayerScaleOptions = {}) {
    super();
    const { init = 1e-5, dims = 4, channelDim = 1, device } = options;
    this.channels = checkInteger("LayerScale", "channels", channels, 1);
    checkInteger("LayerScale", "dims", dims, 2);
    checkNumber("LayerScale", "init", init);
    const axis = channelDim < 0 ? channelDim + dims : channelDim;
    if (!Number.isInteger(axis) || axis < 0 || axis >= dims) {
      throw new RangeError(
        `Cannot make LayerScale with channelDim ${channelDim}: expected an integer from ${-dims} ` +
          `to ${dims - 1}`,
      );
    }
    const shape = Array.from({ length: dims }, (_, d) => d === axis ? channels : 1);
    this.gamma = this.registerParameter("gamma", full(shape, init, { device }));
  }

  /**
   * Scales the channels.
   *
   * @param x as many axes as gamma, f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if the axes or the channels differ
   */
  forward(x: Tensor): Tensor {
    const { gamma, channels } = this;
    if (x.ndim !== gamma.ndim || gamma.shape.some((n, d) => n !== 1 && n !== x.shape[d])) {
      throw new ShapeError(
        `Cannot apply LayerScale to ${
          showShape(x.shape)
        }: expected ${gamma.ndim} axes with ${channels} channels, as gamma ${
          showShape(gamma.shape)
        } has them`,
      );
    }
    return x.mul(gamma).to(x.dtype);
  }
}
