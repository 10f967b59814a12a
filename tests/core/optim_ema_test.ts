import { type Device, jit, noGrad, type Tensor, tensor } from "../../core/mod.ts";
import {
  Adam,
  AdamW,
  type EmaOptions,
  type Optimizer,
  OptimizerStateError,
  SGD,
} from "../../core/optim/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose, randomValues, reference } from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";
import { adam, type Plain, plain, recurTogether, sgd, STEPS } from "./optim_rules.ts";

const all: readonly Device[] = hardwareKernels === null ? devices : [...devices, hardwareKernels];
const shapes = [[5], [3, 7], [131]];

function samples(bad: readonly number[]): Plain[] {
  return shapes.map((shape, i) => {
    const p = plain(shape, i + 1, i === 1 ? [2, 5] : []);
    for (const t of bad) if (i === 2) p.gradients[t]![130] = NaN;
    return p;
  });
}

function place(device: Device, plains: readonly Plain[]): Tensor[] {
  return plains.map(({ start, shape }) => tensor(start, { device, shape, requiresGrad: true }));
}

function step(optimizer: Optimizer, parameters: readonly Tensor[], plains: Plain[], t: number) {
  optimizer.zeroGrad();
  parameters.forEach((p, i) => {
    const gradient = plains[i].gradients[t];
    if (gradient === null) return;
    p.mul(tensor(gradient, { device: p.device, shape: p.shape })).sum().backward();
  });
  optimizer.step();
}

function numbers(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (t) => Array.from(await t.data())));
}

/** d of step t by its definition. */
function decayOf({ decay, warmup }: EmaOptions): (t: number) => number {
  return (t) => warmup ? Math.min(decay, (1 + t) / (10 + t)) : decay;
}

for (const device of all) {
  const where = device === hardwareKernels ? "hardware kernels" : device.kind;
  const bound = device === reference ? 1e-12 : 3e-6;

  for (const ema of [{ decay: 0.9 }, { decay: 0.5, warmup: true }, { decay: 0.3, warmup: true }]) {
    for (const skipNonFinite of [false, true]) {
      const name = `decay ${ema.decay}${ema.warmup ? ", warmup" : ""}${
        skipNonFinite ? ", skipNonFinite" : ""
      }`;
      Deno.test(`ema with ${name} follows the formula (${where})`, async () => {
        const plains = samples(skipNonFinite ? [0, 4] : []);
        const rule = adam({ lr: 0.05, weightDecay: 0.01, decoupled: true });
        const want = recurTogether(plains, rule, { decay: decayOf(ema) });
        assertEquals(want.skipped, skipNonFinite ? 2 : 0);
        const parameters = place(device, plains);
        using optimizer = new AdamW(parameters, { lr: 0.05, skipNonFinite, ema });
        for (let t = 0; t < STEPS; t++) step(optimizer, parameters, plains, t);
        const averages = await numbers(parameters.map((p) => optimizer.ema!.of(p)));
        const values = await numbers(parameters);
        averages.forEach((a, i) => assertClose(a, want.averages[i], bound, `average ${i}`));
        values.forEach((v, i) => assertClose(v, want.values[i], bound, `parameter ${i}`));
      });
    }
  }

  Deno.test(`ema is part of the one dispatch (${where})`, () => {
    const parameters = place(device, samples([]));
    using optimizer = new AdamW(parameters, { ema: { decay: 0.99 } });
    for (const p of parameters) p.grad = p.gradSlot;
    optimizer.step();
    const before = device.work().dispatches;
    optimizer.step();
    assertEquals(device.work().dispatches - before, 1);
  });

  Deno.test(`jit() repeats averages to the bit (${where})`, async () => {
    for (const skipNonFinite of [false, true]) {
      const plains = samples(skipNonFinite ? [3] : []).filter((_, i) => i !== 1);
      const run = async (captured: boolean) => {
        const parameters = place(device, plains);
        using optimizer = new Adam(parameters, {
          lr: 0.1,
          skipNonFinite,
          ema: { decay: 0.8, warmup: true },
        });
        const turn = (gradients: readonly Tensor[]) => {
          optimizer.zeroGrad();
          parameters.forEach((p, i) => p.mul(gradients[i]).sum().backward());
          optimizer.step();
        };
        const captures = jit(turn, { verify: 3 });
        const evaluated: Tensor[] = [];
        const two = tensor(2, { device });
        const evaluate = jit((by: Tensor) => parameters.map((p) => p.mul(by)));
        for (let t = 0; t < STEPS; t++) {
          if (t === 4) optimizer.lr = 0.01;
          const gradients = plains.map((p) => tensor(p.gradients[t]!, { device, shape: p.shape }));
          (captured ? captures : turn)(gradients);
          using _ = optimizer.ema!.applied();
          evaluated.push(...(captured ? evaluate : evaluate.eager)(two));
        }
        await captures.verified();
        if (captured) assertEquals([captures.stats().captures, evaluate.stats().captures], [1, 1]);
        const averages = parameters.map((p) => optimizer.ema!.of(p));
        return await numbers([...evaluated, ...averages, ...parameters]);
      };
      assertEquals(await run(true), await run(false));
    }
  });
}

for (const device of devices) {
  Deno.test(`swap() exchanges parameters and averages and back (${device.kind})`, async () => {
    const plains = samples([]);
    const parameters = place(device, plains);
    using optimizer = new SGD(parameters, { lr: 0.5, ema: { decay: 0.75 } });
    const ema = optimizer.ema!;
    for (let t = 0; t < 3; t++) step(optimizer, parameters, plains, t);
    const values = await numbers(parameters);
    const averages = await numbers(parameters.map((p) => ema.of(p)));
    assert(String(values) !== String(averages));
    ema.swap();
    assertEquals([ema.isApplied, await numbers(parameters)], [true, averages]);
    assertThrows(() => optimizer.step(), Error, "averages of its parameters are in their place");
    assertThrows(() => ema.applied(), Error, "in place already");
    assertThrows(() => ema.reset(), Error, "swap() back first");
    ema.swap();
    assertEquals([ema.isApplied, await numbers(parameters)], [false, values]);
    {
      using _ = ema.applied();
      assertEquals(await numbers(parameters), averages);
    }
    assertEquals(await numbers(parameters), values);
    assertEquals(await numbers(parameters.map((p) => ema.of(p))), averages);
    ema.reset();
    assertEquals(await numbers(parameters.map((p) => ema.of(p))), values);
    assertThrows(() => ema.of(tensor([1], { device })), TypeError, "does not hold");
  });

  Deno.test(`averages start from the parameters before the first step (${device.kind})`, async () => {
    const x = tensor([1, 1], { device, requiresGrad: true });
    using optimizer = new SGD([x], { lr: 1, ema: { decay: 0.5 } });
    noGrad(() => x.copy_(tensor([4, 8], { device })));
    x.sum().backward();
    optimizer.step();
    assertEquals(await optimizer.ema!.of(x).array(), [3.5, 7.5]);
  });

  Deno.test(`averages of f16 parameters are f32, and swap() brings the same bits back (${device.kind})`, async () => {
    const start = tensor(randomValues(70, 1), { device, dtype: "f16" }).detach();
    start.requiresGrad = true;
    using optimizer = new SGD([start], { lr: 0.01, ema: { decay: 0.9 } });
    start.grad = tensor(randomValues(70, 2), { device, dtype: "f16" });
    optimizer.step();
    const average = optimizer.ema!.of(start);
    assertEquals(average.dtype, "f32");
    const [values, averages] = await numbers([start, average]);
    optimizer.ema!.swap();
    assertClose(await start.data(), averages, device === reference ? 1e-12 : 1e-3);
    optimizer.ema!.swap();
    assertEquals(await numbers([start, average]), [values, averages]);
  });

  Deno.test(`stateDict() holds averages under "ema" (${device.kind})`, async () => {
    const plains = samples([]);
    const make = (p: Tensor[]) => new Adam(p, { ema: { decay: 0.7, warmup: true } });
    const parameters = place(device, plains);
    using first = make(parameters);
    for (let t = 0; t < 4; t++) step(first, parameters, plains, t);
    const { state, param_groups } = first.stateDict();
    assertEquals(Object.keys(state["0"]), ["step", "exp_avg", "exp_avg_sq", "ema"]);
    const values = await numbers(parameters);
    const copies = values.map((v, i) =>
      tensor(Float64Array.from(v), { device, shape: shapes[i], requiresGrad: true })
    );
    using second = make(copies);
    second.loadStateDict({ state, param_groups });
    for (const [optimizer, on] of [[first, parameters], [second, copies]] as const) {
      for (let t = 4; t < STEPS; t++) step(optimizer, on, plains, t);
    }
    const averagesOf = (optimizer: Optimizer, on: readonly Tensor[]) =>
      numbers(on.map((p) => optimizer.ema!.of(p)));
    assertEquals(await averagesOf(second, copies), await averagesOf(first, parameters));

    using plainAdam = new Adam(place(device, plains));
    assertThrows(
      () => plainAdam.loadStateDict({ state, param_groups }),
      OptimizerStateError,
      "has no ema",
    );
    step(plainAdam, plainAdam.groups[0].params, plains, 0);
    second.loadStateDict(plainAdam.stateDict());
    assertEquals(await averagesOf(second, copies), await numbers(copies), "start anew");
  });
}

Deno.test("ema with warmup and a far decay averages over about a tenth of the steps", async () => {
  const x = tensor([0], { device: reference, requiresGrad: true });
  const ema = { decay: 0.9999, warmup: true };
  using optimizer = new SGD([x], { lr: 1, ema });
  const one: Plain = {
    shape: [1],
    start: Float64Array.of(0),
    gradients: Array.from({ length: STEPS }, () => Float64Array.of(-1)),
  };
  for (let t = 0; t < STEPS; t++) step(optimizer, [x], [one], t);
  const { averages } = recurTogether([one], sgd({ lr: 1 }), { decay: decayOf(ema) });
  assertClose(await optimizer.ema!.of(x).data(), averages[0], 1e-12);
  assertEquals([optimizer.ema!.decay, optimizer.ema!.warmup], [0.9999, true]);
});

Deno.test("averages of SGD that warm up go on as if the run had never stopped", async () => {
  for (const maxGradNorm of [null, 1]) {
    const options = { lr: 0.1, momentum: 0.9, maxGradNorm, ema: { decay: 0.99, warmup: true } };
    const run = async (stopAt: number | null) => {
      let x = tensor([1, 2], { device: reference, requiresGrad: true });
      let optimizer = new SGD([x], options);
      for (let t = 0; t < 6; t++) {
        if (t === stopAt) {
          const saved = optimizer.stateDict();
          x = tensor(await x.array() as number[], { device: reference, requiresGrad: true });
          optimizer = new SGD([x], options);
          optimizer.loadStateDict(saved);
        }
        optimizer.zeroGrad();
        x.square().sum().backward();
        optimizer.step();
      }
      return await optimizer.ema!.of(x).data();
    };
    assertClose(await run(3), await run(null), 1e-7);
  }
});

Deno.test("optimizers give the memory of verdicts, counts and averages back", () => {
  for (const device of devices) {
    const turn = () => {
      using _ = device.scope();
      const plains = samples([]);
      const parameters = place(device, plains);
      using optimizer = new Adam(parameters, {
        maxGradNorm: 1,
        skipNonFinite: true,
        ema: { decay: 0.9 },
      });
      step(optimizer, parameters, plains, 0);
      optimizer.ema!.swap();
      for (const p of parameters) p.gradSlot!.dispose();
    };
    turn();
    const { liveBuffers } = device.memory();
    turn();
    assertEquals(device.memory().liveBuffers, liveBuffers);
  }
});
