/** Nodes of the blocks of image networks. */

import {
  Bottleneck,
  type BottleneckOptions,
  ResNetBottleneck,
  ResNetBottleneckD,
} from "../blocks/bottleneck.ts";
import {
  ConvMixerBlock,
  type ConvMixerBlockOptions,
  ConvMixerStem,
  type ConvMixerStemOptions,
  SAConvMixerStem,
} from "../blocks/convmixer.ts";
import {
  ConvNeXtBlock,
  ConvNeXtDownsample,
  type ConvNeXtDownsampleOptions,
  ConvNeXtDownsampleS2D,
  type ConvNeXtV1BlockOptions,
  ConvNeXtV2Block,
  type ConvNeXtV2BlockOptions,
} from "../blocks/convnext.ts";
import { FusedMBConv, MBConv, type MBConvOptions } from "../blocks/mobilenet.ts";
import {
  Res2NetBlock,
  type Res2NetBlockOptions,
  Res2NetBottleneck,
  Res2NetBottleneckD,
  type Res2NetBottleneckOptions,
} from "../blocks/res2net.ts";
import {
  ResNetBlock,
  type ResNetBlockOptions,
  ResNetPreActBlock,
  ResNetPreActBlockDSE,
  ResNetPreActBlockS2DSE,
} from "../blocks/resnet.ts";
import {
  ResNeXtBottleneck,
  ResNeXtBottleneckDSh,
  type ResNeXtBottleneckOptions,
} from "../blocks/resnext.ts";
import {
  type PooledShortcutOptions,
  PoolShortcut,
  type PoolShortcutOptions,
  ResNetDShortcut,
  ResNetS2DShortcut,
  ResNetShortcut,
  type ShortcutOptions,
} from "../blocks/shortcuts.ts";
import { blockNode, type NodeOptions, slots } from "../block_node.ts";
import type { NodeClass } from "../define_node.ts";
import { number, orNull } from "../node_fields.ts";
import { count, probability, ratio, residual, sizes, window } from "./fields.ts";

/** The options of a node of a block; how both paths are combined cannot be said in JSON. */
export type BlockNodeOptions<O> = NodeOptions<Omit<O, "residual">>;

const anyNumber = orNull(number(-Number.MAX_VALUE, Number.MAX_VALUE));

/** The identity or a convolution of 1 × 1; builds a `ResNetShortcut`. */
export const ResNetShortcutNode: NodeClass<NodeOptions<ShortcutOptions>> = blockNode(
  "ResNetShortcutNode",
  ResNetShortcut,
  { ...sizes, block: slots.block },
);

/** The identity, or pooling and a convolution of 1 × 1; builds a `ResNetDShortcut`. */
export const ResNetDShortcutNode: NodeClass<NodeOptions<PooledShortcutOptions>> = blockNode(
  "ResNetDShortcutNode",
  ResNetDShortcut,
  { ...sizes, block: slots.block, kernelSize: window },
);

/** The identity, or patches as channels and a convolution of 1 × 1; builds a `ResNetS2DShortcut`. */
export const ResNetS2DShortcutNode: NodeClass<NodeOptions<ShortcutOptions>> = blockNode(
  "ResNetS2DShortcutNode",
  ResNetS2DShortcut,
  { ...sizes, block: slots.block },
);

/** Average pooling alone; builds a `PoolShortcut`. */
export const PoolShortcutNode: NodeClass<NodeOptions<PoolShortcutOptions>> = blockNode(
  "PoolShortcutNode",
  PoolShortcut,
  { ...sizes, kernelSize: window },
);

const twoBlocks = { ...residual, block1: slots.block, block2: slots.block };

/**
 * Two convolutions of 3 × 3 and a path around them; builds a `ResNetBlock`.
 *
 * @example
 * ```ts
 * import { ConvNormActNode, NoopNode, ResNetBlockNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * // The block tells its parts their sizes.
 * const block2 = new ConvNormActNode({ kernelSize: 5, activation: new NoopNode() });
 * const node = new ResNetBlockNode({ outChannels: 128, stride: 2, block2, dropPath: 0.1 });
 * assertEquals(node.outputShape([64, 32, 32]), [128, 16, 16]);
 * ```
 */
export const ResNetBlockNode: NodeClass<BlockNodeOptions<ResNetBlockOptions>> = blockNode<
  Omit<ResNetBlockOptions, "residual">
>("ResNetBlockNode", ResNetBlock, twoBlocks);

/** Normalisation and activation before each convolution; builds a `ResNetPreActBlock`. */
export const ResNetPreActBlockNode: NodeClass<BlockNodeOptions<ResNetBlockOptions>> = blockNode<
  Omit<ResNetBlockOptions, "residual">
>("ResNetPreActBlockNode", ResNetPreActBlock, twoBlocks);

/** With squeeze and excitation and a pooled shortcut; builds a `ResNetPreActBlockDSE`. */
export const ResNetPreActBlockDSENode: NodeClass<BlockNodeOptions<ResNetBlockOptions>> = blockNode<
  Omit<ResNetBlockOptions, "residual">
>("ResNetPreActBlockDSENode", ResNetPreActBlockDSE, twoBlocks);

/** With squeeze and excitation and patches as channels; builds a `ResNetPreActBlockS2DSE`. */
export const ResNetPreActBlockS2DSENode: NodeClass<BlockNodeOptions<ResNetBlockOptions>> =
  blockNode<Omit<ResNetBlockOptions, "residual">>(
    "ResNetPreActBlockS2DSENode",
    ResNetPreActBlockS2DSE,
    twoBlocks,
  );

const bottleneck = {
  ...twoBlocks,
  block3: slots.block,
  midChannels: count,
  reduction: ratio,
};

/** Narrow, work, widen; builds a `Bottleneck`. */
export const BottleneckNode: NodeClass<BlockNodeOptions<BottleneckOptions>> = blockNode<
  Omit<BottleneckOptions, "residual">
>("BottleneckNode", Bottleneck, bottleneck);

/** The bottleneck of ResNet; builds a `ResNetBottleneck`. */
export const ResNetBottleneckNode: NodeClass<BlockNodeOptions<BottleneckOptions>> = blockNode<
  Omit<BottleneckOptions, "residual">
>("ResNetBottleneckNode", ResNetBottleneck, bottleneck);

/** The bottleneck of ResNet-D; builds a `ResNetBottleneckD`. */
export const ResNetBottleneckDNode: NodeClass<BlockNodeOptions<BottleneckOptions>> = blockNode<
  Omit<BottleneckOptions, "residual">
>("ResNetBottleneckDNode", ResNetBottleneckD, bottleneck);

const grouped = { ...bottleneck, groups: count };

/** A bottleneck with groups; builds a `ResNeXtBottleneck`. */
export const ResNeXtBottleneckNode: NodeClass<BlockNodeOptions<ResNeXtBottleneckOptions>> =
  blockNode<Omit<ResNeXtBottleneckOptions, "residual">>(
    "ResNeXtBottleneckNode",
    ResNeXtBottleneck,
    grouped,
  );

/** A bottleneck with groups that are mixed; builds a `ResNeXtBottleneckDSh`. */
export const ResNeXtBottleneckDShNode: NodeClass<BlockNodeOptions<ResNeXtBottleneckOptions>> =
  blockNode<Omit<ResNeXtBottleneckOptions, "residual">>(
    "ResNeXtBottleneckDShNode",
    ResNeXtBottleneckDSh,
    grouped,
  );

/** Scales of different reach; builds a `Res2NetBlock`. */
export const Res2NetBlockNode: NodeClass<NodeOptions<Res2NetBlockOptions>> = blockNode(
  "Res2NetBlockNode",
  Res2NetBlock,
  {
    ...sizes,
    midChannels: count,
    scales: count,
    block: slots.block,
    shortcut: slots.block,
    projection: slots.block,
    alpha: anyNumber,
  },
);

const scaled = { ...bottleneck, scaleChannels: count, scales: count };

/** A bottleneck with several scales; builds a `Res2NetBottleneck`. */
export const Res2NetBottleneckNode: NodeClass<BlockNodeOptions<Res2NetBottleneckOptions>> =
  blockNode<Omit<Res2NetBottleneckOptions, "residual">>(
    "Res2NetBottleneckNode",
    Res2NetBottleneck,
    scaled,
  );

/** A bottleneck with several scales and a pooled shortcut; builds a `Res2NetBottleneckD`. */
export const Res2NetBottleneckDNode: NodeClass<BlockNodeOptions<Res2NetBottleneckOptions>> =
  blockNode<Omit<Res2NetBottleneckOptions, "residual">>(
    "Res2NetBottleneckDNode",
    Res2NetBottleneckD,
    scaled,
  );

const mobile = {
  ...sizes,
  midChannels: count,
  expansion: ratio,
  activation: slots.activation,
  attention: slots.block,
  dropPath: probability,
};

/** Widen, work on each channel, narrow; builds an `MBConv`. */
export const MBConvNode: NodeClass<NodeOptions<MBConvOptions>> = blockNode(
  "MBConvNode",
  MBConv,
  mobile,
);

/** Widen with a convolution of 3 × 3, narrow; builds a `FusedMBConv`. */
export const FusedMBConvNode: NodeClass<NodeOptions<MBConvOptions>> = blockNode(
  "FusedMBConvNode",
  FusedMBConv,
  mobile,
);

const convNeXt = {
  ...residual,
  kernelSize: window,
  expansion: ratio,
  norm: slots.norm,
  midActivation: slots.activation,
};

/** The block of ConvNeXt; builds a `ConvNeXtBlock`. */
export const ConvNeXtBlockNode: NodeClass<BlockNodeOptions<ConvNeXtV1BlockOptions>> = blockNode<
  Omit<ConvNeXtV1BlockOptions, "residual">
>("ConvNeXtBlockNode", ConvNeXtBlock, { ...convNeXt, layerScale: anyNumber });

/** The block of ConvNeXt V2; builds a `ConvNeXtV2Block`. */
export const ConvNeXtV2BlockNode: NodeClass<BlockNodeOptions<ConvNeXtV2BlockOptions>> = blockNode<
  Omit<ConvNeXtV2BlockOptions, "residual">
>("ConvNeXtV2BlockNode", ConvNeXtV2Block, { ...convNeXt, midNorm: slots.norm });

const downsample = { ...sizes, norm: slots.norm };

/** Normalisation and a strided convolution; builds a `ConvNeXtDownsample`. */
export const ConvNeXtDownsampleNode: NodeClass<NodeOptions<ConvNeXtDownsampleOptions>> = blockNode(
  "ConvNeXtDownsampleNode",
  ConvNeXtDownsample,
  downsample,
);

/** Patches as channels, normalisation, a convolution; builds a `ConvNeXtDownsampleS2D`. */
export const ConvNeXtDownsampleS2DNode: NodeClass<NodeOptions<ConvNeXtDownsampleOptions>> =
  blockNode("ConvNeXtDownsampleS2DNode", ConvNeXtDownsampleS2D, downsample);

const stem = {
  inChannels: count,
  outChannels: count,
  patchSize: count,
  activation: slots.activation,
};

/** A convolution over patches; builds a `ConvMixerStem`. */
export const ConvMixerStemNode: NodeClass<NodeOptions<ConvMixerStemOptions>> = blockNode(
  "ConvMixerStemNode",
  ConvMixerStem,
  stem,
);

/** Patches as channels and a convolution of 1 × 1; builds an `SAConvMixerStem`. */
export const SAConvMixerStemNode: NodeClass<NodeOptions<ConvMixerStemOptions>> = blockNode(
  "SAConvMixerStemNode",
  SAConvMixerStem,
  stem,
);

/** Depthwise with a path around it, then pointwise; builds a `ConvMixerBlock`. */
export const ConvMixerBlockNode: NodeClass<NodeOptions<ConvMixerBlockOptions>> = blockNode(
  "ConvMixerBlockNode",
  ConvMixerBlock,
  {
    ...sizes,
    kernelSize: window,
    activation: slots.activation,
    shortcut: slots.block,
    dropPath: probability,
  },
);
