/** The blocks of ResNeXt: bottlenecks with grouped convolutions. */

import { ChannelShuffle } from "../channel_ops.ts";
import { Sequential } from "../sequential.ts";
import { Bottleneck, type BottleneckOptions } from "./bottleneck.ts";
import { ResNetDShortcut } from "./shortcuts.ts";
import { Conv3x3NormAct } from "./variants.ts";

/** How a bottleneck with groups is made. */
export interface ResNeXtBottleneckOptions extends BottleneckOptions {
  /** Blocks of channels in the middle that do not see each other; they divide midChannels. @default {4} */
  readonly groups?: number;
}

/**
 * `Bottleneck` whose middle convolution of 3 × 3 works in groups. Xie et al., "Aggregated residual
 * transformations", 2016.
 *
 * @example
 * ```ts
 * import { ResNeXtBottleneck } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const block = new ResNeXtBottleneck({ inChannels: 64, groups: 8, device: referenceDevice() });
 * assertEquals(block.parameterCount, 64 * 16 + 32 + 16 * 2 * 9 + 32 + 16 * 64 + 128);
 * ```
 */
export class ResNeXtBottleneck extends Bottleneck {
  /**
   * Makes the parts.
   *
   * @param options as for `Bottleneck`, and groups
   * @throws {RangeError} if the groups do not divide the channels in the middle
   */
  constructor(options: ResNeXtBottleneckOptions) {
    const { groups = 4, ...rest } = options;
    const { device } = options;
    super({ block2: (sizes) => new Conv3x3NormAct({ ...sizes, groups, device }), ...rest });
  }
}

/**
 * `ResNeXtBottleneck` with a shortcut that averages pixels, and with the channels of the groups mixed
 * behind the grouped convolution (Zhang et al., "ShuffleNet", 2017).
 */
export class ResNeXtBottleneckDSh extends ResNeXtBottleneck {
  /**
   * Makes the parts.
   *
   * @param options as for `Bottleneck`, and groups
   * @throws {RangeError} if the groups do not divide the channels in the middle
   */
  constructor(options: ResNeXtBottleneckOptions) {
    const { groups = 4, device } = options;
    super({
      block2: (sizes) =>
        new Sequential({
          conv: new Conv3x3NormAct({ ...sizes, groups, device }),
          shuffle: new ChannelShuffle(groups),
        }),
      shortcut: (sizes) => new ResNetDShortcut({ ...sizes, device }),
      ...options,
    });
  }
}
