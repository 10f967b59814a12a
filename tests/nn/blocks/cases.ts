/** Every block as a node, with its number of parameters: that of the original, or one that is counted by hand. */

import * as nn from "../../../nn/mod.ts";

/** One block. */
export interface BlockCase {
  readonly name: string;
  /** The node for sizes, with nothing else said. */
  readonly make: (sizes: nn.BlockSizes) => nn.Node;
  /** Parameters of 64 channels, and of 64 to 128 with stride 2; null where the block has no such form. */
  readonly parameters: readonly [number | null, number | null];
}

const bn = (channels: number) => 2 * channels;

/** The blocks whose numbers of parameters are known from the original. */
export const blockCases: readonly BlockCase[] = [
  { name: "ResNetBlock", make: (s) => new nn.ResNetBlockNode(s), parameters: [73_984, 230_144] },
  {
    name: "ResNetPreActBlock",
    make: (s) => new nn.ResNetPreActBlockNode(s),
    parameters: [73_984, 229_760],
  },
  {
    name: "ResNetPreActBlockDSE",
    make: (s) => new nn.ResNetPreActBlockDSENode(s),
    parameters: [76_032, 237_952],
  },
  {
    name: "ResNetPreActBlockS2DSE",
    make: (s) => new nn.ResNetPreActBlockS2DSENode(s),
    parameters: [76_032, 484_096],
  },
  // The original has one factor more, which nothing uses: 9,281 and 17,729.
  { name: "Res2NetBlock", make: (s) => new nn.Res2NetBlockNode(s), parameters: [9_280, 17_728] },
  {
    name: "ResNetBottleneck",
    make: (s) => new nn.ResNetBottleneckNode(s),
    parameters: [4_544, 24_192],
  },
  {
    name: "ResNetBottleneckD",
    make: (s) => new nn.ResNetBottleneckDNode(s),
    parameters: [4_544, 24_192],
  },
  // As above: 2,801 and 17,249 with the factor that nothing uses.
  {
    name: "Res2NetBottleneck",
    make: (s) => new nn.Res2NetBottleneckNode(s),
    parameters: [2_800, 17_248],
  },
  {
    name: "Res2NetBottleneckD",
    make: (s) => new nn.Res2NetBottleneckDNode(s),
    parameters: [2_800, 17_248],
  },
  {
    name: "ConvNeXtBlock",
    make: (s) => new nn.ConvNeXtBlockNode(s),
    parameters: [33_536, 58_432],
  },
  {
    name: "ConvNeXtV2Block",
    make: (s) => new nn.ConvNeXtV2BlockNode(s),
    parameters: [33_984, 58_816],
  },
  { name: "MBConv", make: (s) => new nn.MBConvNode(s), parameters: [36_224, 52_736] },
  { name: "FusedMBConv", make: (s) => new nn.FusedMBConvNode(s), parameters: [164_480, 180_992] },
  {
    name: "ConvMixerBlock",
    make: (s) => new nn.ConvMixerBlockNode(s),
    parameters: [6_080, 14_592],
  },
  {
    name: "ConvNeXtDownsample",
    make: (s) => new nn.ConvNeXtDownsampleNode(s),
    parameters: [null, 32_896],
  },
  {
    name: "ConvNeXtDownsampleS2D",
    make: (s) => new nn.ConvNeXtDownsampleS2DNode(s),
    parameters: [null, 295_424],
  },
];

/** The other blocks; the original's ResNeXt could not be made. */
export const countedCases: readonly BlockCase[] = [
  {
    name: "ResNeXtBottleneck",
    make: (s) => new nn.ResNeXtBottleneckNode({ ...s, groups: 4 }),
    parameters: [
      64 * 16 + bn(16) + 16 * 4 * 9 + bn(16) + 16 * 64 + bn(64),
      64 * 32 + bn(32) + 32 * 8 * 9 + bn(32) + 32 * 128 + bn(128) + 64 * 128 + bn(128),
    ],
  },
  {
    name: "ResNeXtBottleneckDSh",
    make: (s) => new nn.ResNeXtBottleneckDShNode({ ...s, groups: 4 }),
    parameters: [
      64 * 16 + bn(16) + 16 * 4 * 9 + bn(16) + 16 * 64 + bn(64),
      64 * 32 + bn(32) + 32 * 8 * 9 + bn(32) + 32 * 128 + bn(128) + 64 * 128 + bn(128),
    ],
  },
  {
    name: "Bottleneck",
    make: (s) => new nn.BottleneckNode({ ...s, reduction: 2, block2: new nn.Conv1x1NormActNode() }),
    parameters: [
      64 * 32 + bn(32) + 32 * 32 + bn(32) + 32 * 64 + bn(64),
      64 * 64 + bn(64) + 64 * 64 + bn(64) + 64 * 128 + bn(128) + 64 * 128 + bn(128),
    ],
  },
  {
    name: "ConvNormAct",
    make: (s) => new nn.ConvNormActNode(s),
    parameters: [64 * 64 * 9 + bn(64), 64 * 128 * 9 + bn(128)],
  },
  {
    name: "ConvActNorm",
    make: (s) => new nn.ConvActNormNode(s),
    parameters: [64 * 64 * 9 + 64 + bn(64), 64 * 128 * 9 + 128 + bn(128)],
  },
  {
    name: "NormActConv",
    make: (s) => new nn.NormActConvNode(s),
    parameters: [bn(64) + 64 * 64 * 9, bn(64) + 64 * 128 * 9],
  },
  { name: "Conv1x1", make: (s) => new nn.Conv1x1Node(s), parameters: [64 * 64, 64 * 128] },
  { name: "Conv3x3", make: (s) => new nn.Conv3x3Node(s), parameters: [64 * 64 * 9, 64 * 128 * 9] },
  {
    name: "Conv1x1NormAct",
    make: (s) => new nn.Conv1x1NormActNode(s),
    parameters: [64 * 64 + bn(64), 64 * 128 + bn(128)],
  },
  {
    name: "Conv3x3NormAct",
    make: (s) => new nn.Conv3x3NormActNode(s),
    parameters: [64 * 64 * 9 + bn(64), 64 * 128 * 9 + bn(128)],
  },
  {
    name: "Conv1x1ActNorm",
    make: (s) => new nn.Conv1x1ActNormNode(s),
    parameters: [64 * 64 + 64 + bn(64), 64 * 128 + 128 + bn(128)],
  },
  {
    name: "NormActConv3x3",
    make: (s) => new nn.NormActConv3x3Node(s),
    parameters: [bn(64) + 64 * 64 * 9, bn(64) + 64 * 128 * 9],
  },
  { name: "DWConv", make: (s) => new nn.DWConvNode(s), parameters: [64 * 9, 128 * 9] },
  {
    name: "DWConvNormAct",
    make: (s) => new nn.DWConvNormActNode(s),
    parameters: [64 * 9 + bn(64), 128 * 9 + bn(128)],
  },
  {
    name: "DWConvActNorm",
    make: (s) => new nn.DWConvActNormNode(s),
    parameters: [64 * 9 + 64 + bn(64), 128 * 9 + 128 + bn(128)],
  },
  {
    name: "DWSepConvNormAct",
    make: (s) => new nn.DWSepConvNormActNode(s),
    parameters: [64 * 9 + bn(64) + 64 * 64 + bn(64), 64 * 9 + bn(64) + 64 * 128 + bn(128)],
  },
  {
    name: "ResNetShortcut",
    make: (s) => new nn.ResNetShortcutNode(s),
    parameters: [0, 64 * 128 + bn(128)],
  },
  {
    name: "ResNetDShortcut",
    make: (s) => new nn.ResNetDShortcutNode(s),
    parameters: [0, 64 * 128 + bn(128)],
  },
  {
    name: "ResNetS2DShortcut",
    make: (s) => new nn.ResNetS2DShortcutNode(s),
    parameters: [0, 4 * 64 * 128 + bn(128)],
  },
  { name: "PoolShortcut", make: (s) => new nn.PoolShortcutNode(s), parameters: [0, null] },
];
