/** Labelled features from CSV text. */

import { parse } from "@std/csv/parse";
import { CsvError, type CsvLimits, scanCsv } from "./csv_scan.ts";
import { LabelledDataset } from "./labelled_dataset.ts";
import { Standardizer } from "./transforms.ts";

export { CsvError, type CsvLimits };

/** Options of {@linkcode CsvDataset.fromText} and {@linkcode CsvDataset.fromFile}. */
export interface CsvDatasetOptions {
  /** Column with the class. */
  readonly target: string;
  /** Columns with numbers, in this order. Default: all but the target, in the file's order. */
  readonly features?: readonly string[];
  /**
   * Names of the classes, in the order of their numbers. Default: the labels that occur, sorted, by
   * number when all are whole numbers. Pass the training set's classes for a test set.
   */
  readonly classes?: readonly string[];
  /** Names of the columns of text without a header line. Default: the first line. */
  readonly columns?: readonly string[];
  /** Character between fields. Default: `,`. */
  readonly separator?: string;
  /** Name for messages. Default: "csv" for text, the path for a file. */
  readonly name?: string;
  /** Most bytes of a file. Default: 256 MiB. */
  readonly maxBytes?: number;
  /** Most of everything else. */
  readonly limits?: CsvLimits;
}

/** What a {@linkcode CsvDataset} is made of. */
export interface CsvDatasetFields {
  /** Name for messages and reports. */
  readonly name: string;
  /** Features, `[count, featureNames.length]` in row-major order. */
  readonly features: Float32Array;
  /** Classes, `[count]`. */
  readonly labels: Int32Array;
  /** Names of the feature columns. */
  readonly featureNames: readonly string[];
  /** Names of the classes. */
  readonly classes: readonly string[];
  /** What the features were standardised with. */
  readonly standardizer?: Standardizer;
}

/**
 * Labelled features in memory, from CSV text.
 *
 * @example
 * ```ts
 * import { CsvDataset } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const text = "width,height,kind\n1,2,flat\n3,1,tall\n2,2,flat\n";
 * const dataset = CsvDataset.fromText(text, { target: "kind" });
 * assertEquals(dataset.classes, ["flat", "tall"]);
 * assertEquals(dataset.labels, new Int32Array([0, 1, 0]));
 * assertEquals(dataset.standardize().get(2).input[0], 0); // 2 is the mean of the widths
 * ```
 */
export class CsvDataset extends LabelledDataset {
  /** Features, `[count, featureNames.length]` in row-major order. */
  readonly features: Float32Array;
  /** Names of the feature columns. */
  readonly featureNames: readonly string[];
  /** What the features were standardised with, if they were. */
  readonly standardizer: Standardizer | undefined;

  /**
   * Makes a data set of arrays that are there already.
   *
   * @param fields features, classes and their names; arrays are not copied
   * @throws {RangeError} when the counts of rows and labels differ, or a label is not a class
   */
  constructor(fields: CsvDatasetFields) {
    super({ ...fields, inputs: fields.features, shape: [fields.featureNames.length] });
    this.features = fields.features;
    this.featureNames = fields.featureNames;
    this.standardizer = fields.standardizer;
  }

  /**
   * Parses CSV text.
   *
   * @param text comma-separated values with a header line
   * @param options target, features, classes
   * @returns the data set
   * @throws {CsvError} when quotes are out of place, a row has too few or too many fields, a
   * feature is not a finite f32 number, a label is not a class, a limit is exceeded, or there is no
   * row
   * @throws {RangeError} when a column is missing, doubled or both target and feature
   */
  static fromText(text: string, options: CsvDatasetOptions): CsvDataset {
    const name = options.name ?? "csv";
    const table = readTable(text, options, `Cannot read CSV "${name}"`);
    const target = columnIndex(table, options.target);
    const featureNames = options.features ??
      table.names.filter((column) => column !== options.target);
    checkFeatures(table, featureNames, options.target);
    const { labels, classes } = readLabels(table, target, options.classes);
    return new CsvDataset({
      name,
      features: readFeatures(table, featureNames),
      labels,
      featureNames: [...featureNames],
      classes,
    });
  }

  /**
   * Reads a CSV file in UTF-8.
   *
   * @param path the file
   * @param options target, features, classes
   * @returns the data set
   * @throws {Deno.errors.NotFound} when there is no such file
   * @throws {CsvError} as {@linkcode CsvDataset.fromText}, and when the file is too long or not
   * valid UTF-8
   * @throws {RangeError} as {@linkcode CsvDataset.fromText}
   */
  static async fromFile(path: string, options: CsvDatasetOptions): Promise<CsvDataset> {
    const named = { ...options, name: options.name ?? path };
    return CsvDataset.fromText(await readText(path, options.maxBytes ?? 2 ** 28), named);
  }

  /**
   * Brings every feature to mean 0 and standard deviation 1.
   *
   * @param standardizer from the training set's `standardizer`. Default: fitted to this data set
   * @returns a new data set that keeps the standardizer
   * @throws {RangeError} when the standardizer is for another number of features
   */
  standardize(standardizer?: Standardizer): CsvDataset {
    const width = this.featureNames.length;
    const fitted = standardizer ?? Standardizer.fit(this.features, width);
    if (fitted.mean.length !== width) {
      throw new RangeError(
        `Cannot standardise ${width} features with a standardizer of ${fitted.mean.length}`,
      );
    }
    return new CsvDataset({
      name: this.name,
      features: fitted.apply(this.features),
      labels: this.labels as Int32Array,
      featureNames: this.featureNames,
      classes: this.classes,
      standardizer: fitted,
    });
  }
}

interface Table {
  readonly what: string;
  readonly names: readonly string[];
  readonly rows: readonly string[][];
  /** Line of each row. */
  readonly lines: readonly number[];
}

function readTable(text: string, options: CsvDatasetOptions, what: string): Table {
  const { separator = "," } = options;
  if (separator.length !== 1 || '"\r\n'.includes(separator)) {
    throw new RangeError(
      `${what} as the separator must be one character other than a quote or line break: ` +
        `got ${JSON.stringify(separator)}`,
    );
  }
  const lines = scanCsv(text, separator, options.limits ?? {}, what);
  const rows = parseRows(text, separator, what);
  if (rows.length !== lines.length) {
    throw new Error(`internal: ${rows.length} records on ${lines.length} lines of CSV`);
  }
  const names = options.columns ?? rows.shift();
  if (options.columns === undefined) lines.shift();
  if (names === undefined) throw new CsvError(`${what} as it has no header line`, 0);
  const doubled = names.find((column, i) => names.indexOf(column) !== i);
  if (doubled !== undefined) {
    throw new RangeError(`${what} as column names must differ: got "${clip(doubled)}" twice`);
  }
  rows.forEach((row, i) => {
    if (row.length === names.length) return;
    throw new CsvError(
      `${what} as line ${lines[i]} must have ${names.length} fields: got ${row.length}`,
      lines[i],
    );
  });
  if (rows.length === 0) throw new CsvError(`${what} as it has no row of data`, 0);
  return { what, names, rows, lines };
}

function parseRows(text: string, separator: string, what: string): string[][] {
  try {
    return parse(text, { separator });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const line = Number(/parse error on line (\d+)/.exec(cause.message)?.[1] ?? 0);
    throw new CsvError(`${what}: ${cause.message}`, line, { cause });
  }
}

function columnIndex(table: Table, column: string): number {
  const index = table.names.indexOf(column);
  if (index >= 0) return index;
  throw new RangeError(
    `${table.what} as there is no column "${clip(column)}": ` +
      `got ${showNames(table.names.map((name) => `"${clip(name)}"`))}`,
  );
}

function checkFeatures(table: Table, features: readonly string[], target: string): void {
  if (features.length === 0) throw new RangeError(`${table.what} as it has no feature column`);
  const doubled = features.find((column, i) => column === target || features.indexOf(column) !== i);
  if (doubled === undefined) return;
  throw new RangeError(
    `${table.what} as column "${clip(doubled)}" must be used once: ` +
      `got it ${doubled === target ? "as target and feature" : "twice"}`,
  );
}

const decimal = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

function readFeatures(table: Table, columns: readonly string[]): Float32Array {
  const indices = columns.map((column) => columnIndex(table, column));
  const features = new Float32Array(table.rows.length * columns.length);
  table.rows.forEach((row, i) => {
    indices.forEach((index, j) => {
      const text = row[index].trim();
      const value = decimal.test(text) ? Math.fround(Number(text)) : NaN;
      if (!Number.isFinite(value)) {
        throw new CsvError(
          `${table.what} as column "${clip(columns[j])}" on line ${table.lines[i]} must be a ` +
            `finite number: got "${clip(row[index])}"`,
          table.lines[i],
        );
      }
      features[i * columns.length + j] = value;
    });
  });
  return features;
}

function readLabels(
  table: Table,
  target: number,
  given: readonly string[] | undefined,
): { labels: Int32Array; classes: readonly string[] } {
  const texts = table.rows.map((row) => row[target].trim());
  const classes = given ?? sortedClasses(texts);
  const numbers = new Map(classes.map((name, i) => [name, i]));
  if (numbers.size !== classes.length) {
    throw new RangeError(`${table.what} as classes must differ: got [${classes.join(", ")}]`);
  }
  const labels = Int32Array.from(texts, (text, i) => {
    const label = text === "" ? undefined : numbers.get(text);
    if (label !== undefined) return label;
    throw new CsvError(
      `${table.what} as column "${clip(table.names[target])}" on line ${table.lines[i]} must be ` +
        `${text === "" ? "a class" : `one of ${showNames(classes.map(clip))}`}: got "${
          clip(text)
        }"`,
      table.lines[i],
    );
  });
  return { labels, classes };
}

function sortedClasses(texts: readonly string[]): string[] {
  const classes = [...new Set(texts)].filter((text) => text !== "");
  const whole = classes.every((text) => /^[-+]?\d+$/.test(text));
  return whole ? classes.sort((a, b) => Number(a) - Number(b)) : classes.sort();
}

function showNames(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(", ");
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}

async function readText(path: string, maxBytes: number): Promise<string> {
  let bytes: Uint8Array;
  try {
    const { size } = await Deno.stat(path);
    if (size > maxBytes) {
      throw new CsvError(
        `Cannot read CSV "${path}" as it may have at most ${maxBytes} bytes: got ${size}`,
        0,
      );
    }
    bytes = await Deno.readFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot read "${path}" as there is no such file`, { cause });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const line = firstInvalidLine(bytes);
    throw new CsvError(`Cannot read CSV "${path}" as line ${line} is not valid UTF-8`, line, {
      cause,
    });
  }
}

// No UTF-8 sequence goes over a line feed, so each line can be decoded alone
function firstInvalidLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let line = 1, start = 0; start <= bytes.length; line++) {
    const feed = bytes.indexOf(10, start);
    const end = feed < 0 ? bytes.length : feed;
    try {
      decoder.decode(bytes.subarray(start, end));
    } catch {
      return line;
    }
    start = end + 1;
  }
  throw new Error("internal: no line of invalid UTF-8 is invalid alone");
}

function clip(text: string): string {
  const chars = [...text.slice(0, 80)];
  return chars.length > 40 ? `${chars.slice(0, 40).join("")}…` : text;
}
