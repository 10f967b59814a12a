import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import { Arena, placeOf, planArenas } from "../../core/optim/arena.ts";
import {
  Adam,
  AdamW,
  type Optimizer,
  type OptimizerStateDict,
  OptimizerStateError,
  RMSprop,
  SGD,
} from "../../core/optim/mod.ts";
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { devices, randomValues, reference } from "../util.ts";

function parametersOn(device: Device): Tensor[] {
  return [[3, 2], [70], []].map((shape, i) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tensor(randomValues(size, i + 1), { device, shape, requiresGrad: true });
  });
}

function step(optimizer: Optimizer, parameters: readonly Tensor[], t: number, skip = -1): void {
  optimizer.zeroGrad();
  parameters.forEach((p, i) => {
    if (i === skip) return;
    const g = tensor(randomValues(p.size, 50 + t * 7 + i), { device: p.device, shape: p.shape });
    p.mul(g).sum().backward();
  });
  optimizer.step();
}

async function numbersOf(parameters: readonly Tensor[]): Promise<number[][]> {
  return (await Promise.all(parameters.map((p) => p.data()))).map((data) => Array.from(data));
}

/** The dict with its tensors copied, as a checkpoint would. */
async function stored(dict: OptimizerStateDict, device: Device): Promise<OptimizerStateDict> {
  const state: Record<string, Record<string, number | Tensor>> = {};
  for (const [id, entry] of Object.entries(dict.state)) {
    state[id] = {};
    for (const [name, value] of Object.entries(entry)) {
      state[id][name] = typeof value === "number"
        ? value
        : tensor(await value.data(), { device, shape: value.shape });
    }
  }
  return { state, param_groups: JSON.parse(JSON.stringify(dict.param_groups)) };
}

const makes: Readonly<Record<string, (p: Tensor[]) => Optimizer>> = {
  SGD: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.5 }),
  "SGD without slots": (p) => new SGD(p, { lr: 0.1 }),
  Adam: (p) => new Adam([{ params: p.slice(0, 1), lr: 0.3 }, { params: p.slice(1) }], { lr: 0.1 }),
  AdamW: (p) => new AdamW(p, { lr: 0.1, betas: [0.8, 0.9] }),
  RMSprop: (p) => new RMSprop(p, { lr: 0.1, centered: true, momentum: 0.5 }),
};

for (const device of devices) {
  for (const [name, make] of Object.entries(makes)) {
    Deno.test(`${name} loadStateDict() continues with the same bits (${device.kind})`, async () => {
      const parameters = parametersOn(device);
      const first = make(parameters);
      for (let t = 0; t < 4; t++) step(first, parameters, t, t < 2 ? t : -1);
      const dict = await stored(first.stateDict(), device);
      const values = await numbersOf(parameters);
      for (let t = 4; t < 7; t++) step(first, parameters, t, t === 5 ? 1 : -1);
      const want = await numbersOf(parameters);

      const copies = parameters.map((p, i) =>
        tensor(Float64Array.from(values[i]), { device, shape: p.shape, requiresGrad: true })
      );
      const second = make(copies);
      // What the second one knew before must be gone.
      for (const p of copies) p.grad = p.gradSlot;
      second.groups.forEach((group) => group.lr = 0);
      second.step();
      second.groups.forEach((group) => group.lr = 77);
      second.loadStateDict(dict);
      for (let t = 4; t < 7; t++) step(second, copies, t, t === 5 ? 1 : -1);
      assertEquals(await numbersOf(copies), want);
    });
  }
}

Deno.test("stateDict() has PyTorch's structure and names", async () => {
  const parameters = parametersOn(reference);
  using optimizer = new Adam([
    { params: parameters.slice(0, 2), weightDecay: 0.5 },
    { params: parameters.slice(2), betas: [0.5, 0.25] },
  ]);
  assertEquals(optimizer.stateDict(), {
    state: {},
    param_groups: [
      { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.5, params: [0, 1] },
      { lr: 1e-3, betas: [0.5, 0.25], eps: 1e-8, weight_decay: 0, params: [2] },
    ],
  });
  step(optimizer, parameters, 0, 1);
  step(optimizer, parameters, 1, 1);
  const { state } = optimizer.stateDict();
  assertEquals(Object.keys(state), ["0", "2"]);
  assertEquals(Object.keys(state["2"]), ["step", "exp_avg", "exp_avg_sq"]);
  assertEquals(state["2"].step, 2);
  assertEquals((state["0"].exp_avg as Tensor).shape, [3, 2]);
  const [g0, g1] = [randomValues(1, 52)[0], randomValues(1, 59)[0]];
  assertEquals(await (state["2"].exp_avg as Tensor).item(), 0.5 * (0.5 * g0) + 0.5 * g1);
  using rmsprop = new RMSprop([tensor([1], { device: reference })], { centered: true });
  assertEquals(rmsprop.stateDict().param_groups, [{
    lr: 1e-2,
    alpha: 0.99,
    eps: 1e-8,
    weight_decay: 0,
    momentum: 0,
    centered: true,
    params: [0],
  }]);
  using sgd = new SGD([tensor([1], { device: reference })]);
  assertEquals(sgd.stateDict().param_groups, [{
    lr: 1e-3,
    momentum: 0,
    dampening: 0,
    nesterov: false,
    weight_decay: 0,
    params: [0],
  }]);
});

Deno.test("loadStateDict() takes what PyTorch adds, and its numbering", async () => {
  const x = tensor([1, 2], { device: reference, requiresGrad: true });
  using optimizer = new Adam([x]);
  const moments = { exp_avg: tensor([1, 2], { device: reference }), max_exp_avg_sq: null };
  optimizer.loadStateDict({
    state: { 7: { step: 3, ...moments, exp_avg_sq: tensor([3, 4], { device: reference }) } },
    param_groups: [{
      lr: 0.5,
      betas: [0.1, 0.2],
      eps: 1,
      weight_decay: 0.25,
      amsgrad: false,
      maximize: null,
      foreach: true,
      capturable: true,
      initial_lr: 3,
      params: [7],
    }],
  } as unknown as OptimizerStateDict);
  assertEquals(optimizer.groups[0].weightDecay, 0.25);
  assertEquals(optimizer.groups[0].betas, [0.1, 0.2]);
  const { state } = optimizer.stateDict();
  assertEquals(state["0"].step, 3);
  assertEquals(await (state["0"].exp_avg_sq as Tensor).array(), [3, 4]);
});

Deno.test("loadStateDict() lists everything that does not fit and changes nothing", async () => {
  const parameters = parametersOn(reference);
  using optimizer = new AdamW(parameters.slice(0, 2), { lr: 0.1 });
  step(optimizer, parameters.slice(0, 2), 0);
  const before = optimizer.stateDict();
  const kept = await (before.state["1"].exp_avg as Tensor).array();
  const bad = {
    state: {
      0: {
        step: 1.5,
        exp_avg: tensor([1], { device: reference }),
        exp_avg_sq: tensor(Int32Array.from([1, 2, 3, 4, 5, 6]), {
          device: reference,
          shape: [3, 2],
        }),
        max_exp_avg_sq: tensor([1], { device: reference }),
      },
      1: { step: 4, exp_avg: 3 },
      5: {},
    },
    param_groups: [{ lr: -1, betas: [0.9, 0.999], eps: 1e-8, amsgrad: true, params: [0, 1] }],
  } as unknown as OptimizerStateDict;
  const error = assertThrows(() => optimizer.loadStateDict(bad), OptimizerStateError);
  assertEquals(error.problems, [
    "group 0 has no weight_decay",
    "group 0 has amsgrad = true, which AdamW does not know",
    "parameter 0: expected step to be an integer of at least 0, found 1.5",
    "parameter 0: exp_avg has shape [1], expected [3, 2]",
    "parameter 0: exp_avg_sq has dtype i32, expected f32 or f16",
    "parameter 0: AdamW with these options has no max_exp_avg_sq",
    "parameter 1: exp_avg is number, expected a tensor",
    "parameter 1 has no exp_avg_sq",
    "no group has the parameter 5 of the state",
  ]);
  assertEquals(optimizer.lr, 0.1);
  assertEquals(await (optimizer.stateDict().state["1"].exp_avg as Tensor).array(), kept);
  const groups = before.param_groups;
  const load = (dict: unknown) => () => optimizer.loadStateDict(dict as OptimizerStateDict);
  assertThrows(
    load({ state: {}, param_groups: [] }),
    OptimizerStateError,
    "expected 1 groups, found 0",
  );
  assertThrows(load({}), OptimizerStateError, '"state" and "param_groups"');
  assertThrows(
    load({ state: {}, param_groups: [{ ...groups[0], params: [0] }] }),
    OptimizerStateError,
    "expected 2 parameters, found 1 parameters",
  );
  assertThrows(
    load({ state: {}, param_groups: [{ ...groups[0], lr: "fast" }] }),
    OptimizerStateError,
    "lr fast",
  );
});

Deno.test("Arena lays parameters out at bindable starts, in row-major order", async () => {
  for (const device of devices) {
    const a = tensor([[1, 2], [3, 4]], { device }).t();
    const b = tensor(randomValues(65, 1), { device });
    const arena = new Arena([a, b]);
    assertEquals([a.offset, b.offset, arena.values.size], [0, 64, 192]);
    assertEquals([a.strides, await a.array()], [[2, 1], [[1, 3], [2, 4]]]);
    assertEquals(Array.from(await b.data()), Array.from(randomValues(65, 1)));
    assertStrictEquals(a.storage, b.storage);
    assertEquals(arena.ranges((i) => i), [
      { first: 0, end: 1, start: 0, count: 64 },
      { first: 1, end: 2, start: 64, count: 128 },
    ]);
    assertEquals(arena.ranges(() => 3), [{ first: 0, end: 2, start: 0, count: 192 }]);
    assertEquals(arena.ranges((i) => i === 0 ? null : 1).length, 1);
    assertEquals(placeOf(b)?.index, 1);
    arena.release();
    assertEquals(placeOf(b), null);
    assertEquals(await a.array(), [[1, 3], [2, 4]]);
  }
});

Deno.test("planArenas() splits by dtype and size and keeps the order", () => {
  const [a, b, c, d] = [10, 70, 500, 10].map((n) =>
    tensor(new Float64Array(n), { device: reference })
  );
  const half = tensor([1], { device: reference, dtype: "f16" });
  assertEquals(planArenas([a, half, b, c, d]).map((plan) => plan.map((t) => t.size)), [
    [10, 70, 500, 10],
    [1],
  ]);
  assertEquals(planArenas([a, b, c, d], 200).map((plan) => plan.map((t) => t.size)), [
    [10, 70],
    [500],
    [10],
  ]);
});

Deno.test("new optimizers give all memory back when they and their parameters are disposed", () => {
  for (const device of devices) {
    const turn = () => {
      using _ = device.scope();
      const parameters = parametersOn(device);
      using optimizer = new Adam(parameters);
      step(optimizer, parameters, 0);
      for (const p of parameters) p.gradSlot!.dispose();
    };
    turn();
    const { liveBuffers } = device.memory();
    turn();
    assertEquals(device.memory().liveBuffers, liveBuffers);
  }
});
