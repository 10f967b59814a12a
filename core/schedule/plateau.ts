/** Schedules that follow a metric. */

import { checkNames, checkNumber, checkRates, type PerGroup } from "./checks.ts";
import { warmup, type WarmupOptions } from "./decay.ts";
import { METER_OPTIONS, PlateauMeter, type PlateauMeterOptions, reduced } from "./plateau_meter.ts";
import { Schedule, type ScheduleJson, SequentialSchedule } from "./schedule.ts";
import { groupOf, rateFor, type ScheduleAt, type ScheduleGroup, timeOf } from "./time.ts";

/** Options of `Plateau`. */
export interface PlateauOptions extends PlateauMeterOptions {
  /** What the rate is multiplied by at a reduction, from 0 to below 1. @default {0.1} */
  readonly factor?: number;
  /** The least rate. @default {0} */
  readonly minLr?: number | readonly number[];
  /** A reduction by no more than this is left out. @default {1e-8} */
  readonly eps?: number;
}

/** Options of `WarmupThenPlateau`. */
export interface WarmupThenPlateauOptions extends PlateauOptions, WarmupOptions {
  /** Steps, or epochs, of warm-up, a whole number from 1. */
  readonly warmup: number;
}

/**
 * The rate drops when a metric has stopped getting better: after more than `patience` bad values in
 * a row it is multiplied by `factor`. As torch.optim.lr_scheduler.ReduceLROnPlateau.
 *
 * A value is good if it is better than the best one by the threshold; any number may be the best,
 * 0 too. NaN is never good, so a metric that stays NaN lowers the rate. Unlike PyTorch `mode` has
 * no default.
 *
 * @example
 * ```ts
 * import { Plateau } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = new Plateau({ mode: "max", patience: 1, factor: 0.5 });
 * const accuracies = [0.8, 0.9, 0.9, 0.85];
 * accuracies.forEach((accuracy, epoch) => rates.observe(accuracy, epoch + 1));
 * assertEquals(rates.lr(4, 0.1), 0.05);
 * ```
 */
export class Plateau extends Schedule {
  /** It has no end. */
  readonly length: null = null;
  readonly #meter: PlateauMeter;
  readonly #factor: number;
  readonly #minLr: PerGroup;
  readonly #eps: number;

  /**
   * Starts without a best value.
   *
   * @param options `mode`, and when to reduce by how much
   * @throws {RangeError} if an option is out of its range
   */
  constructor(options: PlateauOptions) {
    super();
    checkNames("Plateau", options, [...METER_OPTIONS, "factor", "minLr", "eps"]);
    const { factor = 0.1, minLr = 0, eps = 1e-8, ...meter } = options;
    this.#meter = new PlateauMeter("Plateau", meter);
    this.#factor = checkFactor("Plateau", factor);
    this.#minLr = checkRates("Plateau", "minLr", minLr);
    this.#eps = checkNumber("Plateau", "eps", eps, [0, Number.MAX_VALUE]);
  }

  /** True: rates depend on what was observed. */
  override get watches(): boolean {
    return true;
  }

  /** The `mode` of the options. */
  override get modes(): readonly ("min" | "max")[] {
    return [this.#meter.options.mode];
  }

  /** The best value that was observed, or null. */
  get best(): number | null {
    return this.#meter.best;
  }

  /** How often the rate was reduced, or would have been above its least value. */
  get reductions(): number {
    return this.#meter.reductions;
  }

  /**
   * The rate after the reductions so far, whatever the step.
   *
   * @param at completed steps, at least 0
   * @param group the group, or its base rate alone
   * @returns the rate for the next step
   * @throws {RangeError} if `minLr` is a list without this group
   */
  lr(at: ScheduleAt, group: ScheduleGroup | number): number {
    timeOf(at);
    const full = groupOf(group);
    return reduced(full.base, {
      reductions: this.reductions,
      factor: this.#factor,
      least: rateFor("Plateau", this.#minLr, full),
      eps: this.#eps,
    });
  }

  /**
   * Takes in the latest value of the metric.
   *
   * @param metric the value; NaN counts as bad
   * @throws {TypeError} if it is no number
   */
  override observe(metric: number, _at?: ScheduleAt): void {
    this.#meter.observe(metric);
  }

  /** The best value and the counts. */
  override state(): unknown {
    return this.#meter.state();
  }

  /** Takes back what `state()` gave. */
  override load(state: unknown): void {
    this.#meter.load(state);
  }

  /** The options as data. */
  toJSON(): ScheduleJson {
    const { mode, patience, threshold, thresholdMode, cooldown } = this.#meter.options;
    return {
      type: "plateau",
      mode,
      patience,
      threshold,
      thresholdMode,
      cooldown,
      factor: this.#factor,
      minLr: typeof this.#minLr === "number" ? this.#minLr : [...this.#minLr],
      eps: this.#eps,
    };
  }
}

/**
 * A warm-up to the base rate, then a `Plateau`: `warmup(n).then(new Plateau())`. What is observed
 * before the warm-up has ended does not count.
 *
 * @example Warm up for 2 epochs, then follow the accuracy
 * ```ts
 * import { WarmupThenPlateau } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = new WarmupThenPlateau({ warmup: 2, mode: "max", patience: 0, factor: 0.5 });
 * rates.observe(0.9, 1); // still warming up
 * assertEquals(rates.lr(2, 0.3), 0.3);
 * rates.observe(0, 2); // the first value that counts, so the best one
 * rates.observe(0, 3);
 * assertEquals(rates.lr(3, 0.3), 0.15);
 * ```
 */
export class WarmupThenPlateau extends SequentialSchedule {
  /** The second part. */
  readonly plateau: Plateau;

  /**
   * Puts a plateau after a warm-up.
   *
   * @param options those of `warmup()` and of `Plateau`
   * @throws {RangeError} if an option is out of its range
   */
  constructor(options: WarmupThenPlateauOptions) {
    const { warmup: steps, startFactor, shape, ...rest } = options;
    const plateau = new Plateau(rest);
    super([warmup(steps, { startFactor, shape }), plateau], [steps]);
    this.plateau = plateau;
  }
}

/** The factor of a reduction, if it lowers a rate. */
export function checkFactor(owner: string, factor: number): number {
  if (checkNumber(owner, "factor", factor, [0, 1]) < 1) return factor;
  throw new RangeError(`Cannot make ${owner} with factor ${factor}: expected a number below 1`);
}
