/** Classifiers on top of encoders that were trained before. */

import { noGrad, type Tensor } from "../../core/mod.ts";
import { Module, type TensorModule } from "../module.ts";
import { type Node, node } from "../node.ts";
import { boolean } from "../node_fields.ts";
import { shapeAfter } from "../node_shapes.ts";
import { typedNode, type TypedNodeClass } from "../nodes/typed.ts";

/** How a classifier on top of an encoder is made. */
export interface EncoderForClassificationOptions {
  /** Whether the encoder stays as it is. @default {true} */
  readonly freezeEncoder?: boolean;
}

/**
 * An encoder and a head on what it gives, such as a linear map to classes.
 *
 * A frozen encoder has no gradients, neither for its parameters nor through it to the input; it works as
 * in evaluation even while the head is trained, so that running statistics stay as they are and nothing
 * is dropped. To train it later, put encoder and head into another one with `freezeEncoder: false`.
 *
 * @example
 * ```ts
 * import { BatchNorm1d, EncoderForClassification, Linear, Sequential } from "@legoml/legoml/nn";
 * import { ones, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const encoder = new Sequential(new Linear(4, 8, { device }), new BatchNorm1d(8, { device }));
 * const model = new EncoderForClassification(encoder, new Linear(8, 3, { device })).train();
 * model.forward(ones([2, 4], { device })).sum().backward();
 * assertEquals(model.parameters().map((p) => p.grad !== null), [
 *   ...[false, false, false, false],
 *   ...[true, true],
 * ]);
 * ```
 */
export class EncoderForClassification extends Module {
  /** From inputs to features. */
  readonly encoder: TensorModule;
  /** From features to logits. */
  readonly head: TensorModule;
  /** Whether the encoder stays as it is. */
  readonly freezeEncoder: boolean;

  /**
   * Freezes the parameters of the encoder, or has them trained.
   *
   * @param encoder from inputs to features
   * @param head from features to logits
   * @param options freezeEncoder
   */
  constructor(
    encoder: TensorModule,
    head: TensorModule,
    options: EncoderForClassificationOptions = {},
  ) {
    super();
    this.encoder = encoder;
    this.head = head;
    this.freezeEncoder = options.freezeEncoder ?? true;
    encoder.requiresGrad_(!this.freezeEncoder);
    if (this.freezeEncoder) encoder.eval();
  }

  /**
   * Sets this module and its parts to training, or to evaluation; a frozen encoder stays in evaluation.
   *
   * @param mode true for training
   * @returns this module
   */
  override train(mode = true): this {
    super.train(mode);
    if (this.freezeEncoder) this.encoder.eval();
    return this;
  }

  /**
   * Applies encoder and head.
   *
   * @param x what the encoder takes
   * @returns what the head gives
   */
  forward(x: Tensor): Tensor {
    if (!this.freezeEncoder) return this.head.forward(this.encoder.forward(x));
    // `train()` of a model around this one reaches the encoder directly.
    if (this.encoder.training) this.encoder.eval();
    return this.head.forward(noGrad(() => this.encoder.forward(x)));
  }
}

/** What an `EncoderForClassificationNode` describes. */
export interface EncoderForClassificationNodeOptions {
  /** From inputs to features. */
  readonly encoder: Node;
  /** From features to logits. */
  readonly head: Node;
  /** Whether the encoder stays as it is. @default {true} */
  readonly freezeEncoder?: boolean;
}

/**
 * An encoder and a head on what it gives; builds an `EncoderForClassification`. Load the weights of the
 * encoder after building.
 *
 * @example The encoder of an autoencoder
 * ```ts
 * import {
 *   AutoencoderNode,
 *   EncoderForClassificationNode,
 *   FlattenNode,
 *   LinearNode,
 *   type Sequential,
 *   SequentialNode,
 * } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const whole = new AutoencoderNode();
 * const trained = whole.build({ device, seed: 1 }) as Sequential;
 * const head = new SequentialNode({
 *   parts: [new FlattenNode(), new LinearNode({ outFeatures: 10 })],
 * });
 * const node = new EncoderForClassificationNode({ encoder: whole.encoder, head });
 * const model = node.build({ device, seed: 2, inputShape: [1, 28, 28] });
 * model.encoder.loadStateDict(trained.at(0)!.stateDict());
 * assertEquals(node.outputShape([1, 28, 28]), [10]);
 * ```
 */
export const EncoderForClassificationNode: TypedNodeClass<
  EncoderForClassificationNodeOptions,
  EncoderForClassification
> = typedNode<EncoderForClassificationNodeOptions, EncoderForClassification>(
  "EncoderForClassificationNode",
  { encoder: node(), head: node(), freezeEncoder: boolean(true) },
  ({ encoder, head, freezeEncoder }, { device, inputShape }) => {
    const first = encoder.build({ device, inputShape: inputShape ?? undefined });
    const features = inputShape === null ? undefined : shapeAfter(first, inputShape);
    const last = head.build({ device, inputShape: features });
    return new EncoderForClassification(first, last, { freezeEncoder });
  },
);
