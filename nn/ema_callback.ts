/** Averages of a model in the training loop. */

import type {
  Callback,
  Context,
  Engine,
  EngineEvent,
  EpochEndEvent,
  Loader,
  MetricSource,
  Phase,
  PrefixedName,
  StepEndEvent,
  StepOutput,
} from "../core/engine/mod.ts";
import { EvalOnEpochEndCallback } from "../core/engine/mod.ts";
import { loaderState, loadLoader } from "../core/engine/batches.ts";
import type { Tensor } from "../core/mod.ts";
import { estimateBatchNorm } from "./batch_norm_estimate.ts";
import type { ModelEma } from "./model_ema.ts";
import { Module } from "./module.ts";

/** Options of `EmaCallback`, for the type of the evaluator, if any, and the prefix. */
export interface EmaCallbackOptions<
  E extends Engine | undefined = Engine,
  P extends string = string,
> {
  /** Evaluates the averages; its context holds the model that is averaged. @default {none} */
  evaluator?: E;
  /** What it evaluates on. */
  loader?: Loader<NoInfer<BatchOf<E>>>;
  /** Evaluate at epochs that are multiples of this number. @default {1} */
  every?: number;
  /** What the names of the evaluator's metrics start with, before a slash. @default {"ema"} */
  prefix?: P;
  /** Averages start anew from the model after this many steps. @default {0} */
  startStep?: number;
  /**
   * Batches to estimate the statistics of batch normalisations from before each evaluation, as
   * `estimateBatchNorm()` does. @default {none}
   */
  batchNorm?: Loader<unknown>;
}

/** The type of an engine's batches. */
export type BatchOf<E extends Engine | undefined> = E extends
  Engine<infer B, infer _O, infer _C, infer _K> ? B : unknown;

/** The names of the metrics that an evaluator writes, behind a prefix. */
export type EmaMetric<E extends Engine | undefined, P extends string> = E extends
  Engine<infer _B, infer _O, infer _C, infer K> ? PrefixedName<P, K> : never;

/**
 * Updates the averages of a model after each step, and evaluates with the averages in its place at
 * the end of epochs; the evaluator's metrics become `ema/<name>`.
 *
 * A checkpoint needs the optimizer's state, in which the averages of parameters are. Those of buffers
 * are a part of the callback, which a `CheckpointCallback` saves; its state holds the counts and the
 * positions of loaders.
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
export class EmaCallback<E extends Engine | undefined = undefined, P extends string = "ema">
  implements Callback, MetricSource<EmaMetric<E, P>> {
  /** How errors, plans and saved states call it. */
  readonly name: string;
  /** After metrics and schedules, before logging. */
  readonly phase: Phase = "evaluate";
  readonly #ema: ModelEma;
  readonly #evaluation:
    | EvalOnEpochEndCallback<unknown, StepOutput, Context, string, string>
    | null;
  readonly #every: number;
  readonly #startStep: number;
  readonly #batchNorm: Loader<unknown> | null;
  /** Where that loader was before the end of a partial epoch, as long as that is the latest one. */
  #before: unknown = null;

  /**
   * Makes the callback.
   *
   * @param ema the averages
   * @param options evaluation, and when averaging starts
   * @throws {RangeError} if `every` or `startStep` is no whole number in its range
   * @throws {TypeError} if there is an evaluator without a loader or the other way round, or its
   * context holds another model
   */
  constructor(ema: ModelEma, options: EmaCallbackOptions<E, P> = {}) {
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
      { every, prefix: prefix as string },
    );
    this.#every = every;
    this.#startStep = startStep;
    this.#batchNorm = batchNorm ?? null;
  }

  /** The names of the evaluator's metrics, behind the prefix. */
  get metricKeys(): readonly EmaMetric<E, P>[] {
    return (this.#evaluation?.metricKeys ?? []) as readonly string[] as EmaMetric<E, P>[];
  }

  /** Whether larger or smaller values of a metric are better, as the evaluator says. */
  betterOf(key: string): "up" | "down" | null {
    return this.#evaluation?.betterOf(key) ?? null;
  }

  /** Takes away the metrics of earlier epochs. */
  onEpochStart(event: EngineEvent): void {
    this.#evaluation?.onEpochStart(event);
    this.#before = null;
  }

  /** Averages the buffers, or starts anew when it is time. */
  onStepEnd({ state }: StepEndEvent): void {
    if (state.globalStep > this.#startStep) this.#ema.update();
    else if (state.globalStep === this.#startStep) this.#ema.copyFrom();
  }

  /** Evaluates with the averages in place when it is time. */
  async onEpochEnd(event: EpochEndEvent): Promise<void> {
    const { state } = event;
    if (this.#evaluation === null || state.current.epoch % this.#every !== 0) return;
    if (state.stopReason === "interrupted") return state.repeatEpochEnd();
    const before = this.#position();
    using _ = this.#ema.applied();
    if (this.#batchNorm !== null) await estimateBatchNorm(this.#ema.model, this.#batchNorm);
    await this.#evaluation.onEpochEnd(event);
    this.#before = event.complete ? null : before;
  }

  /** The averages of buffers, for checkpoints; those of parameters are the optimizer's. */
  get parts(): { readonly averages?: BufferAverages } {
    const ema = this.#ema;
    if (ema.buffers === "copy" || bufferKeys(ema).length === 0) return {};
    return {
      averages: {
        stateDict() {
          const all = ema.stateDict();
          return Object.fromEntries(bufferKeys(ema).map((key) => [key, all[key]]));
        },
        loadStateDict(dict) {
          const [here, there] = [bufferKeys(ema), Object.keys(dict)].map((k) =>
            k.sort().join(", ")
          );
          if (here !== there) {
            throw new TypeError(
              `Cannot load the averages of buffers: expected those of ${here}, found ${there}`,
            );
          }
          ema.loadStateDict(dict, { strict: false });
        },
      },
    };
  }

  /** The number of updates, the evaluator's snapshot, and the positions of loaders. */
  async state(): Promise<unknown> {
    return {
      updates: this.#ema.updates,
      evaluator: await this.#evaluation?.state() ?? null,
      batchNorm: this.#position(),
    };
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  async load(state: unknown): Promise<void> {
    const { updates, evaluator, batchNorm } = (state ?? {}) as {
      updates?: unknown;
      evaluator?: unknown;
      batchNorm?: unknown;
    };
    if (typeof updates !== "number" || (evaluator === null) !== (this.#evaluation === null)) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected updates and ${
          this.#evaluation === null ? "no evaluator" : "the evaluator's state"
        }, found ${JSON.stringify(state)}`,
      );
    }
    loadLoader(this.#batchNorm ?? [], batchNorm, this.name);
    await this.#evaluation?.load(evaluator);
    this.#ema.updates = updates;
    this.#before = null;
  }

  #position(): unknown {
    return this.#before ?? loaderState(this.#batchNorm ?? []);
  }
}

/** The averages of a model's buffers, as a part of a checkpoint. */
export interface BufferAverages {
  /** The averages by the key of the buffer. */
  stateDict(): Record<string, Tensor>;
  /** Takes back what `stateDict` gave. @throws {TypeError} if it is of other buffers */
  loadStateDict(dict: Readonly<Record<string, Tensor>>): void;
}

/** The keys of a model's state dict that are no parameters. */
function bufferKeys({ model }: ModelEma): string[] {
  const parameters = new Set(model.namedParameters().map(([key]) => key));
  return Object.keys(model.stateDict()).filter((key) => !parameters.has(key));
}
