/** Convolutional autoencoders as nodes. */

import { defineNode, type NodeClass } from "../define_node.ts";
import { type Node, node } from "../node.ts";
import { integers, orNull } from "../node_fields.ts";
import { shapeAfter } from "../node_shapes.ts";
import { Conv3x3NormActNode } from "../nodes/conv.ts";
import { Conv2dNode } from "../nodes/layers.ts";
import { SequentialNode } from "../nodes/sequential.ts";
import { ConvTransposeNormActNode } from "../nodes/up.ts";
import { Sequential } from "../sequential.ts";
import { checkInput, checkOutput } from "./coder.ts";

/** Channels of the code of the usual encoder, at a quarter of height and width. */
const CODE = 8;

/** What an `AutoencoderNode` describes. */
export interface AutoencoderNodeOptions {
  /** Sizes of one input without the batch, which the decoder gives back. @default {[1, 28, 28]} */
  readonly sizes?: readonly number[];
  /**
   * From inputs to codes. @default {Conv3x3NormAct to 32 and 64 channels, each halving the size,
   * and a convolution of 1 × 1 to 8}
   */
  readonly encoder?: Node;
  /**
   * From codes to `sizes`; null for ConvTransposeNormAct of 4 × 4 to 64 and 32 channels, each doubling
   * the size, and a convolution of 3 × 3 to the channels of the input. @default {null}
   */
  readonly decoder?: Node | null;
}

const usualEncoder = () =>
  new SequentialNode({
    parts: [
      new Conv3x3NormActNode({ outChannels: 32, stride: 2 }),
      new Conv3x3NormActNode({ outChannels: 64, stride: 2 }),
      new Conv2dNode({ outChannels: CODE, kernelSize: 1 }),
    ],
  });

/** Kernels of 4 × 4 cover every pixel equally often; the last part is linear, as targets are any numbers. */
const usualDecoder = (channels: number) =>
  new SequentialNode({
    parts: [
      new ConvTransposeNormActNode({ outChannels: 64, kernelSize: 4 }),
      new ConvTransposeNormActNode({ outChannels: 32, kernelSize: 4 }),
      new Conv2dNode({ outChannels: channels, padding: 1 }),
    ],
  });

/**
 * An encoder and a decoder behind it; builds a `Sequential` of both, whose state-dict keys begin with
 * encoder and decoder.
 *
 * As it is, it takes images whose height and width are divisible by 4, such as `[1, 28, 28]` and
 * `[3, 32, 32]`, to codes of 8 channels at a quarter of the size and back. Its outputs are unbounded:
 * train it by `mseLoss`, or by `binaryCrossEntropyWithLogits` for targets from 0 to 1.
 *
 * @example
 * ```ts
 * import { AutoencoderNode, type Sequential } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const node = new AutoencoderNode({ sizes: [3, 32, 32] });
 * assertEquals(node.outputShape([3, 32, 32]), [3, 32, 32]);
 * const [encoder, decoder] = node.build({ device, seed: 42 }) as Sequential;
 * const code = encoder.forward(zeros([1, 3, 32, 32], { device }));
 * assertEquals(code.shape, [1, 8, 8, 8]);
 * assertEquals(decoder.forward(code).shape, [1, 3, 32, 32]);
 * ```
 */
export const AutoencoderNode: NodeClass<AutoencoderNodeOptions> = defineNode<
  AutoencoderNodeOptions
>(
  "AutoencoderNode",
  {
    sizes: integers(1, 1, [1, 28, 28]),
    encoder: node(usualEncoder),
    decoder: orNull(node()),
  },
  ({ sizes, encoder, decoder }, { device, inputShape }) => {
    checkInput(sizes, inputShape);
    const first = encoder.build({ device, inputShape: sizes });
    const code = shapeAfter(first, sizes);
    const last = (decoder ?? usualDecoder(sizes[0])).build({ device, inputShape: code });
    checkOutput(sizes, shapeAfter(last, code));
    return new Sequential({ encoder: first, decoder: last });
  },
);
