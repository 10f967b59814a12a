import { assertEquals, assertRejects } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  getRngState,
  manualSeed,
  SGD,
  supervisedStep,
} from "../../core/mod.ts";
import { DataLoader, digits } from "../../data/mod.ts";
import { crossEntropy, Dropout, Flatten, Linear, Sequential } from "../../nn/mod.ts";
import { type Checkpoint, CheckpointCallback, restoreTraining } from "../../track/mod.ts";
import { CheckpointStore } from "../../track/mod.ts";
import { cpu, reference } from "../util.ts";
import { MemoryFiles } from "./memory_files.ts";

// The reference device computes in double precision, which checkpoints round.
const device = cpu ?? reference;

/** Takes any state but a bad one, and notes what it was given. */
function picky() {
  const seen: unknown[] = [];
  const callback: Callback & { value: number } = {
    name: "picky",
    value: 0,
    onStepEnd() {
      callback.value++;
    },
    state: () => ({ value: callback.value }),
    load(state) {
      const { value } = state as { value: number };
      seen.push(value);
      if (value < 0) throw new RangeError("expected a value from 0");
      callback.value = value;
    },
  };
  return { callback, seen };
}

function setUp(files: MemoryFiles, { outputs = 10, batchSize = 8 } = {}) {
  manualSeed(1);
  const model = new Sequential(
    new Flatten(),
    new Linear(784, outputs, { device }),
    new Dropout(0.5),
  );
  const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  const data = digits({ split: "train", count: 32, seed: 1 });
  const loader = new DataLoader(data, { batchSize, shuffle: true, seed: 3, device });
  const { callback, seen } = picky();
  const store = new CheckpointStore("/checkpoints", { files, last: 9 });
  const checkpoints = new CheckpointCallback(store, { parts: { loader } });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const trainer = new Engine(supervisedStep(), context, { callbacks: [callback, checkpoints] });
  const parts = { engine: trainer, model, parts: { optimizer, loader } };
  /** All that a refused resumption must not change. */
  const all = async () => {
    const slots = Object.values(optimizer.stateDict().state).flatMap((entry) =>
      Object.values(entry).map((slot) => typeof slot === "number" ? slot : slot.array())
    );
    return JSON.stringify([
      await Promise.all(Object.values(model.stateDict()).map((t) => t.array())),
      await Promise.all(slots),
      loader.state(),
      (model.at(2) as Dropout).position,
      await trainer.snapshot(),
      getRngState(),
    ]);
  };
  return { ...parts, trainer, loader, store, checkpoints, seen, all, restored: parts };
}

type Spoil = (saved: Checkpoint) => Record<string, unknown>;

/** A checkpoint in whose state or tensors something is changed. */
function spoilt(saved: Checkpoint, spoil: Spoil): Checkpoint {
  return { ...structuredClone(saved), ...spoil(structuredClone(saved)) };
}

// deno-lint-ignore no-explicit-any -- the state as JSON
type State = any;

const withState = (change: (state: State) => void): Spoil => ({ state }) => {
  change(state);
  return { state };
};

const REFUSED: readonly (readonly [what: string, spoil: Spoil, message: string])[] = [
  ["a tensor of another shape", ({ tensors }) => ({
    tensors: { ...tensors, "1.bias": { ...tensors["1.bias"], shape: [2, 5] } },
  }), 'expected the 2 tensors of the model, found "1.bias" as f32 [2, 5] in place of f32 [10]'],
  ["a tensor of another type", ({ tensors }) => ({
    tensors: { ...tensors, "1.bias": { ...tensors["1.bias"], dtype: "i32" } },
  }), '"1.bias" as i32 [10] in place of f32 [10]'],
  ["a tensor that is missing", ({ tensors }) => {
    const { "1.weight": _, ...rest } = tensors;
    return { tensors: rest };
  }, 'found no tensor "1.weight"'],
  ["a slot that is missing", ({ tensors }) => {
    const { "optimizer/state.1.momentum_buffer": _, ...rest } = tensors;
    return { tensors: rest };
  }, 'no tensor "optimizer/state.1.momentum_buffer"'],
  ["a tensor without a place", ({ tensors }) => ({
    tensors: { ...tensors, "9.weight": tensors["1.bias"] },
  }), 'a tensor "9.weight" without a place'],
  [
    "callbacks that are others",
    withState(({ engine }) => engine.callbacks.other = 1),
    "expected the states of the callbacks CheckpointCallback, picky",
  ],
  [
    "options of the optimizer that it does not know",
    withState(({ parts }) => parts.optimizer.param_groups[0].beta = 3),
    "beta",
  ],
  ["a loader of another seed", withState(({ parts }) => parts.loader.seed = 4), "seed"],
  ["draws that are none", withState(({ draws }) => draws["2"] = -1), "-1"],
  ["random numbers that are none", withState(({ rng }) => rng.drawn = -1), "random numbers"],
  ["a counter that is none", withState(({ engine }) => engine.state.epoch = null), '"epoch"'],
  [
    "a callback that does not take its state, last of all",
    withState(({ engine }) => engine.callbacks.picky.value = -1),
    "expected a value from 0",
  ],
];

Deno.test("a refused resumption leaves weights, slots, positions, counters and random numbers as they were", async () => {
  const files = new MemoryFiles();
  const first = setUp(files);
  await first.trainer.loop(first.loader, { maxSteps: 6, signals: false });
  const saved = await first.store.load("last");
  for (const [what, spoil, message] of REFUSED) {
    const run = setUp(new MemoryFiles());
    // Not as it was made, so that a state that is lost is seen
    await run.trainer.loop(run.loader, { maxEpochs: 1, signals: false });
    const before = await run.all();
    const error = await restoreTraining(run.restored, spoilt(saved, spoil))
      .then(() => null, (error) => error as Error);
    assertEquals(error?.message.includes(message), true, `${what}: ${error}`);
    assertEquals(await run.all(), before, what);
  }
  if (device === reference) return;
  const run = setUp(new MemoryFiles());
  await restoreTraining(run.restored, saved);
  assertEquals(await run.all(), await first.all());
});

Deno.test("a refused checkpoint of a larger model says which tensors differ, and all of them", async () => {
  const files = new MemoryFiles();
  const first = setUp(files, { outputs: 12 });
  await first.trainer.loop(first.loader, { maxSteps: 1, signals: false });
  const other = setUp(files);
  const before = await other.all();
  await assertRejects(
    () => other.trainer.resume(),
    TypeError,
    '"1.weight" as f32 [12, 784] in place of f32 [10, 784], "1.bias" as f32 [12] in place of f32 [10]',
  );
  assertEquals(await other.all(), before);
});

Deno.test("where the old state is refused as well, both errors are told", async () => {
  const files = new MemoryFiles();
  const first = setUp(files);
  await first.trainer.loop(first.loader, { maxSteps: 2, signals: false });
  const saved = await first.store.load("last");
  const run = setUp(new MemoryFiles());
  const stuck = {
    state: () => ({ old: true }),
    load(state: { old?: boolean }) {
      throw new Error(state.old ? "not even that one" : "not that one");
    },
  };
  const parts = { ...run.restored, parts: { ...run.restored.parts, stuck } };
  const state = saved.state as State;
  const wanted = { ...saved, state: { ...state, parts: { ...state.parts, stuck: {} } } };
  const error = await assertRejects(() => restoreTraining(parts, wanted), AggregateError);
  assertEquals(
    error.message,
    "not that one; and the state before cannot be put back: not even that one",
  );
});
