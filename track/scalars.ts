/** The lines of `scalars.csv`: one value each, in long form. */

import { parse } from "@std/csv/parse";
import { stringify } from "@std/csv/stringify";
import { describeValue } from "./json_values.ts";
import { countingRows, type RunSegment } from "./segments.ts";

/** The columns of `scalars.csv`. */
export const SCALAR_COLUMNS: readonly string[] = [
  "time",
  "segment",
  "step",
  "epoch",
  "samples",
  "key",
  "value",
];

/** Those of a file of the layout version 1, whose rows are all of segment 1. */
export const FIRST_COLUMNS: readonly string[] = SCALAR_COLUMNS.toSpliced(1, 1);

const LINE_END = 0x0a;

/** How a value is written. */
export const NUMBER: RegExp = /^(NaN|-?Infinity|-?\d+(\.\d+)?(e[+-]?\d+)?)$/;
const COUNT = /^\d+$/;

/** Where in training a record belongs; all of them counts of what is complete. */
export interface Progress {
  /** Steps. */
  step?: number;
  /** Epochs. */
  epoch?: number;
  /** Samples. */
  samples?: number;
}

/** Values by full name, in their order; two may have the same name. */
export type NamedScalars = readonly (readonly [name: string, value: number | null])[];

/** Where in training a line belongs, with null for what was not given. */
export type Place = { readonly [K in keyof Progress]-?: number | null };

/** One line of `scalars.csv`. */
export interface ScalarRow {
  /** When it was logged. */
  time: Date;
  /** Which start of the run logged it, from 1. */
  segment: number;
  /** Completed steps, or null where not given. */
  step: number | null;
  /** Completed epochs, or null where not given. */
  epoch: number | null;
  /** Completed samples, or null where not given. */
  samples: number | null;
  /** Name of the series, such as "train/loss". */
  key: string;
  /** The value; may be NaN or infinite; null for a value that was logged as missing. */
  value: number | null;
  /** Whether a later segment went on from before this row, so that it no longer counts. */
  superseded: boolean;
}

/** The header line with its line end. */
export function scalarHeader(): string {
  return stringify([[...SCALAR_COLUMNS]], { headers: false });
}

/**
 * The values with their full names, checked.
 *
 * @param scalars values by name
 * @param split prefix of the names, such as "train"; not repeated where a name has it already
 * @throws {TypeError} if a value is neither a number nor null
 * @throws {RangeError} if a name is empty or has control characters
 */
export function namedScalars(
  scalars: Readonly<Record<string, number | null>>,
  split: string | undefined,
): NamedScalars {
  return Object.entries(scalars).map(([name, value]) => {
    checkKey(name);
    checkValue(name, value);
    return [withSplit(name, split), value];
  });
}

/**
 * Where in training values belong, checked.
 *
 * @throws {RangeError} if a number is no count
 */
export function placeOf(progress: Progress): Place {
  const count = (name: keyof Progress) => checkCount(progress, name);
  return { step: count("step"), epoch: count("epoch"), samples: count("samples") };
}

/**
 * The lines for some values logged together, with their line ends.
 *
 * @param named values by full name; NaN and infinities are written as words, null as an empty cell
 * @param place where in training they belong
 * @param time when they were logged
 * @param segment which start of the run logs them
 * @returns one CSV line a value; "" for none
 */
export function scalarLines(
  named: NamedScalars,
  { step, epoch, samples }: Place,
  time: Date,
  segment: number,
): string {
  const rows = named.map(([name, value]) => {
    const cell = Object.is(value, -0) ? "-0" : value;
    return [time.toISOString(), segment, step, epoch, samples, name, cell];
  });
  return rows.length === 0 ? "" : stringify(rows, { headers: false });
}

function withSplit(name: string, split: string | undefined): string {
  if (split === undefined || name.startsWith(`${split}/`)) return name;
  checkKey(split);
  return `${split}/${name}`;
}

function checkCount(progress: Progress, name: keyof Progress): number | null {
  const count = progress[name] ?? null;
  if (count === null || (Number.isSafeInteger(count) && count >= 0)) return count;
  throw new RangeError(
    `Cannot log scalars: expected ${name} to be a whole number from 0, found ${
      describeValue(count)
    }`,
  );
}

function checkKey(name: string): void {
  // deno-lint-ignore no-control-regex -- a line break in a name would tear the line-by-line form
  if (name !== "" && !/[\u0000-\u001f\u007f]/.test(name)) return;
  throw new RangeError(
    `Cannot log a scalar: expected a name without control characters, found ${
      JSON.stringify(name)
    }`,
  );
}

function checkValue(name: string, value: unknown): void {
  if (value === null || typeof value === "number") return;
  const isTensor = typeof (value as { item?: unknown } | undefined)?.item === "function";
  throw new TypeError(
    `Cannot log scalar "${name}": expected a number or null, found ${describeValue(value)}${
      isTensor ? "; read it first with item()" : ""
    }`,
  );
}

/**
 * Reads the content of a `scalars.csv`, also of the layout version 1, which has no segments.
 *
 * A last line without its line end, as a killed process may leave it, is skipped.
 *
 * @param bytes the content of the file
 * @param path how messages call it
 * @param segments those of the run, which tell what is superseded; null where nobody knows them
 * @returns its rows, in the order of the file
 * @throws {SyntaxError} naming line and column of what is not as it should be
 */
export function parseScalars(
  bytes: Uint8Array,
  path: string,
  segments: readonly RunSegment[] | null,
): ScalarRow[] {
  const lines = bytes.subarray(0, bytes.lastIndexOf(LINE_END) + 1);
  if (lines.length === 0) return [];
  let rows: string[][];
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(lines);
    rows = parse(text, { skipFirstRow: false, fieldsPerRecord: 0 });
  } catch (error) {
    throw new SyntaxError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  const [header, ...values] = rows;
  const isFirst = header.join() === FIRST_COLUMNS.join();
  if (!isFirst && header.join() !== SCALAR_COLUMNS.join()) {
    throw new SyntaxError(
      `Cannot read ${path}: expected the columns ${SCALAR_COLUMNS.join()}, found ${header.join()}`,
    );
  }
  const counting = segments === null ? null : countingRows(segments);
  return values.map((row, i) =>
    readRow(isFirst ? row.toSpliced(1, 0, "1") : row, i, counting, `${path}, line ${i + 2}`)
  );
}

function readRow(
  [time, segment, step, epoch, samples, key, value]: readonly string[],
  index: number,
  counting: ReadonlyMap<number, number> | null,
  where: string,
): ScalarRow {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) throw badCell(where, "time", "a date", time);
  const own = readNumber(segment, COUNT, where, "segment");
  return {
    time: date,
    segment: own!,
    step: readNumber(step, COUNT, where, "step"),
    epoch: readNumber(epoch, COUNT, where, "epoch"),
    samples: readNumber(samples, COUNT, where, "samples"),
    key,
    value: readNumber(value, NUMBER, where, "value"),
    superseded: index >= countOf(own, counting, where),
  };
}

/**
 * How many rows count where a row of this segment stands.
 *
 * @throws {SyntaxError} if the record of the run does not know the segment
 */
export function countOf(
  segment: number | null,
  counting: ReadonlyMap<number, number> | null,
  where: string,
): number {
  const count = counting === null && segment === 1 ? Infinity : counting?.get(segment ?? 0);
  if (count !== undefined) return count;
  const found = segment === null ? "none" : `segment ${segment}`;
  throw new SyntaxError(
    counting === null
      ? `Cannot read ${where}: expected a meta.json beside its folder that tells the segments, found ${found}`
      : `Cannot read ${where}: expected a segment that meta.json names, found ${found}`,
  );
}

/**
 * The rows that count: those that no later segment supersedes.
 *
 * Of a run that was resumed they are the rows of one that never stopped, but for time and segment.
 *
 * @param rows what `readScalars` or `readRun` gave
 * @returns the rows that are not superseded, in their order
 */
export function currentScalars(rows: readonly ScalarRow[]): ScalarRow[] {
  return rows.filter(({ superseded }) => !superseded);
}

function readNumber(cell: string, form: RegExp, where: string, column: string): number | null {
  if (cell === "") return null;
  if (!form.test(cell)) throw badCell(where, column, "a number", cell);
  return Number(cell);
}

function badCell(where: string, column: string, expected: string, cell: string): SyntaxError {
  return new SyntaxError(
    `Cannot read ${where}: expected "${column}" to be ${expected}, found ${describeValue(cell)}`,
  );
}
