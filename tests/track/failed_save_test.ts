/** A disk that fails while a training saves or logs: the loop ends in that error, and all that is in memory stays as it was. */

import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Context, Engine, manualSeed, SGD, supervisedStep, tensor } from "../../core/mod.ts";
import { MeanLoss, MetricsCallback } from "../../metrics/mod.ts";
import { Linear, mseLoss } from "../../nn/mod.ts";
import {
  captureTraining,
  CheckpointCallback,
  CheckpointError,
  CheckpointStore,
  readRun,
  run,
  TrackError,
  TrackingCallback,
} from "../../track/mod.ts";
import { reference as device } from "../util.ts";
import { catchWarnings } from "./checkpoint_parts.ts";
import { type FaultPlan, FAULTS, MemoryFiles } from "./memory_files.ts";

const DIR = "/checkpoints";
/** The step at whose end something fails. */
const STEP = 3;
const now = () => new Date(Date.UTC(2026, 0, 1));
const batch = (x: number) => ({
  inputs: tensor([[x, 1], [2, -x]], { device }),
  targets: tensor([[3], [5 - x]], { device }),
});
const batches = [1, 0.5, -1, 2, 3].map(batch);

interface Outcome {
  readonly files: MemoryFiles;
  readonly dir: string;
  readonly error: unknown;
  /** What was in memory before the end of the step, and after the loop. */
  readonly before: string;
  readonly after: string;
  /** The first and the last operation of the end of the step. */
  readonly from: number;
  readonly to: number;
}

/** Trains with a fault, or with none. */
async function train(plan: FaultPlan | null): Promise<Outcome> {
  const files = new MemoryFiles();
  const session = await run({ dir: "/runs", files, now });
  manualSeed(7);
  const model = new Linear(2, 1, { device });
  const optimizer = new SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  const store = new CheckpointStore(DIR, { files, now, last: 2 });
  const trainer = new Engine(
    supervisedStep(),
    new Context({ model, optimizer, lossFn: mseLoss, device }),
    {
      callbacks: [
        new MetricsCallback([new MeanLoss()]),
        new TrackingCallback(session, { every: 1, readEveryMs: 0 }),
        new CheckpointCallback(store, { everySteps: 1, everyEpochs: null }),
      ],
    },
  );
  let [before, from, to] = ["", 0, 0];
  const content = async () => {
    // Metrics of the epoch that ends with the loop come then.
    const { metrics: _, ...counters } = trainer.state.toJSON();
    const engine = { snapshot: () => Promise.resolve(counters), state: trainer.state };
    const { tensors, state } = await captureTraining({
      engine: engine as never,
      model,
      parts: { optimizer },
    });
    return JSON.stringify(
      { tensors, state },
      (_key, value) => ArrayBuffer.isView(value) ? new Uint8Array(value.buffer).toHex() : value,
    );
  };
  trainer.on("stepEnd", async ({ state }) => {
    if (state.globalStep !== STEP) return;
    before = await content();
    from = files.log.length + 1;
    files.plan = plan && { ...plan, at: files.log.length + plan.at };
    files.countReads = true;
  }, { phase: "metrics" });
  trainer.on("stepEnd", ({ state }) => {
    if (state.globalStep === STEP) to = files.log.length;
  }, { phase: "display" });
  let error: unknown = null;
  await trainer.loop(batches, { maxSteps: STEP, signals: false }).catch((thrown) => error = thrown);
  const after = await content();
  Object.assign(files, { plan: null, countReads: false });
  await session.close().catch(() => {});
  return { files, dir: session.dir, error, before, after, from, to };
}

Deno.test(
  "a training whose disk fails ends in that error, and has in memory what it had",
  catchWarnings(async () => {
    const clean = await train(null);
    assertEquals(clean.error, null);
    assert(clean.before === clean.after && clean.before.length > 300, clean.before);
    const { from, to, files: { log } } = clean;
    const operations = log.slice(from - 1, to);
    assert(operations.length > 20, operations.join("\n"));
    let failed = 0;
    for (const [i, operation] of operations.entries()) {
      for (const fault of FAULTS) {
        const ofWrites = fault.kind === "half" || fault.kind === "short";
        // That a line of a log was cut short by a disk that calls it written, only reading it could tell.
        const isTold = fault.kind !== "short" || operation.includes(DIR);
        if ((ofWrites && !operation.startsWith("write")) || !isTold) continue;
        const what = `${fault.kind} ${fault.code} at ${operation}`;
        const { error, before, after, files, dir } = await train({ at: i + 1, ...fault });
        assertEquals(before, clean.before, what);
        assertEquals(after, before, what);
        const store = new CheckpointStore(DIR, { files });
        const { entry, skipped } = await store.load("last");
        assertEquals(skipped, [], what);
        const { scalars } = readRun(dir, { files });
        assert(scalars.every(({ value }) => Number.isFinite(value)), what);
        if (error === null) {
          assertEquals(entry.step, STEP, what);
          continue;
        }
        failed++;
        const isOurs = error instanceof CheckpointError || error instanceof TrackError;
        assert(isOurs, `${what}: ${error}`);
        if (fault.kind !== "short") assertInstanceOf(error.cause, Error, what);
        assert([STEP - 1, STEP].includes(entry.step), `${what}: ${entry.step}`);
      }
    }
    assert(failed > 60, `only ${failed} failed`);
  }),
);

Deno.test("a device that fails while a checkpoint is gathered gives its error, and no other one", async () => {
  const model = {
    // The reads fail before the states of callbacks are there.
    stateDict: () => ({
      w: { shape: [1], dtype: "f32", data: () => Promise.reject(new Error("lost")) },
    }),
    loadStateDict: () => {},
    namedModules: () => [],
  };
  const waiting = () => new Promise((resolve) => setTimeout(() => resolve({}), 20));
  const engine = { snapshot: waiting, state: { globalStep: 1, epoch: 0, metrics: {} } };
  // An error without a listener would end the test here.
  await assertRejects(
    () => captureTraining({ engine: engine as never, model: model as never }),
    Error,
    "lost",
  );
});
