/** A node of each kind of layer, with what it makes of an input, and its parameters counted by hand. */

import * as nn from "../../../nn/mod.ts";

/** One node. */
export interface LayerCase {
  readonly node: nn.Node;
  /** Sizes of an input without the batch. */
  readonly input: readonly number[];
  /** Sizes of its output. */
  readonly output: readonly number[];
  /** Elements of all parameters. @default {0} */
  readonly parameters?: number;
  /** Whether inputs are integers below 4. @default {false} */
  readonly tokens?: boolean;
}

const vector = [6];
const images = [4, 6, 5];
const sequence = [4, 7];
/** Five places of six features. */
const places = [5, 6];
const kept = (node: nn.Node, input: readonly number[], parameters = 0): LayerCase => ({
  node,
  input,
  output: input,
  parameters,
});

const activations: readonly nn.Node[] = [
  new nn.NoopNode(),
  new nn.ReluNode(),
  new nn.SigmoidNode(),
  new nn.TanhNode(),
  new nn.GeluNode({ approximate: "tanh" }),
  new nn.Relu6Node(),
  new nn.SeluNode(),
  new nn.SiluNode(),
  new nn.MishNode(),
  new nn.LogSigmoidNode(),
  new nn.TanhshrinkNode(),
  new nn.SoftsignNode(),
  new nn.HardsigmoidNode(),
  new nn.HardswishNode(),
  new nn.LeakyReluNode({ negativeSlope: 0.2 }),
  new nn.EluNode({ alpha: 0.5 }),
  new nn.CeluNode({ alpha: 2 }),
  new nn.SoftplusNode({ beta: 2, threshold: 10 }),
  new nn.HardtanhNode({ minVal: -2, maxVal: 0.5 }),
  new nn.HardshrinkNode({ lambda: 0.25 }),
  new nn.SoftshrinkNode({ lambda: 0 }),
  new nn.ThresholdNode({ threshold: 0.1, value: -3 }),
  new nn.SoftmaxNode({ dim: 1 }),
  new nn.LogSoftmaxNode(),
  new nn.SoftminNode(),
  new nn.DropoutNode({ p: 0.25 }),
  new nn.DropPathNode({ p: 0.5 }),
];

const attention = 3 * 6 * 6 + 3 * 6 + 6 * 6 + 6;
const encoderLayer = attention + 6 * 8 + 8 + 8 * 6 + 6 + 4 * 6;
/** Two normalisations, attention, and two maps of four times the width. */
const gptBlock = (width: number) =>
  4 * width + 3 * width * width + 3 * width + width * width + width +
  8 * width * width + 5 * width;

/** All but the blocks of image networks. */
export const layerCases: readonly LayerCase[] = [
  ...activations.map((node) => kept(node, vector)),
  kept(new nn.Softmax2dNode(), images),
  kept(new nn.PReLUNode({ numParameters: 6 }), vector, 6),
  { node: new nn.GLUNode(), input: vector, output: [3] },
  { node: new nn.SwiGLUNode({ dim: 1 }), input: images, output: [2, 6, 5] },

  kept(new nn.BatchNorm1dNode({ eps: 1e-3 }), vector, 12),
  kept(new nn.BatchNorm2dNode({ momentum: 0.2 }), images, 8),
  kept(new nn.GroupNormNode({ numGroups: 2 }), images, 8),
  kept(new nn.LayerNormNode(), places, 12),
  kept(new nn.LayerNorm2dNode({ affine: true }), images, 8),
  kept(new nn.RMSNormNode(), places, 6),
  kept(new nn.GRNNode({ init: 0.5 }), images, 8),
  kept(new nn.InstanceNorm1dNode({ affine: true }), sequence, 8),
  kept(new nn.InstanceNorm2dNode(), images),

  { node: new nn.LinearNode({ outFeatures: 3 }), input: vector, output: [3], parameters: 21 },
  {
    node: new nn.MLPNode({ dims: [8, 3] }),
    input: places,
    output: [5, 3],
    parameters: 6 * 8 + 8 + 8 * 3 + 3,
  },
  {
    node: new nn.Conv1dNode({ outChannels: 6, stride: 2, padding: 1, groups: 2 }),
    input: sequence,
    output: [6, 4],
    parameters: 6 * 2 * 3 + 6,
  },
  {
    node: new nn.ConvTranspose1dNode({ outChannels: 3, stride: 2, padding: 1, outputPadding: 1 }),
    input: sequence,
    output: [3, 14],
    parameters: 4 * 3 * 3 + 3,
  },
  {
    node: new nn.Conv2dNode({ outChannels: 8, kernelSize: [3, 1], stride: 2, bias: false }),
    input: images,
    output: [8, 2, 3],
    parameters: 4 * 8 * 3,
  },
  {
    node: new nn.ConvTranspose2dNode({ outChannels: 2, kernelSize: 2, stride: 2 }),
    input: images,
    output: [2, 12, 10],
    parameters: 4 * 2 * 4 + 2,
  },
  {
    node: new nn.ConvTransposeNormActNode({ outChannels: 2 }),
    input: images,
    output: [2, 12, 10],
    parameters: 4 * 2 * 9 + 4,
  },
  {
    node: new nn.UpsampleConvNormActNode({ outChannels: 2, scaleFactor: 3 }),
    input: images,
    output: [2, 18, 15],
    parameters: 4 * 2 * 9 + 4,
  },
  {
    node: new nn.EmbeddingNode({ numEmbeddings: 4, embeddingDim: 3 }),
    input: [5],
    output: [5, 3],
    parameters: 12,
    tokens: true,
  },

  { node: new nn.MaxPool1dNode({ padding: 1 }), input: sequence, output: [4, 4] },
  { node: new nn.AvgPool1dNode({ kernelSize: 3, stride: 2 }), input: sequence, output: [4, 3] },
  { node: new nn.MaxPool2dNode(), input: images, output: [4, 3, 2] },
  { node: new nn.AvgPool2dNode({ stride: [3, 1] }), input: images, output: [4, 2, 4] },
  { node: new nn.GlobalAvgPool2dNode(), input: images, output: [4] },
  { node: new nn.AdaptiveAvgPool2dNode({ outputSize: [2, 3] }), input: images, output: [4, 2, 3] },
  { node: new nn.AdaptiveMaxPool2dNode({ outputSize: 2 }), input: images, output: [4, 2, 2] },
  { node: new nn.FlattenNode(), input: images, output: [120] },
  { node: new nn.UnflattenNode({ sizes: [2, 3] }), input: vector, output: [2, 3] },
  kept(new nn.ChannelShuffleNode({ groups: 2 }), images),
  kept(new nn.LayerScaleNode({ init: 0.1 }), images, 4),
  kept(new nn.SEAttentionNode({ reduction: 2 }), images, 2 * 4 * 8),
  kept(new nn.SpatialAttentionNode(), images, 2 * 9),
  { node: new nn.SpaceToDepthNode(), input: [2, 6, 4], output: [8, 3, 2] },
  { node: new nn.PixelUnshuffleNode({ factor: 2 }), input: [2, 6, 4], output: [8, 3, 2] },
  { node: new nn.PixelShuffleNode(), input: images, output: [1, 12, 10] },
  {
    node: new nn.UpsampleNode({ factor: 3, mode: "nearest-exact" }),
    input: images,
    output: [4, 18, 15],
  },
  { node: new nn.ZeroPad2dNode({ padding: [1, 2, 3, 4] }), input: images, output: [4, 13, 8] },
  { node: new nn.ReflectionPad2dNode({ padding: 2 }), input: images, output: [4, 10, 9] },

  {
    node: new nn.RNNNode({ hiddenSize: 3, nonlinearity: "relu", output: "last" }),
    input: places,
    output: [3],
    parameters: 3 * 6 + 3 * 3 + 6,
  },
  {
    node: new nn.GRUNode({ hiddenSize: 3, bidirectional: true, bias: false }),
    input: places,
    output: [5, 6],
    parameters: 2 * 3 * (3 * 6 + 3 * 3),
  },
  {
    node: new nn.LSTMNode({ hiddenSize: 3, numLayers: 2, dropout: 0.5, output: "last" }),
    input: places,
    output: [3],
    parameters: 4 * (3 * 6 + 3 * 3 + 6) + 4 * (3 * 3 + 3 * 3 + 6),
  },
  kept(new nn.MultiheadAttentionNode({ numHeads: 2, causal: true }), places, attention),
  kept(
    new nn.TransformerEncoderLayerNode({ nHead: 3, dimFeedforward: 8, activation: "gelu" }),
    places,
    encoderLayer,
  ),
  kept(
    new nn.TransformerEncoderNode({
      numLayers: 2,
      layer: new nn.TransformerEncoderLayerNode({ nHead: 2, dimFeedforward: 8, causal: true }),
      norm: true,
    }),
    places,
    2 * encoderLayer + 12,
  ),
  kept(new nn.LearnedPositionsNode({ maxLength: 9 }), places, 54),
  kept(new nn.SinusoidalPositionsNode({ maxLength: 9 }), places),
  kept(new nn.RotaryEmbeddingNode({ maxLength: 9, interleaved: true }), places),
  {
    node: new nn.GPTNode({ vocabSize: 4, contextLength: 8, layers: 2, heads: 2, width: 8 }),
    input: [5],
    output: [5, 4],
    parameters: 4 * 8 + 8 * 8 + 2 * gptBlock(8) + 16,
    tokens: true,
  },

  {
    node: new nn.ResidualAddNode({ block: new nn.MLPNode({ dims: [6] }), dropPath: 0.1 }),
    input: vector,
    output: vector,
    parameters: 42,
  },
  {
    node: new nn.BranchAndConcatNode({
      branches: [new nn.Conv1x1Node({ outChannels: 2 }), new nn.NoopNode()],
    }),
    input: images,
    output: [6, 6, 5],
    parameters: 8,
  },
  {
    node: new nn.SequentialNode({ parts: [new nn.FlattenNode(), new nn.MLPNode({ dims: [2] })] }),
    input: images,
    output: [2],
    parameters: 242,
  },
  {
    node: new nn.StagesNode({
      stem: [new nn.Conv1x1Node({ outChannels: 2 })],
      backbone: [],
      head: [new nn.FlattenNode()],
    }),
    input: images,
    output: [60],
    parameters: 8,
  },
  {
    node: new nn.ConvBlockNode({ inChannels: 4, outChannels: 2 }),
    input: images,
    output: [2, 3, 2],
    parameters: 4 * 2 * 9 + 2 + 4,
  },
  {
    node: new nn.TinyCNNNode({
      inputChannels: 4,
      inputSize: [6, 5],
      convBlocks: [new nn.ConvBlockNode({ inChannels: 4, outChannels: 2 })],
      mlp: new nn.MLPNode({ dims: [3] }),
    }),
    input: images,
    output: [3],
    parameters: 4 * 2 * 9 + 2 + 4 + 12 * 3 + 3,
  },
  {
    node: new nn.FCNormActNode({ outFeatures: 3 }),
    input: vector,
    output: [3],
    parameters: 21 + 6,
  },
  {
    node: new nn.ConvMixerStemNode({ outChannels: 8, patchSize: 2 }),
    input: [4, 6, 4],
    output: [8, 3, 2],
    parameters: 4 * 8 * 4 + 8 + 16,
  },
  {
    node: new nn.SAConvMixerStemNode({ outChannels: 8, patchSize: 2 }),
    input: [4, 6, 4],
    output: [8, 3, 2],
    parameters: 16 * 8 + 8 + 16,
  },
  {
    node: new nn.VAENode({ sizes: images, latentDim: 2 }),
    input: images,
    output: images,
    parameters: 120 * 256 + 256 + 2 * (256 * 2 + 2) + 2 * 256 + 256 + 256 * 120 + 120,
  },
  {
    node: new nn.AutoencoderNode({
      sizes: [4, 6, 6],
      encoder: new nn.Conv2dNode({ outChannels: 2, stride: 2, padding: 1 }),
      decoder: new nn.ConvTransposeNormActNode({
        outChannels: 4,
        norm: new nn.NoopNode(),
        activation: new nn.NoopNode(),
      }),
    }),
    input: [4, 6, 6],
    output: [4, 6, 6],
    parameters: 4 * 2 * 9 + 2 + 2 * 4 * 9 + 4,
  },
  {
    node: new nn.EncoderForClassificationNode({
      encoder: new nn.FlattenNode(),
      head: new nn.LinearNode({ outFeatures: 2 }),
    }),
    input: images,
    output: [2],
    parameters: 242,
  },
];
