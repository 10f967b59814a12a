/** What happened while a device was watched: kernels with their times, submissions and waits. */

import { kernelLabel } from "../../kernels/label.ts";
import { bytesPerElement, type Kernel, type KernelCall } from "../../kernels/types.ts";
import type { Backend } from "./backend.ts";
import type { PoolBuffer } from "./pool.ts";
import { firstTime, type PassTimes, passTimes } from "./timestamps.ts";

/** A stretch of time on the host, in milliseconds of `performance.now()`. */
export interface HostSpan {
  /** When it began. */
  readonly start: number;
  /** When it ended. */
  readonly end: number;
}

/** One kernel call that ran. */
export interface DispatchRecord {
  /** What ran. */
  readonly kernel: Kernel;
  /** Bytes of its operands. */
  readonly bytes: number;
  /** When the host encoded it. */
  readonly host: HostSpan;
  /** When it started on the device, in µs after the first one; null where passes cannot be timed. */
  start: number | null;
  /** How long it took on the device, in µs; null where passes cannot be timed. */
  duration: number | null;
}

/** What a device did between start and stop. */
export interface Profile {
  /** Why no kernel has a time; null where they have. */
  readonly untimed: string | null;
  readonly dispatches: readonly DispatchRecord[];
  readonly submits: readonly HostSpan[];
  readonly waits: readonly HostSpan[];
}

/** What is thrown where a second profile is started. */
export const RUNNING = "Cannot start a profile: one of this device is running";
/** What is thrown where a profile is stopped twice. */
export const STOPPED = "Cannot stop a profile: it was stopped before";

/** A profile that is being taken. */
export interface ProfileRecording {
  /** Ends it and reads the times. */
  stop(): Promise<Profile>;
}

/** What a backend offers that can time its kernels. */
export interface Profilable {
  /** Times every kernel call until the recording is stopped. */
  startProfile(): ProfileRecording;
  /** Milliseconds so far in which reads waited for the device. */
  readonly waitedMs: number;
}

/** Bytes of the operands of a call. */
export function bytesOf(call: KernelCall<unknown>): number {
  const { kernel, inputs, outputs } = call;
  let bytes = 0;
  inputs.forEach((o, i) => bytes += o.size * bytesPerElement(kernel.inputs[i]));
  outputs.forEach((o, i) => bytes += o.size * bytesPerElement(kernel.outputs[i]));
  return bytes;
}

/** A kernel call with its time and rates, for people. */
export function dispatchText({ kernel, bytes, duration }: DispatchRecord): string {
  const label = kernelLabel(kernel);
  if (duration === null) return `${label}  not timed: the adapter has no timestamp queries`;
  const rate = (amount: number) => (amount / duration / 1000).toFixed(2);
  const flops = kernel.flops === undefined ? "" : `  ${rate(kernel.flops)} GFLOP/s`;
  return `${label}  ${duration.toFixed(1)} µs${flops}  ${rate(bytes)} GB/s`;
}

interface Chunk {
  readonly buffer: GPUBuffer;
  readonly records: readonly DispatchRecord[];
}

/** Takes the time of every kernel call of a WebGPU device, each in a pass of its own. */
export class DispatchTimer {
  readonly #times: PassTimes | null;
  readonly #read: (buffer: GPUBuffer, offset: number, bytes: number) => Promise<ArrayBuffer>;
  #open: DispatchRecord[] = [];
  #chunks: Chunk[] = [];
  #untimed: DispatchRecord[] = [];
  #origin: bigint | null = null;

  /**
   * @param times where passes can be timed
   * @param read a range of a device buffer, in bytes
   */
  constructor(
    times: PassTimes | null,
    read: (buffer: GPUBuffer, offset: number, bytes: number) => Promise<ArrayBuffer>,
  ) {
    this.#times = times;
    this.#read = read;
  }

  /** Batches whose times wait to be read. */
  get waiting(): number {
    return this.#chunks.length;
  }

  /** What the pass of the next call is to be opened with. */
  next(): GPUComputePassTimestampWrites | undefined {
    return this.#times?.next();
  }

  /** Notes the call whose pass has just been closed. */
  note(call: KernelCall<PoolBuffer>, host: HostSpan): void {
    const record = { kernel: call.kernel, bytes: bytesOf(call), host, start: null, duration: null };
    this.#open.push(record);
  }

  /** To be called before an encoder is finished. */
  resolve(encoder: GPUCommandEncoder): void {
    if (this.#open.length === 0) return;
    if (this.#times === null) this.#untimed.push(...this.#open);
    else this.#chunks.push({ buffer: this.#times.resolve(encoder), records: this.#open });
    this.#open = [];
  }

  /** The calls of all submissions since the last call, with their times; all are read in one wait. */
  async take(): Promise<DispatchRecord[]> {
    const [chunks, untimed] = [this.#chunks, this.#untimed];
    [this.#chunks, this.#untimed] = [[], []];
    try {
      const reads = chunks.map(({ buffer }) => this.#read(buffer, 0, buffer.size));
      (await Promise.all(reads)).forEach((data, i) => this.#fill(chunks[i].records, data));
    } finally {
      for (const { buffer } of chunks) buffer.destroy();
    }
    return [...chunks.flatMap(({ records }) => records), ...untimed];
  }

  /** Forgets what was submitted and not taken. */
  drop(): void {
    for (const { buffer } of this.#chunks) buffer.destroy();
    [this.#chunks, this.#untimed] = [[], []];
  }

  #fill(records: readonly DispatchRecord[], data: ArrayBuffer): void {
    this.#origin ??= firstTime(data);
    passTimes(data, this.#origin).forEach(({ start, duration }, i) => {
      records[i].start = start;
      records[i].duration = duration;
    });
  }
}

/** Times every kernel call of a backend until the recording is stopped. */
export function startProfile(backend: Backend): ProfileRecording {
  return "startProfile" in backend
    ? (backend as Backend & Profilable).startProfile()
    : watchRuns(backend);
}

/** Milliseconds so far in which reads of the backend waited for its device. */
export function waitedMs(backend: Backend): number {
  return "waitedMs" in backend ? (backend as Backend & Profilable).waitedMs : 0;
}

const watched = new WeakSet<Backend>();

/** The reference runs a kernel while it is told to, so the host's clock times it; other backends are only counted. */
function watchRuns(backend: Backend): ProfileRecording {
  if (watched.has(backend)) throw new Error(RUNNING);
  watched.add(backend);
  const timed = backend.kind === "reference";
  const dispatches: DispatchRecord[] = [];
  const origin = performance.now();
  const { run } = backend;
  backend.run = (call) => {
    const start = performance.now();
    run.call(backend, call);
    const end = performance.now();
    dispatches.push({
      kernel: call.kernel,
      bytes: bytesOf(call),
      host: { start, end },
      start: timed ? (start - origin) * 1000 : null,
      duration: timed ? (end - start) * 1000 : null,
    });
  };
  return {
    stop: () => {
      if (!watched.delete(backend)) return Promise.reject(new Error(STOPPED));
      // Its own property hides the method of its class.
      delete (backend as Partial<Backend>).run;
      const untimed = timed ? null : "this backend cannot time kernels, so they were counted only";
      return Promise.resolve({ untimed, dispatches, submits: [], waits: [] });
    },
  };
}
