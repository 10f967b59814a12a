/** Streams of text lines and CSV rows from files. */

import { parse } from "@std/csv/parse";
import { CsvError } from "./csv_scan.ts";
import type { LabelledItem } from "./dataset.ts";
import { permutation } from "./order.ts";
import type { StreamSource } from "./stream_loader.ts";
import { TextError } from "./text.ts";

/** Options of {@linkcode textLines}. */
export interface TextLinesOptions {
  /** Whether each epoch reads the files in its own random order. Default: false. */
  readonly shuffleFiles?: boolean;
  /** Seed of that order, a whole number from 0 to 2^53 - 1. Default: 0. */
  readonly seed?: number;
  /** Most characters of a line, or of a CSV row. Default: 1,048,576 (2^20). */
  readonly lineLength?: number;
}

/** Options of {@linkcode csvRows}. */
export interface CsvRowsOptions extends TextLinesOptions {
  /** Names of the columns of files without a header line. Default: the first line of each file. */
  readonly columns?: readonly string[];
  /** Character between fields. Default: `,`. */
  readonly separator?: string;
}

/** Options of {@linkcode csvItems}. */
export interface CsvItemsOptions extends CsvRowsOptions {
  /** Column with the class. */
  readonly target: string;
  /** Names of the classes, in the order of their numbers. */
  readonly classes: readonly string[];
  /** Columns with numbers, in this order. */
  readonly features: readonly string[];
}

/**
 * A stream of the lines of text files in UTF-8, for a {@linkcode StreamLoader}.
 *
 * @param paths the files, at least one
 * @param options order of the files, longest line
 * @returns opens the stream of an epoch; lines come without their ends, blank ones too. Reading
 * throws `Deno.errors.NotFound` for a missing file, and a {@linkcode TextError} with file and line
 * where a line is too long or not valid UTF-8
 * @throws {RangeError} when there is no file, or a number is out of range
 *
 * @example
 * ```ts ignore
 * import { StreamLoader, textLines } from "@legoml/legoml/data";
 *
 * const lines = textLines(["a.txt", "b.txt"], { shuffleFiles: true, seed: 1 });
 * const collate = (items: readonly string[]) => () => items;
 * const loader = new StreamLoader(lines, { batchSize: 64, shuffleBuffer: 10_000, collate });
 * ```
 */
export function textLines(
  paths: readonly string[],
  options: TextLinesOptions = {},
): StreamSource<string> {
  const order = fileOrder("stream text lines", paths, options);
  return async function* (epoch) {
    for (const path of order(epoch)) {
      for await (const { text } of linesOf(path, options.lineLength ?? 2 ** 20, TextError)) {
        yield text;
      }
    }
  };
}

/**
 * A stream of the rows of CSV files, for a {@linkcode StreamLoader}.
 *
 * @param paths the files, at least one
 * @param options columns, separator, order of the files
 * @returns opens the stream of an epoch; rows come as texts by column, blank lines are skipped.
 * Reading throws `Deno.errors.NotFound` for a missing file, and a {@linkcode CsvError} with file and
 * line where a row has not as many fields as there are columns, quotes are out of place, a row is
 * too long or not valid UTF-8
 * @throws {RangeError} when there is no file, a number is out of range, or the separator is invalid
 *
 * @example
 * ```ts ignore
 * import { csvRows } from "@legoml/legoml/data";
 *
 * for await (const row of csvRows(["flights.csv"])(0)) console.log(row.delay);
 * ```
 */
export function csvRows(
  paths: readonly string[],
  options: CsvRowsOptions = {},
): StreamSource<Record<string, string>> {
  const records = csvRecords(paths, options);
  return async function* (epoch) {
    for await (const { names, fields } of records(epoch)) {
      yield Object.fromEntries(names.map((name, i) => [name, fields[i]]));
    }
  };
}

/**
 * A stream of labelled features from CSV files, for a {@linkcode StreamLoader} without `collate`.
 *
 * @param paths the files, at least one
 * @param options target, classes, features, and what {@linkcode csvRows} takes
 * @returns opens the stream of an epoch. Reading throws as that of {@linkcode csvRows}, and a
 * {@linkcode CsvError} where a column is missing, a feature is not a finite f32 number, or a label
 * is not a class
 * @throws {RangeError} as {@linkcode csvRows}, and when there is no feature, or classes are doubled
 *
 * @example
 * ```ts ignore
 * import { csvItems, StreamLoader } from "@legoml/legoml/data";
 *
 * const items = csvItems(["day1.csv", "day2.csv"], {
 *   target: "kind",
 *   classes: ["flat", "tall"],
 *   features: ["width", "height"],
 * });
 * const loader = new StreamLoader(items, { batchSize: 32, shuffleBuffer: 1000 });
 * ```
 */
export function csvItems(
  paths: readonly string[],
  options: CsvItemsOptions,
): StreamSource<LabelledItem> {
  const { target, classes, features } = options;
  const numbers = new Map(classes.map((name, i) => [name, i]));
  if (features.length === 0 || numbers.size !== classes.length || classes.length === 0) {
    throw new RangeError(
      "Cannot stream CSV items as there must be features, and classes that differ: " +
        `got [${features.join(", ")}] and [${classes.join(", ")}]`,
    );
  }
  const shape = [features.length];
  const records = csvRecords(paths, options);
  return async function* (epoch) {
    for await (const record of records(epoch)) {
      const label = numbers.get(fieldOf(record, target).trim());
      if (label === undefined) {
        refuse(record, `column "${target}"`, `one of ${classes.slice(0, 10).join(", ")}`, target);
      }
      const input = Float32Array.from(features, (column) => numberOf(record, column));
      yield { input, shape, label: label!, classCount: classes.length };
    }
  };
}

interface CsvRecord {
  readonly path: string;
  readonly line: number;
  readonly names: readonly string[];
  readonly fields: readonly string[];
}

const decimal = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

function numberOf(record: CsvRecord, column: string): number {
  const text = fieldOf(record, column).trim();
  const value = decimal.test(text) ? Math.fround(Number(text)) : NaN;
  if (!Number.isFinite(value)) refuse(record, `column "${column}"`, "a finite number", column);
  return value;
}

function fieldOf(record: CsvRecord, column: string): string {
  const at = record.names.indexOf(column);
  if (at >= 0) return record.fields[at];
  throw new CsvError(
    `Cannot read CSV "${record.path}" as there is no column "${column}": ` +
      `got ${record.names.join(", ")}`,
    record.line,
  );
}

function refuse(record: CsvRecord, what: string, expected: string, column: string): never {
  throw new CsvError(
    `Cannot read CSV "${record.path}" as ${what} on line ${record.line} must be ${expected}: ` +
      `got "${fieldOf(record, column).slice(0, 40)}"`,
    record.line,
  );
}

function csvRecords(
  paths: readonly string[],
  options: CsvRowsOptions,
): StreamSource<CsvRecord> {
  const { separator = ",", lineLength = 2 ** 20 } = options;
  if (separator.length !== 1 || '"\r\n'.includes(separator)) {
    throw new RangeError(
      "Cannot stream CSV rows as the separator must be one character other than a quote or line " +
        `break: got ${JSON.stringify(separator)}`,
    );
  }
  const order = fileOrder("stream CSV rows", paths, options);
  return async function* (epoch) {
    for (const path of order(epoch)) {
      let names = options.columns;
      for await (const { text, line } of rowsOf(path, lineLength)) {
        const fields = parseRow(text, separator, path, line);
        if (names === undefined) {
          names = checkNames(fields, path, line);
          continue;
        }
        if (fields.length !== names.length) {
          throw new CsvError(
            `Cannot read CSV "${path}" as line ${line} must have ${names.length} fields: got ` +
              `${fields.length}`,
            line,
          );
        }
        yield { path, line, names, fields };
      }
    }
  };
}

function checkNames(names: readonly string[], path: string, line: number): readonly string[] {
  const doubled = names.find((column, i) => names.indexOf(column) !== i);
  if (doubled === undefined) return names;
  throw new CsvError(
    `Cannot read CSV "${path}" as column names must differ: got "${doubled}" twice`,
    line,
  );
}

function parseRow(text: string, separator: string, path: string, line: number): string[] {
  let rows: string[][];
  try {
    rows = parse(text, { separator });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new CsvError(
      `Cannot read CSV "${path}" as quotes are out of place in the row on line ${line}`,
      line,
      { cause },
    );
  }
  if (rows.length === 1) return rows[0];
  throw new CsvError(`Cannot read CSV "${path}" as line ${line} must be one row`, line);
}

/** Rows that are not blank; a row goes on over line breaks while a quote is open. */
async function* rowsOf(path: string, most: number): AsyncGenerator<Line> {
  let open: string[] = [];
  let [first, length, quotes] = [0, 0, 0];
  for await (const { text, line } of linesOf(path, most, CsvError)) {
    if (open.length === 0) {
      if (text === "") continue;
      [first, length, quotes] = [line, 0, 0];
    }
    open.push(text);
    length += text.length + 1;
    if (length > most + 1) throw tooLong(path, first, most, CsvError);
    quotes += text.split('"').length - 1;
    if (quotes % 2 !== 0) continue;
    yield { text: open.join("\n"), line: first };
    open = [];
  }
  if (open.length === 0) return;
  throw new CsvError(
    `Cannot read CSV "${path}" as the quote in the row on line ${first} is not closed`,
    first,
  );
}

interface Line {
  readonly text: string;
  /** Line of the file, from 1. */
  readonly line: number;
}

type LineError = new (message: string, line: number, options?: ErrorOptions) => SyntaxError;

async function* linesOf(path: string, most: number, error: LineError): AsyncGenerator<Line> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let [rest, line] = ["", 0];
  const decode = (bytes?: Uint8Array<ArrayBuffer>): string => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch (cause) {
      const at = line + 1;
      throw new error(`Cannot read "${path}" as it is not valid UTF-8 from line ${at} on`, at, {
        cause,
      });
    }
  };
  for await (const bytes of await bytesOf(path)) {
    const parts = (rest + decode(bytes)).split("\n");
    rest = parts.pop()!;
    for (const part of parts) {
      line++;
      if (part.length > most) throw tooLong(path, line, most, error);
      yield { text: part.replace(/\r$/, ""), line };
    }
    if (rest.length > most) throw tooLong(path, line + 1, most, error);
  }
  rest += decode();
  if (rest !== "") yield { text: rest.replace(/\r$/, ""), line: line + 1 };
}

async function bytesOf(path: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  try {
    // The stream closes the file when it ends or is left
    return (await Deno.open(path)).readable;
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot read "${path}" as there is no such file`, { cause });
  }
}

function tooLong(path: string, line: number, most: number, error: LineError): SyntaxError {
  return new error(
    `Cannot read "${path}" as line ${line} may have at most ${most} characters: got more`,
    line,
  );
}

function fileOrder(
  action: string,
  paths: readonly string[],
  { shuffleFiles = false, seed = 0, lineLength = 1 }: TextLinesOptions,
): (epoch: number) => readonly string[] {
  if (paths.length === 0) throw new RangeError(`Cannot ${action} as there is no file`);
  if (!Number.isInteger(lineLength) || lineLength < 1) {
    throw new RangeError(
      `Cannot ${action} as lineLength must be a whole number of at least 1: got ${lineLength}`,
    );
  }
  permutation(seed, "stream files", 0, 0); // checks the seed
  const files = [...paths];
  return (epoch) =>
    shuffleFiles
      ? Array.from(permutation(seed, "stream files", epoch, files.length), (i) => files[i])
      : files;
}
