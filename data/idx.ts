/** The IDX format of the MNIST files: magic, sizes, big-endian elements. */

import { gunzip, GzipError, isGzip } from "./gzip.ts";

/** Array class for each element type. */
export interface IdxArrays {
  /** Unsigned bytes, code 0x08. */
  u8: Uint8Array<ArrayBuffer>;
  /** Signed bytes, code 0x09. */
  i8: Int8Array<ArrayBuffer>;
  /** Signed 16-bit integers, code 0x0b. */
  i16: Int16Array<ArrayBuffer>;
  /** Signed 32-bit integers, code 0x0c. */
  i32: Int32Array<ArrayBuffer>;
  /** Single precision, code 0x0d. */
  f32: Float32Array<ArrayBuffer>;
  /** Double precision, code 0x0e. */
  f64: Float64Array<ArrayBuffer>;
}

/** Element type of an IDX file. */
export type IdxDType = "u8" | "i8" | "i16" | "i32" | "f32" | "f64";

/**
 * An array as an IDX file holds it: element type, sizes outermost first, elements in row-major
 * order.
 */
export type IdxArray = {
  [K in IdxDType]: { dtype: K; shape: number[]; data: IdxArrays[K] };
}[IdxDType];

/** Options of {@linkcode parseIdx} and {@linkcode readIdx}. */
export interface IdxOptions {
  /** Most bytes of the whole unpacked file. Default: 2 GiB. */
  maxBytes?: number;
  /** Name for messages. Default: none for `parseIdx`, the path for `readIdx`. */
  name?: string;
}

/** Data that is not a valid IDX file, with the byte where it goes wrong. */
export class IdxError extends SyntaxError {
  /** "IdxError". */
  override readonly name = "IdxError";

  /** Byte of the unpacked file at which reading stopped, from 0. */
  readonly offset: number;

  /**
   * Makes the error; the byte is added to the message.
   *
   * @param message what is wrong
   * @param offset byte of the unpacked file, from 0
   * @param options the cause
   */
  constructor(message: string, offset: number, options?: ErrorOptions) {
    super(`${message} at byte ${offset}`, options);
    this.offset = offset;
  }
}

interface ElementType {
  readonly dtype: IdxDType;
  readonly code: number;
  readonly bytes: number;
}

const elementTypes: readonly ElementType[] = [
  { dtype: "u8", code: 0x08, bytes: 1 },
  { dtype: "i8", code: 0x09, bytes: 1 },
  { dtype: "i16", code: 0x0b, bytes: 2 },
  { dtype: "i32", code: 0x0c, bytes: 4 },
  { dtype: "f32", code: 0x0d, bytes: 4 },
  { dtype: "f64", code: 0x0e, bytes: 8 },
];

const defaultMaxBytes = 2 ** 31;
const maxDims = 4;

// Deflate reaches 1,032 to 1; a header that claims more than this lies
const maxGzipRatio = 1100;

/**
 * Parses an IDX file.
 *
 * The file is `0, 0, type, dims`, then one big-endian u32 per dimension, then the elements,
 * big-endian. Every claim of the header is checked against the length of the file before anything
 * is allocated.
 *
 * @param bytes the whole file, not packed
 * @param options `maxBytes`, `name`
 * @returns element type, sizes and elements; u8 and i8 elements are a copy too
 * @throws {IdxError} when the header is invalid, or the length is not what the header says
 *
 * @example
 * ```ts
 * import { parseIdx } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const labels = parseIdx(new Uint8Array([0, 0, 8, 1, 0, 0, 0, 2, 7, 3]));
 * assertEquals(labels, { dtype: "u8", shape: [2], data: new Uint8Array([7, 3]) });
 * ```
 */
export function parseIdx(bytes: Uint8Array, options: IdxOptions = {}): IdxArray {
  const header = parseHeader(bytes, options);
  const { type, shape, start, end } = header;
  if (bytes.length !== end) {
    throw new IdxError(
      `${cannot(options)} as it must have ${end} bytes for shape [${shape.join(", ")}] of ` +
        `${type.dtype}: got ${bytes.length}`,
      Math.min(bytes.length, end),
    );
  }
  return toArray(type, shape, bytes.slice(start, end));
}

/**
 * Reads an IDX file, packed with gzip or not.
 *
 * @param path the file
 * @param options `maxBytes`, `name`
 * @returns element type, sizes and elements
 * @throws {Deno.errors.NotFound} when there is no such file
 * @throws {IdxError} when it is not a valid IDX file, or its gzip stream is corrupt or too long
 *
 * @example
 * ```ts ignore
 * const images = await readIdx("data/train-images-idx3-ubyte.gz");
 * console.log(images.shape); // [60000, 28, 28]
 * ```
 */
export async function readIdx(path: string, options: IdxOptions = {}): Promise<IdxArray> {
  const named = { ...options, name: options.name ?? path };
  const bytes = await readBounded(path, named);
  return parseIdx(isGzip(bytes) ? await unpack(bytes, named) : bytes, named);
}

/**
 * Writes an array as an IDX file.
 *
 * @param array element type, sizes (at most 4) and elements
 * @returns the file's bytes; {@linkcode parseIdx} gives the array back
 * @throws {RangeError} when the sizes do not fit the number of elements, or are not u32
 *
 * @example
 * ```ts
 * import { encodeIdx } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = encodeIdx({ dtype: "u8", shape: [2], data: new Uint8Array([7, 3]) });
 * assertEquals([...bytes], [0, 0, 8, 1, 0, 0, 0, 2, 7, 3]);
 * ```
 */
export function encodeIdx(array: IdxArray): Uint8Array<ArrayBuffer> {
  const { dtype, shape, data } = array;
  const count = shape.reduce((product, size) => product * size, 1);
  const sizesFit = shape.every((size) => Number.isInteger(size) && size >= 0 && size < 2 ** 32);
  if (shape.length < 1 || shape.length > maxDims || !sizesFit || count !== data.length) {
    throw new RangeError(
      `Cannot encode IDX data as the shape must have 1 to ${maxDims} sizes with a product of ` +
        `${data.length}: got [${shape.join(", ")}]`,
    );
  }
  const type = elementTypes.find((each) => each.dtype === dtype)!;
  const start = 4 + 4 * shape.length;
  const bytes = new Uint8Array(start + data.byteLength);
  bytes.set([0, 0, type.code, shape.length]);
  const view = new DataView(bytes.buffer);
  shape.forEach((size, i) => view.setUint32(4 + 4 * i, size));
  const body = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  bytes.set(swapBytes(body, type.bytes), start);
  return bytes;
}

interface Header {
  readonly type: ElementType;
  readonly shape: number[];
  /** First byte of the elements. */
  readonly start: number;
  /** Length that the file must have. */
  readonly end: number;
}

function parseHeader(bytes: Uint8Array, options: IdxOptions): Header {
  const what = cannot(options);
  if (bytes.length < 4) {
    throw new IdxError(
      `${what} as it must have at least 4 bytes: got ${bytes.length}`,
      bytes.length,
    );
  }
  checkMagic(bytes, what);
  const type = elementTypes.find((each) => each.code === bytes[2]);
  if (type === undefined) {
    throw new IdxError(
      `${what} as its type must be 0x08, 0x09 or 0x0b to 0x0e: got ${hex(bytes[2])}`,
      2,
    );
  }
  const dims = bytes[3];
  if (dims < 1 || dims > maxDims) {
    throw new IdxError(`${what} as it must have 1 to ${maxDims} dimensions: got ${dims}`, 3);
  }
  const start = 4 + 4 * dims;
  if (bytes.length < start) {
    throw new IdxError(
      `${what} as its header must have ${start} bytes: got ${bytes.length}`,
      bytes.length,
    );
  }
  const maxBytes = options.maxBytes ?? defaultMaxBytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape: number[] = [];
  let length = type.bytes;
  for (let dim = 0; dim < dims; dim++) {
    const at = 4 + 4 * dim;
    shape.push(view.getUint32(at));
    // Each factor is below 2^32 and the product stays below the limit, so this is exact
    length *= shape[dim];
    if (start + length > maxBytes) {
      throw new IdxError(
        `${what} as it may have at most ${maxBytes} bytes: ` +
          `got shape [${shape.join(", ")}] of ${type.dtype} in the header`,
        at,
      );
    }
  }
  return { type, shape, start, end: start + length };
}

function checkMagic(bytes: Uint8Array, what: string): void {
  if (bytes[0] === 0 && bytes[1] === 0) return;
  const found = `${hex(bytes[0])} ${hex(bytes[1])}`;
  const hint = isGzip(bytes) ? " (a gzip stream: unpack it first, as readIdx does)" : "";
  throw new IdxError(
    `${what} as it must begin with 0x00 0x00: got ${found}${hint}`,
    bytes[0] === 0 ? 1 : 0,
  );
}

function toArray(type: ElementType, shape: number[], body: Uint8Array<ArrayBuffer>): IdxArray {
  const { buffer } = swapBytes(body, type.bytes);
  switch (type.dtype) {
    case "u8":
      return { dtype: "u8", shape, data: body };
    case "i8":
      return { dtype: "i8", shape, data: new Int8Array(buffer) };
    case "i16":
      return { dtype: "i16", shape, data: new Int16Array(buffer) };
    case "i32":
      return { dtype: "i32", shape, data: new Int32Array(buffer) };
    case "f32":
      return { dtype: "f32", shape, data: new Float32Array(buffer) };
    case "f64":
      return { dtype: "f64", shape, data: new Float64Array(buffer) };
  }
}

// Between the file's order and the machine's, both ways: hosts of Deno are little-endian
function swapBytes(body: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  for (let at = 0; size > 1 && at < body.length; at += size) {
    for (let low = at, high = at + size - 1; low < high; low++, high--) {
      const byte = body[low];
      body[low] = body[high];
      body[high] = byte;
    }
  }
  return body;
}

async function readBounded(path: string, options: IdxOptions): Promise<Uint8Array<ArrayBuffer>> {
  const maxBytes = options.maxBytes ?? defaultMaxBytes;
  try {
    const { size, isDirectory } = await Deno.stat(path);
    if (isDirectory) {
      throw new TypeError(`Cannot read "${path}" as it must be a file: got a folder`);
    }
    if (size > maxBytes) {
      throw new IdxError(
        `${cannot(options)} as it may have at most ${maxBytes} bytes: got ${size}`,
        maxBytes,
      );
    }
    return await Deno.readFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot read "${path}" as there is no such file`, { cause });
  }
}

async function unpack(
  packed: Uint8Array<ArrayBuffer>,
  options: IdxOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await gunzip(packed, (head) => claimedLength(head, packed.length, options));
  } catch (cause) {
    if (!(cause instanceof GzipError)) throw cause;
    const reason = cause.message.replace(/^Cannot unpack gzip data( as|:) /, "");
    throw new IdxError(
      `${cannot(options)} as its gzip stream is invalid: ${reason}`,
      cause.unpackedBytes,
      {
        cause,
      },
    );
  }
}

// Undefined while the header is not complete; a header that is invalid fails here, before the rest
// is unpacked
function claimedLength(
  head: Uint8Array,
  packedBytes: number,
  options: IdxOptions,
): number | undefined {
  if (head.length < 4 || head.length < 4 + 4 * Math.min(head[3], maxDims)) return undefined;
  const { end } = parseHeader(head, options);
  if (end > maxGzipRatio * packedBytes) {
    throw new IdxError(
      `${cannot(options)} as ${packedBytes} bytes of gzip can give at most ` +
        `${maxGzipRatio * packedBytes}: got ${end} in the header`,
      4,
    );
  }
  return end;
}

function cannot({ name }: IdxOptions): string {
  return name === undefined ? "Cannot parse IDX data" : `Cannot parse IDX data of "${name}"`;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}
