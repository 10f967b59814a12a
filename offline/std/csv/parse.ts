/**
 * CSV text to rows over `csv-parse`, with the signature of `@std/csv/parse`.
 *
 * @module
 */

import { CsvError, parse as parseSync } from "csv-parse/sync";

/** Options of {@linkcode parse}. */
export interface ParseOptions {
  /** Text between fields. Default: `,`. */
  separator?: string;
  /** Lines that begin with this character are skipped. */
  comment?: string;
  /** Drops white space before a field. Default: false. */
  trimLeadingSpace?: boolean;
  /** Accepts quotes in unquoted fields. Default: false. */
  lazyQuotes?: boolean;
  /** Fields of each record; 0 takes the first record's count; no check when absent or negative. */
  fieldsPerRecord?: number;
  /** Takes the first row as the names of the columns, or drops it when `columns` is given. */
  skipFirstRow?: boolean;
  /** Names of the columns: rows become records. */
  columns?: readonly string[];
}

/** What {@linkcode parse} returns for a type of options. */
export type ParseResult<T> = T extends { columns: readonly (infer C extends string)[] }
  ? (string extends C ? Record<string, string | undefined> : Record<C, string>)[]
  : T extends { skipFirstRow: true } ? Record<string, string | undefined>[]
  : T extends ParseOptions & { columns?: undefined; skipFirstRow?: false | undefined } ? string[][]
  : Record<string, string | undefined>[] | string[][];

/**
 * Parses CSV text.
 *
 * @param input the text; a byte-order mark is dropped, blank lines are skipped
 * @returns one array of fields for each record
 * @throws {SyntaxError} with line and column when quotes are out of place
 */
export function parse(input: string): string[][];
/**
 * Parses CSV text.
 *
 * @param input the text; a byte-order mark is dropped, blank lines are skipped
 * @param options separator, quotes, columns
 * @returns records when `columns` or `skipFirstRow` is set, else arrays of fields
 * @throws {SyntaxError} with line and column when quotes are out of place or a count is wrong
 * @throws {TypeError} when `skipFirstRow` finds no row
 */
export function parse<const T extends ParseOptions>(input: string, options: T): ParseResult<T>;
export function parse(
  input: string,
  options: ParseOptions = {},
): string[][] | Record<string, string | undefined>[] {
  checkDelimiters(options);
  const rows = readRows(input, options);
  checkCounts(rows, options.fieldsPerRecord);
  if (!options.skipFirstRow && options.columns === undefined) return rows.map((row) => row.fields);

  const first = options.skipFirstRow ? rows.shift() : undefined;
  if (options.skipFirstRow && first === undefined) throw new TypeError("Headers must be defined");
  const names = options.columns ?? first!.fields;
  return rows.map((row) => toRecord(row, names));
}

interface Row {
  fields: string[];
  line: number;
}

function readRows(input: string, options: ParseOptions): Row[] {
  const text = input.replace(/^\ufeff/, "").replaceAll("\r\n", "\n").replace(/\r$/, "");
  try {
    return run(text, options, false).map(({ record, info }) => ({
      fields: record,
      line: info.lines,
    }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw positioned(text, options, error);
  }
}

function run(
  text: string,
  options: ParseOptions,
  raw: boolean,
): { record: string[]; info: { lines: number } }[] {
  return parseSync(text, {
    delimiter: options.separator ?? ",",
    record_delimiter: "\n",
    comment: options.comment ?? null,
    comment_no_infix: true,
    ltrim: options.trimLeadingSpace ?? false,
    relax_quotes: options.lazyQuotes ?? false,
    relax_column_count: true,
    skip_empty_lines: true,
    info: true,
    raw,
  }) as unknown as { record: string[]; info: { lines: number } }[];
}

const reasons: Record<string, string> = {
  CSV_QUOTE_NOT_CLOSED: 'extraneous or missing " in quoted-field',
  CSV_INVALID_CLOSING_QUOTE: 'extraneous or missing " in quoted-field',
  INVALID_OPENING_QUOTE: 'bare " in non-quoted-field',
};

// Only with `raw` does the error carry the record's text up to the quote, and so the column
function positioned(text: string, options: ParseOptions, cause: CsvError): SyntaxError {
  let details = cause as CsvError & { raw?: string; lines?: number };
  try {
    run(text, options, true);
  } catch (error) {
    if (error instanceof CsvError) details = error;
  }
  const last = details.raw?.split("\n").at(-1) ?? "";
  const column = [...last].length + (cause.code === "CSV_QUOTE_NOT_CLOSED" ? 1 : 0);
  const reason = reasons[cause.code] ?? cause.message;
  return new SyntaxError(`parse error on line ${details.lines}, column ${column}: ${reason}`, {
    cause,
  });
}

function checkDelimiters({ separator = ",", comment }: ParseOptions): void {
  const reserved = ["\r", "\n", '"'];
  const clash = reserved.includes(separator) || separator === comment ||
    (comment !== undefined && reserved.includes(comment));
  if (clash) throw new Error("Invalid Delimiter");
}

function checkCounts(rows: Row[], fieldsPerRecord = -1): void {
  const expected = fieldsPerRecord === 0 ? rows[0]?.fields.length ?? 0 : fieldsPerRecord;
  if (expected < 1) return;
  const wrong = rows.find((row) => row.fields.length !== expected);
  if (wrong === undefined) return;
  throw new SyntaxError(
    `record on line ${wrong.line}: wrong number of fields: ` +
      `expected ${expected}, got ${wrong.fields.length}`,
  );
}

function toRecord(row: Row, names: readonly string[]): Record<string, string | undefined> {
  if (row.fields.length !== names.length) {
    throw new SyntaxError(
      `record on line ${row.line}: wrong number of fields: ` +
        `expected ${names.length}, got ${row.fields.length}`,
    );
  }
  return Object.fromEntries(names.map((name, i) => [name, row.fields[i]]));
}
