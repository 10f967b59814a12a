import {
  Adam,
  Context,
  Engine,
  EvalOnEpochEndCallback,
  jit,
  LrScheduleCallback,
  type LrScheduleOptions,
  Plateau,
  RMSprop,
  type Schedule,
  schedule,
  SGD,
  type Tensor,
  tensor,
  WarmupThenPlateau,
} from "../../../../core/mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { assertClose, devices, reference } from "../../../util.ts";

interface Group {
  lr: number;
  momentum?: number;
}

interface Rig {
  readonly engine: Engine<number>;
  readonly groups: Group[];
  readonly callback: LrScheduleCallback<string | null>;
  /** The rates that each step saw. */
  readonly seen: number[][];
}

function rig(made: Schedule, options: LrScheduleOptions = {}, lrs: readonly number[] = [8]): Rig {
  const groups: Group[] = lrs.map((lr) => ({ lr }));
  const callback = new LrScheduleCallback(made, options);
  const seen: number[][] = [];
  const engine = new Engine(
    (_engine, _batch: number) => void seen.push(groups.map(({ lr }) => lr)),
    new Context({ model: null, optimizer: { groups } }),
    { callbacks: [callback] },
  );
  return { engine: engine as Engine<number>, groups, callback, seen };
}

const half = () => schedule.exponential({ gamma: 0.5 });

Deno.test("the first step has the first rate, and each step its own", async () => {
  const { engine, seen, callback } = rig(schedule.warmup(3).then(half()), {}, [8, 16]);
  assertEquals([callback.lastLr, callback.lastLrs, callback.phase], [NaN, [], "schedule"]);
  const logged: number[] = [];
  engine.on("stepEnd", () => void logged.push(callback.lastLr), { phase: "log" });
  const state = await engine.loop([0, 1, 2], { maxEpochs: 2 });
  assertEquals(seen.map(([lr]) => lr), [2, 4, 6, 8, 4, 2]);
  assertEquals(seen.map(([, lr]) => lr), [4, 8, 12, 16, 8, 4]);
  assertEquals([logged, state.metrics], [[2, 4, 6, 8, 4, 2], { lr: 2 }]);
});

Deno.test("per epoch the rate changes with the epoch", async () => {
  const { engine, seen } = rig(half(), { per: "epoch", metric: "rate" });
  const state = await engine.loop([0, 1], { maxEpochs: 3 });
  assertEquals(seen.flat(), [8, 8, 4, 4, 2, 2]);
  assertEquals(state.metrics, { rate: 2 });
});

Deno.test("the length of the run comes from the loop, or from the options", async () => {
  const down = schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null });
  const runs: [LrScheduleOptions, Parameters<Engine["loop"]>[1], number[]][] = [
    [{}, { maxEpochs: 2 }, [8, 6, 4, 2]],
    [{}, { maxEpochs: 9, maxSteps: 4 }, [8, 6, 4, 2]],
    [{ per: "epoch" }, { maxEpochs: 2 }, [8, 8, 4, 4]],
    [{ per: "epoch" }, { maxSteps: 4 }, [8, 8, 4, 4]],
    [{ total: 8 }, { maxEpochs: 2 }, [8, 7, 6, 5]],
  ];
  for (const [options, loop, want] of runs) {
    const { engine, seen } = rig(down, options);
    await engine.loop([0, 1], loop);
    assertEquals(seen.flat(), want);
  }
  function* endless() {
    yield* [0, 1];
  }
  const { engine } = rig(down);
  await assertRejects(() => engine.loop(endless()), RangeError, "length of the run to be known");
});

Deno.test("a resumed run goes on with the same rates", async () => {
  const made = () => schedule.warmup(2).then(schedule.cosine());
  const whole = rig(made(), {}, [0.1, 0.3]);
  await whole.engine.loop([0, 1, 2], { maxEpochs: 4 });
  const first = rig(made(), { total: 12 }, [0.1, 0.3]);
  await first.engine.loop([0, 1, 2], { maxSteps: 6 });
  const snapshot = JSON.parse(JSON.stringify(await first.engine.snapshot()));
  // The optimizer's state dict brings the rates of the last step, which are not the base rates.
  const rest = rig(made(), {}, first.groups.map(({ lr }) => lr));
  await rest.engine.restore(snapshot);
  await rest.engine.loop([0, 1, 2], { maxEpochs: 2 });
  assertEquals([...first.seen, ...rest.seen], whole.seen);
  // A second call of loop() in one process goes on as well.
  const twice = rig(made(), { total: 12 }, [0.1, 0.3]);
  for (let epoch = 0; epoch < 4; epoch++) await twice.engine.loop([0, 1, 2]);
  assertEquals(twice.seen, whole.seen);
});

Deno.test("groups that join later bring their own base rate", async () => {
  const { engine, groups, seen } = rig(half());
  engine.on("epochEnd", () => void groups.push({ lr: 32 }), { once: true });
  await engine.loop([0, 1], { maxEpochs: 2 });
  assertEquals(seen, [[8], [4], [2, 8], [1, 4]]);
  const given = rig(half(), { baseLr: [4, 2] }, [1, 1]);
  await given.engine.loop([0]);
  assertEquals(given.seen, [[4, 2]]);
  const few = rig(half(), { baseLr: [4] }, [1, 1]);
  await assertRejects(() => few.engine.loop([0]), RangeError, "found 1");
});

function evaluated(
  made: Schedule,
  values: readonly number[],
  options: LrScheduleOptions = {},
): Rig {
  const found = rig(made, { monitor: "eval/accuracy", per: "epoch", ...options });
  const evaluator = new Engine(() => {}, new Context({ model: null }));
  let epoch = 0;
  evaluator.on("epochEnd", ({ state }) => void (state.metrics.accuracy = values[epoch++]));
  found.engine.add(new EvalOnEpochEndCallback(evaluator, [0]));
  return found;
}

Deno.test("a plateau follows the metric of the evaluation of the same epoch", async () => {
  const plateau = () => new Plateau({ mode: "max", patience: 0, factor: 0.5 });
  const { engine, seen, callback } = evaluated(plateau(), [0, 0, 0.5, NaN, 0.6, 0.6]);
  assertEquals(callback.phase, "decide");
  await engine.loop([0], { maxEpochs: 6 });
  assertEquals(seen.flat(), [8, 8, 4, 4, 2, 2]);
  const first = evaluated(plateau(), [0, 0, 0.5]);
  await first.engine.loop([0], { maxEpochs: 3 });
  const snapshot = JSON.parse(JSON.stringify(await first.engine.snapshot()));
  const rest = evaluated(plateau(), [NaN, 0.6, 0.6]);
  rest.groups[0].lr = first.groups[0].lr;
  await rest.engine.restore(snapshot);
  await rest.engine.loop([0], { maxEpochs: 3 });
  assertEquals([...first.seen, ...rest.seen], seen);
});

Deno.test("warm-up by epochs, then a plateau", async () => {
  const made = new WarmupThenPlateau({ warmup: 2, mode: "max", patience: 0, factor: 0.5 });
  const { engine, seen } = evaluated(made, [0.9, 0.1, 0.1, 0.2, 0.2]);
  await engine.loop([0], { maxEpochs: 5 });
  assertClose(seen.flat(), [8 / 3, 16 / 3, 8, 4, 4], 1e-15);
});

Deno.test("a metric that is missing is an error, unless it may be", async () => {
  const plateau = () => new Plateau({ mode: "max", patience: 0 });
  const none = rig(plateau(), { monitor: "accuracy" });
  await assertRejects(
    () => none.engine.loop([0]),
    RangeError,
    'metric "accuracy": expected one of lr',
  );
  const skipping = rig(plateau(), { monitor: "accuracy", missing: "skip" });
  await skipping.engine.loop([0], { maxEpochs: 3 });
  assertEquals(skipping.seen, [[8], [8], [8]]);
  assertThrows(() => new LrScheduleCallback(plateau()), TypeError, "expected monitor");
  assertThrows(() => new LrScheduleCallback(half(), { monitor: "a" }), TypeError, "follows no");
  // An epoch that was cut short says nothing.
  const cut = rig(plateau(), { monitor: "accuracy" });
  await cut.engine.loop([0, 1, 2], { maxSteps: 2 });
});

Deno.test("what cannot be scheduled is refused", async () => {
  const engine = new Engine(() => {}, new Context({ model: null }));
  engine.add(new LrScheduleCallback(half()));
  await assertRejects(() => engine.loop([0]), TypeError, "expected an optimizer with groups");
  assertThrows(() => new LrScheduleCallback((() => 1) as unknown as Schedule), TypeError);
  assertThrows(() => new LrScheduleCallback(half(), { per: "batch" as "step" }), RangeError, "per");
  assertThrows(() => new LrScheduleCallback(half(), { total: -1 }), RangeError, "total");
  const negative = rig(schedule.lambda((t) => 1 - t));
  await assertRejects(() => negative.engine.loop([0, 1, 2]), RangeError, "found -8 at step 2");
  const twice = rig(half());
  twice.engine.add(new LrScheduleCallback(half()));
  await assertRejects(() => twice.engine.loop([0]), Error, "one writer per name");
  const other = rig(half(), { optimizer: { groups: [{ lr: 2 }] }, metric: null });
  await other.engine.loop([0, 1]);
  assertEquals([other.seen, other.callback.lastLrs, other.engine.state.metrics], [
    [[8], [8]],
    [1],
    {},
  ]);
  assertThrows(() => other.callback.load({}), TypeError, "expected baseLrs");
  const cycle = rig(schedule.oneCycle({ maxLr: 1 }));
  await assertRejects(() => cycle.engine.loop([0]), RangeError, "cycleMomentum: false");
});

Deno.test("the momentum of every kind of optimizer is cycled", async () => {
  const made = schedule.oneCycle({ maxLr: 0.1, totalSteps: 10 });
  const x = () => tensor([1], { device: reference, requiresGrad: true });
  using sgd = new SGD([x()], { momentum: 0.9 });
  using rms = new RMSprop([x()]);
  using adam = new Adam([x()]);
  for (const optimizer of [sgd, rms, adam]) {
    const engine = new Engine(() => {}, new Context({ model: null, optimizer }));
    engine.add(new LrScheduleCallback(made));
    await engine.loop([0, 1, 2]);
  }
  assertEquals([sgd.groups[0].momentum, rms.groups[0].momentum], [0.85, 0.85]);
  assertEquals([adam.groups[0].betas, adam.lr], [[0.85, 0.999], 0.1]);
});

for (const device of devices) {
  Deno.test(`a captured step takes the rates over (${device.kind})`, async () => {
    const run = async (captured: boolean) => {
      const x = tensor([4, -2], { device, requiresGrad: true });
      const one = tensor(1, { device });
      using optimizer = new SGD([x], { lr: 0.25, momentum: 0.5 });
      const step = jit((one: Tensor) => {
        optimizer.zeroGrad();
        x.square().mul(one).sum().backward();
        optimizer.step();
      });
      const rates = schedule.cyclic({ baseLr: 0.05, maxLr: 0.25, stepSizeUp: 2 });
      const engine = new Engine(
        () => captured ? step(one) : step.eager(one),
        new Context({ model: null, optimizer, device }),
        { callbacks: [new LrScheduleCallback(rates)] },
      );
      await engine.loop([0, 1, 2, 3, 4, 5], { maxEpochs: 1 });
      if (captured) assert(step.stats().captures <= 2);
      return [...await x.data()];
    };
    const [x, y] = await run(true);
    assertEquals([x, y], await run(false));
    // By hand: b ← μ b + g, x ← x − lr b.
    let [want, buffer] = [4, 0];
    for (let t = 0; t < 6; t++) {
      const height = 1 - Math.abs(1 - (t % 4) / 2);
      buffer = (t === 0 ? 0 : (0.9 - 0.1 * height) * buffer) + 2 * want;
      want -= (0.05 + 0.2 * height) * buffer;
    }
    assertClose([x, y], [want, -want / 2], device === reference ? 1e-12 : 3e-6);
  });
}
