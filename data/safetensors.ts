/**
 * The safetensors format: named arrays in one file, readable by PyTorch and others.
 *
 * A file is an unsigned 64-bit little-endian header length, a JSON header padded with spaces to a
 * multiple of 8, then the data of all tensors without gaps. Reading executes no code, checks the
 * whole header before any tensor is touched, and refuses what does not fit exactly.
 */

/** An element type, as the format names it. */
export type SafetensorsDType =
  | "U64"
  | "I64"
  | "F64"
  | "F32"
  | "U32"
  | "I32"
  | "BF16"
  | "F16"
  | "U16"
  | "I16"
  | "I8"
  | "U8"
  | "BOOL";

const MAX_HEADER_BYTES = 100_000_000;
const MAX_TENSORS = 100_000;
const METADATA_KEY = "__metadata__";
const PREFIX_BYTES = 8;

/** One array of a safetensors file. */
export interface SafetensorsEntry {
  /** The element type. */
  readonly dtype: SafetensorsDType;
  /** Sizes of the axes, outermost first; `[]` for a single value. */
  readonly shape: readonly number[];
  /** The elements in row-major order, little-endian; BOOL takes a byte. */
  readonly bytes: Uint8Array;
}

/** What a safetensors file holds. */
export interface SafetensorsFile {
  /** The arrays by name. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  /** Free texts; empty when the file has none. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** An array type that holds the values of an entry without loss. */
export type SafetensorsArray =
  | BigUint64Array
  | BigInt64Array
  | Float64Array
  | Float32Array
  | Uint32Array
  | Int32Array
  | Uint16Array
  | Int16Array
  | Uint8Array
  | Int8Array;

type ElementType = readonly [bytes: number, read: (buffer: ArrayBuffer) => SafetensorsArray];

// in the order in which a file stores them
const TYPES: { readonly [K in SafetensorsDType]: ElementType } = {
  U64: [8, (buffer) => new BigUint64Array(buffer)],
  I64: [8, (buffer) => new BigInt64Array(buffer)],
  F64: [8, (buffer) => new Float64Array(buffer)],
  F32: [4, (buffer) => new Float32Array(buffer)],
  U32: [4, (buffer) => new Uint32Array(buffer)],
  I32: [4, (buffer) => new Int32Array(buffer)],
  BF16: [2, (buffer) => widenBfloat(new Uint16Array(buffer))],
  F16: [2, (buffer) => Float32Array.from(new Float16Array(buffer))],
  U16: [2, (buffer) => new Uint16Array(buffer)],
  I16: [2, (buffer) => new Int16Array(buffer)],
  I8: [1, (buffer) => new Int8Array(buffer)],
  U8: [1, (buffer) => new Uint8Array(buffer)],
  BOOL: [1, (buffer) => new Uint8Array(buffer)],
};
const TYPE_ORDER = Object.keys(TYPES) as SafetensorsDType[];

/** A safetensors file that does not follow the format. */
export class SafetensorsError extends SyntaxError {
  /** The name of the class. */
  override readonly name = "SafetensorsError";
}

/**
 * Writes named arrays as the bytes of a safetensors file.
 *
 * Arrays are stored by falling element size, then by name, so that each begins at a multiple of its
 * element size; the same arrays give the same bytes, whatever the order in which they come.
 *
 * @param tensors the arrays by name
 * @param metadata free texts to store with them
 * @returns the bytes of the file
 * @throws {TypeError} if an element type is unknown or a metadata value is no string
 * @throws {RangeError} if a name is reserved, a shape has a size that is no count, or the bytes do
 * not fit the shape
 *
 * @example Write and read back
 * ```ts
 * import { decodeSafetensors, encodeSafetensors } from "@legoml/legoml/data";
 * import { assert } from "@std/assert";
 *
 * const weights = new Float32Array([1, 2, 3, 4]);
 * const file = encodeSafetensors({
 *   weight: { dtype: "F32", shape: [2, 2], bytes: new Uint8Array(weights.buffer) },
 * }, { format: "pt" });
 * const { tensors, metadata } = decodeSafetensors(file);
 * assert(tensors.get("weight")?.shape.join() === "2,2");
 * assert(metadata.get("format") === "pt");
 * ```
 */
export function encodeSafetensors(
  tensors: Readonly<Record<string, SafetensorsEntry>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(tensors);
  if (entries.length > MAX_TENSORS) {
    throw new RangeError(
      `Cannot write safetensors: expected at most ${MAX_TENSORS} tensors, found ${entries.length}`,
    );
  }
  for (const [name, entry] of entries) checkEntry(name, entry);
  for (const [key, text] of Object.entries(metadata)) checkText(key, text);
  entries.sort(byTypeAndName);
  const header = new TextEncoder().encode(headerText(entries, metadata));
  const headerBytes = Math.ceil(header.length / 8) * 8;
  const dataBytes = entries.reduce((sum, [, entry]) => sum + entry.bytes.length, 0);
  const file = new Uint8Array(PREFIX_BYTES + headerBytes + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.fill(0x20, PREFIX_BYTES, PREFIX_BYTES + headerBytes);
  file.set(header, PREFIX_BYTES);
  let offset = PREFIX_BYTES + headerBytes;
  for (const [, { bytes }] of entries) {
    file.set(bytes, offset);
    offset += bytes.length;
  }
  return file;
}

/**
 * Reads the bytes of a safetensors file.
 *
 * The arrays are views of `file`, not copies.
 *
 * @param file the whole file
 * @returns its arrays and free texts
 * @throws {SafetensorsError} if the file is cut short or has bytes left over, the header is not
 * valid, names a tensor twice, or describes data that overlaps, leaves a hole or does not fit its
 * shape
 */
export function decodeSafetensors(file: Uint8Array): SafetensorsFile {
  const { text, dataStart } = readHeaderText(file);
  const header = parseHeader(text);
  const metadata = new Map<string, string>();
  const spans: Span[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === METADATA_KEY) readMetadata(value, metadata);
    else spans.push(readSpan(name, value));
  }
  if (spans.length > MAX_TENSORS) {
    refuse(`expected at most ${MAX_TENSORS} tensors, found ${spans.length}`);
  }
  checkCoverage(spans, file.length - dataStart);
  const tensors = new Map<string, SafetensorsEntry>();
  for (const { name, dtype, shape, begin, end } of spans) {
    const bytes = file.subarray(dataStart + begin, dataStart + end);
    tensors.set(name, { dtype, shape, bytes });
  }
  return { tensors, metadata };
}

/**
 * The elements of an entry as a typed array, copied.
 *
 * F16 and BF16 are widened to Float32Array, which holds each of their values exactly; BOOL becomes
 * Uint8Array.
 *
 * @param entry an array of a file
 * @returns its elements in row-major order
 */
export function safetensorsValues(entry: SafetensorsEntry): SafetensorsArray {
  // a copy, as an array must begin at a multiple of its element size
  return TYPES[entry.dtype][1](new Uint8Array(entry.bytes).buffer);
}

// bfloat16 is the upper half of a float32
function widenBfloat(halves: Uint16Array): Float32Array {
  const words = Uint32Array.from(halves, (half) => (half << 16) >>> 0);
  return new Float32Array(words.buffer);
}

function byTypeAndName(
  [nameA, a]: [string, SafetensorsEntry],
  [nameB, b]: [string, SafetensorsEntry],
): number {
  const order = TYPE_ORDER.indexOf(a.dtype) - TYPE_ORDER.indexOf(b.dtype);
  return order || (nameA < nameB ? -1 : 1);
}

// built by hand because a name such as "7" would move to the front of an object
function headerText(
  entries: readonly (readonly [string, SafetensorsEntry])[],
  metadata: Readonly<Record<string, string>>,
): string {
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) {
    fields.push(`"${METADATA_KEY}":${JSON.stringify(metadata)}`);
  }
  let begin = 0;
  for (const [name, { dtype, shape, bytes }] of entries) {
    const end = begin + bytes.length;
    const info = JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
    fields.push(`${JSON.stringify(name)}:${info}`);
    begin = end;
  }
  return `{${fields.join(",")}}`;
}

function checkEntry(name: string, { dtype, shape, bytes }: SafetensorsEntry): void {
  const what = `Cannot write tensor "${name}"`;
  if (name === METADATA_KEY || name === "__proto__") {
    throw new RangeError(`${what}: expected a name that is not reserved`);
  }
  if (!Object.hasOwn(TYPES, dtype)) {
    throw new TypeError(
      `${what}: expected an element type among ${TYPE_ORDER.join(", ")}, found ${String(dtype)}`,
    );
  }
  const expected = spanBytes(dtype, shape);
  if (expected === null) {
    throw new RangeError(`${what}: expected sizes that are counts, found [${shape.join(", ")}]`);
  }
  if (bytes.length !== expected) {
    throw new RangeError(
      `${what}: expected ${expected} bytes for ${dtype} [${
        shape.join(", ")
      }], found ${bytes.length}`,
    );
  }
}

function checkText(key: string, text: unknown): void {
  if (typeof text === "string") return;
  throw new TypeError(`Cannot write metadata "${key}": expected a string, found ${shown(text)}`);
}

/** Bytes that a shape takes, or null when it has no size that numbers hold exactly. */
function spanBytes(dtype: SafetensorsDType, shape: readonly number[]): number | null {
  let [bytes] = TYPES[dtype];
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return null;
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return null;
  }
  return bytes;
}

interface Span {
  name: string;
  dtype: SafetensorsDType;
  shape: number[];
  begin: number;
  end: number;
}

function refuse(reason: string, cause?: unknown): never {
  throw new SafetensorsError(`Cannot read safetensors: ${reason}`, { cause });
}

function readHeaderText(file: Uint8Array): { text: string; dataStart: number } {
  if (file.length < PREFIX_BYTES) {
    refuse(`expected at least ${PREFIX_BYTES} bytes, found ${file.length}`);
  }
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = view.getBigUint64(0, true);
  const room = Math.min(MAX_HEADER_BYTES, file.length - PREFIX_BYTES);
  if (length > BigInt(room)) {
    refuse(`expected a header of at most ${room} bytes, found a length of ${length}`);
  }
  const dataStart = PREFIX_BYTES + Number(length);
  const header = file.subarray(PREFIX_BYTES, dataStart);
  if (header[0] !== 0x7b) {
    const found = header.length === 0 ? "nothing" : `byte 0x${header[0].toString(16)}`;
    refuse(`expected the header to begin with "{" at offset 8, found ${found}`);
  }
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(header), dataStart };
  } catch (error) {
    refuse("expected the header to be UTF-8", error);
  }
}

function parseHeader(text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    refuse(`expected the header to be JSON: ${(error as Error).message}`, error);
  }
  const repeated = repeatedKey(text);
  if (repeated !== null) refuse(`expected each name once, found "${repeated}" twice`);
  return asObject(header, "the header");
}

// JSON.parse keeps the last of equal keys in silence; the text is known to be valid JSON here
function repeatedKey(text: string): string | null {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "{") open.push(new Set());
    else if (text[at] === "}") open.pop();
    else if (text[at] === '"') {
      const end = stringEnd(text, at);
      let next = end;
      while (" \t\r\n".includes(text[next])) next++;
      if (text[next] === ":") {
        const key = JSON.parse(text.slice(at, end)) as string;
        if (open.at(-1)!.has(key)) return key;
        open.at(-1)!.add(key);
      }
      at = end - 1;
    }
  }
  return null;
}

function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse(`expected ${what} to be an object, found ${shown(value)}`);
  }
  return value as Record<string, unknown>;
}

function readMetadata(value: unknown, metadata: Map<string, string>): void {
  for (const [key, text] of Object.entries(asObject(value, METADATA_KEY))) {
    if (typeof text !== "string") {
      refuse(`expected metadata "${key}" to be a string, found ${shown(text)}`);
    }
    metadata.set(key, text);
  }
}

function readSpan(name: string, value: unknown): Span {
  const what = `tensor "${name}"`;
  if (name === "__proto__") refuse(`expected a name that is not reserved, found ${what}`);
  const { dtype, shape, data_offsets: offsets, ...rest } = asObject(value, what);
  const [extra] = Object.keys(rest);
  if (extra !== undefined) refuse(`${what} has an unexpected field "${extra}"`);
  if (typeof dtype !== "string" || !Object.hasOwn(TYPES, dtype)) {
    refuse(`${what}: expected a dtype among ${TYPE_ORDER.join(", ")}, found ${shown(dtype)}`);
  }
  const sizes = readCounts(shape, `the shape of ${what}`);
  const [begin, end, ...more] = readCounts(offsets, `the data_offsets of ${what}`);
  if (end === undefined || more.length > 0 || begin > end) {
    refuse(`${what}: expected data_offsets [begin, end], found ${shown(offsets)}`);
  }
  const expected = spanBytes(dtype as SafetensorsDType, sizes);
  if (expected !== end - begin) {
    const need = expected === null ? "a size that can be stored" : `${expected} bytes`;
    refuse(`${what}: expected ${need} for ${dtype} [${sizes}], found ${end - begin} bytes`);
  }
  return { name, dtype: dtype as SafetensorsDType, shape: sizes, begin, end };
}

function readCounts(value: unknown, what: string): number[] {
  const isCount = (n: unknown) =>
    Number.isSafeInteger(n) && (n as number) >= 0 && !Object.is(n, -0);
  const valid = Array.isArray(value) && value.every(isCount);
  if (!valid) refuse(`expected ${what} to be a list of counts, found ${shown(value)}`);
  return value as number[];
}

function checkCoverage(spans: readonly Span[], dataBytes: number): void {
  const ordered = spans.toSorted((a, b) => a.begin - b.begin || a.end - b.end);
  let offset = 0;
  for (const { name, begin, end } of ordered) {
    if (begin !== offset) {
      const fault = begin < offset ? "overlaps the one before it" : "leaves a hole before it";
      refuse(`tensor "${name}" ${fault}: expected it to begin at ${offset}, found ${begin}`);
    }
    offset = end;
  }
  if (offset !== dataBytes) {
    refuse(`expected ${offset} bytes of data after the header, found ${dataBytes}`);
  }
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of length ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
