import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  type MetricSource,
  SGD,
  supervisedStep,
  tensor,
} from "../../core/mod.ts";
import { DataLoader, digits } from "../../data/mod.ts";
import { Linear, mseLoss } from "../../nn/mod.ts";
import { CheckpointCallback, type CheckpointOptions, CheckpointStore } from "../../track/mod.ts";
import { reference as device } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";

const batch = { inputs: tensor([[1], [2]], { device }), targets: tensor([[3], [5]], { device }) };
const batches = Array(5).fill(batch);

function storeOf(files = new MemoryFiles()): CheckpointStore {
  return new CheckpointStore("/checkpoints", { files, last: 100 });
}

function engineOf(store: CheckpointStore, options: CheckpointOptions, more: Callback[] = []) {
  const model = new Linear(1, 1, { device });
  const optimizer = new SGD(model.parameters(), { lr: 0.01 });
  const context = new Context({ model, optimizer, lossFn: mseLoss, device });
  const checkpoints = new CheckpointCallback(store, options);
  return new Engine(supervisedStep(), context, { callbacks: [...more, checkpoints] });
}

/** The steps of the checkpoints of two epochs of five batches. */
async function savedBy(
  options: CheckpointOptions,
  spoil?: (engine: Engine) => void,
): Promise<number[]> {
  const store = storeOf();
  const engine = engineOf(store, options);
  spoil?.(engine as Engine);
  await engine.loop(batches, { maxEpochs: 2, signals: false }).catch((error) => {
    if (error.message !== "spoilt") throw error;
  });
  return (await store.entries()).map(({ step }) => step);
}

Deno.test("CheckpointCallback saves by epochs, steps, seconds, and at the end", async () => {
  assertEquals(await savedBy({}), [5, 10]);
  assertEquals(await savedBy({ everyEpochs: 2 }), [10]);
  assertEquals(await savedBy({ everyEpochs: null, everySteps: 4 }), [4, 8, 10]);
  assertEquals(await savedBy({ everyEpochs: null, everySteps: 4, atEnd: false }), [4, 8]);
  let seconds = 100;
  const now = () => 1000 * seconds;
  const tick = (engine: Engine) => void engine.on("stepStart", () => void seconds++);
  assertEquals(
    await savedBy({ everyEpochs: null, everySeconds: 3, atEnd: false, now }, tick),
    [3, 6, 9],
  );
});

Deno.test("CheckpointCallback saves where a run was stopped, and not where it failed", async () => {
  const stop = (engine: Engine) =>
    void engine.on("stepEnd", ({ engine, state }) => {
      if (state.globalStep === 7) engine.stop("enough");
    });
  assertEquals(await savedBy({}, stop), [5, 7]);
  const fail = (engine: Engine) =>
    void engine.on("stepEnd", ({ state }) => {
      if (state.globalStep === 7) throw new Error("spoilt");
    });
  assertEquals(await savedBy({}, fail), [5]);
});

Deno.test("CheckpointCallback refuses numbers without a meaning, and models that it cannot save", async () => {
  const store = storeOf();
  for (const options of [{ everySteps: 0 }, { everyEpochs: 1.5 }, { everySeconds: -1 }]) {
    assertThrows(() => new CheckpointCallback(store, options), RangeError, Object.keys(options)[0]);
  }
  assertThrows(
    () => new CheckpointCallback(store, { best: { monitor: "" } }),
    TypeError,
    'expected best.monitor to name a metric, found ""',
  );
  assertThrows(
    () => new CheckpointCallback(store, { best: { monitor: "loss", mode: "up" as "max" } }),
    TypeError,
    'expected best.mode to be "min" or "max", found "up"',
  );
  const engine = new Engine(() => ({}), new Context({ model: {} }), {
    callbacks: [new CheckpointCallback(store)],
  });
  await assertRejects(() => engine.loop([1], { signals: false }), TypeError, "to be a module");
  assertEquals(await new CheckpointCallback(store).resume(engine), null);
});

Deno.test("the engine saves and resumes through its CheckpointCallback", async () => {
  const files = new MemoryFiles();
  const first = engineOf(storeOf(files), { everyEpochs: null, atEnd: false });
  await first.loop(batches, { maxSteps: 3, signals: false });
  await first.saveCheckpoint();
  const second = engineOf(storeOf(files), {});
  await second.resume("last");
  assertEquals([second.state.globalStep, second.state.localStep], [3, 3]);
  const model = (engine: typeof first) => engine.context.model as Linear;
  assertEquals(
    await model(second).weight.array(),
    [[Math.fround(await model(first).weight.item())]],
  );
  let refused: unknown;
  second.on("stepEnd", async ({ engine }) => {
    refused ??= await engine.resume().catch((error) => error);
  });
  await second.loop(batches, { maxEpochs: 1, signals: false });
  assertEquals((refused as Error).message.includes("idle"), true, `${refused}`);
});

Deno.test("a loader that was forgotten, so that a resumed run would see batches twice, is refused", async () => {
  const loader = new DataLoader(digits({ split: "train", count: 4 }), { device });
  await assertRejects(
    () => engineOf(storeOf(), {}).loop(loader as never, { signals: false }),
    TypeError,
    "expected the loader among the parts, found none; parts: { loader } saves its position",
  );
});

/** A metric that says which direction is better, with a value for each epoch. */
function metricOf(values: readonly number[]): Callback & MetricSource<"score"> {
  return {
    phase: "metrics",
    metricKeys: ["score"],
    betterOf: (key) => key === "score" ? "down" : null,
    onEpochEnd: ({ state }) => void (state.metrics.score = values[state.current.epoch - 1]),
  };
}

Deno.test("CheckpointCallback keeps the best by a metric that knows its direction", async () => {
  const values = [3, 1, NaN, 2, 5];
  const store = new CheckpointStore("/checkpoints", { files: new MemoryFiles(), last: 1 });
  const options = { best: { monitor: "score", keep: 2 } } as const;
  await engineOf(store, options, [metricOf(values)])
    .loop([batch], { maxEpochs: 5, signals: false });
  assertEquals((await store.entries()).map(({ step }) => step), [2, 4, 5]);
  assertEquals((await store.load("best")).entry.step, 2);

  const upwards = new CheckpointStore("/checkpoints", { files: new MemoryFiles(), last: 1 });
  await engineOf(upwards, { best: { monitor: "score", mode: "max" } }, [metricOf(values)])
    .loop([batch], { maxEpochs: 5, signals: false });
  assertEquals((await upwards.load("best")).entry.step, 5);
});

Deno.test("a best checkpoint without a direction, or with two, is refused before the first step", async () => {
  const engine = engineOf(storeOf(), { best: { monitor: "other" } }, [metricOf([1])]);
  await assertRejects(
    () => engine.loop([batch], { signals: false }),
    RangeError,
    'expected a callback of the engine to say which values of "other" are better',
  );
  assertEquals(engine.state.globalStep, 0);
  const files = new MemoryFiles();
  const best = { metric: "score", mode: "max" } as const;
  const store = new CheckpointStore("/checkpoints", { files, best });
  await assertRejects(
    () =>
      engineOf(store, { best: { monitor: "score" } }, [metricOf([1])])
        .loop([batch], { signals: false }),
    TypeError,
    'expected one rule of what is best, found "score" (max) and "score" (min)',
  );
});

Deno.test("a checkpoint within an epoch is not the best by a value of the epoch before", async () => {
  const store = new CheckpointStore("/checkpoints", { files: new MemoryFiles(), last: 100 });
  const options = { everySteps: 1, best: { monitor: "score", keep: 3 } } as const;
  const files = new MemoryFiles();
  for (const target of [store, storeOf(files)]) {
    await engineOf(target, options, [metricOf([1, 2])])
      .loop(batches, { maxSteps: 8, signals: false });
  }
  const found = (await store.entries()).map(({ step, metrics }) => [step, metrics.score]);
  const none = undefined;
  assertEquals(found, [
    [1, none],
    [2, none],
    [3, none],
    [4, none],
    [5, 1],
    [6, none],
    [7, none],
    [8, none],
  ]);
  const resumed = engineOf(storeOf(files), options, [metricOf([1, 2])]);
  await resumed.resume(6);
  await resumed.loop(batches.slice(1), { maxEpochs: 1, signals: false });
  const after = (await storeOf(files).entries()).slice(-4);
  assertEquals(after.map(({ step, metrics }) => [step, metrics.score]), [
    [7, none],
    [8, none],
    [9, none],
    [10, 2],
  ]);
});
