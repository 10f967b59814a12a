import {
  Adam,
  Context,
  type Device,
  Engine,
  jit,
  manualSeed,
  noGrad,
  SGD,
  type Tensor,
  tensor,
  zeros,
} from "../../core/mod.ts";
import {
  BatchNorm1d,
  EmaCallback,
  Linear,
  ModelEma,
  ReLU,
  Sequential,
  StateDictError,
} from "../../nn/mod.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { assertClose, devices, randomValues, reference } from "../util.ts";

function modelOn(device: Device): Sequential {
  manualSeed(3);
  return new Sequential(
    new Linear(3, 4, { device }),
    new BatchNorm1d(4, { momentum: 0.3, device }),
    new ReLU(),
    new Linear(4, 2, { device }),
  );
}

function batchOn(device: Device, t: number): Tensor {
  return tensor(randomValues(15, 50 + t, -2, 3), { device, shape: [5, 3] });
}

type Values = Record<string, readonly number[]>;

async function valuesOf(dict: Readonly<Record<string, Tensor>>): Promise<Values> {
  const pairs = Object.entries(dict).map(async ([key, t]) => [key, [...await t.data()]] as const);
  return Object.fromEntries(await Promise.all(pairs));
}

interface Rig {
  readonly model: Sequential;
  readonly optimizer: Adam;
  readonly ema: ModelEma;
  step(t: number): void;
  [Symbol.dispose](): void;
}

type Policy = "average" | "copy" | "keep";

function rigOn(device: Device, options: { buffers?: Policy; warmup?: boolean } = {}): Rig {
  const model = modelOn(device);
  const optimizer = new Adam(model.parameters(), {
    lr: 0.05,
    ema: { decay: 0.8, warmup: options.warmup ?? false },
  });
  const ema = new ModelEma(model, optimizer, { buffers: options.buffers });
  return {
    model,
    optimizer,
    ema,
    step(t) {
      using _ = device.scope();
      optimizer.zeroGrad();
      model.forward(batchOn(device, t)).square().mean().backward();
      optimizer.step();
      ema.update();
    },
    [Symbol.dispose]() {
      ema.dispose();
      optimizer.dispose();
    },
  };
}

for (const device of devices) {
  const bound = device === reference ? 1e-12 : 3e-6;

  for (const warmup of [false, true]) {
    Deno.test(`ModelEma follows the formula${warmup ? " with warm-up" : ""} (${device.kind})`, async () => {
      using rig = rigOn(device, { warmup });
      let want = await valuesOf(rig.model.stateDict());
      for (let t = 1; t <= 12; t++) {
        rig.step(t);
        const now = await valuesOf(rig.model.stateDict());
        const d = warmup ? Math.min(0.8, (1 + t) / (10 + t)) : 0.8;
        want = Object.fromEntries(
          Object.entries(want).map(([key, old]) => {
            const whole = key.endsWith("num_batches_tracked");
            return [key, old.map((a, i) => whole ? now[key][i] : d * a + (1 - d) * now[key][i])];
          }),
        );
      }
      const found = await valuesOf(rig.ema.stateDict());
      assertEquals(Object.keys(found), Object.keys(rig.model.stateDict()));
      for (const key of Object.keys(want)) assertClose(found[key], want[key], bound, key);
      assertEquals([found["1.num_batches_tracked"], rig.ema.updates], [[12], 12]);
    });
  }

  for (const buffers of ["average", "copy", "keep"] as const) {
    Deno.test(`applied() puts in averages and brings every bit back, ${buffers} (${device.kind})`, async () => {
      using rig = rigOn(device, { buffers });
      const first = await valuesOf(rig.model.stateDict());
      for (let t = 0; t < 3; t++) rig.step(t);
      const { model, ema } = rig;
      const raw = await valuesOf(model.stateDict());
      const averages = await valuesOf(ema.stateDict());
      const mean = "1.running_mean";
      assert(String(averages["0.weight"]) !== String(raw["0.weight"]));
      if (buffers === "copy") assertEquals(averages[mean], raw[mean]);
      if (buffers === "keep") assertEquals(averages[mean], first[mean]);
      if (buffers === "average") {
        assert(averages[mean].every((a, i) => a !== raw[mean][i] && a !== first[mean][i]));
      }
      {
        using _ = ema.applied();
        assertEquals(await valuesOf(model.stateDict()), averages);
        assertEquals(await valuesOf(ema.stateDict()), averages);
        for (const act of ["update", "applied", "copyFrom"] as const) {
          assertThrows(() => ema[act](), Error, "while they are in place");
        }
      }
      assertEquals(await valuesOf(model.stateDict()), raw);
      assertEquals(await valuesOf(ema.stateDict()), averages);
      const failing = () => {
        using _ = ema.applied();
        // A forward pass in training moves the running statistics of the averages.
        model.forward(batchOn(device, 9));
        throw new Error("evaluation failed");
      };
      assertThrows(failing, Error, "evaluation failed");
      assertEquals([await valuesOf(model.stateDict()), ema.isApplied], [raw, false]);
      const moved = (await valuesOf(ema.stateDict()))[mean];
      assertEquals(String(moved) !== String(averages[mean]), buffers !== "copy");
      rig.step(4);
    });
  }

  Deno.test(`a captured step averages to the bit (${device.kind})`, async () => {
    const run = async (captured: boolean) => {
      using rig = rigOn(device, { warmup: true });
      const { model, optimizer, ema } = rig;
      const step = jit((x: Tensor) => {
        optimizer.zeroGrad();
        const loss = model.forward(x).square().mean();
        loss.backward();
        optimizer.step();
        ema.update();
        return loss;
      });
      const evaluate = jit((x: Tensor) => model.forward(x));
      const outputs: Tensor[] = [];
      for (let t = 0; t < 6; t++) {
        const x = batchOn(device, t);
        (captured ? step : step.eager)(x);
        model.eval();
        {
          using _ = ema.applied();
          outputs.push((captured ? evaluate : evaluate.eager)(x));
        }
        model.train();
      }
      // One capture: the share of the warm-up is a live number.
      if (captured) assertEquals(step.stats().captures, 1);
      const read = await Promise.all(outputs.map((t) => t.array()));
      return { read, averages: await valuesOf(ema.stateDict()), updates: ema.updates };
    };
    assertEquals(await run(true), await run(false));
  });

  Deno.test(`averages are saved, loaded and started anew (${device.kind})`, async () => {
    using first = rigOn(device);
    for (let t = 0; t < 4; t++) first.step(t);
    const averages = await valuesOf(first.ema.stateDict());
    using second = rigOn(device);
    second.ema.loadStateDict(first.ema.stateDict());
    assertEquals(await valuesOf(second.ema.stateDict()), averages);
    const model = modelOn(device);
    model.loadStateDict(first.ema.stateDict());
    assertEquals(await valuesOf(model.stateDict()), averages);
    first.ema.copyFrom();
    const now = await valuesOf(first.model.stateDict());
    assertEquals(await valuesOf(first.ema.stateDict()), now);
    first.ema.copyFrom(model);
    assertEquals(await valuesOf(first.ema.stateDict()), averages);
    assertEquals(await valuesOf(first.model.stateDict()), now);
    const { "0.bias": _, ...rest } = model.stateDict();
    assertThrows(() => first.ema.loadStateDict(rest), StateDictError, "missing: 0.bias");
  });
}

Deno.test("averages of frozen parameters are the parameters, and stay the model's", async () => {
  const model = modelOn(reference);
  const [layer] = model.children() as [Linear];
  layer.requiresGrad_(false);
  using optimizer = new SGD(model.parameters().filter((p) => p.requiresGrad), {
    lr: 1,
    ema: { decay: 0.5 },
  });
  using ema = new ModelEma(model, optimizer);
  assertEquals(ema.stateDict()["0.weight"] === layer.weight, true);
  const before = await layer.weight.array();
  const other = modelOn(reference);
  const zero = await valuesOf(other.stateDict());
  noGrad(() => other.parameters()[0].copy_(zeros([4, 3], { device: reference })));
  ema.copyFrom(other);
  assertEquals(await layer.weight.array(), before);
  assertEquals((await valuesOf(ema.stateDict()))["3.weight"], zero["3.weight"]);
});

Deno.test("ModelEma needs an optimizer with averages of every trained parameter", () => {
  const model = modelOn(reference);
  using plain = new SGD([tensor([1], { device: reference, requiresGrad: true })], { lr: 1 });
  assertThrows(() => new ModelEma(model, plain), TypeError, "keeps no averages");
  const [first, ...others] = model.parameters();
  using some = new SGD([first], { lr: 1, ema: { decay: 0.5 } });
  assertThrows(() => new ModelEma(model, some), RangeError, "0.bias, 1.weight");
  using rest = new SGD(others, { lr: 1, ema: { decay: 0.9 } });
  using ema = new ModelEma(model, [some, rest]);
  assertThrows(
    () => new ModelEma(model, [some, rest], { buffers: "none" as "keep" }),
    RangeError,
    "with buffers none",
  );
  some.ema!.swap();
  assertThrows(() => ema.swap(), Error, "swapped by themselves");
  some.ema!.swap();
  assertThrows(() => void (ema.updates = -1), RangeError, "whole number");
});

Deno.test("ModelEma gives its memory back", () => {
  for (const device of devices) {
    const turn = () => {
      using _ = device.scope();
      using rig = rigOn(device);
      rig.step(0);
      rig.ema.applied()[Symbol.dispose]();
      for (const p of rig.model.parameters()) p.gradSlot!.dispose();
      for (const t of Object.values(rig.model.stateDict())) t.dispose();
    };
    turn();
    const { liveBuffers } = device.memory();
    turn();
    assertEquals(device.memory().liveBuffers, liveBuffers);
  }
});

interface Loop {
  readonly trainer: Engine;
  readonly seen: number[];
  readonly callback: EmaCallback;
}

function loopOf(rig: Rig, options: { every?: number; startStep?: number } = {}): Loop {
  const { model, optimizer, ema } = rig;
  const seen: number[] = [];
  const evaluator = new Engine(() => {}, new Context({ model }), { name: "evaluator" });
  evaluator.on("epochEnd", async ({ state }) => {
    const [weight] = await model.parameters()[0].data();
    seen.push(weight);
    state.metrics.weight = weight;
  });
  const callback = new EmaCallback(ema, { evaluator, loader: [0], ...options });
  const trainer = new Engine((engine, t: number) => {
    optimizer.zeroGrad();
    engine.backward(model.forward(batchOn(reference, t)).square().mean());
    optimizer.step();
  }, new Context({ model, optimizer }));
  trainer.add(callback);
  return { trainer: trainer as Engine, seen, callback: callback as EmaCallback };
}

Deno.test("EmaCallback updates after each step and evaluates with averages in place", async () => {
  using rig = rigOn(reference);
  using twin = rigOn(reference);
  const { trainer, seen } = loopOf(rig, { every: 2 });
  const metrics: unknown[] = [];
  trainer.on("epochEnd", ({ state }) => void metrics.push(state.metrics["ema/weight"]), {
    phase: "log",
  });
  await trainer.loop([0, 1, 2], { maxEpochs: 2 });
  for (let t = 0; t < 6; t++) twin.step(t % 3);
  const averages = await valuesOf(twin.ema.stateDict());
  assertEquals(await valuesOf(rig.ema.stateDict()), averages);
  assertEquals(await valuesOf(rig.model.stateDict()), await valuesOf(twin.model.stateDict()));
  assertEquals([seen, metrics], [[averages["0.weight"][0]], [undefined, averages["0.weight"][0]]]);
});

Deno.test("EmaCallback starts averages anew at startStep, and saves its counts", async () => {
  using rig = rigOn(reference);
  const { trainer } = loopOf(rig, { startStep: 2 });
  await trainer.loop([0, 1], { maxEpochs: 1 });
  assertEquals(await valuesOf(rig.ema.stateDict()), await valuesOf(rig.model.stateDict()));
  await trainer.loop([2]);
  assertEquals(rig.ema.updates, 1);
  const snapshot = JSON.parse(JSON.stringify(await trainer.snapshot()));
  using other = rigOn(reference);
  const { trainer: resumed, callback } = loopOf(other, { startStep: 2 });
  await resumed.restore(snapshot);
  assertEquals([other.ema.updates, resumed.state.globalStep], [1, 3]);
  await assertRejects(() => callback.load({ updates: 1, evaluator: null }), TypeError, "evaluator");
});

Deno.test("EmaCallback brings parameters back when the evaluation fails", async () => {
  using rig = rigOn(reference);
  const { trainer } = loopOf(rig);
  const broken = new Engine(() => {
    throw new Error("no data");
  }, new Context({ model: rig.model }));
  trainer.add(new EmaCallback(rig.ema, { evaluator: broken, loader: [0], prefix: "broken" }));
  await assertRejects(() => trainer.loop([0]), Error, "no data");
  assertEquals(rig.ema.isApplied, false);
  const elsewhere = new Engine(() => {}, new Context({ model: modelOn(reference) }));
  assertThrows(
    () => new EmaCallback(rig.ema, { evaluator: elsewhere, loader: [0] }),
    TypeError,
    "found another one",
  );
  assertThrows(() => new EmaCallback(rig.ema, { loader: [0] }), TypeError, "or neither");
});

Deno.test("EmaCallback estimates batch statistics for the averages, and only for them", async () => {
  using rig = rigOn(reference, { buffers: "keep" });
  const { model, optimizer, ema } = rig;
  const batches = [batchOn(reference, 20), batchOn(reference, 21)];
  const evaluator = new Engine(() => {}, new Context({ model }));
  const found: number[][] = [];
  evaluator.on("epochEnd", async () => {
    found.push([...await (model.children()[1] as BatchNorm1d).running_mean!.data()]);
  });
  const trainer = new Engine(
    (_engine, t: number) => rig.step(t),
    new Context({ model, optimizer }),
    {
      callbacks: [new EmaCallback(ema, { evaluator, loader: [0], batchNorm: batches })],
    },
  );
  await trainer.loop([0, 1]);
  const raw = await valuesOf(model.stateDict());
  using _ = ema.applied();
  const [linear] = model.children() as [Linear];
  const means = batches.map((x) => linear.forward(x).mean(0));
  const want = [...await means[0].add(means[1]).mul(0.5).data()];
  assertClose(found[0], want, 1e-12);
  assert(raw["1.running_mean"].some((v, i) => Math.abs(v - want[i]) > 1e-3));
  assertAlmostEquals(found[0][0], (await valuesOf(model.stateDict()))["1.running_mean"][0]);
});
