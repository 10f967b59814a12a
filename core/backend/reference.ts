/** The f64 reference: every kernel by its plain loops, one double per element. Slow, and the measure of all others. */

import type { DeviceTraits, DType, KernelCall, Operand } from "../../kernels/types.ts";
import type { Backend, HostArray, MemoryStats, WorkStats } from "./backend.ts";

/** Runs kernel calls at once, in double precision, on the host. */
export class ReferenceBackend implements Backend<Float64Array> {
  readonly kind = "reference";
  readonly name = "f64 reference";
  readonly traits: DeviceTraits = { software: true, maxGroups: 65535, f16: true };
  #liveBuffers = 0;
  #liveBytes = 0;
  #peakBytes = 0;
  #dispatches = 0;
  #reads = 0;

  allocate(count: number): Float64Array {
    const buffer = new Float64Array(count);
    this.#liveBuffers++;
    this.#liveBytes += buffer.byteLength;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return buffer;
  }

  free(buffer: Float64Array): void {
    this.#liveBuffers--;
    this.#liveBytes -= buffer.byteLength;
  }

  write(buffer: Float64Array, offset: number, _dtype: DType, data: HostArray): void {
    buffer.set(data, offset);
  }

  run(call: KernelCall<Float64Array>): void {
    const view = (o: Operand<Float64Array>) => o.buffer.subarray(o.offset, o.offset + o.size);
    this.#dispatches++;
    call.kernel.reference(call.inputs.map(view), call.outputs.map(view), call.scalars);
  }

  flush(): void {}

  read(operand: Operand<Float64Array>, dtype: DType): Promise<HostArray> {
    this.#reads++;
    const data = operand.buffer.slice(operand.offset, operand.offset + operand.size);
    return Promise.resolve(
      dtype === "i32"
        ? Int32Array.from(data)
        : dtype === "u32"
        ? Uint32Array.from(data)
        : dtype === "bool"
        ? Uint8Array.from(data)
        : data,
    );
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  memory(): MemoryStats {
    return {
      liveBuffers: this.#liveBuffers,
      liveBytes: this.#liveBytes,
      pooledBytes: 0,
      peakBytes: this.#peakBytes,
    };
  }

  work(): WorkStats {
    return {
      dispatches: this.#dispatches,
      submits: 0,
      bindGroups: 0,
      buffers: 0,
      pipelines: 0,
      reads: this.#reads,
    };
  }

  close(): void {}
}
