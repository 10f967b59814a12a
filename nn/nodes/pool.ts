/** Nodes of pooling. */

import type { Pair } from "../../core/mod.ts";
import { defineNode, type FieldsOf, type NodeClass } from "../define_node.ts";
import { pair } from "../node_fields.ts";
import { AvgPool2d, MaxPool2d } from "../pool.ts";

/** What an `AvgPool2dNode` describes. */
export interface AvgPool2dNodeOptions {
  /** Size of the window. @default {2} */
  readonly kernelSize?: Pair;
  /** Step of the window. @default {2} */
  readonly stride?: Pair;
  /** Rows and columns around the image, at most half of the window. @default {0} */
  readonly padding?: Pair;
}

/** What a `MaxPool2dNode` describes. */
export interface MaxPool2dNodeOptions extends AvgPool2dNodeOptions {
  /** Distance between taps. @default {1} */
  readonly dilation?: Pair;
}

const window: FieldsOf<AvgPool2dNodeOptions> = {
  kernelSize: pair(1, 2),
  stride: pair(1, 2),
  padding: pair(0, 0),
};

/** The largest value of each window. Builds `MaxPool2d`. */
export const MaxPool2dNode: NodeClass<MaxPool2dNodeOptions> = defineNode<MaxPool2dNodeOptions>(
  "MaxPool2dNode",
  { ...window, dilation: pair(1, 1) },
  (values) => new MaxPool2d(values),
);
/** A node of this kind. */
export type MaxPool2dNode = InstanceType<typeof MaxPool2dNode>;

/** The mean of each window. Builds `AvgPool2d`. */
export const AvgPool2dNode: NodeClass<AvgPool2dNodeOptions> = defineNode<AvgPool2dNodeOptions>(
  "AvgPool2dNode",
  window,
  (values) => new AvgPool2d(values),
);
/** A node of this kind. */
export type AvgPool2dNode = InstanceType<typeof AvgPool2dNode>;
