/** The block of lines that a terminal shows of a running loop. */

import { type ChartRow, type Course, drawChart } from "./live_curve.ts";
import { bestOf, headOf, type Progress, showNumber, showTime, speedOf } from "./progress_line.ts";

/** What the chart of a block shows. */
export interface Curves {
  /** The loss of training, by step. */
  readonly line: Course;
  /** The same loss of evaluations, by step. */
  readonly marks: Course;
  /** The names of the metrics behind the marks. */
  readonly marked: ReadonlySet<string>;
}

/** Room for a block. */
export interface Room {
  /** Columns that may be written. */
  readonly columns: number;
  /** Rows that may be written. */
  readonly rows: number;
  /** Whether parts are coloured. */
  readonly color: boolean;
}

const BAR_MIN = 8;
const CHART_ROWS = 4;
/** Columns of the labels of the vertical axis. */
const LABEL = 9;
/** Columns below which there is no chart. */
const CHART_MIN = 30;

const COLORS = { line: 36, mark: 33, bar: 32, bad: 31, dim: 2 } as const;
type Paint = (kind: keyof typeof COLORS, text: string) => string;

interface Item {
  readonly text: string;
  readonly kind?: keyof typeof COLORS;
}

/**
 * Lines that fit into the room: where the loop stands, the chart, and numbers. Where rows are
 * missing the chart gives way first, then the last lines do.
 *
 * @param progress what to tell
 * @param curves what to draw
 * @param room the terminal
 */
export function liveBlock(progress: Progress, curves: Curves, room: Room): string[] {
  const { columns, rows, color } = room;
  const paint: Paint = (kind, text) => color ? `\x1b[${COLORS[kind]}m${text}\x1b[0m` : text;
  const head = headLines(progress, columns, paint);
  const numbers = flow(itemsOf(progress, curves.marked), columns, paint);
  const chart = chartLines(curves, columns, paint);
  const lines = [...head, ...chart, ...numbers];
  return (lines.length > rows ? [...head, ...numbers] : lines).slice(0, rows);
}

function headLines(progress: Progress, columns: number, paint: Paint): string[] {
  const { step, steps, total, eta } = progress;
  const [epoch, count] = headOf(progress);
  const times = [showTime(total), ...(eta === null ? [] : [`ETA ${showTime(eta)}`])];
  const plain = [epoch, count, ...times].join("  ");
  const room = columns - plain.length - 2;
  if (steps === null || room < BAR_MIN) {
    return flow([epoch, count.trim(), ...times].map((text) => ({ text })), columns, paint);
  }
  const full = Math.min(room, Math.floor(step / Math.max(1, steps) * room));
  const bar = paint("bar", "━".repeat(full)) + paint("dim", "─".repeat(room - full));
  return [[epoch, bar, count, ...times].join("  ")];
}

function itemsOf(progress: Progress, marked: ReadonlySet<string>): Item[] {
  const values = Object.entries(progress.values).map(([name, value]): Item => ({
    text: `${marked.has(name) ? "o " : ""}${name} ${showNumber(value)}`,
    kind: Number.isFinite(value) ? marked.has(name) ? "mark" : undefined : "bad",
  }));
  return [...values, ...[...bestOf(progress), ...speedOf(progress)].map((text) => ({ text }))];
}

/** Items beside each other, two spaces apart, as many in a line as fit; longer ones go over lines. */
function flow(items: readonly Item[], columns: number, paint: Paint): string[] {
  const lines: { text: string; length: number }[] = [];
  for (const { text: whole, kind } of items) {
    for (const part of wrapped(whole, columns)) {
      const text = kind === undefined ? part : paint(kind, part);
      const last = lines.at(-1);
      if (part === whole && last !== undefined && last.length + 2 + part.length <= columns) {
        last.text += `  ${text}`;
        last.length += 2 + part.length;
      } else lines.push({ text, length: part.length });
    }
  }
  return lines.map(({ text }) => text);
}

/** A text over lines that break between words; of words that are too long the end, as names differ there. */
function wrapped(text: string, columns: number): string[] {
  if (text.length <= columns) return [text];
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const joined = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && joined.length <= columns) lines[lines.length - 1] = joined;
    else lines.push(word.length <= columns ? word : `…${word.slice(word.length - columns + 1)}`);
  }
  return lines;
}

function chartLines({ line, marks }: Curves, columns: number, paint: Paint): string[] {
  if (columns < CHART_MIN) return [];
  const width = columns - LABEL - 2;
  const rows = drawChart(line.points, marks.points, width, CHART_ROWS, showNumber) ?? [];
  return rows.map((row) => chartLine(row, paint));
}

function chartLine({ label, parts }: ChartRow, paint: Paint): string {
  const axis = paint("dim", `${label.padStart(LABEL)} ${label === "" ? "│" : "┤"}`);
  const cells = parts.map(({ text, kind }) => kind === "none" ? text : paint(kind, text));
  return axis + cells.join("");
}
