/** Sets learning rates as training goes on. */

import type { Schedule, ScheduleTime } from "../../schedule/mod.ts";
import type { Callback, Phase } from "../callback.ts";
import type { EngineEvent, EngineStartEvent, EpochEndEvent } from "../events.ts";
import { checkMode, type MetricSource } from "../metric_source.ts";
import type { EngineState } from "../state.ts";
import { describeValue } from "../tensor_like.ts";

/** What a schedule sets: an optimizer, or anything else with groups. */
export interface Schedulable {
  /** Options of the groups, which count from the next step on. */
  readonly groups: readonly {
    /** The learning rate. */
    lr: number;
    /** The momentum, where the optimizer has one. */
    momentum?: number;
    /** The first of them counts as the momentum, where there are any. */
    betas?: readonly number[];
  }[];
}

/** Options of `LrScheduleCallback`. */
export interface LrScheduleOptions<M extends string | null = string | null> {
  /** Whether the schedule counts steps or epochs. @default {"step"} */
  per?: "step" | "epoch";
  /** The metric in `state.metrics` that a schedule such as `Plateau` follows. */
  monitor?: string;
  /**
   * Whether an epoch that ends without this metric is an error or passes; "skip" is for evaluations
   * that do not run every epoch. @default {"error"}
   */
  missing?: "error" | "skip";
  /** Steps, or epochs, of the whole training. @default {those at which the running loop ends} */
  total?: number;
  /** The rates of the groups that the schedule multiplies. @default {those found at the start} */
  baseLr?: number | readonly number[];
  /** What is set. @default {the context's optimizer} */
  optimizer?: Schedulable;
  /**
   * The name in `state.metrics` under which the rate of the first group is written at the end of
   * each epoch; null for none. @default {"lr"}
   */
  metric?: M;
}

interface SavedState {
  readonly baseLrs: readonly number[] | null;
  readonly schedule: unknown;
  /** Rates of the latest step. */
  readonly lastLrs: readonly number[];
}

/**
 * Sets the learning rate of each group, and the momentum where the schedule moves it, before each
 * step: the first step has the schedule's first rate. Captured steps take it over, as rates live
 * outside of them.
 *
 * The number of completed steps (or epochs) says where the schedule is, so a run that is resumed
 * goes on in it; base rates and what a plateau has seen are saved. Base rates are those of the
 * groups when the callback first meets them, so groups that are added later join with their own.
 *
 * A schedule that follows a metric is told at the end of each complete epoch, after evaluations; it
 * then runs in the phase "decide", any other in "schedule". Its `mode` must not contradict what the
 * metric says of itself.
 *
 * @example Warm up for an epoch of 3 steps, then fall to 0
 * ```ts
 * import { Context, Engine, LrScheduleCallback, schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const optimizer = { groups: [{ lr: 8 }] }; // or an SGD
 * const seen: number[] = [];
 * const rates = schedule.warmup(3).then(schedule.linear({ startFactor: 1, endFactor: 0, totalIters: 4 }));
 * const engine = new Engine(
 *   () => void seen.push(optimizer.groups[0].lr),
 *   new Context({ model: null, optimizer }),
 *   { callbacks: [new LrScheduleCallback(rates)] },
 * );
 * const state = await engine.loop([1, 2, 3], { maxEpochs: 2 });
 * assertEquals(seen, [2, 4, 6, 8, 6, 4]);
 * assertEquals(state.metrics.lr, 4);
 * ```
 */
export class LrScheduleCallback<M extends string | null = "lr">
  implements Callback, MetricSource<Extract<M, string>> {
  /** How errors, plans and saved states call it. */
  readonly name: string = "LrScheduleCallback";
  /** "decide" for a schedule that follows a metric, so that evaluations come first, else "schedule". */
  readonly phase: Phase;
  /** The schedule. */
  readonly schedule: Schedule;
  /** The name of the rate among the metrics, if it has one. */
  readonly metricKeys: readonly Extract<NoInfer<M>, string>[];
  #options: LrScheduleOptions;
  #optimizer: Schedulable | null = null;
  #baseLrs: number[] | null = null;
  #total: number | null = null;
  #lastLrs: readonly number[] = [];

  /**
   * Makes the callback; rates change when the first step starts.
   *
   * @param schedule the rates
   * @param options unit, metric, length, base rates, what to set
   * @throws {TypeError} if the schedule is none, or it follows a metric and `monitor` is absent or
   * the other way round
   * @throws {RangeError} if an option is out of its range
   */
  constructor(schedule: Schedule, options: LrScheduleOptions<M> = {}) {
    if (typeof schedule?.lr !== "function" || typeof schedule.momentum !== "function") {
      throw new TypeError(
        `Cannot schedule learning rates: expected a schedule, found ${describeValue(schedule)}`,
      );
    }
    checkOptions(schedule, options);
    this.schedule = schedule;
    this.#options = { ...options };
    this.phase = schedule.watches ? "decide" : "schedule";
    const { metric = "lr" } = options;
    this.metricKeys = (metric === null ? [] : [metric]) as Extract<M, string>[];
  }

  /** Null: no rate is better than another. */
  betterOf(_key: string): null {
    return null;
  }

  /** The rate of each group in the latest step; empty before the first one. */
  get lastLrs(): readonly number[] {
    return this.#lastLrs;
  }

  /** The rate of the first group in the latest step; NaN before the first one. */
  get lastLr(): number {
    return this.#lastLrs[0] ?? NaN;
  }

  /**
   * Finds the optimizer and the length of the run.
   *
   * @throws {RangeError} if the schedule takes the wrong values of its metric for better
   */
  onEngineStart({ engine, context, state }: EngineStartEvent): void {
    const { monitor } = this.#options;
    for (const mode of this.schedule.modes) checkMode(engine, monitor!, mode);
    this.#optimizer = optimizerOf(this.#options.optimizer ?? context.optimizer);
    this.#total = this.#options.total ?? totalOf(state, this.#options.per ?? "step");
    this.#meetGroups(this.#optimizer);
    state.claimMetrics(this, this.metricKeys);
  }

  /** Sets the rates of the step. */
  onStepStart({ state }: EngineEvent): void {
    this.#apply(this.#optimizer!, this.#timeOf(state));
    // A schedule that follows a metric comes after the logs, which would have the rate of the epoch before.
    if (this.schedule.watches) this.#tell(state);
  }

  /** Tells a schedule the metric that it follows, and writes the rate of the latest step. */
  onEpochEnd({ state, complete }: EpochEndEvent): void {
    this.#tell(state);
    if (!this.schedule.watches || !complete) return;
    const value = this.#observed(state);
    if (value !== undefined) this.schedule.observe(value, this.#timeOf(state));
  }

  /** Base rates, and what the schedule has observed. */
  state(): unknown {
    const saved: SavedState = {
      baseLrs: this.#baseLrs,
      lastLrs: this.#lastLrs,
      schedule: this.schedule.state(),
    };
    return saved;
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value
   * @throws {TypeError} if it does not fit
   */
  load(state: unknown): void {
    const { baseLrs, lastLrs, schedule } = (state ?? {}) as Partial<SavedState>;
    const isRates = (list: unknown): list is readonly number[] =>
      Array.isArray(list) && list.every((lr) => Number.isFinite(lr));
    if (!(baseLrs === null || isRates(baseLrs)) || !isRates(lastLrs) || schedule === undefined) {
      throw new TypeError(
        `Cannot load the state of ${this.name}: expected baseLrs, lastLrs and schedule, found ${
          JSON.stringify(state)
        }`,
      );
    }
    this.schedule.load(schedule);
    this.#baseLrs = baseLrs && [...baseLrs];
    this.#lastLrs = [...lastLrs];
  }

  #tell(state: EngineState): void {
    for (const key of this.#lastLrs.length > 0 ? this.metricKeys : []) {
      state.metrics[key] = this.lastLr;
    }
  }

  #timeOf(state: EngineState): ScheduleTime {
    const step = this.#options.per === "epoch" ? state.epoch : state.globalStep;
    return { step, total: this.#total };
  }

  /** Remembers the base rates of groups that are new. */
  #meetGroups({ groups }: Schedulable): readonly number[] {
    const { baseLr } = this.#options;
    this.#baseLrs ??= [];
    for (let i = this.#baseLrs.length; i < groups.length; i++) {
      const given = typeof baseLr === "number" ? baseLr : baseLr?.[i];
      if (baseLr !== undefined && given === undefined) {
        throw new RangeError(
          `Cannot schedule ${groups.length} groups: expected a base rate for each, found ` +
            `${(baseLr as readonly number[]).length}`,
        );
      }
      this.#baseLrs.push(given ?? groups[i].lr);
    }
    return this.#baseLrs;
  }

  #apply(optimizer: Schedulable, time: ScheduleTime): void {
    const bases = this.#meetGroups(optimizer);
    const momentum = this.schedule.momentum(time);
    this.#lastLrs = optimizer.groups.map((group, index) => {
      const lr = this.schedule.lr(time, { base: bases[index], first: bases[0], index });
      if (!(lr >= 0 && lr < Infinity)) {
        throw new RangeError(
          `Cannot set the learning rate of group ${index}: expected a finite number of at least 0, ` +
            `found ${lr} at ${this.#options.per ?? "step"} ${time.step}`,
        );
      }
      group.lr = lr;
      if (momentum !== null) setMomentum(group, momentum);
      return lr;
    });
  }

  #observed({ metrics, current }: EngineState): number | undefined {
    const { monitor, missing = "error" } = this.#options;
    const value = metrics[monitor!];
    if (value !== undefined || missing === "skip") return value;
    throw new RangeError(
      `Cannot follow the metric "${monitor}": expected one of ${
        Object.keys(metrics).join(", ") || "no metrics at all"
      }, since epoch ${current.epoch} ended without it; missing: "skip" lets that pass`,
    );
  }
}

function checkOptions(schedule: Schedule, options: LrScheduleOptions): void {
  const { per = "step", missing = "error", monitor, total, baseLr } = options;
  if (schedule.watches !== (monitor !== undefined)) {
    throw new TypeError(
      schedule.watches
        ? "Cannot schedule learning rates: expected monitor to name the metric that the schedule follows"
        : `Cannot schedule learning rates: expected a schedule that follows "${monitor}", found one ` +
          "that follows no metric",
    );
  }
  const words = [["per", per, ["step", "epoch"]], ["missing", missing, ["error", "skip"]]] as const;
  for (const [name, word, known] of words) {
    if ((known as readonly string[]).includes(word)) continue;
    throw new RangeError(
      `Cannot schedule learning rates: expected ${name} to be one of ${known.join(", ")}, found ${
        JSON.stringify(word)
      }`,
    );
  }
  for (const [name, value] of [["total", total], ...[baseLr].flat().map((v) => ["baseLr", v])]) {
    if (value === undefined || (Number.isFinite(value) && (value as number) >= 0)) continue;
    throw new RangeError(
      `Cannot schedule learning rates: expected ${name} to be a finite number of at least 0, found ` +
        `${value}`,
    );
  }
}

function optimizerOf(value: unknown): Schedulable {
  const groups: unknown = (value as Partial<Schedulable> | null | undefined)?.groups;
  if (Array.isArray(groups) && groups.length > 0) return value as Schedulable;
  throw new TypeError(
    `Cannot schedule learning rates: expected an optimizer with groups in the context, found ${
      describeValue(value)
    }`,
  );
}

/** Steps or epochs at which the running loop ends, or null where it does not know. */
function totalOf(state: EngineState, per: "step" | "epoch"): number | null {
  const { maxEpochs, maxSteps, stepsPerEpoch } = state;
  const perEpoch = stepsPerEpoch ?? Infinity;
  const total = per === "step"
    ? Math.min(maxEpochs * perEpoch, maxSteps)
    : Math.min(maxEpochs, maxSteps / perEpoch || Infinity);
  return Number.isFinite(total) ? total : null;
}

function setMomentum(group: Schedulable["groups"][number], momentum: number): void {
  if (group.momentum !== undefined) group.momentum = momentum;
  else if (group.betas !== undefined && group.betas.length > 0) {
    group.betas = [momentum, ...group.betas.slice(1)];
  } else {
    throw new RangeError(
      "Cannot cycle the momentum of an optimizer without one: expected momentum or betas; " +
        "cycleMomentum: false leaves it alone",
    );
  }
}
