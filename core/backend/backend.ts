/** What a compute backend must offer. Everything above it speaks in kernel calls and operands. */

import type { DeviceTraits, DType, KernelCall, Operand } from "../../kernels/types.ts";

/** Elements as the host sees them; bool is one byte each, the reference backend keeps doubles. */
export type HostArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

/** Use of device memory. */
export interface MemoryStats {
  /** Buffers in use. */
  readonly liveBuffers: number;
  /** Bytes in use. */
  readonly liveBytes: number;
  /** Bytes kept for reuse. */
  readonly pooledBytes: number;
  /** The most bytes ever in use. */
  readonly peakBytes: number;
}

/** Counts of device work since the start; for tests and benchmarks. */
export interface WorkStats {
  /** Kernel calls that ran. */
  readonly dispatches: number;
  /** Batches of calls handed to the device. */
  readonly submits: number;
  /** Bind groups made. */
  readonly bindGroups: number;
  /** Buffers made. */
  readonly buffers: number;
  /** Kernels compiled. */
  readonly pipelines: number;
  /** Waits for the device. */
  readonly reads: number;
}

/** A device that runs kernel calls in the order in which they come. */
export interface Backend<Buffer = unknown> {
  /** Which backend it is. */
  readonly kind: "webgpu" | "cpu" | "reference";
  /** The adapter, in words. */
  readonly name: string;
  /** What kernels may rely on. */
  readonly traits: DeviceTraits;
  /** A buffer for so many elements, with any content. */
  allocate(count: number, dtype: DType, label: string): Buffer;
  /** Gives a buffer back; calls that were run before may still use it. */
  free(buffer: Buffer): void;
  /** Copies host elements into a range that starts at `offset` elements. */
  write(buffer: Buffer, offset: number, dtype: DType, data: HostArray): void;
  /** Runs a call after all calls before it. */
  run(call: KernelCall<Buffer>): void;
  /** Hands what was run so far to the device. */
  flush(): void;
  /** Contents of a range, after everything that was run before; reads that start together share one wait. */
  read(operand: Operand<Buffer>, dtype: DType): Promise<HostArray>;
  /** Resolves when everything that was run has finished. */
  sync(): Promise<void>;
  /** Buffers and bytes in use. */
  memory(): MemoryStats;
  /** Counts since the start. */
  work(): WorkStats;
  /** Gives the device back. */
  close(): void;
}
