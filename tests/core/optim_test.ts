import { type Device, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import { Adam, AdamW, type Optimizer, RMSprop, SGD } from "../../core/optim/mod.ts";
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  adam,
  type Plain,
  plain,
  recur,
  type Recurrence,
  rmsprop,
  sgd,
  STEPS,
} from "./optim_rules.ts";
import { assertClose, devices, randomValues, reference, testOnDevices } from "../util.ts";

function place(device: Device, { shape, start }: Plain): Tensor {
  return tensor(start, { device, shape, requiresGrad: true });
}

/** One step with the gradients of all parameters at `t`, which backward() brings. */
function step(
  optimizer: Optimizer,
  parameters: readonly Tensor[],
  plains: readonly Plain[],
  t: number,
) {
  optimizer.zeroGrad();
  parameters.forEach((parameter, i) => {
    const gradient = plains[i].gradients[t];
    if (gradient === null || parameter.size === 0) return;
    const { device, shape } = parameter;
    parameter.mul(tensor(gradient, { device, shape })).sum().backward();
  });
  optimizer.step();
}

type Make = (params: Tensor[]) => Optimizer;

const cases: readonly [string, Make, Recurrence][] = [
  ["SGD plain", (p) => new SGD(p, { lr: 0.1 }), sgd({ lr: 0.1 })],
  [
    "SGD weightDecay",
    (p) => new SGD(p, { lr: 0.1, weightDecay: 0.3 }),
    sgd({ lr: 0.1, weightDecay: 0.3 }),
  ],
  ["SGD momentum", (p) => new SGD(p, { lr: 0.1, momentum: 0.9 }), sgd({ lr: 0.1, momentum: 0.9 })],
  [
    "SGD dampening",
    (p) => new SGD(p, { lr: 0.1, momentum: 0.8, dampening: 0.4 }),
    sgd({ lr: 0.1, momentum: 0.8, dampening: 0.4 }),
  ],
  [
    "SGD nesterov, weightDecay",
    (p) => new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.05 }),
    sgd({ lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.05 }),
  ],
  ["Adam", (p) => new Adam(p), adam({})],
  [
    "Adam all options",
    (p) => new Adam(p, { lr: 0.05, betas: [0.8, 0.95], eps: 1e-4, weightDecay: 0.2 }),
    adam({ lr: 0.05, betas: [0.8, 0.95], eps: 1e-4, weightDecay: 0.2 }),
  ],
  ["AdamW", (p) => new AdamW(p), adam({ weightDecay: 0.01, decoupled: true })],
  [
    "AdamW all options",
    (p) => new AdamW(p, { lr: 0.05, betas: [0.8, 0.95], eps: 1e-4, weightDecay: 0.2 }),
    adam({ lr: 0.05, betas: [0.8, 0.95], eps: 1e-4, weightDecay: 0.2, decoupled: true }),
  ],
  ["RMSprop", (p) => new RMSprop(p), rmsprop({})],
  [
    "RMSprop momentum",
    (p) => new RMSprop(p, { lr: 0.02, alpha: 0.9, momentum: 0.7 }),
    rmsprop({ lr: 0.02, alpha: 0.9, momentum: 0.7 }),
  ],
  [
    "RMSprop centered, weightDecay",
    (p) => new RMSprop(p, { alpha: 0.9, eps: 1e-3, centered: true, weightDecay: 0.1 }),
    rmsprop({ alpha: 0.9, eps: 1e-3, centered: true, weightDecay: 0.1 }),
  ],
  [
    "RMSprop centered, momentum",
    (p) => new RMSprop(p, { alpha: 0.9, centered: true, momentum: 0.7 }),
    rmsprop({ alpha: 0.9, centered: true, momentum: 0.7 }),
  ],
];

const shapes = [[], [1], [5], [64], [3, 7], [0], [131], [2, 3, 2, 5]];

async function follow(device: Device, make: Make, rule: Recurrence, skips: boolean, label: string) {
  const plains = shapes.map((shape, i) => plain(shape, i + 1, skips ? [i, i + 1, 2 * i] : []));
  const parameters = plains.map((p) => place(device, p));
  const optimizer = make(parameters);
  for (let t = 0; t < STEPS; t++) step(optimizer, parameters, plains, t);
  const got = await Promise.all(parameters.map((p) => p.data()));
  const tolerance = device === reference ? 1e-12 : 2e-6;
  plains.forEach((p, i) =>
    assertClose(got[i], recur(p, rule), tolerance, `${label}, parameter ${i} of [${p.shape}]`)
  );
  optimizer.dispose();
}

for (const [name, make, rule] of cases) {
  Deno.test(`${name}: step() follows the recurrence on the reference`, async () => {
    await follow(reference, make, rule, false, name);
    await follow(reference, make, rule, true, `${name} with missing gradients`);
  });
  testOnDevices({
    name: `${name}: step() follows the recurrence on the device`,
    fn: async (device) => {
      await follow(device, make, rule, false, name);
      await follow(device, make, rule, true, `${name} with missing gradients`);
    },
  });
}

testOnDevices({
  name: "step() changes a large transposed parameter on the device",
  fn: async (device) => {
    const values = randomValues(500 * 701, 1);
    const wide = tensor(values, { device, shape: [500, 701] });
    const parameter = wide.t();
    parameter.requiresGrad = true;
    const optimizer = new Adam([parameter], { lr: 0.1 });
    const g = randomValues(500 * 701, 2);
    parameter.mul(tensor(g, { device, shape: [701, 500] })).sum().backward();
    optimizer.step();
    const got = await parameter.data();
    for (let at = 0; at < got.length; at += 997) {
      const start = values[(at % 500) * 701 + Math.floor(at / 500)];
      assertClose(
        [got[at]],
        [start - 0.1 * g[at] / (Math.abs(g[at]) + 1e-8)],
        2e-6,
        `element ${at}`,
      );
    }
    optimizer.dispose();
  },
});

function dispatchesOf(device: Device, fn: () => void): number {
  const before = device.work().dispatches;
  fn();
  return device.work().dispatches - before;
}

for (const device of devices) {
  Deno.test(`step() is one dispatch for each arena (${device.kind})`, () => {
    for (const [name, make] of cases) {
      const plains = shapes.map((shape, i) => plain(shape, i + 1));
      const parameters = plains.map((p) => place(device, p));
      using optimizer = make(parameters);
      for (const parameter of parameters) parameter.grad = parameter.gradSlot;
      optimizer.step();
      assertEquals(dispatchesOf(device, () => optimizer.step()), 1, name);
      parameters[3].grad = null;
      parameters[4].grad = null;
      assertEquals(dispatchesOf(device, () => optimizer.step()), 2, `${name}, with a gap`);
      for (const parameter of parameters) parameter.grad = parameter.gradSlot;
      const counted = !name.startsWith("SGD") && !name.startsWith("RMSprop");
      assertEquals(
        dispatchesOf(device, () => optimizer.step()),
        counted ? 3 : 1,
        `${name}, steps differ`,
      );
      optimizer.zeroGrad();
      assertEquals(dispatchesOf(device, () => optimizer.step()), 0, `${name}, no gradients`);
    }
  });

  Deno.test(`step() is one dispatch for each group (${device.kind})`, () => {
    const plains = shapes.map((shape, i) => plain(shape, i + 1));
    const parameters = plains.map((p) => place(device, p));
    using optimizer = new AdamW([
      { params: parameters.slice(0, 4) },
      { params: parameters.slice(4), weightDecay: 0 },
    ]);
    for (const parameter of parameters) parameter.grad = parameter.gradSlot;
    optimizer.step();
    assertEquals(dispatchesOf(device, () => optimizer.step()), 2);
  });
}

Deno.test("zeroGrad() makes the next backward() overwrite, and backward() adds otherwise", async () => {
  const x = tensor([1, 2, 3], { device: reference, requiresGrad: true });
  using optimizer = new SGD([x], { lr: 1 });
  x.sum().backward();
  x.mul(10).sum().backward();
  assertEquals(await x.grad!.array(), [11, 11, 11]);
  assertStrictEquals(x.grad, x.gradSlot);
  optimizer.zeroGrad();
  assertEquals(x.grad, null);
  x.mul(5).sum().backward();
  assertEquals(await x.grad!.array(), [5, 5, 5]);
  optimizer.step();
  assertEquals(await x.array(), [-4, -3, -2]);
});

Deno.test("lr sets all groups, and groups may be changed between steps", async () => {
  const [a, b] = [1, 2].map((v) => tensor([v], { device: reference, requiresGrad: true }));
  using optimizer = new SGD([{ params: [a] }, { params: [b], lr: 0.5 }], { lr: 0.25 });
  assertEquals(optimizer.lr, 0.25);
  const turn = () => {
    optimizer.zeroGrad();
    a.add(b).sum().backward();
    optimizer.step();
    return Promise.all([a.item(), b.item()]);
  };
  assertEquals(await turn(), [0.75, 1.5]);
  optimizer.lr = 1;
  assertEquals(optimizer.groups.map((g) => g.lr), [1, 1]);
  assertEquals(await turn(), [-0.25, 0.5]);
  optimizer.groups[1].lr = 0;
  assertEquals(await turn(), [-1.25, 0.5]);
});

Deno.test("step() takes gradients that were set by hand or made with createGraph", async () => {
  const x = tensor([1, 2], { device: reference, requiresGrad: true });
  using optimizer = new SGD([x], { lr: 1 });
  x.grad = tensor([[0.5], [0.25]], { device: reference }).reshape([2]);
  optimizer.step();
  assertEquals(await x.array(), [0.5, 1.75]);
  optimizer.zeroGrad();
  x.square().sum().backward({ createGraph: true });
  optimizer.step();
  assertEquals(await x.array(), [-0.5, -1.75]);
  x.grad = tensor([1, 2, 3], { device: reference });
  assertThrows(() => optimizer.step(), RangeError, "a gradient of shape [3]");
});

Deno.test("step() counts as a change in place of what autograd saved", () => {
  const x = tensor([1, 2], { device: reference, requiresGrad: true });
  using optimizer = new SGD([x], { lr: 1 });
  const loss = x.square().sum();
  loss.backward({ retainGraph: true });
  optimizer.step();
  assertThrows(() => loss.backward(), Error, "changed in place");
});

for (const device of devices) {
  Deno.test({
    name: `step() changes f16 parameters with f32 slots (${device.kind})`,
    ignore: !device.traits.f16,
    fn: async () => {
      const start = randomValues(200, 1);
      const half = noGrad(() => tensor(start, { device, dtype: "f16" }));
      half.requiresGrad = true;
      const full = tensor(start, { device, requiresGrad: true });
      using optimizer = new Adam([full, half], { lr: 0.01 });
      const slots = optimizer.stateDict;
      for (let t = 0; t < 5; t++) {
        optimizer.zeroGrad();
        const g = tensor(randomValues(200, 10 + t, -1e-3, 1e-3), { device });
        half.mul(g.to("f16")).sum().backward();
        full.mul(g).sum().backward();
        optimizer.step();
      }
      assertEquals([half.dtype, half.grad!.dtype], ["f16", "f16"]);
      const [got, want] = await Promise.all([half.data(), full.data()]);
      assertClose(got, want, 5e-3, "f16 against f32");
      const slot = slots.call(optimizer).state["1"]["exp_avg_sq"] as Tensor;
      assertEquals(slot.dtype, "f32");
      if ((await slot.data()).some((v) => v === 0)) {
        throw new Error("a square was lost to underflow");
      }
    },
  });
}

Deno.test("eps 0 leaves elements that never had a gradient, and the padding, alone", async () => {
  for (const device of devices) {
    const makes: Make[] = [
      (p) => new Adam(p, { eps: 0, lr: 1 }),
      (p) => new RMSprop(p, { eps: 0, lr: 1, centered: true, momentum: 0.5 }),
    ];
    for (const make of makes) {
      const parameters = [3, 4].map((v) => tensor([v, v], { device, requiresGrad: true }));
      using optimizer = make(parameters);
      parameters[0].mul(tensor([1, 0], { device })).sum().backward();
      parameters[1].mul(tensor([0, 0], { device })).sum().backward();
      optimizer.step();
      const storage = parameters[0].storage;
      const all = parameters[0].alias({ shape: [storage.count], strides: [1], offset: 0 });
      const values = Array.from(await all.data());
      assertEquals([values[1], values[64], values[65]], [3, 4, 4]);
      assertEquals(values.filter((v, i) => i % 64 > 1 && v !== 0), []);
    }
  }
});

Deno.test("new Adam() refuses options without meaning and parameters it cannot hold", () => {
  const leaf = () => tensor([1], { device: reference, requiresGrad: true });
  const x = leaf();
  assertThrows(() => new Adam([x], { lr: -1 }), RangeError, "lr -1");
  assertThrows(() => new Adam([x], { betas: [0.9, 1] }), RangeError, "betas[1] 1");
  assertThrows(() => new Adam([x], { eps: NaN }), RangeError, "eps NaN");
  assertThrows(() => new SGD([x], { nesterov: true }), RangeError, "momentum above 0");
  assertThrows(() => new RMSprop([x], { alpha: -0.5 }), RangeError, "alpha -0.5");
  const misspelt = { params: [x], weightdecay: 1 };
  assertThrows(() => new SGD([misspelt]), RangeError, "unknown options weightdecay");
  assertThrows(() => new Adam([]), RangeError, "without parameters");
  assertThrows(() => new Adam([{ params: [] }]), RangeError, "without parameters");
  assertThrows(() => new Adam([x, x]), TypeError, "listed twice");
  assertThrows(() => new Adam([{ params: [x] }, { params: [x] }]), TypeError, "listed twice");
  assertThrows(() => new Adam([x.mul(2)]), TypeError, "expected a leaf");
  const whole = tensor(Int32Array.of(1), { device: reference });
  assertThrows(() => new Adam([whole]), TypeError, "expected dtype f32 or f16");
  assertThrows(
    () => new Adam([x, { params: [leaf()] }] as Tensor[]),
    TypeError,
    "tensors and groups",
  );
  assertEquals(x.gradSlot, null, "a refused parameter stays where it is");
  const first = new Adam([x]);
  assertThrows(() => new SGD([x]), TypeError, "another optimizer holds it");
  assertThrows(() => first.addParamGroup({ params: [x] }), TypeError, "listed twice");
  assertThrows(() => first.lr = Infinity, RangeError, "lr Infinity");
  first.dispose();
  assertThrows(() => first.step(), Error, "it was disposed");
  using second = new SGD([x]);
  second.addParamGroup({ params: [leaf()], lr: 3 });
  assertEquals(second.groups.map((g) => g.lr), [1e-3, 3]);
});
