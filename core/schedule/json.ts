/** Schedules from JSON. */

import { showValue } from "./checks.ts";
import { cosine, cosineWarmRestarts, cyclic, oneCycle } from "./cycle.ts";
import {
  constant,
  exponential,
  linear,
  multiStep,
  polynomial,
  step,
  warmup,
  type WarmupOptions,
} from "./decay.ts";
import { KeyframeLR } from "./keyframe.ts";
import { Plateau } from "./plateau.ts";
import { Chained, type Schedule, type ScheduleJson, SequentialSchedule } from "./schedule.ts";

/**
 * Schedules one after the other, each from its own step 0. As
 * torch.optim.lr_scheduler.SequentialLR.
 *
 * @param schedules at least one
 * @param milestones the steps at which the second one and those after it begin: one fewer, rising
 * @returns a schedule that ends with the last one
 * @throws {RangeError} if their numbers do not fit, or milestones do not rise
 * @throws {TypeError} if a part is no schedule
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const half = schedule.constant({ factor: 0.5, totalIters: 100 });
 * const rates = schedule.sequential([half, schedule.exponential({ gamma: 0.5 })], [2]);
 * assertEquals([0, 1, 2, 3].map((t) => rates.lr(t, 8)), [4, 4, 8, 4]);
 * ```
 */
export function sequential(
  schedules: readonly Schedule[],
  milestones: readonly number[],
): Schedule {
  return new SequentialSchedule(schedules, milestones);
}

/**
 * Schedules at once: their factors are multiplied. As torch.optim.lr_scheduler.ChainedScheduler of
 * schedulers that multiply.
 *
 * @param schedules at least one
 * @returns a schedule that ends when all have ended
 * @throws {RangeError} if there is none
 * @throws {TypeError} if a part is no schedule
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const half = schedule.constant({ factor: 0.5, totalIters: 2 });
 * const rates = schedule.chained([half, schedule.exponential({ gamma: 0.5 })]);
 * assertEquals([0, 1, 2, 3].map((t) => rates.lr(t, 8)), [4, 2, 2, 1]);
 * ```
 */
export function chained(schedules: readonly Schedule[]): Schedule {
  return new Chained(schedules);
}

const MAKERS: Readonly<Record<string, (json: never) => Schedule>> = {
  step,
  multiStep,
  exponential,
  linear,
  constant,
  polynomial,
  cosine,
  cosineWarmRestarts,
  oneCycle,
  cyclic,
  warmup: ({ steps, ...options }: { steps: number } & WarmupOptions) => warmup(steps, options),
  keyframe: (options: never) => new KeyframeLR(options),
  plateau: (options: never) => new Plateau(options),
  sequential: (json: Parts & { milestones: number[] }) => {
    return sequential(parts("sequential", json, ["milestones"]), json.milestones);
  },
  chained: (json: Parts) => chained(parts("chained", json, [])),
};

interface Parts {
  readonly schedules: readonly ScheduleJson[];
}

/**
 * Makes a schedule of what `toJSON()` gave, or of what a person wrote; options that are left out
 * take their defaults.
 *
 * @param json `type`, the name of a function of `schedule` or "keyframe" or "plateau", and the
 * options of that
 * @returns the schedule, without what it had observed
 * @throws {TypeError} if it is no object, or an option has the wrong type
 * @throws {RangeError} if the type or an option is unknown, or a number is out of its range
 *
 * @example
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.warmup(2).then(schedule.cosine({ tMax: 8 }));
 * const copy = schedule.fromJSON(JSON.parse(JSON.stringify(rates)));
 * assertEquals(copy.lr(5, 0.1), rates.lr(5, 0.1));
 * assertEquals(schedule.fromJSON({ type: "step", stepSize: 1 }).lr(1, 1), 0.1);
 * ```
 */
export function fromJSON(json: ScheduleJson): Schedule {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new TypeError(
      `Cannot make a schedule from JSON: expected an object, found ${showValue(json)}`,
    );
  }
  const { type, ...options } = json;
  if (!Object.hasOwn(MAKERS, type)) {
    throw new RangeError(
      `Cannot make a schedule of type ${showValue(type)}: expected one of ${
        Object.keys(MAKERS).join(", ")
      }`,
    );
  }
  return MAKERS[type](options as never);
}

function parts(owner: string, json: Parts, others: readonly string[]): Schedule[] {
  const known = ["schedules", ...others];
  const unknown = Object.keys(json).filter((name) => !known.includes(name));
  if (unknown.length > 0 || !Array.isArray(json.schedules)) {
    throw new RangeError(
      `Cannot make ${owner} from JSON: expected a list under "schedules", found ${
        Object.keys(json).join(", ") || "nothing"
      }`,
    );
  }
  return json.schedules.map(fromJSON);
}
