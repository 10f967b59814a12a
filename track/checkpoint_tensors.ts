/** Arrays on the host as entries of a safetensors file, without loss. */

import type { SafetensorsDType, SafetensorsEntry } from "../data/safetensors.ts";
import { describeValue } from "./json_values.ts";

/** Element type of a tensor in a checkpoint. */
export type CheckpointDType = "f32" | "f16" | "i32" | "u32" | "bool";

/** An array that holds the elements of a tensor in a checkpoint. */
export type CheckpointArray =
  | Float32Array<ArrayBufferLike>
  | Float16Array<ArrayBufferLike>
  | Int32Array<ArrayBufferLike>
  | Uint32Array<ArrayBufferLike>
  | Uint8Array<ArrayBufferLike>;

/** A tensor on the host. */
export interface CheckpointTensor {
  /** Sizes of the axes, outermost first; `[]` for a single value. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: CheckpointDType;
  /**
   * The elements in row-major order: a Float32Array for f32, Int32Array for i32, Uint32Array for
   * u32, Uint8Array of 0 and 1 for bool. Halves may come in a Float16Array or, as devices give them,
   * in a Float32Array; loading returns a Float16Array.
   */
  readonly data: CheckpointArray;
}

interface Stored {
  readonly name: SafetensorsDType;
  readonly array: new (values: ArrayBuffer | ArrayLike<number>) => CheckpointArray;
}

const STORED: { readonly [K in CheckpointDType]: Stored } = {
  f32: { name: "F32", array: Float32Array },
  f16: { name: "F16", array: Float16Array },
  i32: { name: "I32", array: Int32Array },
  u32: { name: "U32", array: Uint32Array },
  bool: { name: "BOOL", array: Uint8Array },
};

/**
 * A tensor in the form in which a file stores it, a view of its data where that is possible.
 *
 * @param name how messages call it
 * @param tensor what to store
 * @throws {TypeError} if the element type is unknown or the array has another one
 * @throws {RangeError} if a half or a bool has a value that the type does not hold
 */
export function tensorToEntry(name: string, tensor: CheckpointTensor): SafetensorsEntry {
  const what = `Cannot save tensor ${JSON.stringify(name)}`;
  const { shape, dtype, data } = tensor;
  if (!Object.hasOwn(STORED, dtype)) {
    const types = Object.keys(STORED).join(", ");
    throw new TypeError(
      `${what}: expected an element type among ${types}, found ${describeValue(dtype)}`,
    );
  }
  if (!Array.isArray(shape)) {
    throw new TypeError(`${what}: expected a shape, found ${describeValue(shape)}`);
  }
  const { name: stored, array } = STORED[dtype];
  const halves = dtype === "f16" && data instanceof Float32Array;
  if (!halves && !(data instanceof array)) {
    throw new TypeError(`${what}: expected a ${array.name}, found ${describeValue(data)}`);
  }
  const values = halves ? toHalves(what, data) : data;
  if (dtype === "bool") checkBools(what, values);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: stored, shape: [...shape], bytes };
}

/**
 * The tensor of an entry, copied.
 *
 * @param name how messages call it
 * @param entry an array of a file
 * @throws {SyntaxError} if its element type is none of a checkpoint's
 */
export function tensorFromEntry(name: string, entry: SafetensorsEntry): CheckpointTensor {
  for (const dtype of Object.keys(STORED) as CheckpointDType[]) {
    const { name: stored, array } = STORED[dtype];
    if (stored !== entry.dtype) continue;
    return { shape: entry.shape, dtype, data: new array(new Uint8Array(entry.bytes).buffer) };
  }
  const types = Object.values(STORED).map((stored) => stored.name).join(", ");
  throw new SyntaxError(
    `tensor ${JSON.stringify(name)}: expected an element type among ${types}, found ${entry.dtype}`,
  );
}

function toHalves(what: string, data: Float32Array): Float16Array {
  const halves = Float16Array.from(data);
  const lost = data.findIndex((value, i) => !Object.is(value, halves[i]));
  if (lost < 0) return halves;
  throw new RangeError(
    `${what}: expected values that f16 holds exactly, found ${data[lost]} at ${lost}`,
  );
}

function checkBools(what: string, data: CheckpointArray): void {
  const wrong = (data as Uint8Array).findIndex((value) => value > 1);
  if (wrong < 0) return;
  throw new RangeError(`${what}: expected 0 or 1, found ${data[wrong]} at ${wrong}`);
}
