/** The block of a convolutional network. */

import type { Pair } from "../../core/mod.ts";
import { BatchNorm2d } from "../batch_norm.ts";
import { Conv2d } from "../conv.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import { Dropout } from "../dropout.ts";
import type { TensorModule } from "../module.ts";
import { type Node, node } from "../node.ts";
import { boolean, integer, number, pair } from "../node_fields.ts";
import { Sequential } from "../sequential.ts";
import { ReluNode } from "./activation.ts";
import { MaxPool2dNode } from "./pool.ts";

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
export const ConvBlockNode: NodeClass<ConvBlockNodeOptions> = defineNode<ConvBlockNodeOptions>(
  "ConvBlockNode",
  {
    inChannels: integer(1),
    outChannels: integer(1),
    kernelSize: pair(1, 3),
    stride: pair(1, 1),
    padding: pair(0, 1),
    batchNorm: boolean(true),
    activation: node(() => new ReluNode()),
    dropout: number(0, 1, 0),
    pooling: node(() => new MaxPool2dNode()),
  },
  ({ inChannels, outChannels, batchNorm, activation, dropout, pooling, ...window }, { device }) => {
    const { kernelSize, stride, padding } = window;
    const parts: TensorModule[] = [
      new Conv2d(inChannels, outChannels, { kernelSize, stride, padding, device }),
    ];
    if (batchNorm) parts.push(new BatchNorm2d(outChannels, { device }));
    parts.push(activation.build({ device }));
    if (dropout > 0) parts.push(new Dropout(dropout));
    parts.push(pooling.build({ device }));
    return new Sequential(...parts);
  },
);
/** A node of this kind. */
export type ConvBlockNode = InstanceType<typeof ConvBlockNode>;
