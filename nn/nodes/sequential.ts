/** Nodes one behind the other. */

import type { Shape } from "../../core/mod.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import type { TensorModule } from "../module.ts";
import { type MakeOptions, Node, nodes } from "../node.ts";
import { shapeAfter } from "../node_shapes.ts";
import { Sequential } from "../sequential.ts";

/** What a `SequentialNode` describes. */
export interface SequentialNodeOptions {
  /** The parts in the order in which they work. @default {[]} */
  readonly parts?: readonly Node[];
}

/**
 * Parts one behind the other; builds a `Sequential`.
 *
 * Where the input's sizes are known, each part is told those that the parts before it make.
 *
 * @example
 * ```ts
 * import { MLPNode, ReluNode, SequentialNode } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new SequentialNode({
 *   parts: [new MLPNode({ dims: [8] }), new ReluNode(), new MLPNode({ dims: [3] })],
 * });
 * const model = node.build({ device: referenceDevice(), seed: 42, inputShape: [4] });
 * assertEquals(model.parameterCount, 4 * 8 + 8 + 8 * 3 + 3);
 * ```
 */
export const SequentialNode: NodeClass<SequentialNodeOptions> = defineNode<SequentialNodeOptions>(
  "SequentialNode",
  { parts: nodes(Node, 0, () => []) },
  ({ parts }, options) => new Sequential(...buildInTurn(parts, options)),
);

/**
 * Builds nodes that work in turn, each told the sizes of its input where they are known.
 *
 * @param parts the nodes
 * @param options device, and sizes of the first input
 * @returns the modules
 */
export function buildInTurn(
  parts: readonly Node[],
  { device, inputShape }: MakeOptions,
): TensorModule[] {
  let shape: Shape | null = inputShape;
  return parts.map((part, i) => {
    const module = part.build({ device, inputShape: shape ?? undefined });
    if (shape !== null && i < parts.length - 1) shape = shapeAfter(module, shape);
    return module;
  });
}
