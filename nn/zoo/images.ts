/** The model zoo: ten networks for small images, as nodes. */

import type { Node } from "../node.ts";
import { NoopNode } from "../nodes/activation.ts";
import {
  ConvMixerBlockNode,
  ConvMixerStemNode,
  ConvNeXtDownsampleNode,
  ConvNeXtV2BlockNode,
  FusedMBConvNode,
  MBConvNode,
  Res2NetBlockNode,
  Res2NetBottleneckNode,
  ResNetBlockNode,
  ResNetDShortcutNode,
  ResNetPreActBlockNode,
  ResNetPreActBlockS2DSENode,
  SAConvMixerStemNode,
} from "../nodes/blocks.ts";
import { Conv3x3NormActNode, FCNormActNode } from "../nodes/conv.ts";
import { GlobalAvgPool2dNode, LinearNode } from "../nodes/layers.ts";
import { BatchNorm1dNode, BatchNorm2dNode, LayerNormNode } from "../nodes/norms.ts";
import { MaxPool2dNode } from "../nodes/pool.ts";
import { StagesNode } from "../nodes/stages.ts";

/** What a model of the zoo is made for. */
export interface ZooOptions {
  /** Channels of the images. @default {3} */
  readonly inChannels?: number;
  /** Number of classes. @default {10} */
  readonly classes?: number;
}

type Model = (inChannels: number, classes: number) => Node;

const conv = (outChannels: number, inChannels: number | null = null) =>
  new Conv3x3NormActNode({ inChannels, outChannels });
const pool = () => new MaxPool2dNode();
const linear = (classes: number, ...before: Node[]) => [
  new GlobalAvgPool2dNode(),
  ...before,
  new LinearNode({ outFeatures: classes }),
];
const normed = (classes: number) => [
  new GlobalAvgPool2dNode(),
  new FCNormActNode({ outFeatures: classes, activation: new NoopNode() }),
];
const times = (count: number, make: () => Node) => Array.from({ length: count }, make);

/** ConvNeXt V2's block with batch normalisation in place of the response normalisation. */
const convNeXt = (outChannels: number, count: number) =>
  times(count, () => new ConvNeXtV2BlockNode({ outChannels, midNorm: new BatchNorm2dNode() }));
const downsample = (outChannels: number) => new ConvNeXtDownsampleNode({ outChannels });
const res2Net = (midChannels: number, outChannels: number | null = null, stride = 1) =>
  new Res2NetBlockNode({ midChannels, outChannels, stride });
const res2NetBottleneck = (outChannels: number, stride = 1) =>
  new Res2NetBottleneckNode({ outChannels, stride, scaleChannels: 32 });
const preAct = (outChannels: number, count: number, stride = 1) =>
  times(count, () => new ResNetPreActBlockNode({ outChannels }))
    .map((node, i) => i === 0 ? node.with({ stride }) : node);
const wide = (outChannels: number, stride = 1) =>
  new ResNetBlockNode({ outChannels, stride, shortcut: new ResNetDShortcutNode() });
const patched = (outChannels: number, stride = 1) =>
  new ResNetPreActBlockS2DSENode({ outChannels, stride });

const models: Readonly<Record<string, Model>> = {
  CNN__MLP_tiny_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(32, from), pool()],
      backbone: [conv(64), pool(), conv(64), conv(64), conv(64)],
      head: linear(classes),
    }),
  ConvNeXt_tiny_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(32, from)],
      backbone: [
        ...convNeXt(32, 2),
        downsample(64),
        ...convNeXt(64, 4),
        downsample(128),
        ...convNeXt(128, 2),
      ],
      head: linear(classes, new LayerNormNode()),
    }),
  ConvNeXt_2x2_stem: (from, classes) =>
    new StagesNode({
      stem: [new ConvMixerStemNode({ inChannels: from, outChannels: 64, patchSize: 2 })],
      backbone: [...convNeXt(64, 6), downsample(128), ...convNeXt(128, 2)],
      head: linear(classes, new LayerNormNode()),
    }),
  Res2Net_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(64, from)],
      backbone: [
        res2NetBottleneck(256),
        res2Net(32),
        res2NetBottleneck(512, 2),
        res2Net(64),
        res2NetBottleneck(1024, 2),
        res2Net(128),
      ],
      head: linear(classes),
    }),
  Res2NetWide_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(64, from)],
      backbone: [
        res2Net(32),
        res2Net(32),
        res2Net(32, 128, 2),
        res2Net(32),
        res2Net(32),
        res2Net(32, 256, 2),
        res2Net(32),
        res2Net(32),
      ],
      head: normed(classes),
    }),
  ResNetPreActBlock_tiny_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(16, from)],
      backbone: [...preAct(16, 3), ...preAct(32, 3, 2), ...preAct(64, 3, 2)],
      head: normed(classes),
    }),
  ResNetWide_tiny_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(64, from)],
      backbone: [wide(64), wide(128, 2), wide(128), wide(256, 2), wide(256)],
      head: linear(classes),
    }),
  ResNetPreActBlockWide_tiny_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(32, from)],
      backbone: [patched(32), patched(64, 2), patched(64), patched(128, 2), patched(128)],
      head: linear(classes, new BatchNorm1dNode()),
    }),
  MobileNet_tiny_32x32: (from, classes) =>
    new StagesNode({
      stem: [conv(64, from)],
      backbone: [
        new FusedMBConvNode({ outChannels: 64 }),
        new FusedMBConvNode({ outChannels: 128, stride: 2 }),
        new FusedMBConvNode({ outChannels: 128 }),
        new MBConvNode({ outChannels: 256, stride: 2 }),
        new MBConvNode({ outChannels: 256 }),
      ],
      head: linear(classes),
    }),
  ConvMixer_w256_d8_p2_k5: (from, classes) =>
    new StagesNode({
      stem: [new SAConvMixerStemNode({ inChannels: from, outChannels: 256, patchSize: 2 })],
      backbone: times(8, () => new ConvMixerBlockNode({ outChannels: 256, kernelSize: 5 })),
      head: linear(classes),
    }),
};

/** The names of the models for images. */
export const zooNames: readonly string[] = Object.keys(models);

/**
 * A model of the zoo, as a node: build it, change it with `with`, write it as JSON, or look into it with
 * `summarize`.
 *
 * The ten networks of LegoML for images of 32 × 32; those with pooling at the end take other sizes,
 * too. Each is a stem, a backbone and a head. They are described by name in the table of `zooNames`.
 *
 * @param name one of `zooNames`
 * @param options inChannels, classes
 * @returns the node; `build({ inputShape: [3, 32, 32] })` makes the model
 * @throws {RangeError} if there is no such model; the message lists the names
 *
 * @example
 * ```ts
 * import { summarize, zoo } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const { rows } = summarize(zoo("ConvMixer_w256_d8_p2_k5"), [1, 3, 32, 32], { depth: 0 });
 * assertEquals(rows[0].parameters, 594_186);
 * assertEquals(rows[0].outputs, [[1, 10]]);
 * ```
 */
export function zoo(name: string, options: ZooOptions = {}): Node {
  const { inChannels = 3, classes = 10 } = options;
  if (!Object.hasOwn(models, name)) {
    throw new RangeError(
      `Cannot find a model "${name}" in the zoo: expected one of ${zooNames.join(", ")}`,
    );
  }
  return models[name](inChannels, classes);
}
