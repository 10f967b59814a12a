/** What a schedule is: a learning rate for each group as a function of progress. */

import { showValue } from "./checks.ts";
import {
  groupOf,
  misfit,
  type ScheduleAt,
  type ScheduleGroup,
  type ScheduleTime,
  timeOf,
} from "./time.ts";

/** A schedule as a JSON value: the name of what makes it, and its options. */
export interface ScheduleJson {
  /** The name of the function in `schedule` that makes it. */
  readonly type: string;
  /** Options of that function. */
  readonly [option: string]: unknown;
}

/**
 * The learning rate of each group of an optimizer, as a function of progress.
 *
 * Rates are pure functions of the completed steps, so they need no saving, resume anywhere and can
 * be drawn ahead; those that follow a metric (`watches`) add what they were told by `observe()`.
 * The first step is step 0.
 *
 * Groups keep their proportions: a schedule multiplies the rate that each group was made with.
 * Where an option is a rate itself, such as `etaMin`, one number is meant for the first group and
 * the others follow in proportion; a list gives each group its own.
 *
 * @example Warm up over 5 steps, then a cosine over the rest of 25
 * ```ts
 * import { schedule } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const rates = schedule.warmup(5).then(schedule.cosine({ tMax: 20 }));
 * assertAlmostEquals(rates.factor(0), 1 / 6);
 * assertAlmostEquals(rates.factor(5), 1);
 * assertAlmostEquals(rates.lr(15, 0.2), 0.1); // half of the base rate
 * ```
 */
export abstract class Schedule {
  /** Steps after which nothing changes, or after which `then()` goes on; null where it has no end. */
  abstract readonly length: number | null;

  /** Whether rates also depend on the numbers that `observe()` is told. */
  get watches(): boolean {
    return false;
  }

  /** What the parts that follow a metric take for better, smaller values or larger ones. */
  get modes(): readonly ("min" | "max")[] {
    return [];
  }

  /**
   * The learning rate of a group.
   *
   * @param at completed steps, at least 0
   * @param group the group, or its base rate alone
   * @returns the rate for the next step
   * @throws {RangeError} if the step is no number of at least 0, the length of the run is needed
   * and not known, or rates are given for other groups
   */
  abstract lr(at: ScheduleAt, group: ScheduleGroup | number): number;

  /**
   * The schedule as data.
   *
   * @returns what `schedule.fromJSON()` takes; what was observed is not part of it
   * @throws {TypeError} if a function is part of it
   */
  abstract toJSON(): ScheduleJson;

  /**
   * What the base rate of a group is multiplied by.
   *
   * @param at completed steps, at least 0
   * @param group the group, or its base rate alone; only rates among the options depend on it
   * @returns the factor
   * @throws {RangeError} as `lr()`, and if it takes a base rate that is 0
   */
  factor(at: ScheduleAt, group: ScheduleGroup | number = 1): number {
    const { base } = groupOf(group);
    if (base !== 0) return this.lr(at, group) / base;
    throw new RangeError(
      "Cannot turn a learning rate into a factor of a base rate of 0: expected one above 0",
    );
  }

  /**
   * The momentum for the next step.
   *
   * @param _at completed steps, at least 0
   * @returns the momentum, or null where the schedule leaves it alone
   */
  momentum(_at: ScheduleAt): number | null {
    return null;
  }

  /**
   * Tells a schedule that follows a metric its latest value; others take no notice.
   *
   * @param _metric the value
   * @param _at completed steps
   * @throws {TypeError} if the value is no number
   */
  observe(_metric: number, _at: ScheduleAt): void {}

  /**
   * What `observe()` has left, as a JSON value.
   *
   * @returns null where the schedule follows no metric
   */
  state(): unknown {
    return null;
  }

  /**
   * Takes back what `state()` gave.
   *
   * @param state the value, from a schedule of the same options
   * @throws {TypeError} if it does not fit
   */
  load(state: unknown): void {
    if (state !== null) throw misfit("a schedule that follows no metric", "null", state);
  }

  /**
   * Another schedule after this one has ended.
   *
   * @param next it starts from its own step 0
   * @returns both, one after the other
   * @throws {RangeError} if this one has no end of its own; `schedule.sequential()` sets one
   */
  then(next: Schedule): Schedule {
    if (this.length === null) {
      throw new RangeError(
        "Cannot put a schedule after one without an end: expected one with a length, or " +
          "schedule.sequential() with milestones",
      );
    }
    return new SequentialSchedule([this, next], [this.length]);
  }

  /**
   * Both schedules at once: their factors are multiplied.
   *
   * @param other the other one
   * @returns their product
   */
  times(other: Schedule): Schedule {
    return new Chained([this, other]);
  }
}

/** Schedules one after the other, each from its own step 0. */
export class SequentialSchedule extends Schedule {
  /** The parts, in their order. */
  readonly schedules: readonly Schedule[];
  /** The steps at which the second part and those after it begin. */
  readonly milestones: readonly number[];

  /**
   * Puts schedules one after the other.
   *
   * @param schedules at least one
   * @param milestones one fewer, each above the one before and above 0
   * @throws {RangeError} if their numbers do not fit, or milestones do not rise
   * @throws {TypeError} if a part is no schedule
   */
  constructor(schedules: readonly Schedule[], milestones: readonly number[]) {
    super();
    this.schedules = checkParts("sequential", schedules);
    const rise = Array.isArray(milestones) &&
      milestones.every((m, i) => Number.isFinite(m) && m > (i === 0 ? 0 : milestones[i - 1]));
    if (!rise || milestones.length !== schedules.length - 1) {
      throw new RangeError(
        `Cannot make sequential of ${schedules.length} schedules with milestones ${
          showList(milestones)
        }: expected ${schedules.length - 1} rising numbers above 0`,
      );
    }
    this.milestones = [...milestones];
  }

  /** Where the last part ends, or null. */
  get length(): number | null {
    const { length } = this.schedules[this.schedules.length - 1];
    return length === null ? null : length + (this.milestones.at(-1) ?? 0);
  }

  /** Whether a part follows a metric. */
  override get watches(): boolean {
    return this.schedules.some((part) => part.watches);
  }

  /** Those of all parts. */
  override get modes(): readonly ("min" | "max")[] {
    return this.schedules.flatMap((part) => part.modes);
  }

  /** The rate that the part of this step gives. */
  lr(at: ScheduleAt, group: ScheduleGroup | number): number {
    const [part, time] = this.#at(at);
    return part.lr(time, group);
  }

  /** The factor that the part of this step gives. */
  override factor(at: ScheduleAt, group: ScheduleGroup | number = 1): number {
    const [part, time] = this.#at(at);
    return part.factor(time, group);
  }

  /** The momentum that the part of this step gives. */
  override momentum(at: ScheduleAt): number | null {
    const [part, time] = this.#at(at);
    return part.momentum(time);
  }

  /** Tells the part of this step. */
  override observe(metric: number, at: ScheduleAt): void {
    const [part, time] = this.#at(at);
    part.observe(metric, time);
  }

  /** What the parts have observed. */
  override state(): unknown {
    return stateOf(this.schedules);
  }

  /** Gives it back to the parts. */
  override load(state: unknown): void {
    loadAll("sequential", this.schedules, state);
  }

  /** The parts and milestones as data. */
  toJSON(): ScheduleJson {
    const schedules = this.schedules.map((part) => part.toJSON());
    return { type: "sequential", schedules, milestones: [...this.milestones] };
  }

  #at(at: ScheduleAt): [Schedule, ScheduleTime] {
    const { step, total } = timeOf(at);
    const { milestones } = this;
    const index = milestones.filter((m) => m <= step).length;
    const start = index === 0 ? 0 : milestones[index - 1];
    const end = milestones[index] ?? total;
    return [this.schedules[index], {
      step: step - start,
      total: end === null ? null : end - start,
    }];
  }
}

/** Schedules at once: their factors are multiplied. */
export class Chained extends Schedule {
  /** The parts. */
  readonly schedules: readonly Schedule[];

  /**
   * Multiplies schedules.
   *
   * @param schedules at least one
   * @throws {RangeError} if there is none
   * @throws {TypeError} if a part is no schedule
   */
  constructor(schedules: readonly Schedule[]) {
    super();
    this.schedules = checkParts("chained", schedules);
  }

  /** Where the last part ends, or null where one has no end. */
  get length(): number | null {
    const lengths = this.schedules.map((part) => part.length);
    return lengths.includes(null) ? null : Math.max(...lengths as number[]);
  }

  /** Whether a part follows a metric. */
  override get watches(): boolean {
    return this.schedules.some((part) => part.watches);
  }

  /** Those of all parts. */
  override get modes(): readonly ("min" | "max")[] {
    return this.schedules.flatMap((part) => part.modes);
  }

  /** The rate of the first part times the factors of the others. */
  lr(at: ScheduleAt, group: ScheduleGroup | number): number {
    const [first, ...others] = this.schedules;
    return others.reduce((rate, part) => rate * part.factor(at, group), first.lr(at, group));
  }

  /** The product of the factors. */
  override factor(at: ScheduleAt, group: ScheduleGroup | number = 1): number {
    return this.schedules.reduce((factor, part) => factor * part.factor(at, group), 1);
  }

  /** The momentum of the first part that sets it. */
  override momentum(at: ScheduleAt): number | null {
    for (const part of this.schedules) {
      const momentum = part.momentum(at);
      if (momentum !== null) return momentum;
    }
    return null;
  }

  /** Tells all parts. */
  override observe(metric: number, at: ScheduleAt): void {
    for (const part of this.schedules) part.observe(metric, at);
  }

  /** What the parts have observed. */
  override state(): unknown {
    return stateOf(this.schedules);
  }

  /** Gives it back to the parts. */
  override load(state: unknown): void {
    loadAll("chained", this.schedules, state);
  }

  /** The parts as data. */
  toJSON(): ScheduleJson {
    return { type: "chained", schedules: this.schedules.map((part) => part.toJSON()) };
  }
}

function checkParts(owner: string, parts: readonly Schedule[]): readonly Schedule[] {
  if (!Array.isArray(parts) || parts.length === 0) {
    throw new RangeError(`Cannot make ${owner}: expected a list of at least one schedule`);
  }
  const odd = parts.findIndex((part) => !(part instanceof Schedule));
  if (odd >= 0) {
    throw new TypeError(
      `Cannot make ${owner}: expected schedules, found ${showValue(parts[odd])} at ${odd}`,
    );
  }
  return [...parts];
}

function stateOf(parts: readonly Schedule[]): unknown {
  return parts.some((part) => part.watches) ? parts.map((part) => part.state()) : null;
}

function loadAll(owner: string, parts: readonly Schedule[], state: unknown): void {
  if (stateOf(parts) === null && state === null) return;
  if (!Array.isArray(state) || state.length !== parts.length) {
    throw misfit(owner, `a list of ${parts.length} states`, state);
  }
  const before = parts.map((part) => part.state());
  try {
    parts.forEach((part, i) => part.load(state[i]));
  } catch (error) {
    parts.forEach((part, i) => part.load(before[i]));
    throw error;
  }
}

function showList(list: unknown): string {
  return Array.isArray(list) ? `[${list.join(", ")}]` : showValue(list);
}
