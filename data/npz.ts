/** NumPy's `.npz` format: named arrays in a zip archive. */

import {
  encodeNpy,
  type NpyArray,
  NpyError,
  type NpyOptions,
  parseNpy,
  readBounded,
} from "./npy.ts";
import { readZip, writeZip } from "./zip.ts";

/** Options of {@linkcode encodeNpz}. */
export interface EncodeNpzOptions {
  /** Whether arrays are packed, as `numpy.savez_compressed` does. Default: false. */
  readonly compress?: boolean;
}

/**
 * Reads an `.npz` file, packed or not.
 *
 * @param bytes the whole file
 * @param options name for messages, most bytes of all unpacked arrays
 * @returns the arrays by name, in the order of the file
 * @throws {NpyError} when the archive is corrupt, encrypted or zip64, or an array is no valid npy
 * file
 *
 * @example
 * ```ts
 * import { encodeNpz, parseNpz } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const bias = { dtype: "f64", shape: [2], data: new Float64Array([0.5, -1]) } as const;
 * const file = await encodeNpz({ bias }, { compress: true });
 * assertEquals((await parseNpz(file)).get("bias"), bias);
 * ```
 */
export async function parseNpz(
  bytes: Uint8Array,
  options: NpyOptions = {},
): Promise<Map<string, NpyArray>> {
  const { name = "npz", maxBytes = 2 ** 31 } = options;
  const refuse = (reason: string): never => {
    throw new NpyError(`Cannot read npz "${name}" as ${reason}`);
  };
  const arrays = new Map<string, NpyArray>();
  for (const entry of await readZip(bytes, maxBytes, refuse)) {
    const key = entry.name.replace(/\.npy$/, "");
    if (key === entry.name) refuse(`its entries must be npy files: got "${entry.name}"`);
    if (arrays.has(key)) refuse(`each name must be there once: got "${key}" twice`);
    arrays.set(key, parseNpy(entry.bytes, { name: `${name}/${entry.name}` }));
  }
  return arrays;
}

/**
 * Reads an `.npz` file.
 *
 * @param path the file
 * @param options name for messages, most bytes of the file and of all unpacked arrays
 * @returns the arrays by name, in the order of the file
 * @throws {Deno.errors.NotFound} when there is no such file
 * @throws {NpyError} as {@linkcode parseNpz}, and when the file is too long
 *
 * @example
 * ```ts ignore
 * import { readNpz } from "@legoml/legoml/data";
 *
 * const arrays = await readNpz("mnist.npz");
 * console.log(arrays.get("x_train")?.shape); // [60000, 28, 28]
 * ```
 */
export async function readNpz(
  path: string,
  options: NpyOptions = {},
): Promise<Map<string, NpyArray>> {
  const bytes = await readBounded(path, options.maxBytes ?? 2 ** 31);
  return await parseNpz(bytes, { ...options, name: options.name ?? path });
}

/**
 * Writes named arrays as an `.npz` file.
 *
 * @param arrays the arrays by name
 * @param options whether they are packed
 * @returns the bytes of the file, which `numpy.load` reads; equal arrays give equal bytes
 * @throws {TypeError} as {@linkcode encodeNpy}
 * @throws {RangeError} as {@linkcode encodeNpy}, and when a name is empty or the file would have
 * more than 4 GiB
 */
export async function encodeNpz(
  arrays: Readonly<Record<string, NpyArray>> | ReadonlyMap<string, NpyArray>,
  options: EncodeNpzOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const entries = arrays instanceof Map ? [...arrays] : Object.entries(arrays);
  const files = entries.map(([name, array]) => {
    if (name === "") throw new RangeError("Cannot write npz as a name must not be empty");
    return { name: `${name}.npy`, bytes: encodeNpy(array) };
  });
  return await writeZip(files, options.compress ?? false);
}
