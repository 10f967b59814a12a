/** Captured steps: the device work of a function is kept at its first call and replayed at the next ones. */

import { currentCapture, VirtualBuffer } from "../backend/capture.ts";
import { type Device, deviceOr, type Storage } from "../backend/device.ts";
import { CaptureError } from "../errors.ts";
import { Program } from "../program/program.ts";
import { Recording } from "../program/recording.ts";
import { type Root, signature } from "./signature.ts";
import { mapTensors, tensorsIn } from "./structure.ts";
import { isGradEnabled } from "./tape.ts";
import { Tensor, type ViewSpec } from "./tensor.ts";
import { Verification } from "./verify.ts";

/** How a function is captured. */
export interface JitOptions {
  /**
   * Compare so many replays with the same step run op by op from the same state, bit for bit.
   * @default {0}
   */
  readonly verify?: number;
  /** Captures kept side by side; the one that was not used for longest goes. @default {16} */
  readonly maxPrograms?: number;
  /** Where the function works, if no argument is a tensor. @default {the default device} */
  readonly device?: Device;
}

/** What a captured function has done so far. */
export interface JitStats {
  /** Captures made. */
  readonly captures: number;
  /** Replays, first runs of captures included. */
  readonly replays: number;
  /** Kernel calls of a replay of the latest program. */
  readonly dispatches: number;
  /** Bytes of intermediate values that the latest program holds. */
  readonly plannedBytes: number;
  /** The most bytes of intermediate values that live at once in it: no plan can do with less. */
  readonly leastBytes: number;
}

/** A function whose device work is captured. */
export interface Jitted<A extends readonly unknown[], R> {
  (...args: A): R;
  /** The function itself, run op by op. */
  readonly eager: (...args: A) => R;
  /** Counts of captures and replays, and the size of the latest capture. */
  stats(): JitStats;
  /** Waits for the comparisons asked for by `verify`. @throws {ReplayMismatchError} if one has failed */
  verified(): Promise<void>;
  /** Forgets all captures and gives their memory back. */
  reset(): void;
}

/** Where a result of the function lies. */
interface ResultPlace {
  readonly from: "input" | "result" | "elsewhere";
  readonly index: number;
  readonly view: ViewSpec;
  readonly storage: Storage;
}

/** A capture with what leads from its results to those of a replay. */
interface Variant {
  readonly program: Program;
  readonly template: unknown;
  readonly places: ReadonlyMap<Tensor, ResultPlace>;
}

/**
 * Captures a function: the first call for each kind of arguments records its kernel calls, plans them (dead calls removed, equal
 * calls merged, elementwise work fused, memory shared) and runs the plan; later calls only replay it.
 *
 * Arguments are tensors, and arrays, plain objects and batches that hold tensors; of anything else (an engine, a context, a number)
 * it counts which one it is. New shapes, dtypes or other arguments are captured once more and kept beside the others. Results are
 * tensors, arrays, plain objects and step outputs; they are new at every call and have no history.
 *
 * Device state is live: parameters, optimizer slots, running statistics, learning rates, dropout positions and step numbers go on
 * as without capture, and `train()`, `eval()`, `zeroGrad()` or a frozen parameter lead to a capture of their own. Plain JavaScript
 * values that the function reads from elsewhere are frozen; `verify` shows where that matters. Reading a tensor inside is an error.
 *
 * @param fn the function; synchronous
 * @param options comparison with the uncaptured function, number of captures kept
 * @returns the captured function
 * @throws {CaptureError} at a call, if the function reads a value or keeps a tensor that it made
 *
 * @example
 * ```ts
 * import { jit, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const w = tensor([1, 2], { device, requiresGrad: true });
 * const optimizer = new SGD([w], { lr: 0.1 });
 * const step = jit((x: typeof w) => {
 *   const loss = w.mul(x).square().sum();
 *   optimizer.zeroGrad();
 *   loss.backward();
 *   optimizer.step();
 *   return loss;
 * });
 * const x = tensor([1, 1], { device });
 * step(x);
 * assertAlmostEquals(await step(x).item(), 0.8 ** 2 + 1.6 ** 2, 1e-6);
 * ```
 */
export function jit<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options: JitOptions = {},
): Jitted<A, R> {
  const { verify = 0, maxPrograms = 16, device } = options;
  for (
    const [name, value, least] of [["verify", verify, 0], ["maxPrograms", maxPrograms, 1]] as const
  ) {
    if (!Number.isInteger(value) || value < least) {
      throw new RangeError(
        `Cannot jit with ${name} ${value}: expected an integer of at least ${least}`,
      );
    }
  }
  const captures = new Captures(
    fn as (...args: readonly unknown[]) => unknown,
    { verify, maxPrograms, device },
  );
  const call = (...args: A): R =>
    // A captured function inside another one is part of it.
    currentCapture() === null ? captures.call(args) as R : fn(...args);
  return Object.assign(call, {
    eager: fn,
    stats: () => captures.stats(),
    verified: () => captures.verification.done(),
    reset: () => captures.reset(),
  });
}

/** The programs of one function. */
class Captures {
  readonly verification: Verification;
  readonly #fn: (...args: readonly unknown[]) => unknown;
  readonly #most: number;
  readonly #device: Device | undefined;
  /** By signature of the arguments, the latest used last; so are the variants of each. */
  readonly #variants = new Map<string, Variant[]>();
  #latest: Program | null = null;
  #captures = 0;
  #replays = 0;
  #warned = false;

  constructor(
    fn: (...args: readonly unknown[]) => unknown,
    { verify, maxPrograms, device }: { verify: number; maxPrograms: number; device?: Device },
  ) {
    this.#fn = fn;
    this.#most = maxPrograms;
    this.#device = device;
    this.verification = new Verification(verify);
  }

  call(args: readonly unknown[]): unknown {
    this.verification.check();
    const { key, roots, rootOf } = signature(args, isGradEnabled());
    const device = roots[0]?.storage.device ?? deviceOr(this.#device);
    const list = this.#variants.get(key) ?? [];
    let variant = list.find(({ program }) => program.device === device && program.holds());
    const fresh = variant === undefined;
    if (variant === undefined) {
      variant = captureStep(this.#fn, args, device, roots, rootOf);
      this.#captures++;
    } else list.splice(list.indexOf(variant), 1);
    const { program } = variant;
    try {
      program.checkInputs(roots);
    } catch (error) {
      if (fresh) program.abandon();
      else list.push(variant);
      throw error;
    }
    if (fresh) this.#makeRoom();
    list.push(variant);
    this.#variants.delete(key);
    this.#variants.set(key, list);
    this.#latest = program;
    this.#replays++;
    const replay = () => results(variant, device, roots);
    if (fresh || this.verification.isOver) return replay();
    const changed = program.changed(roots);
    return this.verification.compare(program, changed, replay, () => this.#fn(...args));
  }

  stats(): JitStats {
    return {
      captures: this.#captures,
      replays: this.#replays,
      dispatches: this.#latest?.dispatches ?? 0,
      plannedBytes: this.#latest?.memory.plannedBytes ?? 0,
      leastBytes: this.#latest?.memory.leastBytes ?? 0,
    };
  }

  reset(): void {
    for (const list of this.#variants.values()) for (const { program } of list) program.dispose();
    this.#variants.clear();
    this.#latest = null;
  }

  #makeRoom(): void {
    let count = 0;
    for (const list of this.#variants.values()) count += list.length;
    if (count < this.#most) return;
    const [[oldest, list]] = this.#variants;
    list.shift()!.program.dispose();
    if (list.length === 0) this.#variants.delete(oldest);
    if (this.#warned) return;
    this.#warned = true;
    console.warn(
      `jit: more than ${this.#most} kinds of arguments; captures that were not used for long are forgotten. ` +
        "Pass what changes as tensors, or raise maxPrograms",
    );
  }
}

/** Runs a function over tensors without memory, and plans what it would do. */
function captureStep(
  fn: (...args: readonly unknown[]) => unknown,
  args: readonly unknown[],
  device: Device,
  roots: readonly Root[],
  rootOf: ReadonlyMap<Tensor, number>,
): Variant {
  const recording = new Recording(device);
  using scope = device.scope();
  const inputs = roots.map(({ storage }): Storage => {
    const { count, dtype } = storage;
    const buffer = new VirtualBuffer(count, dtype, "argument");
    return { device, buffer, count, dtype, handles: 1, version: 0 };
  });
  const standIns: Tensor[] = [];
  const own = args.map((value) =>
    mapTensors(value, (tensor) => {
      const index = rootOf.get(tensor)!;
      const standIn = standInFor(tensor, inputs[index], roots[index].base);
      standIns.push(standIn);
      return standIn;
    })
  );
  const template = recording.run(() => fn(...own));
  const fail = (reason: string): never => {
    recording.abandon();
    throw new CaptureError(`Cannot capture a step that ${reason}`);
  };
  if (template instanceof Promise) {
    fail("is asynchronous: expected a function that returns at once");
  }
  if (standIns.some((tensor) => tensor.grad !== null)) {
    fail(
      "leaves a gradient in an argument: use grad() and return it, or use the tensor without passing it",
    );
  }
  const made: Storage[] = [];
  const places = new Map(
    tensorsIn(template).map((tensor) => [tensor, placeOf(tensor, inputs, made, recording)]),
  );
  scope.close();
  if (inputs.some((storage) => storage.handles > 1)) {
    fail("keeps an argument, which is other memory at every call: return it, or keep it outside");
  }
  const lost = recording.made.find((s) => s.handles > 0 && !recording.kept.has(s));
  if (lost !== undefined) {
    fail(
      `keeps a tensor that it made ("${
        (lost.buffer as VirtualBuffer).label
      }"): return it, or change one made outside in place`,
    );
  }
  return { program: new Program(recording, inputs, made), template, places };
}

function standInFor(tensor: Tensor, storage: Storage, base: number): Tensor {
  const { shape, strides, offset, requiresGrad } = tensor;
  storage.handles++;
  const standIn = new Tensor(storage, { shape, strides, offset: offset - base });
  if (requiresGrad) standIn.requiresGrad = true;
  return standIn;
}

function placeOf(
  tensor: Tensor,
  inputs: readonly Storage[],
  made: Storage[],
  recording: Recording,
): ResultPlace {
  const { storage, shape, strides, offset } = tensor;
  const view = { shape, strides, offset };
  const input = inputs.indexOf(storage);
  if (input >= 0) return { from: "input", index: input, view, storage };
  if (!recording.made.includes(storage) || recording.kept.has(storage)) {
    recording.hold(storage);
    return { from: "elsewhere", index: -1, view, storage };
  }
  let index = made.indexOf(storage);
  if (index < 0) index = made.push(storage) - 1;
  return { from: "result", index, view, storage };
}

/** Replays a step and hands its results out as new tensors. */
function results(
  { program, template, places }: Variant,
  device: Device,
  roots: readonly Root[],
): unknown {
  const made = program.replay(roots);
  const exchanged = new Map<Tensor, Tensor>();
  for (const [old, { from, index, view, storage }] of places) {
    const home = from === "result"
      ? made[index]
      : from === "input"
      ? roots[index].storage
      : storage;
    const shift = from === "input" ? roots[index].base : 0;
    home.handles++;
    exchanged.set(old, new Tensor(home, { ...view, offset: view.offset + shift }));
  }
  for (const storage of made) device.release(storage);
  return mapTensors(template, (tensor) => exchanged.get(tensor)!);
}
