/** Named tensors of a model as the bytes of a file. */

import type { NpyArray, NpyDType } from "../data/npy.ts";
import { encodeNpz } from "../data/npz.ts";
import {
  encodeSafetensors,
  type SafetensorsDType,
  type SafetensorsEntry,
} from "../data/safetensors.ts";
import { type KeyRename, renameKeys } from "./key_names.ts";

interface Stored {
  readonly name: SafetensorsDType;
  readonly npy: NpyDType;
  readonly array: {
    new (...args: never[]): ArrayBufferView<ArrayBuffer>;
    from(values: ArrayLike<number>): ArrayBufferView<ArrayBuffer>;
  };
}

const STORED: { readonly [dtype: string]: Stored } = {
  f32: { name: "F32", npy: "f32", array: Float32Array },
  f16: { name: "F16", npy: "f16", array: Float16Array },
  i32: { name: "I32", npy: "i32", array: Int32Array },
  u32: { name: "U32", npy: "u32", array: Uint32Array },
  bool: { name: "BOOL", npy: "bool", array: Uint8Array },
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

/** How a model is written. */
export interface EncodeModelOptions {
  /**
   * The kind of file: safetensors, which PyTorch and others read, or NumPy's npz.
   * @default {"safetensors"}
   */
  readonly format?: ModelFormat;
  /** Other names for the tensors in the file. @default {those of the state dict} */
  readonly rename?: KeyRename;
}

/** A kind of file for models. */
export type ModelFormat = "safetensors" | "npz";

/**
 * Reads all tensors of a model in one wait, and writes them as the bytes of a file.
 *
 * The metadata of safetensors says `format: pt`, as the names are those of PyTorch.
 *
 * @param model what to save
 * @param options kind of file, other names
 * @returns the bytes of the file
 * @throws {TypeError} if a tensor has an element type that the format does not know, or the format is
 * unknown
 * @throws {RangeError} if two tensors get the same name
 *
 * @example NumPy reads it by `numpy.load`
 * ```ts
 * import { encodeModel } from "@legoml/legoml/track";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { parseNpz } from "@legoml/legoml/data";
 * import { Linear } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const model = new Linear(2, 1, { device: referenceDevice() });
 * const arrays = await parseNpz(await encodeModel(model, { format: "npz" }));
 * assertEquals([...arrays.keys()], ["weight", "bias"]);
 * ```
 */
export async function encodeModel(
  model: SavableModel,
  options: EncodeModelOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { format = "safetensors", rename = [] } = options;
  const named = Object.entries(renameKeys(model.stateDict(), rename));
  for (const [name, { dtype }] of named) {
    if (Object.hasOwn(STORED, dtype)) continue;
    const types = Object.keys(STORED).join(", ");
    throw new TypeError(
      `Cannot save tensor "${name}": expected an element type among ${types}, found ${dtype}`,
    );
  }
  const encode = Object.hasOwn(ENCODERS, format) ? ENCODERS[format] : undefined;
  if (encode === undefined) {
    const formats = Object.keys(ENCODERS).join(" or ");
    throw new TypeError(`Cannot save a model: expected the format ${formats}, found ${format}`);
  }
  const values = await Promise.all(named.map(([, tensor]) => tensor.data()));
  return await encode(named.map(([name, { dtype, shape }], i) => {
    const { array } = STORED[dtype];
    // values may arrive in a wider type, such as halves in float32
    const data = values[i] instanceof array ? values[i] : array.from(values[i]);
    return [name, { dtype, shape, data: data as ArrayBufferView<ArrayBuffer> }];
  }));
}

type HostEntry = readonly [name: string, array: {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView<ArrayBuffer>;
}];

const ENCODERS: {
  readonly [format in ModelFormat]: (
    entries: readonly HostEntry[],
  ) => Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
} = {
  safetensors: (entries) => {
    const tensors = entries.map(([name, { dtype, shape, data }]): [string, SafetensorsEntry] => {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return [name, { dtype: STORED[dtype].name, shape, bytes }];
    });
    return encodeSafetensors(Object.fromEntries(tensors), { format: "pt" });
  },
  npz: (entries) =>
    encodeNpz(
      new Map(entries.map(([name, { dtype, shape, data }]) => [
        name,
        { dtype: STORED[dtype].npy, shape, data } as unknown as NpyArray,
      ])),
    ),
};
