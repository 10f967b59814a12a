/** Nodes of single layers. */

import type { InterpolateMode, Pair } from "../../core/mod.ts";
import { SEAttention, SpatialAttention } from "../attention_gates.ts";
import { sizeOfInput } from "../block_node.ts";
import { ChannelShuffle, LayerScale } from "../channel_ops.ts";
import { Conv2d, ConvTranspose2d } from "../conv.ts";
import { defineNode, type FieldsOf, type NodeClass } from "../define_node.ts";
import { DropPath } from "../drop_path.ts";
import { Dropout } from "../dropout.ts";
import { Embedding } from "../embedding.ts";
import { Linear } from "../linear.ts";
import {
  boolean,
  choice,
  type Field,
  integer,
  integers,
  number,
  orNull,
  pair,
} from "../node_fields.ts";
import { PixelShuffle, SpaceToDepth } from "../pixel_shuffle.ts";
import { AdaptiveAvgPool2d } from "../pool.ts";
import { GlobalAvgPool2d } from "../pool_global.ts";
import { Flatten, Unflatten } from "../shape.ts";
import { Upsample } from "../upsample.ts";
import { count } from "./fields.ts";

/** What a `LinearNode` describes. */
export interface LinearNodeOptions {
  /** Features of the output. */
  readonly outFeatures: number;
  /** Features of the input; null where the input says them. @default {null} */
  readonly inFeatures?: number | null;
  /** Whether a bias is added. @default {true} */
  readonly bias?: boolean;
}

/**
 * A linear map; builds a `Linear`.
 *
 * @example
 * ```ts
 * import { LinearNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(new LinearNode({ outFeatures: 10 }).outputShape([64]), [10]);
 * ```
 */
export const LinearNode: NodeClass<LinearNodeOptions> = defineNode<LinearNodeOptions>(
  "LinearNode",
  { outFeatures: integer(1), inFeatures: count, bias: boolean(true) },
  ({ inFeatures, outFeatures, bias }, at) =>
    new Linear(inFeatures ?? sizeOfInput("LinearNode", "inFeatures", at), outFeatures, {
      bias,
      device: at.device,
    }),
);

/** What a `Conv2dNode` describes. */
export interface Conv2dNodeOptions {
  /** Channels of the output; null where the block around it says them, else inChannels. @default {null} */
  readonly outChannels?: number | null;
  /** Channels of the input; null where the input says them. @default {null} */
  readonly inChannels?: number | null;
  /** Size of the kernel. @default {3} */
  readonly kernelSize?: Pair;
  /** Step between output pixels; null where the block around it says it, else 1. @default {null} */
  readonly stride?: Pair | null;
  /** Zeros around the image. @default {0} */
  readonly padding?: Pair;
  /** Distance between taps. @default {1} */
  readonly dilation?: Pair;
  /** Blocks of channels that do not see each other. @default {1} */
  readonly groups?: number;
  /** Whether a bias is added. @default {true} */
  readonly bias?: boolean;
}

const conv: FieldsOf<Conv2dNodeOptions> = {
  outChannels: count,
  inChannels: count,
  kernelSize: pair(1, 3),
  stride: orNull(pair(1)),
  padding: pair(0, 0),
  dilation: pair(1, 1),
  groups: integer(1, 1),
  bias: boolean(true),
};

/** A convolution of images; builds a `Conv2d`. */
export const Conv2dNode: NodeClass<Conv2dNodeOptions> = defineNode<Conv2dNodeOptions>(
  "Conv2dNode",
  conv,
  ({ kernelSize, stride, padding, dilation, groups, bias, ...channels }, at) => {
    const from = channels.inChannels ?? sizeOfInput("Conv2dNode", "inChannels", at);
    return new Conv2d(from, channels.outChannels ?? from, {
      kernelSize,
      stride: stride ?? 1,
      padding,
      dilation,
      groups,
      bias,
      device: at.device,
    });
  },
);

/** What a `ConvTranspose2dNode` describes. */
export interface ConvTranspose2dNodeOptions extends Conv2dNodeOptions {
  /** Rows and columns added at the end of the output. @default {0} */
  readonly outputPadding?: Pair;
}

/** A transposed convolution of images; builds a `ConvTranspose2d`. */
export const ConvTranspose2dNode: NodeClass<ConvTranspose2dNodeOptions> = defineNode<
  ConvTranspose2dNodeOptions
>(
  "ConvTranspose2dNode",
  { ...conv, outputPadding: pair(0, 0) },
  ({ kernelSize, stride, padding, dilation, groups, bias, outputPadding, ...channels }, at) => {
    const from = channels.inChannels ?? sizeOfInput("ConvTranspose2dNode", "inChannels", at);
    return new ConvTranspose2d(from, channels.outChannels ?? from, {
      kernelSize,
      stride: stride ?? 1,
      padding,
      outputPadding,
      dilation,
      groups,
      bias,
      device: at.device,
    });
  },
);

/** A table of vectors; builds an `Embedding`. */
export const EmbeddingNode: NodeClass<{
  /** Number of vectors. */
  readonly numEmbeddings: number;
  /** Size of a vector. */
  readonly embeddingDim: number;
}> = defineNode(
  "EmbeddingNode",
  { numEmbeddings: integer(1), embeddingDim: integer(1) },
  ({ numEmbeddings, embeddingDim }, { device }) =>
    new Embedding(numEmbeddings, embeddingDim, { device }),
);

/** The mean of each channel; builds a `GlobalAvgPool2d`. */
export const GlobalAvgPool2dNode: NodeClass<{
  /** Whether height and width stay as axes of size 1. @default {false} */
  readonly keepDim?: boolean;
}> = defineNode<{ readonly keepDim?: boolean }>(
  "GlobalAvgPool2dNode",
  { keepDim: boolean(false) },
  ({ keepDim }) => new GlobalAvgPool2d({ keepDim }),
);

/** Average pooling to a size; builds an `AdaptiveAvgPool2d`. */
export const AdaptiveAvgPool2dNode: NodeClass<{
  /** Size of the output, or [height, width]. @default {1} */
  readonly outputSize?: Pair;
}> = defineNode<{ readonly outputSize?: Pair }>(
  "AdaptiveAvgPool2dNode",
  { outputSize: pair(1, 1) },
  ({ outputSize }) => new AdaptiveAvgPool2d(outputSize),
);

/** Merges all axes but the batch; builds a `Flatten`. */
export const FlattenNode: NodeClass<Record<never, never>> = defineNode(
  "FlattenNode",
  {},
  () => new Flatten(),
);

/** Splits the axis behind the batch; builds an `Unflatten`. */
export const UnflattenNode: NodeClass<{
  /** The sizes that it is split into. */
  readonly sizes: readonly number[];
}> = defineNode(
  "UnflattenNode",
  { sizes: integers(1, 1) },
  ({ sizes }) => new Unflatten(1, sizes),
);

/** What the node of a layer that drops something describes. */
export interface DropNodeOptions {
  /** Probability of dropping, from 0 to 1. */
  readonly p: number;
}

/** Drops elements in training; builds a `Dropout`. */
export const DropoutNode: NodeClass<DropNodeOptions> = defineNode(
  "DropoutNode",
  { p: number(0, 1) },
  ({ p }) => new Dropout(p),
);

/** Drops samples in training; builds a `DropPath`. */
export const DropPathNode: NodeClass<DropNodeOptions> = defineNode(
  "DropPathNode",
  { p: number(0, 1) },
  ({ p }) => new DropPath(p),
);

/** What an `SEAttentionNode` describes. */
export interface SEAttentionNodeOptions {
  /** Channels; null where the block around it or the input says them. @default {null} */
  readonly inChannels?: number | null;
  /** By how much the channels are reduced. @default {4} */
  readonly reduction?: number;
}

/** Weighs channels; builds an `SEAttention`. */
export const SEAttentionNode: NodeClass<SEAttentionNodeOptions> = defineNode<
  SEAttentionNodeOptions
>(
  "SEAttentionNode",
  { inChannels: count, reduction: number(Number.MIN_VALUE, Number.MAX_VALUE, 4) },
  ({ inChannels, reduction }, at) =>
    new SEAttention(inChannels ?? sizeOfInput("SEAttentionNode", "inChannels", at), {
      reduction,
      device: at.device,
    }),
);

/** Weighs pixels; builds a `SpatialAttention`. */
export const SpatialAttentionNode: NodeClass<Record<never, never>> = defineNode(
  "SpatialAttentionNode",
  {},
  (_, { device }) => new SpatialAttention({ device }),
);

/** Mixes the channels of groups; builds a `ChannelShuffle`. */
export const ChannelShuffleNode: NodeClass<{
  /** Number of groups. */
  readonly groups: number;
}> = defineNode(
  "ChannelShuffleNode",
  { groups: integer(1) },
  ({ groups }) => new ChannelShuffle(groups),
);

/** A factor for each channel; builds a `LayerScale`. */
export const LayerScaleNode: NodeClass<{
  /** What all factors start from. @default {1e-5} */
  readonly init?: number;
}> = defineNode<{ readonly init?: number }>(
  "LayerScaleNode",
  { init: number(-Number.MAX_VALUE, Number.MAX_VALUE, 1e-5) },
  ({ init }, at) => {
    const dims = (at.inputShape?.length ?? 3) + 1;
    const channels = sizeOfInput("LayerScaleNode", "inChannels", at);
    return new LayerScale(channels, { init, dims, device: at.device });
  },
);

const factor: { readonly factor: Field<number> } = { factor: integer(1, 2) };

/** What the node of a layer that trades pixels for channels describes. */
export interface FactorNodeOptions {
  /** Height and width of a patch. @default {2} */
  readonly factor?: number;
}

/** Patches become channels; builds a `SpaceToDepth`. */
export const SpaceToDepthNode: NodeClass<FactorNodeOptions> = defineNode<FactorNodeOptions>(
  "SpaceToDepthNode",
  factor,
  ({ factor }) => new SpaceToDepth(factor),
);

/** Channels become patches; builds a `PixelShuffle`. */
export const PixelShuffleNode: NodeClass<FactorNodeOptions> = defineNode<FactorNodeOptions>(
  "PixelShuffleNode",
  factor,
  ({ factor }) => new PixelShuffle(factor),
);

/** What an `UpsampleNode` describes. */
export interface UpsampleNodeOptions extends FactorNodeOptions {
  /** How pixels between others are found. @default {"nearest"} */
  readonly mode?: InterpolateMode;
}

/** Enlarges images; builds an `Upsample`. */
export const UpsampleNode: NodeClass<UpsampleNodeOptions> = defineNode<UpsampleNodeOptions>(
  "UpsampleNode",
  { ...factor, mode: choice(["nearest", "nearest-exact", "bilinear"], "nearest") },
  ({ factor, mode }) => new Upsample({ scaleFactor: factor, mode }),
);
