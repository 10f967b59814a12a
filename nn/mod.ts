/**
 * Modules, layers, losses, initialisers, and nodes that describe models as data.
 *
 * @example A model from nodes, and one step of gradient descent
 * ```ts
 * import { crossEntropy, MLPNode } from "@legoml/legoml/nn";
 * import { noGrad, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assert } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new MLPNode({ inFeatures: 2, dims: [8, 2] }).build({ device, seed: 42 });
 * const inputs = tensor([[0, 0], [0, 1], [1, 0], [1, 1]], { device });
 * const targets = tensor([0, 1, 1, 0], { dtype: "i32", device });
 *
 * const loss = crossEntropy(model.forward(inputs), targets);
 * loss.backward();
 * noGrad(() => model.parameters().forEach((p) => p.add_(p.grad!, -0.1)));
 *
 * const after = crossEntropy(model.forward(inputs), targets);
 * assert(await after.item() < await loss.item());
 * ```
 *
 * @module
 */

export { type BufferOptions, Module, type ParameterOptions, type TensorModule } from "./module.ts";
export { type LoadOptions, type LoadReport, StateDictError } from "./state_dict.ts";
export * as init from "./init.ts";
export type { InitOptions } from "./init.ts";
export { Linear, type LinearOptions } from "./linear.ts";
export {
  Conv2d,
  type Conv2dOptions,
  ConvTranspose2d,
  type ConvTranspose2dOptions,
} from "./conv.ts";
export { BatchNorm, BatchNorm1d, BatchNorm2d, type BatchNormOptions } from "./batch_norm.ts";
export { GroupNorm, type GroupNormOptions, LayerNorm, type LayerNormOptions } from "./norm.ts";
export { Dropout, type DropoutOptions } from "./dropout.ts";
export { AdaptiveAvgPool2d, AvgPool2d, MaxPool2d } from "./pool.ts";
export type { AvgPool2dOptions, MaxPool2dOptions } from "../core/tensor/pool2d.ts";
export { Embedding, type EmbeddingLayerOptions } from "./embedding.ts";
export { Flatten, type FlattenOptions, Identity, Unflatten } from "./shape.ts";
export { Sequential } from "./sequential.ts";
export {
  Hardsigmoid,
  Hardswish,
  LogSigmoid,
  Mish,
  ReLU,
  ReLU6,
  SELU,
  Sigmoid,
  SiLU,
  Softsign,
  Tanh,
  Tanhshrink,
} from "./activation.ts";
export {
  CELU,
  ELU,
  type ELUOptions,
  GELU,
  type GELUOptions,
  Hardtanh,
  type HardtanhOptions,
  LeakyReLU,
  type LeakyReLUOptions,
  Softplus,
  type SoftplusOptions,
} from "./activation_options.ts";
export { PReLU, type PReLUOptions } from "./prelu.ts";
export { LogSoftmax, Softmax, type SoftmaxOptions } from "./softmax.ts";
export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropyWithLogits,
  huberLoss,
  type HuberLossOptions,
  klDiv,
  type KlDivOptions,
  l1Loss,
  type LossOptions,
  mseLoss,
  smoothL1Loss,
  type SmoothL1LossOptions,
} from "./losses.ts";
export {
  crossEntropy,
  type CrossEntropyOptions,
  nllLoss,
  type NllLossOptions,
  type Reduction,
} from "../core/tensor/cross_entropy.ts";
export {
  BCEWithLogitsLoss,
  CrossEntropyLoss,
  HuberLoss,
  KLDivLoss,
  L1Loss,
  MSELoss,
  NLLLoss,
  SmoothL1Loss,
} from "./loss_modules.ts";
export { type BuildOptions, type MakeOptions, Node, type NodeJson } from "./node.ts";
export { NodeError } from "./node_fields.ts";
export * as field from "./field.ts";
export {
  GeluNode,
  type GeluNodeOptions,
  NoopNode,
  ReluNode,
  SigmoidNode,
  TanhNode,
} from "./nodes/activation.ts";
export {
  AvgPool2dNode,
  type AvgPool2dNodeOptions,
  MaxPool2dNode,
  type MaxPool2dNodeOptions,
} from "./nodes/pool.ts";
export { ConvBlockNode, type ConvBlockNodeOptions } from "./nodes/conv_block.ts";
export { MLPNode, type MLPNodeOptions } from "./nodes/mlp.ts";
export { TinyCNNNode, type TinyCNNNodeOptions } from "./nodes/tiny_cnn.ts";
