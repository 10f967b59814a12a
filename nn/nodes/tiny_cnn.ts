/** The small convolutional network for images. */

import { type Pair, showShape } from "../../core/mod.ts";
import type { TensorModule } from "../module.ts";
import { type MakeOptions, Node, node, nodes } from "../node.ts";
import { integer, pair, readFields } from "../node_fields.ts";
import { shapeAfter } from "../node_shapes.ts";
import { Sequential } from "../sequential.ts";
import { Flatten } from "../shape.ts";
import { ConvBlockNode } from "./conv_block.ts";
import { MLPNode } from "./mlp.ts";
import { misfit } from "./shapes.ts";

const CHANNELS = [32, 64, 128];
// Stands for blocks that were left out, also on the way through JSON.
const NONE: readonly ConvBlockNode[] = [];

const fields = {
  inputChannels: integer(1, 1),
  inputSize: pair(1, 28),
  convBlocks: nodes(ConvBlockNode, 0, () => NONE),
  mlp: node(() => new MLPNode({ dims: [128, 10] })),
};

/** What a `TinyCNNNode` describes. */
export interface TinyCNNNodeOptions {
  /** Channels of the images. @default {1} */
  readonly inputChannels?: number;
  /** Height and width of the images. @default {28} */
  readonly inputSize?: Pair;
  /** The blocks. @default {inputChannels → 32 → 64 → 128, each halving the size} */
  readonly convBlocks?: readonly ConvBlockNode[];
  /**
   * The head; it gets the size of its input from the blocks. @default {new MLPNode({ dims: [128,
   * 10] })}
   */
  readonly mlp?: Node;
}

/**
 * Convolution blocks, `Flatten`, and a perceptron; builds a `Sequential`.
 *
 * @example Digits of 28 × 28 in ten classes
 * ```ts
 * import { MLPNode, TinyCNNNode } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new TinyCNNNode({ inputChannels: 1, mlp: new MLPNode({ dims: [128, 10] }) });
 * assertEquals(node.outputShape([1, 28, 28]), [10]);
 * const model = node.build({ device: referenceDevice(), seed: 42 });
 * assertEquals(model.parameterCount, 241_994);
 * ```
 */
export class TinyCNNNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "TinyCNNNode";
  /** Channels of the images. */
  readonly inputChannels: number;
  /** Height and width of the images. */
  readonly inputSize: Pair;
  /** The blocks. */
  readonly convBlocks: readonly ConvBlockNode[];
  /** The head. */
  readonly mlp: Node;

  /**
   * Checks the options.
   *
   * @param options inputChannels, inputSize, convBlocks, mlp
   * @throws {NodeError} if an option is unknown or not allowed
   */
  constructor(options: TinyCNNNodeOptions = {}) {
    super();
    const values = readFields(fields, { ...options }, "TinyCNNNode");
    this.inputChannels = values.inputChannels;
    this.inputSize = values.inputSize;
    const { convBlocks = NONE } = options;
    // What was left out depends on the other options.
    this.convBlocks = convBlocks === NONE ? usual(this.inputChannels) : values.convBlocks;
    this.mlp = values.mlp;
  }

  /**
   * Makes the blocks and the head.
   *
   * @param options device, and an input shape that must be the node's own
   * @returns the network
   * @throws {ShapeError} if a part does not fit what comes before it
   */
  protected override make({ device, inputShape }: MakeOptions): TensorModule {
    const { inputSize: size } = this;
    const input = [this.inputChannels, ...(typeof size === "number" ? [size, size] : size)];
    if (inputShape !== null && String(inputShape) !== String(input)) {
      throw misfit(showShape(input), inputShape);
    }
    const blocks = this.convBlocks.map((block) => block.build({ device }));
    const body = [...blocks, new Flatten()];
    const features = shapeAfter(new Sequential(...body), input);
    const head = this.mlp.build({ device, inputShape: features });
    shapeAfter(head, features);
    return new Sequential(...body, head);
  }
}

function usual(inputChannels: number): ConvBlockNode[] {
  return CHANNELS.map((outChannels, i) =>
    new ConvBlockNode({ inChannels: i === 0 ? inputChannels : CHANNELS[i - 1], outChannels })
  );
}

Node.register("TinyCNNNode", fields, (values) => new TinyCNNNode(values));
