/** Charts as SVG: lines over steps, bars, and tables in colour such as confusion matrices. */

import {
  type Axis,
  axisOf,
  type Box,
  checkSize,
  element,
  FONT,
  frame,
  leftRoom,
  lineStyle,
  type Markup,
  picture,
  pixel,
  shorten,
  type Spread,
  text,
  textWidth,
} from "./chart_parts.ts";

export { barChart, type BarChartOptions, heatmap, type HeatmapOptions } from "./chart_tables.ts";

/** A line of a chart. */
export interface ChartSeries {
  /** What the legend calls it. */
  readonly name: string;
  /** Where its points are from left to right. */
  readonly x: ArrayLike<number>;
  /** How high they are; the line has a gap where one is NaN or infinite. */
  readonly y: ArrayLike<number>;
}

/** What a line chart shows. */
export interface LineChartOptions {
  /** The lines, at least one. */
  readonly series: readonly ChartSeries[];
  /** What stands above. @default {nothing} */
  readonly title?: string;
  /** What stands below. @default {nothing} */
  readonly xLabel?: string;
  /** What stands at the left. @default {nothing} */
  readonly yLabel?: string;
  /** How heights are spread; "log" has gaps where a value is not above 0. @default {"linear"} */
  readonly yScale?: "linear" | "log";
  /** Pixels, from 120. @default {720} */
  readonly width?: number;
  /** Pixels, from 120. @default {400} */
  readonly height?: number;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

const LEGEND_LETTERS = 28;

/**
 * Draws lines, with round numbers at the axes, and a legend where there is more than one.
 *
 * Colours are told apart by the colour-blind, too; from the eighth line on lines are dashed. Lines of
 * many points are thinned to what the pixels show: of each column its first, least, largest and last
 * value. Points without a neighbour are dots.
 *
 * @param options series, texts, scale and size
 * @returns a whole SVG, with nothing outside of it; texts are escaped
 * @throws {RangeError} if there is no series, `x` and `y` differ in length, or the size leaves no
 * room
 *
 * @example A schedule as a picture
 * ```ts
 * import { previewSchedule, schedule } from "@legoml/legoml/core";
 * import { lineChart } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const rates = schedule.warmup(10).then(schedule.cosine({ tMax: 90 }));
 * const { series } = previewSchedule(rates, { steps: 100, base: 0.1 });
 * const svg = lineChart({ series, title: "warm-up, then cosine", xLabel: "step" });
 * assert(svg.startsWith("<svg") && svg.includes("warm-up, then cosine"));
 * ```
 */
export function lineChart(options: LineChartOptions): string {
  const { series, title = "", xLabel = "", yLabel = "", yScale = "linear" } = options;
  const width = checkSize("width", options.width ?? 720);
  const height = checkSize("height", options.height ?? 400);
  if (yScale !== "linear" && yScale !== "log") {
    throw new RangeError(`Cannot draw a chart with yScale ${yScale}: expected "linear" or "log"`);
  }
  const lines = checkSeries(series).map((line) => runsOf(line, yScale));
  const points = lines.flat(2);
  const legend = series.length > 1 ? legendWidth(series) : 0;
  const top = title === "" ? 16 : FONT.title + 24;
  const bottom = height - FONT.tick - FONT.label - 24;
  const y = axisOf(points.map((p) => p.y), [bottom, top], emptySpread(points, yScale));
  const box: Box = { left: leftRoom(y), top, right: width - Math.max(24, legend), bottom };
  if (box.right - box.left < 40 || bottom - top < 40) {
    throw new RangeError(
      `Cannot draw a chart of ${width} by ${height} pixels: its texts leave no room for lines`,
    );
  }
  const x = axisOf(points.map((p) => p.x), [box.left, box.right], "linear");
  return picture(width, height, title, [
    frame(box, x, y, { xLabel, yLabel }),
    ...lines.map((runs, i) => drawLine(runs, x, y, i)),
    ...points.length > 0 ? [] : [nothing(box, yScale)],
    ...series.length > 1 ? [drawLegend(series, box)] : [],
  ]);
}

function checkSeries(series: readonly ChartSeries[]): readonly ChartSeries[] {
  if (!Array.isArray(series) || series.length === 0) {
    throw new RangeError("Cannot draw a line chart: expected at least one series");
  }
  for (const { name, x, y } of series as readonly ChartSeries[]) {
    if (x.length === y.length) continue;
    throw new RangeError(
      `Cannot draw the series "${name}": expected as many x as y, found ${x.length} and ${y.length}`,
    );
  }
  return series;
}

/** The points of a line in runs without gaps. */
function runsOf({ x, y }: ChartSeries, spread: Spread): Point[][] {
  const runs: Point[][] = [];
  let open = false;
  for (let i = 0; i < x.length; i++) {
    const shown = Number.isFinite(x[i]) && Number.isFinite(y[i]) &&
      (spread === "linear" || y[i] > 0);
    if (shown && !open) runs.push([]);
    if (shown) runs[runs.length - 1].push({ x: x[i], y: y[i] });
    open = shown;
  }
  return runs;
}

/** Without points an axis goes from 0 to 1, which a logarithm cannot. */
function emptySpread(points: readonly Point[], spread: Spread): Spread {
  return points.length === 0 ? "linear" : spread;
}

function drawLine(runs: readonly Point[][], x: Axis, y: Axis, index: number): Markup {
  const { stroke, ...dash } = lineStyle(index);
  const placed = runs.map((run) => thin(run.map((p) => ({ x: x.at(p.x), y: y.at(p.y) }))));
  const d = placed.filter((run) => run.length > 1).map((run) =>
    "M" + run.map((p) => `${pixel(p.x)} ${pixel(p.y)}`).join("L")
  ).join("");
  const dots = placed.filter((run) => run.length === 1).map(([p]) =>
    element("circle", { cx: p.x, cy: p.y, r: 2.5, fill: stroke })
  );
  const style = { fill: "none", stroke, ...dash, "stroke-width": 1.8, "stroke-linejoin": "round" };
  return [...d === "" ? [] : [element("path", { d, ...style })], ...dots].join("\n");
}

/** Of each column of pixels the first, least, largest and last point, where there are many. */
function thin(points: readonly Point[]): readonly Point[] {
  const kept: Point[] = [];
  for (let i = 0; i < points.length;) {
    const column = Math.round(points[i].x);
    let [least, largest, end] = [i, i, i];
    for (; end < points.length && Math.round(points[end].x) === column; end++) {
      if (points[end].y < points[least].y) least = end;
      if (points[end].y > points[largest].y) largest = end;
    }
    const chosen = new Set([i, least, largest, end - 1]);
    for (const k of [...chosen].sort((a, b) => a - b)) kept.push(points[k]);
    i = end;
  }
  return kept;
}

function nothing({ left, top, right, bottom }: Box, spread: Spread): Markup {
  const words = spread === "log" ? "no finite values above 0" : "no finite values";
  return text(words, (left + right) / 2, (top + bottom) / 2, {
    anchor: "middle",
    size: FONT.label,
    fill: "#777777",
  });
}

function legendWidth(series: readonly ChartSeries[]): number {
  const names = series.map(({ name }) => textWidth(shorten(name, LEGEND_LETTERS), FONT.tick));
  return Math.max(...names) + 56;
}

/** Names beside the box; the last line tells how many found no place. */
function drawLegend(series: readonly ChartSeries[], { right, top, bottom }: Box): Markup {
  const step = FONT.tick + 8;
  const fitting = Math.max(1, Math.floor((bottom - top) / step));
  const shown = series.length <= fitting ? series : series.slice(0, fitting - 1);
  const [from, to] = [right + 16, right + 40];
  const entries = shown.map(({ name }, i) => {
    const y = top + 8 + i * step;
    const line = { x1: from, x2: to, y1: y, y2: y, ...lineStyle(i), "stroke-width": 2.5 };
    return element("line", line) + text(shorten(name, LEGEND_LETTERS), to + 6, y + FONT.tick / 3);
  });
  const more = series.length - shown.length;
  const last = text(`and ${more} more`, from, top + 8 + shown.length * step + FONT.tick / 3);
  return [...entries, ...more > 0 ? [last] : []].join("\n");
}
