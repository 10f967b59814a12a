/** The blocks of ResNet: two convolutions and a path around them. */

import { ReLU } from "../activation.ts";
import { SEAttention } from "../attention_gates.ts";
import type { BlockFactory } from "../factories.ts";
import { Sequential } from "../sequential.ts";
import { type ResidualBlockOptions, residualParts, sizesOf } from "./options.ts";
import {
  ResNetDShortcut,
  ResNetS2DShortcut,
  ResNetShortcut,
  spaceToDepthParts,
} from "./shortcuts.ts";
import { Conv1x1, Conv3x3NormAct, NormActConv3x3 } from "./variants.ts";

/** How a block of two convolutions is made. */
export interface ResNetBlockOptions extends ResidualBlockOptions {
  /** The first convolution, which takes the stride. @default {as the block says} */
  readonly block1?: BlockFactory;
  /** The second convolution. @default {as the block says} */
  readonly block2?: BlockFactory;
}

/** The parts of a block of two convolutions. */
function parts(
  options: ResNetBlockOptions,
  defaults: Required<Pick<ResNetBlockOptions, "block1" | "block2" | "shortcut">>,
) {
  const { inChannels, outChannels, stride } = sizesOf(options);
  const { block1 = defaults.block1, block2 = defaults.block2, shortcut = defaults.shortcut } =
    options;
  const body = {
    block1: block1({ inChannels, outChannels, stride }),
    block2: block2({ inChannels: outChannels, outChannels, stride: 1 }),
  };
  return residualParts(body, shortcut({ inChannels, outChannels, stride }), options);
}

/**
 * `relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))` with convolutions of 3 × 3. He et al., "Deep
 * residual learning", 2015.
 *
 * The parts are named residual (block.block1, block.block2, shortcut) and act.
 *
 * @example
 * ```ts
 * import { ResNetBlock } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new ResNetBlock({ inChannels: 4, outChannels: 8, stride: 2, device });
 * assertEquals(block.forward(zeros([2, 4, 8, 8], { device })).shape, [2, 8, 4, 4]);
 * ```
 */
export class ResNetBlock extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, block1, block2, shortcut, residual, activation (ReLU unless said), dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ResNetBlockOptions) {
    const { device, activation = () => new ReLU() } = options;
    super(parts({ ...options, activation }, {
      block1: (sizes) => new Conv3x3NormAct({ ...sizes, device }),
      block2: (sizes) => new Conv3x3NormAct({ ...sizes, activation: null, device }),
      shortcut: (sizes) => new ResNetShortcut({ ...sizes, device }),
    }));
  }
}

/**
 * `conv(relu(bn(conv(relu(bn(x)))))) + shortcut(x)` with convolutions of 3 × 3 and nothing behind the
 * sum. He et al., "Identity mappings", 2016.
 *
 * The shortcut is a bare convolution of 1 × 1 where sizes change.
 *
 * @example
 * ```ts
 * import { ResNetPreActBlock } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const block = new ResNetPreActBlock({ inChannels: 64, device: referenceDevice() });
 * assertEquals(block.parameterCount, 73_984);
 * ```
 */
export class ResNetPreActBlock extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, block1, block2, shortcut, residual, activation (none unless said), dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ResNetBlockOptions) {
    const { device } = options;
    super(parts(options, {
      block1: (sizes) => new NormActConv3x3({ ...sizes, device }),
      block2: (sizes) => new NormActConv3x3({ ...sizes, device }),
      shortcut: (sizes) =>
        new ResNetShortcut({ ...sizes, block: (s) => new Conv1x1({ ...s, device }), device }),
    }));
  }
}

/** The second convolution of a block with squeeze and excitation behind it. */
function withSE(device: ResNetBlockOptions["device"]): BlockFactory {
  return (sizes) =>
    new Sequential({
      conv: new NormActConv3x3({ ...sizes, device }),
      se: new SEAttention(sizes.outChannels, { device }),
    });
}

/** `ResNetPreActBlock` with squeeze and excitation, and a shortcut that averages (ResNet-D). */
export class ResNetPreActBlockDSE extends ResNetPreActBlock {
  /**
   * Makes the parts.
   *
   * @param options as for `ResNetPreActBlock`
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ResNetBlockOptions) {
    const { device } = options;
    super({
      block2: withSE(device),
      shortcut: (sizes) =>
        new ResNetDShortcut({ ...sizes, block: (s) => new Conv1x1({ ...s, device }), device }),
      ...options,
    });
  }
}

/**
 * `ResNetPreActBlock` with squeeze and excitation, in which both paths turn patches into channels
 * instead of striding.
 */
export class ResNetPreActBlockS2DSE extends ResNetPreActBlock {
  /**
   * Makes the parts.
   *
   * @param options as for `ResNetPreActBlock`
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ResNetBlockOptions) {
    const { device } = options;
    super({
      block1: ({ inChannels, outChannels, stride }) =>
        new Sequential(
          spaceToDepthParts(inChannels, stride, outChannels, (s) =>
            new NormActConv3x3({ ...s, device })),
        ),
      block2: withSE(device),
      shortcut: (sizes) =>
        new ResNetS2DShortcut({ ...sizes, block: (s) => new Conv1x1({ ...s, device }), device }),
      ...options,
    });
  }
}
