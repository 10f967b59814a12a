/** The multilayer perceptron. */

import { type Shape, ShapeError, showShape } from "../../core/mod.ts";
import { sizeOfInput } from "../block_node.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import { Linear } from "../linear.ts";
import type { TensorModule } from "../module.ts";
import { type Node, node } from "../node.ts";
import { integer, integers, orNull } from "../node_fields.ts";
import { shapeAfter } from "../node_shapes.ts";
import { Sequential } from "../sequential.ts";
import { NoopNode, ReluNode } from "./activation.ts";
import { misfit } from "./shapes.ts";

/** What an `MLPNode` describes. */
export interface MLPNodeOptions {
  /** Sizes of the layers' outputs, at least one. */
  readonly dims: readonly number[];
  /** Size of the input; null where the model around it says it. @default {null} */
  readonly inFeatures?: number | null;
  /** What follows each layer but the last. @default {new ReluNode()} */
  readonly activation?: Node;
  /** What follows the last layer. @default {new NoopNode()} */
  readonly lastActivation?: Node;
}

/**
 * Linear layers with an activation after each; builds a `Sequential`.
 *
 * @example
 * ```ts
 * import { MLPNode, TanhNode } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const node = new MLPNode({ inFeatures: 4, dims: [16, 3], activation: new TanhNode() });
 * const model = node.build({ device, seed: 42 });
 * assertEquals(model.forward(zeros([5, 4], { device })).shape, [5, 3]);
 * assertEquals(Object.keys(model.stateDict()), ["0.weight", "0.bias", "2.weight", "2.bias"]);
 * ```
 */
export const MLPNode: NodeClass<MLPNodeOptions> = defineNode<MLPNodeOptions>(
  "MLPNode",
  {
    dims: integers(1, 1),
    inFeatures: orNull(integer(1)),
    activation: node(() => new ReluNode()),
    lastActivation: node(() => new NoopNode()),
  },
  ({ dims, inFeatures, activation, lastActivation }, at) => {
    const { device, inputShape } = at;
    let features = inFeatures ?? sizeOfInput("MLPNode", "inFeatures", at);
    if (inputShape !== null && inputShape.at(-1) !== features) {
      throw misfit(`[..., ${features}]`, inputShape);
    }
    const parts = dims.flatMap((size, i): TensorModule[] => {
      const layer = new Linear(features, size, { device });
      features = size;
      const name = i === dims.length - 1 ? "lastActivation" : "activation";
      const after = name === "activation" ? activation : lastActivation;
      const shape = [...inputShape?.slice(0, -1) ?? [], size];
      const module = after.build({ device, inputShape: shape });
      checkKept(name, shape, shapeAfter(module, shape));
      return [layer, module];
    });
    return new Sequential(...parts);
  },
);
/** A node of this kind. */
export type MLPNode = InstanceType<typeof MLPNode>;

function checkKept(name: string, before: Shape, after: Shape): void {
  if (String(after) === String(before)) return;
  throw new ShapeError(
    `expected a node in ${name} that keeps the shape, found one that makes ${showShape(after)} of ${
      showShape(before)
    }`,
  );
}
