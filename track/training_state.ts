/** What a run needs to go on as if it had never stopped, gathered and put back. */

import {
  type Device,
  type EngineSnapshot,
  getRngState,
  type RngState,
  setRngState,
  Tensor,
  tensor,
} from "../core/mod.ts";
import type { Checkpoint } from "./checkpoint_store.ts";
import type { CheckpointContent } from "./checkpoint_file.ts";
import type { CheckpointArray, CheckpointDType, CheckpointTensor } from "./checkpoint_tensors.ts";
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

/** The part of a model that is saved: its tensors, and the draws of its layers. */
export interface ResumableModel extends WithStateDict {
  /** The tensors by key. */
  stateDict(): Readonly<Record<string, Tensor>>;
  /** The parts of the model with their paths. */
  namedModules(): readonly (readonly [string, object])[];
}

/** The part of an engine that is saved. */
export interface ResumableEngine {
  /** The counters, metrics and states of callbacks. */
  snapshot(): Promise<EngineSnapshot>;
  /** Takes back what `snapshot` gave. */
  restore(snapshot: EngineSnapshot): Promise<void>;
  /** Counters. */
  readonly state: {
    readonly globalStep: number;
    readonly epoch: number;
    readonly metrics: Readonly<Record<string, number>>;
  };
}

/** All that a run changes while it goes on. */
export interface TrainingParts {
  /** The trainer, whose callbacks save their own states. */
  readonly engine: ResumableEngine;
  /** The model; its tensors keep their own names in the file. */
  readonly model: ResumableModel;
  /**
   * All else by name: optimizer, loader, loss scaler, accumulator, averages, augmentation. What is
   * missing here begins anew when the run is resumed.
   */
  readonly parts?: Readonly<Record<string, WithStateDict | WithState | WithPosition>>;
}

/** The state of a checkpoint of a training run. */
interface SavedState {
  readonly engine: EngineSnapshot;
  readonly draws: Readonly<Record<string, number>>;
  readonly rng: RngState;
  readonly parts: Readonly<Record<string, unknown>>;
}

const SEPARATOR = "/";

/**
 * Gathers everything that a run needs to go on to the bit, in one wait for the device.
 *
 * Those are the tensors of the model, the states of the other parts, how many random numbers each
 * layer has drawn, the default stream of random numbers, and the counters, metrics and callbacks of
 * the engine. The reference device computes in double precision, which files round to f32: there a
 * resumed run goes on to that precision only. Call it between steps: in a handler of "stepEnd", "epochEnd" or "engineEnd", or where
 * the engine is idle.
 *
 * @param parts what the run consists of
 * @returns what `CheckpointStore.save` takes
 * @throws {TypeError} naming the part that has no state
 */
export async function captureTraining(parts: TrainingParts): Promise<CheckpointContent> {
  const { engine, model } = parts;
  const tensors: Record<string, Tensor> = { ...model.stateDict() };
  const saved: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(parts.parts ?? {})) {
    saved[name] = flatten(stateOf(name, part), `${name}${SEPARATOR}`, tensors);
  }
  const names = Object.keys(tensors);
  // Started together, all reads share one wait.
  const arrays = Promise.all(names.map((name) => tensors[name].data()));
  const state: SavedState = {
    engine: await engine.snapshot(),
    draws: Object.fromEntries(drawing(model).map(([path, layer]) => [path, layer.position])),
    rng: getRngState(),
    parts: saved,
  };
  const data = await arrays;
  const { globalStep: step, epoch, metrics } = engine.state;
  return {
    tensors: Object.fromEntries(names.map((name, i) => [name, onHost(tensors[name], data[i])])),
    state,
    step,
    epoch,
    metrics: { ...metrics },
  };
}

/**
 * Puts everything back that `captureTraining` gathered, into parts that were made anew in the same way.
 *
 * @param parts what the run consists of, as when it was saved
 * @param checkpoint what `CheckpointStore.load` gave
 * @throws {TypeError} if the checkpoint is of another kind, or of a run of other parts
 */
export async function restoreTraining(
  parts: TrainingParts,
  checkpoint: Pick<Checkpoint, "tensors" | "state">,
): Promise<void> {
  const { engine, model } = parts;
  const state = savedState(checkpoint.state);
  const own = parts.parts ?? {};
  sameNames("parts", Object.keys(own), Object.keys(state.parts));
  const layers = drawing(model);
  sameNames("layers that draw", layers.map(([path]) => path), Object.keys(state.draws));
  const device = Object.values(model.stateDict())[0]?.device;
  using _ = device?.scope();
  const names = Object.keys(model.stateDict());
  const missing = names.filter((name) => !Object.hasOwn(checkpoint.tensors, name));
  if (missing.length > 0) {
    throw new TypeError(
      `Cannot resume: expected tensors ${missing.join(", ")}, found none of them`,
    );
  }
  const load = (key: string) => fromHost(checkpoint.tensors[key], device);
  model.loadStateDict(Object.fromEntries(names.map((name) => [name, load(name)])) as never);
  for (const [name, part] of Object.entries(own)) {
    await putBack(part, unflatten(state.parts[name], load));
  }
  for (const [path, layer] of layers) layer.position = state.draws[path];
  await engine.restore(state.engine);
  setRngState(state.rng);
}

function savedState(state: unknown): SavedState {
  const found = state as Partial<SavedState> | null;
  const fits = typeof found === "object" && found !== null &&
    ["engine", "draws", "rng", "parts"].every((name) => Object.hasOwn(found, name));
  if (fits) return found as SavedState;
  throw new TypeError(
    `Cannot resume: expected the state of a training run, found ${describeValue(state)}`,
  );
}

function sameNames(what: string, here: readonly string[], there: readonly string[]): void {
  const [a, b] = [here, there].map((names) => [...names].sort().join(", ") || "none");
  if (a === b) return;
  throw new TypeError(`Cannot resume: expected the ${what} ${a}, found those of ${b}`);
}

/** The layers of a model that count their draws. */
function drawing(model: ResumableModel): (readonly [string, WithPosition])[] {
  return model.namedModules().flatMap(([path, module]) =>
    hasPosition(module) ? [[path, module] as const] : []
  );
}

function hasPosition(value: object): value is WithPosition {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at)) {
    const own = Object.getOwnPropertyDescriptor(at, "position");
    if (own !== undefined) return own.get !== undefined && own.set !== undefined;
  }
  return false;
}

function stateOf(name: string, part: WithStateDict | WithState | WithPosition): unknown {
  if ("stateDict" in part) return part.stateDict();
  if ("state" in part && "load" in part) return part.state();
  if (typeof part === "object" && hasPosition(part)) return part.position;
  throw new TypeError(
    `Cannot save part "${name}": expected stateDict and loadStateDict, state and load, or a position, ` +
      `found ${describeValue(part)}`,
  );
}

async function putBack(
  part: WithStateDict | WithState | WithPosition,
  state: unknown,
): Promise<void> {
  if ("stateDict" in part) await part.loadStateDict(state as never);
  else if ("state" in part && "load" in part) await part.load(state as never);
  else (part as WithPosition).position = state as number;
}

/** A state as plain data: tensors go to a table, and leave their names behind. */
function flatten(value: unknown, path: string, tensors: Record<string, Tensor>): unknown {
  if (value instanceof Tensor) {
    tensors[path] = value;
    return { $tensor: path };
  }
  if (Array.isArray(value)) {
    return value.map((item, i) => flatten(item, joined(path, `${i}`), tensors));
  }
  if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) };
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, item]) => item !== undefined)
      .map(([name, item]) => [name, flatten(item, joined(path, name), tensors)]),
  );
}

function joined(path: string, name: string): string {
  return path.endsWith(SEPARATOR) ? `${path}${name}` : `${path}.${name}`;
}

/** What `flatten` was given, with new tensors. */
function unflatten(value: unknown, load: (key: string) => Tensor): unknown {
  if (Array.isArray(value)) return value.map((item) => unflatten(item, load));
  if (typeof value !== "object" || value === null) return value;
  const { $tensor, $number } = value as { $tensor?: string; $number?: string };
  if ($tensor !== undefined) return load($tensor);
  if ($number !== undefined) return Number($number);
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, unflatten(item, load)]),
  );
}

function onHost(t: Tensor, data: ArrayLike<number>): CheckpointTensor {
  const arrays = {
    f32: Float32Array,
    f16: Float16Array,
    i32: Int32Array,
    u32: Uint32Array,
    bool: Uint8Array,
  };
  const array = arrays[t.dtype];
  const exact = data instanceof array ? data : array.from(data);
  return { shape: t.shape, dtype: t.dtype as CheckpointDType, data: exact as CheckpointArray };
}

function fromHost({ shape, dtype, data }: CheckpointTensor, device?: Device): Tensor {
  return tensor(Float64Array.from(data as ArrayLike<number>), { shape, dtype, device });
}
