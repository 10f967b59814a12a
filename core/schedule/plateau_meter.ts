/** When a metric has stopped getting better. */

import { checkCount, checkNames, checkNumber, checkWord, showValue } from "./checks.ts";
import { misfit } from "./time.ts";

/** When a metric counts as no longer getting better. */
export interface PlateauMeterOptions {
  /** Whether smaller or larger values are better; no default, since a wrong one goes unseen. */
  readonly mode: "min" | "max";
  /** Bad values in a row that are let pass, a whole number from 0. @default {10} */
  readonly patience?: number;
  /** How much better than the best a value must be to count as good, at least 0. @default {1e-4} */
  readonly threshold?: number;
  /**
   * Whether the threshold is a share of the best value, which then must be above
   * `best · (1 ± threshold)`, or is added to it. @default {"rel"}
   */
  readonly thresholdMode?: "rel" | "abs";
  /** Values after a reduction that never count as bad, a whole number from 0. @default {0} */
  readonly cooldown?: number;
}

/** The options of a meter, for those that take more of their own. */
export const METER_OPTIONS = ["mode", "patience", "threshold", "thresholdMode", "cooldown"];

/** What a meter remembers, as JSON values; a number that is not finite is a word. */
export interface PlateauMeterState {
  readonly best: number | string | null;
  readonly bad: number;
  readonly cooldown: number;
  readonly reductions: number;
}

/** Counts values that are no better than the best, and how often there were too many of them. */
export class PlateauMeter {
  readonly options: Required<PlateauMeterOptions>;
  #best: number | null = null;
  #bad = 0;
  #cooldown = 0;
  #reductions = 0;

  constructor(readonly owner: string, options: PlateauMeterOptions) {
    checkNames(owner, options, METER_OPTIONS);
    const { patience = 10, threshold = 1e-4, thresholdMode = "rel", cooldown = 0 } = options;
    this.options = {
      mode: checkWord(owner, "mode", options.mode, ["min", "max"]),
      patience: checkCount(owner, "patience", patience, 0),
      threshold: checkNumber(owner, "threshold", threshold, [0, Number.MAX_VALUE]),
      thresholdMode: checkWord(owner, "thresholdMode", thresholdMode, ["rel", "abs"]),
      cooldown: checkCount(owner, "cooldown", cooldown, 0),
    };
  }

  /** The best value so far, or null. */
  get best(): number | null {
    return this.#best;
  }

  /** How often the patience has ended. */
  get reductions(): number {
    return this.#reductions;
  }

  /** Takes a value in; one that is NaN is never better, so it counts as bad. */
  observe(metric: number): void {
    if (typeof metric !== "number") {
      throw new TypeError(
        `Cannot observe a metric with ${this.owner}: expected a number, found ${showValue(metric)}`,
      );
    }
    if (this.#isBetter(metric)) {
      this.#best = metric;
      this.#bad = 0;
    } else {
      this.#bad++;
    }
    if (this.#cooldown > 0) {
      this.#cooldown--;
      this.#bad = 0;
    }
    if (this.#bad <= this.options.patience) return;
    this.#reductions++;
    this.#cooldown = this.options.cooldown;
    this.#bad = 0;
  }

  state(): PlateauMeterState {
    const best = this.#best;
    return {
      best: best === null || Number.isFinite(best) ? best : String(best),
      bad: this.#bad,
      cooldown: this.#cooldown,
      reductions: this.#reductions,
    };
  }

  load(state: unknown): void {
    const { best, bad, cooldown, reductions } = (state ?? {}) as Partial<PlateauMeterState>;
    const counts = [bad, cooldown, reductions];
    const known = best === null || typeof best === "number" || best === "Infinity" ||
      best === "-Infinity";
    if (!known || counts.some((n) => !Number.isSafeInteger(n) || n! < 0)) {
      throw misfit(this.owner, "best, bad, cooldown and reductions", state);
    }
    this.#best = best === null ? null : Number(best);
    [this.#bad, this.#cooldown, this.#reductions] = counts as number[];
  }

  #isBetter(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const sign = mode === "min" ? -1 : 1;
    const best = this.#best;
    if (best === null) return !Number.isNaN(metric) && metric !== -sign * Infinity;
    const bar = thresholdMode === "rel" ? best * (1 + sign * threshold) : best + sign * threshold;
    return mode === "min" ? metric < bar : metric > bar;
  }
}

/** A rate after some reductions: each takes it times `factor`, but not below the least. */
export function reduced(
  rate: number,
  { reductions, factor, least, eps }: {
    reductions: number;
    factor: number;
    least: number;
    eps: number;
  },
): number {
  let now = rate;
  for (let n = 0; n < reductions; n++) {
    const next = Math.max(now * factor, least);
    if (now - next <= eps) break;
    now = next;
  }
  return now;
}
