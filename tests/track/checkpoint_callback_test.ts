import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine, SGD, supervisedStep, tensor } from "../../core/mod.ts";
import { Linear, mseLoss } from "../../nn/mod.ts";
import { CheckpointCallback, type CheckpointOptions, CheckpointStore } from "../../track/mod.ts";
import { reference as device } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";

const batch = { inputs: tensor([[1], [2]], { device }), targets: tensor([[3], [5]], { device }) };

/** The steps of the checkpoints of two epochs of five batches. */
async function savedBy(
  options: CheckpointOptions,
  spoil?: (engine: Engine) => void,
): Promise<number[]> {
  const store = new CheckpointStore("/checkpoints", { files: new MemoryFiles(), last: 100 });
  const model = new Linear(1, 1, { device });
  const optimizer = new SGD(model.parameters(), { lr: 0.01 });
  const engine = new Engine(
    supervisedStep(),
    new Context({ model, optimizer, lossFn: mseLoss, device }),
    { callbacks: [new CheckpointCallback(store, options)] },
  );
  spoil?.(engine as Engine);
  await engine.loop(Array(5).fill(batch), { maxEpochs: 2, signals: false }).catch((error) => {
    if (error.message !== "spoilt") throw error;
  });
  return (await store.entries()).map(({ step }) => step);
}

Deno.test("CheckpointCallback saves by epochs, steps, seconds, and at the end", async () => {
  assertEquals(await savedBy({}), [5, 10]);
  assertEquals(await savedBy({ everyEpochs: 2 }), [10]);
  assertEquals(await savedBy({ everyEpochs: null, everySteps: 4 }), [4, 8, 10]);
  assertEquals(await savedBy({ everyEpochs: null, everySteps: 4, atEnd: false }), [4, 8]);
  let seconds = 0;
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
  const store = new CheckpointStore("/checkpoints", { files: new MemoryFiles() });
  for (const options of [{ everySteps: 0 }, { everyEpochs: 1.5 }, { everySeconds: -1 }]) {
    assertThrows(() => new CheckpointCallback(store, options), RangeError, Object.keys(options)[0]);
  }
  const engine = new Engine(() => ({}), new Context({ model: {} }), {
    callbacks: [new CheckpointCallback(store)],
  });
  await assertRejects(() => engine.loop([1], { signals: false }), TypeError, "to be a module");
  assertEquals(await new CheckpointCallback(store).resume(engine), null);
});
