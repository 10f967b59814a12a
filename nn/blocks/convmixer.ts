/** The blocks of ConvMixer: patches, then depthwise and pointwise convolutions in turn. */

import type { Pair } from "../../core/mod.ts";
import { GELU } from "../activation_options.ts";
import type { ActivationFactory, BlockFactory } from "../factories.ts";
import { Sequential } from "../sequential.ts";
import { ConvActNorm } from "./conv.ts";
import { type BlockOptions, sizesOf } from "./options.ts";
import { ResNetShortcut, spaceToDepthParts } from "./shortcuts.ts";
import { ResidualAdd } from "./structure.ts";
import { Conv1x1ActNorm, DWConvActNorm } from "./variants.ts";

/** How patches become pixels. */
export interface ConvMixerStemOptions {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** Height and width of a patch. @default {2} */
  readonly patchSize?: number;
  /** Makes the activation. @default {GELU} */
  readonly activation?: ActivationFactory | null;
  /** Where the parameters live. @default {the default device} */
  readonly device?: BlockOptions["device"];
}

/**
 * A convolution over patches without overlap, activation, normalisation. Trockman and Kolter,
 * "Patches are all you need?", 2022.
 *
 * @example
 * ```ts
 * import { ConvMixerStem } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const stem = new ConvMixerStem({ inChannels: 3, outChannels: 16, patchSize: 4, device });
 * assertEquals(stem.forward(zeros([2, 3, 32, 32], { device })).shape, [2, 16, 8, 8]);
 * ```
 */
export class ConvMixerStem extends ConvActNorm {
  /**
   * Makes the parts.
   *
   * @param options sizes, patchSize, activation
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvMixerStemOptions) {
    const { patchSize = 2, activation = () => new GELU(), ...sizes } = options;
    super({ ...sizes, kernelSize: patchSize, stride: patchSize, padding: 0, activation });
  }
}

/**
 * `ConvMixerStem` with patches as channels and a convolution of 1 × 1: the same map, in two parts
 * named s2d and block.
 *
 * @example
 * ```ts
 * import { SAConvMixerStem } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const stem = new SAConvMixerStem({ inChannels: 3, outChannels: 256, device });
 * assertEquals(stem.parameterCount, 12 * 256 + 256 + 512);
 * ```
 */
export class SAConvMixerStem extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, patchSize, activation
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvMixerStemOptions) {
    const { inChannels, outChannels, patchSize = 2, device } = options;
    const { activation = () => new GELU() } = options;
    super(
      spaceToDepthParts(
        inChannels,
        patchSize,
        outChannels,
        (sizes) => new Conv1x1ActNorm({ ...sizes, activation, device }),
      ),
    );
  }
}

/** How a block of ConvMixer is made. */
export interface ConvMixerBlockOptions extends BlockOptions {
  /** Size of the depthwise kernel. @default {5} */
  readonly kernelSize?: Pair;
  /** Makes both activations. @default {GELU} */
  readonly activation?: ActivationFactory | null;
  /** Makes the path around the depthwise convolution. @default {ResNetShortcut} */
  readonly shortcut?: BlockFactory;
  /** Probability of leaving the depthwise convolution out for a sample, in training. @default {0} */
  readonly dropPath?: number;
}

/**
 * A depthwise convolution with a path around it, then one of 1 × 1 without; each with its activation
 * and normalisation. The parts are named depthwise (block, shortcut) and pointwise.
 *
 * @example
 * ```ts
 * import { ConvMixerBlock } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * assertEquals(new ConvMixerBlock({ inChannels: 64, device }).parameterCount, 6_080);
 * ```
 */
export class ConvMixerBlock extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, kernelSize, activation, shortcut, dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvMixerBlockOptions) {
    const { inChannels, outChannels, stride } = sizesOf(options);
    const { kernelSize = 5, activation = () => new GELU(), dropPath, device } = options;
    const { shortcut = (sizes) => new ResNetShortcut({ ...sizes, device }) } = options;
    super({
      depthwise: new ResidualAdd({
        block: new DWConvActNorm({ inChannels, kernelSize, stride, activation, device }),
        shortcut: shortcut({ inChannels, outChannels: inChannels, stride }),
        dropPath,
      }),
      pointwise: new Conv1x1ActNorm({ inChannels, outChannels, activation, device }),
    });
  }
}
