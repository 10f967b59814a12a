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
export {
  type DecayOptions,
  defaultGroups,
  type DefaultGroupsOptions,
  describeGroups,
  type DescribeGroupsOptions,
  layerwiseLrDecay,
  matchName,
  matchPrefix,
  type ModuleClass,
  moduleIs,
  noWeightDecayOn1d,
  noWeightDecayOnBias,
  noWeightDecayOnNorm,
  type ParameterGroup,
  paramGroups,
  type ParamInfo,
  type ParamRule,
} from "./param_groups.ts";
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
export { estimateBatchNorm, type EstimateBatchNormOptions } from "./batch_norm_estimate.ts";
export {
  type AveragingOptimizer,
  type BufferPolicy,
  ModelEma,
  type ModelEmaOptions,
} from "./model_ema.ts";
export {
  type BatchOf,
  type BufferAverages,
  EmaCallback,
  type EmaCallbackOptions,
  type EmaMetric,
} from "./ema_callback.ts";
export { GroupNorm, type GroupNormOptions, LayerNorm, type LayerNormOptions } from "./norm.ts";
export { Dropout, type DropoutOptions } from "./dropout.ts";
export { AdaptiveAvgPool2d, AvgPool2d, MaxPool2d } from "./pool.ts";
export type { AvgPool2dOptions, MaxPool2dOptions } from "../core/tensor/pool2d.ts";
export { AdaptiveMaxPool2d, GlobalAvgPool2d, type GlobalAvgPool2dOptions } from "./pool_global.ts";
export { AvgPool1d, type AvgPool1dOptions, MaxPool1d, type MaxPool1dOptions } from "./pool1d.ts";
export {
  Conv1d,
  type Conv1dOptions,
  ConvTranspose1d,
  type ConvTranspose1dOptions,
  SequenceConvolution,
} from "./conv1d.ts";
export { GRN, type GRNOptions, LayerNorm2d, type LayerNorm2dOptions } from "./channel_norm.ts";
export { RMSNorm, type RMSNormOptions } from "./rms_norm.ts";
export {
  InstanceNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  type InstanceNormOptions,
} from "./instance_norm.ts";
export { ChannelShuffle, LayerScale, type LayerScaleOptions } from "./channel_ops.ts";
export { PixelShuffle, PixelUnshuffle, SpaceToDepth } from "./pixel_shuffle.ts";
export { Upsample } from "./upsample.ts";
export { Pad2d, type Padding2d, ReflectionPad2d, ZeroPad2d } from "./padding.ts";
export { DropPath, type DropPathOptions } from "./drop_path.ts";
export {
  SEAttention,
  type SEAttentionOptions,
  SpatialAttention,
  type SpatialAttentionOptions,
} from "./attention_gates.ts";
export { autopad, type AutopadOptions, type DivisibleOptions, makeDivisible } from "./sizes.ts";
export { type GateOptions, GLU, SwiGLU } from "./gates.ts";
export {
  Hardshrink,
  type ShrinkOptions,
  Softmax2d,
  Softmin,
  Softshrink,
  Threshold,
  type ThresholdOptions,
} from "./shrink.ts";
export {
  GRU,
  LSTM,
  type LSTMOutput,
  type LSTMState,
  Recurrent,
  type RecurrentOptions,
  type RecurrentOutput,
  RNN,
  type RNNOptions,
} from "./rnn.ts";
export {
  type CellOptions,
  GRUCell,
  LSTMCell,
  RecurrentCell,
  RNNCell,
  type RNNCellOptions,
} from "./rnn_cell.ts";
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
  BCELoss,
  type BCELossOptions,
  binaryCrossEntropy,
  GaussianNLLLoss,
  gaussianNllLoss,
  type GaussianNLLLossOptions,
  PoissonNLLLoss,
  poissonNllLoss,
  type PoissonNLLLossOptions,
} from "./losses_probability.ts";
export {
  hingeEmbeddingLoss,
  type HingeEmbeddingLossOptions,
  marginRankingLoss,
  type MarginRankingLossOptions,
  multilabelSoftMarginLoss,
  type MultiLabelSoftMarginLossOptions,
  multiMarginLoss,
  type MultiMarginLossOptions,
  softMarginLoss,
} from "./losses_margin.ts";
export {
  cosineEmbeddingLoss,
  type CosineEmbeddingLossOptions,
  cosineSimilarity,
  type CosineSimilarityOptions,
  pairwiseDistance,
  type PairwiseDistanceOptions,
  tripletMarginLoss,
  type TripletMarginLossOptions,
} from "./losses_distance.ts";
export {
  CosineEmbeddingLoss,
  CosineSimilarity,
  HingeEmbeddingLoss,
  MarginRankingLoss,
  MultiLabelSoftMarginLoss,
  MultiMarginLoss,
  PairwiseDistance,
  SoftMarginLoss,
  TripletMarginLoss,
} from "./loss_modules_more.ts";
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
export { type Field, NodeError } from "./node_fields.ts";
export { defineNode, type FieldsOf, type NodeClass } from "./define_node.ts";
export {
  blockNode,
  type NodeOptions,
  type NodeValue,
  type SlotField,
  slots,
} from "./block_node.ts";
export type { ActivationFactory, BlockFactory, BlockSizes, NormFactory } from "./factories.ts";
export { ModelSummaryCallback, type ModelSummaryOptions } from "./summary_callback.ts";
export { summarize, type Summary, type SummaryOptions, type SummaryRow } from "./summary.ts";
export * as field from "./field.ts";
export * from "./blocks/mod.ts";
export * from "./nodes/mod.ts";
export { zoo, zooNames, type ZooOptions } from "./zoo/images.ts";
export {
  type Posterior,
  VAE,
  type VAELoss,
  vaeLoss,
  type VAELossOptions,
  type VAEOptions,
  type VAEOutput,
} from "./zoo/vae.ts";
export { VAENode, type VAENodeOptions } from "./zoo/vae_node.ts";
export { AutoencoderNode, type AutoencoderNodeOptions } from "./zoo/autoencoder.ts";
export {
  EncoderForClassification,
  EncoderForClassificationNode,
  type EncoderForClassificationNodeOptions,
  type EncoderForClassificationOptions,
} from "./zoo/encoder_classifier.ts";
export {
  MultiheadAttention,
  type MultiheadAttentionMasks,
  type MultiheadAttentionOptions,
} from "./attention.ts";
export type { HeadMasks } from "./attention_masks.ts";
export { WeightDropout } from "./weight_dropout.ts";
export {
  LearnedPositions,
  RotaryEmbedding,
  type RotaryOptions,
  SinusoidalPositions,
} from "./positions.ts";
export {
  type DecoderMasks,
  type EncoderMasks,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  TransformerLayer,
  type TransformerLayerOptions,
} from "./transformer_layers.ts";
export { type StackOptions, TransformerDecoder, TransformerEncoder } from "./transformer.ts";
export { GPT, type GPTOptions } from "./gpt.ts";
export { GPTBlock, type GPTBlockOptions, type PackedTurn } from "./gpt_block.ts";
export type { GenerateOptions } from "./gpt_generate.ts";
