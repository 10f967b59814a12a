/** Nodes of the blocks that enlarge images. */

import {
  ConvTransposeNormAct,
  type ConvTransposeNormActOptions,
  UpsampleConvNormAct,
  type UpsampleConvNormActOptions,
} from "../blocks/up.ts";
import { blockNode, type NodeOptions, slots } from "../block_node.ts";
import type { NodeClass } from "../define_node.ts";
import { choice, orNull } from "../node_fields.ts";
import { count, flag, padding, probability, window } from "./fields.ts";

const common = {
  inChannels: count,
  outChannels: count,
  kernelSize: window,
  dilation: window,
  groups: count,
  norm: slots.norm,
  activation: slots.activation,
  dropout: probability,
  bias: flag,
};

/** Transposed convolution, normalisation, activation; builds a `ConvTransposeNormAct`. */
export const ConvTransposeNormActNode: NodeClass<NodeOptions<ConvTransposeNormActOptions>> =
  blockNode(
    "ConvTransposeNormActNode",
    ConvTransposeNormAct,
    { ...common, stride: window },
  );

/** Enlargement, convolution, normalisation, activation; builds an `UpsampleConvNormAct`. */
export const UpsampleConvNormActNode: NodeClass<NodeOptions<UpsampleConvNormActOptions>> =
  blockNode("UpsampleConvNormActNode", UpsampleConvNormAct, {
    ...common,
    padding,
    scaleFactor: count,
    mode: orNull(choice(["nearest", "nearest-exact", "bilinear"])),
  });
