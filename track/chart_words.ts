/** What charts show, in words, for those who do not see them. */

import type { ChartSeries } from "./chart_lines.ts";

const TOLD = 8;

/** A number with at most four digits that count. */
export function tellNumber(value: number): string {
  const rounded = Number(value.toPrecision(4));
  // The largest numbers have no neighbour of four digits above.
  return String(Number.isFinite(rounded) ? rounded : value);
}

/** A list in words, the first of them where there are many. */
export function tellList(words: readonly string[]): string {
  const more = words.length - TOLD;
  return [...words.slice(0, TOLD), ...more > 0 ? [`and ${more} more`] : []].join("; ");
}

/** What a line chart shows: where each line begins and ends, its least and its largest value. */
export function describeLines(
  { series, xLabel = "", marks = [] }: {
    readonly series: readonly ChartSeries[];
    readonly xLabel?: string;
    readonly marks?: readonly { readonly x: number; readonly label: string }[];
  },
): string {
  const over = xLabel === "" ? "" : ` over ${xLabel}`;
  const head = series.length === 1 ? "One line" : `${series.length} lines`;
  const lines = tellList(series.map(describeLine));
  const restarts = tellList(marks.map(({ x, label }) => `${label} at ${tellNumber(x)}`));
  return `${head}${over}. ${lines}.${restarts === "" ? "" : ` Marked: ${restarts}.`}`;
}

function describeLine({ name, x, y }: ChartSeries): string {
  let [first, last, least, most] = [-1, -1, -1, -1];
  for (let i = 0; i < y.length; i++) {
    if (!Number.isFinite(x[i]) || !Number.isFinite(y[i])) continue;
    if (first < 0) first = i;
    if (least < 0 || y[i] < y[least]) least = i;
    if (most < 0 || y[i] > y[most]) most = i;
    last = i;
  }
  if (first < 0) return `${name}: no finite values`;
  const at = (i: number) => `${tellNumber(y[i])} at ${tellNumber(x[i])}`;
  return `${name}: from ${at(first)} to ${at(last)}, least ${at(least)}, largest ${at(most)}`;
}
