/** Models from files, whoever wrote them. */

import { type Device, type DType, type Tensor, tensor } from "../core/mod.ts";
import { parseNpz } from "../data/npz.ts";
import {
  decodeSafetensors,
  type SafetensorsArray,
  SafetensorsError,
  safetensorsValues,
} from "../data/safetensors.ts";
import { decodeCheckpoint } from "./checkpoint_file.ts";
import { checkpointFile } from "./checkpoint_record.ts";
import { denoFileOps, type FileOps } from "./file_ops.ts";
import { trackError } from "./errors.ts";
import { type KeyRename, renameKeys } from "./key_names.ts";
import { encodeModel, type ModelFormat, type SavableModel } from "./state_dict.ts";
import { folderOf, writeWhole } from "./writing.ts";

/** A model that takes tensors by key, such as a module. */
export interface LoadableModel {
  /** The live tensors by key. */
  stateDict(): Readonly<Record<string, Tensor>>;
  /** Copies values into the live tensors. */
  loadStateDict(
    dict: Readonly<Record<string, Tensor>>,
    options?: { readonly strict?: boolean },
  ): { readonly missing: readonly string[]; readonly unexpected: readonly string[] };
}

/** How a file is loaded into a model. */
export interface LoadModelOptions {
  /** What the tensors of the file are called in the model. @default {as in the file} */
  readonly rename?: KeyRename;
  /** Refuse a file with missing or unexpected tensors. @default {true} */
  readonly strict?: boolean;
  /** How messages call the file. @default {its path} */
  readonly name?: string;
  /** How to read; by default on the real file system. */
  readonly files?: FileOps;
}

/** How a model is written into a file. */
export interface SaveModelOptions {
  /** Other names for the tensors in the file. @default {those of the state dict} */
  readonly rename?: KeyRename;
  /** How to write; by default on the real file system. */
  readonly files?: FileOps;
}

type HostArray = {
  readonly shape: readonly number[];
  readonly data: SafetensorsArray | Float16Array;
};

/**
 * Writes the parameters and buffers of a model into a file, in the kind that its name ends in:
 * `.safetensors` or `.npz`.
 *
 * The keys are those of PyTorch, so `safetensors.torch.load_file(path)` gives what
 * `module.load_state_dict` takes.
 *
 * @param model what to save
 * @param path where to
 * @param options other names
 * @throws {RangeError} if the name ends in neither, or two tensors get the same name
 * @throws {TrackError} if it cannot be written; then the file is as it was before, or absent
 */
export async function saveModel(
  model: SavableModel,
  path: string,
  options: SaveModelOptions = {},
): Promise<void> {
  const format = (["safetensors", "npz"] as ModelFormat[]).find((end) => path.endsWith(`.${end}`));
  if (format === undefined) {
    throw new RangeError(
      `Cannot save a model: expected a path that ends in .safetensors or .npz, found "${path}"`,
    );
  }
  const bytes = await encodeModel(model, { format, rename: options.rename });
  writeWhole(options.files ?? denoFileOps, path, bytes);
}

/**
 * Loads the tensors of a file into a model: a safetensors or npz file of any program, or a checkpoint of
 * this one, of which it takes the model's part.
 *
 * Values become those of the model's element types: wider floats are rounded, and integers must fit.
 * Either all of it fits, or nothing is changed. Files of `torch.save` hold Python objects and are
 * refused: write them anew by `safetensors.torch.save_file(module.state_dict(), path)`.
 *
 * @param model what takes the values
 * @param source the path of a file, or its bytes
 * @param options other names, whether all keys must be there
 * @returns the keys without a value, and those without a place; both empty where strict
 * @throws {TrackError} if the file cannot be read
 * @throws {SyntaxError} if it is none of these kinds, or damaged
 * @throws {CheckpointError} if it is a damaged checkpoint
 * @throws {RangeError} if an integer does not fit, or two tensors get the same name; as a
 * `StateDictError` with all missing, unexpected and misshapen keys
 *
 * @example Weights that another program has saved under other names
 * ```ts
 * import { encodeModel, loadModel } from "@legoml/legoml/track";
 * import { getDevice } from "@legoml/legoml/core";
 * import { Linear } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const device = await getDevice({ kind: "cpu" });
 * const [theirs, ours] = [new Linear(3, 2, { device }), new Linear(3, 2, { device })];
 * const file = await encodeModel(theirs, { rename: (key) => `module.fc.${key}` });
 * await loadModel(ours, file, { rename: [["module.fc.", ""]] });
 * assertEquals(await ours.weight.array(), await theirs.weight.array());
 * ```
 */
export async function loadModel(
  model: LoadableModel,
  source: string | Uint8Array,
  options: LoadModelOptions = {},
): Promise<{ readonly missing: readonly string[]; readonly unexpected: readonly string[] }> {
  const name = options.name ?? (typeof source === "string" ? source : "model file");
  const bytes = typeof source === "string" ? readFile(source, options) : source;
  const found = renameKeys(await arraysOf(bytes, name), options.rename ?? []);
  const own = model.stateDict();
  const device = Object.values(own)[0]?.device;
  using _ = device?.scope();
  const dict = Object.entries(found).map(([key, array]) => {
    const dtype = Object.hasOwn(own, key) ? own[key].dtype : "f32";
    return [key, onDevice(name, key, array, dtype, device)] as const;
  });
  return model.loadStateDict(Object.fromEntries(dict), { strict: options.strict ?? true });
}

function readFile(path: string, { files = denoFileOps }: LoadModelOptions): Uint8Array {
  try {
    return files.read(path);
  } catch (error) {
    throw trackError("read", path, error);
  }
}

/** The arrays of a file, by name. */
async function arraysOf(bytes: Uint8Array, name: string): Promise<Record<string, HostArray>> {
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) return await npzArrays(bytes, name);
  const { tensors, metadata } = decode(bytes, name);
  const record = metadata.get("legoml.checkpoint");
  if (record !== undefined) return await checkpointArrays(bytes, name, record);
  return Object.fromEntries(
    [...tensors].map((
      [key, entry],
    ) => [key, { shape: entry.shape, data: safetensorsValues(entry) }]),
  );
}

function decode(bytes: Uint8Array, name: string): ReturnType<typeof decodeSafetensors> {
  try {
    return decodeSafetensors(bytes);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new SyntaxError(
      `Cannot load "${name}": expected a safetensors or npz file: ${error.message}`,
      { cause: error },
    );
  }
}

async function npzArrays(bytes: Uint8Array, name: string): Promise<Record<string, HostArray>> {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 512));
  if (text.includes("data.pkl")) {
    throw new SyntaxError(
      `Cannot load "${name}": expected a safetensors or npz file, found one of torch.save, which holds ` +
        "Python objects; safetensors.torch.save_file writes what can be read",
    );
  }
  return Object.fromEntries(await parseNpz(bytes, { name }));
}

/** The tensors of the model in a checkpoint; those of other parts carry the part's name and a slash. */
async function checkpointArrays(
  bytes: Uint8Array,
  name: string,
  record: string,
): Promise<Record<string, HostArray>> {
  // A model may be loaded from a copy under another name; what is inside is verified all the same.
  const own = `${folderOf(name)}/${checkpointFile(stepIn(record))}`;
  const { tensors, state } = await decodeCheckpoint(bytes, own);
  const { parts = {} } = (state ?? {}) as { parts?: Record<string, unknown> };
  const others = Object.keys(parts).map((part) => `${part}/`);
  return Object.fromEntries(
    Object.entries(tensors).filter(([key]) => !others.some((other) => key.startsWith(other))),
  ) as Record<string, HostArray>;
}

function stepIn(record: string): number {
  try {
    return Number((JSON.parse(record) as { step?: unknown }).step);
  } catch {
    // Verifying the file tells what is wrong with it.
    return 0;
  }
}

const INTEGERS: { readonly [dtype: string]: readonly [least: number, most: number] } = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  bool: [0, 1],
};

function onDevice(
  name: string,
  key: string,
  { shape, data }: HostArray,
  dtype: DType,
  device: Device | undefined,
): Tensor {
  const values = Float64Array.from(data as ArrayLike<number>, Number);
  const [least, most] = INTEGERS[dtype] ?? [-Infinity, Infinity];
  const wrong = dtype in INTEGERS
    ? values.findIndex((value) => !(Number.isInteger(value) && value >= least && value <= most))
    : -1;
  if (wrong < 0) return tensor(values, { shape: [...shape], dtype, device });
  throw new RangeError(
    `Cannot load "${name}": expected ${dtype} values in "${key}", found ${
      values[wrong]
    } at ${wrong}`,
  );
}
