/** Negative controls: what a resumed run gets wrong on purpose. */

import {
  type Callback,
  EarlyStoppingCallback,
  EvalOnEpochEndCallback,
  type GradientAccumulator,
  type LossScaler,
  LrScheduleCallback,
  manualSeed,
  type Tensor,
} from "../../core/mod.ts";
import { MetricsCallback } from "../../metrics/mod.ts";
import { type Dropout, EmaCallback } from "../../nn/mod.ts";
import { TrackingCallback } from "../../track/mod.ts";
import type { Resumed, Spoils } from "./resume_program.ts";

type Saved = Record<string, unknown>;
type Stateful = Callback & { state(): unknown; load(state: unknown): unknown };

/** Changes the state that a callback of a class has got back. */
async function change(
  { trainer }: Resumed,
  // deno-lint-ignore no-explicit-any -- constructors of any arguments
  type: abstract new (...args: any[]) => object,
  next: (state: Saved) => Saved,
): Promise<void> {
  const callback = trainer.callbacks.find((callback) => callback instanceof type) as Stateful;
  await callback.load(next(await callback.state() as Saved));
}

function loaderOf({ loader }: Resumed) {
  return loader as unknown as {
    state(): { epoch: number; position: number };
    load(state: { epoch: number; position: number }): void;
  };
}

/** The slots of the optimizer, each as a function says. */
function changeSlots({ optimizer }: Resumed, next: (slot: Tensor) => Tensor): void {
  const { state, param_groups } = optimizer.stateDict();
  const changed = Object.entries(state).map(([id, entry]) => {
    const slots = Object.entries(entry).map(([name, value]) => [
      name,
      typeof value === "number" ? value : next(value),
    ]);
    return [id, Object.fromEntries(slots)];
  });
  optimizer.loadStateDict({ state: Object.fromEntries(changed), param_groups });
}

function partOf<T>({ trainer }: Resumed, type: new (...args: never[]) => T, name: string) {
  const found = trainer.callbacks.find((callback) => callback instanceof type);
  return (found as unknown as { parts: Record<string, { loadStateDict(dict: unknown): void }> })
    .parts[name];
}

/** Ways to spoil a run that was just resumed, by name. */
export const SPOILS: Spoils = {
  "nothing": () => {},
  "position in the data": (run) => {
    const loader = loaderOf(run);
    const { position, ...state } = loader.state();
    loader.load({ ...state, position: position - 1 });
  },
  "order of the data": (run) => {
    const loader = loaderOf(run);
    const { epoch, ...state } = loader.state();
    loader.load({ ...state, epoch: epoch + 1 });
  },
  "slots of the optimizer": (run) => changeSlots(run, (slot) => slot.mul(0)),
  "counters of the engine": ({ trainer }) => void trainer.state.samples--,
  "values of metrics": ({ trainer }) => {
    const metrics = trainer.callbacks.find((one) => one instanceof MetricsCallback);
    for (const metric of (metrics as MetricsCallback).metrics) metric.reset();
  },
  "rows of the tracker": (run) =>
    change(run, TrackingCallback, (state) => ({ ...state, rows: state.rows as number - 1 })),
  "draws of dropout": ({ model }) => void ((model.at(3) as Dropout).position = 0),
  "default stream of random numbers": () => manualSeed(0),
  "draws of augmentation": ({ parts }) => {
    (parts.augment as { position: number }).position--;
  },
  "updates of averages": (run) => change(run, EmaCallback, (state) => ({ ...state, updates: 0 })),
  "averages of buffers": (run) => {
    const dict = run.model.stateDict();
    const keys = Object.keys(dict).filter((key) => key.includes("running_"));
    const live = Object.fromEntries(keys.map((key) => [key, dict[key]]));
    const counts = Object.keys(dict).filter((key) => key.endsWith("num_batches_tracked"));
    for (const key of counts) live[key] = dict[key];
    partOf(run, EmaCallback, "averages").loadStateDict(live);
  },
  "scale of the loss": ({ parts }) => {
    const scaler = parts.scaler as unknown as LossScaler;
    scaler.loadStateDict({ ...scaler.stateDict(), scale: 1024 });
  },
  "window of the accumulator": ({ parts }) => (parts.accumulator as GradientAccumulator).reset(),
  "state of the plateau": (run) =>
    change(run, LrScheduleCallback, (state) => ({
      ...state,
      schedule: { best: null, bad: 0, cooldown: 0, reductions: 0 },
    })),
  "state of early stopping": (run) =>
    change(run, EarlyStoppingCallback, () => ({ best: null, bestEpoch: 0, bad: 0 })),
  "best weights": (run) => {
    const weights = run.model.stateDict();
    partOf(run, EarlyStoppingCallback, "best").loadStateDict({ epoch: 3, weights });
  },
  "order of the evaluation": (run) =>
    change(run, EvalOnEpochEndCallback, (state) => ({
      ...state,
      loader: { ...state.loader as object, epoch: 0 },
    })),
  "metrics that evaluations left": (run) =>
    change(run, EvalOnEpochEndCallback, (state) => ({ ...state, written: [] })),
};

/** Which configuration a control spoils, and after which step. */
export const CONTROLS: readonly (readonly [config: string, at: number, spoils: string[]])[] = [
  ["shuffle", 13, [
    "position in the data",
    "order of the data",
    "slots of the optimizer",
    "counters of the engine",
    "values of metrics",
    "rows of the tracker",
  ]],
  ["dropout", 11, ["draws of dropout"]],
  ["augmentation on the device", 12, ["draws of augmentation"]],
  ["averages", 12, ["updates of averages", "averages of buffers"]],
  ["loss scaler", 14, ["scale of the loss"]],
  ["accumulation", 12, ["window of the accumulator"]],
  ["plateau", 27, ["state of the plateau"]],
  ["early stopping", 27, [
    "state of early stopping",
    "best weights",
    "order of the evaluation",
  ]],
  ["everything, evaluated every two epochs", 20, [
    "default stream of random numbers",
    "metrics that evaluations left",
  ]],
];
