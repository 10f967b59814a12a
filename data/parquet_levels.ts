/** Runs of levels, dictionary indices and deltas of a Parquet page, checked before they are filled in. */

import type { Compressors, PageHeader } from "hyparquet";

/** What the pages of a column have in common. */
export interface PageFormat {
  /** Largest repetition level; 0 where there is none. */
  readonly repetition: number;
  /** Largest definition level; 0 where nothing is optional. */
  readonly definition: number;
  /** Unpacks a page. */
  readonly unpack: (bytes: Uint8Array, size: number) => Uint8Array;
}

/** Why a page cannot be used. */
class Refusal extends Error {}

/**
 * Loads what pages are unpacked with.
 *
 * @param compressors own codecs
 * @returns the format of a column
 */
export async function pageFormats(
  compressors: Compressors,
): Promise<(schema: Schema, path: readonly string[], codec: Codec) => PageFormat> {
  const [{ decompressPage }, levels] = await Promise.all([
    import("hyparquet/src/datapage.js"),
    import("hyparquet/src/schema.js"),
  ]);
  return (schema, path, codec) => {
    const tree = levels.getSchemaPath([...schema], [...path]);
    return {
      repetition: levels.getMaxRepetitionLevel(tree),
      definition: levels.getMaxDefinitionLevel(tree),
      unpack: (bytes, size) => decompressPage(bytes, size, codec, compressors),
    };
  };
}

type Schema = Parameters<typeof import("hyparquet/src/schema.js").getSchemaPath>[0];
type Codec = Parameters<typeof import("hyparquet/src/datapage.js").decompressPage>[2];

/**
 * Checks a data page.
 *
 * @param packed the page as it lies in the file
 * @param header its header; sizes and counts have been checked
 * @param format levels and codec of the column
 * @returns the reason why it cannot be used, or undefined
 */
export function pageFault(
  packed: Uint8Array,
  header: PageHeader,
  format: PageFormat,
): string | undefined {
  try {
    if (header.data_page_header_v2 !== undefined) checkSecond(packed, header, format);
    else if (header.data_page_header !== undefined) checkFirst(packed, header, format);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function checkFirst(packed: Uint8Array, header: PageHeader, format: PageFormat): void {
  const { num_values: count, encoding } = header.data_page_header!;
  const page = format.unpack(packed, header.uncompressed_page_size);
  const reader = new Reader(page);
  for (const most of [format.repetition, format.definition]) {
    if (most === 0) continue;
    const length = reader.word();
    checkRuns(reader.take(length), bitsOf(most), count);
  }
  checkValues(reader, encoding, count);
}

function checkSecond(packed: Uint8Array, header: PageHeader, format: PageFormat): void {
  const second = header.data_page_header_v2!;
  const [repetition, definition] = [
    second.repetition_levels_byte_length,
    second.definition_levels_byte_length,
  ];
  const reader = new Reader(packed);
  const parts = [[format.repetition, repetition], [format.definition, definition]];
  for (const [most, length] of parts) {
    const levels = reader.take(length);
    if (most > 0) checkRuns(levels, bitsOf(most), second.num_values);
  }
  const rest = packed.subarray(repetition + definition);
  const size = header.uncompressed_page_size - repetition - definition;
  const values = second.is_compressed === false ? rest : format.unpack(rest, size);
  const count = second.num_values - second.num_nulls;
  checkValues(new Reader(values), second.encoding, count);
}

function checkValues(reader: Reader, encoding: string, count: number): void {
  if (encoding === "PLAIN_DICTIONARY" || encoding === "RLE_DICTIONARY") {
    if (count === 0) return;
    const width = reader.byte();
    if (width > 32) throw new Refusal(`an index must have at most 32 bits: got ${width}`);
    checkRuns(reader.rest(), width, count);
  } else if (encoding === "RLE") {
    checkRuns(reader.take(reader.word()), 1, count);
  } else if (encoding === "DELTA_BINARY_PACKED" || encoding === "DELTA_LENGTH_BYTE_ARRAY") {
    const [block, parts, total] = [reader.varint(), reader.varint(), reader.varint()];
    const valid = block > 0 && block <= 2 ** 20 && parts > 0 && block % parts === 0 &&
      total <= count;
    if (!valid) throw new Refusal(`its deltas are invalid: got ${block}, ${parts}, ${total}`);
  } else if (encoding !== "PLAIN" && encoding !== "BYTE_STREAM_SPLIT") {
    throw new Refusal(`encoding ${encoding} is not supported`);
  }
}

// A run that repeats a value is as long as it says; packed ones come in groups of eight
function checkRuns(bytes: Uint8Array, width: number, count: number): void {
  const reader = new Reader(bytes);
  for (let seen = 0; seen < count && !reader.isAtEnd;) {
    const header = reader.varint();
    const isPacked = (header & 1) === 1;
    const length = isPacked ? (header >>> 1) * 8 : header >>> 1;
    if (length > count - seen + (isPacked ? 512 : 0)) {
      throw new Refusal(`it must have ${count} values: got ${seen + length}`);
    }
    reader.skip(isPacked ? length / 8 * width : Math.ceil(width / 8));
    seen += length;
  }
}

function bitsOf(most: number): number {
  return 32 - Math.clz32(most);
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    if (this.isAtEnd) throw new Refusal("it is cut short");
    return this.#bytes[this.#at++];
  }

  word(): number {
    return (this.byte() | this.byte() << 8 | this.byte() << 16 | this.byte() << 24) >>> 0;
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) {
        if (value < 2 ** 31) return value;
        break;
      }
    }
    throw new Refusal("a length is too large");
  }

  take(length: number): Uint8Array {
    if (!(length <= this.#bytes.length - this.#at)) throw new Refusal("it is cut short");
    return this.#bytes.subarray(this.#at, this.#at += length);
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }

  // The last group may end early
  skip(length: number): void {
    this.#at += length;
  }
}
