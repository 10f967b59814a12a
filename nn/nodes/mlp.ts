/** The multilayer perceptron. */

import { type Shape, ShapeError, showShape } from "../../core/mod.ts";
import { Linear } from "../linear.ts";
import type { TensorModule } from "../module.ts";
import { type MakeOptions, Node, node } from "../node.ts";
import { integerOrNull, integers, readFields } from "../node_fields.ts";
import { Sequential } from "../sequential.ts";
import { NoopNode, ReluNode } from "./activation.ts";
import { misfit } from "./shapes.ts";

const fields = {
  dims: integers(1, 1),
  inFeatures: integerOrNull(1),
  activation: node(() => new ReluNode()),
  lastActivation: node(() => new NoopNode()),
};

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
export class MLPNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "MLPNode";
  /** Sizes of the layers' outputs. */
  readonly dims: readonly number[];
  /** Size of the input, or null where the model around it says it. */
  readonly inFeatures: number | null;
  /** What follows each layer but the last. */
  readonly activation: Node;
  /** What follows the last layer. */
  readonly lastActivation: Node;

  /**
   * Checks the options.
   *
   * @param options dims, inFeatures, activation, lastActivation
   * @throws {NodeError} if an option is unknown, missing, or not allowed
   */
  constructor(options: MLPNodeOptions) {
    super();
    const values = readFields(fields, { ...options }, "MLPNode");
    this.dims = values.dims;
    this.inFeatures = values.inFeatures;
    this.activation = values.activation;
    this.lastActivation = values.lastActivation;
  }

  /**
   * Makes the layers.
   *
   * @param options device, and the input's shape where inFeatures is null
   * @returns the perceptron
   * @throws {ShapeError} if nobody says the size of the input, or two do and differ
   */
  protected override make({ device, inputShape }: MakeOptions): TensorModule {
    const input = inputShape ?? (this.inFeatures === null ? null : [this.inFeatures]);
    if (input === null) {
      throw new ShapeError(
        "Cannot build MLPNode: expected inFeatures, or an inputShape to take them from",
      );
    }
    this.outputShape(input);
    let features = input[input.length - 1];
    const parts = this.dims.flatMap((size, i): TensorModule[] => {
      const layer = new Linear(features, size, { device });
      features = size;
      const after = i === this.dims.length - 1 ? this.lastActivation : this.activation;
      return [layer, after.build({ device, inputShape: [size] })];
    });
    return new Sequential(...parts);
  }

  /**
   * The sizes with the last one replaced.
   *
   * @param input [..., inFeatures]
   * @param path the place of this node, for messages
   * @returns [..., last of dims]
   * @throws {ShapeError} if the input does not fit
   */
  override outputShape(input: Shape, path: string = this.type): Shape {
    if (input.length === 0 || (this.inFeatures !== null && input.at(-1) !== this.inFeatures)) {
      throw misfit(path, `[..., ${this.inFeatures ?? "features"}]`, input);
    }
    const lead = input.slice(0, -1);
    let shape: Shape = input;
    this.dims.forEach((size, i) => {
      const last = i === this.dims.length - 1;
      const after = last ? this.lastActivation : this.activation;
      const name = `${path}.${last ? "lastActivation" : "activation"}`;
      shape = after.outputShape([...lead, size], name);
      if (String(shape) !== String([...lead, size])) {
        throw new ShapeError(
          `Cannot place ${name}: expected a node that keeps the shape, found one that makes ` +
            `${showShape(shape)} of ${showShape([...lead, size])}`,
        );
      }
    });
    return shape;
  }
}

Node.register("MLPNode", fields, (values) => new MLPNode(values));
