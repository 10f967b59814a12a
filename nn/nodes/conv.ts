/** Nodes of convolutions with normalisation and activation. */

import { ConvActNorm, ConvNormAct, type ConvNormActOptions, NormActConv } from "../blocks/conv.ts";
import { FCNormAct, type FCNormActOptions } from "../blocks/linear.ts";
import {
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
} from "../blocks/variants.ts";
import { blockNode, type NodeOptions, slots } from "../block_node.ts";
import type { FieldsOf, NodeClass } from "../define_node.ts";
import { count, flag, padding, probability, sizes, window } from "./fields.ts";

const common = {
  ...sizes,
  stride: window,
  padding,
  dilation: window,
  norm: slots.norm,
  dropout: probability,
};
const depthwise: FieldsOf<NodeOptions<DepthwiseOptions>> = {
  ...common,
  kernelSize: window,
  activation: slots.activation,
  bias: flag,
};
const fixed: FieldsOf<NodeOptions<FixedConvOptions>> = {
  ...common,
  groups: count,
  activation: slots.activation,
  bias: flag,
};
const all: FieldsOf<NodeOptions<ConvNormActOptions>> = { ...fixed, kernelSize: window };

/**
 * Convolution, normalisation, activation, dropout; builds a `ConvNormAct`.
 *
 * @example
 * ```ts
 * import { ConvNormActNode, GeluNode, Node } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new ConvNormActNode({ outChannels: 8, stride: 2, activation: new GeluNode() });
 * assertEquals(node.outputShape([3, 32, 32]), [8, 16, 16]);
 * assertEquals(Node.fromJSON(JSON.parse(JSON.stringify(node))), node);
 * ```
 */
export const ConvNormActNode: NodeClass<NodeOptions<ConvNormActOptions>> = blockNode(
  "ConvNormActNode",
  ConvNormAct,
  all,
);

/** Convolution, activation, normalisation, dropout; builds a `ConvActNorm`. */
export const ConvActNormNode: NodeClass<NodeOptions<ConvNormActOptions>> = blockNode(
  "ConvActNormNode",
  ConvActNorm,
  all,
);

/** Normalisation, activation, convolution, dropout; builds a `NormActConv`. */
export const NormActConvNode: NodeClass<NodeOptions<ConvNormActOptions>> = blockNode(
  "NormActConvNode",
  NormActConv,
  all,
);

/** A bare convolution of 1 × 1; builds a `Conv1x1`. */
export const Conv1x1Node: NodeClass<NodeOptions<FixedConvOptions>> = blockNode(
  "Conv1x1Node",
  Conv1x1,
  fixed,
);

/** A bare convolution of 3 × 3; builds a `Conv3x3`. */
export const Conv3x3Node: NodeClass<NodeOptions<FixedConvOptions>> = blockNode(
  "Conv3x3Node",
  Conv3x3,
  fixed,
);

/** Convolution of 1 × 1, normalisation, activation; builds a `Conv1x1NormAct`. */
export const Conv1x1NormActNode: NodeClass<NodeOptions<FixedConvOptions>> = blockNode(
  "Conv1x1NormActNode",
  Conv1x1NormAct,
  fixed,
);

/** Convolution of 3 × 3, normalisation, activation; builds a `Conv3x3NormAct`. */
export const Conv3x3NormActNode: NodeClass<NodeOptions<FixedConvOptions>> = blockNode(
  "Conv3x3NormActNode",
  Conv3x3NormAct,
  fixed,
);

/** Convolution of 1 × 1, activation, normalisation; builds a `Conv1x1ActNorm`. */
export const Conv1x1ActNormNode: NodeClass<NodeOptions<FixedConvOptions>> = blockNode(
  "Conv1x1ActNormNode",
  Conv1x1ActNorm,
  fixed,
);

/** Normalisation, activation, convolution of 3 × 3; builds a `NormActConv3x3`. */
export const NormActConv3x3Node: NodeClass<NodeOptions<FixedConvOptions>> = blockNode(
  "NormActConv3x3Node",
  NormActConv3x3,
  fixed,
);

/** A bare depthwise convolution; builds a `DWConv`. */
export const DWConvNode: NodeClass<NodeOptions<DepthwiseOptions>> = blockNode(
  "DWConvNode",
  DWConv,
  depthwise,
);

/** Depthwise convolution, normalisation, activation; builds a `DWConvNormAct`. */
export const DWConvNormActNode: NodeClass<NodeOptions<DepthwiseOptions>> = blockNode(
  "DWConvNormActNode",
  DWConvNormAct,
  depthwise,
);

/** Depthwise convolution, activation, normalisation; builds a `DWConvActNorm`. */
export const DWConvActNormNode: NodeClass<NodeOptions<DepthwiseOptions>> = blockNode(
  "DWConvActNormNode",
  DWConvActNorm,
  depthwise,
);

/** Depthwise separable convolution; builds a `DWSepConvNormAct`. */
export const DWSepConvNormActNode: NodeClass<NodeOptions<DWSepConvNormActOptions>> = blockNode(
  "DWSepConvNormActNode",
  DWSepConvNormAct,
  {
    ...common,
    kernelSize: window,
    dwActivation: slots.activation,
    pwActivation: slots.activation,
  },
);

/** Linear map, normalisation, activation, dropout; builds an `FCNormAct`. */
export const FCNormActNode: NodeClass<NodeOptions<FCNormActOptions>> = blockNode(
  "FCNormActNode",
  FCNormAct,
  {
    inFeatures: count,
    outFeatures: count,
    norm: slots.norm,
    activation: slots.activation,
    dropout: probability,
    bias: flag,
  },
);
