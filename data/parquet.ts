/** Columns and labelled features from Parquet files. */

import { CsvDataset } from "./csv.ts";
import { checkPages, decompressors, ParquetError } from "./parquet_pages.ts";

export { ParquetError };

/** A value of a Parquet column; null where there is none. */
export type ParquetValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | Uint8Array
  | readonly unknown[]
  | Readonly<Record<string, unknown>>;

/** What {@linkcode readParquet} returns. */
export interface ParquetTable {
  /** Number of rows. */
  readonly rowCount: number;
  /** Values of each column, in the order that was asked for. */
  readonly columns: ReadonlyMap<string, readonly ParquetValue[]>;
}

/** Options of {@linkcode readParquet}. */
export interface ParquetOptions {
  /** Columns that are read, by their top-level names. Default: all. */
  readonly columns?: readonly string[];
  /** Name for messages. Default: "parquet" for bytes, the path for a file. */
  readonly name?: string;
  /** Most bytes of the file, and of a column once unpacked. Default: 1 GiB. */
  readonly maxBytes?: number;
  /** Most rows. Default: 10,000,000. */
  readonly maxRows?: number;
}

/** Options of {@linkcode parquetDataset}. */
export interface ParquetDatasetOptions extends Omit<ParquetOptions, "columns"> {
  /** Column with the class. */
  readonly target: string;
  /** Columns with numbers, in this order. Default: all but the target, in the file's order. */
  readonly features?: readonly string[];
  /**
   * Names of the classes, in the order of their numbers. Default: the labels that occur, sorted, by
   * number when all are whole numbers. Pass the training set's classes for a test set.
   */
  readonly classes?: readonly string[];
}

/**
 * Reads columns of a Parquet file with the package hyparquet, which is loaded by the first call.
 *
 * Pages may be plain or packed with Snappy, gzip, Brotli or Zstandard, in every encoding but
 * DELTA_BYTE_ARRAY; each is checked before the package sees it. 64-bit integers come as
 * bigint, bytes as Uint8Array, lists and structs as arrays and objects.
 *
 * @param source path or bytes of the file
 * @param options columns, name for messages, limits
 * @returns the values by column
 * @throws {Deno.errors.NotFound} when there is no such file
 * @throws {ParquetError} when the file is corrupt, too large, or packed in another way
 * @throws {RangeError} when there is no such column
 *
 * @example
 * ```ts ignore
 * import { decodeImage, readParquet } from "@legoml/legoml/data";
 *
 * const { columns } = await readParquet("train-00000.parquet", { columns: ["image", "label"] });
 * const { bytes } = columns.get("image")![0] as { bytes: Uint8Array };
 * const picture = await decodeImage(bytes);
 * ```
 */
export async function readParquet(
  source: string | Uint8Array,
  options: ParquetOptions = {},
): Promise<ParquetTable> {
  const { maxBytes = 2 ** 30, maxRows = 1e7 } = options;
  const name = options.name ?? (typeof source === "string" ? source : "parquet");
  const what = `Cannot read Parquet "${name}"`;
  const bytes = await bytesOf(source, what, maxBytes);
  const [{ parquetMetadata, parquetRead }, compressors] = await Promise.all([
    import("hyparquet"),
    decompressors(),
  ]);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return await guarded(what, async () => {
    const metadata = parquetMetadata(file as ArrayBuffer);
    const names = topLevel(metadata.schema);
    const wanted = options.columns ?? names;
    const missing = wanted.find((column) => !names.includes(column));
    if (missing !== undefined) {
      throw new RangeError(
        `${what} as there is no column "${missing}": got ${names.join(", ") || "none"}`,
      );
    }
    const rowCount = await checkPages(
      bytes,
      metadata,
      wanted,
      what,
      { maxBytes, maxRows },
      compressors,
    );
    const columns = new Map<string, ParquetValue[]>(
      wanted.map((column) => [column, new Array<ParquetValue>(rowCount).fill(null)]),
    );
    const filled = new Map(wanted.map((column) => [column, 0]));
    await parquetRead({
      file: file as ArrayBuffer,
      metadata,
      columns: [...wanted],
      compressors,
      utf8: false,
      onChunk: ({ columnName, columnData, rowStart }) => {
        const values = columns.get(columnName);
        if (values === undefined || rowStart + columnData.length > rowCount) {
          throw new ParquetError(`${what} as it has more values than rows`);
        }
        for (let i = 0; i < columnData.length; i++) values[rowStart + i] = columnData[i] ?? null;
        filled.set(columnName, filled.get(columnName)! + columnData.length);
      },
    });
    for (const [column, count] of filled) {
      if (count === rowCount) continue;
      throw new ParquetError(
        `${what} as column "${column}" must have ${rowCount} values: got ${count}`,
      );
    }
    return { rowCount, columns };
  });
}

/**
 * Labelled features from a Parquet file, as {@linkcode CsvDataset} has them from CSV text.
 *
 * @param source path or bytes of the file
 * @param options target, features, classes
 * @returns the data set; booleans are features 0 and 1
 * @throws {Deno.errors.NotFound} when there is no such file
 * @throws {ParquetError} as {@linkcode readParquet}, and when a feature is not a finite f32 number,
 * a label is not a class, or there is no row
 * @throws {RangeError} when a column is missing, doubled or both target and feature
 *
 * @example
 * ```ts ignore
 * import { parquetDataset } from "@legoml/legoml/data";
 *
 * const iris = (await parquetDataset("iris.parquet", { target: "species" })).standardize();
 * ```
 */
export async function parquetDataset(
  source: string | Uint8Array,
  options: ParquetDatasetOptions,
): Promise<CsvDataset> {
  const { target, features, classes, ...rest } = options;
  const name = options.name ?? (typeof source === "string" ? source : "parquet");
  const what = `Cannot read Parquet "${name}"`;
  const wanted = features === undefined ? undefined : [...features, target];
  const doubled = wanted?.find((column, i) => wanted.indexOf(column) !== i);
  if (doubled !== undefined) {
    throw new RangeError(`${what} as column "${doubled}" must be used once: got it twice`);
  }
  const { rowCount, columns } = await readParquet(source, { ...rest, columns: wanted });
  const labels = columns.get(target);
  if (labels === undefined) {
    throw new RangeError(
      `${what} as there is no column "${target}": got ${[...columns.keys()].join(", ")}`,
    );
  }
  const featureNames = [...columns.keys()].filter((column) => column !== target);
  if (featureNames.length === 0) throw new RangeError(`${what} as it has no feature column`);
  if (rowCount === 0) throw new ParquetError(`${what} as it has no row of data`);
  const values = new Float32Array(rowCount * featureNames.length);
  featureNames.forEach((column, j) => {
    columns.get(column)!.forEach((value, i) => {
      values[i * featureNames.length + j] = toFeature(value, `${what} as column "${column}"`, i);
    });
  });
  return new CsvDataset({
    name,
    features: values,
    featureNames,
    ...toLabels(labels, classes, `${what} as column "${target}"`),
  });
}

function toFeature(value: ParquetValue, what: string, row: number): number {
  const number = Math.fround(
    typeof value === "number" || typeof value === "bigint" || typeof value === "boolean"
      ? Number(value)
      : NaN,
  );
  if (Number.isFinite(number)) return number;
  throw new ParquetError(`${what} in row ${row} must be a finite number: got ${show(value)}`);
}

function toLabels(
  values: readonly ParquetValue[],
  given: readonly string[] | undefined,
  what: string,
): { labels: Int32Array; classes: readonly string[] } {
  const texts = values.map((value, row) => {
    if (typeof value === "string" || typeof value === "bigint" || typeof value === "boolean") {
      return String(value);
    }
    if (typeof value === "number" && Number.isInteger(value)) return String(value);
    if (value instanceof Uint8Array) return new TextDecoder().decode(value);
    throw new ParquetError(
      `${what} in row ${row} must be a text, a whole number or a boolean: got ${show(value)}`,
    );
  });
  const classes = given ?? sorted(new Set(texts));
  const numbers = new Map(classes.map((name, i) => [name, i]));
  if (numbers.size !== classes.length) {
    throw new RangeError(`${what} must have classes that differ: got [${classes.join(", ")}]`);
  }
  const labels = Int32Array.from(texts, (text, row) => {
    const label = numbers.get(text);
    if (label !== undefined) return label;
    throw new ParquetError(
      `${what} in row ${row} must be one of ${classes.slice(0, 10).join(", ")}` +
        `${classes.length > 10 ? ` and ${classes.length - 10} more` : ""}: got ${show(text)}`,
    );
  });
  return { labels, classes };
}

function sorted(texts: Set<string>): string[] {
  const classes = [...texts];
  const whole = classes.every((text) => /^-?\d+$/.test(text));
  return whole ? classes.sort((a, b) => Number(a) - Number(b)) : classes.sort();
}

interface SchemaElement {
  readonly name: string;
  readonly num_children?: number;
}

/** Children of the root; the schema is a tree in the order in which it is walked. */
function topLevel(schema: readonly SchemaElement[]): string[] {
  const names: string[] = [];
  let at = 1;
  const skip = (): void => {
    const children = schema[at++]?.num_children ?? 0;
    for (let i = 0; i < children && at < schema.length; i++) skip();
  };
  for (let i = 0; i < (schema[0]?.num_children ?? 0) && at < schema.length; i++) {
    names.push(schema[at].name);
    skip();
  }
  return names;
}

async function bytesOf(
  source: string | Uint8Array,
  what: string,
  maxBytes: number,
): Promise<Uint8Array> {
  const tooLong = (size: number): never => {
    throw new ParquetError(`${what} as it may have at most ${maxBytes} bytes: got ${size}`);
  };
  if (typeof source !== "string") return source.length > maxBytes ? tooLong(source.length) : source;
  try {
    const { size } = await Deno.stat(source);
    if (size > maxBytes) tooLong(size);
    return await Deno.readFile(source);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot read "${source}" as there is no such file`, { cause });
  }
}

// The package has no error class of its own
async function guarded<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const isOurs = cause instanceof ParquetError ||
      (cause instanceof RangeError && cause.message.startsWith(what));
    if (isOurs) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ParquetError(`${what}: ${reason}`, { cause });
  }
}

function show(value: unknown): string {
  if (typeof value === "bigint") return `${value}`;
  const text = typeof value === "number" ? String(value) : JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
