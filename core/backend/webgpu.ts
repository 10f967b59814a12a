/** The WebGPU backend: kernel calls are encoded into one pass and submitted together. */

import { bytesPerElement } from "../../kernels/types.ts";
import type { DeviceTraits, DType, Kernel, KernelCall, Operand } from "../../kernels/types.ts";
import type { Backend, HostArray, MemoryStats, WorkStats } from "./backend.ts";
import { debugLine } from "./debug.ts";
import { FaultLatch } from "./fault.ts";
import { BufferPool, type PoolBuffer } from "./pool.ts";
import { Readback } from "./readback.ts";
import { Pipelines } from "./pipelines.ts";
import type { Profilable, ProfileRecording } from "./profiler.ts";
import type { TuneStore } from "./tune_store.ts";
import { Tuner, type TunerLimits } from "./tuner.ts";
import { canTime } from "./timestamps.ts";
import { Watch } from "./watch.ts";

/**
 * Calls in one submission at most. Hardware starts while the host still records; a software adapter runs on the host's own
 * cores, where an early start only slows the recording (measured: 34 µs a call against 12).
 */
const CALLS_PER_SUBMIT = { hardware: 64, software: 1024 };
/** Scalars of one call lie in a slot of this many bytes, the offset alignment that every device has. */
const SLOT = 256;

/** How variants of kernels are measured. */
export interface TuneOptions {
  /** What is known already, and takes what is found. */
  readonly store: TuneStore;
  /** How much it may cost. */
  readonly limits?: Partial<TunerLimits>;
}

/** Runs kernel calls on a WebGPU device. */
export class WebGpuBackend implements Backend<PoolBuffer>, Profilable {
  readonly kind = "webgpu";
  readonly #device: GPUDevice;
  readonly #fault: FaultLatch;
  readonly #pool: BufferPool;
  readonly #pipelines: Pipelines;
  readonly #readback: Readback;
  readonly #watch: Watch;
  readonly #tuner: Tuner | null = null;
  readonly #stamp: GPUBuffer;
  readonly #stampGroup: GPUBindGroup;
  readonly #uniforms: GPUBuffer;
  readonly #maxCalls: number;
  readonly #staging: ArrayBuffer;
  readonly #words: { f32: Float32Array; i32: Int32Array; u32: Uint32Array };
  readonly #offset = new Uint32Array(1);
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #pipeline: GPUComputePipeline | null = null;
  #calls = 0;
  #slots = 0;
  #submits = 0;
  #dispatches = 0;

  /**
   * @param device a device that nobody else uses
   * @param name the adapter in words
   * @param traits what kernels may rely on
   * @param memoryBudget bytes that buffers may take in all
   * @param tune how variants of kernels are measured; null leaves it to the rule of each kernel
   */
  constructor(
    device: GPUDevice,
    readonly name: string,
    readonly traits: DeviceTraits,
    memoryBudget: number,
    tune: TuneOptions | null = null,
  ) {
    this.#device = device;
    this.#maxCalls = CALLS_PER_SUBMIT[traits.software ? "software" : "hardware"];
    this.#staging = new ArrayBuffer(SLOT * this.#maxCalls);
    this.#words = {
      f32: new Float32Array(this.#staging),
      i32: new Int32Array(this.#staging),
      u32: new Uint32Array(this.#staging),
    };
    this.#fault = new FaultLatch(device);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const create = (size: number, label: string) => device.createBuffer({ label, size, usage });
    this.#uniforms = device.createBuffer({
      label: "scalars",
      size: this.#staging.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.#pipelines = new Pipelines(device, traits, this.#uniforms, tune?.store);
    if (tune !== null && canTime(device)) {
      this.#tuner = this.#pipelines.tuner = new Tuner({
        device,
        software: traits.software,
        compile: (entry, name) => this.#pipelines.variant(entry, name),
        ...tune,
      });
    }
    this.#pool = new BufferPool(create, {
      budget: memoryBudget,
      maxBuffer: Math.min(
        device.limits.maxBufferSize,
        device.limits.maxStorageBufferBindingSize,
      ),
      onDestroy: () => {
        this.flush();
        this.#pipelines.forgetBindGroups();
      },
    });
    this.#stamp = create(256, "stamp");
    this.#stampGroup = this.#pipelines.stampGroup(this.#stamp);
    this.#readback = new Readback(device, this.#fault, this.#stamp, () => {
      this.flush();
      return this.#submits;
    });
    this.#watch = new Watch(device, this.#maxCalls, this.#readback, () => this.flush());
  }

  allocate(count: number, dtype: DType, label: string): PoolBuffer {
    this.#fault.check();
    return this.#pool.take(count * bytesPerElement(dtype), label);
  }

  free(buffer: PoolBuffer): void {
    this.#pool.give(buffer);
  }

  write(buffer: PoolBuffer, offset: number, dtype: DType, data: HostArray): void {
    this.#readback.beforeChange(buffer.gpu);
    // A write goes ahead of calls that are recorded but not yet submitted, so those go first.
    if (buffer.lastUse === this.#submits) this.flush();
    this.#fault.check();
    const words = dtype === "bool" ? Uint32Array.from(data) : data;
    this.#device.queue.writeBuffer(
      buffer.gpu,
      offset * bytesPerElement(dtype),
      words as unknown as BufferSource,
    );
  }

  run(call: KernelCall<PoolBuffer>): void {
    const { kernel, inputs, outputs, scalars } = call;
    const watched = this.#watch.active;
    const start = watched ? performance.now() : 0;
    if (this.#readback.waiting) {
      for (const o of outputs) this.#readback.beforeChange(o.buffer.gpu);
    }
    const { entry, group } = this.#pipelines.bind(call);
    const pass = watched ? this.#openPass(this.#watch.next()) : this.#pass ?? this.#openPass();
    if (this.#pipeline !== entry.pipeline) {
      pass.setPipeline(entry.pipeline);
      this.#pipeline = entry.pipeline;
    }
    if (scalars.length === 0) pass.setBindGroup(0, group);
    else {
      // An array as the list of offsets would cost more than all the rest of the call.
      this.#offset[0] = this.#putScalars(kernel, scalars);
      pass.setBindGroup(0, group, this.#offset, 0, 1);
    }
    pass.dispatchWorkgroups(entry.groups[0], entry.groups[1], entry.groups[2]);
    for (let i = 0; i < inputs.length; i++) inputs[i].buffer.lastUse = this.#submits;
    for (let i = 0; i < outputs.length; i++) outputs[i].buffer.lastUse = this.#submits;
    entry.calls++;
    this.#fault.note(kernel.op);
    this.#dispatches++;
    this.#calls++;
    if (watched) {
      this.#closePass();
      this.#watch.note(call, start);
    }
    if (this.#calls >= this.#maxCalls) this.flush();
  }

  flush(): void {
    if (this.#encoder === null) return;
    this.#fault.check();
    const start = performance.now();
    const pass = this.#pass ?? this.#openPass();
    pass.setPipeline(this.#pipelines.stampPipeline);
    pass.setBindGroup(0, this.#stampGroup);
    pass.dispatchWorkgroups(1);
    this.#closePass();
    this.#watch.resolve(this.#encoder);
    if (this.#slots > 0) {
      this.#device.queue.writeBuffer(this.#uniforms, 0, this.#staging, 0, this.#slots * SLOT);
    }
    this.#device.queue.submit([this.#encoder.finish()]);
    debugLine(3, () => this.#describeSubmit());
    this.#encoder = null;
    this.#calls = 0;
    this.#slots = 0;
    this.#submits++;
    this.#watch.submitted(start);
  }

  async read({ buffer, offset, size }: Operand<PoolBuffer>, dtype: DType): Promise<HostArray> {
    if (dtype === "f16") throw new Error("internal: f16 is read as f32");
    const reading = this.#readback.read(buffer.gpu, offset * 4, size * 4);
    this.#useWait();
    const data = await reading;
    if (dtype === "i32") return new Int32Array(data);
    if (dtype === "u32") return new Uint32Array(data);
    return dtype === "bool" ? Uint8Array.from(new Uint32Array(data)) : new Float32Array(data);
  }

  async sync(): Promise<void> {
    const reading = this.#readback.read(this.#stamp, 0, 4);
    this.#useWait();
    await reading;
  }

  /** Kernels that wait to be measured in one of the next reads. */
  get tuning(): number {
    return this.#tuner?.pending ?? 0;
  }

  get waitedMs(): number {
    return this.#readback.waitedMs;
  }

  startProfile(): ProfileRecording {
    return this.#watch.start();
  }

  memory(): MemoryStats {
    return this.#pool.memory();
  }

  work(): WorkStats {
    return {
      dispatches: this.#dispatches,
      submits: this.#submits,
      bindGroups: this.#pipelines.bindGroups,
      buffers: this.#pool.created,
      pipelines: this.#pipelines.count,
      reads: this.#readback.count,
    };
  }

  close(): void {
    this.#tuner?.save();
    this.#fault.close();
    this.#device.destroy();
  }

  /** Adds to a wait that is about to begin what else is to be read. */
  #useWait(): void {
    this.#watch.report();
    if (this.#watch.active) return;
    const run = this.#tuner?.start();
    // Where the read fails its caller is told.
    if (run) this.#readback.read(run.buffer, 0, run.buffer.size).then(run.finish, run.abandon);
  }

  /** A new pass of the open encoder. */
  #openPass(timestampWrites?: GPUComputePassTimestampWrites): GPUComputePassEncoder {
    const label = `batch ${this.#submits}`;
    this.#closePass();
    if (this.#encoder === null) {
      this.#fault.check();
      this.#encoder = this.#device.createCommandEncoder({ label });
    }
    return this.#pass = this.#encoder.beginComputePass({ label, timestampWrites });
  }

  #closePass(): void {
    this.#pass?.end();
    this.#pass = null;
    this.#pipeline = null;
  }

  #describeSubmit(): string {
    const { liveBytes, liveBuffers, peakBytes } = this.#pool.memory();
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
    return `submission ${this.#submits} of ${this.#calls} kernels, ${mib(liveBytes)} live in ` +
      `${liveBuffers} buffers, peak ${mib(peakBytes)}`;
  }

  #putScalars(kernel: Kernel, scalars: readonly number[]): number {
    const offset = this.#slots++ * SLOT;
    for (let i = 0; i < scalars.length; i++) {
      this.#words[kernel.scalars[i]][offset / 4 + i] = scalars[i];
    }
    return offset;
  }
}
