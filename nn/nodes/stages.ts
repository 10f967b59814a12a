/** Models in named stages. */

import { defineNode, type NodeClass } from "../define_node.ts";
import type { TensorModule } from "../module.ts";
import { Node, nodes } from "../node.ts";
import { shapeAfter } from "../node_shapes.ts";
import { Sequential } from "../sequential.ts";
import { buildInTurn } from "./sequential.ts";

/** What a `StagesNode` describes. */
export interface StagesNodeOptions {
  /** From the input to the first features. */
  readonly stem: readonly Node[];
  /** From features to features. */
  readonly backbone: readonly Node[];
  /** From features to the output. */
  readonly head: readonly Node[];
}

/**
 * A model of a stem, a backbone and a head, each a list of nodes; builds a `Sequential` of three, whose
 * state-dict keys begin with stem, backbone and head.
 *
 * @example
 * ```ts
 * import { ConvNormActNode, GlobalAvgPool2dNode, LinearNode, StagesNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new StagesNode({
 *   stem: [new ConvNormActNode({ outChannels: 16 })],
 *   backbone: [new ConvNormActNode({ outChannels: 32, stride: 2 })],
 *   head: [new GlobalAvgPool2dNode(), new LinearNode({ outFeatures: 10 })],
 * });
 * assertEquals(node.outputShape([3, 32, 32]), [10]);
 * ```
 */
export const StagesNode: NodeClass<StagesNodeOptions> = defineNode<StagesNodeOptions>(
  "StagesNode",
  { stem: nodes(Node, 0), backbone: nodes(Node, 0), head: nodes(Node, 0) },
  ({ stem, backbone, head }, { device, inputShape }) => {
    let shape = inputShape;
    const parts: Record<string, TensorModule> = {};
    for (const [name, stage] of Object.entries({ stem, backbone, head })) {
      const part = new Sequential(...buildInTurn(stage, { device, inputShape: shape }));
      if (shape !== null) shape = shapeAfter(part, shape);
      parts[name] = part;
    }
    return new Sequential(parts);
  },
);
