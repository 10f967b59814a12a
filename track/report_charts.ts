/** The curves of a report: what belongs on one pair of axes, and how it is smoothed. */

import { type ChartCurve, type ChartMark, type ChartSeries, lineChart } from "./charts.ts";
import { baseOf, type RunSeries, type Series } from "./report_series.ts";
import type { RunSegment } from "./segments.ts";

/** Series of one metric, such as those of training and evaluation. */
export interface ChartGroup {
  /** The metric, such as "loss". */
  readonly name: string;
  readonly series: readonly Series[];
  /** What a restart superseded, by name. */
  readonly superseded: ReadonlyMap<string, Series>;
}

/** Values from which a curve is drawn smoothed as well. */
const SMOOTHED_FROM = 50;
const RATE = /^(lr|learning[_-]?rate)$/i;
const NORM = /grad(ient)?s?[_-]?norm/i;
const LOSS = /(^|[/_-])loss$/i;
/** Two such charts stand side by side on a page, and one can be read on a phone. */
const SIZE = { width: 480, height: 310, legend: "below" } as const;

/** Groups by metric: losses, then the others in the order of their names. */
export function groupsOf({ series, superseded }: RunSeries): ChartGroup[] {
  const all = new Map([...superseded, ...series]);
  const groups = Map.groupBy(all.keys(), baseOf);
  const place = (name: string) => LOSS.test(name) ? 0 : 1;
  return [...groups].map(([name, keys]) => ({
    name,
    series: keys.map((key) => series.get(key) ?? emptySeries(key)),
    superseded,
  })).sort((a, b) => place(a.name) - place(b.name) || (a.name < b.name ? -1 : 1));
}

function emptySeries(key: string): Series {
  return { key, steps: [], epochs: [], samples: [], values: [] };
}

/** Whether a metric is the learning rate or the norm of gradients, which have panels of their own. */
export function isOptimization(name: string): boolean {
  return isRate(name) || name.split("/").some((part) => NORM.test(part));
}

function isRate(name: string): boolean {
  return name.split("/").some((part) => RATE.test(part));
}

/**
 * The chart of a metric: values as they are, and where there are many of something other than a
 * learning rate a smoothed line over them;
 * superseded values faint, and a mark for each restart.
 *
 * @param group the metric
 * @param segments the starts of the run
 */
export function chartOf(
  { name, series, superseded }: ChartGroup,
  segments: readonly RunSegment[] = [],
): string {
  const axis = axisOf(series);
  const lines = series.map((one): ChartSeries => {
    const raw = curveOf(one, axis);
    const before = superseded.get(one.key);
    const replaced = before === undefined ? [] : [curveOf(before, axis)];
    const finite = raw.y.filter(Number.isFinite).length;
    return finite < SMOOTHED_FROM || isRate(one.key)
      ? { name: one.key, ...raw, faint: replaced }
      : {
        name: `${one.key}, smoothed`,
        x: raw.x,
        y: smoothed(raw.y, spanOf(finite)),
        faint: [raw, ...replaced],
      };
  });
  const marks = axis.placeOf === null ? [] : restartMarks(segments, axis.placeOf);
  return lineChart({
    ...SIZE,
    series: lines,
    title: name,
    xLabel: axis.label,
    yScale: scaleOf(lines),
    marks,
  });
}

function restartMarks(
  segments: readonly RunSegment[],
  placeOf: (from: NonNullable<RunSegment["from"]>) => number,
): ChartMark[] {
  const restarts = segments.slice(1).flatMap(({ segment, from }) =>
    from === null ? [] : [{ x: placeOf(from), segment }]
  );
  return restarts.map(({ x, segment }) => ({
    x,
    label: restarts.length === 1 ? "restart" : `restart ${segment - 1}`,
  }));
}

/**
 * The same metric of several runs on one pair of axes.
 *
 * @param metric its name
 * @param runs the values by what the legend calls the run
 * @returns a whole SVG
 */
export function overlaidChart(metric: string, runs: ReadonlyMap<string, Series>): string {
  const axis = axisOf([...runs.values()]);
  const series = [...runs].map(([name, one]) => ({ name, ...curveOf(one, axis) }));
  return lineChart({ series, title: metric, xLabel: axis.label, yScale: scaleOf(series) });
}

/**
 * A metric of several groups of runs, such as those of one setting with different seeds: the mean of
 * each group as a line, in a band of one sample deviation to both sides.
 *
 * A line has points where all runs of its group have a value. It has a gap where one of them is not
 * finite, so a run that diverged does not leave the mean in silence. A group of one run has no band.
 *
 * @param metric its name
 * @param groups the values of each run, by what the legend calls the group
 * @returns a whole SVG
 */
export function meanChart(metric: string, groups: ReadonlyMap<string, readonly Series[]>): string {
  const axis = axisOf([...groups.values()].flat());
  const series = [...groups].map(([name, runs]): ChartSeries => {
    const { x, mean, deviation } = meanCurve(runs.map((one) => curveOf(one, axis)));
    const shifted = (sign: number) => mean.map((y, i) => y + sign * deviation[i]);
    const band = runs.length < 2 ? undefined : { low: shifted(-1), high: shifted(1) };
    return { name: runs.length < 2 ? name : `${name} (${runs.length})`, x, y: mean, band };
  });
  return lineChart({ series, title: metric, xLabel: axis.label, yScale: scaleOf(series) });
}

/**
 * Mean and sample deviation of some curves, over the places that all of them have.
 *
 * @param curves the curves; of several values at one place the last counts
 * @returns places in rising order; NaN where a value is not finite, and the deviation of one curve is 0
 */
export function meanCurve(
  curves: readonly ChartCurve[],
): { readonly x: number[]; readonly mean: number[]; readonly deviation: number[] } {
  const tables = curves.map(({ x, y }) =>
    new Map(Array.from(x, (at, i) => [at, y[i]] as const).filter(([at]) => Number.isFinite(at)))
  );
  const x = [...tables[0]?.keys() ?? []].filter((at) => tables.every((table) => table.has(at)))
    .sort((a, b) => a - b);
  const columns = x.map((at) => tables.map((table) => table.get(at)!));
  const mean = columns.map((values) => values.reduce((sum, y) => sum + y / values.length, 0));
  const deviation = columns.map((values, i) => {
    const squares = values.reduce((sum, y) => sum + (y - mean[i]) ** 2, 0);
    return Math.sqrt(squares / Math.max(1, values.length - 1));
  });
  return { x, mean: mean.map((y) => Number.isFinite(y) ? y : NaN), deviation };
}

interface SeriesAxis {
  readonly label: string;
  readonly of: (series: Series) => readonly number[];
  /** Where a restart lies; null where that cannot be said. */
  readonly placeOf: ((from: NonNullable<RunSegment["from"]>) => number) | null;
}

/** Steps, where all values have them, else epochs, else the numbers of the values. */
function axisOf(series: readonly Series[]): SeriesAxis {
  const complete = (of: (series: Series) => readonly number[]) =>
    series.every((one) => !of(one).some(Number.isNaN));
  const choices: SeriesAxis[] = [
    { label: "step", of: ({ steps }) => steps, placeOf: ({ step }) => step },
    { label: "epoch", of: ({ epochs }) => epochs, placeOf: ({ epoch }) => epoch },
  ];
  const numbers = ({ values }: Series) => values.map((_, i) => i + 1);
  return choices.find(({ of }) => complete(of)) ??
    { label: "number of the value", of: numbers, placeOf: null };
}

function curveOf(series: Series, { of }: SeriesAxis): { x: readonly number[]; y: number[] } {
  return { x: of(series), y: series.values.map((value) => value ?? NaN) };
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
  for (const { y, faint = [] } of series) {
    for (const heights of [y, ...faint.map((curve) => curve.y)]) {
      for (let i = 0; i < heights.length; i++) {
        if (!Number.isFinite(heights[i])) continue;
        least = Math.min(least, heights[i]);
        largest = Math.max(largest, heights[i]);
      }
    }
  }
  return least > 0 && largest / 1000 >= least ? "log" : "linear";
}
