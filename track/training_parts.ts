/** The parts of a training run that are saved, and their states as plain data beside tensors. */

import { Tensor } from "../core/mod.ts";
import type { CheckpointTensor } from "./checkpoint_tensors.ts";
import { describeValue } from "./json_values.ts";

/** Something whose state holds tensors, such as an optimizer. */
export interface WithStateDict {
  /** The state: tensors, numbers and texts, in plain objects and lists. */
  stateDict(): unknown;
  /** Takes back what `stateDict` gave. */
  loadStateDict(state: never): unknown;
}

/** Something whose state is plain data, such as a loader. */
export interface WithState {
  /** The state, as JSON values. */
  state(): unknown;
  /** Takes back what `state` gave. */
  load(state: never): unknown;
}

/** Something that counts its draws of random numbers, such as an augmentation. */
export interface WithPosition {
  /** The number of the next draw. */
  position: number;
}

/** Whatever can be saved under a name. */
export type TrainingPart = WithStateDict | WithState | WithPosition;

/** The tensors of a state: on a device, and lists of numbers that are stored as tensors. */
export interface StateTensors {
  /** Living tensors by the name in the file. */
  readonly live: Record<string, Tensor>;
  /** Long lists of numbers, as the words of their f64. */
  readonly packed: Record<string, CheckpointTensor>;
}

/** Separates the name of a part from what is in it, in the names of tensors. */
export const SEPARATOR = "/";

/** Lists of at least so many numbers go to a tensor: as JSON they would be three times as long. */
const PACKED_LENGTH = 1024;

/**
 * The state of a part.
 *
 * @throws {TypeError} if it is no part
 */
export function stateOf(name: string, part: TrainingPart): unknown {
  if (typeof part === "object" && part !== null) {
    if ("stateDict" in part) return part.stateDict();
    if ("state" in part && "load" in part) return part.state();
    if (hasPosition(part)) return part.position;
  }
  throw new TypeError(
    `Cannot save part "${name}": expected stateDict and loadStateDict, state and load, or a position, ` +
      `found ${describeValue(part)}`,
  );
}

/** Gives a part the state that `stateOf` gave. */
export async function loadPart(part: TrainingPart, state: unknown): Promise<void> {
  if ("stateDict" in part) await part.loadStateDict(state as never);
  else if ("state" in part && "load" in part) await part.load(state as never);
  else part.position = state as number;
}

/** Whether something counts draws: a position that is read and set by a getter and a setter. */
export function hasPosition(value: object): value is WithPosition {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at)) {
    const own = Object.getOwnPropertyDescriptor(at, "position");
    if (own !== undefined) return own.get !== undefined && own.set !== undefined;
  }
  return false;
}

/**
 * A state as plain data: tensors and long lists of numbers go to tables, and leave their names behind.
 *
 * @param value the state
 * @param path what the names of its tensors start with
 * @param tensors the tables
 * @throws {TypeError} if two tensors have one name
 */
export function flatten(value: unknown, path: string, tensors: StateTensors): unknown {
  if (value instanceof Tensor) return { $tensor: put(tensors.live, path, value, tensors) };
  if (isLongList(value)) return { $numbers: put(tensors.packed, path, packed(value), tensors) };
  if (Array.isArray(value)) {
    return value.map((item, i) => flatten(item, joined(path, `${i}`), tensors));
  }
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { $number: Object.is(value, -0) ? "-0" : String(value) };
  }
  if (!isPlain(value)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, item]) => item !== undefined)
      .map(([name, item]) => [name, flatten(item, joined(path, name), tensors)]),
  );
}

/** Where `unflatten` finds what a state has left in tables. */
export interface TensorSource {
  /** Makes the living tensor of a name. */
  live(name: string): Tensor;
  /** The stored words of a name. */
  packed(name: string): CheckpointTensor;
}

/** What `flatten` was given, with new tensors. */
export function unflatten(value: unknown, source: TensorSource): unknown {
  if (Array.isArray(value)) return value.map((item) => unflatten(item, source));
  if (typeof value !== "object" || value === null) return value;
  const { $tensor, $number, $numbers } = value as Record<string, string | undefined>;
  if ($tensor !== undefined) return source.live($tensor);
  if ($numbers !== undefined) return unpacked(source.packed($numbers));
  if ($number !== undefined) return Number($number);
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, unflatten(item, source)]),
  );
}

/** The names of the tensors that a flattened state refers to. */
export function tensorNames(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  const { $tensor, $numbers } = value as Record<string, unknown>;
  const own = [$tensor, $numbers].filter((name) => typeof name === "string");
  return own.length > 0 ? own : Object.values(value).flatMap(tensorNames);
}

function put<T>(table: Record<string, T>, name: string, value: T, all: StateTensors): string {
  if (Object.hasOwn(all.live, name) || Object.hasOwn(all.packed, name)) {
    throw new TypeError(
      `Cannot save a checkpoint: expected each tensor under a name of its own, found "${name}" twice`,
    );
  }
  table[name] = value;
  return name;
}

function isLongList(value: unknown): value is number[] {
  return Array.isArray(value) && value.length >= PACKED_LENGTH &&
    value.every((item) => typeof item === "number");
}

function packed(values: number[]): CheckpointTensor {
  const data = new Uint32Array(Float64Array.from(values).buffer);
  return { shape: [values.length, 2], dtype: "u32", data };
}

function unpacked({ data }: CheckpointTensor): number[] {
  return Array.from(new Float64Array(Uint32Array.from(data as ArrayLike<number>).buffer));
}

/** Objects of a class are left to the check of what JSON can hold, which names them. */
function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function joined(path: string, name: string): string {
  return path.endsWith(SEPARATOR) ? `${path}${name}` : `${path}.${name}`;
}
