/** Averages of a model in the training loop. */

import type {
  Callback,
  Engine,
  EngineEvent,
  EpochEndEvent,
  Loader,
  Phase,
  StepEndEvent,
} from "../core/engine/mod.ts";
import { EvalOnEpochEndCallback } from "../core/engine/mod.ts";
import { estimateBatchNorm } from "./batch_norm_estimate.ts";
import type { ModelEma } from "./model_ema.ts";
import { Module } from "./module.ts";

/** Options of `EmaCallback`. */
export interface EmaCallbackOptions<B = unknown> {
  /** Evaluates the averages; its context holds the model that is averaged. @default {none} */
  evaluator?: Engine<B>;
  /** What it evaluates on. */
  loader?: Loader<B>;
  /** Evaluate at epochs that are multiples of this number. @default {1} */
  every?: number;
  /** What the names of the evaluator's metrics start with, before a slash. @default {"ema"} */
  prefix?: string;
  /** Averages start anew from the model after this many steps. @default {0} */
  startStep?: number;
  /**
   * Batches to estimate the statistics of batch normalisations from before each evaluation, as
   * `estimateBatchNorm()` does. @default {none}
   */
  batchNorm?: Loader<unknown>;
}

/**
 * Updates the averages of a model after each step, and evaluates with the averages in its place at
 * the end of epochs; the evaluator's metrics become `ema/<name>`.
 *
 * A checkpoint needs the optimizer's state, in which the averages of parameters are, and
 * `ema.stateDict()` for those of buffers; the state of the callback holds the counts.
 *
 * @example
 * ```ts
 * import { EmaCallback, Linear, ModelEma } from "@legoml/legoml/nn";
 * import { Context, Engine, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assert } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Linear(1, 1, { bias: false, device });
 * using optimizer = new SGD(model.parameters(), { lr: 0.1, ema: { decay: 0.9 } });
 * const x = tensor([[1], [2]], { device });
 * const evaluator = new Engine(() => {}, new Context({ model }));
 * evaluator.on("epochEnd", async ({ state }) => {
 *   state.metrics.weight = await model.weight.item();
 * });
 * const trainer = new Engine((engine) => {
 *   optimizer.zeroGrad();
 *   engine.backward(model.forward(x).square().sum());
 *   optimizer.step();
 * }, new Context({ model, optimizer }));
 * using ema = new ModelEma(model, optimizer);
 * trainer.add(new EmaCallback(ema, { evaluator, loader: [0] }));
 * const { metrics } = await trainer.loop([0, 0]);
 * assert(Math.abs(metrics["ema/weight"]) > Math.abs(await model.weight.item()));
 * ```
 */
export class EmaCallback<B = unknown> implements Callback {
  /** How errors, plans and saved states call it. */
  readonly name: string;
  /** After metrics and schedules, before logging. */
  readonly phase: Phase = "evaluate";
  readonly #ema: ModelEma;
  readonly #evaluation: EvalOnEpochEndCallback | null;
  readonly #every: number;
  readonly #startStep: number;
  readonly #batchNorm: Loader<unknown> | null;

  /**
   * Makes the callback.
   *
   * @param ema the averages
   * @param options evaluation, and when averaging starts
   * @throws {RangeError} if `every` or `startStep` is no whole number in its range
   * @throws {TypeError} if there is an evaluator without a loader or the other way round, or its
   * context holds another model
   */
  constructor(ema: ModelEma, options: EmaCallbackOptions<B> = {}) {
    const { evaluator, loader, every = 1, prefix = "ema", startStep = 0, batchNorm } = options;
    if (!Number.isSafeInteger(startStep) || startStep < 0) {
      throw new RangeError(
        `Cannot average from step ${startStep} on: expected startStep to be a whole number from 0`,
      );
    }
    if ((evaluator === undefined) !== (loader === undefined)) {
      throw new TypeError(
        "Cannot evaluate averages: expected an evaluator and a loader or neither, found one of them",
      );
    }
    const model: unknown = evaluator?.context.model;
    if (model instanceof Module && !model.modules().includes(ema.model)) {
      throw new TypeError(
        "Cannot evaluate averages: expected the evaluator's context to hold the averaged model, " +
          "found another one",
      );
    }
    this.name = `EmaCallback ${prefix}`;
    this.#ema = ema;
    this.#evaluation = evaluator === undefined ? null : new EvalOnEpochEndCallback(
      evaluator as Engine,
      loader as Loader<unknown>,
      { every, prefix },
    );
    this.#every = every;
    this.#startStep = startStep;
    this.#batchNorm = batchNorm ?? null;
  }

  /** Takes away the metrics of earlier epochs. */
  onEpochStart(event: EngineEvent): void {
    this.#evaluation?.onEpochStart(event);
  }

  /** Averages the buffers, or starts anew when it is time. */
  onStepEnd({ state }: StepEndEvent): void {
    if (state.globalStep > this.#startStep) this.#ema.update();
    else if (state.globalStep === this.#startStep) this.#ema.copyFrom();
  }

  /** Evaluates with the averages in place when it is time. */
  async onEpochEnd(event: EpochEndEvent): Promise<void> {
    const { current, stopReason } = event.state;
    if (this.#evaluation === null || stopReason === "interrupted") return;
    if (current.epoch % this.#every !== 0) return;
    using _ = this.#ema.applied();
    if (this.#batchNorm !== null) await estimateBatchNorm(this.#ema.model, this.#batchNorm);
    await this.#evaluation.onEpochEnd(event);
  }

  /** The number of updates, and the evaluator's snapshot. */
  async state(): Promise<unknown> {
    return { updates: this.#ema.updates, evaluator: await this.#evaluation?.state() ?? null };
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  async load(state: unknown): Promise<void> {
    const { updates, evaluator } = (state ?? {}) as { updates?: unknown; evaluator?: unknown };
    if (typeof updates !== "number" || (evaluator === null) !== (this.#evaluation === null)) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected updates and ${
          this.#evaluation === null ? "no evaluator" : "the evaluator's state"
        }, found ${JSON.stringify(state)}`,
      );
    }
    await this.#evaluation?.load(evaluator);
    this.#ema.updates = updates;
  }
}
