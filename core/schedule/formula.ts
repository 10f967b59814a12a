/** Schedules that are a formula of the step. */

import { Schedule, type ScheduleJson } from "./schedule.ts";
import { groupOf, type ScheduleAt, type ScheduleGroup, type TimeNow, timeOf } from "./time.ts";

/** How a schedule that follows no metric computes. */
export interface Formula {
  /** The name of its maker, and the options for it that are data. */
  readonly json: ScheduleJson;
  /** Steps after which it ends, or null. */
  readonly length: number | null;
  /** The factor; leaves rates among the options to `rate`. */
  readonly factor?: (time: TimeNow, index: number) => number;
  /** The rate, where options are rates. */
  readonly rate?: (time: TimeNow, group: Required<ScheduleGroup>) => number;
  /** The momentum. */
  readonly momentum?: (time: TimeNow) => number;
}

/** A schedule by its formula. */
export class FormulaSchedule extends Schedule {
  readonly length: number | null;
  readonly #formula: Formula;

  constructor(formula: Formula) {
    super();
    this.length = formula.length;
    this.#formula = formula;
  }

  lr(at: ScheduleAt, group: ScheduleGroup | number): number {
    const { factor, rate } = this.#formula;
    const full = groupOf(group);
    return rate ? rate(timeOf(at), full) : full.base * factor!(timeOf(at), full.index);
  }

  override factor(at: ScheduleAt, group: ScheduleGroup | number = 1): number {
    const { factor } = this.#formula;
    return factor ? factor(timeOf(at), groupOf(group).index) : super.factor(at, group);
  }

  override momentum(at: ScheduleAt): number | null {
    return this.#formula.momentum?.(timeOf(at)) ?? null;
  }

  toJSON(): ScheduleJson {
    const { json } = this.#formula;
    const code = Object.entries(json).find(([, value]) => typeof value === "function");
    if (code !== undefined) {
      throw new TypeError(
        `Cannot write the schedule "${json.type}" as JSON: its ${code[0]} is a function`,
      );
    }
    return structuredClone(json);
  }
}
