/** The learning rate range test: what the loss says to ever larger learning rates. */

import type { Loader } from "../engine/batches.ts";
import type { Callback } from "../engine/callback.ts";
import { LrScheduleCallback, type Schedulable } from "../engine/callbacks/lr_schedule.ts";
import type { Context } from "../engine/context.ts";
import { Engine, type StepFunction } from "../engine/engine.ts";
import type { StepEndEvent } from "../engine/events.ts";
import type { OptimizerStateDict } from "../optim/state_dict.ts";
import { copyOf } from "../tensor/in_place.ts";
import { noGrad } from "../tensor/tape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { checkCount, checkNames, checkNumber } from "./checks.ts";
import { createExponentialSchedule } from "./keyframe.ts";

/** A model whose values can be put back. */
export interface LrRangeModel {
  /** Its parameters and buffers by name. */
  stateDict(): Readonly<Record<string, Tensor>>;
  /** Takes over such values. */
  loadStateDict(dict: Readonly<Record<string, Tensor>>): unknown;
}

/** An optimizer whose state can be put back. */
export interface LrRangeOptimizer extends Schedulable {
  /** Its state, and the options of its groups. */
  stateDict(): OptimizerStateDict;
  /** Takes over such a state. */
  loadStateDict(dict: OptimizerStateDict): void;
  /** Forgets the gradients. */
  zeroGrad(): void;
}

/** Options of `lrRangeTest()`. */
export interface LrRangeOptions {
  /** Rate of the first step, above 0. @default {1e-6} */
  readonly minLr?: number;
  /** Rate of the last step, above the first. @default {10} */
  readonly maxLr?: number;
  /** Steps from one to the other, from 10. @default {100} */
  readonly steps?: number;
  /** β of the smoothed loss, from 0 to below 1. @default {0.8} */
  readonly smoothing?: number;
  /**
   * The test ends where the running mean of the loss is this many times its least value, above 1.
   * @default {4}
   */
  readonly divergence?: number;
}

/** A step of a range test. */
export interface LrRangeRow {
  /** Its learning rate, that of the first group. */
  readonly lr: number;
  /** The loss of its batch, before the update with this rate. */
  readonly loss: number;
  /** The losses around, weighed by `β^distance`. */
  readonly smoothed: number;
}

/** What a range test has found. */
export interface LrRange {
  /** The steps that were taken. */
  readonly rows: readonly LrRangeRow[];
  /** Whether the loss ran away before the largest rate; if not, that may have been too small. */
  readonly diverged: boolean;
  /** The rate at which the smoothed loss falls most for a change of the logarithm of the rate. */
  readonly steepest: number | null;
  /** The rate at which the smoothed loss is least: about the largest one that still trains. */
  readonly minimum: number | null;
  /** A tenth of `minimum`. */
  readonly minimumTenth: number | null;
}

/** Options with their defaults filled in. */
type Settings = Required<LrRangeOptions>;

/**
 * The learning rate range test: takes steps with rates that grow by equal ratios, from `minLr` to
 * `maxLr`, and looks at the loss (Smith, "Cyclical learning rates for training neural networks",
 * 2017; with the smoothed loss and the end at divergence of fastai's `lr_find`).
 *
 * The test ends by the running mean `a ← β a + (1 − β) loss`, divided by `1 − β^t`. The smoothed
 * loss `Σ β^|i−j| loss_j / Σ β^|i−j|` looks both ways, so that it does not tell late what happened;
 * losses above the bound of divergence count as that bound. Suggested rates lie between the first
 * tenth of the steps and the least smoothed loss; all are null if it did not fall there. The groups
 * of the optimizer keep the proportions of their rates.
 *
 * Afterwards, also after an error, parameters, buffers and the optimizer are bit for bit what they
 * were, gradients are forgotten, and a loader with `state()` and `load()` is where it was. What the
 * step counts or draws beside that, such as masks of dropout from the default key, goes on.
 *
 * @param step what trains, such as `supervisedStep()`; its output needs a loss
 * @param context model, optimizer and what else the step takes; the model is used in its mode
 * @param loader batches, begun anew where they do not last
 * @param options rates, steps, smoothing, and when it ends
 * @returns the course of the loss, and rates to begin with
 * @throws {TypeError} if model or optimizer cannot be put back, or the step gives no loss
 * @throws {RangeError} if an option is out of its range, or the loader is empty
 *
 * @example
 * ```ts
 * import {
 *   Context,
 *   lrRangeTest,
 *   referenceDevice,
 *   SGD,
 *   supervisedStep,
 *   tensor,
 * } from "@legoml/legoml/core";
 * import { Linear, mseLoss } from "@legoml/legoml/nn";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Linear(1, 1, { device });
 * const optimizer = new SGD(model.parameters(), { lr: 0.01 });
 * const context = new Context({ model, optimizer, lossFn: mseLoss, device });
 * const batch = {
 *   inputs: tensor([[-1], [0], [1]], { device }),
 *   targets: tensor([[3], [5], [7]], { device }),
 * };
 * const before = await model.weight.data();
 * const { steepest, diverged } = await lrRangeTest(supervisedStep(), context, [batch]);
 * assert(diverged && steepest! > 1e-3 && steepest! < 1); // above 1 gradient descent runs away
 * assertEquals(await model.weight.data(), before);
 * assertEquals(optimizer.lr, 0.01);
 * ```
 */
export async function lrRangeTest<B, R, C extends Context<LrRangeModel, LrRangeOptimizer>>(
  step: StepFunction<B, R, C>,
  context: C,
  loader: Loader<B>,
  options: LrRangeOptions = {},
): Promise<LrRange> {
  const settings = settingsOf(options);
  const { minLr, maxLr, steps } = settings;
  checkContext(context);
  const rates = createExponentialSchedule(minLr, maxLr, steps - 1);
  const recorder = new LossRecorder(settings, context.optimizer);
  const engine = new Engine(step as StepFunction, context, {
    name: "learning rate range test",
    callbacks: [new LrScheduleCallback(rates, { metric: null }), recorder],
  });
  const putBack = remember(context, loader);
  try {
    await engine.loop(loader, { maxSteps: steps });
  } finally {
    putBack();
  }
  const rows = recorder.rows();
  return { rows, diverged: recorder.diverged, ...suggest(rows, steps) };
}

/**
 * The rates to begin with.
 *
 * @param rows the steps that were taken, rates growing by equal ratios
 * @param steps how many were asked for; the first tenth of them is left out
 */
export function suggest(
  rows: readonly LrRangeRow[],
  steps: number,
): Pick<LrRange, "steepest" | "minimum" | "minimumTenth"> {
  const heights = rows.map(({ smoothed }) => smoothed);
  const first = Math.max(1, Math.floor(steps / 10));
  let least = 0;
  heights.forEach((height, i) => height < heights[least] && (least = i));
  let [steepest, most] = [-1, 0];
  for (let i = first; i < least; i++) {
    const slope = heights[i + 1] - heights[i - 1];
    if (slope < most) [steepest, most] = [i, slope];
  }
  if (steepest < 0) return { steepest: null, minimum: null, minimumTenth: null };
  const minimum = rows[least].lr;
  return { steepest: rows[steepest].lr, minimum, minimumTenth: minimum / 10 };
}

/** Reads the loss of each step, and ends the test where it runs away. */
class LossRecorder implements Callback {
  readonly name = "LossRecorder";
  diverged = false;
  readonly #settings: Settings;
  readonly #optimizer: Schedulable;
  readonly #steps: { readonly lr: number; readonly loss: number }[] = [];
  #average = 0;
  #least = Infinity;

  constructor(settings: Settings, optimizer: Schedulable) {
    this.#settings = settings;
    this.#optimizer = optimizer;
  }

  /** The steps, with smoothed losses. */
  rows(): LrRangeRow[] {
    const { smoothing } = this.#settings;
    const losses = this.#steps.map(({ loss }) => loss <= this.#limit ? loss : this.#limit);
    return this.#steps.map((step, i) => {
      let [sum, weights] = [0, 0];
      losses.forEach((loss, j) => {
        const weight = smoothing ** Math.abs(i - j);
        sum += weight * loss;
        weights += weight;
      });
      return { ...step, smoothed: sum / weights };
    });
  }

  async onStepEnd({ engine, output }: StepEndEvent): Promise<void> {
    const tensor = output.loss;
    if (tensor === undefined) {
      throw new TypeError(
        `Cannot test learning rates: expected the step to return a loss, found ${
          output.names().join(", ") || "nothing"
        }`,
      );
    }
    const { smoothing } = this.#settings;
    const loss = await tensor.item();
    this.#steps.push({ lr: this.#optimizer.groups[0].lr, loss });
    this.#average = smoothing * this.#average + (1 - smoothing) * loss;
    const mean = this.#average / (1 - smoothing ** this.#steps.length);
    if (Number.isFinite(mean)) this.#least = Math.min(this.#least, mean);
    this.diverged = !(Number.isFinite(mean) && mean <= this.#limit);
    if (this.diverged) engine.stop("the loss diverged");
  }

  /** The bound of divergence; for losses below 0, too, as a distance from the least one. */
  get #limit(): number {
    return this.#least + (this.#settings.divergence - 1) * Math.abs(this.#least);
  }
}

function settingsOf(options: LrRangeOptions): Settings {
  const owner = "a learning rate range test";
  checkNames(owner, options, ["minLr", "maxLr", "steps", "smoothing", "divergence"]);
  const { minLr = 1e-6, maxLr = 10, steps = 100, smoothing = 0.8, divergence = 4 } = options;
  checkCount(owner, "steps", steps, 10);
  const need = (name: string, value: number, fits: boolean, expected: string) => {
    checkNumber(owner, name, value);
    if (fits) return;
    throw new RangeError(`Cannot make ${owner} with ${name} ${value}: expected ${expected}`);
  };
  need("minLr", minLr, minLr > 0, "a number above 0");
  need("maxLr", maxLr, maxLr > minLr, `a number above minLr, which is ${minLr}`);
  need("smoothing", smoothing, smoothing >= 0 && smoothing < 1, "a number from 0 to below 1");
  need("divergence", divergence, divergence > 1, "a number above 1");
  return { minLr, maxLr, steps, smoothing, divergence };
}

function checkContext({ model, optimizer }: Context<unknown, unknown>): void {
  for (const [name, part] of Object.entries({ model, optimizer })) {
    const { stateDict, loadStateDict } = (part ?? {}) as Partial<LrRangeModel>;
    if (typeof stateDict === "function" && typeof loadStateDict === "function") continue;
    throw new TypeError(
      `Cannot test learning rates: expected the context's ${name} to have stateDict() and ` +
        "loadStateDict(), so that it can be put back",
    );
  }
}

/** Copies what the test changes; gives what puts it back. */
function remember<B>(
  { model, optimizer }: Context<LrRangeModel, LrRangeOptimizer>,
  loader: Loader<B>,
): () => void {
  const copies: Tensor[] = [];
  const copy = <T>(value: T): T => {
    if (!(value instanceof Tensor)) return value;
    copies.push(noGrad(() => copyOf(value)).keep());
    return copies[copies.length - 1] as T;
  };
  const values = mapValues(model.stateDict(), copy);
  const { state, param_groups } = optimizer.stateDict();
  const saved = { state: mapValues(state, (slots) => mapValues(slots, copy)), param_groups };
  const { state: where, load } = loader as { state?(): unknown; load?(state: unknown): void };
  const place = typeof where === "function" && typeof load === "function"
    ? where.call(loader)
    : null;
  return () => {
    model.loadStateDict(values);
    // After the model: averages that have not begun start from its values.
    optimizer.loadStateDict(saved);
    optimizer.zeroGrad();
    if (place !== null) load!.call(loader, place);
    for (const tensor of copies) tensor.dispose();
  };
}

function mapValues<T, U>(
  record: Readonly<Record<string, T>>,
  map: (value: T) => U,
): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
