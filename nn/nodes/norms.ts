/** Nodes of layers that normalise; they take their channels from the input. */

import { BatchNorm1d, BatchNorm2d } from "../batch_norm.ts";
import { type NodeOptions, sizeOfInput } from "../block_node.ts";
import { GRN, type GRNOptions, LayerNorm2d, type LayerNorm2dOptions } from "../channel_norm.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import { GroupNorm, LayerNorm } from "../norm.ts";
import { InstanceNorm1d, InstanceNorm2d } from "../instance_norm.ts";
import { type Field, number, orNull } from "../node_fields.ts";
import { RMSNorm } from "../rms_norm.ts";
import { count, flag } from "./fields.ts";

const eps: Field<number | null> = orNull(number(0, Number.MAX_VALUE));
const momentum: Field<number | null> = orNull(number(0, 1));

/** The values that were said, for a constructor that fills in the others. */
function said<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const given = Object.entries(values).filter(([, value]) => value !== null);
  return Object.fromEntries(given) as { [K in keyof T]?: NonNullable<T[K]> };
}

/** What the node of a batch normalisation describes; null for the layer's own default. */
export interface BatchNormNodeOptions {
  /** Added to the variance. @default {null, 1e-5} */
  readonly eps?: number | null;
  /** Share of a new batch in the running statistics. @default {null, 0.1} */
  readonly momentum?: number | null;
  /** Whether a scale and a shift per channel are learnt. @default {null, true} */
  readonly affine?: boolean | null;
}

const batchNorm = { eps, momentum, affine: flag };

/** Batch normalisation of images; builds a `BatchNorm2d`. */
export const BatchNorm2dNode: NodeClass<BatchNormNodeOptions> = defineNode<BatchNormNodeOptions>(
  "BatchNorm2dNode",
  batchNorm,
  ({ eps, momentum, affine }, at) =>
    new BatchNorm2d(sizeOfInput("BatchNorm2dNode", "inChannels", at), {
      ...said({ eps, momentum, affine }),
      device: at.device,
    }),
);

/** Batch normalisation of features; builds a `BatchNorm1d`. */
export const BatchNorm1dNode: NodeClass<BatchNormNodeOptions> = defineNode<BatchNormNodeOptions>(
  "BatchNorm1dNode",
  batchNorm,
  ({ eps, momentum, affine }, at) =>
    new BatchNorm1d(sizeOfInput("BatchNorm1dNode", "inChannels", at), {
      ...said({ eps, momentum, affine }),
      device: at.device,
    }),
);

/** What the node of a normalisation describes; null for the layer's own default. */
export interface NormNodeOptions {
  /** Added to the variance. @default {null, the layer's} */
  readonly eps?: number | null;
}

/** Normalisation of the last axis; builds a `LayerNorm`. */
export const LayerNormNode: NodeClass<NormNodeOptions> = defineNode<NormNodeOptions>(
  "LayerNormNode",
  { eps },
  ({ eps }, at) =>
    new LayerNorm(sizeOfInput("LayerNormNode", "features", at), {
      ...said({ eps }),
      device: at.device,
    }),
);

/** Root mean square normalisation of the last axis; builds an `RMSNorm`. */
export const RMSNormNode: NodeClass<NormNodeOptions> = defineNode<NormNodeOptions>(
  "RMSNormNode",
  { eps },
  ({ eps }, at) =>
    new RMSNorm(sizeOfInput("RMSNormNode", "features", at), {
      ...said({ eps }),
      device: at.device,
    }),
);

/** Normalisation of the channels of each pixel; builds a `LayerNorm2d`. */
export const LayerNorm2dNode: NodeClass<NodeOptions<LayerNorm2dOptions>> = defineNode<
  NodeOptions<LayerNorm2dOptions>
>(
  "LayerNorm2dNode",
  { eps, affine: flag },
  ({ eps, affine }, at) =>
    new LayerNorm2d(sizeOfInput("LayerNorm2dNode", "inChannels", at), {
      ...said({ eps, affine }),
      device: at.device,
    }),
);

/** Normalisation of each image and channel; builds an `InstanceNorm2d`. */
export const InstanceNorm2dNode: NodeClass<NodeOptions<LayerNorm2dOptions>> = defineNode<
  NodeOptions<LayerNorm2dOptions>
>(
  "InstanceNorm2dNode",
  { eps, affine: flag },
  ({ eps, affine }, at) =>
    new InstanceNorm2d(sizeOfInput("InstanceNorm2dNode", "inChannels", at), {
      ...said({ eps, affine }),
      device: at.device,
    }),
);

/** Normalisation of each sequence and channel; builds an `InstanceNorm1d`. */
export const InstanceNorm1dNode: NodeClass<NodeOptions<LayerNorm2dOptions>> = defineNode<
  NodeOptions<LayerNorm2dOptions>
>(
  "InstanceNorm1dNode",
  { eps, affine: flag },
  ({ eps, affine }, at) =>
    new InstanceNorm1d(sizeOfInput("InstanceNorm1dNode", "inChannels", at), {
      ...said({ eps, affine }),
      device: at.device,
    }),
);

/** What the node of a group normalisation describes. */
export interface GroupNormNodeOptions extends NormNodeOptions {
  /** Groups of channels; they divide the channels. @default {null, 32} */
  readonly numGroups?: number | null;
}

/** Normalisation of groups of channels; builds a `GroupNorm`. */
export const GroupNormNode: NodeClass<GroupNormNodeOptions> = defineNode<GroupNormNodeOptions>(
  "GroupNormNode",
  { eps, numGroups: count },
  ({ eps, numGroups }, at) =>
    new GroupNorm(numGroups ?? 32, sizeOfInput("GroupNormNode", "inChannels", at), {
      ...said({ eps }),
      device: at.device,
    }),
);

/** Global response normalisation; builds a `GRN`. */
export const GRNNode: NodeClass<NodeOptions<GRNOptions>> = defineNode<NodeOptions<GRNOptions>>(
  "GRNNode",
  { init: orNull(number(-Number.MAX_VALUE, Number.MAX_VALUE)), eps },
  ({ init, eps }, at) =>
    new GRN(sizeOfInput("GRNNode", "inChannels", at), {
      ...said({ init, eps }),
      device: at.device,
    }),
);
