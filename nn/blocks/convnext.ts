/** The blocks of ConvNeXt: depthwise convolutions with a perceptron over channels. */

import type { Pair } from "../../core/mod.ts";
import { GELU } from "../activation_options.ts";
import { GRN, LayerNorm2d } from "../channel_norm.ts";
import { LayerScale } from "../channel_ops.ts";
import type { ActivationFactory, BlockFactory, NormFactory } from "../factories.ts";
import type { TensorModule } from "../module.ts";
import { Sequential } from "../sequential.ts";
import { ConvNormAct } from "./conv.ts";
import { type ResidualBlockOptions, residualParts, sizesOf } from "./options.ts";
import { ResNetShortcut, spaceToDepthParts } from "./shortcuts.ts";
import { Conv1x1, DWConvNormAct } from "./variants.ts";

/** How a block of ConvNeXt is made. */
export interface ConvNeXtBlockOptions extends ResidualBlockOptions {
  /** Size of the depthwise kernel; the paper has 7, for larger images. @default {3} */
  readonly kernelSize?: Pair;
  /** By how much the channels are widened. @default {4} */
  readonly expansion?: number;
  /** Makes the normalisation behind the depthwise convolution. @default {LayerNorm2d} */
  readonly norm?: NormFactory | null;
  /** Makes the activation between both convolutions of 1 × 1. @default {GELU} */
  readonly midActivation?: ActivationFactory | null;
}

/** How a block of ConvNeXt V1 is made. */
export interface ConvNeXtV1BlockOptions extends ConvNeXtBlockOptions {
  /** What the layer scale starts from; null for none. @default {0.1} */
  readonly layerScale?: number | null;
}

/** How a block of ConvNeXt V2 is made. */
export interface ConvNeXtV2BlockOptions extends ConvNeXtBlockOptions {
  /** Makes the normalisation of the widened channels. @default {GRN} */
  readonly midNorm?: NormFactory | null;
}

/** The parts of a block, with something before and after the last convolution. */
function parts(
  options: ConvNeXtBlockOptions,
  before: (mid: number) => TensorModule | null,
  after: (channels: number) => TensorModule | null,
): Record<string, TensorModule> {
  const sizes = sizesOf(options);
  const { inChannels, outChannels, stride } = sizes;
  const { kernelSize = 3, expansion = 4, device } = options;
  const {
    norm = (channels: number) => new LayerNorm2d(channels, { device }),
    midActivation = () => new GELU(),
    shortcut = (s) => new ResNetShortcut({ ...s, device }),
  } = options;
  const mid = Math.round(inChannels * expansion);
  const body: Record<string, TensorModule> = {
    block1: new DWConvNormAct({
      inChannels,
      kernelSize,
      stride,
      norm,
      activation: null,
      bias: false,
      device,
    }),
    block2: new Conv1x1({ inChannels, outChannels: mid, activation: midActivation, device }),
  };
  const grn = before(mid);
  if (grn !== null) body.norm = grn;
  body.block3 = new Conv1x1({ inChannels: mid, outChannels, device });
  const scale = after(outChannels);
  if (scale !== null) body.scale = scale;
  return residualParts(body, shortcut(sizes), options);
}

/**
 * Depthwise convolution and normalisation of each pixel, 1 × 1 to more channels, GELU, 1 × 1 back,
 * layer scale, and a path around all of it. Liu et al., "A ConvNet for the 2020s", 2022; with a
 * kernel of 3 × 3 for small images, without biases, and with a shortcut where sizes change.
 *
 * The parts are named residual.block.block1 to block3 and scale.
 *
 * @example
 * ```ts
 * import { ConvNeXtBlock } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * assertEquals(new ConvNeXtBlock({ inChannels: 64, device }).parameterCount, 33_536);
 * ```
 */
export class ConvNeXtBlock extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, kernelSize, expansion, norm, midActivation, layerScale, shortcut, residual,
   * activation (none unless said), dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvNeXtV1BlockOptions) {
    const { layerScale = 0.1, device } = options;
    super(
      parts(
        options,
        () => null,
        (channels) =>
          layerScale === null ? null : new LayerScale(channels, { init: layerScale, device }),
      ),
    );
  }
}

/**
 * `ConvNeXtBlock` with global response normalisation of the widened channels in place of the layer
 * scale. Woo et al., "ConvNeXt V2", 2023.
 *
 * @example
 * ```ts
 * import { ConvNeXtV2Block } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * assertEquals(new ConvNeXtV2Block({ inChannels: 64, device }).parameterCount, 33_984);
 * ```
 */
export class ConvNeXtV2Block extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, kernelSize, expansion, norm, midActivation, midNorm, shortcut, residual,
   * activation (none unless said), dropPath
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvNeXtV2BlockOptions) {
    const { device, midNorm = (channels: number) => new GRN(channels, { device }) } = options;
    super(parts(options, (mid) => midNorm === null ? null : midNorm(mid), () => null));
  }
}

/** How a reduction of the size between stages is made. */
export interface ConvNeXtDownsampleOptions {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. @default {inChannels} */
  readonly outChannels?: number;
  /** How many pixels of the input there are for one of the output, along each axis. @default {2} */
  readonly stride?: number;
  /** Makes the normalisation before the convolution. @default {LayerNorm2d} */
  readonly norm?: NormFactory | null;
  /** Where the parameters live. @default {the default device} */
  readonly device?: ConvNeXtBlockOptions["device"];
}

/** A normalisation and a convolution. */
function normConv(
  kernelSize: number,
  stride: number,
  { norm, device }: ConvNeXtDownsampleOptions,
): BlockFactory {
  return ({ inChannels, outChannels }) => {
    const conv = new ConvNormAct({
      inChannels,
      outChannels,
      kernelSize,
      stride,
      padding: stride > 1 ? 0 : null,
      norm: null,
      activation: null,
      bias: false,
      device,
    });
    const make = norm === undefined ? (n: number) => new LayerNorm2d(n, { device }) : norm;
    return make === null ? conv : new Sequential({ norm: make(inChannels), conv });
  };
}

/**
 * Normalisation of each pixel, and a convolution of stride × stride without overlap, named norm and
 * conv.
 *
 * @example
 * ```ts
 * import { ConvNeXtDownsample } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new ConvNeXtDownsample({ inChannels: 64, outChannels: 128, device });
 * assertEquals(layer.parameterCount, 32_896);
 * ```
 */
export class ConvNeXtDownsample extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, norm
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvNeXtDownsampleOptions) {
    const { inChannels, outChannels = inChannels, stride = 2 } = options;
    const block = normConv(stride, stride, options)({ inChannels, outChannels, stride });
    super({ block });
  }
}

/**
 * Patches as channels, normalisation of each patch, and a convolution of 3 × 3.
 *
 * @example
 * ```ts
 * import { ConvNeXtDownsampleS2D } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new ConvNeXtDownsampleS2D({ inChannels: 64, outChannels: 128, device });
 * assertEquals(layer.parameterCount, 295_424);
 * ```
 */
export class ConvNeXtDownsampleS2D extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options sizes, norm
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ConvNeXtDownsampleOptions) {
    const { inChannels, outChannels = inChannels, stride = 2 } = options;
    super(spaceToDepthParts(inChannels, stride, outChannels, normConv(3, 1, options)));
  }
}
