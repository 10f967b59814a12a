/** Devices as users see them: memory, step scopes, and the recorder that every op hands its kernel calls to. */

import type { DeviceTraits, DType, KernelCall } from "../../kernels/types.ts";
import { DeviceError } from "../errors.ts";
import type { Backend, HostArray, MemoryStats, WorkStats } from "./backend.ts";
import { type Capture, currentCapture, VirtualBuffer } from "./capture.ts";
import {
  chooseDevice,
  DEVICE_KINDS,
  type DeviceKind,
  openChoice,
  type OpenOptions,
} from "./choose.ts";
import { ReferenceBackend } from "./reference.ts";

/** A buffer of a backend with the number of handles that use it. */
export interface Storage {
  /** Where the buffer lives. */
  readonly device: Device;
  /** What the backend calls it by; a VirtualBuffer in a step that is being captured. */
  buffer: unknown;
  /** Elements that fit. */
  readonly count: number;
  /** Type of the elements. */
  readonly dtype: DType;
  /** Tensors that use it. */
  handles: number;
  /** Counts changes in place, so that autograd can refuse changed values. */
  version: number;
  /** Says what an element belongs to, for messages. */
  describe?: (element: number) => string;
}

/** Takes kernel calls. */
export interface Recorder {
  /** Takes the next call. */
  record(call: KernelCall<unknown>): void;
}

/** What a scope may hold: anything that can give its memory back. */
export interface Releasable {
  /** Gives the memory back. */
  dispose(): void;
}

/** Everything made while a scope is open is released when it closes, except what was kept. */
export class StepScope implements Disposable {
  readonly #device: Device;
  readonly #made = new Set<Releasable>();
  #open = true;

  /**
   * Opened by `device.scope()`.
   *
   * @param device the device whose tensors it holds
   */
  constructor(device: Device) {
    this.#device = device;
  }

  /** Called for each new tensor of the device. */
  add(tensor: Releasable): void {
    this.#made.add(tensor);
  }

  /** Lets a tensor outlive the scope. */
  keep(tensor: Releasable): void {
    this.#made.delete(tensor);
  }

  /** True for a tensor that this scope will release. */
  owns(tensor: Releasable): boolean {
    return this.#made.has(tensor);
  }

  /** Releases what was made and not kept. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#device.leave(this);
    for (const tensor of this.#made) tensor.dispose();
    this.#made.clear();
  }

  /** Closes the scope at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A device that tensors live on. */
export class Device {
  readonly #backend: Backend;
  readonly #scopes: StepScope[] = [];
  readonly #storages = new WeakMap<object, Storage>();
  /** Which device it is and why, in one line: "cpu: WebAssembly SIMD, 2 threads (no WebGPU adapter was found)". */
  readonly choice: string;
  /** Counts tensors that were moved to other memory, so that captured steps notice. */
  moves = 0;
  #recorder: Recorder;

  /**
   * A device on a backend; getDevice() opens the usual ones.
   *
   * @param backend what runs the kernels
   * @param why it was chosen, in a few words
   */
  constructor(backend: Backend, why?: string) {
    this.#backend = backend;
    this.choice = `${backend.kind}: ${backend.name}${why === undefined ? "" : ` (${why})`}`;
    this.#recorder = { record: (call) => backend.run(call) };
  }

  /** "webgpu", "cpu" or "reference". */
  get kind(): string {
    return this.#backend.kind;
  }

  /** The adapter, or what else computes, in words. */
  get name(): string {
    return this.#backend.name;
  }

  /** What kernels may rely on. */
  get traits(): DeviceTraits {
    return this.#backend.traits;
  }

  /** What runs the kernels. */
  get backend(): Backend {
    return this.#backend;
  }

  /** A new buffer with one handle. */
  allocate(count: number, dtype: DType, label: string): Storage {
    const capture = this.#capture();
    const virtual = capture !== null;
    const buffer = virtual
      ? new VirtualBuffer(count, dtype, label)
      : this.#backend.allocate(count, dtype, label);
    const storage = { device: this, buffer, count, dtype, handles: 1, version: 0 };
    if (virtual) capture.allocated(storage);
    else this.#storages.set(buffer as object, storage);
    return storage;
  }

  /** Drops a handle; the last one gives the buffer back. */
  release(storage: Storage): void {
    if (--storage.handles > 0 || storage.buffer instanceof VirtualBuffer) return;
    this.#backend.free(storage.buffer);
  }

  /** Gives memory to a buffer that was only a name. */
  materialize(storage: Storage): void {
    const { data, dtype, label } = storage.buffer as VirtualBuffer;
    storage.buffer = this.#backend.allocate(storage.count, dtype, label);
    this.#storages.set(storage.buffer as object, storage);
    if (data !== null) this.#backend.write(storage.buffer, 0, dtype, data);
  }

  /** The memory that a buffer in use belongs to. */
  storageOf(buffer: unknown): Storage {
    const storage = this.#storages.get(buffer as object);
    if (storage === undefined) throw new Error("internal: a buffer that no tensor holds");
    return storage;
  }

  /** Copies host elements into memory from its first element on. */
  write(storage: Storage, data: HostArray): void {
    const { buffer, dtype } = storage;
    if (buffer instanceof VirtualBuffer) buffer.data = data.slice();
    else this.#backend.write(buffer, 0, dtype, data);
  }

  /** Hands a kernel call to whoever records. */
  record(call: KernelCall<unknown>): void {
    const capture = this.#capture();
    if (capture !== null) capture.record(call);
    else this.#recorder.record(call);
  }

  /** The capture that takes the work of this device; work that it could not replay is refused. */
  #capture(): Capture | null {
    const capture = currentCapture();
    if (capture !== null && capture.device !== this) {
      capture.refuse(`use ${this.kind} device work`, "it belongs to another device");
    }
    return capture;
  }

  /**
   * Sends kernel calls elsewhere until the returned function is called; for tests and tools that count them.
   *
   * @param recorder who takes the calls meanwhile
   */
  intercept(recorder: Recorder): () => void {
    const previous = this.#recorder;
    this.#recorder = recorder;
    return () => {
      this.#recorder = previous;
    };
  }

  /** Opens a scope: tensors made until it closes are released then, unless they are kept. */
  scope(): StepScope {
    const scope = new StepScope(this);
    this.#scopes.push(scope);
    return scope;
  }

  /** The innermost open scope. */
  get currentScope(): StepScope | null {
    return this.#scopes.at(-1) ?? null;
  }

  /** All open scopes, the innermost last. */
  get scopes(): readonly StepScope[] {
    return this.#scopes;
  }

  /** Takes a closed scope off the stack. */
  leave(scope: StepScope): void {
    const at = this.#scopes.lastIndexOf(scope);
    if (at >= 0) this.#scopes.splice(at, 1);
  }

  /** Hands recorded work to the device without waiting. */
  flush(): void {
    this.#backend.flush();
  }

  /** Resolves when the device has done everything so far; costs about as much as a read. */
  sync(): Promise<void> {
    currentCapture()?.refuse("wait for the device");
    return this.#backend.sync();
  }

  /** Buffers and bytes in use. */
  memory(): MemoryStats {
    return this.#backend.memory();
  }

  /** Counts of dispatches, submissions and objects since the start. */
  work(): WorkStats {
    return this.#backend.work();
  }

  /** Gives the device back; its tensors cannot be used any more. */
  close(): void {
    this.#backend.close();
    if (defaultDevice === this) defaultDevice = null;
    for (const [kind, device] of settled) {
      if (device !== this) continue;
      settled.delete(kind);
      opened.delete(kind);
    }
  }
}

/** What kind of device is wanted. */
export interface DeviceOptions {
  /**
   * "auto" takes WebGPU on a hardware adapter and the CPU where there is none, unless the environment variable `LEGOML_DEVICE`
   * names another kind; "webgpu" takes the best adapter, hardware or software; "cpu" computes with WebAssembly on the cores of
   * the machine; "reference" is the slow f64 reference. @default {"auto"}
   */
  readonly kind?: DeviceKind;
  /** Bytes that tensors may take in all. @default {4 GiB} */
  readonly memoryBudget?: number;
  /**
   * Threads of a CPU device, the calling one included; other devices have no use for it. Results do not depend on it.
   * @default {`LEGOML_THREADS`, or one for each core, at most 16}
   */
  readonly threads?: number;
}

let defaultDevice: Device | null = null;
/** Devices by the kinds that lead to them. */
const opened = new Map<DeviceKind, Promise<Device>>();
/** Those that are there already. */
const settled = new Map<DeviceKind, Device>();

/**
 * The device of a kind, opened once; it becomes the default of `tensor()` and of layers. `device.choice` says which it is and
 * why.
 *
 * @param options kind, memory budget and threads; the latter count at the first call for a kind
 * @returns the device
 * @throws {DeviceError} if there is no such device
 * @throws {RangeError} if an option, or `LEGOML_DEVICE` or `LEGOML_THREADS` where they count, is none that can be used
 *
 * @example
 * ```ts
 * import { getDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = await getDevice({ kind: "reference" });
 * assertEquals(device.choice, "reference: f64 reference (asked for)");
 * ```
 */
export async function getDevice(options: DeviceOptions = {}): Promise<Device> {
  const { kind = "auto", memoryBudget = 4 * 2 ** 30, threads } = options;
  if (!DEVICE_KINDS.includes(kind)) {
    throw new RangeError(
      `Cannot get a device of kind "${kind}": expected auto, webgpu, cpu or reference`,
    );
  }
  if (!(memoryBudget > 0)) {
    throw new RangeError(
      `Cannot get a device with memoryBudget ${memoryBudget}: expected bytes above 0`,
    );
  }
  defaultDevice = await once(kind, () => open(kind, { memoryBudget, threads }));
  settled.set(kind, defaultDevice);
  return defaultDevice;
}

/** What a kind leads to, opened by the first who asks. */
function once(kind: DeviceKind, make: () => Promise<Device>): Promise<Device> {
  let device = opened.get(kind);
  if (device === undefined) {
    device = make();
    opened.set(kind, device);
    device.then((made) => settled.set(kind, made), () => opened.delete(kind));
  }
  return device;
}

async function open(kind: DeviceKind, options: OpenOptions): Promise<Device> {
  const choice = await chooseDevice(kind);
  const make = async () => new Device(await openChoice(choice, options), choice.why);
  return kind === "auto" ? once(choice.kind, make) : make();
}

/** A new device that computes in double precision on plain loops; for tests and gradient checks. */
export function referenceDevice(): Device {
  return new Device(new ReferenceBackend());
}

/**
 * The device given, or else the default one.
 *
 * @throws {DeviceError} if there is none yet
 */
export function deviceOr(device: Device | undefined): Device {
  const chosen = device ?? defaultDevice;
  if (chosen === null) {
    throw new DeviceError(
      "Cannot choose a device: none is open; await getDevice() first, or pass { device }",
    );
  }
  return chosen;
}

/** Makes a device the default, or takes the default away with null; returns the previous one. */
export function setDefaultDevice(device: Device | null): Device | null {
  const previous = defaultDevice;
  defaultDevice = device;
  return previous;
}
