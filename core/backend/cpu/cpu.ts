/** The CPU backend: kernels as WebAssembly modules over one memory, run at once, by several threads where that pays. */

import { kernelLabel } from "../../../kernels/label.ts";
import {
  bytesPerElement,
  type DeviceTraits,
  type DType,
  type Kernel,
  type KernelCall,
  type Operand,
} from "../../../kernels/types.ts";
import { cpuTraits } from "../../../kernels/wasm/mod.ts";
import type { WasmFeatures } from "../../../kernels/wasm/module.ts";
import { DeviceError, DeviceLostError } from "../../errors.ts";
import { nextTurn } from "../../turn.ts";
import type { Backend, HostArray, MemoryStats, WorkStats } from "../backend.ts";
import { debugLine } from "../debug.ts";
import type { Profilable, ProfileRecording } from "../profiler.ts";
import {
  type CompiledKernel,
  type CompileKernel,
  compileKernel,
  type CompilerParts,
} from "./compiled.ts";
import { controlBytes } from "./control.ts";
import { canShareMemory, detectFeatures, newMemory } from "./features.ts";
import { ALIGNMENT, type Block, Heap } from "./heap.ts";
import { canStartThreads, type Share, Team, threadCount } from "./threads.ts";
import { CpuWatch } from "./watch.ts";

/** How a CPU device is opened. */
export interface CpuOptions {
  /** Bytes that buffers may take in all. */
  readonly memoryBudget: number;
  /** Threads, the calling one included; by default `LEGOML_THREADS`, or else one for each core. */
  readonly threads?: number;
  /** Turns kernels into modules. */
  readonly compile: CompileKernel;
}

/** Words of the arguments of one call. */
const ARG_WORDS = 1024;
/** Starting a team holds the calling thread up for about 0.1 s, so it waits for this much work that it could share, in ms. */
const START_MS = 50;
/** Kernels from this on, in ns, are timed; for shorter ones the clock itself, 0.15 µs, would count. */
const TIMED_NS = 20_000;
/** Longest time between two turns of the event loop, in ms: finalizers and signals wait for one, and reads do not. */
const TURN_MS = 20;

/** Runs kernel calls on the cores of the machine. */
export class CpuBackend implements Backend<Block>, Profilable {
  readonly kind = "cpu";
  readonly name: string;
  readonly traits: DeviceTraits = cpuTraits;
  /** Threads at most, the calling one included. */
  readonly threads: number;
  readonly #heap: Heap;
  readonly #watch: CpuWatch;
  readonly #parts: CompilerParts;
  readonly #kernels = new Map<Kernel, CompiledKernel>();
  readonly #args: number;
  #team: Team | null = null;
  #sharedScratch: Block;
  #threadScratch: Block;
  #fault: Error | null = null;
  #shareableMs = 0;
  #dispatches = 0;
  #reads = 0;
  #kernelMs = 0;
  #lastTurn = performance.now();

  /**
   * @param options budget, threads and the compiler
   * @throws {DeviceError} without SIMD
   * @throws {RangeError} if the number of threads is none
   */
  constructor({ memoryBudget, threads, compile }: CpuOptions) {
    const wanted = threadCount(threads);
    this.threads = canShareMemory() && canStartThreads() ? wanted : 1;
    const features = detectFeatures(this.threads > 1);
    const { memory, maxPages } = newMemory(features.shared);
    const workers = this.threads - 1;
    this.name = nameOf(features, this.threads);
    this.#heap = new Heap(memory, { budget: memoryBudget, maxPages });
    this.#watch = new CpuWatch(this.#heap);
    this.#args = this.#heap.reserve(4 * ARG_WORDS, "arguments").address;
    this.#parts = { compile, features, heap: this.#heap, workers, maxWords: ARG_WORDS };
    if (workers > 0) {
      const { address } = this.#heap.reserve(controlBytes(workers), "control");
      this.#team = new Team(memory, address, workers);
    }
    this.#sharedScratch = this.#heap.reserve(ALIGNMENT, "scratch");
    this.#threadScratch = this.#heap.reserve(ALIGNMENT * this.threads, "scratch");
    this.#placeScratch();
    debugLine(1, () => `cpu ${this.name}; memory up to ${maxPages * 65536} bytes`);
  }

  /** Starts the threads and resolves when they are there; gives their number. Without it they come when there is work for them. */
  ready(): Promise<number> {
    return this.#team?.ready() ?? Promise.resolve(1);
  }

  /** How many threads have come beside the calling one. */
  get workers(): number {
    return this.#team?.workers ?? 0;
  }

  /** How many threads at most work on a kernel that has run; for tests. */
  threadsFor(kernel: Kernel): number {
    const phases = this.#kernels.get(kernel)?.phases ?? [];
    return phases.some(({ share }) => share !== null) ? this.threads : 1;
  }

  allocate(count: number, dtype: DType, label: string): Block {
    this.#check();
    return this.#heap.take(count * bytesPerElement(dtype), label);
  }

  free(buffer: Block): void {
    this.#heap.give(buffer);
  }

  write(buffer: Block, offset: number, dtype: DType, data: HostArray): void {
    this.#check();
    this.#elements(dtype).set(data, buffer.address / 4 + offset);
  }

  run(call: KernelCall<Block>): void {
    this.#check();
    const compiled = this.#kernels.get(call.kernel) ?? this.#compile(call.kernel);
    this.#putArgs(compiled, call);
    this.#dispatches++;
    const { timing } = compiled;
    if (timing.ns >= TIMED_NS || timing.onTrial || this.#watch.active) {
      this.#runTimed(compiled, call);
    } else this.#execute(compiled, call.kernel);
  }

  flush(): void {
    this.#check();
  }

  read({ buffer, offset, size }: Operand<Block>, dtype: DType): Promise<HostArray> {
    if (this.#fault !== null) return Promise.reject(this.#fault);
    this.#reads++;
    const at = buffer.address / 4 + offset;
    const words = this.#elements(dtype);
    if (dtype !== "bool") return this.#settle(words.slice(at, at + size));
    const bytes = new Uint8Array(size);
    bytes.set(words.subarray(at, at + size));
    return this.#settle(bytes);
  }

  sync(): Promise<void> {
    return this.#fault === null ? this.#settle(undefined) : Promise.reject(this.#fault);
  }

  /** Milliseconds so far in kernels of some length, in which the host did nothing else. */
  get waitedMs(): number {
    return this.#kernelMs;
  }

  startProfile(): ProfileRecording {
    return this.#watch.start();
  }

  memory(): MemoryStats {
    return this.#heap.memory();
  }

  work(): WorkStats {
    return {
      dispatches: this.#dispatches,
      submits: 0,
      bindGroups: 0,
      buffers: this.#heap.pieces,
      pipelines: this.#kernels.size,
      reads: this.#reads,
    };
  }

  close(): void {
    this.#fault = new DeviceLostError("Cannot use the device: it was closed");
    this.#team?.close();
    this.#team = null;
    this.#kernels.clear();
    this.#heap.close();
  }

  #check(): void {
    if (this.#fault !== null) throw this.#fault;
  }

  #elements(dtype: DType): Float32Array | Int32Array | Uint32Array {
    if (dtype === "f16") throw new Error("internal: f16 is read and written as f32");
    const { f32, i32, u32 } = this.#heap.views;
    return dtype === "f32" ? f32 : dtype === "i32" ? i32 : u32;
  }

  /** Reads need no wait, but a loop that only waits for reads would never let the event loop have its turn. */
  #settle<T>(value: T): Promise<T> {
    const now = performance.now();
    if (now - this.#lastTurn < TURN_MS) return Promise.resolve(value);
    this.#lastTurn = now;
    return nextTurn().then(() => value);
  }

  #compile(kernel: Kernel): CompiledKernel {
    const number = this.#kernels.size;
    const { compiled, program } = compileKernel(kernel, number, this.#parts);
    this.#growScratch(program.sharedBytes, program.threadBytes);
    this.#kernels.set(kernel, compiled);
    return compiled;
  }

  #putArgs(compiled: CompiledKernel, { inputs, outputs, scalars }: KernelCall<Block>): void {
    const { widths } = compiled;
    const { u32 } = this.#heap.views;
    const first = this.#args / 4 + 1;
    let n = 0;
    for (let i = 0; i < inputs.length; i++, n++) {
      u32[first + n] = inputs[i].buffer.address + inputs[i].offset * widths[n];
    }
    for (let i = 0; i < outputs.length; i++, n++) {
      u32[first + n] = outputs[i].buffer.address + outputs[i].offset * widths[n];
    }
    for (let i = 0; i < scalars.length; i++, n++) {
      this.#heap.views[compiled.scalars[i]][first + n] = scalars[i];
    }
  }

  #execute({ phases, code }: CompiledKernel, kernel: Kernel): void {
    const { address } = this.#threadScratch;
    try {
      for (let i = 0; i < phases.length; i++) {
        const { run, tasks, share } = phases[i];
        if (share !== null && this.#hasWorkers(share)) {
          this.#team!.run(code!, run, share, this.#args, address | 0);
        } else run(this.#args, 0, tasks, address | 0);
      }
    } catch (error) {
      throw this.#fail(kernel, error);
    }
  }

  #runTimed(compiled: CompiledKernel, call: KernelCall<Block>): void {
    const { timing } = compiled;
    const start = performance.now();
    this.#execute(compiled, call.kernel);
    const end = performance.now();
    this.#kernelMs += end - start;
    if (compiled.phases.some(({ share }) => share !== null)) this.#shareableMs += end - start;
    if (timing.onTrial && timing.note((end - start) * 1e6)) compiled.plan();
    if (this.#watch.active) this.#watch.note(call, start, end);
  }

  /** Whether there are workers for a phase; they are asked for once there was enough to share. */
  #hasWorkers(share: Share): boolean {
    const team = this.#team;
    if (team === null) return false;
    if (team.workers > 0) return share.helpers > 0 || team.awake;
    if (this.#shareableMs >= START_MS) team.start();
    return false;
  }

  /** What a kernel left half done cannot be trusted, nor what follows. */
  #fail(kernel: Kernel, error: unknown): Error {
    const reason = error instanceof Error ? error.message : String(error);
    this.#fault = new DeviceError(`Cannot run ${kernelLabel(kernel)}: ${reason}`, { cause: error });
    return this.#fault;
  }

  #growScratch(sharedBytes: number, threadBytes: number): void {
    if (sharedBytes > this.#sharedScratch.bytes) {
      this.#sharedScratch = this.#larger(this.#sharedScratch, sharedBytes);
    }
    if (threadBytes > this.#threadScratch.bytes / this.threads) {
      const each = Math.ceil(threadBytes / ALIGNMENT) * ALIGNMENT;
      this.#threadScratch = this.#larger(this.#threadScratch, each * this.threads);
    }
    this.#placeScratch();
  }

  #larger(block: Block, bytes: number): Block {
    const larger = this.#heap.reserve(bytes, "scratch");
    this.#heap.give(block);
    return larger;
  }

  #placeScratch(): void {
    const { address, bytes } = this.#threadScratch;
    const each = bytes / this.threads;
    this.#team?.setScratch((worker) => address + each * (worker + 1));
    this.#heap.views.u32[this.#args / 4] = this.#sharedScratch.address;
  }
}

function nameOf({ relaxed }: WasmFeatures, threads: number): string {
  const simd = relaxed ? "relaxed SIMD" : "SIMD";
  return `WebAssembly ${simd}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}
