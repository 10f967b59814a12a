import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Context,
  EarlyStoppingCallback,
  type EarlyStoppingOptions,
  Engine,
  keepIn,
  type LoopOptions,
  type ModelKeeper,
} from "../../../../core/engine/mod.ts";
import { referenceDevice, SGD } from "../../../../core/mod.ts";
import { MeanLoss, MeanSquaredError, MultiClassAccuracy } from "../../../../metrics/mod.ts";
import { BatchNorm1d, Linear, Sequential } from "../../../../nn/mod.ts";
import { tensor } from "../../../../core/mod.ts";

/** An engine whose metric "score" takes these values epoch by epoch; undefined leaves it out. */
function scored(values: readonly (number | undefined)[], model = { weight: 0 }): Engine {
  const engine = new Engine(() => {
    model.weight++;
  }, new Context({ model: null }));
  engine.on("epochEnd", ({ state }) => {
    const value = values[state.current.epoch - 1];
    if (value === undefined) delete state.metrics.score;
    else state.metrics.score = value;
  }, { phase: "metrics" });
  return engine as Engine;
}

const options: EarlyStoppingOptions = { monitor: "score", mode: "max" };

/** At which epoch it stops, and the best value with its epoch. */
async function stopping(
  values: readonly (number | undefined)[],
  more: Partial<EarlyStoppingOptions>,
): Promise<unknown[]> {
  const engine = scored(values);
  const callback = new EarlyStoppingCallback({ ...options, ...more });
  engine.add(callback);
  const state = await engine.loop([0], { maxEpochs: values.length });
  return [state.stopReason === null ? "ran out" : state.epoch, callback.best, callback.bestEpoch];
}

Deno.test("EarlyStoppingCallback stops after patience epochs that are no better", async () => {
  assertEquals(await stopping([1, 2, 2, 1, 2, 3], { patience: 3 }), [5, 2, 2]);
  assertEquals(await stopping([1, 2, 2, 1, 3, 1, 1, 1], { patience: 3 }), [8, 3, 5]);
  assertEquals(await stopping([1, 0, 2, 1], { patience: 1 }), [2, 1, 1]);
  assertEquals(await stopping([3, 2, 1, 2, 2], { mode: "min", patience: 2 }), [5, 1, 3]);
  assertEquals(await stopping([1, 2, 3, 4], {}), ["ran out", 4, 4]);
  assertEquals(await stopping([9, 8, 7, 6, 5], {}), [4, 9, 1]);
});

Deno.test("EarlyStoppingCallback asks for more than minDelta", async () => {
  assertEquals(await stopping([1, 1.5, 2, 2.25], { patience: 2, minDelta: 0.5 }), [
    ...["ran out", 2, 3],
  ]);
  assertEquals(await stopping([1, 1.5, 1.5], { patience: 2, minDelta: 0.5 }), [3, 1, 1]);
  assertEquals(await stopping([4, 3.5, 3, 3], { mode: "min", patience: 1, minDelta: 0.25 }), [
    ...[4, 3, 3],
  ]);
});

Deno.test("EarlyStoppingCallback never takes NaN for better, and compares infinities", async () => {
  assertEquals(await stopping([NaN, NaN, 1], { patience: 2 }), [2, NaN, 0]);
  assertEquals(await stopping([NaN, 1, NaN, NaN], { patience: 2 }), [4, 1, 2]);
  assertEquals(await stopping([-Infinity, 1, Infinity, Infinity], { patience: 1 }), [
    ...[4, Infinity, 3],
  ]);
});

Deno.test("EarlyStoppingCallback refuses an epoch without its metric, or skips it", async () => {
  const engine = scored([1, undefined]);
  engine.state.metrics.loss = 3;
  engine.add(new EarlyStoppingCallback(options));
  await assertRejects(
    () => engine.loop([0], { maxEpochs: 2 }),
    RangeError,
    'Cannot follow the metric "score": expected one of loss, since epoch 2 ended without it; missing: "skip" lets that pass',
  );
  const values = [1, undefined, 0, undefined, 0];
  assertEquals(await stopping(values, { patience: 2, missing: "skip" }), [5, 1, 1]);
});

Deno.test("EarlyStoppingCallback does not count partial epochs", async () => {
  const engine = scored([5, 4, 3, 2]);
  const callback = new EarlyStoppingCallback({ ...options, patience: 1 });
  engine.add(callback);
  const batches: LoopOptions = { maxSteps: 3 };
  await engine.loop([0, 0], batches);
  assertEquals([engine.state.epoch, engine.state.stopReason, callback.best], [1, null, 5]);
});

Deno.test("EarlyStoppingCallback tells why, and gives a second loop its patience again", async () => {
  const engine = scored([1, 0, 0, 0, 0, 0]);
  engine.add(new EarlyStoppingCallback({ ...options, patience: 2 }));
  const reasons: unknown[] = [];
  engine.on("engineEnd", ({ reason, detail, state }) => {
    reasons.push([reason, detail, state.epoch]);
  });
  await engine.loop([0], { maxEpochs: 9 });
  await engine.loop([0], { maxEpochs: 9 });
  const detail = '"score" was no better than 1 for 2 epochs';
  assertEquals(reasons, [["stopped", detail, 3], ["stopped", detail, 5]]);
});

Deno.test("EarlyStoppingCallback takes the direction from a metric", async () => {
  const falling = [3, 2, 1];
  const rising = [1, 2, 3];
  const followed = async (
    values: number[],
    metric: EarlyStoppingOptions["metric"],
    monitor: string,
  ) => {
    const engine = scored(values);
    engine.on("epochEnd", ({ state }) => void (state.metrics[monitor] = state.metrics.score), {
      phase: "evaluate",
    });
    const callback = new EarlyStoppingCallback({ monitor, metric, patience: 1 });
    engine.add(callback);
    return (await engine.loop([0], { maxEpochs: 3 })).epoch;
  };
  assertEquals(await followed(falling, new MeanLoss(), "loss"), 3);
  assertEquals(await followed(rising, new MeanLoss(), "eval/loss"), 2);
  assertEquals(await followed(rising, new MultiClassAccuracy(), "val/accuracy"), 3);
  assertEquals(await followed(falling, new MultiClassAccuracy(), "accuracy"), 2);
  const mse = new MeanSquaredError();
  assertEquals(await followed(falling, mse, `test/${mse.keys[0]}`), 3);
  const varied = {
    keys: ["up", "down", "none"],
    better: null,
    betterOf: (key: string) => key === "none" ? null : key as "up" | "down",
  };
  assertEquals(await followed(rising, varied, "x/up"), 3);
  assertEquals(await followed(falling, varied, "down"), 3);
  const make = (monitor: string) => () => new EarlyStoppingCallback({ monitor, metric: varied });
  assertThrows(make("none"), RangeError, "expected a metric that knows what is better");
  assertThrows(make("val/sideways"), RangeError, "a value of the metric (up, down, none)");
});

Deno.test("EarlyStoppingCallback continues from its saved state as if never stopped", async () => {
  const values = [1, 3, 2, 2, 2, 2];
  for (let k = 1; k < 5; k++) {
    const first = scored(values);
    first.add(new EarlyStoppingCallback(options));
    await first.loop([0], { maxEpochs: k });
    const saved = JSON.parse(JSON.stringify(await first.snapshot()));
    const second = scored(values);
    const callback = new EarlyStoppingCallback(options);
    second.add(callback);
    await second.restore(saved);
    await second.loop([0], { maxEpochs: 6 - k });
    assertEquals([second.state.epoch, callback.best, callback.bestEpoch], [5, 3, 2], `k = ${k}`);
  }
  const infinite = new EarlyStoppingCallback(options);
  infinite.load({ best: "-Infinity", bestEpoch: 1, bad: 0 });
  assertEquals(infinite.state(), { best: "-Infinity", bestEpoch: 1, bad: 0 });
  for (const bad of [null, {}, { best: "x", bestEpoch: 1, bad: 0 }, { best: 1, bestEpoch: -1 }]) {
    assertThrows(() => infinite.load(bad), TypeError, "expected best, bestEpoch and bad");
  }
  assertEquals(infinite.best, -Infinity);
});

/** Keeps a number, and counts what it was asked. */
class NumberKeeper implements ModelKeeper {
  kept = NaN;
  restores = 0;
  constructor(readonly model: { weight: number }) {}
  async save(): Promise<void> {
    await Promise.resolve();
    this.kept = this.model.weight;
  }
  restore(): void {
    this.restores++;
    this.model.weight = this.kept;
  }
}

/** The weight, which counts steps, when checkpoints are written and after the loop. */
async function restored(
  values: number[],
  epochs: number,
  act: (engine: Engine) => void = () => {},
): Promise<number[]> {
  const model = { weight: 0 };
  const engine = scored(values, model);
  const keeper = new NumberKeeper(model);
  engine.add(new EarlyStoppingCallback({ ...options, patience: 2, restoreBest: keeper }));
  const seen: number[] = [];
  engine.on("engineEnd", () => void seen.push(model.weight), { phase: "persist" });
  engine.on("stepEnd", ({ engine }) => act(engine));
  await engine.loop([0, 0], { maxEpochs: epochs }).catch(() => {});
  return [...seen, model.weight, keeper.restores];
}

Deno.test("EarlyStoppingCallback puts the best weights back before anything is saved", async () => {
  assertEquals(await restored([1, 2, 1, 1, 5], 5), [4, 4, 1]);
  // Also where the run was done before patience was at its end.
  assertEquals(await restored([1, 2, 1], 3), [4, 4, 1]);
  // There is nothing to put back where the last epoch was the best one.
  assertEquals(await restored([1, 2, 3], 3), [6, 6, 0]);
  // Other steps have followed the best epoch.
  const stop = (engine: Engine) => void (engine.state.globalStep === 5 && engine.stop());
  assertEquals(await restored([1, 2, 3], 3, stop), [4, 4, 1]);
});

Deno.test("EarlyStoppingCallback leaves the weights of interrupted and failed runs", async () => {
  const interrupt = (engine: Engine) => {
    if (engine.state.globalStep === 5) engine.stop("interrupted");
  };
  assertEquals(await restored([2, 1, 1], 3, interrupt), [5, 5, 0]);
  const fail = (engine: Engine) => {
    if (engine.state.globalStep === 5) throw new Error("step");
  };
  assertEquals(await restored([2, 1, 1], 3, fail), [5, 5, 0]);
});

Deno.test("EarlyStoppingCallback warns where the best weights were before a resumption", async () => {
  const model = { weight: 0 };
  const engine = scored([1, 1, 1], model);
  const keeper = new NumberKeeper(model);
  const callback = new EarlyStoppingCallback({ ...options, restoreBest: keeper });
  engine.add(callback);
  callback.load({ best: 5, bestEpoch: 7, bad: 1 });
  const { warn } = console;
  const warnings: string[] = [];
  console.warn = (text: string) => void warnings.push(text);
  try {
    await engine.loop([0], { maxEpochs: 1 });
  } finally {
    console.warn = warn;
  }
  assertEquals(warnings, [
    'EarlyStoppingCallback score: the weights of epoch 7, with the best "score", are not at hand, since this run was resumed after it; a checkpoint of that epoch has them',
  ]);
  assertEquals(keeper.restores, 0);
});

Deno.test("keepIn() keeps parameters and buffers of a module that an optimizer trains", async () => {
  const device = referenceDevice();
  const make = () => new Sequential(new Linear(2, 2, { device }), new BatchNorm1d(2, { device }));
  const [model, twin] = [make(), make()];
  using optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  const read = async () =>
    await Promise.all(Object.values(model.stateDict()).map(async (t) => [...await t.data()]));
  const x = tensor([[1, 2], [3, 5]], { device });
  const trainer = new Engine((engine, _batch: number) => {
    optimizer.zeroGrad();
    engine.backward(model.forward(x).square().sum());
    optimizer.step();
  }, new Context({ model, optimizer, device }));
  const scores = [1, 2, 1, 1];
  let best: unknown;
  let last: unknown;
  trainer.on("epochEnd", async ({ state }) => {
    state.metrics.score = scores[state.epoch - 1];
    last = await read();
    if (state.epoch === 2) best = last;
  }, { phase: "metrics" });
  trainer.add(
    new EarlyStoppingCallback({ ...options, patience: 2, restoreBest: keepIn(model, twin) }),
  );
  const live: number[] = [];
  trainer.on("epochEnd", () => void live.push(device.memory().liveBuffers));
  await trainer.loop([0], { maxEpochs: 4 });
  const after = await read();
  assertEquals(after, best);
  assertEquals(JSON.stringify(after) === JSON.stringify(last), false);
  assertEquals(new Set(live.slice(1)).size, 1);
});

Deno.test("EarlyStoppingCallback refuses options that are none", () => {
  const bad = (change: Record<string, unknown>) => () =>
    new EarlyStoppingCallback({ ...options, ...change });
  assertThrows(bad({ monitor: "" }), TypeError, "expected monitor to name a metric");
  assertThrows(bad({ metric: new MeanLoss() }), TypeError, "found both");
  assertThrows(bad({ mode: "up" }), TypeError, 'expected mode to be "min" or "max", found "up"');
  assertThrows(bad({ missing: "warn" }), TypeError, "expected missing to be");
  assertThrows(bad({ patience: 0 }), RangeError, "expected patience to be a whole number from 1");
  assertThrows(bad({ minDelta: -1 }), RangeError, "expected minDelta to be a finite number from 0");
  assertThrows(bad({ minDelta: NaN }), RangeError, "found NaN");
  assertThrows(
    bad({ restoreBest: {} }),
    TypeError,
    "expected restoreBest to have save and restore",
  );
});
