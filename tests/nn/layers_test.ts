import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Key, noGrad, ones, ShapeError, type Tensor, tensor, zeros } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import {
  assertClose,
  devices,
  randomValues,
  reference,
  reference as device,
  testOnDevices,
} from "../util.ts";

const key = new Key(0);

Deno.test("Dropout keeps 1 - p of the elements and divides them by it", async () => {
  const n = 100_000;
  for (const p of [0.1, 0.5, 0.9]) {
    const y = await new nn.Dropout(p, { key }).forward(ones([n], { device })).data();
    const kept = y.filter((value: number) => value !== 0);
    // Five standard deviations of the binomial distribution.
    assertClose([kept.length / n], [1 - p], 5 * Math.sqrt(p * (1 - p) / n), `p ${p}`);
    assert(kept.every((value: number) => Math.abs(value - 1 / (1 - p)) < 1e-6), `p ${p}`);
  }
});

Deno.test("Dropout keeps all for p = 0 and in evaluation, nothing for p = 1", async () => {
  const x = tensor([1, -2, 3], { device });
  assertStrictEquals(new nn.Dropout(0).forward(x), x);
  assertStrictEquals(new nn.Dropout(1).eval().forward(x), x);
  const y = await new nn.Dropout(1).forward(x).array() as number[];
  assert(y.every((value) => value === 0));
});

Deno.test("Dropout draws another mask at each call, the same from the same position", async () => {
  const x = ones([64], { device });
  const layer = new nn.Dropout(0.5, { key });
  const masks = [];
  for (let i = 0; i < 3; i++) masks.push(await layer.forward(x).array());
  assertNotEquals(masks[0], masks[1]);
  assertEquals(layer.position, 3);
  layer.eval().forward(x);
  assertEquals(layer.position, 3);
  const resumed = new nn.Dropout(0.5, { key });
  resumed.position = 2;
  assertEquals(await resumed.forward(x).array(), masks[2]);
  const other = new nn.Dropout(0.5, { key: new Key(1) });
  assertNotEquals(await other.forward(x).array(), masks[0]);
  assertThrows(() => resumed.position = -1, RangeError, "with position -1");
});

Deno.test("Dropout hands the gradient through its mask", async () => {
  const x = tensor(randomValues(32, 4), { device, requiresGrad: true });
  const y = new nn.Dropout(0.25, { key }).forward(x);
  y.sum().backward();
  const [out, input, gradient] = await Promise.all([y.data(), x.data(), x.grad!.data()]);
  assertClose(gradient, Float64Array.from(out, (v, i) => v / input[i]), 1e-12);
});

testOnDevices({
  name: "Dropout draws the same masks as on the reference device",
  fn: async (device) => {
    const masks = [device, reference].map((device) =>
      new nn.Dropout(0.3, { key }).forward(ones([7, 11], { device })).gt(0).data()
    );
    const [a, b] = await Promise.all(masks);
    assertEquals([...a], [...b]);
  },
});

Deno.test("Embedding starts with zeros at paddingIdx, which stays as it is", async () => {
  const layer = new nn.Embedding(4, 3, { paddingIdx: -1, key, device });
  assertEquals(layer.paddingIdx, 3);
  assertEquals(await layer.weight.select(0, 3).array(), [0, 0, 0]);
  assert((await layer.weight.narrow(0, 0, 3).data()).every((v: number) => v !== 0));
  layer.forward(tensor([3, 0], { dtype: "i32", device })).sum().backward();
  assertEquals(await layer.weight.grad!.sum(1).array(), [3, 0, 0, 0]);
  assert(layer.weight.isLeaf && layer.weight.requiresGrad);
  for (const paddingIdx of [4, -5, 1.5]) {
    assertThrows(
      () => new nn.Embedding(4, 3, { paddingIdx, device }),
      RangeError,
      `Cannot make Embedding with paddingIdx ${paddingIdx}: expected an integer from -4 to 3`,
    );
  }
});

Deno.test("BatchNorm refuses one value per channel in training only", async () => {
  const layer = new nn.BatchNorm2d(2, { device });
  const x = ones([1, 2, 1, 1], { device });
  for (const input of [x, zeros([0, 2, 3, 3], { device })]) {
    assertThrows(
      () => layer.forward(input),
      ShapeError,
      `Cannot apply BatchNorm2d to [${input.shape.join(", ")}] in training: expected at least 2 ` +
        `values per channel, found ${input.size / 2}`,
    );
  }
  assertEquals(await layer.num_batches_tracked!.item(), 0);
  assertClose(
    await layer.eval().forward(x).data(),
    [1, 1].map((v) => v / Math.sqrt(1 + 1e-5)),
    1e-12,
  );
});

Deno.test("BatchNorm hands gradients to input, weight and bias in evaluation too", async () => {
  const layer = new nn.BatchNorm1d(1, { eps: 0, device }).eval();
  layer.loadStateDict({
    weight: tensor([3], { device }),
    bias: tensor([1], { device }),
    running_mean: tensor([2], { device }),
    running_var: tensor([4], { device }),
    num_batches_tracked: tensor(0, { dtype: "i32", device }),
  });
  const x = tensor([[4], [8]], { device, requiresGrad: true });
  const y = layer.forward(x);
  assertEquals(await y.array(), [[4], [10]]);
  y.sum().backward();
  assertEquals(await x.grad!.array(), [[1.5], [1.5]]);
  assertEquals(await layer.weight!.grad!.array(), [4]);
  assertEquals(await layer.bias!.grad!.array(), [2]);
});

Deno.test("layers refuse inputs that do not fit, and say what they expected", () => {
  const image = zeros([2, 3, 4, 4], { device });
  const cases: [nn.TensorModule, Tensor, string][] = [
    [new nn.Linear(4, 2, { device }), zeros([2, 3], { device }), "expected the last axis to be 4"],
    [new nn.Conv2d(2, 1, { kernelSize: 3, device }), image, "expected images [N, 2, H, W]"],
    [new nn.BatchNorm2d(4, { device }), image, "expected 4 axes with 4 channels along axis 1"],
    [new nn.BatchNorm1d(3, { device }), image, "expected 2 to 3 axes with 3 channels along axis 1"],
    [new nn.GroupNorm(1, 2, { device }), image, "expected at least 2 axes with 2 channels"],
    [new nn.LayerNorm([4, 3], { device }), image, "expected the last axes to be [4, 3]"],
    [new nn.PReLU(2, { device }), image, "expected 2 channels along axis 1"],
    [new nn.Unflatten(1, [2, 2]), image, "expected the product 3"],
    [new nn.Unflatten(5, [2]), image, "Cannot unflatten dim 5 of [2, 3, 4, 4]: no such axis"],
    [new nn.Softmax({ dim: 4 }), image, "along dim 4"],
  ];
  for (const [layer, x, text] of cases) {
    assertThrows(() => layer.forward(x), ShapeError, text, layer.constructor.name);
  }
});

Deno.test("layers refuse settings without a meaning", () => {
  const cases: [() => unknown, string][] = [
    [() => new nn.Linear(-1, 2, { device }), "Linear with inFeatures -1"],
    [() => new nn.Linear(2, 1.5, { device }), "Linear with outFeatures 1.5"],
    [() => new nn.Conv2d(3, 4, { kernelSize: 0, device }), "make Conv2d with kernelSize 0"],
    [() => new nn.Conv2d(3, 4, { kernelSize: 3, groups: 2, device }), "in 2 groups"],
    [() => new nn.GroupNorm(2, 5, { device }), "5 channels in 2 groups"],
    [() => new nn.LayerNorm([], { device }), "LayerNorm over no axes"],
    [() => new nn.LayerNorm(0, { device }), "LayerNorm with normalizedShape 0"],
    [() => new nn.BatchNorm1d(2, { momentum: 2, device }), "BatchNorm1d with momentum 2"],
    [() => new nn.BatchNorm1d(2, { eps: -1, device }), "BatchNorm1d with eps -1"],
    [() => new nn.Dropout(1.1), "Dropout with p 1.1"],
    [() => new nn.Dropout(NaN), "Dropout with p NaN"],
    [() => new nn.Hardtanh({ minVal: 1, maxVal: 1 }), "Hardtanh from 1 to 1"],
    [() => new nn.Softplus({ beta: 0 }), "Softplus with beta 0"],
    [() => new nn.CELU({ alpha: 0 }), "CELU with alpha 0"],
    [() => new nn.GELU({ approximate: "erf" as "tanh" }), 'GELU with approximate "erf"'],
    [() => new nn.MaxPool2d({ kernelSize: 2, padding: 2 }), "padding of at most half"],
    [() => new nn.AdaptiveAvgPool2d(0), "make AdaptiveAvgPool2d with outputSize"],
  ];
  for (const [make, text] of cases) assertThrows(make, RangeError, text);
});

/** Layers with a batch of no samples, and the shape that they give. */
const empties: [(device: typeof reference) => nn.TensorModule, number[], number[]][] = [
  [(device) => new nn.Linear(4, 3, { device }), [0, 4], [0, 3]],
  [(device) => new nn.Linear(0, 3, { device }), [2, 0], [2, 3]],
  [(device) => new nn.Linear(4, 0, { device }), [2, 4], [2, 0]],
  [(device) => new nn.Conv2d(2, 3, { kernelSize: 3, device }), [0, 2, 5, 5], [0, 3, 3, 3]],
  [
    (device) => new nn.ConvTranspose2d(2, 3, { kernelSize: 3, device }),
    [0, 2, 5, 5],
    [0, 3, 7, 7],
  ],
  [(device) => new nn.BatchNorm2d(2, { device }).eval(), [0, 2, 5, 5], [0, 2, 5, 5]],
  [(device) => new nn.LayerNorm(4, { device }), [0, 4], [0, 4]],
  [(device) => new nn.GroupNorm(1, 2, { device }), [0, 2, 3], [0, 2, 3]],
  [() => new nn.MaxPool2d({ kernelSize: 2 }), [0, 2, 4, 4], [0, 2, 2, 2]],
  [() => new nn.AvgPool2d({ kernelSize: 2 }), [0, 2, 4, 4], [0, 2, 2, 2]],
  [() => new nn.AdaptiveAvgPool2d(1), [0, 2, 4, 4], [0, 2, 1, 1]],
  [() => new nn.Dropout(0.5), [0, 4], [0, 4]],
  [() => new nn.Flatten(), [0, 2, 3], [0, 6]],
  [() => new nn.Unflatten(1, [2, -1]), [0, 6], [0, 2, 3]],
  [() => new nn.ReLU(), [0], [0]],
  [(device) => new nn.PReLU(2, { device }), [0, 2, 3], [0, 2, 3]],
  [() => new nn.Softmax({ dim: 1 }), [0, 3], [0, 3]],
];

for (const on of devices) {
  Deno.test(`layers take batches of no samples, forward and backward, on ${on.kind}`, async () => {
    for (const [make, input, output] of empties) {
      const layer = make(on);
      const name = layer.constructor.name;
      const x = zeros(input, { device: on, requiresGrad: true });
      const y = layer.forward(x);
      assertEquals([...y.shape], output, name);
      y.sum().backward();
      assertEquals([...x.grad!.shape], input, name);
      for (const parameter of layer.parameters()) {
        const gradient = [...await parameter.grad!.data()];
        const want = name === "Linear" && input[0] === 2 && parameter.ndim === 1 ? 2 : 0;
        assert(gradient.every((value) => value === want), `${name}: ${gradient}`);
      }
    }
  });
}

Deno.test("layers give halves for halves, with the values of f32", async () => {
  for (const [make, shape, output] of empties.filter(([, input]) => input[0] === 0)) {
    const layer = make(reference).eval();
    const name = layer.constructor.name;
    const input = shape.with(0, 3);
    const values = randomValues(input.reduce((a, b) => a * b), 5);
    const half = tensor(values, { shape: input, device, dtype: "f16" });
    const y = layer.forward(half);
    assertEquals([y.dtype, ...y.shape], ["f16", ...output.with(0, 3)], name);
    assertClose(await y.data(), await layer.forward(half.to("f32")).data(), 1e-3, name);
    if (name !== "BatchNorm2d") continue;
    assertEquals(layer.train().forward(half).dtype, "f16", name);
  }
});

for (const on of devices) {
  Deno.test(`a step of a model frees all that it made, on ${on.kind}`, async () => {
    const convBlocks = [new nn.ConvBlockNode({ inChannels: 1, outChannels: 4, dropout: 0.1 })];
    const node = new nn.TinyCNNNode({ inputSize: 8, convBlocks });
    const model = node.build({ device: on, seed: 1 });
    const counts: number[] = [];
    for (let step = 0; step < 4; step++) {
      const scope = on.scope();
      const x = tensor(randomValues(128, step), { shape: [2, 1, 8, 8], device: on });
      const loss = model.forward(x).square().mean();
      model.zeroGrad();
      loss.backward();
      noGrad(() => model.parameters().forEach((p) => p.add_(p.grad!, -0.01)));
      scope.close();
      counts.push(on.memory().liveBuffers);
    }
    await on.sync();
    assertEquals(counts.slice(1), counts.slice(1).map(() => counts[0]));
  });
}
