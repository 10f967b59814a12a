/** Blocks that narrow the channels, work on few of them, and widen them again. */

import { ReLU } from "../activation.ts";
import type { BlockFactory } from "../factories.ts";
import { Sequential } from "../sequential.ts";
import { makeDivisible } from "../sizes.ts";
import { type ResidualBlockOptions, residualParts, sizesOf } from "./options.ts";
import { ResNetDShortcut, ResNetShortcut } from "./shortcuts.ts";
import { Conv1x1NormAct, Conv3x3NormAct } from "./variants.ts";

/** How a bottleneck is made. */
export interface BottleneckOptions extends ResidualBlockOptions {
  /** Channels in the middle. @default {makeDivisible(outChannels / reduction)} */
  readonly midChannels?: number;
  /** By how much the channels are narrowed. @default {4} */
  readonly reduction?: number;
  /** Narrows. @default {Conv1x1NormAct} */
  readonly block1?: BlockFactory;
  /** Works in the middle, and takes the stride. @default {Conv3x3NormAct} */
  readonly block2?: BlockFactory;
  /** Widens. @default {Conv1x1NormAct without activation} */
  readonly block3?: BlockFactory;
}

/**
 * `act(block3(block2(block1(x))) + shortcut(x))`: inChannels → midChannels → outChannels, with the
 * stride in the middle. He et al., 2015, as ResNet-50 (version 1.5) has it.
 *
 * The parts are named residual (block.block1 to block3, shortcut) and act.
 *
 * @example
 * ```ts
 * import { Bottleneck } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new Bottleneck({ inChannels: 64, outChannels: 128, stride: 2, device });
 * assertEquals(block.parameterCount, 24_192);
 * ```
 */
export class Bottleneck extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, midChannels or reduction, block1 to block3, shortcut, residual, activation,
   * dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: BottleneckOptions) {
    const { inChannels, outChannels, stride } = sizesOf(options);
    const { reduction = 4, activation = () => new ReLU(), device } = options;
    const mid = options.midChannels ?? makeDivisible(outChannels / reduction);
    const {
      block1 = (sizes) => new Conv1x1NormAct({ ...sizes, device }),
      block2 = (sizes) => new Conv3x3NormAct({ ...sizes, device }),
      block3 = (sizes) => new Conv1x1NormAct({ ...sizes, activation: null, device }),
      shortcut = (sizes) => new ResNetShortcut({ ...sizes, device }),
    } = options;
    const body = {
      block1: block1({ inChannels, outChannels: mid, stride: 1 }),
      block2: block2({ inChannels: mid, outChannels: mid, stride }),
      block3: block3({ inChannels: mid, outChannels, stride: 1 }),
    };
    const path = shortcut({ inChannels, outChannels, stride });
    super(residualParts(body, path, { ...options, activation }));
  }
}

/** The bottleneck of ResNet: the default parts of `Bottleneck`. */
export class ResNetBottleneck extends Bottleneck {}

/** The bottleneck of ResNet-D: its shortcut averages pixels instead of skipping them. */
export class ResNetBottleneckD extends Bottleneck {
  /**
   * Makes the parts.
   *
   * @param options as for `Bottleneck`
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: BottleneckOptions) {
    const { device } = options;
    super({ shortcut: (sizes) => new ResNetDShortcut({ ...sizes, device }), ...options });
  }
}
