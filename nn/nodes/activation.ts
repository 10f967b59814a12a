/** Nodes of the usual activation functions. */

import { GELU, type GELUOptions } from "../activation_options.ts";
import { ReLU, Sigmoid, Tanh } from "../activation.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import { choice } from "../node_fields.ts";
import { Identity } from "../shape.ts";

/** What the node of a layer without settings describes: nothing. */
export type PlainNodeOptions = Record<never, never>;

/** What a `GeluNode` describes. */
export type GeluNodeOptions = GELUOptions;

/** Does nothing; stands where a node may be left out. Builds `Identity`. */
export const NoopNode: NodeClass<PlainNodeOptions> = defineNode(
  "NoopNode",
  {},
  () => new Identity(),
);
/** A node of this kind. */
export type NoopNode = InstanceType<typeof NoopNode>;

/** The rectifier. Builds `ReLU`. */
export const ReluNode: NodeClass<PlainNodeOptions> = defineNode("ReluNode", {}, () => new ReLU());
/** A node of this kind. */
export type ReluNode = InstanceType<typeof ReluNode>;

/** The logistic function. Builds `Sigmoid`. */
export const SigmoidNode: NodeClass<PlainNodeOptions> = defineNode(
  "SigmoidNode",
  {},
  () => new Sigmoid(),
);
/** A node of this kind. */
export type SigmoidNode = InstanceType<typeof SigmoidNode>;

/** The hyperbolic tangent. Builds `Tanh`. */
export const TanhNode: NodeClass<PlainNodeOptions> = defineNode("TanhNode", {}, () => new Tanh());
/** A node of this kind. */
export type TanhNode = InstanceType<typeof TanhNode>;

/** The Gaussian error unit. Builds `GELU`. */
export const GeluNode: NodeClass<GeluNodeOptions> = defineNode<GeluNodeOptions>(
  "GeluNode",
  { approximate: choice(["none", "tanh"], "none") },
  (values) => new GELU(values),
);
/** A node of this kind. */
export type GeluNode = InstanceType<typeof GeluNode>;
