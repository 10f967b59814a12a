/** Steps and groups, as schedules are asked for them. */

import { type PerGroup, showValue } from "./checks.ts";

/** Where training is. */
export interface ScheduleTime {
  /** Completed steps, or epochs where the schedule goes by epochs; at least 0, may be fractional. */
  readonly step: number;
  /** Steps, or epochs, of the whole run, where known. */
  readonly total?: number | null;
}

/** Completed steps, alone or with what is known of the run. */
export type ScheduleAt = number | ScheduleTime;

/** A group of an optimizer, as a schedule sees it. */
export interface ScheduleGroup {
  /** The learning rate that the group was made with. */
  readonly base: number;
  /** That of the first group. @default {the group's own} */
  readonly first?: number;
  /** The number of the group, from 0. @default {0} */
  readonly index?: number;
}

/** A step that was checked. */
export interface TimeNow {
  readonly step: number;
  readonly total: number | null;
}

/** The step with the length of the run, checked. */
export function timeOf(at: ScheduleAt): TimeNow {
  const { step, total = null } = typeof at === "number" ? { step: at } : at;
  if (typeof step === "number" && step >= 0 && step < Infinity) return { step, total };
  throw new RangeError(
    `Cannot ask a schedule for step ${showValue(step)}: expected a finite number of at least 0`,
  );
}

/** The group with what was left out. */
export function groupOf(group: ScheduleGroup | number): Required<ScheduleGroup> {
  const { base, first = base, index = 0 }: ScheduleGroup = typeof group === "number"
    ? { base: group }
    : group;
  return { base, first, index };
}

/** What a rate among the options means for a group. */
export function rateFor(
  owner: string,
  rate: PerGroup,
  { base, first, index }: Required<ScheduleGroup>,
): number {
  if (typeof rate === "number") {
    if (index === 0 || rate === 0) return rate;
    if (first !== 0) return rate * (base / first);
    throw new RangeError(
      `Cannot apply ${owner} to group ${index}: expected a base rate above 0 in the first group, ` +
        "or a list with a rate for each group",
    );
  }
  if (index < rate.length) return rate[index];
  throw new RangeError(
    `Cannot apply ${owner} to group ${index}: expected a rate for each group, found a list of ` +
      `${rate.length}`,
  );
}

/** The length that was given, else that of the run. */
export function lengthOf(owner: string, name: string, given: number | null, time: TimeNow): number {
  const length = given ?? time.total;
  if (length !== null && length > 0 && length < Infinity) return length;
  throw new RangeError(
    `Cannot apply ${owner} without ${name}: expected the length of the run to be known, found ${
      length ?? "nothing"
    }`,
  );
}

/** The error for a state that is another schedule's. */
export function misfit(owner: string, expected: string, found: unknown): TypeError {
  return new TypeError(
    `Cannot load the state of ${owner}: expected ${expected}, found ${showValue(found)}`,
  );
}
