/** Ends training that no longer gets better. */

import type { Callback, HandlerResult, Phase } from "../callback.ts";
import type { EngineEndEvent, EngineEvent, EngineStartEvent, EpochEndEvent } from "../events.ts";
import { checkMode, modeIn } from "../metric_source.ts";

/**
 * What a metric tells of its values; every metric of `@legoml/legoml/metrics` does.
 *
 * `K` is the type of the names, as far as the compiler knows them.
 */
export interface DirectedMetric<K extends string = string> {
  /** The names of its values. */
  readonly keys: readonly K[];
  /** Whether larger values are better ("up"), smaller ones ("down"), or neither. */
  readonly better: "up" | "down" | null;
  /** The same for one of the values, where values differ in it. */
  betterOf?(key: string): "up" | "down" | null;
}

/** Keeps the weights of a model aside, and gives them back. */
export interface ModelKeeper {
  /** Takes the weights as they are now; those of an earlier call may be forgotten. */
  save(): HandlerResult;
  /** Puts the weights of the latest `save` back in their place. */
  restore(): HandlerResult;
}

/** The part of a module that holds weights; `D` is the type of its state dict. */
export interface Restorable<D> {
  /** The live tensors by key. */
  stateDict(): D;
  /** Copies values into the live tensors. */
  loadStateDict(dict: D): unknown;
}

/**
 * Keeps the weights of a model in a second one of the same make.
 *
 * @param model the model that is trained
 * @param twin takes the weights; nothing else should use it
 * @returns copies model to twin on `save`, twin to model on `restore`; its state dict is that of the
 * twin, so that checkpoints can hold it
 *
 * @example Go on from a point to which one can return
 * ```ts
 * import { keepIn, referenceDevice } from "@legoml/legoml/core";
 * import { Linear } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [model, twin] = [new Linear(2, 1, { device }), new Linear(2, 1, { device })];
 * const keeper = keepIn(model, twin);
 * const before = await model.weight.array();
 * await keeper.save();
 * model.weight.detach().fill_(7);
 * await keeper.restore();
 * assertEquals(await model.weight.array(), before);
 * ```
 */
export function keepIn<D>(
  model: Restorable<D>,
  twin: Restorable<D>,
): ModelKeeper & Restorable<D> {
  return {
    save: () => void twin.loadStateDict(model.stateDict()),
    restore: () => void model.loadStateDict(twin.stateDict()),
    stateDict: () => twin.stateDict(),
    loadStateDict: (dict) => twin.loadStateDict(dict),
  };
}

/**
 * Options of `EarlyStoppingCallback`.
 *
 * Where `metric` has the types of its names (`K`), the compiler refuses any other name in `monitor`.
 */
export interface EarlyStoppingOptions<K extends string = string> {
  /** The metric in `state.metrics` that it follows, such as "eval/accuracy". */
  monitor: NoInfer<K> | `${string}/${NoInfer<K>}`;
  /**
   * Whether smaller or larger values are better. @default {what `metric` says, or else the
   * engine's callback that writes the monitored value}
   */
  mode?: "min" | "max";
  /** The metric that gives the monitored value, which knows what is better; not beside `mode`. */
  metric?: DirectedMetric<K>;
  /** Epochs in a row that may be no better than the best one before it ends. @default {3} */
  patience?: number;
  /** A value is better if it differs by more than this from the best one. @default {0} */
  minDelta?: number;
  /**
   * Whether an epoch that ends without the metric is an error or passes uncounted; "skip" is for
   * evaluations that do not run every epoch. @default {"error"}
   */
  missing?: "error" | "skip";
  /**
   * Keeps the weights of the best epoch, and puts them back when the loop is done or stopped, before
   * anything is saved; not when it was interrupted, since such a run shall go on as it was. Make one
   * with `keepIn`. @default {the last weights stay}
   */
  restoreBest?: ModelKeeper;
}

interface SavedState {
  readonly best: number | string | null;
  readonly bestEpoch: number;
  readonly bad: number;
}

/**
 * Stops the loop when a metric has not become better for `patience` epochs in a row.
 *
 * A value v is better than the best one b if `v < b − minDelta` ("min") or `v > b + minDelta`
 * ("max"); the first number is the best so far, and NaN is never better. Partial epochs do not count.
 * A loop that is started again after it was stopped gets its whole patience again. This is Keras'
 * `EarlyStopping` and Lightning's, but the direction is never guessed from a name: the metric knows
 * it, or `mode` says it.
 *
 * Best value, its epoch and the count are saved. The weights are a part of its own, `parts.best`, if
 * the keeper has a state dict, as that of `keepIn` has; a `CheckpointCallback` saves it. Where they
 * are not saved, a run that is resumed warns at its end if the best epoch was before the resumption.
 *
 * @example Two epochs without a better value end the run
 * ```ts
 * import { Context, EarlyStoppingCallback, Engine } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const losses = [4, 2, 3, 2, 1];
 * const engine = new Engine(() => {}, new Context({ model: null }));
 * engine.on("epochEnd", ({ state }) => void (state.metrics.loss = losses[state.epoch - 1]), {
 *   phase: "metrics",
 * });
 * const stopping = new EarlyStoppingCallback({ monitor: "loss", mode: "min", patience: 2 });
 * engine.add(stopping);
 * const state = await engine.loop([0], { maxEpochs: 5 });
 * assertEquals([state.epoch, stopping.best, stopping.bestEpoch], [4, 2, 2]);
 * assertEquals(state.stopReason, '"loss" was no better than 2 for 2 epochs');
 * ```
 */
export class EarlyStoppingCallback<K extends string = string> implements Callback {
  /** How errors, plans and saved states call it. */
  readonly name: string;
  /** After evaluations and logs, before checkpoints. */
  readonly phase: Phase = "decide";
  #options: EarlyStoppingOptions;
  #sign: 1 | -1 | null;
  #best: number | null = null;
  #bestEpoch = 0;
  #bad = 0;
  /** The epoch whose weights the keeper has. */
  #keptEpoch = 0;

  /**
   * Makes the callback.
   *
   * @param options what it follows, and how long it waits
   * @throws {TypeError} if both `mode` and `metric` are given, or they are none
   * @throws {RangeError} if `patience` is no whole number from 1, `minDelta` is no finite number from
   * 0, or the metric has no such value or no direction for it
   */
  constructor(options: EarlyStoppingOptions<K>) {
    checkOptions(options);
    this.#options = { ...options };
    this.#sign = signOf(options);
    this.name = `EarlyStoppingCallback ${options.monitor}`;
  }

  /** The best value so far; NaN before the first one. */
  get best(): number {
    return this.#best ?? NaN;
  }

  /** The number of the epoch that gave the best value; 0 before the first one. */
  get bestEpoch(): number {
    return this.#bestEpoch;
  }

  /**
   * Finds out what is better.
   *
   * @throws {RangeError} if neither an option nor a callback of the engine says what is better, or
   * `mode` contradicts the callback that writes the metric
   */
  onEngineStart({ engine }: EngineStartEvent): void {
    const { monitor, mode } = this.#options;
    if (mode !== undefined) checkMode(engine, monitor, mode);
    this.#sign ??= modeIn(engine, monitor, `follow "${monitor}"`) === "max" ? 1 : -1;
  }

  /** Gives a loop that goes on although it was stopped its whole patience. */
  onEpochStart(): void {
    if (this.#bad >= this.#patience) this.#bad = 0;
  }

  /** Compares, keeps the weights of a better epoch, and stops the loop when patience is at its end. */
  async onEpochEnd({ engine, state, complete }: EpochEndEvent): Promise<void> {
    const value = complete ? this.#observed(state) : undefined;
    if (value === undefined) return;
    if (this.#isBetter(value)) {
      [this.#best, this.#bestEpoch, this.#bad] = [value, state.current.epoch, 0];
      await this.#options.restoreBest?.save();
      this.#keptEpoch = this.#bestEpoch;
      return;
    }
    this.#bad++;
    if (this.#bad < this.#patience) return;
    const { monitor } = this.#options;
    const epochs = this.#bad === 1 ? "1 epoch" : `${this.#bad} epochs`;
    engine.stop(`"${monitor}" was no better than ${this.best} for ${epochs}`);
  }

  /** Puts the best weights back where the loop ended as it should. */
  async onEngineEnd({ reason, state }: EngineEndEvent): Promise<void> {
    const { restoreBest, monitor } = this.#options;
    const ended = reason === "done" || reason === "stopped";
    const isNow = this.#bestEpoch === state.current.epoch && state.epoch === this.#bestEpoch;
    if (restoreBest === undefined || !ended || this.#best === null || isNow) return;
    if (this.#keptEpoch === this.#bestEpoch) return await restoreBest.restore();
    console.warn(
      `${this.name}: the weights of epoch ${this.#bestEpoch}, with the best "${monitor}", are not at ` +
        "hand, since this run was resumed after it; a checkpoint of that epoch has them",
    );
  }

  /** Best value, its epoch, and epochs since. */
  state(): unknown {
    const best = this.#best === null || Number.isFinite(this.#best)
      ? this.#best
      : String(this.#best);
    const saved: SavedState = { best, bestEpoch: this.#bestEpoch, bad: this.#bad };
    return saved;
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  load(state: unknown): void {
    const { best = NaN, bestEpoch, bad } = (state ?? {}) as Partial<SavedState>;
    const value = best === null ? null : Number(best);
    const fits = !Number.isNaN(value) && isCount(bestEpoch, 0) && isCount(bad, 0);
    if (!fits) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected best, bestEpoch and bad, found ${
          JSON.stringify(state)
        }`,
      );
    }
    [this.#best, this.#bestEpoch, this.#bad] = [value, bestEpoch!, bad!];
  }

  /** The best weights, for checkpoints; none where the keeper has no state dict. */
  get parts(): { readonly best?: Restorable<unknown> } {
    const keeper = this.#options.restoreBest as Partial<Restorable<unknown>> | undefined;
    if (keeper?.stateDict === undefined || keeper.loadStateDict === undefined) return {};
    const { stateDict, loadStateDict } = keeper as Restorable<unknown>;
    return {
      best: {
        stateDict: () => ({
          epoch: this.#keptEpoch,
          weights: this.#keptEpoch === 0 ? null : stateDict.call(keeper),
        }),
        loadStateDict: (dict) => {
          const { epoch, weights } = (dict ?? {}) as { epoch?: number; weights?: unknown };
          if (!isCount(epoch, 0)) {
            throw new TypeError(
              `Cannot load the best weights of ${this.name}: expected epoch and weights, found ${dict}`,
            );
          }
          if (weights !== null) loadStateDict.call(keeper, weights);
          this.#keptEpoch = epoch!;
        },
      },
    };
  }

  get #patience(): number {
    return this.#options.patience ?? 3;
  }

  #isBetter(value: number): boolean {
    if (Number.isNaN(value)) return false;
    if (this.#best === null) return true;
    const sign = this.#sign!;
    return sign * value > sign * this.#best + (this.#options.minDelta ?? 0);
  }

  #observed({ metrics, current }: EngineEvent["state"]): number | undefined {
    const { monitor, missing = "error" } = this.#options;
    const value: unknown = metrics[monitor];
    if (typeof value === "number") return value;
    if (value === undefined && missing === "skip") return undefined;
    const found = Object.keys(metrics).join(", ") || "no metrics at all";
    throw new RangeError(
      value === undefined
        ? `Cannot follow the metric "${monitor}": expected one of ${found}, since epoch ` +
          `${current.epoch} ended without it; missing: "skip" lets that pass`
        : `Cannot follow the metric "${monitor}": expected a number, found a ${typeof value}`,
    );
  }
}

function checkOptions(
  { monitor, patience = 3, minDelta = 0, missing, ...rest }: EarlyStoppingOptions,
) {
  const what = "Cannot stop early";
  if (typeof monitor !== "string" || monitor === "") {
    throw new TypeError(`${what}: expected monitor to name a metric, found ${monitor}`);
  }
  if (rest.mode !== undefined && rest.metric !== undefined) {
    throw new TypeError(`${what}: expected one of mode and metric, found both`);
  }
  if (rest.mode !== undefined && rest.mode !== "min" && rest.mode !== "max") {
    throw new TypeError(`${what}: expected mode to be "min" or "max", found "${rest.mode}"`);
  }
  if (missing !== undefined && missing !== "error" && missing !== "skip") {
    throw new TypeError(`${what}: expected missing to be "error" or "skip", found "${missing}"`);
  }
  const keeper = rest.restoreBest;
  if (
    keeper !== undefined &&
    (typeof keeper.save !== "function" || typeof keeper.restore !== "function")
  ) {
    throw new TypeError(`${what}: expected restoreBest to have save and restore, as keepIn gives`);
  }
  if (!isCount(patience, 1)) {
    throw new RangeError(
      `${what}: expected patience to be a whole number from 1, found ${patience}`,
    );
  }
  if (!(minDelta >= 0 && minDelta < Infinity)) {
    throw new RangeError(
      `${what}: expected minDelta to be a finite number from 0, found ${minDelta}`,
    );
  }
}

function isCount(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/** 1 where larger values are better, −1 where smaller ones are, null where the options do not say. */
function signOf({ monitor, mode, metric }: EarlyStoppingOptions): 1 | -1 | null {
  if (mode !== undefined) return mode === "max" ? 1 : -1;
  if (metric === undefined) return null;
  const key = metric.keys.find((key) => monitor === key || monitor.endsWith(`/${key}`));
  if (key === undefined) {
    throw new RangeError(
      `Cannot follow "${monitor}": expected the name of a value of the metric (${
        metric.keys.join(", ")
      }), with or without a prefix`,
    );
  }
  const better = metric.betterOf === undefined ? metric.better : metric.betterOf(key);
  if (better !== null) return better === "up" ? 1 : -1;
  throw new RangeError(
    `Cannot follow "${monitor}": expected a metric that knows what is better, found one that does ` +
      "not; mode says it",
  );
}
