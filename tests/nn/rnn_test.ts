import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  autocast,
  type Device,
  jit,
  Key,
  noGrad,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import {
  assertClose,
  compareWithReference,
  devices,
  gradcheck,
  randomValues,
  reference as device,
  sample,
  testOnDevices,
} from "../util.ts";

const key = new Key(3);

/** Output, state and cell of a layer as one vector. */
function everything(layer: nn.RNN | nn.GRU | nn.LSTM, x: Tensor, h?: Tensor, c?: Tensor): Tensor {
  if (layer instanceof nn.LSTM) {
    const [output, [hN, cN]] = layer.forward(x, h && c && [h, c]);
    return [output, hN, cN].map((t) => t.square().sum()).reduce((a, b) => a.add(b));
  }
  const [output, hN] = layer.forward(x, h);
  return output.square().sum().add(hN.square().sum());
}

type Make = (options: nn.RecurrentOptions, size: number) => nn.RNN | nn.GRU | nn.LSTM;

const makes: Record<string, Make> = {
  RNN: (options, size) => new nn.RNN(3, size, options),
  GRU: (options, size) => new nn.GRU(3, size, options),
  LSTM: (options, size) => new nn.LSTM(3, size, options),
};

/** A layer as a function of its input, its states and its parameters, for checks of gradients. */
function asFunction(make: Make, options: nn.RecurrentOptions, size: number) {
  return (on: Device) => {
    const layer = make({ ...options, key, device: on }, size);
    const names = layer.namedParameters().map(([name]) => name);
    const shapes = layer.parameters().map((p) => p.shape);
    const run = (x: Tensor, h: Tensor, c: Tensor, ...parameters: Tensor[]) => {
      names.forEach((name, i) =>
        Object.defineProperty(layer, name, { value: parameters[i], configurable: true })
      );
      return everything(layer, x, h, c);
    };
    return { run, shapes };
  };
}

for (const [name, make] of Object.entries(makes)) {
  Deno.test(`${name} has right gradients of first and second order`, async () => {
    const { run, shapes } = asFunction(make, { bidirectional: true }, 2)(device);
    const inputs = [[3, 2, 3], [2, 2, 2], [2, 2, 2], ...shapes];
    const samples = inputs.map((shape, i) => sample(shape, i + 1));
    await gradcheck(run, samples, name, { secondOrder: true });
  });

  testOnDevices({
    name: `${name} agrees with the reference over 12 steps`,
    fn: async (on) => {
      const options = { numLayers: 2, batchFirst: true, key };
      const layers = new Map([device, on].map((d) => [d, make({ ...options, device: d }, 16)]));
      const run = (x: Tensor, h: Tensor, c: Tensor) => everything(layers.get(x.device)!, x, h, c);
      const samples = [[4, 12, 3], [2, 4, 16], [2, 4, 16]].map((s, i) => sample(s, i + 5));
      // A sum of a thousand squares.
      await compareWithReference(on, run, samples, { rel: 1e-5, abs: 1e-5 }, name);
    },
  });

  Deno.test(`${name} draws all parameters uniformly in ±1/√H, each from a key of its own`, async () => {
    const layer = make({ numLayers: 2, key, device }, 64);
    const values = await Promise.all(layer.parameters().map((p) => p.data()));
    for (const list of values) {
      assert(list.every((v: number) => Math.abs(v) <= 0.125));
      assert(Math.max(...list) > 0.1 && Math.min(...list) < -0.1);
    }
    assertNotEquals([...values[2]], [...values[3]]);
  });
}

/**
 * Whether captured and plain steps agree to the bit: drivers of hardware contract products and sums in each
 * kernel another way, and on one GPU a gradient of GRU differed in its last bit.
 */
const isExact = (on: Device) => on.kind !== "webgpu" || on.traits.software;

/** Losses and last parameters of four steps. */
async function train(make: Make, on: Device, captured: boolean): Promise<number[]> {
  const layer = make({ numLayers: 2, bidirectional: true, dropout: 0.5, key, device: on }, 5);
  const turn = (x: Tensor) => {
    layer.zeroGrad();
    const loss = everything(layer, x);
    loss.backward();
    noGrad(() => layer.parameters().forEach((p) => p.add_(p.grad!, -0.05)));
    return loss;
  };
  const step = jit(turn, { verify: isExact(on) ? 2 : 0 });
  const losses: number[] = [];
  for (let i = 0; i < 4; i++) {
    const x = tensor(randomValues(18, i), { shape: [3, 2, 3], device: on });
    losses.push(await (captured ? step : turn)(x).item());
  }
  await step.verified();
  assertEquals(step.stats().captures, captured ? 1 : 0);
  const parameters = await Promise.all(layer.parameters().map((p) => p.data()));
  return [...losses, ...parameters.flatMap((values) => [...values])];
}

for (const on of devices) {
  Deno.test(`jit() trains recurrent layers to the same bits, on ${on.kind}`, async () => {
    // Compiling for a software adapter takes long, and the two others do nothing that is new to it.
    const names = on.kind === "webgpu" ? ["GRU"] : Object.keys(makes);
    for (const name of names) {
      const make = makes[name];
      const [captured, plain] = [await train(make, on, true), await train(make, on, false)];
      if (isExact(on)) assertEquals(captured, plain, name);
      else assertClose(captured, plain, 1e-6, name);
    }
  });
}

Deno.test("a recurrent layer is its cell, applied step by step", async () => {
  const layer = new nn.LSTM(3, 4, { key, device });
  const cell = new nn.LSTMCell(3, 4, { device });
  cell.loadStateDict(
    Object.fromEntries(
      Object.entries(layer.stateDict()).map(([k, v]) => [k.replace("_l0", ""), v]),
    ),
  );
  const x = tensor(randomValues(30, 1), { shape: [5, 2, 3], device });
  const [output, [hN, cN]] = layer.forward(x);
  let state: nn.LSTMState | undefined;
  for (let t = 0; t < 5; t++) {
    state = cell.forward(x.select(0, t), state);
    assertClose(await state[0].data(), await output.select(0, t).data(), 1e-12, `step ${t}`);
  }
  assertClose(await state![0].data(), await hN.data(), 1e-12);
  assertClose(await state![1].data(), await cN.data(), 1e-12);
});

Deno.test("recurrent layers drop outputs between layers in training only", async () => {
  const x = tensor(randomValues(60, 2), { shape: [5, 4, 3], device });
  const options = { numLayers: 2, key, device };
  const plain = new nn.GRU(3, 6, options);
  const dropping = new nn.GRU(3, 6, { ...options, dropout: 1 });
  assertEquals(Object.keys(dropping.stateDict()), Object.keys(plain.stateDict()));
  const [want] = plain.forward(x);
  assertEquals(await dropping.eval().forward(x)[0].array(), await want.array());
  const [output, hN] = dropping.train().forward(x);
  // The second layer sees zeros, whatever the input is.
  const [other] = dropping.forward(x.mul(2));
  assertEquals(await output.array(), await other.array());
  assertNotEquals(await output.array(), await want.array());
  assertEquals(await hN.select(0, 0).array(), await plain.forward(x)[1].select(0, 0).array());
});

Deno.test("recurrent layers have PyTorch's numbers of parameters and keys", () => {
  const lstm = new nn.LSTM(10, 20, { numLayers: 2, bidirectional: true, device });
  // 4·20 rows over 10 + 20 inputs and two biases; then over 40 + 20; all twice.
  assertEquals(lstm.parameterCount, 2 * (80 * (10 + 20 + 2) + 80 * (40 + 20 + 2)));
  assertEquals(Object.keys(lstm.stateDict()).slice(4, 8), [
    "weight_ih_l0_reverse",
    "weight_hh_l0_reverse",
    "bias_ih_l0_reverse",
    "bias_hh_l0_reverse",
  ]);
  assertEquals(new nn.GRU(10, 20, { bias: false, device }).parameterCount, 60 * 30);
  assertEquals(new nn.RNN(10, 20, { device }).parameterCount, 20 * 32);
});

Deno.test("recurrent layers give halves for halves, and run in mixed precision", async () => {
  const layer = new nn.LSTM(3, 4, { key, device });
  const x = tensor(randomValues(24, 7), { shape: [4, 2, 3], device });
  const [want] = layer.forward(x);
  const [half, [hN, cN]] = layer.forward(x.to("f16"));
  assertEquals([half.dtype, hN.dtype, cN.dtype], ["f16", "f16", "f16"]);
  assertClose(await half.data(), await want.data(), 2e-3);
  const mixed = autocast("f16", () => layer.forward(x))[0];
  assertEquals(mixed.dtype, "f32");
  assertClose(await mixed.data(), await want.data(), 2e-3);
  mixed.sum().backward();
  assertEquals(layer.parameters().map((p) => p.grad!.dtype), ["f32", "f32", "f32", "f32"]);
});

for (const on of devices) {
  Deno.test(`a step of a recurrent layer frees all that it made, on ${on.kind}`, async () => {
    const layer = new nn.LSTM(3, 8, { key, device: on });
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      const scope = on.scope();
      const x = tensor(randomValues(60, i), { shape: [5, 4, 3], device: on });
      layer.zeroGrad();
      everything(layer, x).backward();
      noGrad(() => layer.parameters().forEach((p) => p.add_(p.grad!, -0.01)));
      scope.close();
      counts.push(on.memory().liveBuffers);
    }
    await on.sync();
    assertEquals(counts.slice(1), counts.slice(1).map(() => counts[0]));
  });
}

Deno.test("recurrent layers refuse what does not fit, and say what they expected", () => {
  const layer = new nn.LSTM(3, 4, { bidirectional: true, device });
  const x = zeros([5, 2, 3], { device });
  assertThrows(
    () => layer.forward(zeros([5, 2, 4], { device })),
    ShapeError,
    "Cannot apply LSTM to [5, 2, 4]: expected [T, N, 3] or [T, 3] with at least one step",
  );
  assertThrows(() => layer.forward(zeros([0, 2, 3], { device })), ShapeError, "at least one step");
  const [h, wrong] = [zeros([2, 2, 4], { device }), zeros([1, 2, 4], { device })];
  assertThrows(
    () => layer.forward(x, [h, wrong]),
    ShapeError,
    "Cannot apply LSTM with c0 [1, 2, 4]: expected [2, 2, 4] for an input of [5, 2, 3]",
  );
  const cell = new nn.GRUCell(3, 4, { device });
  assertThrows(() => cell.forward(x), ShapeError, "expected [N, 3] or [3]");
  assertThrows(
    () => cell.forward(zeros([2, 3], { device }), zeros([3, 4], { device })),
    ShapeError,
    "Cannot apply GRUCell with h [3, 4]: expected [2, 4]",
  );
  const projected = { projSize: 2, device } as nn.RecurrentOptions;
  const cases: [() => unknown, string][] = [
    [() => new nn.LSTM(3, 4, projected), "make LSTM with projSize: projections are not supported"],
    [() => new nn.GRU(0, 4, { device }), "GRU with inputSize 0"],
    [() => new nn.GRU(3, 4, { numLayers: 0, device }), "GRU with numLayers 0"],
    [() => new nn.GRU(3, 4, { dropout: 1.5, device }), "GRU with dropout 1.5"],
    [() => new nn.RNN(3, 4, { nonlinearity: "elu" as "relu", device }), 'nonlinearity "elu"'],
    [() => new nn.LSTMCell(3, 1.5, { device }), "LSTMCell with hiddenSize 1.5"],
  ];
  for (const [make, text] of cases) assertThrows(make, RangeError, text);
});
