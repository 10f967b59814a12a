/**
 * Rows to CSV text over `csv-stringify`, with the signature of `@std/csv/stringify`.
 *
 * @module
 */

import { stringify as stringifySync } from "csv-stringify/sync";

type PropertyAccessor = number | string;

/** A column: where its value is in a row, and its heading. */
export type ColumnDetails = { header?: string; prop: PropertyAccessor | PropertyAccessor[] };

/** A column by property, by path, or in full. */
export type Column = ColumnDetails | PropertyAccessor | PropertyAccessor[];

/** A row: an object, or an array of fields. */
export type DataItem = Record<string, unknown> | unknown[];

/** Options of {@linkcode stringify}. */
export type StringifyOptions = {
  /** Whether the first line names the columns. Default: true. */
  headers?: boolean;
  /** Text between fields. Default: `,`. */
  separator?: string;
  /** The columns in order; may be left out when rows are arrays and `headers` is false. */
  columns?: readonly Column[];
  /** Whether the text begins with a byte-order mark. Default: false. */
  bom?: boolean;
};

/**
 * Writes rows as CSV text with CRLF line ends.
 *
 * @param data the rows
 * @param options columns, headers, separator
 * @returns the text
 * @throws {TypeError} when the columns are needed and absent, or a row does not fit them
 */
export function stringify(data: readonly DataItem[], options: StringifyOptions = {}): string {
  const { headers = true, separator = ",", columns, bom = false } = options;
  if (columns === undefined && headers) throw new TypeError("Columns must be defined for headers");
  const paths = columns?.map(toPath);
  const rows = data.map((item) => toRow(item, paths));
  if (headers && columns !== undefined) rows.unshift(columns.map(toHeader));
  return stringifySync(rows, {
    bom,
    delimiter: separator,
    record_delimiter: "\r\n",
    quoted_match: /[\r\n]/,
    cast: { boolean: String, number: String, bigint: String, date: toJson, object: toJson },
  });
}

function toPath(column: Column): PropertyAccessor[] {
  if (Array.isArray(column)) return column;
  return typeof column === "object" ? [column.prop].flat() : [column];
}

function toHeader(column: Column): string {
  const named = typeof column === "object" && !Array.isArray(column) ? column.header : undefined;
  return named ?? String(toPath(column).at(-1));
}

function toRow(item: DataItem, paths: PropertyAccessor[][] | undefined): unknown[] {
  if (paths !== undefined) return paths.map((path) => path.reduce<unknown>(readProperty, item));
  if (!Array.isArray(item)) {
    throw new TypeError("Columns must be defined for rows that are objects");
  }
  return item;
}

function readProperty(value: unknown, key: PropertyAccessor): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  if (Array.isArray(value) && typeof key !== "number") {
    throw new TypeError(`Column "${key}" must be a number as the row is an array`);
  }
  return (value as Record<PropertyAccessor, unknown>)[key];
}

function toJson(value: unknown): string {
  return JSON.stringify(value);
}
