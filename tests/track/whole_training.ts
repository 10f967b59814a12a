/** A small training with all that trainings have, for tests that disturb it: killed, cut off from its device, watched. */

import {
  AdamW,
  type Callback,
  Context,
  type Device,
  EarlyStoppingCallback,
  Engine,
  EvalOnEpochEndCallback,
  evaluationStep,
  jit,
  LrScheduleCallback,
  manualSeed,
  ProgressBarCallback,
  schedule,
  supervisedStep,
} from "../../core/mod.ts";
import { type ClassificationBatch, DataLoader, digits } from "../../data/mod.ts";
import { MeanLoss, MetricsCallback, MultiClassAccuracy } from "../../metrics/mod.ts";
import {
  BatchNorm1d,
  crossEntropy,
  Dropout,
  EmaCallback,
  Flatten,
  Linear,
  ModelEma,
  ReLU,
  Sequential,
} from "../../nn/mod.ts";
import {
  CheckpointCallback,
  type CheckpointStore,
  type RunSession,
  TrackingCallback,
} from "../../track/mod.ts";

/** What can be left out, as it must not change the training. */
export const WATCHERS = ["evaluation", "ema", "stopping", "tracking", "progress"] as const;

/** How the training is made. */
export interface TrainingOptions {
  readonly device: Device;
  /** What looks on. @default {all but tracking without a session} */
  readonly watchers?: readonly (typeof WATCHERS)[number][];
  /** Where checkpoints go. @default {there are none} */
  readonly store?: CheckpointStore;
  /** Steps from one checkpoint to the next. @default {1} */
  readonly everySteps?: number | null;
  /** The run that is recorded. */
  readonly session?: RunSession;
  /** Whether steps are captured and replayed. @default {false} */
  readonly captured?: boolean;
  /** Hidden features. @default {16} */
  readonly width?: number;
  /** Training images, in batches of 16. @default {44, of which the last batch has 12} */
  readonly images?: number;
  /** Epochs of the whole training. @default {3} */
  readonly epochs?: number;
  /** How often losses are read, to be logged and shown, in milliseconds. @default {0, after each step} */
  readonly readEveryMs?: number;
  /** More callbacks. */
  readonly callbacks?: readonly Callback[];
}

/** A training that can be run, resumed and compared. */
export interface WholeTraining {
  readonly trainer: Engine<ClassificationBatch>;
  readonly checkpoints: CheckpointCallback | null;
  /** Runs what is left of its epochs. */
  run(): Promise<void>;
  /** The bytes of all tensors of model and optimizer. */
  weights(): Promise<string>;
}

const BATCH = 16;

/** The training, made anew: equal options give equal trainings. */
export function wholeTraining(options: TrainingOptions): WholeTraining {
  const { device, store, session, captured = false, width = 16, images = 44 } = options;
  const { epochs = 3, everySteps = 1, watchers = WATCHERS, readEveryMs = 0 } = options;
  manualSeed(7);
  const building = device.scope();
  const model = new Sequential(
    new Flatten(),
    new Linear(784, width, { device }),
    new BatchNorm1d(width, { device }),
    new ReLU(),
    new Dropout(0.25),
    new Linear(width, 10, { device }),
  );
  const optimizer = new AdamW(model.parameters(), {
    lr: 0.01,
    maxGradNorm: 1,
    ema: { decay: 0.9 },
  });
  const ema = new ModelEma(model, optimizer);
  building.close();
  const train = digits({ split: "train", count: images, seed: 1 });
  const test = digits({ split: "test", count: 24, seed: 1 });
  const loader = new DataLoader(train, { batchSize: BATCH, shuffle: true, seed: 3, device });
  const testLoader = new DataLoader(test, { batchSize: 24, device });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const metrics = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
  const evaluator = new Engine(evaluationStep<ClassificationBatch>(), context, {
    name: "evaluator",
    callbacks: [metrics()],
  });
  const checkpoints = store === undefined ? null : new CheckpointCallback(store, {
    parts: { loader, ema },
    everySteps,
    everyEpochs: null,
  });
  const making: Record<(typeof WATCHERS)[number], () => Callback[]> = {
    evaluation: () => [new EvalOnEpochEndCallback(evaluator, testLoader) as Callback],
    ema: () => [new EmaCallback(ema)],
    stopping: () => [
      new EarlyStoppingCallback({ monitor: "loss", mode: "min", patience: 1_000_000 }),
    ],
    tracking: () =>
      session === undefined
        ? []
        : [new TrackingCallback(session, { every: 1, readEveryMs }) as Callback],
    progress:
      () => [new ProgressBarCallback({ write: () => {}, intervalMs: readEveryMs }) as Callback],
  };
  const step = supervisedStep<ClassificationBatch>();
  const total = epochs * Math.ceil(images / BATCH);
  const trainer = new Engine(captured ? jit(step) : step, context, {
    name: "trainer",
    callbacks: [
      metrics() as Callback,
      new LrScheduleCallback(schedule.cosine({ tMax: total })),
      ...watchers.flatMap((watcher) => making[watcher]()),
      ...(checkpoints === null ? [] : [checkpoints]),
      ...(options.callbacks ?? []),
    ],
  });
  return {
    trainer: trainer as unknown as Engine<ClassificationBatch>,
    checkpoints,
    async run() {
      const left = epochs - trainer.state.epoch;
      if (left > 0) await trainer.loop(loader, { maxEpochs: left, signals: false });
    },
    async weights() {
      using _ = device.scope();
      const { state } = optimizer.stateDict();
      const slots = Object.values(state).flatMap((slot) =>
        Object.values(slot).filter((value) => typeof value !== "number")
      );
      const tensors = [...Object.values(model.stateDict()), ...slots];
      const arrays = await Promise.all(tensors.map((tensor) => tensor.data()));
      return arrays.map((array) => new Uint8Array(array.buffer).toHex()).join("\n");
    },
  };
}

/** All that a checkpoint holds as text, but for the time at which it was saved and the run that it belongs to. */
export async function contentOf(store: CheckpointStore, which: "last" | number): Promise<string> {
  const { tensors, state, entry } = await store.load(which);
  const { step, epoch, metrics } = entry;
  const { engine, ...parts } = state as unknown as { engine: { callbacks: object } };
  const callbacks = { ...engine.callbacks, TrackingCallback: null };
  const spelled = (_key: string, value: unknown) =>
    ArrayBuffer.isView(value) ? new Uint8Array(value.buffer).toHex() : value;
  const whole = { tensors, parts, engine: { ...engine, callbacks }, step, epoch, metrics };
  return JSON.stringify(whole, spelled);
}
