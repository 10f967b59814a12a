import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { manualSeed, nextKey, ShapeError, type Tensor, tensor, zeros } from "../../core/mod.ts";
import {
  AvgPool2dNode,
  BatchNorm2d,
  ConvBlockNode,
  type Dropout,
  field,
  GeluNode,
  Identity,
  type MakeOptions,
  MaxPool2dNode,
  MLPNode,
  type Module,
  Node,
  NodeError,
  NoopNode,
  ReluNode,
  type Sequential,
  SigmoidNode,
  Softplus,
  TanhNode,
  type TensorModule,
  TinyCNNNode,
} from "../../nn/mod.ts";
import { tinyCnn } from "../golden/load.ts";
import { assertClose, randomValues, reference as device } from "../util.ts";

/** What JSON.parse gives of a node. */
function parsed(node: Node): Record<string, unknown> {
  return JSON.parse(JSON.stringify(node));
}

async function bits(module: Module): Promise<[string, number[]][]> {
  const entries = Object.entries(module.stateDict());
  return await Promise.all(
    entries.map(async ([k, t]: [string, Tensor]): Promise<[string, number[]]> => [
      k,
      [...await t.data()],
    ]),
  );
}

Deno.test("TinyCNNNode builds PyTorch's state dict: 25 entries, 241,994 parameters", () => {
  const node = new TinyCNNNode({ inputChannels: 1, mlp: new MLPNode({ dims: [128, 10] }) });
  const model = node.build({ device, seed: 42 });
  const state = Object.entries(model.stateDict());
  assertEquals(
    state.map(([name, { shape }]) => ({ name, shape: [...shape] })),
    tinyCnn.state.map(({ name, shape }) => ({ name, shape: [...shape] })),
  );
  assertEquals(state.length, 25);
  assertEquals(model.parameterCount, 241_994);
  assertEquals(tinyCnn.count, 241_994);
  assertEquals(model.forward(zeros([2, 1, 28, 28], { device })).shape, [2, 10]);
});

Deno.test("Node.build() gives the same bits for the same seed, always", async () => {
  const node = new MLPNode({ inFeatures: 5, dims: [4, 3] });
  manualSeed(1);
  const first = await bits(node.build({ device, seed: 7 }));
  manualSeed(2);
  node.build({ device });
  assertEquals(await bits(node.build({ device, seed: 7 })), first);
  assertNotEquals(await bits(node.build({ device, seed: 8 })), first);
  // Without a seed the default stream goes on.
  manualSeed(7);
  const free = await bits(node.build({ device }));
  assertEquals(free, first);
  assertNotEquals(await bits(node.build({ device })), free);
});

const samples: readonly Node[] = [
  new NoopNode(),
  new ReluNode(),
  new SigmoidNode(),
  new TanhNode(),
  new GeluNode(),
  new GeluNode({ approximate: "tanh" }),
  new MaxPool2dNode(),
  new MaxPool2dNode({ kernelSize: [3, 2], stride: 1, padding: [1, 0], dilation: 2 }),
  new AvgPool2dNode({ kernelSize: 3 }),
  new ConvBlockNode({ inChannels: 2, outChannels: 3 }),
  new ConvBlockNode({
    inChannels: 1,
    outChannels: 2,
    kernelSize: [3, 5],
    stride: 2,
    padding: [1, 2],
    batchNorm: false,
    activation: new GeluNode(),
    dropout: 0.1,
    pooling: new AvgPool2dNode(),
  }),
  new MLPNode({ dims: [3] }),
  new MLPNode({
    dims: [8, 4, 2],
    inFeatures: 6,
    activation: new TanhNode(),
    lastActivation: new SigmoidNode(),
  }),
  new TinyCNNNode({ inputChannels: 3, inputSize: [32, 24] }),
  new TinyCNNNode({
    inputSize: 8,
    convBlocks: [new ConvBlockNode({ inChannels: 1, outChannels: 2, pooling: new NoopNode() })],
    mlp: new MLPNode({ dims: [2] }),
  }),
];

Deno.test("Node.fromJSON() reads every node back as it was written", () => {
  for (const node of samples) {
    const copy = Node.fromJSON(parsed(node));
    assertEquals(copy.constructor, node.constructor, node.type);
    assertEquals(copy, node);
    assertEquals(parsed(copy), parsed(node));
    assertEquals(Node.fromJSON(node.toJSON()), node);
  }
});

Deno.test("Node.fromJSON() builds the same model: same bits, same outputs", async () => {
  const node = samples.find((n) => n instanceof ConvBlockNode && n.dropout > 0)!;
  const [a, b] = [node, Node.fromJSON(parsed(node))].map((n) => n.build({ device, seed: 3 }));
  assertEquals(await bits(b), await bits(a));
  const x = tensor(randomValues(98, 1), { shape: [2, 1, 7, 7], device });
  // In training, so that the masks of dropout are the same too.
  assertEquals(await b.forward(x).array(), await a.forward(x).array());
});

Deno.test("Node.toJSON() writes type tags and all fields, nodes among them", () => {
  assertEquals(parsed(new MLPNode({ dims: [3, 2] })), {
    type: "MLPNode",
    dims: [3, 2],
    inFeatures: null,
    activation: { type: "ReluNode" },
    lastActivation: { type: "NoopNode" },
  });
  assertEquals(parsed(new MaxPool2dNode({ stride: [1, 2] })), {
    type: "MaxPool2dNode",
    kernelSize: 2,
    stride: [1, 2],
    padding: 0,
    dilation: 1,
  });
});

Deno.test("Node.fromJSON() gives left-out fields their defaults", () => {
  assertEquals(Node.fromJSON({ type: "TinyCNNNode" }), new TinyCNNNode());
  assertEquals(
    Node.fromJSON({ type: "ConvBlockNode", inChannels: 1, outChannels: 2 }),
    new ConvBlockNode({ inChannels: 1, outChannels: 2 }),
  );
});

/** A ConvBlockNode whose activations hold each other so many times. */
function nested(depth: number): string {
  const open = '{"type":"ConvBlockNode","inChannels":1,"outChannels":1,"activation":';
  return open.repeat(depth - 1) + '{"type":"ReluNode"}' + "}".repeat(depth - 1);
}

Deno.test("Node.fromJSON() names the path of what is wrong", () => {
  const block = '"type":"ConvBlockNode","inChannels":1,"outChannels":2';
  const cases: [string, string, string][] = [
    ["3", "the description of a model", "expected an object with a type, found 3"],
    ["null", "the description of a model", "found null"],
    ["[]", "the description of a model", "found []"],
    ["{}", "the description of a model", "StagesNode, ConvNormActNode, "],
    ['{"type":"TreeNode"}', "the description of a model", 'found "TreeNode"'],
    ['{"type":"__proto__"}', "the description of a model", 'found "__proto__"'],
    ['{"type":"constructor"}', "the description of a model", 'found "constructor"'],
    ['{"type":["ReluNode"]}', "the description of a model", "found a list of 1"],
    ['{"type":"ReluNode","__proto__":{"a":1}}', "ReluNode", 'it has no field "__proto__"'],
    ['{"type":"ReluNode","inplace":true}', "ReluNode", 'it has no field "inplace"'],
    ['{"type":"MLPNode"}', "MLPNode.dims", "found nothing"],
    ['{"type":"MLPNode","dims":[]}', "MLPNode.dims", "expected at least 1 integers of at least 1"],
    ['{"type":"MLPNode","dims":[3,0]}', "MLPNode.dims", "found [3, 0]"],
    ['{"type":"MLPNode","dims":[3,1.5]}', "MLPNode.dims", "found [3, 1.5]"],
    ['{"type":"MLPNode","dims":"128"}', "MLPNode.dims", 'found "128"'],
    [
      '{"type":"MLPNode","dims":[1],"activation":"ReluNode"}',
      "MLPNode.activation",
      'expected an object with a type, found "ReluNode"',
    ],
    [
      '{"type":"GeluNode","approximate":"erf"}',
      "GeluNode.approximate",
      'expected "none" or "tanh"',
    ],
    [`{${block},"kernelSize":[3,3,3]}`, "ConvBlockNode.kernelSize", "found [3, 3, 3]"],
    [`{${block},"padding":-1}`, "ConvBlockNode.padding", "expected an integer of at least 0"],
    [`{${block},"dropout":1.5}`, "ConvBlockNode.dropout", "expected a number from 0 to 1"],
    [`{${block},"batchNorm":1}`, "ConvBlockNode.batchNorm", "expected true or false, found 1"],
    ['{"type":"ConvBlockNode","outChannels":2}', "ConvBlockNode.inChannels", "found nothing"],
    [
      `{"type":"TinyCNNNode","convBlocks":[{${block}},{${block},"stride":0}]}`,
      "TinyCNNNode.convBlocks[1].stride",
      "expected an integer of at least 1, or two of them in a list, found 0",
    ],
    [
      '{"type":"TinyCNNNode","convBlocks":[{"type":"ReluNode"}]}',
      "TinyCNNNode.convBlocks",
      "expected at least 0 of ConvBlockNode in a list, found a list of 1",
    ],
    [nested(33), `ConvBlockNode${".activation".repeat(32)}`, "expected at most 32 nodes"],
  ];
  for (const [json, path, text] of cases) {
    const error = assertThrows(() => Node.fromJSON(JSON.parse(json)), NodeError, text);
    assert(error.message.startsWith(`Cannot use ${path}: `), `${json}: ${error.message}`);
    assertEquals(error.path, path, json);
    assert(error instanceof TypeError);
  }
  Node.fromJSON(JSON.parse(nested(32)));
});

Deno.test("nodes refuse wrong options when they are made", () => {
  assertThrows(
    () => new ConvBlockNode({ inChannels: 0, outChannels: 1 }),
    NodeError,
    "Cannot use ConvBlockNode.inChannels: expected an integer of at least 1, found 0",
  );
  assertThrows(
    () => new MLPNode({ dims: [1], hidden: 3 } as unknown as { dims: number[] }),
    NodeError,
    'Cannot use MLPNode: it has no field "hidden", expected fields among: dims, inFeatures, ' +
      "activation, lastActivation",
  );
});

Deno.test("nodes do not see later changes of the lists that they were made from", () => {
  const dims = [3, 2];
  const node = new MLPNode({ dims });
  dims.push(7);
  assertEquals(node.dims, [3, 2]);
});

Deno.test("outputShape() follows convolutions and pooling, as the built modules do", () => {
  const cases: [Node, number[]][] = [
    [new ConvBlockNode({ inChannels: 2, outChannels: 3 }), [2, 9, 6]],
    [new ConvBlockNode({ inChannels: 2, outChannels: 3, kernelSize: [2, 5], stride: [3, 1] }), [
      2,
      13,
      8,
    ]],
    [new MaxPool2dNode({ kernelSize: 3, stride: 2, padding: 1, dilation: 2 }), [2, 11, 8]],
    [new AvgPool2dNode({ kernelSize: [2, 3], stride: [1, 3], padding: [1, 0] }), [2, 5, 7]],
    [new MLPNode({ dims: [4, 6], inFeatures: 3 }), [5, 3]],
    [new TinyCNNNode({ inputChannels: 2, inputSize: [16, 24] }), [2, 16, 24]],
    [new ReluNode(), [2, 3]],
  ];
  for (const [node, input] of cases) {
    const output = node.build({ device, seed: 0 }).forward(zeros([2, ...input], { device }));
    assertEquals([2, ...node.outputShape(input)], [...output.shape], node.type);
  }
});

Deno.test("build() names the node that does not fit what comes before it", () => {
  const block = (inChannels: number, outChannels: number, pooling: Node = new MaxPool2dNode()) =>
    new ConvBlockNode({ inChannels, outChannels, pooling });
  const cases: [Node, string][] = [
    [
      new TinyCNNNode({ convBlocks: [block(1, 16), block(32, 64)] }),
      "Cannot place TinyCNNNode.convBlocks[1]: Cannot convolve [2, 16, 14, 14] with weight " +
      "[64, 32, 3, 3]: expected images [N, 32, H, W]",
    ],
    [
      new TinyCNNNode({ inputSize: 4 }),
      "Cannot place TinyCNNNode.convBlocks[2].pooling: Cannot max-pool [2, 128, 1, 1]: a window of " +
      "2 rows does not fit into 1 with padding 0",
    ],
    [
      new TinyCNNNode({ mlp: new MLPNode({ dims: [10], inFeatures: 1000 }) }),
      "Cannot build TinyCNNNode.mlp: expected an input of shape [..., 1000], found [1152]",
    ],
    [
      new TinyCNNNode({
        convBlocks: [block(1, 2, new ConvBlockNode({ inChannels: 3, outChannels: 3 }))],
      }),
      "Cannot place TinyCNNNode.convBlocks[0].pooling: Cannot convolve [2, 2, 28, 28] with weight " +
      "[3, 3, 3, 3]: expected images [N, 3, H, W]",
    ],
    [
      new MLPNode({ dims: [3] }),
      "Cannot build MLPNode: Cannot make MLPNode: expected inFeatures, or an inputShape to take",
    ],
    [
      new MLPNode({ dims: [3], lastActivation: new MLPNode({ dims: [2] }), inFeatures: 4 }),
      "Cannot build MLPNode: expected a node in lastActivation that keeps the shape, found one that " +
      "makes [2] of [3]",
    ],
  ];
  for (const [node, message] of cases) {
    assertThrows(() => node.build({ device, seed: 0 }), ShapeError, message);
  }
  assertThrows(
    () => new TinyCNNNode().build({ device, inputShape: [3, 28, 28] }),
    ShapeError,
    "Cannot build TinyCNNNode: expected an input of shape [1, 28, 28], found [3, 28, 28]",
  );
});

Deno.test("TinyCNNNode hands its channels to the first block and the flat size to the head", () => {
  const model = new TinyCNNNode({ inputChannels: 3, inputSize: 32 }).build({ device, seed: 1 });
  const shapes = Object.fromEntries(model.namedParameters().map(([k, t]) => [k, [...t.shape]]));
  assertEquals(shapes["0.0.weight"], [32, 3, 3, 3]);
  assertEquals(shapes["4.0.weight"], [128, 128 * 4 * 4]);
});

Deno.test("ConvBlockNode holds its parts in order, and only those asked for", () => {
  const full = new ConvBlockNode({ inChannels: 1, outChannels: 2, dropout: 0.25 });
  const names = (node: Node) =>
    [...node.build({ device, seed: 0 }) as Sequential].map((part) => part.constructor.name);
  assertEquals(names(full), ["Conv2d", "BatchNorm2d", "ReLU", "Dropout", "MaxPool2d"]);
  const bare = { inChannels: 1, outChannels: 2, batchNorm: false, pooling: new NoopNode() };
  assertEquals(names(new ConvBlockNode(bare)), ["Conv2d", "ReLU", "Identity"]);
  const built = full.build({ device, seed: 0 }) as Sequential;
  assert(built.at(1) instanceof BatchNorm2d);
  assertEquals((built.at(3) as Dropout).p, 0.25);
});

Deno.test("MLPNode puts its activation between layers and leaves the last one linear", async () => {
  const node = new MLPNode({ inFeatures: 3, dims: [4, 2], activation: new TanhNode() });
  const model = node.build({ device, seed: 5 });
  const [w0, b0, w1, b1] = model.parameters();
  const x = tensor(randomValues(6, 2), { shape: [2, 3], device });
  const want = x.matmul(w0.t()).add(b0).tanh().matmul(w1.t()).add(b1);
  assertClose(await model.forward(x).data(), await want.data(), 1e-12);
  assert((model as Sequential).at(-1) instanceof Identity);
});

class SharpNode extends Node {
  readonly type = "SharpNode";
  constructor(readonly beta: number) {
    super();
  }
  protected override make(_options: MakeOptions): TensorModule {
    return new Softplus({ beta: this.beta });
  }
}

Deno.test("Node.register() makes nodes of one's own readable, once", () => {
  const fields = { beta: field.number(0.1, 10, 1) };
  Node.register("SharpNode", fields, ({ beta }) => new SharpNode(beta));
  const mlp = new MLPNode({ inFeatures: 2, dims: [3, 1], activation: new SharpNode(2) });
  assertEquals(Node.fromJSON(parsed(mlp)), mlp);
  assertThrows(
    () => Node.fromJSON({ type: "SharpNode", beta: 11 }),
    NodeError,
    "Cannot use SharpNode.beta: expected a number from 0.1 to 10, found 11",
  );
  assertThrows(
    () => Node.register("SharpNode", fields, ({ beta }) => new SharpNode(beta)),
    RangeError,
    "it is registered already",
  );
});

Deno.test("build() with a seed leaves the default stream where it was", () => {
  manualSeed(9);
  const want = nextKey();
  manualSeed(9);
  new MLPNode({ inFeatures: 2, dims: [2] }).build({ device, seed: 42 });
  assertEquals(nextKey(), want);
});
