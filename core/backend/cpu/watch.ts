/** Watching the CPU device at work: for profiles, and for the debug levels that tell of single kernels. */

import { kernelLabel } from "../../../kernels/label.ts";
import type { DType, KernelCall } from "../../../kernels/types.ts";
import { debug, debugLine, statisticsOf } from "../debug.ts";
import {
  bytesOf,
  type DispatchRecord,
  dispatchText,
  type Profile,
  type ProfileRecording,
  RUNNING,
  STOPPED,
} from "../profiler.ts";
import type { Block, Heap } from "./heap.ts";

/** Sees every kernel call of a device while a profile is taken or a debug level of 2 or more is set. */
export class CpuWatch {
  readonly #heap: Heap;
  #records: DispatchRecord[] | null = null;
  #origin = 0;

  /** @param heap where the operands lie */
  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** Whether kernel calls are to be timed. */
  get active(): boolean {
    return this.#records !== null || debug.level >= 2;
  }

  /** Notes a call that ran from `start` to `end`, in ms of `performance.now()`. */
  note(call: KernelCall<Block>, start: number, end: number): void {
    const record: DispatchRecord = {
      kernel: call.kernel,
      bytes: bytesOf(call),
      host: { start, end },
      start: (start - this.#origin) * 1000,
      duration: (end - start) * 1000,
    };
    this.#records?.push(record);
    debugLine(2, () => dispatchText(record));
    if (debug.level >= 5) this.#inspect(call);
  }

  /** Times every kernel call until the recording is stopped. */
  start(): ProfileRecording {
    if (this.#records !== null) throw new Error(RUNNING);
    const records: DispatchRecord[] = this.#records = [];
    this.#origin = performance.now();
    return { stop: () => this.#stop(records) };
  }

  #stop(dispatches: DispatchRecord[]): Promise<Profile> {
    if (this.#records !== dispatches) return Promise.reject(new Error(STOPPED));
    this.#records = null;
    return Promise.resolve({ untimed: null, dispatches, submits: [], waits: [] });
  }

  #inspect({ kernel, outputs }: KernelCall<Block>): void {
    outputs.forEach(({ buffer, offset, size }, i) => {
      const values = this.#elements(buffer, offset, size, kernel.outputs[i]);
      debugLine(5, () => `${kernelLabel(kernel)} output ${i}: ${statisticsOf(values)}`);
    });
  }

  #elements(block: Block, offset: number, size: number, dtype: DType): ArrayLike<number> {
    const { f32, i32, u32 } = this.#heap.views;
    if (dtype === "f16") return new Float16Array(f32.buffer, block.address + 2 * offset, size);
    const at = block.address / 4 + offset;
    return (dtype === "f32" ? f32 : dtype === "i32" ? i32 : u32).subarray(at, at + size);
  }
}
