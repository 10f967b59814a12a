/** Schedules that fall, rise or stay: the plain ones. */

import { checkCount, checkNames, checkNumber, checkWord } from "./checks.ts";
import { FormulaSchedule } from "./formula.ts";
import type { Schedule } from "./schedule.ts";
import { lengthOf } from "./time.ts";

/** Options of `step()`. */
export interface StepScheduleOptions {
  /** Steps between two drops, a whole number from 1. */
  readonly stepSize: number;
  /** What the rate is multiplied by at each drop, at least 0. @default {0.1} */
  readonly gamma?: number;
}

/** Options of `multiStep()`. */
export interface MultiStepOptions {
  /** Steps at which the rate drops: whole numbers from 0 in rising order; equal ones drop twice. */
  readonly milestones: readonly number[];
  /** What the rate is multiplied by at each drop, at least 0. @default {0.1} */
  readonly gamma?: number;
}

/** Options of `exponential()`. */
export interface ExponentialOptions {
  /** What the rate is multiplied by at each step, at least 0. */
  readonly gamma: number;
}

/** Options of `linear()`. */
export interface LinearScheduleOptions {
  /** The factor of the first step, above 0. @default {1 / 3} */
  readonly startFactor?: number;
  /** The factor at the end, at least 0. @default {1} */
  readonly endFactor?: number;
  /** Steps from one to the other; null for those of the run. @default {5} */
  readonly totalIters?: number | null;
}

/** Options of `constant()`. */
export interface ConstantOptions {
  /** The factor before the end, at least 0; after it, 1. @default {1 / 3} */
  readonly factor?: number;
  /** Steps with that factor. @default {5} */
  readonly totalIters?: number;
}

/** Options of `polynomial()`. */
export interface PolynomialOptions {
  /** Steps until the rate is 0; null for those of the run. @default {5} */
  readonly totalIters?: number | null;
  /** The power, at least 0. @default {1} */
  readonly power?: number;
}

/** Options of `warmup()`. */
export interface WarmupOptions {
  /** The factor of the first step, from 0 to 1. @default {1 / (steps + 1), even steps from the first on} */
  readonly startFactor?: number;
  /** How it rises to 1. @default {"linear"} */
  readonly shape?: "linear" | "cosine";
}

/** A factor as a function of the step, and of the number of the group. */
export type FactorFunction = (step: number, group: number) => number;

const NON_NEGATIVE = [0, Number.MAX_VALUE] as const;

/**
 * The rate drops every `stepSize` steps: factor `gamma^⌊t / stepSize⌋`. As
 * torch.optim.lr_scheduler.StepLR.
 *
 * @param options `stepSize` and `gamma`
 * @returns a schedule without an end
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.step({ stepSize: 2, gamma: 0.5 });
 * assertEquals([0, 1, 2, 3, 4].map((t) => rates.lr(t, 8)), [8, 8, 4, 4, 2]);
 * ```
 */
export function step(options: StepScheduleOptions): Schedule {
  checkNames("step", options, ["stepSize", "gamma"]);
  const stepSize = checkCount("step", "stepSize", options.stepSize, 1);
  const gamma = checkNumber("step", "gamma", options.gamma ?? 0.1, NON_NEGATIVE);
  return new FormulaSchedule({
    json: { type: "step", stepSize, gamma },
    length: null,
    factor: (t) => gamma ** Math.floor(t.step / stepSize),
  });
}

/**
 * The rate drops at given steps: factor `gamma^(milestones ≤ t)`. As
 * torch.optim.lr_scheduler.MultiStepLR.
 *
 * @param options `milestones` and `gamma`
 * @returns a schedule without an end
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.multiStep({ milestones: [1, 3], gamma: 0.5 });
 * assertEquals([0, 1, 2, 3].map((t) => rates.lr(t, 8)), [8, 4, 4, 2]);
 * ```
 */
export function multiStep(options: MultiStepOptions): Schedule {
  checkNames("multiStep", options, ["milestones", "gamma"]);
  const { milestones } = options;
  if (!Array.isArray(milestones) || milestones.some((m, i) => i > 0 && m < milestones[i - 1])) {
    throw new RangeError("Cannot make multiStep: expected milestones in rising order");
  }
  const drops = milestones.map((m, i) => checkCount("multiStep", `milestones[${i}]`, m, 0));
  const gamma = checkNumber("multiStep", "gamma", options.gamma ?? 0.1, NON_NEGATIVE);
  return new FormulaSchedule({
    json: { type: "multiStep", milestones: drops, gamma },
    length: null,
    factor: (t) => gamma ** drops.filter((m) => m <= t.step).length,
  });
}

/**
 * The rate is multiplied at each step: factor `gamma^t`. As
 * torch.optim.lr_scheduler.ExponentialLR.
 *
 * @param options `gamma`
 * @returns a schedule without an end
 * @throws {RangeError} if `gamma` is negative or not finite
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.exponential({ gamma: 0.5 });
 * assertEquals([0, 1, 2].map((t) => rates.lr(t, 8)), [8, 4, 2]);
 * ```
 */
export function exponential(options: ExponentialOptions): Schedule {
  checkNames("exponential", options, ["gamma"]);
  const gamma = checkNumber("exponential", "gamma", options.gamma, NON_NEGATIVE);
  return new FormulaSchedule({
    json: { type: "exponential", gamma },
    length: null,
    factor: (t) => gamma ** t.step,
  });
}

/**
 * The factor goes from one number to another in a straight line and stays there:
 * `start + (end − start) · min(t, T) / T`. As torch.optim.lr_scheduler.LinearLR.
 *
 * @param options `startFactor`, `endFactor` and `totalIters`; factors above 1 are allowed
 * @returns a schedule that ends after `totalIters`
 * @throws {RangeError} if an option is out of its range
 *
 * @example Down to 0 over the whole run
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null });
 * assertEquals(rates.lr({ step: 3, total: 4 }, 8), 2);
 * ```
 */
export function linear(options: LinearScheduleOptions = {}): Schedule {
  checkNames("linear", options, ["startFactor", "endFactor", "totalIters"]);
  const start = checkNumber("linear", "startFactor", options.startFactor ?? 1 / 3, NON_NEGATIVE);
  if (start === 0) {
    throw new RangeError("Cannot make linear with startFactor 0: expected a number above 0");
  }
  const end = checkNumber("linear", "endFactor", options.endFactor ?? 1, NON_NEGATIVE);
  const totalIters = lengthOption("linear", options.totalIters);
  return new FormulaSchedule({
    json: { type: "linear", startFactor: start, endFactor: end, totalIters },
    length: totalIters,
    factor(t) {
      const total = lengthOf("linear", "totalIters", totalIters, t);
      return start + (end - start) * (Math.min(t.step, total) / total);
    },
  });
}

/**
 * A constant factor for some steps, then the base rate. As
 * torch.optim.lr_scheduler.ConstantLR.
 *
 * @param options `factor` and `totalIters`
 * @returns a schedule that ends after `totalIters`
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.constant({ factor: 0.5, totalIters: 2 });
 * assertEquals([0, 1, 2].map((t) => rates.lr(t, 8)), [4, 4, 8]);
 * ```
 */
export function constant(options: ConstantOptions = {}): Schedule {
  checkNames("constant", options, ["factor", "totalIters"]);
  const factor = checkNumber("constant", "factor", options.factor ?? 1 / 3, NON_NEGATIVE);
  const totalIters = checkCount("constant", "totalIters", options.totalIters ?? 5, 1);
  return new FormulaSchedule({
    json: { type: "constant", factor, totalIters },
    length: totalIters,
    factor: (t) => t.step < totalIters ? factor : 1,
  });
}

/**
 * The rate falls to 0 by a power: factor `(1 − min(t, T) / T)^power`. As
 * torch.optim.lr_scheduler.PolynomialLR.
 *
 * @param options `totalIters` and `power`
 * @returns a schedule that ends after `totalIters`
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.polynomial({ totalIters: 4, power: 2 });
 * assertEquals([0, 2, 4, 9].map((t) => rates.lr(t, 8)), [8, 2, 0, 0]);
 * ```
 */
export function polynomial(options: PolynomialOptions = {}): Schedule {
  checkNames("polynomial", options, ["totalIters", "power"]);
  const totalIters = lengthOption("polynomial", options.totalIters);
  const power = checkNumber("polynomial", "power", options.power ?? 1, NON_NEGATIVE);
  return new FormulaSchedule({
    json: { type: "polynomial", totalIters, power },
    length: totalIters,
    factor(t) {
      const total = lengthOf("polynomial", "totalIters", totalIters, t);
      return (1 - Math.min(t.step, total) / total) ** power;
    },
  });
}

/**
 * A factor of one's own. As torch.optim.lr_scheduler.LambdaLR.
 *
 * @param factor a pure function of the step and of the number of the group; one for all groups, or
 * a list of one for each
 * @returns a schedule without an end, which cannot be written as JSON
 * @throws {TypeError} if it is no function
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.lambda((t) => 1 / (1 + t));
 * assertEquals([0, 1, 3].map((t) => rates.lr(t, 8)), [8, 4, 2]);
 * ```
 */
export function lambda(factor: FactorFunction | readonly FactorFunction[]): Schedule {
  const functions = typeof factor === "function" ? [factor] : [...factor];
  if (functions.length === 0 || functions.some((f) => typeof f !== "function")) {
    throw new TypeError("Cannot make lambda: expected a function, or a list of functions");
  }
  return new FormulaSchedule({
    json: { type: "lambda", factor: functions[0] },
    length: null,
    factor(t, group) {
      const own = typeof factor === "function" ? factor : functions[group];
      if (own === undefined) {
        throw new RangeError(
          `Cannot apply lambda to group ${group}: expected a function for each group, found ` +
            `${functions.length}`,
        );
      }
      return own(t.step, group);
    },
  });
}

/**
 * The factor rises to 1 and stays there: in a straight line `s + (1 − s) · t / steps`, or along
 * half a cosine. Made to be put before another schedule: `warmup(5).then(cosine())`.
 *
 * @param steps until the factor is 1, a whole number from 1
 * @param options `startFactor` and `shape`
 * @returns a schedule that ends after `steps`
 * @throws {RangeError} if a number is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.warmup(3);
 * assertEquals([0, 1, 2, 3, 4].map((t) => rates.lr(t, 8)), [2, 4, 6, 8, 8]);
 * ```
 */
export function warmup(steps: number, options: WarmupOptions = {}): Schedule {
  checkNames("warmup", options, ["startFactor", "shape"]);
  checkCount("warmup", "steps", steps, 1);
  const start = checkNumber("warmup", "startFactor", options.startFactor ?? 1 / (steps + 1), [
    0,
    1,
  ]);
  const shape = checkWord("warmup", "shape", options.shape ?? "linear", ["linear", "cosine"]);
  return new FormulaSchedule({
    json: { type: "warmup", steps, startFactor: start, shape },
    length: steps,
    factor(t) {
      const share = Math.min(t.step, steps) / steps;
      const risen = shape === "linear" ? share : (1 - Math.cos(Math.PI * share)) / 2;
      return share === 1 ? 1 : start + (1 - start) * risen;
    },
  });
}

/** The length among the options: 5 where it was left out, null for that of the run. */
function lengthOption(owner: string, given: number | null | undefined): number | null {
  return given === null ? null : checkCount(owner, "totalIters", given ?? 5, 1);
}
