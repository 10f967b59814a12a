/** Charts as SVG: lines over steps, bars, and tables in colour such as confusion matrices. */

import { axisOf, type Box, frame, leftRoom, type Spread } from "./chart_axes.ts";
import {
  type ChartSeries,
  drawLegendBelow,
  drawLegendBeside,
  drawLine,
  drawSigns,
  legendRoom,
  lineOf,
  numbersOf,
  type Plane,
} from "./chart_lines.ts";
import {
  checkSize,
  element,
  escapeText,
  FONT,
  type Markup,
  picture,
  shorten,
  text,
  textWidth,
} from "./chart_parts.ts";
import { describeLines } from "./chart_words.ts";

export type { ChartCurve, ChartSeries } from "./chart_lines.ts";
export { barChart, type BarChartOptions, heatmap, type HeatmapOptions } from "./chart_tables.ts";

/** A vertical line over the height of a chart. */
export interface ChartMark {
  /** Where it stands. */
  readonly x: number;
  /** What it means. */
  readonly label: string;
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
  /** How places are spread; "log" has gaps where one is not above 0. @default {"linear"} */
  readonly xScale?: "linear" | "log";
  /** How heights are spread; "log" has gaps where a value is not above 0. @default {"linear"} */
  readonly yScale?: "linear" | "log";
  /** Vertical lines, such as restarts. @default {none} */
  readonly marks?: readonly ChartMark[];
  /** Where the names stand if there are several; below there is room for all. @default {"right"} */
  readonly legend?: "right" | "below";
  /** Pixels, from 120. @default {720} */
  readonly width?: number;
  /** Pixels, from 120, to which a legend below adds. @default {400} */
  readonly height?: number;
}

const MARK_LETTERS = 16;

/**
 * Draws lines, with round numbers at the axes, and a legend where there is more than one.
 *
 * Lines are told apart by colours that differ to the colour-blind, too, and by signs along them;
 * from the eighth line on they are dashed. Lines of many points are thinned to what the pixels show:
 * of each column its first, least, largest and last value. Points without a neighbour are dots. A
 * description in words is part of the picture.
 *
 * @param options series, texts, scales, marks and size
 * @returns a whole SVG, with nothing outside of it; texts are escaped
 * @throws {RangeError} if there is no series, the lists of one differ in length, a mark has no
 * finite place, or the size leaves no room
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
 *
 * @example A mean with its deviation over seeds, and a restart
 * ```ts
 * import { lineChart } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const mean = { name: "loss", x: [1, 2, 3], y: [0.9, 0.5, 0.4] };
 * const band = { low: [0.8, 0.4, 0.35], high: [1, 0.6, 0.45] };
 * const marks = [{ x: 2, label: "restart" }];
 * const svg = lineChart({ series: [{ ...mean, band }], marks, xScale: "log" });
 * assert(svg.includes(">restart</text>"));
 * ```
 */
export function lineChart(options: LineChartOptions): string {
  const { title = "", xLabel = "", yLabel = "", legend = "right" } = options;
  const width = checkSize("width", options.width ?? 720);
  const height = checkSize("height", options.height ?? 400);
  const spreads = { x: checkScale("x", options.xScale), y: checkScale("y", options.yScale) };
  checkChoice("legend", legend, ["right", "below"]);
  const series = checkSeries(options.series);
  const marks = checkMarks(options.marks ?? [], spreads.x);
  const lines = series.map((each) => lineOf(each, spreads));
  const numbers = numbersOf(lines, spreads);
  const room = legendRoom(series, legend, width - 48);
  const top = (title === "" ? 16 : FONT.title + 24) + (marks.length > 0 ? FONT.tick : 0);
  const bottom = height - FONT.tick - FONT.label - 24;
  // Without numbers an axis goes from 0 to 1, which a logarithm cannot.
  const spreadOf = (values: readonly number[], spread: Spread) =>
    values.length === 0 ? "linear" : spread;
  const y = axisOf(numbers.y, [bottom, top], spreadOf(numbers.y, spreads.y));
  const box: Box = { left: leftRoom(y), top, right: width - Math.max(24, room.right), bottom };
  if (box.right - box.left < 40 || bottom - top < 40) {
    throw new RangeError(
      `Cannot draw a chart of ${width} by ${height} pixels: its texts leave no room for lines`,
    );
  }
  const places = [...numbers.x, ...marks.map((mark) => mark.x)];
  const x = axisOf(places, [box.left, box.right], spreadOf(places, spreads.x));
  const plane: Plane = { box, x, y };
  const several = series.length > 1;
  const description = describeLines({ ...options, series, marks });
  return picture({ width, height: height + room.below, title, description }, [
    frame(box, x, y, { xLabel, yLabel }),
    ...drawMarks(marks, plane),
    ...lines.map((line, i) => drawLine(line, plane, i)),
    ...several ? lines.map((line, i) => drawSigns(line, plane, i, lines.length)) : [],
    ...numbers.y.length > 0 ? [] : [nothing(box, spreads.y)],
    ...!several
      ? []
      : legend === "right"
      ? [drawLegendBeside(series, box)]
      : [drawLegendBelow(series, { left: 24, y: height + 8, width: width - 48 })],
  ]);
}

function checkScale(axis: string, scale: Spread = "linear"): Spread {
  checkChoice(`${axis}Scale`, scale, ["linear", "log"]);
  return scale;
}

function checkChoice(what: string, found: string, choices: readonly string[]): void {
  if (choices.includes(found)) return;
  const expected = choices.map((choice) => `"${choice}"`).join(" or ");
  throw new RangeError(`Cannot draw a chart with ${what} ${found}: expected ${expected}`);
}

function checkSeries(series: readonly ChartSeries[]): readonly ChartSeries[] {
  if (!Array.isArray(series) || series.length === 0) {
    throw new RangeError("Cannot draw a line chart: expected at least one series");
  }
  for (const { name, x, y, faint = [], band } of series as readonly ChartSeries[]) {
    checkLengths(name, x, y, "y");
    for (const curve of faint) checkLengths(name, curve.x, curve.y, "y of a faint curve");
    if (band === undefined) continue;
    checkLengths(name, x, band.low, "low ends of a band");
    checkLengths(name, x, band.high, "high ends of a band");
  }
  return series;
}

function checkLengths(
  name: string,
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  what: string,
): void {
  if (x.length === y.length) return;
  throw new RangeError(
    `Cannot draw the series "${name}": expected as many x as ${what}, found ${x.length} and ` +
      `${y.length}`,
  );
}

/** The marks that the axis can show. */
function checkMarks(marks: readonly ChartMark[], spread: Spread): readonly ChartMark[] {
  for (const { x, label } of marks) {
    if (Number.isFinite(x)) continue;
    throw new RangeError(
      `Cannot draw the mark "${label}": expected a finite number for its place, found ${x}`,
    );
  }
  return marks.filter(({ x }) => spread === "linear" || x > 0);
}

/** Lines over the height of the box, with the labels that stand beside each other. */
function drawMarks(marks: readonly ChartMark[], { box, x }: Plane): Markup[] {
  let end = -Infinity;
  return [...marks].sort((a, b) => a.x - b.x).map((mark) => {
    const at = x.at(mark.x);
    const line = { x1: at, x2: at, y1: box.top, y2: box.bottom };
    const style = { stroke: "#555555", "stroke-dasharray": "2 4", "stroke-width": 1.2 };
    const words = shorten(mark.label, MARK_LETTERS);
    const width = textWidth(words, FONT.tick);
    const left = Math.max(0, Math.min(at - width / 2, box.right - width));
    const drawn = element(
      "line",
      { ...line, ...style },
      element("title", {}, escapeText(mark.label)),
    );
    if (left < end + 4) return drawn;
    end = left + width;
    return drawn + text(words, left, box.top - 4, { fill: "#555555" });
  });
}

function nothing({ left, top, right, bottom }: Box, spread: Spread): Markup {
  const words = spread === "log" ? "no finite values above 0" : "no finite values";
  return text(words, (left + right) / 2, (top + bottom) / 2, {
    anchor: "middle",
    size: FONT.label,
    fill: "#777777",
  });
}
