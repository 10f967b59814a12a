/** The blocks of Res2Net: scales of different reach within one block. */

import { concat, full, type Tensor } from "../../core/mod.ts";
import { Module, type TensorModule } from "../module.ts";
import type { BlockFactory } from "../factories.ts";
import { checkNumber } from "../checks.ts";
import { Identity } from "../shape.ts";
import { Bottleneck, type BottleneckOptions } from "./bottleneck.ts";
import { type BlockOptions, sizesOf } from "./options.ts";
import { PoolShortcut, ResNetDShortcut } from "./shortcuts.ts";
import { Conv1x1NormAct, Conv3x3NormAct } from "./variants.ts";

/** How a block of several scales is made. */
export interface Res2NetBlockOptions extends BlockOptions {
  /** Channels of each scale; they divide inChannels. @default {inChannels / scales} */
  readonly midChannels?: number;
  /** Number of scales, at least 2, where midChannels does not say it. @default {2} */
  readonly scales?: number;
  /** Works on each scale but the last. @default {Conv3x3NormAct} */
  readonly block?: BlockFactory;
  /** Works on the last scale. @default {PoolShortcut} */
  readonly shortcut?: BlockFactory;
  /** Brings the channels to outChannels, where they differ. @default {Conv1x1NormAct} */
  readonly projection?: BlockFactory;
  /** What the factors between the scales start from. @default {1} */
  readonly alpha?: number;
}

/**
 * Splits the channels into scales; each scale but the last has a convolution, whose input is its
 * share plus α times the result of the scale before; the last one is only pooled. Gao et al.,
 * "Res2Net", 2019, with learnt factors α.
 *
 * With a stride above 1 the scales do not see each other, since their sizes differ. There is one α
 * for each sum: `scales − 2`, and none at a stride. Parts: blocks, shortcut, projection, alpha.
 *
 * @example
 * ```ts
 * import { Res2NetBlock } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new Res2NetBlock({ inChannels: 16, scales: 4, device });
 * assertEquals(block.parameterCount, 3 * (4 * 4 * 9 + 8) + 2);
 * assertEquals(block.forward(zeros([2, 16, 8, 8], { device })).shape, [2, 16, 8, 8]);
 * ```
 */
export class Res2NetBlock extends Module {
  /** Number of scales. */
  readonly scales: number;
  /** Channels of each scale. */
  readonly midChannels: number;
  /** What each scale but the last does. */
  readonly blocks: readonly TensorModule[];
  /** What the last scale does. */
  readonly shortcut: TensorModule;
  /** What brings the channels to those of the output. */
  readonly projection: TensorModule;
  /** Factors [scales − 2] of the results that the next scale sees, or null */
  readonly alpha: Tensor | null = null;

  /**
   * Makes the parts.
   *
   * @param options sizes, midChannels or scales, block, shortcut, projection, alpha
   * @throws {RangeError} if the channels do not split into at least two equal scales
   */
  constructor(options: Res2NetBlockOptions) {
    super();
    const { inChannels, outChannels, stride } = sizesOf(options);
    const { alpha = 1, device } = options;
    const mid = options.midChannels ?? inChannels / (options.scales ?? 2);
    const scales = inChannels / mid;
    if (!Number.isInteger(mid) || !Number.isInteger(scales) || scales < 2) {
      throw new RangeError(
        `Cannot make Res2NetBlock of ${inChannels} channels in scales of ${mid}: expected at least ` +
          "two scales of equal size",
      );
    }
    const {
      block = (sizes) => new Conv3x3NormAct({ ...sizes, device }),
      shortcut = (sizes) => new PoolShortcut(sizes),
      projection = (sizes) => new Conv1x1NormAct({ ...sizes, device }),
    } = options;
    const one = { inChannels: mid, outChannels: mid, stride };
    this.scales = scales;
    this.midChannels = mid;
    this.blocks = Array.from({ length: scales - 1 }, () => block(one));
    this.shortcut = shortcut(one);
    this.projection = inChannels === outChannels
      ? new Identity()
      : projection({ inChannels, outChannels, stride: 1 });
    checkNumber("Res2NetBlock", "alpha", alpha);
    if (stride === 1 && scales > 2) {
      this.alpha = this.registerParameter("alpha", full([scales - 2], alpha, { device }));
    }
  }

  /**
   * Applies all scales.
   *
   * @param x [N, inChannels, H, W]
   * @returns [N, outChannels, ⌈H / stride⌉, ⌈W / stride⌉]
   * @throws {ShapeError} if the channels differ
   */
  forward(x: Tensor): Tensor {
    const shares = x.split(this.midChannels, 1);
    const factors = this.alpha === null ? [] : this.alpha.split(1);
    const outputs: Tensor[] = [];
    for (const [i, block] of this.blocks.entries()) {
      const factor = i === 0 ? undefined : factors[i - 1];
      const input = factor === undefined ? shares[i] : shares[i].add(outputs[i - 1].mul(factor));
      outputs.push(block.forward(input));
    }
    outputs.push(this.shortcut.forward(shares[shares.length - 1]));
    return this.projection.forward(concat(outputs, 1));
  }
}

/** How a bottleneck with several scales is made. */
export interface Res2NetBottleneckOptions extends BottleneckOptions {
  /** Channels of each scale in the middle. @default {midChannels / scales} */
  readonly scaleChannels?: number;
  /** Number of scales in the middle, where scaleChannels does not say it. @default {2} */
  readonly scales?: number;
}

/**
 * `Bottleneck` with a `Res2NetBlock` in the middle.
 *
 * @example
 * ```ts
 * import { Res2NetBottleneck } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new Res2NetBottleneck({ inChannels: 64, scales: 4, device });
 * const middle = 3 * (4 * 4 * 9 + 8) + 2;
 * assertEquals(block.parameterCount, 64 * 16 + 32 + middle + 16 * 64 + 128);
 * ```
 */
export class Res2NetBottleneck extends Bottleneck {
  /**
   * Makes the parts.
   *
   * @param options as for `Bottleneck`, and scaleChannels or scales
   * @throws {RangeError} if the middle does not split into at least two equal scales
   */
  constructor(options: Res2NetBottleneckOptions) {
    const { scaleChannels, scales, ...rest } = options;
    const { device } = options;
    super({
      block2: (sizes) => new Res2NetBlock({ ...sizes, midChannels: scaleChannels, scales, device }),
      ...rest,
    });
  }
}

/** `Res2NetBottleneck` whose shortcut averages pixels instead of skipping them. */
export class Res2NetBottleneckD extends Res2NetBottleneck {
  /**
   * Makes the parts.
   *
   * @param options as for `Res2NetBottleneck`
   * @throws {RangeError} if the middle does not split into at least two equal scales
   */
  constructor(options: Res2NetBottleneckOptions) {
    const { device } = options;
    super({ shortcut: (sizes) => new ResNetDShortcut({ ...sizes, device }), ...options });
  }
}
