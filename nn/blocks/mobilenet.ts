/** The blocks of MobileNet and EfficientNet: they widen the channels, and narrow them again. */

import { ReLU6 } from "../activation.ts";
import type { ActivationFactory, BlockFactory } from "../factories.ts";
import type { TensorModule } from "../module.ts";
import { Sequential } from "../sequential.ts";
import { type BlockOptions, keepsSizes, sizesOf } from "./options.ts";
import { ResidualAdd } from "./structure.ts";
import { Conv1x1NormAct, Conv3x3NormAct, DWConvNormAct } from "./variants.ts";

/** How a block that widens and narrows is made. */
export interface MBConvOptions extends BlockOptions {
  /** Channels in the middle. @default {inChannels · expansion} */
  readonly midChannels?: number;
  /** By how much the channels are widened. @default {4} */
  readonly expansion?: number;
  /** Makes the activations inside the block. @default {ReLU6} */
  readonly activation?: ActivationFactory;
  /** Works behind the depthwise convolution, as SEAttention in EfficientNet. @default {none} */
  readonly attention?: BlockFactory;
  /** Probability of leaving the block out for a sample, in training. @default {0} */
  readonly dropPath?: number;
}

/** The block, with a path around it where sizes stay. */
function around(
  body: Record<string, TensorModule>,
  options: MBConvOptions,
): Record<string, TensorModule> {
  if (!keepsSizes(sizesOf(options))) return body;
  return { residual: new ResidualAdd({ block: new Sequential(body), dropPath: options.dropPath }) };
}

function middleOf({ inChannels, midChannels, expansion = 4 }: MBConvOptions): number {
  return midChannels ?? Math.round(inChannels * expansion);
}

/**
 * 1 × 1 to more channels, depthwise 3 × 3 with the stride, 1 × 1 to the output without activation;
 * with a path around all of it where sizes stay. Sandler et al., "MobileNetV2", 2018: the bottleneck
 * is linear, nothing follows it.
 *
 * The parts are named expand, depthwise, attention, project; below residual.block where there is a
 * path around them.
 *
 * @example
 * ```ts
 * import { MBConv } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * assertEquals(new MBConv({ inChannels: 64, device }).parameterCount, 36_224);
 * ```
 */
export class MBConv extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, midChannels or expansion, activation, attention, dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: MBConvOptions) {
    const { inChannels, outChannels, stride } = sizesOf(options);
    const { activation = () => new ReLU6(), attention, device } = options;
    const mid = middleOf(options);
    const body: Record<string, TensorModule> = {
      expand: new Conv1x1NormAct({ inChannels, outChannels: mid, activation, device }),
      depthwise: new DWConvNormAct({ inChannels: mid, stride, activation, device }),
    };
    if (attention) body.attention = attention({ inChannels: mid, outChannels: mid, stride: 1 });
    body.project = new Conv1x1NormAct({ inChannels: mid, outChannels, activation: null, device });
    super(around(body, options));
  }
}

/**
 * `MBConv` with one convolution of 3 × 3 in place of the first two. Tan and Le, "EfficientNetV2",
 * 2021.
 *
 * @example
 * ```ts
 * import { FusedMBConv } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * assertEquals(new FusedMBConv({ inChannels: 64, device }).parameterCount, 164_480);
 * ```
 */
export class FusedMBConv extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, midChannels or expansion, activation, attention, dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: MBConvOptions) {
    const { inChannels, outChannels, stride } = sizesOf(options);
    const { activation = () => new ReLU6(), attention, device } = options;
    const mid = middleOf(options);
    const body: Record<string, TensorModule> = {
      expand: new Conv3x3NormAct({ inChannels, outChannels: mid, stride, activation, device }),
    };
    if (attention) body.attention = attention({ inChannels: mid, outChannels: mid, stride: 1 });
    body.project = new Conv1x1NormAct({ inChannels: mid, outChannels, activation: null, device });
    super(around(body, options));
  }
}
