/** Blocks of convolutional networks. */

export { ConvActNorm, ConvNormAct, type ConvNormActOptions, NormActConv } from "./conv.ts";
export {
  Conv1x1,
  Conv1x1ActNorm,
  Conv1x1NormAct,
  Conv3x3,
  Conv3x3NormAct,
  type DepthwiseOptions,
  DWConv,
  DWConvActNorm,
  DWConvNormAct,
  DWSepConvNormAct,
  type DWSepConvNormActOptions,
  type FixedConvOptions,
  NormActConv3x3,
} from "./variants.ts";
export { FCNormAct, type FCNormActOptions } from "./linear.ts";
export {
  BranchAndConcat,
  type Combine,
  InputForward,
  Residual,
  ResidualAdd,
  type ResidualFactory,
  type ResidualParts,
} from "./structure.ts";
export type { BlockOptions, ResidualBlockOptions } from "./options.ts";
export {
  type PooledShortcutOptions,
  PoolShortcut,
  type PoolShortcutOptions,
  ResNetDShortcut,
  ResNetS2DShortcut,
  ResNetShortcut,
  type ShortcutOptions,
} from "./shortcuts.ts";
export {
  Bottleneck,
  type BottleneckOptions,
  ResNetBottleneck,
  ResNetBottleneckD,
} from "./bottleneck.ts";
export {
  ResNetBlock,
  type ResNetBlockOptions,
  ResNetPreActBlock,
  ResNetPreActBlockDSE,
  ResNetPreActBlockS2DSE,
} from "./resnet.ts";
export {
  Res2NetBlock,
  type Res2NetBlockOptions,
  Res2NetBottleneck,
  Res2NetBottleneckD,
  type Res2NetBottleneckOptions,
} from "./res2net.ts";
export {
  ResNeXtBottleneck,
  ResNeXtBottleneckDSh,
  type ResNeXtBottleneckOptions,
} from "./resnext.ts";
export { FusedMBConv, MBConv, type MBConvOptions } from "./mobilenet.ts";
export {
  ConvNeXtBlock,
  type ConvNeXtBlockOptions,
  ConvNeXtDownsample,
  type ConvNeXtDownsampleOptions,
  ConvNeXtDownsampleS2D,
  type ConvNeXtV1BlockOptions,
  ConvNeXtV2Block,
  type ConvNeXtV2BlockOptions,
} from "./convnext.ts";
export {
  ConvMixerBlock,
  type ConvMixerBlockOptions,
  ConvMixerStem,
  type ConvMixerStemOptions,
  SAConvMixerStem,
} from "./convmixer.ts";
export {
  ConvTransposeNormAct,
  type ConvTransposeNormActOptions,
  UpsampleConvNormAct,
  type UpsampleConvNormActOptions,
} from "./up.ts";
