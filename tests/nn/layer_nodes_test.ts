import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Device, DTypeError, type Tensor, tensor } from "../../core/mod.ts";
import {
  EmbeddingNode,
  FlattenNode,
  GPTNode,
  GRU,
  LinearNode,
  LSTM,
  MultiheadAttention,
  Node,
  NodeError,
  RecurrentLayer,
  ReluNode,
  ResidualAddNode,
  RNNNode,
  SelfAttention,
  SequentialNode,
  summarize,
  TransformerEncoderLayerNode,
  TransformerEncoderNode,
} from "../../nn/mod.ts";
import { assertClose, cpu, randomValues, reference as device } from "../util.ts";
import { blockCases, countedCases } from "./blocks/cases.ts";
import { type LayerCase, layerCases } from "./nodes/cases.ts";

/** The names of all kinds that JSON may hold. */
function registered(): string[] {
  const { message } = assertThrows(() => Node.fromJSON({}), NodeError);
  return /a type among (.*), found nothing/.exec(message)![1].split(", ");
}

function batchOf({ input, tokens = false }: LayerCase, device: Device): Tensor {
  const shape = [3, ...input];
  const values = randomValues(shape.reduce((a, b) => a * b, 1), 1, 0, tokens ? 4 : 1);
  return tokens
    ? tensor(values.map(Math.floor), { device, shape, dtype: "i32" })
    : tensor(values, { device, shape });
}

Deno.test("there is a case for every kind of node that JSON may hold", () => {
  const sizes = { inChannels: 8, outChannels: 8, stride: 1 };
  const blocks = [...blockCases, ...countedCases].map(({ make, parameters }) =>
    make(parameters[0] === null ? { ...sizes, stride: 2 } : sizes).type
  );
  const covered = [...new Set([...layerCases.map(({ node }) => node.type), ...blocks])];
  assertEquals(covered.sort(), registered().sort());
});

Deno.test("nodes of layers come back from JSON, with the same bits and outputs", async () => {
  for (const one of layerCases) {
    const { node, input: inputShape } = one;
    const copy = Node.fromJSON(JSON.parse(JSON.stringify(node)));
    assertEquals(copy, node, node.type);
    assertEquals(copy.constructor, node.constructor);
    const [a, b] = [node, copy].map((n) => n.build({ device, seed: 3, inputShape }));
    const x = batchOf(one, device);
    assertEquals(Object.keys(b.stateDict()), Object.keys(a.stateDict()), node.type);
    assertEquals(await b.forward(x).data(), await a.forward(x).data(), node.type);
  }
});

Deno.test("nodes of layers infer the shape that they give, and have their parameters", () => {
  for (const one of layerCases) {
    const { node, input, output, parameters = 0 } = one;
    assertEquals([...node.outputShape(input)], [...output], node.type);
    const model = node.build({ device, seed: 3, inputShape: input });
    assertEquals(model.parameterCount, parameters, node.type);
    const x = batchOf(one, device);
    assertEquals([...model.forward(x).shape], [3, ...output], node.type);
    const [row] = summarize(node, [x], { depth: 0 }).rows;
    assertEquals([row.outputs, row.parameters], [[[3, ...output]], parameters], node.type);
  }
});

// Nodes say only how layers are made; each layer is compared with the reference on WebGPU where it is tested.
Deno.test({
  name: "layers that nodes build agree with the reference in evaluation, cpu",
  ignore: cpu === null,
  fn: async () => {
    using _ = cpu!.scope();
    for (const one of layerCases) {
      const { node, input: inputShape } = one;
      const [want, got] = await Promise.all(
        [device, cpu!].map((at) =>
          node.build({ device: at, seed: 3, inputShape }).eval().forward(batchOf(one, at)).data()
        ),
      );
      assertClose(got, want, { rel: 2e-5, abs: 2e-5 }, node.type);
    }
  },
});

Deno.test("recurrent nodes give the outputs of all steps, or the last state of every pass", async () => {
  const options = { batchFirst: true, bidirectional: true, numLayers: 2, device };
  const x = tensor(randomValues(60, 1), { device, shape: [2, 5, 6] });
  for (const layer of [new GRU(6, 3, options), new LSTM(6, 3, options)]) {
    const [output, state] = layer.forward(x);
    const sequence = new RecurrentLayer(layer).forward(x);
    assertEquals(await sequence.data(), await output.data());
    const hN = Array.isArray(state) ? state[0] : state as Tensor;
    const last = new RecurrentLayer(layer, "last").forward(x);
    assertEquals([...last.shape], [2, 6]);
    // The last layer's passes: forwards ends at the last step, backwards at the first one.
    const [forwards, backwards] = [hN.select(0, 2), hN.select(0, 3)];
    assertEquals(await last.narrow(1, 0, 3).data(), await forwards.data());
    assertEquals(await last.narrow(1, 3, 3).data(), await backwards.data());
    assertEquals(await output.select(1, 4).narrow(1, 0, 3).data(), await forwards.data());
    assertEquals(await output.select(1, 0).narrow(1, 3, 3).data(), await backwards.data());
  }
  assertThrows(
    () => new RecurrentLayer(new GRU(2, 2, { device }), "first" as "last"),
    RangeError,
    'Cannot make RecurrentLayer with output "first"',
  );
});

Deno.test("causal nodes see no place behind their own", async () => {
  const layer = new TransformerEncoderLayerNode({ nHead: 2, dimFeedforward: 8, causal: true });
  const nodes = [layer, new TransformerEncoderNode({ numLayers: 2, layer, norm: true })];
  const values = randomValues(60, 1);
  const other = values.map((v, i) => i % 30 >= 18 ? -v : v);
  for (const node of nodes) {
    for (const causal of [true, false]) {
      const part = { nHead: 2, dimFeedforward: 8, causal };
      const made = node === layer
        ? node.with({ causal })
        : node.with({ layer: new TransformerEncoderLayerNode(part) });
      const model = made.build({ device, seed: 1, inputShape: [5, 6] }).eval();
      const [a, b] = [values, other].map((data) =>
        model.forward(tensor(data, { device, shape: [2, 5, 6] })).narrow(1, 0, 3)
      );
      const [before, after] = [await a.data(), await b.data()];
      assertEquals(before.every((v, i) => Math.abs(v - after[i]) < 1e-12), causal, node.type);
    }
  }
});

Deno.test("SelfAttention is MultiheadAttention of a sequence to itself", async () => {
  const attention = new MultiheadAttention(6, 2, { batchFirst: true, device });
  const x = tensor(randomValues(60, 1), { device, shape: [2, 5, 6] });
  for (const isCausal of [false, true]) {
    const own = new SelfAttention(6, 2, isCausal, { batchFirst: true, device });
    own.loadStateDict(attention.stateDict());
    const want = attention.forward(x, x, x, { isCausal });
    assertEquals(await own.forward(x).data(), await want.data());
  }
});

Deno.test("a block of a transformer can be put together from nodes", () => {
  const residual = (...parts: Node[]) =>
    new ResidualAddNode({ block: new SequentialNode({ parts }) });
  const node = new SequentialNode({
    parts: [
      new RNNNode({ hiddenSize: 8 }),
      residual(
        new LinearNode({ outFeatures: 16 }),
        new ReluNode(),
        new LinearNode({ outFeatures: 8 }),
      ),
    ],
  });
  assertEquals(node.outputShape([5, 3]), [5, 8]);
  assert(Node.fromJSON(JSON.parse(JSON.stringify(node))) instanceof SequentialNode);
});

Deno.test("nodes of layers name the field that is wrong", () => {
  const cases: [Record<string, unknown>, string, string][] = [
    [{ type: "SoftmaxNode", dim: 0.5 }, "SoftmaxNode.dim", "expected an integer, found 0.5"],
    [{ type: "SoftplusNode", beta: 0 }, "SoftplusNode.beta", "found 0"],
    [{ type: "ThresholdNode", value: 1 }, "ThresholdNode.threshold", "found nothing"],
    [{ type: "PReLUNode", numParameters: 0 }, "PReLUNode.numParameters", "found 0"],
    [{ type: "LSTMNode", hiddenSize: 2, output: "all" }, "LSTMNode.output", 'found "all"'],
    [{ type: "ZeroPad2dNode", padding: [1, 2] }, "ZeroPad2dNode.padding", "found [1, 2]"],
    [
      { type: "TransformerEncoderNode", numLayers: 1, layer: { type: "ReluNode" } },
      "TransformerEncoderNode.layer",
      "expected a TransformerEncoderLayerNode, found an object",
    ],
    [
      { type: "ResidualAddNode", block: { type: "MLPNode", dims: [0] } },
      "ResidualAddNode.block.dims",
      "found [0]",
    ],
    [{ type: "BranchAndConcatNode", branches: [] }, "BranchAndConcatNode.branches", "found []"],
    [{ type: "GPTNode", vocabSize: 3 }, "GPTNode.contextLength", "found nothing"],
  ];
  for (const [json, path, text] of cases) {
    const error = assertThrows(() => Node.fromJSON(json), NodeError, text);
    assertEquals(error.path, path);
  }
});

Deno.test("nodes of layers that cannot be built say where", () => {
  const cases: [Node, number[], string][] = [
    [
      Node.fromJSON({ type: "MultiheadAttentionNode", numHeads: 4 }),
      [5, 6],
      "Cannot build SequentialNode.parts[1]: Cannot make MultiheadAttention with embedDim 6 and 4 heads",
    ],
    [Node.fromJSON({ type: "GLUNode" }), [5], "Cannot place SequentialNode.parts[1]: "],
    [
      Node.fromJSON({ type: "Conv1dNode", outChannels: 4, groups: 4 }),
      [6, 9],
      "Cannot build SequentialNode.parts[1]: Cannot make Conv1d of 6 to 4 channels in 4 groups",
    ],
    [
      Node.fromJSON({ type: "CeluNode", alpha: 0 }),
      [6],
      "Cannot build SequentialNode.parts[1]: Cannot make CELU with alpha 0",
    ],
    [
      Node.fromJSON({ type: "HardtanhNode", minVal: 2 }),
      [6],
      "Cannot build SequentialNode.parts[1]: Cannot make Hardtanh from 2 to 1",
    ],
  ];
  for (const [part, inputShape, message] of cases) {
    const node = new SequentialNode({ parts: [new ReluNode(), part] });
    assertThrows(() => node.build({ device, inputShape }), RangeError, message);
  }
});

Deno.test("models of tokens infer shapes from integers, and say what does not take them", () => {
  const embedding = new EmbeddingNode({ numEmbeddings: 4, embeddingDim: 3 });
  const parts = [embedding, new FlattenNode(), new LinearNode({ outFeatures: 2 })];
  assertEquals(new SequentialNode({ parts }).outputShape([5]), [2]);
  const late = new SequentialNode({ parts: [new LinearNode({ outFeatures: 2 }), embedding] });
  assertThrows(() => late.outputShape([5]), DTypeError, "by an index of dtype f32");
  assertThrows(
    () => new GPTNode({ vocabSize: 4, contextLength: 3, heads: 1, width: 2 }).outputShape([5]),
    RangeError,
    "Cannot place GPTNode: Cannot apply GPT to sequences of 5 tokens",
  );
});
