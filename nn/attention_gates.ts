/** Gates that weigh the channels, or the pixels, of images. */

import { concat, type Device, type Key, nextKey, type Tensor } from "../core/mod.ts";
import { ReLU, Sigmoid } from "./activation.ts";
import { checkChannels, checkInteger } from "./checks.ts";
import { Conv2d } from "./conv.ts";
import { Module, type TensorModule } from "./module.ts";
import { GlobalAvgPool2d } from "./pool_global.ts";
import { Sequential } from "./sequential.ts";
import { makeDivisible } from "./sizes.ts";

/** How a spatial attention is made. */
export interface SpatialAttentionOptions {
  /**
   * Makes what turns mean and maximum [N, 2, H, W] into the gate [N, 1, H, W].
   * @default {a convolution of 3 × 3 without bias, named conv, and a sigmoid, named act}
   */
  readonly block?: () => TensorModule;
  /** Names the random numbers of the default block. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the default block lives. @default {the default device} */
  readonly device?: Device;
}

/**
 * Weighs the pixels of images: `y = x · block(concat(mean over channels, max over channels))`.
 *
 * The default block has 18 parameters, under the key `block.conv.weight` [1, 2, 3, 3]. Woo et al.,
 * "CBAM", 2018, with the kernel of 3 × 3 of LegoML instead of 7 × 7.
 *
 * @example
 * ```ts
 * import { SpatialAttention } from "@legoml/legoml/nn";
 * import { ones, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new SpatialAttention({ device });
 * assertEquals(layer.parameterCount, 18);
 * assertEquals(layer.forward(ones([2, 8, 5, 5], { device })).shape, [2, 8, 5, 5]);
 * ```
 */
export class SpatialAttention extends Module {
  /** From mean and maximum [N, 2, H, W] to the gate [N, 1, H, W]. */
  readonly block: TensorModule;

  /**
   * Makes the block.
   *
   * @param options block, key, device
   */
  constructor(options: SpatialAttentionOptions = {}) {
    super();
    const { block, key, device } = options;
    this.block = block?.() ?? new Sequential({
      conv: new Conv2d(2, 1, { kernelSize: 3, padding: 1, bias: false, key, device }),
      act: new Sigmoid(),
    });
  }

  /**
   * Weighs the pixels.
   *
   * @param x [N, C, H, W] with at least one channel, f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if x holds no images
   */
  forward(x: Tensor): Tensor {
    checkChannels("SpatialAttention", x, [4, 4], x.shape[1]);
    const pooled = [x.mean(1, { keepdim: true }), x.max(1, { keepdim: true })];
    const gate = this.block.forward(concat(pooled.map((t) => t.to(x.dtype)), 1));
    return x.mul(gate).to(x.dtype);
  }
}

/** How a squeeze and excitation is made. */
export interface SEAttentionOptions {
  /** Channels between both blocks. @default {makeDivisible(channels / reduction)} */
  readonly midChannels?: number;
  /** By how much the channels are reduced, above 0. @default {4} */
  readonly reduction?: number;
  /** Whether the default convolutions have a bias. @default {false} */
  readonly bias?: boolean;
  /** Makes the pooling [N, C, H, W] → [N, C, 1, 1]. @default {a mean} */
  readonly pool?: () => TensorModule;
  /**
   * Makes the first block from both numbers of channels.
   * @default {a convolution of 1 × 1 and a ReLU}
   */
  readonly block1?: (channels: number, midChannels: number) => TensorModule;
  /**
   * Makes the second block from both numbers of channels.
   * @default {a convolution of 1 × 1 and a sigmoid}
   */
  readonly block2?: (midChannels: number, channels: number) => TensorModule;
  /** Names the random numbers of the default blocks. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the default blocks live. @default {the default device} */
  readonly device?: Device;
}

/**
 * Squeeze and excitation: weighs the channels of images, `y = x · block2(block1(pool(x)))`.
 *
 * The default blocks have the keys `block1.conv.weight` [mid, C, 1, 1] and `block2.conv.weight`
 * [C, mid, 1, 1], and biases only if asked for: 2,048 parameters for 64 channels. Hu, Shen & Sun,
 * "Squeeze-and-excitation networks", 2018, with the reduction 4 of LegoML instead of 16.
 *
 * @example
 * ```ts
 * import { SEAttention } from "@legoml/legoml/nn";
 * import { ones, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new SEAttention(64, { device });
 * assertEquals([layer.midChannels, layer.parameterCount], [16, 2048]);
 * assertEquals(layer.forward(ones([2, 64, 5, 5], { device })).shape, [2, 64, 5, 5]);
 * ```
 */
export class SEAttention extends Module {
  /** Number of channels, the size of axis 1. */
  readonly channels: number;
  /** Channels between both blocks. */
  readonly midChannels: number;
  /** [N, C, H, W] → [N, C, 1, 1] */
  readonly pool: TensorModule;
  /** [N, C, 1, 1] → [N, midChannels, 1, 1] */
  readonly block1: TensorModule;
  /** [N, midChannels, 1, 1] → [N, C, 1, 1] */
  readonly block2: TensorModule;

  /**
   * Makes the parts.
   *
   * @param channels number of channels, at least 1
   * @param options midChannels, reduction, bias, pool, block1, block2, key, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(channels: number, options: SEAttentionOptions = {}) {
    super();
    const { reduction = 4, bias = false, key = nextKey(), device } = options;
    this.channels = checkInteger("SEAttention", "channels", channels, 1);
    if (!(reduction > 0 && reduction < Infinity)) {
      throw new RangeError(
        `Cannot make SEAttention with reduction ${reduction}: expected a number above 0`,
      );
    }
    const middle = options.midChannels ?? makeDivisible(channels / reduction);
    this.midChannels = checkInteger("SEAttention", "midChannels", middle, 1);
    const conv = (from: number, to: number, name: string) =>
      new Conv2d(from, to, { kernelSize: 1, bias, key: key.fold(name), device });
    this.pool = options.pool?.() ?? new GlobalAvgPool2d({ keepDim: true });
    this.block1 = options.block1?.(channels, middle) ??
      new Sequential({ conv: conv(channels, middle, "block1"), act: new ReLU() });
    this.block2 = options.block2?.(middle, channels) ??
      new Sequential({ conv: conv(middle, channels, "block2"), act: new Sigmoid() });
  }

  /**
   * Weighs the channels.
   *
   * @param x [N, channels, H, W], f32 or f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if x holds no such images
   */
  forward(x: Tensor): Tensor {
    checkChannels("SEAttention", x, [4, 4], this.channels);
    const gate = this.block2.forward(this.block1.forward(this.pool.forward(x)));
    return x.mul(gate).to(x.dtype);
  }
}
