import { type Device, jit, type Tensor, tensor } from "../../core/mod.ts";
import {
  Adam,
  AdamW,
  clipGradNorm,
  type Optimizer,
  type OptimizerStateDict,
  RMSprop,
  SGD,
} from "../../core/optim/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose, randomValues, reference, testOnDevices } from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";
import {
  adam,
  type Plain,
  plain,
  recur,
  type Recurrence,
  recurTogether,
  rmsprop,
  sgd,
  STEPS,
} from "./optim_rules.ts";

const all: readonly Device[] = hardwareKernels === null ? devices : [...devices, hardwareKernels];
const shapes = [[5], [64], [0], [3, 7], [131]];
const BAD = [0, 3, 4, 8];

type Make = (
  params: readonly Tensor[],
  controls: { maxGradNorm?: number; skipNonFinite?: boolean },
) => Optimizer;

const cases: readonly [string, Make, Recurrence][] = [
  ["SGD", (p, c) => new SGD(p, { lr: 0.1, ...c }), sgd({ lr: 0.1 })],
  [
    "SGD momentum, dampening",
    (p, c) => new SGD(p, { lr: 0.1, momentum: 0.8, dampening: 0.4, weightDecay: 0.1, ...c }),
    sgd({ lr: 0.1, momentum: 0.8, dampening: 0.4, weightDecay: 0.1 }),
  ],
  [
    "SGD nesterov",
    (p, c) => new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, ...c }),
    sgd({ lr: 0.1, momentum: 0.9, nesterov: true }),
  ],
  ["Adam", (p, c) => new Adam(p, { lr: 0.01, ...c }), adam({ lr: 0.01 })],
  [
    "Adam betas of 0",
    (p, c) => new Adam(p, { lr: 0.01, betas: [0, 0], weightDecay: 0.1, ...c }),
    adam({ lr: 0.01, betas: [0, 0], weightDecay: 0.1 }),
  ],
  [
    "AdamW",
    (p, c) => new AdamW(p, { lr: 0.01, betas: [0.8, 0.95], weightDecay: 0.2, ...c }),
    adam({ lr: 0.01, betas: [0.8, 0.95], weightDecay: 0.2, decoupled: true }),
  ],
  [
    "RMSprop",
    (p, c) => new RMSprop(p, { lr: 0.01, alpha: 0.9, momentum: 0.7, centered: true, ...c }),
    rmsprop({ lr: 0.01, alpha: 0.9, momentum: 0.7, centered: true }),
  ],
];

/** Parameters of which some gradients are missing, and some steps have a NaN or infinity. */
function samples(bad: readonly number[], missing: boolean): Plain[] {
  return shapes.map((shape, i) => {
    const p = plain(shape, i + 1, missing ? [i, i + 2, 2 * i] : []);
    for (const t of bad) {
      const gradient = p.gradients[t];
      if (gradient !== null && (t + i) % 3 === 0) {
        gradient[gradient.length - 1] = [NaN, Infinity, -Infinity][t % 3];
      }
    }
    return p;
  });
}

function place(device: Device, plains: readonly Plain[]): Tensor[] {
  return plains.map(({ start, shape }) => tensor(start, { device, shape, requiresGrad: true }));
}

function bring(parameters: readonly Tensor[], plains: readonly Plain[], t: number): void {
  parameters.forEach((p, i) => {
    const gradient = plains[i].gradients[t];
    if (gradient === null || p.size === 0) return;
    p.mul(tensor(gradient, { device: p.device, shape: p.shape })).sum().backward();
  });
}

function numbers(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())));
}

/** A state dict whose tensors do not change any more. */
function copied({ state, param_groups }: OptimizerStateDict): OptimizerStateDict {
  const copy = (value: number | Tensor) => typeof value === "number" ? value : value.add(0);
  const entries = Object.entries(state).map(([id, entry]) => [
    id,
    Object.fromEntries(Object.entries(entry).map(([name, value]) => [name, copy(value)])),
  ]);
  return { state: Object.fromEntries(entries), param_groups };
}

function dispatchesOf(device: Device, fn: () => void): number {
  const before = device.work().dispatches;
  fn();
  return device.work().dispatches - before;
}

for (const device of all) {
  const where = device === hardwareKernels ? "hardware kernels" : device.kind;
  const bound = device === reference ? 1e-12 : 3e-6;

  for (const [name, make, rule] of cases) {
    Deno.test(`${name} with skipNonFinite and maxGradNorm follows the recurrence (${where})`, async () => {
      for (const missing of [false, true]) {
        const plains = samples(BAD, missing);
        const want = recurTogether(plains, rule, { maxNorm: 5 });
        assert(want.skipped >= 3 && want.skipped < STEPS);
        const parameters = place(device, plains);
        using optimizer = make(parameters, { maxGradNorm: 5, skipNonFinite: true });
        for (let t = 0; t < STEPS; t++) {
          optimizer.zeroGrad();
          bring(parameters, plains, t);
          optimizer.step();
        }
        assertEquals(await optimizer.skippedSteps!.item(), want.skipped);
        const got = await numbers(parameters);
        got.forEach((values, i) => assertClose(values, want.values[i], bound, `parameter ${i}`));
      }
    });

    Deno.test(`${name} with maxGradNorm gives the bits of clipGradNorm() and step() (${where})`, async () => {
      const plains = samples([], true);
      const runs = await Promise.all([false, true].map(async (folded) => {
        const parameters = place(device, plains);
        using optimizer = make(parameters, folded ? { maxGradNorm: 7 } : {});
        const norms: Tensor[] = [];
        for (let t = 0; t < STEPS; t++) {
          optimizer.zeroGrad();
          bring(parameters, plains, t);
          if (!folded) norms.push(clipGradNorm(parameters, 7));
          optimizer.step();
          if (folded) norms.push(optimizer.gradNorm!);
        }
        return await numbers([...norms, ...parameters]);
      }));
      assertEquals(runs[1], runs[0]);
      const { norms } = recurTogether(plains, rule, {});
      assertClose(runs[1].slice(0, STEPS).flat(), norms, bound, "norms");
      assert(norms.some((n) => n < 7) || norms.every((n) => n > 7));
    });
  }

  Deno.test(`step() is three dispatches with maxGradNorm and skipNonFinite (${where})`, () => {
    const parameters = place(device, samples([], false));
    for (const p of parameters) p.grad = p.gradSlot;
    using optimizer = new AdamW(parameters, { maxGradNorm: 1, skipNonFinite: true });
    for (const p of parameters) p.grad = p.gradSlot;
    optimizer.step();
    assertEquals(dispatchesOf(device, () => optimizer.step()), 3);
    parameters[1].grad = null;
    assertEquals(dispatchesOf(device, () => optimizer.step()), 5, "with a gap");
    for (const p of parameters) p.grad = p.gradSlot;
    // The second parameter has taken one step less.
    assertEquals(dispatchesOf(device, () => optimizer.step()), 7);
  });

  Deno.test(`maxGradNorm leaves the gradients as they are and may be changed (${where})`, async () => {
    const x = tensor([0, 0], { device, requiresGrad: true });
    using optimizer = new SGD([x], { lr: 1, maxGradNorm: 1 });
    x.mul(tensor([3, 4], { device })).sum().backward();
    optimizer.step();
    assertEquals(await x.grad!.array(), [3, 4]);
    assertClose(await x.data(), [-0.6, -0.8], 1e-6);
    optimizer.maxGradNorm = 2.5;
    optimizer.step();
    assertClose(await x.data(), [-2.1, -2.8], 1e-6);
    assertClose([await optimizer.gradNorm!.item()], [5], 1e-6);
    optimizer.maxGradNorm = null;
    optimizer.step();
    assertClose(await x.data(), [-5.1, -6.8], 1e-6);
  });

  Deno.test(`without skipNonFinite a NaN goes through, with it nothing changes (${where})`, async () => {
    for (const skipNonFinite of [false, true]) {
      const x = tensor([1, 2], { device, requiresGrad: true });
      using optimizer = new Adam([x], { maxGradNorm: 1, skipNonFinite });
      x.mul(tensor([NaN, 1], { device })).sum().backward();
      optimizer.step();
      assertEquals(await x.array(), skipNonFinite ? [1, 2] : [NaN, NaN]);
      assertEquals(await optimizer.gradNorm!.item(), NaN);
      assertEquals(await optimizer.skippedSteps!.item(), Number(skipNonFinite));
    }
  });

  Deno.test(`skipNonFinite takes finite gradients whose norm overflows (${where})`, async () => {
    const huge = device === reference ? 1e200 : 1e30;
    const x = tensor([0, 0], { device, requiresGrad: true });
    x.grad = tensor([huge, 1], { device });
    using optimizer = new SGD([x], { lr: 1, skipNonFinite: true });
    x.grad = tensor([huge, 1], { device });
    optimizer.step();
    assertEquals(await optimizer.skippedSteps!.item(), 0);
    assertEquals((await x.data())[1], -1);
  });

  Deno.test(`jit() repeats clipped and skipped steps to the bit (${where})`, async () => {
    for (const [, make] of cases) {
      const plains = samples(BAD, false).filter(({ shape }) => shape[0] !== 0);
      const run = async (captured: boolean) => {
        const parameters = place(device, plains);
        using optimizer = make(parameters, { maxGradNorm: 5, skipNonFinite: true });
        const turn = (gradients: readonly Tensor[]) => {
          optimizer.zeroGrad();
          parameters.forEach((p, i) => p.mul(gradients[i]).sum().backward());
          optimizer.step();
          return { norm: optimizer.gradNorm!, skipped: optimizer.skippedSteps! };
        };
        const captures = jit(turn, { verify: 3 });
        const step = captured ? captures : turn;
        const results: Tensor[] = [];
        for (let t = 0; t < STEPS; t++) {
          if (t === 5) optimizer.lr *= 0.5;
          if (t === 7) optimizer.maxGradNorm = 2;
          const { norm, skipped } = step(
            plains.map((p) => tensor(p.gradients[t]!, { device, shape: p.shape })),
          );
          results.push(norm, skipped);
        }
        if (captured) {
          await captures.verified();
          assertEquals(captures.stats().captures, 1);
        }
        return await numbers([...results, ...parameters]);
      };
      assertEquals(await run(true), await run(false));
    }
  });
}

for (const device of devices) {
  Deno.test(`bias correction on the device is good to 1e-6 (${device.kind})`, async () => {
    // With g = 1 every time m̂ = v̂ = 1, so each step is lr / (1 + eps) whatever its number.
    for (const betas of [[0.9, 0.999], [0.5, 0.9999]] as const) {
      const x = tensor([0], { device, requiresGrad: true });
      using optimizer = new Adam([x], { lr: 1, eps: 0, betas, skipNonFinite: true });
      let before = 0;
      for (let t = 1; t <= 60; t++) {
        x.grad = tensor([1], { device });
        optimizer.step();
        const now = await x.item();
        // Rounding of m, v and x grows with t; at the first step it is that of the correction.
        assertClose([before - now], [1], t === 1 ? 1e-6 : 2e-5, `step ${t}`);
        before = now;
        x.grad = tensor([t % 7 === 0 ? NaN : 1], { device });
        if (t % 7 === 0) optimizer.step();
      }
      assertEquals(await optimizer.skippedSteps!.item(), 8);
    }
  });

  Deno.test(`jit() notices that parameters do not share their history any more (${device.kind})`, async () => {
    const plains = samples([1], false).slice(0, 2);
    const run = async (captured: boolean) => {
      const parameters = place(device, plains);
      using optimizer = new Adam(parameters, { lr: 0.1, skipNonFinite: true });
      const turn = (gradients: readonly Tensor[]) => {
        optimizer.zeroGrad();
        parameters.forEach((p, i) => p.mul(gradients[i]).sum().backward());
        optimizer.step();
      };
      const captures = jit(turn, { verify: 2 });
      const step = captured ? captures : turn;
      for (let t = 0; t < 8; t++) {
        if (t === 4) {
          optimizer.zeroGrad();
          bring(parameters.slice(1), plains.slice(1), t);
          optimizer.step();
          optimizer.zeroGrad();
        }
        step(plains.map((p) => tensor(p.gradients[t]!, { device, shape: p.shape })));
        parameters.forEach((p) => p.grad = null);
      }
      await captures.verified();
      return await numbers(parameters);
    };
    assertEquals(await run(true), await run(false));
  });

  Deno.test(`jit() notices that plain steps of parameters differ (${device.kind})`, async () => {
    const plains = samples([], false).slice(0, 2);
    const run = async (captured: boolean) => {
      const parameters = place(device, plains);
      using optimizer = new Adam(parameters, { lr: 0.1 });
      const turn = (gradients: readonly Tensor[]) => {
        parameters.forEach((p, i) => p.mul(gradients[i]).sum().backward());
        optimizer.step();
      };
      const step = captured ? jit(turn) : turn;
      for (let t = 0; t < 6; t++) {
        if (t === 3) {
          bring(parameters.slice(1), plains.slice(1), t);
          optimizer.step();
        }
        parameters.forEach((p) => p.grad = null);
        step(plains.map((p) => tensor(p.gradients[t]!, { device, shape: p.shape })));
        parameters.forEach((p) => p.grad = null);
      }
      return await numbers(parameters);
    };
    assertEquals(await run(true), await run(false));
  });

  Deno.test(`stateDict() of counted steps goes on with the same bits (${device.kind})`, async () => {
    for (const [name, make] of cases) {
      const plains = samples(BAD, true);
      const parameters = place(device, plains);
      const turn = (optimizer: Optimizer, on: readonly Tensor[], t: number) => {
        optimizer.zeroGrad();
        bring(on, plains, t);
        optimizer.step();
      };
      using first = make(parameters, { skipNonFinite: true });
      for (let t = 0; t < 6; t++) turn(first, parameters, t);
      const values = await numbers(parameters);
      const dict = copied(first.stateDict());
      const copies = values.map((v, i) =>
        tensor(Float64Array.from(v), { device, shape: shapes[i], requiresGrad: true })
      );
      // The state itself asks for counts on the device.
      using second = make(copies, {});
      second.loadStateDict(dict);
      using third = make(place(device, plains), { skipNonFinite: true });
      third.loadStateDict(dict);
      assertEquals(
        await numbers(Object.values(third.stateDict().state).map((e) => e.step as Tensor)),
        await numbers(Object.values(dict.state).map((e) => e.step as Tensor)),
      );
      for (let t = 6; t < STEPS; t++) turn(first, parameters, t);
      for (let t = 6; t < STEPS; t++) {
        if (BAD.includes(t)) continue;
        turn(second, copies, t);
      }
      const last = await numbers(parameters);
      assertEquals(await numbers(copies), last, name);
    }
  });

  Deno.test(`step in a state dict is the number of steps that counted (${device.kind})`, async () => {
    const x = tensor([1], { device, requiresGrad: true });
    using optimizer = new Adam([x], { skipNonFinite: true });
    for (const g of [1, NaN, 2, Infinity, 3]) {
      x.grad = tensor([g], { device });
      optimizer.step();
    }
    const { step } = optimizer.stateDict().state["0"];
    assertEquals(await (step as Tensor).item(), 3);
  });
}

Deno.test("skipNonFinite finds every NaN and infinity among f16 gradients", async () => {
  for (const device of devices.filter((d) => d.traits.f16)) {
    for (const bad of [NaN, Infinity, -Infinity, 65504]) {
      const x = tensor(new Float64Array(70), { device, dtype: "f16" }).detach();
      x.requiresGrad = true;
      using optimizer = new SGD([x], { skipNonFinite: true });
      const g = randomValues(70, 3);
      g[66] = bad;
      x.grad = tensor(g, { device, dtype: "f16" });
      optimizer.step();
      assertEquals(await optimizer.skippedSteps!.item(), Number.isFinite(bad) ? 0 : 1);
    }
  }
});

testOnDevices({
  name: "skipNonFinite finds one NaN among four million gradients, wherever it is",
  fn: async (device) => {
    const n = 4_200_001;
    const x = tensor(new Float64Array(n), { device, requiresGrad: true });
    using optimizer = new SGD([x], { lr: 1, skipNonFinite: true });
    for (const at of [0, 77_777, n - 1]) {
      const g = new Float64Array(n).fill(1);
      g[at] = NaN;
      x.grad = tensor(g, { device });
      optimizer.step();
    }
    assertEquals(await optimizer.skippedSteps!.item(), 3);
    assertEquals(await x.abs().max().item(), 0);
  },
});

Deno.test("new optimizers refuse controls without meaning", () => {
  const x = tensor([1], { device: reference, requiresGrad: true });
  assertThrows(() => new SGD([x], { maxGradNorm: -1 }), RangeError, "maxGradNorm -1");
  assertThrows(() => new Adam([x], { maxGradNorm: NaN }), RangeError, "maxGradNorm NaN");
  assertThrows(() => new RMSprop([x], { ema: { decay: 1 } }), RangeError, "ema.decay 1");
  const misspelt = { maxgradnorm: 1 } as Record<string, number>;
  assertThrows(() => new AdamW([x], misspelt), RangeError, "unknown options maxgradnorm");
  const flag = { skipNonFinite: 1 } as unknown as { skipNonFinite: boolean };
  assertThrows(() => new AdamW([x], flag), RangeError, "skipNonFinite 1");
  const group = { params: [x], maxGradNorm: 1 };
  assertThrows(() => new SGD([group]), RangeError, "in a group");
  using optimizer = new SGD([x], { maxGradNorm: 0 });
  assertThrows(() => optimizer.maxGradNorm = NaN, RangeError, "maxGradNorm NaN");
  assertEquals(optimizer.gradNorm, null);
  assertEquals(optimizer.skippedSteps, null);
});

Deno.test("recurTogether() is recur() where nothing happens", () => {
  const plains = samples([], true);
  const { values } = recurTogether(plains, adam({}), {});
  plains.forEach((p, i) => assertEquals(values[i], recur(p, adam({}))));
});
