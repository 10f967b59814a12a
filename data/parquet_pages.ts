/** What a Parquet file claims of its pages, checked before anything is unpacked. */

import type { Compressors, FileMetaData } from "hyparquet";
import { pageFault, type PageFormat, pageFormats } from "./parquet_levels.ts";

/** A Parquet file that cannot be used. */
export class ParquetError extends SyntaxError {
  /** "ParquetError". */
  override readonly name = "ParquetError";
}

// No codec reaches more; a page that claims more than this lies
const maxRatio = 100_000;

/**
 * Walks over the pages of the wanted columns.
 *
 * @param bytes the whole file
 * @param metadata what its footer says
 * @param wanted top-level names of columns
 * @param what how messages begin
 * @param limits most bytes of a column, most rows
 * @param compressors own codecs
 * @returns number of rows
 * @throws {ParquetError} when a page does not lie inside of its column, or has not the size or the
 * number of values that were announced
 */
export async function checkPages(
  bytes: Uint8Array,
  metadata: FileMetaData,
  wanted: readonly string[],
  what: string,
  limits: { readonly maxBytes: number; readonly maxRows: number },
  compressors: Compressors,
): Promise<number> {
  const { parquetHeader } = await import("hyparquet/src/column.js");
  const formatOf = await pageFormats(compressors);
  const rowCount = Number(metadata.num_rows);
  const sum = metadata.row_groups.reduce((total, group) => total + Number(group.num_rows), 0);
  if (!(rowCount >= 0 && rowCount <= limits.maxRows) || sum !== rowCount) {
    throw new ParquetError(
      `${what} as it must have at most ${limits.maxRows} rows in its groups: got ${rowCount} ` +
        `rows, ${sum} in groups`,
    );
  }
  const unpacked = new Map<string, number>();
  for (const [index, group] of metadata.row_groups.entries()) {
    const present = new Set<string>();
    for (const { meta_data: column } of group.columns) {
      const name = column?.path_in_schema[0];
      if (column === undefined || name === undefined || !wanted.includes(name)) continue;
      present.add(name);
      const place = `${what} as column "${column.path_in_schema.join(".")}" of group ${index}`;
      const start = Number(column.dictionary_page_offset || column.data_page_offset);
      const size = Number(column.total_compressed_size);
      if (!(start >= 4 && size >= 0 && start + size <= bytes.length)) {
        throw new ParquetError(`${place} must lie inside of the file: got bytes from ${start} on`);
      }
      const values = Number(column.num_values);
      if (!(values >= 0 && values <= limits.maxBytes / 8)) {
        throw new ParquetError(`${place} has too many values: got ${values}`);
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset + start, size);
      const format = formatOf(metadata.schema, column.path_in_schema, column.codec);
      const left = limits.maxBytes - (unpacked.get(name) ?? 0);
      const bytesOut = walkPages(view, parquetHeader, values, left, format, place);
      unpacked.set(name, (unpacked.get(name) ?? 0) + bytesOut);
    }
    const missing = wanted.find((name) => !present.has(name));
    if (missing !== undefined) {
      throw new ParquetError(`${what} as group ${index} has no column "${missing}"`);
    }
  }
  return rowCount;
}

type ParseHeader = typeof import("hyparquet/src/column.js").parquetHeader;

function walkPages(
  view: DataView,
  parse: ParseHeader,
  values: number,
  maxBytes: number,
  format: PageFormat,
  place: string,
): number {
  const reader = { view, offset: 0 };
  let [seen, unpacked] = [0, 0];
  // As the package reads them: to the end, whatever was announced
  while (reader.offset < view.byteLength - 1) {
    const page = parse(reader);
    const { compressed_page_size: packed, uncompressed_page_size: size } = page;
    const fits = isCount(packed) && isCount(size) && reader.offset + packed <= view.byteLength &&
      size <= maxRatio * (packed + 1);
    if (!fits) {
      throw new ParquetError(`${place} has a page of ${packed} bytes that unpack to ${size}`);
    }
    unpacked += size;
    if (unpacked > maxBytes) throw new ParquetError(`${place} unpacks to too many bytes`);
    const isDictionary = page.dictionary_page_header !== undefined;
    const count = (page.data_page_header ?? page.data_page_header_v2 ?? page.dictionary_page_header)
      ?.num_values ?? 0;
    if (!isCount(count) || count > (isDictionary ? 8 * size : values - seen)) {
      throw new ParquetError(`${place} has a page with too many values: got ${count}`);
    }
    checkLevels(page, size, count, place);
    const bytes = new Uint8Array(view.buffer, view.byteOffset + reader.offset, packed);
    const fault = pageFault(bytes, page, format);
    if (fault !== undefined) {
      throw new ParquetError(`${place} has a page that is corrupt: ${fault}`);
    }
    if (!isDictionary) seen += count;
    reader.offset += packed;
  }
  if (seen === values) return unpacked;
  throw new ParquetError(`${place} must have ${values} values: got ${seen}`);
}

function isCount(value: number | undefined): value is number {
  return Number.isInteger(value) && value! >= 0;
}

// Of the second kind of page, levels and nulls have lengths of their own
function checkLevels(
  page: ReturnType<ParseHeader>,
  size: number,
  count: number,
  place: string,
): void {
  const second = page.data_page_header_v2;
  if (second === undefined) return;
  const {
    definition_levels_byte_length: definition,
    repetition_levels_byte_length: repetition,
    num_nulls: nulls,
    num_rows: rows,
  } = second;
  const valid = [definition, repetition, nulls, rows].every(isCount) &&
    definition + repetition <= size && nulls <= count && rows <= count;
  if (!valid) throw new ParquetError(`${place} has a page with invalid levels`);
}

/**
 * The codecs that need no other package than the runtime.
 *
 * @returns functions for the package; each gives as many bytes as the page announced, or throws
 */
export async function decompressors(): Promise<Compressors> {
  const zlib = await import("node:zlib");
  return {
    GZIP: (input, length) => copied(zlib.gunzipSync(input, { maxOutputLength: length + 1 })),
    BROTLI: (input, length) =>
      copied(zlib.brotliDecompressSync(input, { maxOutputLength: length + 1 })),
    ZSTD: (input, length) =>
      copied(zlib.zstdDecompressSync(input, { maxOutputLength: length + 1 })),
  };
}

function copied(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
