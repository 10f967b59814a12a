/** The lines of a chart: curves with gaps, bands around them, signs along them, and their legend. */

import type { Axis, Box, Spread } from "./chart_axes.ts";
import {
  element,
  FONT,
  lineStyle,
  type Markup,
  pixel,
  shorten,
  text,
  textWidth,
} from "./chart_parts.ts";

/** Points of a curve. */
export interface ChartCurve {
  /** Where its points are from left to right. */
  readonly x: ArrayLike<number>;
  /** How high they are; the line has a gap where one is NaN or infinite. */
  readonly y: ArrayLike<number>;
}

/** A line of a chart. */
export interface ChartSeries extends ChartCurve {
  /** What the legend calls it. */
  readonly name: string;
  /**
   * Curves under the line, thin and pale in its colour: values of which it is the mean, or those
   * that it replaces. @default {none}
   */
  readonly faint?: readonly ChartCurve[];
  /**
   * Where a pale band around the line begins and ends at each of its points, such as mean ±
   * deviation; it has a gap where one of them is NaN or infinite. @default {none}
   */
  readonly band?: { readonly low: ArrayLike<number>; readonly high: ArrayLike<number> };
}

/** How both axes are spread. */
export interface Spreads {
  readonly x: Spread;
  readonly y: Spread;
}

/** A pair of axes with the box that they span. */
export interface Plane {
  readonly box: Box;
  readonly x: Axis;
  readonly y: Axis;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** A point of a band, whose `y` is its lower end. */
interface Slice extends Point {
  readonly high: number;
}

/** What there is to draw of a series: runs of points without gaps. */
export interface Line {
  readonly runs: readonly Point[][];
  readonly faint: readonly (readonly Point[][])[];
  readonly band: readonly Slice[][];
}

const LEGEND_LETTERS = 28;
/** Pixels between the signs along a line. */
const SIGN_STEP = 90;
/** Points so few that each has a sign. */
const FEW_POINTS = 12;
/** The signs of lines, around 0: dot, square, triangle, diamond, the other triangle, plus, cross. */
const SIGNS = [
  "M-3 0A3 3 0 1 1 3 0A3 3 0 1 1 -3 0",
  "M-3 -3H3V3H-3Z",
  "M0 -4L4 3H-4Z",
  "M0 -4L4 0L0 4L-4 0Z",
  "M0 4L4 -3H-4Z",
  "M-4 -1H-1V-4H1V-1H4V1H1V4H-1V1H-4Z",
  "M-4 -2.6L-2.6 -4L0 -1.4L2.6 -4L4 -2.6L1.4 0L4 2.6L2.6 4L0 1.4L-2.6 4L-4 2.6L-1.4 0Z",
] as const;

/** What a pair of axes can show of a series. */
export function lineOf({ x, y, faint = [], band }: ChartSeries, spreads: Spreads): Line {
  const shown = (value: number, spread: Spread) =>
    Number.isFinite(value) && (spread === "linear" || value > 0);
  const points = (curve: ChartCurve) =>
    runsOf(curve.x.length, (i): Point | null => {
      const point = { x: curve.x[i], y: curve.y[i] };
      return shown(point.x, spreads.x) && shown(point.y, spreads.y) ? point : null;
    });
  // A band may reach below what a logarithm shows, so only its upper end has to be above 0.
  const slices = band === undefined ? [] : runsOf(x.length, (i): Slice | null => {
    const slice = { x: x[i], y: band.low[i], high: band.high[i] };
    const inside = shown(slice.x, spreads.x) && Number.isFinite(slice.y);
    return inside && shown(slice.high, spreads.y) ? slice : null;
  });
  return { runs: points({ x, y }), faint: faint.map(points), band: slices };
}

function runsOf<T>(count: number, at: (i: number) => T | null): T[][] {
  const runs: T[][] = [];
  let open = false;
  for (let i = 0; i < count; i++) {
    const point = at(i);
    if (point !== null && !open) runs.push([]);
    if (point !== null) runs[runs.length - 1].push(point);
    open = point !== null;
  }
  return runs;
}

/** All numbers of some lines that lie on the axes. */
export function numbersOf(lines: readonly Line[], spreads: Spreads): { x: number[]; y: number[] } {
  const points = lines.flatMap(({ runs, faint }) => [runs, ...faint].flat(2));
  const slices = lines.flatMap(({ band }) => band.flat());
  const low = slices.map((slice) => slice.y).filter((y) => spreads.y === "linear" || y > 0);
  return {
    x: [...points, ...slices].map((point) => point.x),
    y: [...points.map((point) => point.y), ...slices.map((slice) => slice.high), ...low],
  };
}

/** A line with its band and what lies faint under it. */
export function drawLine({ runs, faint, band }: Line, plane: Plane, index: number): Markup {
  const { stroke, ...dash } = lineStyle(index);
  const style = { fill: "none", stroke, ...dash };
  const round = { "stroke-linejoin": "round" };
  return [
    ...band.length === 0
      ? []
      : [element("path", { d: bandPath(band, plane), fill: stroke, "fill-opacity": 0.2 })],
    ...faint.flatMap((curve) =>
      drawRuns(curve, plane, { ...style, "stroke-width": 1.2, "stroke-opacity": 0.4, ...round })
    ),
    ...drawRuns(runs, plane, { ...style, "stroke-width": 1.8, ...round }),
  ].join("\n");
}

function drawRuns(
  runs: readonly Point[][],
  { x, y }: Plane,
  style: Readonly<Record<string, string | number>> & { readonly stroke: string },
): Markup[] {
  const placed = runs.map((run) => thin(run.map((p) => ({ x: x.at(p.x), y: y.at(p.y) }))));
  const d = placed.filter((run) => run.length > 1).map((run) =>
    "M" + run.map((p) => `${pixel(p.x)} ${pixel(p.y)}`).join("L")
  ).join("");
  const opacity = style["stroke-opacity"];
  const dots = placed.filter((run) => run.length === 1).map(([p]) =>
    element("circle", { cx: p.x, cy: p.y, r: 2.5, fill: style.stroke, "fill-opacity": opacity })
  );
  return [...d === "" ? [] : [element("path", { d, ...style })], ...dots];
}

/** Along the upper ends to the right, and along the lower ones back; of each column the outermost. */
function bandPath(band: readonly Slice[][], { box, x, y }: Plane): string {
  return band.map((run) => {
    const columns = Map.groupBy(run, (slice) => Math.round(x.at(slice.x)));
    const ends = [...columns.values()].map((slices) => ({
      x: x.at(slices[0].x),
      low: Math.min(...slices.map((slice) => slice.y)),
      high: Math.max(...slices.map((slice) => slice.high)),
    }));
    const height = (value: number) => {
      const at = y.at(value);
      return Number.isFinite(at) ? Math.min(at, box.bottom) : box.bottom;
    };
    const upper = ends.map((end) => `${pixel(end.x)} ${pixel(height(end.high))}`);
    const lower = ends.map((end) => `${pixel(end.x)} ${pixel(height(end.low))}`);
    return `M${[...upper, ...lower.reverse()].join("L")}Z`;
  }).join("");
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

/**
 * Signs along a line, by which it is known without its colour: at all of a few points, else at some
 * that lie elsewhere than those of other lines.
 */
export function drawSigns({ runs }: Line, { x, y }: Plane, index: number, lines: number): Markup {
  const { stroke } = lineStyle(index);
  const points = runs.flat().map((p) => ({ x: x.at(p.x), y: y.at(p.y) }));
  if (points.length <= FEW_POINTS) {
    return points.map((p) => sign(index, p.x, p.y, stroke)).join("\n");
  }
  let next = points[0].x + SIGN_STEP * index / lines;
  const chosen = points.filter((p) => {
    // Lines may go to the left, where points are not in order.
    if (p.x < next && next - p.x <= SIGN_STEP) return false;
    next = p.x + SIGN_STEP;
    return true;
  });
  return (chosen.length > 0 ? chosen : points.slice(-1))
    .map((p) => sign(index, p.x, p.y, stroke)).join("\n");
}

function sign(index: number, x: number, y: number, fill: string): Markup {
  const transform = `translate(${pixel(x)} ${pixel(y)})`;
  return element("path", { d: SIGNS[index % SIGNS.length], transform, fill });
}

/** Room that a legend takes: at the right of the box, or lines of it below. */
export function legendRoom(
  series: readonly ChartSeries[],
  place: "right" | "below",
  width: number,
): { readonly right: number; readonly below: number } {
  if (series.length < 2) return { right: 0, below: 0 };
  if (place === "right") return { right: entryWidth(series), below: 0 };
  return { right: 0, below: Math.ceil(series.length / columnsOf(series, width)) * LEGEND_STEP + 8 };
}

const LEGEND_STEP = FONT.tick + 8;

function entryWidth(series: readonly ChartSeries[]): number {
  const names = series.map(({ name }) => textWidth(shorten(name, LEGEND_LETTERS), FONT.tick));
  return Math.max(...names) + 56;
}

function columnsOf(series: readonly ChartSeries[], width: number): number {
  return Math.max(1, Math.floor(width / entryWidth(series)));
}

/** Names beside the box; the last line tells how many found no place. */
export function drawLegendBeside(
  series: readonly ChartSeries[],
  { right, top, bottom }: Box,
): Markup {
  const fitting = Math.max(1, Math.floor((bottom - top) / LEGEND_STEP));
  const shown = series.length <= fitting ? series : series.slice(0, fitting - 1);
  const entries = shown.map(({ name }, i) => entry(name, i, right + 16, top + 8 + i * LEGEND_STEP));
  const more = series.length - shown.length;
  const y = top + 8 + shown.length * LEGEND_STEP + FONT.tick / 3;
  return [...entries, ...more > 0 ? [text(`and ${more} more`, right + 16, y)] : []].join("\n");
}

/** Names in rows, from the left of the box on. */
export function drawLegendBelow(
  series: readonly ChartSeries[],
  { left, y, width }: { readonly left: number; readonly y: number; readonly width: number },
): Markup {
  const columns = columnsOf(series, width);
  return series.map(({ name }, i) => {
    const row = Math.floor(i / columns);
    return entry(name, i, left + i % columns * entryWidth(series), y + row * LEGEND_STEP);
  }).join("\n");
}

function entry(name: string, index: number, x: number, y: number): Markup {
  const style = lineStyle(index);
  const line = { x1: x, x2: x + 24, y1: y, y2: y, ...style, "stroke-width": 2.5 };
  return element("line", line) + sign(index, x + 12, y, style.stroke) +
    text(shorten(name, LEGEND_LETTERS), x + 30, y + FONT.tick / 3);
}
