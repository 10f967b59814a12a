/** Nodes of branches that come together. */

import { BranchAndConcat, ResidualAdd } from "../blocks/structure.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import { Node, node, nodes } from "../node.ts";
import { number } from "../node_fields.ts";
import { NoopNode } from "./activation.ts";

/** What a `ResidualAddNode` describes. */
export interface ResidualAddNodeOptions {
  /** The branch that learns. */
  readonly block: Node;
  /** The other branch. @default {new NoopNode()} */
  readonly shortcut?: Node;
  /** Probability of leaving the block out for a sample, in training. @default {0} */
  readonly dropPath?: number;
}

/**
 * A block and a path around it, whose results are added; builds a `ResidualAdd`.
 *
 * @example
 * ```ts
 * import { MLPNode, ResidualAddNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new ResidualAddNode({ block: new MLPNode({ dims: [64, 8] }) });
 * assertEquals(node.outputShape([8]), [8]);
 * ```
 */
export const ResidualAddNode: NodeClass<ResidualAddNodeOptions> = defineNode<
  ResidualAddNodeOptions
>(
  "ResidualAddNode",
  { block: node(), shortcut: node(() => new NoopNode()), dropPath: number(0, 1, 0) },
  ({ block, shortcut, dropPath }, { device, inputShape }) => {
    const options = { device, inputShape: inputShape ?? undefined };
    return new ResidualAdd({
      block: block.build(options),
      shortcut: shortcut.build(options),
      dropPath,
    });
  },
);

/** Branches from the same input, whose channels are put behind each other; builds a `BranchAndConcat`. */
export const BranchAndConcatNode: NodeClass<{
  /** The branches, in the order of their results. */
  readonly branches: readonly Node[];
}> = defineNode(
  "BranchAndConcatNode",
  { branches: nodes(Node, 1) },
  ({ branches }, { device, inputShape }) =>
    new BranchAndConcat(
      branches.map((branch) => branch.build({ device, inputShape: inputShape ?? undefined })),
    ),
);
