/** What a run needs to go on as if it had never stopped, gathered and put back. */

import {
  type Device,
  type EngineSnapshot,
  getRngState,
  type RngState,
  setRngState,
  type Tensor,
  tensor,
} from "../core/mod.ts";
import type { CheckpointContent } from "./checkpoint_file.ts";
import type { Checkpoint } from "./checkpoint_store.ts";
import type { CheckpointArray, CheckpointDType, CheckpointTensor } from "./checkpoint_tensors.ts";
import { describeValue } from "./json_values.ts";
import {
  flatten,
  hasPosition,
  loadPart,
  SEPARATOR,
  stateOf,
  type StateTensors,
  tensorNames,
  type TensorSource,
  type TrainingPart,
  unflatten,
  type WithPosition,
  type WithStateDict,
} from "./training_parts.ts";

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
  /** Whether it runs; a running engine cannot be resumed. */
  readonly running?: boolean;
  /** Its callbacks; those that have `parts` of their own bring them along. */
  readonly callbacks?: readonly object[];
}

/** All that a run changes while it goes on. */
export interface TrainingParts {
  /** The trainer, whose callbacks save their own states and parts. */
  readonly engine: ResumableEngine;
  /** The model; its tensors keep their own names in the file. */
  readonly model: ResumableModel;
  /**
   * All else by name: optimizer, loader, loss scaler, accumulator, augmentation. What is missing
   * here begins anew when the run is resumed.
   */
  readonly parts?: Readonly<Record<string, TrainingPart>>;
}

/** The state of a checkpoint of a training run. */
interface SavedState {
  readonly engine: EngineSnapshot;
  readonly draws: Readonly<Record<string, number>>;
  readonly rng: RngState;
  readonly parts: Readonly<Record<string, unknown>>;
}

/** A tensor on the host, in the numbers that the device gave. */
interface HostTensor extends Omit<CheckpointTensor, "data"> {
  readonly data: ArrayLike<number>;
}

interface Gathered {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly state: SavedState;
}

/** Something that is put back, and can be undone. */
type Move = (from: Gathered) => unknown;

/**
 * Gathers everything that a run needs to go on to the bit, in one wait for the device.
 *
 * Those are the tensors of the model, the states of the other parts, how many random numbers each
 * layer has drawn, the default stream of random numbers, and the counters, metrics and callbacks of
 * the engine. The reference device computes in double precision, which files round to f32: there a
 * resumed run goes on to that precision only. Call it between steps: in a handler of "stepEnd",
 * "epochEnd" or "engineEnd", or where the engine is idle.
 *
 * @param parts what the run consists of
 * @returns what `CheckpointStore.save` takes
 * @throws {TypeError} naming the part that has no state
 */
export async function captureTraining(parts: TrainingParts): Promise<CheckpointContent> {
  const { tensors, state } = await gather(parts);
  const { globalStep: step, epoch, metrics } = parts.engine.state;
  return {
    tensors: Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, inFile(t)])),
    state,
    step,
    epoch,
    metrics: { ...metrics },
  };
}

/**
 * Puts everything back that `captureTraining` gathered, into parts that were made anew in the same
 * way. What can be told beforehand is checked before anything changes: the parts, the callbacks, the
 * names, shapes and types of all tensors. Where a part then refuses its state, everything gets back
 * the state that it had.
 *
 * @param parts what the run consists of, as when it was saved
 * @param checkpoint what `CheckpointStore.load` gave
 * @throws {TypeError} if the checkpoint is of another kind, or of a run of other parts
 * @throws {Error} what a part throws that does not take its state
 * @throws {AggregateError} if one refuses, and another one does not take its old state back
 */
export async function restoreTraining(
  parts: TrainingParts,
  checkpoint: Pick<Checkpoint, "tensors" | "state">,
): Promise<void> {
  if (parts.engine.running) {
    throw new Error("Cannot resume: expected an idle engine, found it running");
  }
  const wanted = { tensors: checkpoint.tensors, state: savedState(checkpoint.state) };
  const own = partsOf(parts);
  const layers = drawing(parts.model);
  sameNames("parts", Object.keys(own), Object.keys(wanted.state.parts));
  sameNames("layers that draw", layers.map(([path]) => path), Object.keys(wanted.state.draws));
  const device = Object.values(parts.model.stateDict())[0]?.device;
  using _ = device?.scope();
  const before = await gather(parts);
  checkAgainst(before, wanted, parts.model);
  await moveAll(movesOf(parts, own, layers, device), before, wanted);
}

async function gather(parts: TrainingParts): Promise<Gathered> {
  const { engine, model } = parts;
  const tables: StateTensors = { live: { ...model.stateDict() }, packed: {} };
  const saved: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(partsOf(parts))) {
    saved[name] = flatten(stateOf(name, part), `${name}${SEPARATOR}`, tables);
  }
  const live = Object.entries(tables.live);
  // Started together, all reads share one wait.
  const reads = Promise.all(live.map(([, t]) => t.data()));
  // And together they are waited for: an error of either has a listener from the start.
  const [snapshot, values] = await Promise.all([engine.snapshot(), reads]);
  const callbacks: StateTensors = { live: {}, packed: tables.packed };
  const state: SavedState = {
    engine: flatten(snapshot, `engine${SEPARATOR}`, callbacks) as EngineSnapshot,
    draws: Object.fromEntries(drawing(model).map(([path, layer]) => [path, layer.position])),
    rng: getRngState(),
    parts: saved,
  };
  const own = Object.entries(callbacks.live);
  const more = await Promise.all(own.map(([, t]) => t.data()));
  const read = [...live, ...own].map(([name, { shape, dtype }], i) => {
    const data = [...values, ...more][i];
    return [name, { shape, dtype: dtype as CheckpointDType, data }] as const;
  });
  return { tensors: { ...Object.fromEntries(read), ...tables.packed }, state };
}

/** The parts that were named, and those that callbacks bring along. */
function partsOf({ engine, parts = {} }: TrainingParts): Record<string, TrainingPart> {
  const all = { ...parts };
  for (const callback of engine.callbacks ?? []) {
    const { parts: own, name } = callback as { parts?: TrainingParts["parts"]; name?: string };
    for (const [part, value] of Object.entries(own ?? {})) {
      const base = `${name ?? callback.constructor.name}.${part}`;
      let key = base;
      for (let n = 2; Object.hasOwn(all, key); n++) key = `${base} ${n}`;
      all[key] = value;
    }
  }
  return all;
}

function movesOf(
  { engine, model }: TrainingParts,
  parts: Readonly<Record<string, TrainingPart>>,
  layers: readonly (readonly [string, WithPosition])[],
  device: Device | undefined,
): Move[] {
  const sourceOf = ({ tensors }: Gathered): TensorSource => ({
    live: (name) => onDevice(tensors[name], device),
    packed: (name) => tensors[name] as CheckpointTensor,
  });
  const ofModel: Move = (from) => {
    const { live } = sourceOf(from);
    const named = Object.keys(model.stateDict()).map((name) => [name, live(name)]);
    return model.loadStateDict(Object.fromEntries(named) as never);
  };
  const ofParts = Object.entries(parts).map(([name, part]): Move => (from) =>
    loadPart(part, unflatten(from.state.parts[name], sourceOf(from)))
  );
  const ofDraws: Move = ({ state }) => {
    for (const [path, layer] of layers) layer.position = state.draws[path];
  };
  const ofEngine: Move = (from) =>
    engine.restore(unflatten(from.state.engine, sourceOf(from)) as EngineSnapshot);
  const ofRng: Move = ({ state }) => setRngState(state.rng);
  return [ofModel, ...ofParts, ofDraws, ofRng, ofEngine];
}

/** Makes all moves; where one fails, those that were begun get back what they had. */
async function moveAll(moves: readonly Move[], before: Gathered, wanted: Gathered): Promise<void> {
  const begun: Move[] = [];
  try {
    for (const move of moves) {
      begun.push(move);
      await move(wanted);
    }
  } catch (error) {
    const late: unknown[] = [];
    for (const move of begun.reverse()) {
      try {
        await move(before);
      } catch (second) {
        late.push(second);
      }
    }
    if (late.length === 0) throw error;
    const [first, ...more] = [error, ...late].map((e) => e instanceof Error ? e.message : `${e}`);
    throw new AggregateError(
      [error, ...late],
      `${first}; and the state before cannot be put back: ${more.join("; ")}`,
    );
  }
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

/** What can be told of a checkpoint before anything changes. */
function checkAgainst(before: Gathered, wanted: Gathered, model: ResumableModel): void {
  const callbacks = [before, wanted].map(({ state }) => Object.keys(state.engine.callbacks ?? {}));
  sameNames("states of the callbacks", callbacks[0], callbacks[1]);
  const own = Object.keys(model.stateDict());
  const known = new Set([...own, ...tensorNames(wanted.state)]);
  const problems = [
    ...[...known].filter((name) => !Object.hasOwn(wanted.tensors, name))
      .map((name) => `no tensor "${name}"`),
    ...Object.keys(wanted.tensors).filter((name) => !known.has(name))
      .map((name) => `a tensor "${name}" without a place`),
    ...own.flatMap((name) => misfit(name, before.tensors[name], wanted.tensors[name])),
  ];
  if (problems.length === 0) return;
  throw new TypeError(
    `Cannot resume: expected the ${own.length} tensors of the model, found ${problems.join(", ")}`,
  );
}

function misfit(name: string, here: HostTensor, there: HostTensor | undefined): string[] {
  if (there === undefined) return [];
  const [a, b] = [here, there].map(({ dtype, shape }) => `${dtype} [${shape.join(", ")}]`);
  return a === b ? [] : [`"${name}" as ${b} in place of ${a}`];
}

/** The layers of a model that count their draws. */
function drawing(model: ResumableModel): (readonly [string, WithPosition])[] {
  return model.namedModules().flatMap(([path, module]) =>
    hasPosition(module) ? [[path, module] as const] : []
  );
}

/** A tensor in the numbers of its type, as files hold it. */
function inFile({ shape, dtype, data }: HostTensor): CheckpointTensor {
  const arrays = {
    f32: Float32Array,
    f16: Float16Array,
    i32: Int32Array,
    u32: Uint32Array,
    bool: Uint8Array,
  };
  const array = arrays[dtype];
  const exact = data instanceof array ? data : array.from(data);
  return { shape, dtype, data: exact as CheckpointArray };
}

function onDevice({ shape, dtype, data }: HostTensor, device?: Device): Tensor {
  return tensor(Float64Array.from(data), { shape, dtype, device });
}
