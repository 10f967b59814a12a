/** NumPy's `.npy` format: one array in a file. */

import { headerText, readHeader } from "./npy_header.ts";

/** Array class for each element type. */
export interface NpyArrays {
  /** One byte each, 0 or 1. */
  bool: Uint8Array<ArrayBuffer>;
  /** Signed 8-bit integers. */
  i8: Int8Array<ArrayBuffer>;
  /** Signed 16-bit integers. */
  i16: Int16Array<ArrayBuffer>;
  /** Signed 32-bit integers. */
  i32: Int32Array<ArrayBuffer>;
  /** Signed 64-bit integers. */
  i64: BigInt64Array<ArrayBuffer>;
  /** Unsigned 8-bit integers. */
  u8: Uint8Array<ArrayBuffer>;
  /** Unsigned 16-bit integers. */
  u16: Uint16Array<ArrayBuffer>;
  /** Unsigned 32-bit integers. */
  u32: Uint32Array<ArrayBuffer>;
  /** Unsigned 64-bit integers. */
  u64: BigUint64Array<ArrayBuffer>;
  /** Half precision. */
  f16: Float16Array<ArrayBuffer>;
  /** Single precision. */
  f32: Float32Array<ArrayBuffer>;
  /** Double precision. */
  f64: Float64Array<ArrayBuffer>;
}

/** Element type of an array. */
export type NpyDType = keyof NpyArrays;

/** An array: element type, sizes outermost first, elements in row-major order. */
export type NpyArray = {
  [K in NpyDType]: {
    readonly dtype: K;
    readonly shape: readonly number[];
    readonly data: NpyArrays[K];
  };
}[NpyDType];

/** Options of {@linkcode parseNpy} and {@linkcode readNpy}. */
export interface NpyOptions {
  /** Name for messages. Default: "npy" for `parseNpy`, the path for `readNpy`. */
  readonly name?: string;
  /** Most bytes of a file. Default: 2 GiB. */
  readonly maxBytes?: number;
}

/** Options of {@linkcode encodeNpy}. */
export interface EncodeNpyOptions {
  /** Order of the elements in the file: row-major `C`, or column-major `F`. Default: `C`. */
  readonly order?: "C" | "F";
  /** Order of the bytes of an element in the file. Default: little. */
  readonly endian?: "little" | "big";
}

/** Data that is not a valid npy or npz file. */
export class NpyError extends SyntaxError {
  /** "NpyError". */
  override readonly name = "NpyError";
}

interface ElementType {
  readonly code: string;
  readonly bytes: number;
  readonly make: (buffer: ArrayBuffer) => NpyArrays[NpyDType];
}

const types: Readonly<Record<NpyDType, ElementType>> = {
  bool: { code: "b1", bytes: 1, make: (buffer) => new Uint8Array(buffer) },
  i8: { code: "i1", bytes: 1, make: (buffer) => new Int8Array(buffer) },
  i16: { code: "i2", bytes: 2, make: (buffer) => new Int16Array(buffer) },
  i32: { code: "i4", bytes: 4, make: (buffer) => new Int32Array(buffer) },
  i64: { code: "i8", bytes: 8, make: (buffer) => new BigInt64Array(buffer) },
  u8: { code: "u1", bytes: 1, make: (buffer) => new Uint8Array(buffer) },
  u16: { code: "u2", bytes: 2, make: (buffer) => new Uint16Array(buffer) },
  u32: { code: "u4", bytes: 4, make: (buffer) => new Uint32Array(buffer) },
  u64: { code: "u8", bytes: 8, make: (buffer) => new BigUint64Array(buffer) },
  f16: { code: "f2", bytes: 2, make: (buffer) => new Float16Array(buffer) },
  f32: { code: "f4", bytes: 4, make: (buffer) => new Float32Array(buffer) },
  f64: { code: "f8", bytes: 8, make: (buffer) => new Float64Array(buffer) },
};

const dtypes = Object.keys(types) as NpyDType[];

/**
 * Parses a `.npy` file of version 1.0, 2.0 or 3.0.
 *
 * The header is checked against the length of the file before anything is allocated. Big-endian
 * elements and column-major order are turned into the host's.
 *
 * @param bytes the whole file
 * @param options name for messages
 * @returns element type, sizes and a copy of the elements in row-major order
 * @throws {NpyError} when the header is invalid, the elements are objects, records, texts or of
 * another unsupported type, or the length is not what the header says
 *
 * @example
 * ```ts
 * import { encodeNpy, parseNpy } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const array = { dtype: "f32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) } as const;
 * assertEquals(parseNpy(encodeNpy(array)), array);
 * ```
 */
export function parseNpy(bytes: Uint8Array, options: NpyOptions = {}): NpyArray {
  const { name = "npy" } = options;
  const refuse = (reason: string): never => {
    throw new NpyError(`Cannot read npy "${name}" as ${reason}`);
  };
  const { descr, fortran, shape, start } = readHeader(bytes, refuse);
  const dtype = dtypes.find((key) => types[key].code === descr.slice(1));
  const order = descr[0];
  if (dtype === undefined || !"<>|=".includes(order) || (order === "|" && types[dtype].bytes > 1)) {
    return refuse(
      `its elements must be of one of ${dtypes.join(", ")}: got ${JSON.stringify(descr)}`,
    );
  }
  const type = types[dtype];
  const count = shape.reduce((product, size) => product * size, 1);
  const end = start + count * type.bytes;
  if (end !== bytes.length) {
    refuse(
      `it must have ${end} bytes for shape (${shape.join(", ")}) of ${dtype}: got ${bytes.length}`,
    );
  }
  const elements = bytes.slice(start, end);
  if ((order === ">") === isLittleEndian) swapBytes(elements, type.bytes);
  if (dtype === "bool" && elements.some((byte) => byte > 1)) {
    refuse(`a bool must be 0 or 1: got ${elements.find((byte) => byte > 1)}`);
  }
  const rowMajor = fortran ? permuted(elements, shape, type.bytes, "F to C") : elements;
  return { dtype, shape, data: type.make(rowMajor.buffer) } as NpyArray;
}

/**
 * Reads a `.npy` file.
 *
 * @param path the file
 * @param options name for messages, most bytes
 * @returns element type, sizes and elements in row-major order
 * @throws {Deno.errors.NotFound} when there is no such file
 * @throws {NpyError} when it is too long or no valid file
 *
 * @example
 * ```ts ignore
 * import { readNpy } from "@legoml/legoml/data";
 *
 * const { shape, data } = await readNpy("features.npy");
 * ```
 */
export async function readNpy(path: string, options: NpyOptions = {}): Promise<NpyArray> {
  const bytes = await readBounded(path, options.maxBytes ?? 2 ** 31);
  return parseNpy(bytes, { ...options, name: options.name ?? path });
}

/**
 * Writes an array as a `.npy` file of version 1.0.
 *
 * @param array element type, sizes (at most 32) and elements in row-major order
 * @param options order of elements and of bytes in the file
 * @returns the bytes of the file, which `numpy.load` reads
 * @throws {TypeError} when the element type is unknown, or the elements are in an array of another
 * class
 * @throws {RangeError} when a size is no count, there are not as many elements as the sizes say, or
 * a bool is neither 0 nor 1
 *
 * @example
 * ```ts
 * import { encodeNpy } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const file = encodeNpy({ dtype: "u8", shape: [3], data: new Uint8Array([1, 2, 3]) });
 * assertEquals([file.length, ...file.slice(-3)], [128 + 3, 1, 2, 3]);
 * ```
 */
export function encodeNpy(
  array: NpyArray,
  options: EncodeNpyOptions = {},
): Uint8Array<ArrayBuffer> {
  const { order = "C", endian = "little" } = options;
  if ((order !== "C" && order !== "F") || (endian !== "little" && endian !== "big")) {
    throw new RangeError(
      `Cannot write npy as order must be "C" or "F" and endian "little" or "big": got "${order}" ` +
        `and "${endian}"`,
    );
  }
  const type = checkArray(array);
  const { data, shape } = array;
  const sign = type.bytes === 1 ? "|" : endian === "little" ? "<" : ">";
  const header = headerText(`${sign}${type.code}`, order === "F", shape);
  const own = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  const elements = order === "F" ? permuted(own, shape, type.bytes, "C to F") : own;
  if ((endian === "big") === isLittleEndian) swapBytes(elements, type.bytes);
  const file = new Uint8Array(header.length + elements.length);
  file.set(header);
  file.set(elements, header.length);
  return file;
}

/**
 * Reads a file that may not be longer than expected.
 *
 * @param path the file
 * @param maxBytes most bytes
 * @returns its bytes
 */
export async function readBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const { size } = await Deno.stat(path);
    if (size > maxBytes) {
      throw new NpyError(
        `Cannot read "${path}" as it may have at most ${maxBytes} bytes: got ${size}`,
      );
    }
    return await Deno.readFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`Cannot read "${path}" as there is no such file`, { cause });
  }
}

function checkArray({ dtype, shape, data }: NpyArray): ElementType {
  if (!Object.hasOwn(types, dtype)) {
    throw new TypeError(
      `Cannot write npy as dtype must be one of ${dtypes.join(", ")}: got "${dtype}"`,
    );
  }
  const type = types[dtype];
  const expected = type.make(new ArrayBuffer(0)).constructor;
  if (!(data instanceof (expected as new () => unknown))) {
    throw new TypeError(
      `Cannot write npy as ${dtype} elements must be in a ${expected.name}: got ` +
        (data as ArrayLike<unknown>)?.constructor?.name,
    );
  }
  if (shape.length > 32 || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new RangeError(
      `Cannot write npy as the shape must have at most 32 sizes from 0: got [${shape.join(", ")}]`,
    );
  }
  const count = shape.reduce((product, size) => product * size, 1);
  if (data.length !== count) {
    throw new RangeError(
      `Cannot write npy as shape [${shape.join(", ")}] needs ${count} elements: got ${data.length}`,
    );
  }
  if (dtype === "bool" && data.some((value) => value > 1)) {
    throw new RangeError("Cannot write npy as a bool must be 0 or 1");
  }
  return type;
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function swapBytes(bytes: Uint8Array, width: number): void {
  if (width === 1) return;
  for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse();
}

// Place i of the row-major order belongs to another place of the column-major order
function permuted(
  elements: Uint8Array<ArrayBuffer>,
  shape: readonly number[],
  width: number,
  direction: "C to F" | "F to C",
): Uint8Array<ArrayBuffer> {
  const moved = new Uint8Array(elements.length);
  const count = elements.length / width;
  const index = new Array<number>(shape.length).fill(0);
  const strides = shape.map((_, dim) => shape.slice(0, dim).reduce((p, size) => p * size, 1));
  for (let i = 0, other = 0; i < count; i++) {
    const [from, to] = direction === "F to C" ? [other, i] : [i, other];
    for (let byte = 0; byte < width; byte++) {
      moved[to * width + byte] = elements[from * width + byte];
    }
    for (let dim = shape.length - 1; dim >= 0; dim--) {
      other += strides[dim];
      if (++index[dim] < shape[dim]) break;
      other -= strides[dim] * shape[dim];
      index[dim] = 0;
    }
  }
  return moved;
}
