/** Reads from a WebGPU device. Reads that start in the same turn share one copy, one submit and one wait. */

import { GpuFaultError } from "../errors.ts";
import { nextTurn } from "../turn.ts";
import type { FaultLatch } from "./fault.ts";
import type { HostSpan } from "./profiler.ts";

interface PendingRead {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
  readonly resolve: (data: ArrayBuffer) => void;
  readonly reject: (reason: unknown) => void;
}

const STAMP_BYTES = 16;

/** The only place that maps buffers: asking for a range before the map resolves aborts the process on Deno. */
export class Readback {
  readonly #device: GPUDevice;
  readonly #fault: FaultLatch;
  readonly #stamp: GPUBuffer;
  readonly #flush: () => number;
  #pending: PendingRead[] = [];
  readonly #wanted = new Set<GPUBuffer>();
  #count = 0;
  #waitedMs = 0;
  /** Takes the waits for the device while a profile is taken. */
  waits: HostSpan[] | null = null;

  /**
   * @param stamp buffer whose first word counts the submissions that really ran
   * @param flush hands recorded work to the device and returns the number of submissions so far
   */
  constructor(device: GPUDevice, fault: FaultLatch, stamp: GPUBuffer, flush: () => number) {
    this.#device = device;
    this.#fault = fault;
    this.#stamp = stamp;
    this.#flush = flush;
  }

  /** How many waits there were. */
  get count(): number {
    return this.#count;
  }

  /** Copies a range to the host; offset and size in bytes, multiples of 4. */
  read(buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ buffer, offset, bytes, resolve, reject });
      this.#wanted.add(buffer);
      if (this.#pending.length === 1) queueMicrotask(() => this.#run());
    });
  }

  /** How long they took together, in ms. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Whether reads were asked for that have not been handed to the device. */
  get waiting(): boolean {
    return this.#pending.length > 0;
  }

  /** To be called before a buffer changes: reads that were asked for still get what is in it now. */
  beforeChange(buffer: GPUBuffer): void {
    if (this.#wanted.has(buffer)) this.#run();
  }

  async #run(): Promise<void> {
    if (this.#pending.length === 0) return;
    const reads = this.#pending;
    this.#pending = [];
    this.#wanted.clear();
    try {
      const results = await this.#fetch(reads);
      reads.forEach((read, i) => read.resolve(results[i]));
    } catch (error) {
      reads.forEach((read) => read.reject(error));
    }
  }

  async #fetch(reads: readonly PendingRead[]): Promise<ArrayBuffer[]> {
    const submissions = this.#flush();
    this.#fault.check();
    const size = reads.reduce((sum, read) => sum + read.bytes, STAMP_BYTES);
    const staging = this.#device.createBuffer({
      label: "read",
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    try {
      this.#copy(reads, staging);
      const start = performance.now();
      await staging.mapAsync(GPUMapMode.READ).catch((error: Error) => this.#fail(error));
      this.#noteWait(start, performance.now());
      this.#fault.check();
      const data = await this.#take(staging);
      this.#verify(new Uint32Array(data, 0, 1)[0], submissions);
      let at = STAMP_BYTES;
      return reads.map(({ bytes }) => data.slice(at, at += bytes));
    } finally {
      staging.destroy();
    }
  }

  /** The content of a buffer that is mapped. */
  async #take(staging: GPUBuffer): Promise<ArrayBuffer> {
    try {
      const data = staging.getMappedRange().slice(0);
      staging.unmap();
      return data;
    } catch (error) {
      return await this.#fail(error as Error);
    }
  }

  /** Tells of a read that failed; a device that was lost says so some turns later than its calls fail. */
  async #fail(cause: Error): Promise<never> {
    for (let turns = 0; turns < 20; turns++) {
      await nextTurn();
      this.#fault.check();
    }
    throw new GpuFaultError(`Cannot read from the device: ${cause.message}`, { cause });
  }

  #noteWait(start: number, end: number): void {
    this.#count++;
    this.#waitedMs += end - start;
    this.waits?.push({ start, end });
  }

  #copy(reads: readonly PendingRead[], staging: GPUBuffer): void {
    const encoder = this.#device.createCommandEncoder({ label: "read" });
    encoder.copyBufferToBuffer(this.#stamp, 0, staging, 0, STAMP_BYTES);
    let at = STAMP_BYTES;
    for (const { buffer, offset, bytes } of reads) {
      if (bytes > 0) encoder.copyBufferToBuffer(buffer, offset, staging, at, bytes);
      at += bytes;
    }
    this.#device.queue.submit([encoder.finish()]);
  }

  #verify(ran: number, submitted: number): void {
    if (ran === submitted >>> 0) return;
    const error = new GpuFaultError(
      `The device dropped work: ${submitted} submissions were made, ${ran} ran`,
    );
    this.#fault.latch(error);
    throw error;
  }
}
