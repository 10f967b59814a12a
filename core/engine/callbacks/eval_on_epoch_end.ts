/** Evaluates at the end of epochs. */

import type { Loader } from "../batches.ts";
import type { Callback, Phase } from "../callback.ts";
import type { Context } from "../context.ts";
import type { Engine, EngineSnapshot } from "../engine.ts";
import type { EngineEvent, EpochEndEvent } from "../events.ts";
import { evaluationMode } from "../model_mode.ts";
import type { StepOutput } from "../step_output.ts";

/** Options of `EvalOnEpochEndCallback`. */
export interface EvalOnEpochEndOptions {
  /** Evaluate at epochs that are multiples of this number. @default {1} */
  every?: number;
  /** What the names of the evaluator's metrics start with, before a slash. @default {"eval"} */
  prefix?: string;
}

/**
 * Runs an evaluator for one epoch at the end of training epochs, also of partial ones, and copies its
 * metrics into the trainer's as `prefix/name`. They are gone again when the next epoch starts.
 *
 * An interrupted trainer evaluates nothing; an evaluation that runs by then ends after its step, and
 * its metrics, of a part of the data, are not copied. In a dry run it evaluates one batch, whatever
 * `every` says.
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
> implements Callback {
  /** How errors, plans and saved states call it. */
  readonly name: string;
  /** After metrics and schedules, before logging. */
  readonly phase: Phase = "evaluate";
  #evaluator: Engine<B, O, C>;
  #loader: Loader<B>;
  #every: number;
  #prefix: string;
  #written: string[] = [];

  /**
   * Makes the callback.
   *
   * @param evaluator the engine that evaluates; its counters are its own
   * @param loader what it evaluates on
   * @param options how often, and the prefix of the metrics
   * @throws {RangeError} if `every` is no whole number from 1
   */
  constructor(
    evaluator: Engine<B, O, C>,
    loader: Loader<B>,
    options: EvalOnEpochEndOptions = {},
  ) {
    const { every = 1, prefix = "eval" } = options;
    if (!Number.isSafeInteger(every) || every < 1) {
      throw new RangeError(
        `Cannot evaluate on epoch ends: expected every to be a whole number from 1, found ${every}`,
      );
    }
    this.#evaluator = evaluator;
    this.#loader = loader;
    this.#every = every;
    this.#prefix = prefix;
    this.name = `EvalOnEpochEndCallback ${prefix}`;
  }

  /** Takes away the metrics of earlier epochs, so that nobody logs them again as new ones. */
  onEpochStart({ state }: EngineEvent): void {
    for (const key of this.#written) delete state.metrics[key];
    this.#written = [];
  }

  /** Evaluates when it is time. */
  async onEpochEnd({ state }: EpochEndEvent): Promise<void> {
    const { current, dryRun } = state;
    const due = current.epoch % this.#every === 0 || dryRun;
    const interrupted = () => state.stopReason === "interrupted";
    if (!due || interrupted()) return;
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
    if (this.#evaluator.state.stopReason === "interrupted") return;
    const named = Object.entries(metrics).map(([key, v]) => [`${this.#prefix}/${key}`, v] as const);
    state.claimMetrics(this, named.map(([key]) => key));
    for (const [key, value] of named) state.metrics[key] = value;
    this.#written = named.map(([key]) => key);
  }

  /** The evaluator's snapshot. */
  state(): Promise<EngineSnapshot> {
    return this.#evaluator.snapshot();
  }

  /** Takes back what `state` gave. */
  async load(state: unknown): Promise<void> {
    await this.#evaluator.restore(state as EngineSnapshot);
  }
}
