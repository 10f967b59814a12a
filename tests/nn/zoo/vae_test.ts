import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  Adam,
  jit,
  Key,
  manualSeed,
  noGrad,
  ones,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../../core/mod.ts";
import {
  Conv3x3NormActNode,
  LinearNode,
  Node,
  NoopNode,
  SequentialNode,
  UnflattenNode,
  UpsampleConvNormActNode,
  VAE,
  vaeLoss,
  VAENode,
} from "../../../nn/mod.ts";
import {
  assertClose,
  compareWithReference,
  cpu,
  devices,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../../util.ts";

const device = reference;

/** A variational autoencoder of few numbers. */
const small = () => new VAENode({ sizes: [1, 4, 4], latentDim: 3 });

/** One of convolutions. */
const convolutional = () =>
  new VAENode({
    sizes: [2, 8, 8],
    latentDim: 8,
    encoder: new Conv3x3NormActNode({ outChannels: 8, stride: 2 }),
    decoder: new SequentialNode({
      parts: [
        new LinearNode({ outFeatures: 8 * 4 * 4 }),
        new UnflattenNode({ sizes: [8, 4, 4] }),
        new UpsampleConvNormActNode({
          outChannels: 2,
          norm: new NoopNode(),
          activation: new NoopNode(),
        }),
      ],
    }),
  });

Deno.test("VAENode builds LegoML's perceptrons: 415,024 parameters", () => {
  const node = new VAENode();
  const model = node.build({ device, seed: 42 });
  assert(model instanceof VAE);
  assertEquals(model.parameterCount, 415_024);
  const shapes = model.namedParameters().map(([name, t]) => [name, [...t.shape]]);
  assertEquals(shapes, [
    ["encoder.1.weight", [256, 784]],
    ["encoder.1.bias", [256]],
    ["mu.weight", [16, 256]],
    ["mu.bias", [16]],
    ["logvar.weight", [16, 256]],
    ["logvar.bias", [16]],
    ["decoder.0.0.weight", [256, 16]],
    ["decoder.0.0.bias", [256]],
    ["decoder.0.2.weight", [784, 256]],
    ["decoder.0.2.bias", [784]],
  ]);
  assertEquals(node.outputShape([1, 28, 28]), [1, 28, 28]);
});

Deno.test("vaeLoss() sums over a sample and the latent dimensions and averages over the batch", async () => {
  const [n, size, latent] = [3, 4, 5];
  const values = (count: number, seed: number) => [...randomValues(count, seed, -1.5, 1.5)];
  const [r, m, l] = [values(n * size, 1), values(n * latent, 2), values(n * latent, 3)];
  const x = [...randomValues(n * size, 4, 0, 1)];
  const sum = (a: number[]) => a.reduce((p, q) => p + q, 0);
  const bce = sum(
    r.map((v, i) => x[i] * Math.log1p(Math.exp(-v)) + (1 - x[i]) * Math.log1p(Math.exp(v))),
  ) / n;
  const mse = sum(r.map((v, i) => (v - x[i]) ** 2)) / n;
  const kl = sum(m.map((v, i) => -0.5 * (1 + l[i] - v * v - Math.exp(l[i])))) / n;
  const place = (data: number[], shape: number[]) => tensor(data, { device, shape });
  const output = {
    reconstruction: place(r, [n, 2, 2]),
    mu: place(m, [n, latent]),
    logvar: place(l, [n, latent]),
  };
  const target = place(x, [n, 2, 2]);
  const got = vaeLoss(output, target, { beta: 4 });
  const items = await Promise.all([got.reconstruction, got.kl, got.total].map((t) => t.item()));
  assertClose(items, [bce, kl, bce + 4 * kl], 1e-7);
  const squares = vaeLoss(output, target, { reconstructionLoss: "mse" });
  assertClose([await squares.total.item()], [mse + kl], 1e-7);
  // Beta as a tensor, for steps that change it.
  const scaled = vaeLoss(output, target, { beta: place([4], []) });
  assertClose([await scaled.total.item()], [bce + 4 * kl], 1e-7);
});

Deno.test("the divergence is the integral of its definition, and keeps its digits near 0", async () => {
  const divergence = async (mu: number, logvar: number, device = reference) => {
    const [m, l] = [mu, logvar].map((v) => tensor([[v]], { device }));
    const x = zeros([1, 1], { device });
    return await vaeLoss({ reconstruction: x, mu: m, logvar: l }, x).kl.item();
  };
  for (const [mu, logvar] of [[0.5, -0.75], [-1, 0.5], [0, 1]]) {
    // ∫ q·log(q / p) by the trapezium rule, which is exact to many digits for such functions.
    const deviation = Math.exp(logvar / 2);
    const step = deviation / 64;
    let integral = 0;
    for (let i = -1024; i <= 1024; i++) {
      const z = mu + i * step;
      const [a, b] = [-0.5 * ((z - mu) / deviation) ** 2 - logvar / 2, -0.5 * z * z];
      integral += step * Math.exp(a) / Math.sqrt(2 * Math.PI) * (a - b);
    }
    assertClose([await divergence(mu, logvar)], [integral], 1e-9);
  }
  assertEquals(await divergence(0, 0), 0);
  // (e^λ − 1 − λ) / 2 ≈ λ² / 4: (e^λ − 1) − λ keeps four digits of it where e^λ − (1 + λ) keeps one.
  const small = Math.fround(1e-2);
  const want = (Math.expm1(small) - small) / 2;
  for (const device of devices) {
    assertClose([await divergence(0, small, device)], [want], { rel: 1e-4, abs: 0 }, device.kind);
  }
});

Deno.test("gradients of vaeLoss() are those of central differences", async () => {
  for (const reconstructionLoss of ["bce", "mse"] as const) {
    const x = tensor(randomValues(6, 8, 0, 1), { device, shape: [2, 3] });
    await gradcheck(
      (reconstruction, mu, logvar) =>
        vaeLoss({ reconstruction, mu, logvar }, x, { beta: 2, reconstructionLoss }).total,
      [sample([2, 3], 1), sample([2, 4], 2), sample([2, 4], 3)],
      reconstructionLoss,
    );
  }
});

testOnDevices({
  name: "vaeLoss() and its gradients agree with the reference",
  fn: async (device) => {
    const values = randomValues(6, 8, 0, 1);
    await compareWithReference(
      device,
      (reconstruction, mu, logvar) => {
        const x = tensor(values, { device: reconstruction.device, shape: [2, 3] });
        return vaeLoss({ reconstruction, mu, logvar }, x, { beta: 2 }).total;
      },
      [sample([2, 3], 1), sample([2, 4], 2), sample([2, 4], 3)],
      5e-6,
      "vaeLoss",
    );
  },
});

Deno.test("vaeLoss() refuses what does not fit", () => {
  const x = zeros([2, 3], { device });
  const mu = zeros([2, 4], { device });
  const output = { reconstruction: x, mu, logvar: mu };
  const cases: [() => unknown, new (message?: string) => RangeError, string][] = [
    [() => vaeLoss(output, zeros([2, 4], { device })), ShapeError, "reconstruction [2, 3]"],
    [() => vaeLoss({ ...output, logvar: x }, x), ShapeError, "logvar [2, 3]"],
    [
      () => vaeLoss({ ...output, mu: x, logvar: x }, zeros([3, 3], { device })),
      ShapeError,
      "[3, 3]",
    ],
    [() => vaeLoss(output, x, { beta: -1 }), RangeError, "beta -1"],
    [() => vaeLoss(output, x, { beta: NaN }), RangeError, "beta NaN"],
    [() => vaeLoss(output, x, { beta: x }), RangeError, "beta [2, 3]"],
    [
      () => vaeLoss(output, x, { reconstructionLoss: "l1" as "mse" }),
      RangeError,
      'reconstructionLoss "l1"',
    ],
  ];
  for (const [call, kind, text] of cases) {
    const error = assertThrows(call, kind, text);
    assert(error.message.startsWith("Cannot compute the vaeLoss "), error.message);
  }
});

Deno.test("reparameterize() draws mu + e^(logvar/2)·ε in training and gives mu in evaluation", async () => {
  const model = small().build({ device, seed: 3 });
  const shape = [4000, 3];
  const [mu, logvar] = [ones(shape, { device }).mul(2), ones(shape, { device }).mul(Math.log(9))];
  const z = model.reparameterize(mu, logvar);
  assertClose([await z.mean().item()], [2], 0.1);
  assertClose([await z.var().item()], [9], 0.5);
  assertEquals(model.position, 1);
  assertNotEquals(await model.reparameterize(mu, logvar).data(), await z.data());
  // The n-th draw is a function of the key and n.
  model.position = 0;
  assertEquals(await model.reparameterize(mu, logvar).data(), await z.data());
  model.eval();
  assert(model.reparameterize(mu, logvar) === mu);
  assertEquals(model.position, 1);
  assertThrows(() => model.position = -1, RangeError, "position -1");
});

Deno.test("gradients pass through the draw to mu and logvar", async () => {
  const model = small().build({ device, seed: 3 });
  await gradcheck(
    (mu, logvar) => {
      model.position = 0;
      return model.reparameterize(mu, logvar);
    },
    [sample([2, 3], 1), sample([2, 3], 2)],
    "reparameterize",
  );
});

Deno.test("captured steps draw other noise each time, that of uncaptured ones", async () => {
  const runs: ArrayLike<number>[][] = [];
  for (const captured of [false, true]) {
    const model = small().build({ device, seed: 3 });
    const pass = (x: Tensor) => noGrad(() => model.forward(x));
    const step = captured ? jit(pass) : pass;
    const x = tensor(randomValues(32, 1, 0, 1), { device, shape: [2, 1, 4, 4] });
    const found: ArrayLike<number>[] = [];
    for (let i = 0; i < 3; i++) found.push(await step(x).data());
    assertEquals(model.position, 3);
    runs.push(found);
  }
  assertEquals(runs[1], runs[0]);
  assertNotEquals(runs[0][0], runs[0][1]);
});

Deno.test("sample() decodes standard normal numbers of its key, without gradients", async () => {
  const model = small().build({ device, seed: 3 });
  const images = model.sample(5, { key: new Key(7) });
  assertEquals(images.shape, [5, 1, 4, 4]);
  assert(!images.requiresGrad);
  assertEquals(await model.sample(5, { key: new Key(7) }).data(), await images.data());
  assertThrows(() => model.sample(0), RangeError, "Cannot sample from VAE 0 times");
});

Deno.test("VAENode comes back from JSON, with the same bits", async () => {
  for (const node of [new VAENode(), small(), convolutional()]) {
    const copy = Node.fromJSON(JSON.parse(JSON.stringify(node)));
    assertEquals(copy, node);
    const [a, b] = [node, copy].map((n) => n.build({ device, seed: 5 }).eval());
    const x = tensor(randomValues(2 * 784, 1, 0, 1).slice(0, 2 * sizeOf(node.sizes)), {
      device,
      shape: [2, ...node.sizes],
    });
    assertEquals(await b.forward(x).data(), await a.forward(x).data());
    assertEquals(a.forward(x).shape, x.shape);
  }
});

function sizeOf(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}

Deno.test("VAENode names the part that does not fit", () => {
  assertThrows(
    () => new VAENode().build({ device, inputShape: [3, 28, 28] }),
    ShapeError,
    "Cannot build VAENode: expected an input of shape [1, 28, 28], found [3, 28, 28]",
  );
  assertThrows(
    () => new VAENode({ decoder: new LinearNode({ outFeatures: 784 }) }).build({ device }),
    ShapeError,
    "Cannot build VAENode: expected a decoder whose output has the shape [1, 28, 28], found [784]",
  );
  assertThrows(
    () =>
      new VAENode({ encoder: new LinearNode({ outFeatures: 4, inFeatures: 5 }) }).build({ device }),
    ShapeError,
    "Cannot place VAENode.encoder: ",
  );
});

for (const [label, make] of [["perceptrons", small], ["convolutions", convolutional]] as const) {
  Deno.test(`a VAE of ${label} overfits one batch of bits`, async () => {
    const device = cpu ?? reference;
    manualSeed(1);
    const node = make();
    const model = node.build({ device, seed: 6 });
    const shape = [8, ...node.sizes];
    const bits = [...randomValues(sizeOf(shape), 9)].map((v) => v > 0 ? 1 : 0);
    const x = tensor(bits, { device, shape });
    const optimizer = new Adam(model.parameters(), { lr: 0.01 });
    const step = jit((x: Tensor) => {
      const { total, reconstruction } = vaeLoss(model.reconstruct(x), x, { beta: 0.01 });
      optimizer.zeroGrad();
      total.backward();
      optimizer.step();
      return reconstruction;
    });
    const chance = sizeOf(node.sizes) * Math.LN2;
    let loss = Infinity;
    for (let i = 0; i < 400 && !(loss < 0.1 * chance); i++) {
      const result = step(x);
      if (i % 20 === 19) loss = await result.item();
    }
    assert(loss < 0.1 * chance, `the loss is ${loss} of ${chance} by chance`);
    step.reset();
    // In evaluation the most likely bits are those of the batch.
    const logits = await noGrad(() => model.eval().forward(x)).data();
    const right = bits.filter((bit, i) => (logits[i] > 0 ? 1 : 0) === bit).length;
    assert(right >= 0.97 * bits.length, `${right} of ${bits.length} bits`);
  });
}
