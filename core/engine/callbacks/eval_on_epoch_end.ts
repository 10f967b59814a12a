/** Evaluates at the end of epochs. */

import { type Loader, loaderState, loadLoader } from "../batches.ts";
import type { Callback, Phase } from "../callback.ts";
import type { Context } from "../context.ts";
import type { Engine, EngineSnapshot } from "../engine.ts";
import type { EngineEvent, EpochEndEvent } from "../events.ts";
import type { MetricSource, PrefixedName } from "../metric_source.ts";
import { evaluationMode } from "../model_mode.ts";
import type { StepOutput } from "../step_output.ts";
import { describeValue } from "../tensor_like.ts";

/** Options of `EvalOnEpochEndCallback`. */
export interface EvalOnEpochEndOptions<P extends string = string> {
  /** Evaluate at epochs that are multiples of this number. @default {1} */
  every?: number;
  /** What the names of the evaluator's metrics start with, before a slash. @default {"eval"} */
  prefix?: P;
}

interface SavedState {
  readonly evaluator: EngineSnapshot;
  /** Where the evaluator's loader is; null where it does not tell. */
  readonly loader: unknown;
  /** The metrics that the next epoch takes away. */
  readonly written: readonly string[];
}

/**
 * Runs an evaluator for one epoch at the end of training epochs, also of partial ones, and copies its
 * metrics into the trainer's as `prefix/name`. They are gone again when the next epoch starts.
 *
 * An interrupted trainer evaluates nothing; an evaluation that runs by then ends after its step, and
 * its metrics, of a part of the data, are not copied. The end of the epoch is then repeated when the
 * trainer goes on, so that no evaluation is lost and nobody decides without its metrics. In a dry run it evaluates one batch, whatever
 * `every` says.
 *
 * Evaluator, position of the loader and names of the metrics are saved. An evaluation of a partial
 * epoch is none for them: what is saved after it is as before it, since the run that goes on evaluates
 * again at the end of the epoch.
 *
 * As far as the evaluator's type knows the names of its metrics (`K`), the trainer's knows them
 * behind the prefix (`P`).
 *
 * The evaluator's model is in evaluation mode meanwhile; every part of it gets its own mode back.
 *
 * @example Evaluate after each epoch
 * ```ts
 * import { Context, Engine, EvalOnEpochEndCallback } from "@legoml/legoml/core";
 *
 * const context = new Context({ model: { bias: 2 } });
 * const evaluator = new Engine((_engine, _x: number) => {}, context);
 * evaluator.on("epochEnd", ({ state, context }) => {
 *   state.metrics.bias = context.model.bias;
 * });
 * const trainer = new Engine((_engine, x: number, { model }) => void (model.bias += x), context, {
 *   callbacks: [new EvalOnEpochEndCallback(evaluator, [0])],
 * });
 * const state = await trainer.loop([1, 1], { maxEpochs: 2 });
 * console.assert(state.metrics["eval/bias"] === 6);
 * ```
 */
export class EvalOnEpochEndCallback<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
  P extends string = "eval",
> implements Callback, MetricSource<PrefixedName<P, K>> {
  /** How errors, plans and saved states call it. */
  readonly name: string;
  /** After metrics and schedules, before logging. */
  readonly phase: Phase = "evaluate";
  #evaluator: Engine<B, O, C>;
  #loader: Loader<B>;
  #every: number;
  #prefix: string;
  #written: readonly string[] = [];
  /** What was saved before the evaluation of a partial epoch, as long as that is the latest one. */
  #before: SavedState | null = null;

  /**
   * Makes the callback.
   *
   * @param evaluator the engine that evaluates; its counters are its own
   * @param loader what it evaluates on
   * @param options how often, and the prefix of the metrics
   * @throws {RangeError} if `every` is no whole number from 1
   */
  constructor(
    evaluator: Engine<B, O, C, K>,
    loader: Loader<B>,
    options: EvalOnEpochEndOptions<P> = {},
  ) {
    const { every = 1, prefix = "eval" } = options;
    if (!Number.isSafeInteger(every) || every < 1) {
      throw new RangeError(
        `Cannot evaluate on epoch ends: expected every to be a whole number from 1, found ${every}`,
      );
    }
    this.#evaluator = evaluator as Engine<B, O, C>;
    this.#loader = loader;
    this.#every = every;
    this.#prefix = prefix;
    this.name = `EvalOnEpochEndCallback ${prefix}`;
  }

  /** The names of the evaluator's metrics, behind the prefix. */
  get metricKeys(): readonly PrefixedName<P, K>[] {
    const keys = this.#evaluator.metricKeys.map((key) => `${this.#prefix}/${key}`);
    return keys as PrefixedName<P, K>[];
  }

  /** Whether larger or smaller values of a metric are better, as the evaluator says. */
  betterOf(key: string): "up" | "down" | null {
    const start = `${this.#prefix}/`;
    return key.startsWith(start) ? this.#evaluator.betterOf(key.slice(start.length)) : null;
  }

  /** Takes away the metrics of earlier epochs, so that nobody logs them again as new ones. */
  onEpochStart({ state }: EngineEvent): void {
    for (const key of this.#written) delete state.metrics[key];
    this.#written = [];
    this.#before = null;
  }

  /** Evaluates when it is time. */
  async onEpochEnd({ state, complete }: EpochEndEvent): Promise<void> {
    const { current, dryRun } = state;
    const due = current.epoch % this.#every === 0 || dryRun;
    const interrupted = () => state.stopReason === "interrupted";
    if (!due) return;
    if (interrupted()) return state.repeatEpochEnd();
    const before = await this.#saved();
    using _mode = evaluationMode(this.#evaluator.context.model);
    // The trainer hears of signals, and an evaluation goes on only as long as the trainer would.
    using _stop = this.#evaluator.on("stepEnd", ({ engine }) => {
      if (interrupted()) engine.stop("interrupted");
    }, { name: "interruption of the trainer" });
    const { metrics } = await this.#evaluator.loop(this.#loader, {
      maxEpochs: 1,
      signals: false,
      dryRun,
    });
    const cut = this.#evaluator.state.stopReason === "interrupted";
    this.#before = complete && !cut ? null : this.#before ?? before;
    if (cut) return state.repeatEpochEnd();
    const named = Object.entries(metrics).map(([key, v]) => [`${this.#prefix}/${key}`, v] as const);
    state.claimMetrics(this, named.map(([key]) => key));
    for (const [key, value] of named) state.metrics[key] = value;
    this.#written = named.map(([key]) => key);
  }

  /** The evaluator's snapshot, the position of its loader, and the names of the metrics. */
  async state(): Promise<unknown> {
    return { ...this.#before ?? await this.#saved(), written: [...this.#written] };
  }

  /**
   * Takes back what `state` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  async load(state: unknown): Promise<void> {
    const { evaluator, loader, written } = (state ?? {}) as Partial<SavedState>;
    const isName = (name: unknown) => typeof name === "string";
    if (evaluator === undefined || !Array.isArray(written) || !written.every(isName)) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected evaluator, loader and written, found ` +
          describeValue(state),
      );
    }
    loadLoader(this.#loader, loader, this.name);
    await this.#evaluator.restore(evaluator);
    this.#written = [...written];
    this.#before = null;
  }

  async #saved(): Promise<SavedState> {
    const evaluator = await this.#evaluator.snapshot();
    return { evaluator, loader: loaderState(this.#loader), written: this.#written };
  }
}
