/** Schedules that go up and down. */

import {
  checkCount,
  checkFlag,
  checkNames,
  checkNumber,
  checkRates,
  checkWord,
  type PerGroup,
} from "./checks.ts";
import { FormulaSchedule } from "./formula.ts";
import type { Schedule } from "./schedule.ts";
import { lengthOf, rateFor, type ScheduleGroup } from "./time.ts";

/** Options of `cosine()`. */
export interface CosineOptions {
  /** Steps until the least rate; null for those of the run. @default {null} */
  readonly tMax?: number | null;
  /** The least rate. @default {0} */
  readonly etaMin?: number | readonly number[];
}

/** Options of `cosineWarmRestarts()`. */
export interface CosineWarmRestartsOptions {
  /** Steps until the first restart, a whole number from 1. */
  readonly t0: number;
  /** How much longer each cycle is than the one before, a whole number from 1. @default {1} */
  readonly tMult?: number;
  /** The least rate. @default {0} */
  readonly etaMin?: number | readonly number[];
}

/** How `oneCycle()` and `cyclic()` move the momentum. */
export interface MomentumCycle {
  /** Whether the momentum moves against the rate. @default {true} */
  readonly cycleMomentum?: boolean;
  /** The momentum at the largest rate. @default {0.85 for oneCycle, 0.8 for cyclic} */
  readonly baseMomentum?: number;
  /** The momentum at the least rate. @default {0.95 for oneCycle, 0.9 for cyclic} */
  readonly maxMomentum?: number;
}

/** Options of `oneCycle()`. */
export interface OneCycleOptions extends MomentumCycle {
  /** The largest rate. */
  readonly maxLr: number | readonly number[];
  /** Steps of the cycle; null for those of the run. @default {null} */
  readonly totalSteps?: number | null;
  /** Share of the cycle that rises, from 0 to 1. @default {0.3} */
  readonly pctStart?: number;
  /** Along half a cosine, or in a straight line. @default {"cos"} */
  readonly annealStrategy?: "cos" | "linear";
  /** The largest rate divided by this is the first one. @default {25} */
  readonly divFactor?: number;
  /** The first rate divided by this is the last one. @default {1e4} */
  readonly finalDivFactor?: number;
  /** Back to the first rate as fast as it rose, then to the last one. @default {false} */
  readonly threePhase?: boolean;
}

/** Options of `cyclic()`. */
export interface CyclicOptions extends MomentumCycle {
  /** The least rate. */
  readonly baseLr: number | readonly number[];
  /** The largest rate. */
  readonly maxLr: number | readonly number[];
  /** Steps that rise, a whole number from 1. @default {2000} */
  readonly stepSizeUp?: number;
  /** Steps that fall. @default {as many as rise} */
  readonly stepSizeDown?: number;
  /**
   * How high the cycles are: all alike, each half of the one before, or `gamma^t`.
   * @default {"triangular"}
   */
  readonly mode?: "triangular" | "triangular2" | "exp_range";
  /** For "exp_range", at least 0. @default {1} */
  readonly gamma?: number;
}

/**
 * The rate falls along half a cosine: `eta + (base − eta) · (1 + cos(π t / T)) / 2`. As
 * torch.optim.lr_scheduler.CosineAnnealingLR; Loshchilov and Hutter, "SGDR", 2017.
 *
 * As in PyTorch it rises again after `tMax`; `then()` goes on from there.
 *
 * @param options `tMax` and `etaMin`
 * @returns a schedule that ends after `tMax`
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const rates = schedule.cosine({ tMax: 10, etaMin: 0.1 });
 * assertAlmostEquals(rates.lr(0, 0.5), 0.5);
 * assertAlmostEquals(rates.lr(5, 0.5), 0.3);
 * assertAlmostEquals(rates.lr(10, 0.5), 0.1);
 * ```
 */
export function cosine(options: CosineOptions = {}): Schedule {
  checkNames("cosine", options, ["tMax", "etaMin"]);
  const { tMax = null } = options;
  if (tMax !== null) checkCount("cosine", "tMax", tMax, 1);
  const etaMin = checkRates("cosine", "etaMin", options.etaMin ?? 0);
  return new FormulaSchedule({
    json: { type: "cosine", tMax, etaMin },
    length: tMax,
    rate(t, group) {
      const share = t.step / lengthOf("cosine", "tMax", tMax, t);
      return between(rateFor("cosine", etaMin, group), group.base, wave(share));
    },
  });
}

/**
 * The rate falls along half a cosine, again and again, in cycles that may grow. As
 * torch.optim.lr_scheduler.CosineAnnealingWarmRestarts; Loshchilov and Hutter, "SGDR", 2017.
 *
 * @param options `t0`, `tMult` and `etaMin`
 * @returns a schedule without an end
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const rates = schedule.cosineWarmRestarts({ t0: 2, tMult: 2 });
 * assertAlmostEquals(rates.lr(1, 1), 0.5);
 * assertAlmostEquals(rates.lr(2, 1), 1); // the second cycle takes 4 steps
 * assertAlmostEquals(rates.lr(4, 1), 0.5);
 * ```
 */
export function cosineWarmRestarts(options: CosineWarmRestartsOptions): Schedule {
  const owner = "cosineWarmRestarts";
  checkNames(owner, options, ["t0", "tMult", "etaMin"]);
  const t0 = checkCount(owner, "t0", options.t0, 1);
  const tMult = checkCount(owner, "tMult", options.tMult ?? 1, 1);
  const etaMin = checkRates(owner, "etaMin", options.etaMin ?? 0);
  return new FormulaSchedule({
    json: { type: owner, t0, tMult, etaMin },
    length: null,
    rate(t, group) {
      let [rest, cycle] = [tMult === 1 ? t.step % t0 : t.step, t0];
      while (rest >= cycle) {
        rest -= cycle;
        cycle *= tMult;
      }
      return between(rateFor(owner, etaMin, group), group.base, wave(rest / cycle));
    },
  });
}

/**
 * One cycle over the whole training: up to a largest rate, down far below the first one; the
 * momentum moves against it. As torch.optim.lr_scheduler.OneCycleLR; Smith and Topin,
 * "Super-convergence", 2018.
 *
 * Rates are options here: that of the first group does not count, and the others keep their
 * proportion to it. After the cycle the last rate stays, where PyTorch fails.
 *
 * @param options `maxLr`, and the shape of the cycle
 * @returns a schedule that ends after `totalSteps`
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const rates = schedule.oneCycle({ maxLr: 1, totalSteps: 10 });
 * assertAlmostEquals(rates.lr(0, 1), 0.04);
 * assertAlmostEquals(rates.lr(2, 1), 1);
 * assertAlmostEquals(rates.lr(9, 1), 4e-6);
 * assertAlmostEquals(rates.momentum(2)!, 0.85);
 * ```
 */
export function oneCycle(options: OneCycleOptions): Schedule {
  const own = ["maxLr", "totalSteps", "pctStart", "annealStrategy", "divFactor", "finalDivFactor"];
  checkNames("oneCycle", options, [...own, "threePhase", ...MOMENTUM]);
  const { totalSteps = null } = options;
  if (totalSteps !== null) checkCount("oneCycle", "totalSteps", totalSteps, 1);
  const above = [Number.MIN_VALUE, Number.MAX_VALUE] as const;
  const number = (name: "divFactor" | "finalDivFactor", fallback: number) =>
    checkNumber("oneCycle", name, options[name] ?? fallback, above);
  const maxLr = checkRates("oneCycle", "maxLr", options.maxLr);
  const pctStart = checkNumber("oneCycle", "pctStart", options.pctStart ?? 0.3, [0, 1]);
  const strategy = options.annealStrategy ?? "cos";
  checkWord("oneCycle", "annealStrategy", strategy, ["cos", "linear"]);
  const [div, finalDiv] = [number("divFactor", 25), number("finalDivFactor", 1e4)];
  const threePhase = checkFlag("oneCycle", "threePhase", options.threePhase ?? false);
  const momentum = momentumOf("oneCycle", options, [0.85, 0.95]);
  const levels = threePhase ? ["first", "max", "first", "last"] : ["first", "max", "last"];
  const place = (t: { step: number; total: number | null }) =>
    placeInCycle(t.step, lengthOf("oneCycle", "totalSteps", totalSteps, t), pctStart, threePhase);
  const anneal = (from: number, to: number, share: number) =>
    strategy === "cos" ? between(to, from, wave(share)) : (to - from) * share + from;
  return new FormulaSchedule({
    json: {
      type: "oneCycle",
      maxLr,
      totalSteps,
      pctStart,
      annealStrategy: strategy,
      divFactor: div,
      finalDivFactor: finalDiv,
      threePhase,
      ...momentum.json,
    },
    length: totalSteps,
    rate(t, group) {
      const max = rateFor("oneCycle", maxLr, group);
      const rates: Record<string, number> = { max, first: max / div, last: max / div / finalDiv };
      const { phase, share } = place(t);
      return anneal(rates[levels[phase]], rates[levels[phase + 1]], share);
    },
    momentum: momentum.range && ((t) => {
      const { phase, share } = place(t);
      const [base, max] = momentum.range!;
      const at = (level: string) => level === "max" ? base : max;
      return anneal(at(levels[phase]), at(levels[phase + 1]), share);
    }),
  });
}

/**
 * The rate goes up and down between two numbers, in straight lines; the momentum moves against it.
 * As torch.optim.lr_scheduler.CyclicLR; Smith, "Cyclical learning rates", 2017.
 *
 * Rates are options here: that of the first group does not count, and the others keep their
 * proportion to it.
 *
 * @param options `baseLr`, `maxLr`, and the shape of the cycles
 * @returns a schedule without an end
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const rates = schedule.cyclic({ baseLr: 0.1, maxLr: 0.5, stepSizeUp: 2 });
 * const want = [0.1, 0.3, 0.5, 0.3, 0.1];
 * want.forEach((rate, t) => assertAlmostEquals(rates.lr(t, 1), rate));
 * ```
 */
export function cyclic(options: CyclicOptions): Schedule {
  const own = ["baseLr", "maxLr", "stepSizeUp", "stepSizeDown", "mode", "gamma"];
  checkNames("cyclic", options, [...own, ...MOMENTUM]);
  const [baseLr, maxLr] = (["baseLr", "maxLr"] as const).map((name) =>
    checkRates("cyclic", name, options[name])
  );
  const up = checkCount("cyclic", "stepSizeUp", options.stepSizeUp ?? 2000, 1);
  const down = checkCount("cyclic", "stepSizeDown", options.stepSizeDown ?? up, 1);
  const mode = options.mode ?? "triangular";
  checkWord("cyclic", "mode", mode, ["triangular", "triangular2", "exp_range"]);
  const gamma = checkNumber("cyclic", "gamma", options.gamma ?? 1, [0, Number.MAX_VALUE]);
  const momentum = momentumOf("cyclic", options, [0.8, 0.9]);
  const height = (step: number) => {
    const cycle = Math.floor(step / (up + down));
    const within = step - cycle * (up + down);
    const scale = within <= up ? within / up : (up + down - within) / down;
    const heights = { triangular: 1, triangular2: 2 ** -cycle, exp_range: gamma ** step };
    return scale * heights[mode];
  };
  const rateOf = (rate: PerGroup, group: Required<ScheduleGroup>) => rateFor("cyclic", rate, group);
  return new FormulaSchedule({
    json: {
      type: "cyclic",
      baseLr,
      maxLr,
      stepSizeUp: up,
      stepSizeDown: down,
      mode,
      gamma,
      ...momentum.json,
    },
    length: null,
    rate(t, group) {
      const base = rateOf(baseLr, group);
      return base + (rateOf(maxLr, group) - base) * height(t.step);
    },
    momentum: momentum.range && ((t) => {
      const [base, max] = momentum.range!;
      return max - (max - base) * height(t.step);
    }),
  });
}

const MOMENTUM = ["cycleMomentum", "baseMomentum", "maxMomentum"];

function momentumOf(
  owner: string,
  options: MomentumCycle,
  fallback: readonly [number, number],
): { json: Required<MomentumCycle>; range: readonly [number, number] | undefined } {
  const cycleMomentum = checkFlag(owner, "cycleMomentum", options.cycleMomentum ?? true);
  const [base, max] = (["baseMomentum", "maxMomentum"] as const).map((name, i) => {
    const value = checkNumber(owner, name, options[name] ?? fallback[i], [0, 1]);
    if (value < 1) return value;
    throw new RangeError(`Cannot make ${owner} with ${name} 1: expected a number below 1`);
  });
  return {
    json: { cycleMomentum, baseMomentum: base, maxMomentum: max },
    range: cycleMomentum ? [base, max] : undefined,
  };
}

/** The phase of a cycle, from 0, and the share of it that is over. */
function placeInCycle(
  step: number,
  total: number,
  pctStart: number,
  threePhase: boolean,
): { phase: number; share: number } {
  const rise = pctStart * total;
  const ends = threePhase ? [rise - 1, 2 * rise - 2, total - 1] : [rise - 1, total - 1];
  const phase = ends.findIndex((end, i) => step <= end || i === ends.length - 1);
  const start = phase === 0 ? 0 : ends[phase - 1];
  const length = ends[phase] - start;
  return { phase, share: length > 0 ? Math.min(1, (step - start) / length) : 1 };
}

/** From 1 at 0 to 0 at 1, along half a cosine. */
function wave(share: number): number {
  return (1 + Math.cos(Math.PI * share)) / 2;
}

function between(low: number, high: number, share: number): number {
  return low + (high - low) * share;
}
