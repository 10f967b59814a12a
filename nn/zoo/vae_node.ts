/** The variational autoencoder as a node. */

import { sizeOf } from "../../kernels/types.ts";
import { type Node, node } from "../node.ts";
import { integer, integers, orNull } from "../node_fields.ts";
import { shapeAfter } from "../node_shapes.ts";
import { ReluNode } from "../nodes/activation.ts";
import { FlattenNode, LinearNode, UnflattenNode } from "../nodes/layers.ts";
import { MLPNode } from "../nodes/mlp.ts";
import { SequentialNode } from "../nodes/sequential.ts";
import { typedNode, type TypedNodeClass } from "../nodes/typed.ts";
import { checkInput, checkOutput } from "./coder.ts";
import { VAE } from "./vae.ts";

const HIDDEN = 256;

/** What a `VAENode` describes. */
export interface VAENodeOptions {
  /** Sizes of one input without the batch, which the decoder gives back. @default {[1, 28, 28]} */
  readonly sizes?: readonly number[];
  /** From inputs to features. @default {Flatten, a linear map to 256, ReLU} */
  readonly encoder?: Node;
  /** From [latentDim] to `sizes`; null for a perceptron of 256 to the sizes. @default {null} */
  readonly decoder?: Node | null;
  /** Size of the latent vector. @default {16} */
  readonly latentDim?: number;
}

const usualEncoder = () =>
  new SequentialNode({
    parts: [new FlattenNode(), new LinearNode({ outFeatures: HIDDEN }), new ReluNode()],
  });

function usualDecoder(sizes: readonly number[]): Node {
  return new SequentialNode({
    parts: [new MLPNode({ dims: [HIDDEN, sizeOf(sizes)] }), new UnflattenNode({ sizes })],
  });
}

/**
 * A variational autoencoder; builds a `VAE`, whose parts are encoder, mu, logvar, decoder. As it is, it
 * has the sizes of LegoML's perceptrons: 415,024 parameters.
 *
 * The decoder's last part is linear: it gives logits for "bce", or values for "mse".
 *
 * @example Convolutions
 * ```ts
 * import {
 *   Conv3x3NormActNode,
 *   FlattenNode,
 *   LinearNode,
 *   SequentialNode,
 *   UnflattenNode,
 *   UpsampleConvNormActNode,
 *   NoopNode,
 *   VAENode,
 * } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new VAENode({
 *   sizes: [1, 8, 8],
 *   encoder: new Conv3x3NormActNode({ outChannels: 8, stride: 2 }),
 *   decoder: new SequentialNode({
 *     parts: [
 *       new LinearNode({ outFeatures: 8 * 4 * 4 }),
 *       new UnflattenNode({ sizes: [8, 4, 4] }),
 *       new UpsampleConvNormActNode({
 *         outChannels: 1,
 *         norm: new NoopNode(),
 *         activation: new NoopNode(),
 *       }),
 *     ],
 *   }),
 * });
 * const model = node.build({ device: referenceDevice(), seed: 42 });
 * assertEquals(model.sample(3).shape, [3, 1, 8, 8]);
 * ```
 */
export const VAENode: TypedNodeClass<VAENodeOptions, VAE> = typedNode<VAENodeOptions, VAE>(
  "VAENode",
  {
    sizes: integers(1, 1, [1, 28, 28]),
    encoder: node(usualEncoder),
    decoder: orNull(node()),
    latentDim: integer(1, 16),
  },
  ({ sizes, encoder, decoder, latentDim }, { device, inputShape }) => {
    checkInput(sizes, inputShape);
    const first = encoder.build({ device, inputShape: sizes });
    const features = sizeOf(shapeAfter(first, sizes));
    const last = (decoder ?? usualDecoder(sizes)).build({ device, inputShape: [latentDim] });
    checkOutput(sizes, shapeAfter(last, [latentDim]));
    return new VAE({ encoder: first, decoder: last, features, latentDim, device });
  },
);
