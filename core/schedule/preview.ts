/** Schedules looked at before they are used. */

import { checkCount, checkNames } from "./checks.ts";
import type { Schedule } from "./schedule.ts";
import type { ScheduleGroup } from "./time.ts";

/** Options of `previewSchedule()`. */
export interface PreviewOptions {
  /** Steps, or epochs, to look at: the length of the run. */
  readonly steps: number;
  /** Rows of the table, from 2, or all steps where there are fewer. @default {11} */
  readonly points?: number;
  /** The base rate of each group. @default {1, so that rates are factors} */
  readonly base?: number | readonly number[];
}

/** A step of a preview. */
export interface PreviewRow {
  /** Completed steps. */
  readonly step: number;
  /** The rate of each group for the next step. */
  readonly lrs: readonly number[];
  /** The momentum for the next step, or null where the schedule leaves it alone. */
  readonly momentum: number | null;
}

/** Points of a line, as a chart takes them. */
export interface PreviewSeries {
  /** The name of the line. */
  readonly name: string;
  /** Completed steps. */
  readonly x: readonly number[];
  /** Rates. */
  readonly y: readonly number[];
}

/** What a schedule would do. */
export interface SchedulePreview {
  /** Rows from the first to the last step, evenly spread. */
  readonly rows: readonly PreviewRow[];
  /** The rates of all steps, a line for each group, as `lineChart()` of `track` takes them. */
  readonly series: readonly PreviewSeries[];
  /** The rows as text. */
  readonly table: string;
}

/**
 * What a schedule would do in a run: a table for the eye, and lines for a chart.
 *
 * @param schedule what to look at; one that follows a metric is shown as it stands
 * @param options `steps`, `points` and `base`
 * @returns rows, their text, and the lines of all steps
 * @throws {RangeError} if a number is out of its range
 *
 * @example
 * ```ts
 * import { previewSchedule, schedule } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rates = schedule.warmup(3).then(schedule.exponential({ gamma: 0.5 }));
 * const { table } = previewSchedule(rates, { steps: 6, points: 3, base: 0.8 });
 * assertEquals(table.split("\n"), [
 *   "step      lr",
 *   "   0  0.2000",
 *   "   3  0.8000",
 *   "   5  0.2000",
 * ]);
 * ```
 */
export function previewSchedule(schedule: Schedule, options: PreviewOptions): SchedulePreview {
  checkNames("a preview", options, ["steps", "points", "base"]);
  const steps = checkCount("a preview", "steps", options.steps, 1);
  const points = checkCount("a preview", "points", options.points ?? 11, 2);
  const bases = [options.base ?? 1].flat();
  const all = Array.from({ length: steps }, (_, step) => rowOf(schedule, step, steps, bases));
  const count = Math.min(points, steps);
  const rows = Array.from(
    { length: count },
    (_, i) => all[count === 1 ? 0 : Math.round(i * (steps - 1) / (count - 1))],
  );
  const x = all.map(({ step }) => step);
  const names = bases.map((_, i) => bases.length === 1 ? "lr" : `lr of group ${i}`);
  const series = names.map((name, i) => ({ name, x, y: all.map(({ lrs }) => lrs[i]) }));
  return { rows, series, table: tableOf(names, rows) };
}

function rowOf(
  schedule: Schedule,
  step: number,
  total: number,
  bases: readonly number[],
): PreviewRow {
  const at = { step, total };
  const groups = bases.map((base, index): ScheduleGroup => ({ base, first: bases[0], index }));
  return {
    step,
    lrs: groups.map((group) => schedule.lr(at, group)),
    momentum: schedule.momentum(at),
  };
}

function tableOf(names: readonly string[], rows: readonly PreviewRow[]): string {
  const moves = rows.some(({ momentum }) => momentum !== null);
  const head = ["step", ...names, ...moves ? ["momentum"] : []];
  const body = rows.map(({ step, lrs, momentum }) => [
    String(step),
    ...lrs.map(showRate),
    ...moves ? [momentum === null ? "" : momentum.toFixed(4)] : [],
  ]);
  const widths = head.map((name, i) => Math.max(name.length, ...body.map((row) => row[i].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => cell.padStart(widths[i])).join("  ");
  return [head, ...body].map(line).join("\n");
}

function showRate(rate: number): string {
  return rate === 0 || Math.abs(rate) >= 1e-3 ? rate.toPrecision(4) : rate.toExponential(3);
}
