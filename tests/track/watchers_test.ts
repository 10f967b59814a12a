/** What looks on must not change the training: the same weights to the bit, whoever evaluates, logs, saves or shows. */

import { assert } from "@std/assert";
import {
  type Callback,
  type Context,
  type Device,
  Engine,
  evaluationStep,
  nextKey,
} from "../../core/mod.ts";
import { type ClassificationBatch, DataLoader, digits } from "../../data/mod.ts";
import { MetricsCallback, MultiClassAccuracy } from "../../metrics/mod.ts";
import { Dropout, type Module } from "../../nn/mod.ts";
import { CheckpointStore, run } from "../../track/mod.ts";
import { testOnDevices } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";
import { type TrainingOptions, WATCHERS, wholeTraining } from "./whole_training.ts";

const EPOCHS = 2;

/** The weights at the end of a training, and who looked on. */
async function endOf(options: TrainingOptions): Promise<string> {
  const training = wholeTraining({ epochs: EPOCHS, width: 8, ...options });
  await training.run();
  return await training.weights();
}

/** Evaluates in the middle of epochs. */
function evaluateAfterSteps(device: Device): Callback {
  const test = digits({ split: "test", count: 24, seed: 1 });
  const loader = new DataLoader(test, { batchSize: 24, device });
  let evaluator: Engine<ClassificationBatch> | null = null;
  return {
    name: "evaluateAfterSteps",
    phase: "evaluate",
    async onStepEnd({ engine }) {
      const { model } = engine.context as Context<Module>;
      evaluator ??= new Engine(
        evaluationStep<ClassificationBatch>(),
        engine.context as never,
        { callbacks: [new MetricsCallback([new MultiClassAccuracy()])] },
      ) as unknown as Engine<ClassificationBatch>;
      model.eval();
      await evaluator.loop(loader, { maxEpochs: 1, signals: false });
      model.train();
    },
  };
}

/** Draws from the default stream of random numbers, which trainings do not use. */
const drawing: Callback = { name: "drawing", phase: "log", onStepEnd: () => void nextKey() };

/** Changes the training, by one number that dropout draws more: with it, the comparison must fail. */
const meddling: Callback = {
  name: "meddling",
  phase: "log",
  onStepEnd({ engine, state }) {
    const { model } = engine.context as Context<Module>;
    const dropout = model.modules().find((part) => part instanceof Dropout);
    if (state.globalStep === 2) dropout!.position++;
  },
};

testOnDevices({
  name: "a training ends with the same weights, whoever evaluates, logs, saves or shows",
  async fn(device, t) {
    for (const captured of [false, true]) {
      const want = await endOf({ device, captured, watchers: [] });
      const same = (name: string, options: () => TrainingOptions | Promise<TrainingOptions>) =>
        t.step(`${name}, ${captured ? "captured" : "eager"}`, async () => {
          const got = await endOf({ captured, watchers: [], ...(await options()) });
          // Not assertEquals(), which would print the weights.
          assert(got === want, "the weights are others");
        });
      const files = new MemoryFiles();
      const session = () => run({ dir: "/runs", files });
      const store = () => new CheckpointStore("/checkpoints", { files });
      for (const watcher of WATCHERS) {
        if (watcher === "tracking") continue;
        await same(watcher, () => ({ device, watchers: [watcher] }));
      }
      await same("tracking", async () => ({
        device,
        watchers: ["tracking"],
        session: await session(),
      }));
      await same("checkpoints", () => ({ device, store: store() }));
      await same("evaluation after each step", () => ({
        device,
        callbacks: [evaluateAfterSteps(device)],
      }));
      await same("other draws", () => ({ device, callbacks: [drawing] }));
      await same("all together", async () => ({
        device,
        watchers: WATCHERS,
        session: await session(),
        store: store(),
        callbacks: [evaluateAfterSteps(device), drawing],
      }));
      const meddled = await endOf({ device, captured, watchers: [], callbacks: [meddling] });
      assert(
        meddled !== want,
        "the comparison notices a draw of dropout",
      );
    }
  },
});
