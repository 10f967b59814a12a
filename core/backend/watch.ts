/** Watching a WebGPU device at work: for profiles, and for the debug levels that tell of single kernels. */

import { bytesPerElement, type DType, type KernelCall } from "../../kernels/types.ts";
import { kernelLabel } from "../../kernels/label.ts";
import { debug, debugLine, statisticsOf } from "./debug.ts";
import type { PoolBuffer } from "./pool.ts";
import {
  type DispatchRecord,
  dispatchText,
  DispatchTimer,
  type HostSpan,
  type Profile,
  type ProfileRecording,
  RUNNING,
  STOPPED,
} from "./profiler.ts";
import type { Readback } from "./readback.ts";
import { canTime, PassTimes } from "./timestamps.ts";

/** Batches whose times may wait to be read, where a debug level asks for them and nobody reads. */
const MAX_WAITING = 16;

/** Sees every kernel call of a device while a profile is taken or a debug level of 2 or more is set. */
export class Watch {
  readonly #device: GPUDevice;
  readonly #capacity: number;
  readonly #readback: Readback;
  readonly #flush: () => void;
  #timer: DispatchTimer | null = null;
  #submits: HostSpan[] | null = null;

  /**
   * @param capacity kernel calls of one submission at most
   * @param flush hands recorded work to the device
   */
  constructor(device: GPUDevice, capacity: number, readback: Readback, flush: () => void) {
    this.#device = device;
    this.#capacity = capacity;
    this.#readback = readback;
    this.#flush = flush;
  }

  /** Whether kernel calls are to be timed, each in a pass of its own. */
  get active(): boolean {
    return this.#submits !== null || debug.level >= 2;
  }

  /** What the pass of the next call is to be opened with. */
  next(): GPUComputePassTimestampWrites | undefined {
    return this.#timerOf().next();
  }

  /** Notes the call whose pass has just been closed. @param start when the host began with it */
  note(call: KernelCall<PoolBuffer>, start: number): void {
    this.#timerOf().note(call, { start, end: performance.now() });
    if (debug.level >= 5) this.#inspect(call);
  }

  /** To be called before an encoder is finished. */
  resolve(encoder: GPUCommandEncoder): void {
    this.#timer?.resolve(encoder);
  }

  /** To be called after a submission. @param start when the host began with it */
  submitted(start: number): void {
    this.#submits?.push({ start, end: performance.now() });
    if (this.#submits === null && (this.#timer?.waiting ?? 0) >= MAX_WAITING) this.report();
  }

  /** Writes what ran since the last time, in the wait of a read that starts in the same turn. */
  report(): void {
    if (debug.level < 2 || this.#submits !== null || this.#timer === null) return;
    this.#flush();
    // What goes wrong here also goes wrong for the read, whose caller is told.
    this.#timer.take().then((records) => records.forEach(tell), () => {});
  }

  /** Times every kernel call until the recording is stopped. */
  start(): ProfileRecording {
    if (this.#submits !== null) throw new Error(RUNNING);
    this.report();
    this.#flush();
    this.#timer?.drop();
    const submits: HostSpan[] = this.#submits = [];
    const waits: HostSpan[] = this.#readback.waits = [];
    return { stop: () => this.#stop(submits, waits) };
  }

  async #stop(submits: HostSpan[], waits: HostSpan[]): Promise<Profile> {
    if (this.#submits !== submits) throw new Error(STOPPED);
    this.#flush();
    this.#submits = null;
    this.#readback.waits = null;
    const dispatches = await this.#timer?.take() ?? [];
    const untimed = canTime(this.#device)
      ? null
      : "this adapter has no timestamp queries, so kernels were counted and not timed";
    return { untimed, dispatches, submits, waits };
  }

  #timerOf(): DispatchTimer {
    this.#timer ??= new DispatchTimer(
      canTime(this.#device) ? new PassTimes(this.#device, this.#capacity) : null,
      (buffer, offset, bytes) => this.#readback.read(buffer, offset, bytes),
    );
    return this.#timer;
  }

  /** Reads the outputs of a call as it leaves them and writes their statistics. */
  #inspect({ kernel, outputs }: KernelCall<PoolBuffer>): void {
    outputs.forEach(({ buffer, offset, size }, i) => {
      const dtype = kernel.outputs[i];
      const width = bytesPerElement(dtype);
      const bytes = Math.ceil(size * width / 4) * 4;
      this.#readback.read(buffer.gpu, offset * width, bytes).then((data) =>
        debugLine(
          5,
          () =>
            `${kernelLabel(kernel)} output ${i}: ${statisticsOf(elementsOf(data, dtype, size))}`,
        ), () => {});
    });
  }
}

function elementsOf(data: ArrayBuffer, dtype: DType, size: number): ArrayLike<number> {
  if (dtype === "i32") return new Int32Array(data);
  if (dtype === "f32") return new Float32Array(data);
  return dtype === "f16" ? new Float16Array(data, 0, size) : new Uint32Array(data);
}

function tell(record: DispatchRecord): void {
  debugLine(2, () => dispatchText(record));
}
