/** Charts of named numbers: bars, and tables in colour. */

import { axisOf } from "./chart_axes.ts";
import {
  checkSize,
  COLOURS,
  element,
  FONT,
  type Markup,
  picture,
  shorten,
  text,
  textWidth,
} from "./chart_parts.ts";
import { tellList, tellNumber } from "./chart_words.ts";

/** What a bar chart shows. */
export interface BarChartOptions {
  /** Names and lengths, at least one. */
  readonly bars: readonly { readonly label: string; readonly value: number }[];
  /** What stands above. @default {nothing} */
  readonly title?: string;
  /** What stands below: what the numbers are. @default {nothing} */
  readonly xLabel?: string;
  /** Pixels, from 120; the height follows from the number of bars. @default {720} */
  readonly width?: number;
}

/** What a heatmap shows. */
export interface HeatmapOptions {
  /** Rows of numbers, all of one length. */
  readonly values: readonly ArrayLike<number>[];
  /** Names of the rows. @default {their numbers} */
  readonly rowLabels?: readonly string[];
  /** Names of the columns. @default {their numbers} */
  readonly columnLabels?: readonly string[];
  /** What stands above. @default {nothing} */
  readonly title?: string;
  /** What stands below: what the columns are. @default {nothing} */
  readonly xLabel?: string;
  /** What stands at the left: what the rows are. @default {nothing} */
  readonly yLabel?: string;
  /**
   * What the darkest colour means: the largest number of the table, or of each row, as for classes
   * of different size. @default {"table"}
   */
  readonly shade?: "table" | "row";
  /** Pixels of each cell, from 12 to 120; below 24 no numbers are written. @default {what fits} */
  readonly cell?: number;
}

const LABEL_LETTERS = 24;
const BAR = 26;

/**
 * Draws a bar for each number, from 0 to the right or to the left, with name and number.
 *
 * @param options bars, texts and width
 * @returns a whole SVG, with nothing outside of it; texts are escaped
 * @throws {RangeError} if there are no bars, or the width leaves no room
 *
 * @example
 * ```ts
 * import { barChart } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const bars = [{ label: "cat", value: 0.91 }, { label: "dog", value: 0.87 }];
 * assert(barChart({ bars, title: "recall" }).includes(">0.91</text>"));
 * ```
 */
export function barChart(options: BarChartOptions): string {
  const { bars, title = "", xLabel = "" } = options;
  if (!Array.isArray(bars) || bars.length === 0) {
    throw new RangeError("Cannot draw a bar chart: expected at least one bar");
  }
  const width = checkSize("width", options.width ?? 720);
  const names = bars.map(({ label }) => shorten(label, LABEL_LETTERS));
  const left = Math.max(...names.map((name) => textWidth(name, FONT.tick))) + 24;
  const top = title === "" ? 16 : FONT.title + 24;
  const bottom = top + bars.length * BAR;
  const numbers = bars.map(({ value }) => showNumber(value));
  // Numbers stand beside the ends of the bars, on either side.
  const room = Math.max(...numbers.map((n) => textWidth(n, FONT.tick))) + 10;
  const negative = bars.some(({ value }) => value < 0);
  const range: [number, number] = [left + (negative ? room : 0), width - room - 16];
  if (range[1] - range[0] < 40) {
    throw new RangeError(`Cannot draw a bar chart of ${width} pixels: its texts leave no room`);
  }
  const finite = bars.map(({ value }) => value).filter(Number.isFinite);
  const axis = axisOf(finite.length === 0 ? [] : [0, ...finite], range, "linear");
  const zero = axis.at(0);
  const grid = axis.ticks.map((tick) => {
    const at = axis.at(tick.value);
    const line = { x1: at, x2: at, y1: top, y2: bottom };
    return element("line", { ...line, stroke: tick.value === 0 ? "#444444" : "#dddddd" }) +
      text(tick.text, at, bottom + FONT.tick + 6, { anchor: "middle" });
  });
  const drawn = bars.map(({ value }, i) => {
    const middle = top + (i + 0.5) * BAR;
    const end = Number.isFinite(value) ? axis.at(value) : zero;
    const under = end < zero;
    return [
      text(names[i], left - 12, middle + FONT.tick / 3, { anchor: "end" }),
      element("rect", {
        x: Math.min(zero, end),
        y: middle - BAR * 0.35,
        width: Math.abs(end - zero),
        height: BAR * 0.7,
        fill: COLOURS[0],
      }),
      text(numbers[i], end + (under ? -5 : 5), middle + FONT.tick / 3, {
        anchor: under ? "end" : "start",
      }),
    ].join("");
  });
  const label = text(xLabel, (range[0] + range[1]) / 2, bottom + FONT.tick + FONT.label + 14, {
    anchor: "middle",
    size: FONT.label,
  });
  const height = bottom + FONT.tick + FONT.label + 26;
  const told = bars.map(({ value }, i) => `${names[i]} ${tellNumber(value)}`);
  const description = `${bars.length} bars${xLabel === "" ? "" : ` of ${xLabel}`}: ${
    tellList(told)
  }.`;
  return picture({ width, height, title, description }, [...grid, ...drawn, label]);
}

/**
 * Draws a table whose cells are darker the larger their numbers are, with the numbers in them; made
 * for confusion matrices. Cells that are NaN or infinite are grey.
 *
 * @param options numbers, names, texts and what the colours mean
 * @returns a whole SVG, with nothing outside of it; texts are escaped
 * @throws {RangeError} if there are no numbers, rows differ in length, names are too few or too
 * many, or the size of cells is out of its range
 *
 * @example
 * ```ts
 * import { heatmap } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const svg = heatmap({
 *   values: [[48, 2], [5, 45]],
 *   rowLabels: ["cat", "dog"],
 *   columnLabels: ["cat", "dog"],
 *   xLabel: "predicted",
 *   yLabel: "true",
 * });
 * assert(svg.includes(">48</text>"));
 * ```
 */
export function heatmap(options: HeatmapOptions): string {
  const { title = "", xLabel = "", yLabel = "", shade = "table" } = options;
  const { rows, columns, values } = checkTable(options);
  if (shade !== "table" && shade !== "row") {
    throw new RangeError(`Cannot draw a heatmap with shade ${shade}: expected "table" or "row"`);
  }
  const numbers = values.map((row) => row.map(showNumber));
  const widest = Math.max(...numbers.flat().map((n) => textWidth(n, FONT.tick)));
  const cell = checkCell(
    options.cell ?? fittingCell(widest, Math.max(rows.length, columns.length)),
  );
  const widestOf = (names: readonly string[]) =>
    Math.max(...names.map((name) => textWidth(name, FONT.tick)));
  const slanted = widestOf(columns) > cell - 4;
  const left = widestOf(rows) + FONT.label + 34;
  const top = title === "" ? 16 : FONT.title + 24;
  const bottom = top + rows.length * cell;
  const below = slanted ? widestOf(columns) * 0.71 + 20 : FONT.tick + 10;
  const width = Math.max(
    left + columns.length * cell + 24,
    textWidth(title, FONT.title) + 24,
  );
  const largest = Math.max(0, ...values.flat().filter(Number.isFinite).map(Math.abs));
  const cells = values.flatMap((row, r) => {
    const most = shade === "table"
      ? largest
      : Math.max(0, ...row.filter(Number.isFinite).map(Math.abs));
    return row.map((value, c) => {
      const share = !Number.isFinite(value) ? null : most === 0 ? 0 : value / most;
      const place = { x: left + c * cell, y: top + r * cell, size: cell };
      return drawCell(place, share, cell >= 24 && widest <= cell ? numbers[r][c] : "");
    });
  });
  const middle = { anchor: "middle", size: FONT.label } as const;
  const height = bottom + below + FONT.label + 20;
  const description = describeTable({ rows, columns, values });
  return picture({ width, height, title, description }, [
    ...cells,
    ...rows.map((name, r) =>
      text(name, left - 8, top + (r + 0.5) * cell + FONT.tick / 3, { anchor: "end" })
    ),
    ...columns.map((name, c) => {
      const x = left + (c + 0.5) * cell;
      return slanted
        ? text(name, x + 4, bottom + 14, { anchor: "end", rotate: -45 })
        : text(name, x, bottom + FONT.tick + 6, { anchor: "middle" });
    }),
    text(xLabel, left + columns.length * cell / 2, bottom + below + FONT.label + 4, middle),
    text(yLabel, FONT.label + 4, (top + bottom) / 2, { ...middle, rotate: -90 }),
  ]);
}

/** Size of the table, and for each row the column of its largest number. */
function describeTable({ rows, columns, values }: Table): string {
  const told = values.map((row, r) => {
    const largest = row.reduce(
      (best, value, c) => Number.isFinite(value) && !(value <= row[best]) ? c : best,
      0,
    );
    return `${rows[r]}: largest ${showNumber(row[largest])} at ${columns[largest]}`;
  });
  return `Table of ${rows.length} rows and ${columns.length} columns. ${tellList(told)}.`;
}

interface Table {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly values: number[][];
}

function checkTable({ values, rowLabels, columnLabels }: HeatmapOptions): Table {
  const table = values.map((row) => Array.from(row));
  const width = table[0]?.length ?? 0;
  if (width === 0 || table.some((row) => row.length !== width)) {
    throw new RangeError(
      `Cannot draw a heatmap: expected rows of one length above 0, found lengths ${
        table.map((row) => row.length).join(", ") || "of no rows"
      }`,
    );
  }
  const named = (what: string, labels: readonly string[] | undefined, count: number) => {
    if (labels !== undefined && labels.length !== count) {
      throw new RangeError(
        `Cannot draw a heatmap: expected ${count} names of ${what}, found ${labels.length}`,
      );
    }
    return (labels ?? Array.from({ length: count }, (_, i) => String(i)))
      .map((label) => shorten(label, LABEL_LETTERS));
  };
  return {
    rows: named("rows", rowLabels, table.length),
    columns: named("columns", columnLabels, width),
    values: table,
  };
}

/** A cell that holds its number, unless there are so many that they would not fit a page. */
function fittingCell(widest: number, count: number): number {
  return Math.max(12, Math.min(Math.max(36, widest + 10), 120, 1400 / count));
}

function checkCell(cell: number): number {
  if (cell >= 12 && cell <= 120) return cell;
  throw new RangeError(
    `Cannot draw a heatmap with cell ${cell}: expected a number from 12 to 120`,
  );
}

function drawCell(
  { x, y, size }: { readonly x: number; readonly y: number; readonly size: number },
  share: number | null,
  number: string,
): Markup {
  const rect = element("rect", {
    x,
    y,
    width: size,
    height: size,
    fill: share === null ? "#bbbbbb" : shadeOf(share),
    stroke: "#ffffff",
  });
  if (number === "") return rect;
  const fill = share !== null && Math.abs(share) > 0.55 ? "#ffffff" : "#222222";
  return rect +
    text(number, x + size / 2, y + size / 2 + FONT.tick / 3, { anchor: "middle", fill });
}

/** From near white to blue for 0 to 1, to vermilion for 0 to −1. */
function shadeOf(share: number): string {
  const [light, dark] = [[247, 249, 252], share < 0 ? [176, 71, 0] : [0, 76, 125]];
  const by = Math.min(1, Math.abs(share));
  const mixed = light.map((from, i) => Math.round(from + (dark[i] - from) * by));
  return `#${mixed.map((n) => n.toString(16).padStart(2, "0")).join("")}`;
}

/** Whole numbers as they are, others with three digits that count. */
function showNumber(value: number): string {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
}
