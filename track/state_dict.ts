/** Named tensors as a safetensors file. */

import {
  encodeSafetensors,
  type SafetensorsDType,
  type SafetensorsEntry,
} from "../data/safetensors.ts";

interface Stored {
  readonly name: SafetensorsDType;
  readonly array: {
    new (...args: never[]): ArrayBufferView<ArrayBuffer>;
    from(values: ArrayLike<number>): ArrayBufferView<ArrayBuffer>;
  };
}

const STORED: { readonly [dtype: string]: Stored } = {
  f32: { name: "F32", array: Float32Array },
  f16: { name: "F16", array: Float16Array },
  i32: { name: "I32", array: Int32Array },
  u32: { name: "U32", array: Uint32Array },
  bool: { name: "BOOL", array: Uint8Array },
};

/** The part of a tensor that saving needs. */
export interface SavableTensor {
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** Element type: f32, f16, i32, u32 or bool. */
  readonly dtype: string;
  /** Reads the elements in row-major order. */
  data(): Promise<ArrayBufferView & ArrayLike<number>>;
}

/** Anything with named tensors, such as a module. */
export interface SavableModel {
  /** The tensors by name. */
  stateDict(): Readonly<Record<string, SavableTensor>>;
}

/**
 * Reads all tensors of a model in one wait and writes them as a safetensors file.
 *
 * The metadata says `format: pt`, as the names are those of PyTorch.
 *
 * @param model what to save
 * @returns the bytes of the file
 * @throws {TypeError} if a tensor has an element type that the format does not know
 */
export async function encodeModel(model: SavableModel): Promise<Uint8Array<ArrayBuffer>> {
  const named = Object.entries(model.stateDict());
  for (const [name, { dtype }] of named) {
    if (Object.hasOwn(STORED, dtype)) continue;
    const types = Object.keys(STORED).join(", ");
    throw new TypeError(
      `Cannot save tensor "${name}": expected an element type among ${types}, found ${dtype}`,
    );
  }
  const values = await Promise.all(named.map(([, tensor]) => tensor.data()));
  const entries = named.map(([name, { dtype, shape }], i): [string, SafetensorsEntry] => [
    name,
    { dtype: STORED[dtype].name, shape, bytes: bytesOf(dtype, values[i]) },
  ]);
  return encodeSafetensors(Object.fromEntries(entries), { format: "pt" });
}

// values may arrive in a wider type, such as halves in float32
function bytesOf(dtype: string, values: ArrayBufferView & ArrayLike<number>): Uint8Array {
  const { array } = STORED[dtype];
  const { buffer, byteOffset, byteLength } = values instanceof array ? values : array.from(values);
  return new Uint8Array(buffer, byteOffset, byteLength);
}
