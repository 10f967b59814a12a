/** The lines of `scalars.csv`: one value each, in long form. */

import { parse } from "@std/csv/parse";
import { stringify } from "@std/csv/stringify";
import { describeValue } from "./json_values.ts";

/** The columns of `scalars.csv`. */
export const SCALAR_COLUMNS = ["time", "step", "epoch", "samples", "key", "value"] as const;

const LINE_END = 0x0a;
const NUMBER = /^(NaN|-?Infinity|-?\d+(\.\d+)?(e[+-]?\d+)?)$/;
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

/** One line of `scalars.csv`. */
export interface ScalarRow {
  /** When it was logged. */
  time: Date;
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
}

/** The header line with its line end. */
export function scalarHeader(): string {
  return stringify([[...SCALAR_COLUMNS]], { headers: false });
}

/**
 * The lines for some values logged together, with their line ends.
 *
 * @param scalars values by name; NaN and infinities are written as words, null as an empty cell
 * @param progress where in training they belong
 * @param split prefix of the names, such as "train"; not repeated where a name has it already
 * @param time when they were logged
 * @returns one CSV line a value; "" for none
 * @throws {TypeError} if a value is neither a number nor null
 * @throws {RangeError} if a name is empty or has control characters, or progress is no count
 */
export function scalarLines(
  scalars: Readonly<Record<string, number | null>>,
  progress: Progress,
  split: string | undefined,
  time: Date,
): string {
  const place = (["step", "epoch", "samples"] as const).map((name) => checkCount(progress, name));
  const rows = Object.entries(scalars).map(([name, value]) => {
    checkKey(name);
    checkValue(name, value);
    const cell = Object.is(value, -0) ? "-0" : value;
    return [time.toISOString(), ...place, withSplit(name, split), cell];
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
 * Reads the content of a `scalars.csv`.
 *
 * A last line without its line end, as a killed process may leave it, is skipped.
 *
 * @param bytes the content of the file
 * @param path how messages call it
 * @returns its rows, in the order of the file
 * @throws {SyntaxError} naming line and column of what is not as it should be
 */
export function parseScalars(bytes: Uint8Array, path: string): ScalarRow[] {
  const lines = bytes.subarray(0, bytes.lastIndexOf(LINE_END) + 1);
  let rows: string[][];
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(lines);
    rows = parse(text, { skipFirstRow: false, fieldsPerRecord: SCALAR_COLUMNS.length });
  } catch (error) {
    throw new SyntaxError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  const [header, ...values] = rows;
  if (header !== undefined && header.join() !== SCALAR_COLUMNS.join()) {
    throw new SyntaxError(
      `Cannot read ${path}: expected the columns ${SCALAR_COLUMNS.join()}, found ${header.join()}`,
    );
  }
  return values.map((row, i) => readRow(row, `${path}, line ${i + 2}`));
}

function readRow([time, step, epoch, samples, key, value]: string[], where: string): ScalarRow {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) throw badCell(where, "time", "a date", time);
  return {
    time: date,
    step: readNumber(step, COUNT, where, "step"),
    epoch: readNumber(epoch, COUNT, where, "epoch"),
    samples: readNumber(samples, COUNT, where, "samples"),
    key,
    value: readNumber(value, NUMBER, where, "value"),
  };
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
