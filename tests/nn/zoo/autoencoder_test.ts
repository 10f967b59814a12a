import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Adam, jit, ShapeError, type Tensor, tensor } from "../../../core/mod.ts";
import {
  AutoencoderNode,
  BatchNorm1d,
  Conv3x3NormActNode,
  crossEntropy,
  Dropout,
  EncoderForClassification,
  EncoderForClassificationNode,
  FlattenNode,
  Linear,
  LinearNode,
  mseLoss,
  Node,
  Sequential,
  SequentialNode,
  UpsampleConvNormActNode,
} from "../../../nn/mod.ts";
import { assertClose, cpu, randomValues, reference } from "../../util.ts";

const device = reference;
const bn = (channels: number) => 2 * channels;

/** The usual encoder and decoder, counted by hand. */
function counted(channels: number): number {
  const encoder = channels * 32 * 9 + bn(32) + 32 * 64 * 9 + bn(64) + 64 * 8 + 8;
  const decoder = 8 * 64 * 16 + bn(64) + 64 * 32 * 16 + bn(32) + 32 * channels * 9 + channels;
  return encoder + decoder;
}

Deno.test("AutoencoderNode gives back images of both usual sizes", () => {
  for (const sizes of [[1, 28, 28], [3, 32, 32], [2, 12, 20]]) {
    const node = new AutoencoderNode({ sizes });
    assertEquals(node.outputShape(sizes), sizes);
    const model = node.build({ device, seed: 1 }) as Sequential;
    assertEquals(model.parameterCount, counted(sizes[0]));
    const [encoder] = model;
    const x = tensor(randomValues(2 * sizes[0] * sizes[1] * sizes[2], 1), {
      device,
      shape: [2, ...sizes],
    });
    assertEquals([...encoder.forward(x).shape], [2, 8, sizes[1] / 4, sizes[2] / 4]);
    const keys = Object.keys(model.stateDict());
    assertEquals([keys[0], keys.at(-1)], ["encoder.0.conv.weight", "decoder.2.bias"]);
    assert(keys.every((key) => /^(encoder|decoder)\./.test(key)));
  }
  assertEquals(new AutoencoderNode(), new AutoencoderNode({ sizes: [1, 28, 28] }));
});

const upsampled = new AutoencoderNode({
  sizes: [1, 8, 8],
  encoder: new Conv3x3NormActNode({ outChannels: 8, stride: 2 }),
  decoder: new SequentialNode({
    parts: [
      new UpsampleConvNormActNode({ outChannels: 8 }),
      new Conv3x3NormActNode({ outChannels: 1 }),
    ],
  }),
});

Deno.test("AutoencoderNode comes back from JSON, with the same bits", async () => {
  for (const node of [new AutoencoderNode({ sizes: [1, 8, 8] }), upsampled]) {
    const copy = Node.fromJSON(JSON.parse(JSON.stringify(node)));
    assertEquals(copy, node);
    const [a, b] = [node, copy].map((n) => n.build({ device, seed: 4 }));
    const x = tensor(randomValues(128, 1), { device, shape: [2, 1, 8, 8] });
    assertEquals(await b.forward(x).data(), await a.forward(x).data());
  }
});

Deno.test("AutoencoderNode names the part that does not fit", () => {
  assertThrows(
    () => new AutoencoderNode({ sizes: [1, 30, 28] }).build({ device }),
    ShapeError,
    "Cannot build AutoencoderNode: expected a decoder whose output has the shape [1, 30, 28], " +
      "found [1, 32, 28]",
  );
  assertThrows(
    () => new AutoencoderNode().build({ device, inputShape: [3, 28, 28] }),
    ShapeError,
    "Cannot build AutoencoderNode: expected an input of shape [1, 28, 28], found [3, 28, 28]",
  );
  const decoder = new SequentialNode({
    parts: [new LinearNode({ outFeatures: 3, inFeatures: 5 })],
  });
  assertThrows(
    () => new AutoencoderNode({ decoder }).build({ device }),
    ShapeError,
    "Cannot place AutoencoderNode.decoder.parts[0]: ",
  );
});

Deno.test("an autoencoder overfits one batch, values below 0 among them", async () => {
  const device = cpu ?? reference;
  const model = new AutoencoderNode({ sizes: [1, 8, 8] }).build({ device, seed: 5 });
  // The outputs are linear: the background of normalised digits is negative.
  const x = tensor(randomValues(8 * 64, 3, -1, 3), { device, shape: [8, 1, 8, 8] });
  const optimizer = new Adam(model.parameters(), { lr: 5e-3 });
  const step = jit((x: Tensor) => {
    const loss = mseLoss(model.forward(x), x);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  });
  // Uniform numbers over 4 have the variance 16 / 12.
  const limit = 0.1 * 16 / 12;
  let loss = Infinity;
  for (let i = 0; i < 400 && !(loss < limit); i++) {
    const result = step(x);
    if (i % 20 === 19) loss = await result.item();
  }
  assert(loss < limit, `the loss is ${loss}`);
  step.reset();
});

function frozen(device = reference) {
  const encoder = new Sequential(
    new Linear(4, 8, { device }),
    new BatchNorm1d(8, { device }),
    new Dropout(0.5),
  );
  return new EncoderForClassification(encoder, new Linear(8, 3, { device }));
}

/** The numbers of parameters and buffers by key. */
async function valuesOf(model: EncoderForClassification): Promise<[string, number[]][]> {
  return await Promise.all(
    Object.entries(model.stateDict()).map(async ([k, t]): Promise<[string, number[]]> => [
      k,
      [...await t.data()],
    ]),
  );
}

Deno.test("a frozen encoder stays as it is while the head is trained, in captured steps also", async () => {
  for (const captured of [false, true]) {
    const model = frozen();
    // A model around it sets the modes of all parts.
    const around = new Sequential(model).train();
    const x = tensor(randomValues(24, 1), { device, shape: [6, 4] });
    const y = tensor([0, 1, 2, 0, 1, 2], { device, dtype: "i32" });
    const optimizer = new Adam(model.parameters(), { lr: 0.05 });
    const pass = (x: Tensor, y: Tensor) => {
      const loss = crossEntropy(around.forward(x), y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss;
    };
    const step = captured ? jit(pass) : pass;
    const before = await valuesOf(model);
    const first = await step(x, y).item();
    let last = first;
    for (let i = 0; i < 20; i++) {
      if (i === 10) around.train();
      last = await step(x, y).item();
    }
    assert(last < first, `${first} to ${last}`);
    assert(!model.encoder.training && model.head.training);
    const after = await valuesOf(model);
    for (const [i, [key, values]] of before.entries()) {
      if (key.startsWith("encoder.")) assertEquals(after[i][1], values, key);
      else assertNotEquals(after[i][1], values, key);
    }
  }
});

Deno.test("train() leaves a frozen encoder in evaluation, and trains a free one", () => {
  const model = frozen().train();
  assert(model.training && model.head.training);
  assert(model.encoder.modules().every((part) => !part.training));
  assertEquals(model.parameters().map((p) => p.requiresGrad), [
    ...[false, false, false, false],
    ...[true, true],
  ]);
  const free = new EncoderForClassification(model.encoder, model.head, { freezeEncoder: false });
  free.train();
  assert(free.modules().every((part) => part.training));
  const x = tensor(randomValues(24, 1), { device, shape: [6, 4] });
  free.forward(x).sum().backward();
  assert(free.parameters().every((p) => p.requiresGrad && p.grad !== null));
});

Deno.test("the head gets what the encoder gives in evaluation", async () => {
  const model = frozen();
  const x = tensor(randomValues(24, 1), { device, shape: [6, 4] });
  const [weight, bias] = model.encoder.parameters();
  const features = x.matmul(weight.t()).add(bias).div(Math.sqrt(1 + 1e-5));
  const head = model.head as Linear;
  const want = features.matmul(head.weight.t()).add(head.bias!);
  assertClose(await model.train().forward(x).data(), await want.data(), 1e-7);
});

Deno.test("EncoderForClassificationNode comes back from JSON and names its parts", async () => {
  const encoder = new Conv3x3NormActNode({ outChannels: 4, stride: 2 });
  const head = new SequentialNode({
    parts: [new FlattenNode(), new LinearNode({ outFeatures: 5 })],
  });
  for (const freezeEncoder of [true, false]) {
    const node = new EncoderForClassificationNode({ encoder, head, freezeEncoder });
    const copy = Node.fromJSON(JSON.parse(JSON.stringify(node)));
    assertEquals(copy, node);
    assertEquals(node.outputShape([1, 6, 6]), [5]);
    const [a, b] = [node, copy].map((n) => n.build({ device, seed: 1, inputShape: [1, 6, 6] }));
    assert(a instanceof EncoderForClassification && a.freezeEncoder === freezeEncoder);
    assertEquals(a.parameterCount, 36 + bn(4) + 36 * 5 + 5);
    const x = tensor(randomValues(72, 1), { device, shape: [2, 1, 6, 6] });
    assertEquals(await b.forward(x).data(), await a.forward(x).data());
  }
  const wrong = new EncoderForClassificationNode({
    encoder,
    head: new LinearNode({ outFeatures: 5, inFeatures: 7 }),
  });
  assertThrows(
    () => wrong.build({ device, inputShape: [1, 6, 6] }),
    ShapeError,
    "Cannot place EncoderForClassificationNode.head: ",
  );
});
