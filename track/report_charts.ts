/** The curves of a report: what belongs on one pair of axes, and how it is smoothed. */

import { type ChartSeries, lineChart } from "./charts.ts";
import { baseOf, type Series } from "./report_series.ts";

/** Series of one metric, such as those of training and evaluation. */
export interface ChartGroup {
  /** The metric, such as "loss". */
  readonly name: string;
  readonly series: readonly Series[];
}

/** Values from which a curve is drawn smoothed as well. */
const SMOOTHED_FROM = 50;
/** The largest height, and one over it the least one on an axis of logarithms. */
const LARGEST = 1e300;
const RATE = /^(lr|learning[_-]?rate)$/i;
const NORM = /grad(ient)?s?[_-]?norm/i;

/** Groups by metric, in the order of their names. */
export function groupsOf(series: Iterable<Series>): ChartGroup[] {
  const groups = Map.groupBy(series, ({ key }) => baseOf(key));
  return [...groups].map(([name, members]) => ({ name, series: members }))
    .sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Whether a metric is the learning rate or the norm of gradients, which have panels of their own. */
export function isOptimization(name: string): boolean {
  return name.split("/").some((part) => RATE.test(part) || NORM.test(part));
}

/** The chart of a metric: values as they are, and smoothed where there are many. */
export function chartOf({ name, series }: ChartGroup): string {
  const { label, of } = axisOf(series);
  const lines = series.flatMap((one): ChartSeries[] => {
    const x = of(one);
    const y = one.values.map(heightOf);
    const raw = { name: one.key, x, y };
    const finite = y.filter(Number.isFinite).length;
    return finite < SMOOTHED_FROM
      ? [raw]
      : [raw, { name: `${one.key}, smoothed`, x, y: smoothed(y, spanOf(finite)) }];
  });
  return lineChart({ series: lines, title: name, xLabel: label, yScale: scaleOf(lines) });
}

/** The same metric of several runs on one pair of axes. */
export function overlaidChart(metric: string, runs: ReadonlyMap<string, Series>): string {
  const { label, of } = axisOf([...runs.values()]);
  const series = [...runs].map(([name, one]) => ({
    name,
    x: of(one),
    y: one.values.map(heightOf),
  }));
  return lineChart({ series, title: metric, xLabel: label, yScale: scaleOf(series) });
}

/** The height of a value: a gap where it is missing, or where the span of two of them would overflow. */
function heightOf(value: number | null): number {
  return value === null || Math.abs(value) > LARGEST ? NaN : value;
}

/** Steps, where all values have them, else epochs, else the numbers of the values. */
function axisOf(
  series: readonly Series[],
): { readonly label: string; readonly of: (series: Series) => readonly number[] } {
  const complete = (of: (series: Series) => readonly number[]) =>
    series.every((one) => !of(one).some(Number.isNaN));
  const choices = [
    { label: "step", of: ({ steps }: Series) => steps },
    { label: "epoch", of: ({ epochs }: Series) => epochs },
  ];
  return choices.find(({ of }) => complete(of)) ??
    { label: "number of the value", of: ({ values }: Series) => values.map((_, i) => i + 1) };
}

/** Values over which a curve is smoothed: a fiftieth of them, at least ten. */
function spanOf(count: number): number {
  return Math.max(10, Math.round(count / 50));
}

/**
 * Mean of the values so far with weights that fall by 1 − 2 / (span + 1) for each value, as of an
 * exponential moving average without its bias to 0; NaN where the value is not finite.
 *
 * @param values the values
 * @param span about how many values count
 */
export function smoothed(values: readonly number[], span: number): number[] {
  const keep = 1 - 2 / (span + 1);
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    if (!Number.isFinite(value)) return NaN;
    sum = keep * sum + value;
    weight = keep * weight + 1;
    return sum / weight;
  });
}

/** A logarithm where all values are above 0 and the largest is a thousand times the least. */
function scaleOf(series: readonly ChartSeries[]): "linear" | "log" {
  let [least, largest] = [Infinity, -Infinity];
  for (const { y } of series) {
    for (let i = 0; i < y.length; i++) {
      if (!Number.isFinite(y[i])) continue;
      least = Math.min(least, y[i]);
      largest = Math.max(largest, y[i]);
    }
  }
  return least > 1 / LARGEST && largest >= 1000 * least ? "log" : "linear";
}
