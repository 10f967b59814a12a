/** The block of a convolutional network. */

import type { Pair, Shape } from "../../core/mod.ts";
import { BatchNorm2d } from "../batch_norm.ts";
import { Conv2d } from "../conv.ts";
import { Dropout } from "../dropout.ts";
import type { TensorModule } from "../module.ts";
import { type MakeOptions, Node, node } from "../node.ts";
import { boolean, integer, number, pair, readFields } from "../node_fields.ts";
import { Sequential } from "../sequential.ts";
import { ReluNode } from "./activation.ts";
import { MaxPool2dNode } from "./pool.ts";
import { misfit, windowPlaces } from "./shapes.ts";

const fields = {
  inChannels: integer(1),
  outChannels: integer(1),
  kernelSize: pair(1, 3),
  stride: pair(1, 1),
  padding: pair(0, 1),
  batchNorm: boolean(true),
  activation: node(() => new ReluNode()),
  dropout: number(0, 1, 0),
  pooling: node(() => new MaxPool2dNode()),
};

/** What a `ConvBlockNode` describes. */
export interface ConvBlockNodeOptions {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** Size of the convolution's kernel. @default {3} */
  readonly kernelSize?: Pair;
  /** Step of the convolution. @default {1} */
  readonly stride?: Pair;
  /** Zeros around the image. @default {1} */
  readonly padding?: Pair;
  /** Whether the channels are normalised over the batch. @default {true} */
  readonly batchNorm?: boolean;
  /** What follows the normalisation. @default {new ReluNode()} */
  readonly activation?: Node;
  /**
   * Probability of dropping an element after the activation; 0 leaves the layer out. @default {0}
   */
  readonly dropout?: number;
  /** What comes last. @default {new MaxPool2dNode()} */
  readonly pooling?: Node;
}

/**
 * Convolution, batch normalisation, activation, dropout, pooling; builds a `Sequential` of those
 * that are asked for.
 *
 * @example
 * ```ts
 * import { ConvBlockNode } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const node = new ConvBlockNode({ inChannels: 1, outChannels: 32 });
 * assertEquals(node.outputShape([1, 28, 28]), [32, 14, 14]);
 * const block = node.build({ device, seed: 42 });
 * assertEquals(block.forward(zeros([2, 1, 28, 28], { device })).shape, [2, 32, 14, 14]);
 * ```
 */
export class ConvBlockNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "ConvBlockNode";
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** Size of the convolution's kernel. */
  readonly kernelSize: Pair;
  /** Step of the convolution. */
  readonly stride: Pair;
  /** Zeros around the image. */
  readonly padding: Pair;
  /** Whether the channels are normalised over the batch. */
  readonly batchNorm: boolean;
  /** What follows the normalisation. */
  readonly activation: Node;
  /** Probability of dropping an element after the activation. */
  readonly dropout: number;
  /** What comes last. */
  readonly pooling: Node;

  /**
   * Checks the options.
   *
   * @param options inChannels and outChannels, and what is not as usual
   * @throws {NodeError} if an option is unknown, missing, or not allowed
   */
  constructor(options: ConvBlockNodeOptions) {
    super();
    const values = readFields(fields, { ...options }, "ConvBlockNode");
    this.inChannels = values.inChannels;
    this.outChannels = values.outChannels;
    this.kernelSize = values.kernelSize;
    this.stride = values.stride;
    this.padding = values.padding;
    this.batchNorm = values.batchNorm;
    this.activation = values.activation;
    this.dropout = values.dropout;
    this.pooling = values.pooling;
  }

  /**
   * Makes the parts in the order in which they work.
   *
   * @param options the device
   * @returns the block
   */
  protected override make({ device }: MakeOptions): TensorModule {
    const { inChannels, outChannels, kernelSize, stride, padding } = this;
    const parts: TensorModule[] = [
      new Conv2d(inChannels, outChannels, { kernelSize, stride, padding, device }),
    ];
    if (this.batchNorm) parts.push(new BatchNorm2d(outChannels, { device }));
    parts.push(this.activation.build({ device }));
    if (this.dropout > 0) parts.push(new Dropout(this.dropout));
    parts.push(this.pooling.build({ device }));
    return new Sequential(...parts);
  }

  /**
   * The sizes after the convolution and the pooling.
   *
   * @param input [inChannels, H, W]
   * @param path the place of this node, for messages
   * @returns [outChannels, height, width] by default
   * @throws {ShapeError} if the input does not fit this node, or one of its parts
   */
  override outputShape(input: Shape, path: string = this.type): Shape {
    if (input.length !== 3 || input[0] !== this.inChannels) {
      throw misfit(path, `[${this.inChannels}, H, W]`, input);
    }
    const { kernelSize, stride, padding } = this;
    const places = windowPlaces(path, input, { kernelSize, stride, padding, dilation: 1 });
    const activated = this.activation.outputShape(
      [this.outChannels, ...places],
      `${path}.activation`,
    );
    return this.pooling.outputShape(activated, `${path}.pooling`);
  }
}

Node.register("ConvBlockNode", fields, (values) => new ConvBlockNode(values));
