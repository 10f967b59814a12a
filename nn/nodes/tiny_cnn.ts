/** The small convolutional network for images. */

import type { Pair, Shape } from "../../core/mod.ts";
import { sizeOf } from "../../kernels/types.ts";
import type { TensorModule } from "../module.ts";
import { type MakeOptions, Node, node, nodes } from "../node.ts";
import { integer, pair, readFields } from "../node_fields.ts";
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
    const input = inputShape ?? this.#inputShape;
    const features = this.#features(input, this.type);
    this.mlp.outputShape(features, `${this.type}.mlp`);
    const blocks = this.convBlocks.map((block) => block.build({ device }));
    const head = this.mlp.build({ device, inputShape: features });
    return new Sequential(...blocks, new Flatten(), head);
  }

  /**
   * The sizes after the head.
   *
   * @param input [inputChannels, height, width]
   * @param path the place of this node, for messages
   * @returns [classes], for the usual head
   * @throws {ShapeError} if the input does not fit, or a part does not fit what comes before it
   */
  override outputShape(input: Shape, path: string = this.type): Shape {
    return this.mlp.outputShape(this.#features(input, path), `${path}.mlp`);
  }

  get #inputShape(): Shape {
    const { inputSize: size } = this;
    return [this.inputChannels, ...(typeof size === "number" ? [size, size] : size)];
  }

  /** Sizes after Flatten. */
  #features(input: Shape, path: string): Shape {
    if (String(input) !== String(this.#inputShape)) {
      throw misfit(path, `[${this.#inputShape.join(", ")}]`, input);
    }
    const shape = this.convBlocks.reduce(
      (size, block, i) => block.outputShape(size, `${path}.convBlocks[${i}]`),
      input,
    );
    return [sizeOf(shape)];
  }
}

function usual(inputChannels: number): ConvBlockNode[] {
  return CHANNELS.map((outChannels, i) =>
    new ConvBlockNode({ inChannels: i === 0 ? inputChannels : CHANNELS[i - 1], outChannels })
  );
}

Node.register("TinyCNNNode", fields, (values) => new TinyCNNNode(values));
