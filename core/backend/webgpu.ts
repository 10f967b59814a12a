/** The WebGPU backend: kernel calls are encoded into one pass and submitted together. */

import { bytesPerElement } from "../../kernels/types.ts";
import type { DeviceTraits, DType, Kernel, KernelCall, Operand } from "../../kernels/types.ts";
import type { Backend, HostArray, MemoryStats, WorkStats } from "./backend.ts";
import { FaultLatch } from "./fault.ts";
import { BufferPool, type PoolBuffer } from "./pool.ts";
import { Readback } from "./readback.ts";
import { Pipelines } from "./pipelines.ts";

/**
 * Calls in one submission at most. Hardware starts while the host still records; a software adapter runs on the host's own
 * cores, where an early start only slows the recording (measured: 34 µs a call against 12).
 */
const CALLS_PER_SUBMIT = { hardware: 64, software: 1024 };
/** Scalars of one call lie in a slot of this many bytes, the offset alignment that every device has. */
const SLOT = 256;

/** Runs kernel calls on a WebGPU device. */
export class WebGpuBackend implements Backend<PoolBuffer> {
  readonly kind = "webgpu";
  readonly #device: GPUDevice;
  readonly #fault: FaultLatch;
  readonly #pool: BufferPool;
  readonly #pipelines: Pipelines;
  readonly #readback: Readback;
  readonly #stamp: GPUBuffer;
  readonly #stampGroup: GPUBindGroup;
  readonly #uniforms: GPUBuffer;
  readonly #maxCalls: number;
  readonly #staging: ArrayBuffer;
  readonly #words: { f32: Float32Array; i32: Int32Array; u32: Uint32Array };
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
   */
  constructor(
    device: GPUDevice,
    readonly name: string,
    readonly traits: DeviceTraits,
    memoryBudget: number,
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
    this.#pipelines = new Pipelines(device, traits, this.#uniforms);
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
    const { kernel, scalars } = call;
    for (const o of call.outputs) this.#readback.beforeChange(o.buffer.gpu);
    const entry = this.#pipelines.get(kernel);
    const pass = this.#open();
    if (this.#pipeline !== entry.pipeline) {
      pass.setPipeline(entry.pipeline);
      this.#pipeline = entry.pipeline;
    }
    const group = this.#pipelines.bindGroup(entry, call);
    if (scalars.length === 0) pass.setBindGroup(0, group);
    else pass.setBindGroup(0, group, [this.#putScalars(kernel, scalars)]);
    pass.dispatchWorkgroups(...entry.groups);
    for (const o of call.inputs) o.buffer.lastUse = this.#submits;
    for (const o of call.outputs) o.buffer.lastUse = this.#submits;
    this.#fault.note(kernel.op);
    this.#dispatches++;
    if (++this.#calls >= this.#maxCalls) this.flush();
  }

  flush(): void {
    if (this.#pass === null) return;
    this.#fault.check();
    this.#pass.setPipeline(this.#pipelines.stampPipeline);
    this.#pass.setBindGroup(0, this.#stampGroup);
    this.#pass.dispatchWorkgroups(1);
    this.#pass.end();
    if (this.#slots > 0) {
      this.#device.queue.writeBuffer(this.#uniforms, 0, this.#staging, 0, this.#slots * SLOT);
    }
    this.#device.queue.submit([this.#encoder!.finish()]);
    this.#encoder = null;
    this.#pass = null;
    this.#pipeline = null;
    this.#calls = 0;
    this.#slots = 0;
    this.#submits++;
  }

  async read({ buffer, offset, size }: Operand<PoolBuffer>, dtype: DType): Promise<HostArray> {
    if (dtype === "f16") throw new Error("internal: f16 is read as f32");
    const data = await this.#readback.read(buffer.gpu, offset * 4, size * 4);
    if (dtype === "i32") return new Int32Array(data);
    if (dtype === "u32") return new Uint32Array(data);
    return dtype === "bool" ? Uint8Array.from(new Uint32Array(data)) : new Float32Array(data);
  }

  async sync(): Promise<void> {
    await this.#readback.read(this.#stamp, 0, 4);
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
    this.#fault.close();
    this.#device.destroy();
  }

  #open(): GPUComputePassEncoder {
    if (this.#pass === null) {
      this.#fault.check();
      this.#encoder = this.#device.createCommandEncoder({ label: `batch ${this.#submits}` });
      this.#pass = this.#encoder.beginComputePass({ label: `batch ${this.#submits}` });
    }
    return this.#pass;
  }

  #putScalars(kernel: Kernel, scalars: readonly number[]): number {
    const offset = this.#slots++ * SLOT;
    for (let i = 0; i < scalars.length; i++) {
      this.#words[kernel.scalars[i]][offset / 4 + i] = scalars[i];
    }
    return offset;
  }
}
