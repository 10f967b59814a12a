/** Device buffers by size class, kept for reuse within a byte budget. */

import { OutOfMemoryError } from "../errors.ts";
import type { MemoryStats } from "./backend.ts";

/** A device buffer with the size that was really allocated. */
export interface PoolBuffer {
  readonly id: number;
  readonly gpu: GPUBuffer;
  readonly bytes: number;
  /** What it is used for now, for error messages. */
  label: string;
  /** Number of the last submission that uses it. */
  lastUse: number;
}

const MIB = 1024 * 1024;

/** Rounds up to one of eight sizes per power of two, so that few sizes serve all requests. */
export function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** Math.floor(Math.log2(Math.max(bytes, 1))) / 8);
  return Math.max(256, Math.ceil(bytes / step) * step);
}

/** Allocates, reuses and counts buffers. */
export class BufferPool {
  readonly #create: (bytes: number, label: string) => GPUBuffer;
  readonly #budget: number;
  readonly #maxBuffer: number;
  readonly #onDestroy: () => void;
  readonly #free = new Map<number, PoolBuffer[]>();
  readonly #live = new Set<PoolBuffer>();
  #liveBytes = 0;
  #pooledBytes = 0;
  #peakBytes = 0;
  #created = 0;

  /**
   * @param create makes a device buffer
   * @param options `budget` and `maxBuffer` in bytes; `onDestroy` is called before buffers are destroyed
   */
  constructor(
    create: (bytes: number, label: string) => GPUBuffer,
    options: { budget: number; maxBuffer: number; onDestroy: () => void },
  ) {
    this.#create = create;
    this.#budget = options.budget;
    this.#maxBuffer = options.maxBuffer;
    this.#onDestroy = options.onDestroy;
  }

  /** How many buffers were ever made. */
  get created(): number {
    return this.#created;
  }

  /** A buffer of at least so many bytes. */
  take(bytes: number, label: string): PoolBuffer {
    if (bytes > this.#maxBuffer) {
      throw new OutOfMemoryError(
        `Cannot allocate ${bytes} bytes for "${label}": one buffer of this device holds at most ${this.#maxBuffer}`,
        bytes,
        this.#liveBytes,
      );
    }
    const size = Math.min(sizeClass(bytes), this.#maxBuffer);
    const buffer = this.#free.get(size)?.pop() ?? this.#make(size, label);
    if (buffer.label === "") this.#pooledBytes -= size;
    buffer.label = label;
    this.#live.add(buffer);
    this.#liveBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return buffer;
  }

  /** Takes a buffer back for reuse. */
  give(buffer: PoolBuffer): void {
    if (!this.#live.delete(buffer)) {
      throw new Error(`internal: buffer ${buffer.id} was given back twice`);
    }
    buffer.label = "";
    this.#liveBytes -= buffer.bytes;
    this.#pooledBytes += buffer.bytes;
    const list = this.#free.get(buffer.bytes);
    if (list) insertDescending(list, buffer);
    else this.#free.set(buffer.bytes, [buffer]);
  }

  /** Destroys all buffers that are kept for reuse. */
  trim(): void {
    if (this.#pooledBytes === 0) return;
    this.#onDestroy();
    for (const list of this.#free.values()) for (const b of list) b.gpu.destroy();
    this.#free.clear();
    this.#pooledBytes = 0;
  }

  memory(): MemoryStats {
    return {
      liveBuffers: this.#live.size,
      liveBytes: this.#liveBytes,
      pooledBytes: this.#pooledBytes,
      peakBytes: this.#peakBytes,
    };
  }

  #make(bytes: number, label: string): PoolBuffer {
    if (this.#liveBytes + this.#pooledBytes + bytes > this.#budget) this.trim();
    if (this.#liveBytes + bytes > this.#budget) throw this.#outOfMemory(bytes, label);
    const id = this.#created++;
    return { id, gpu: this.#create(bytes, `buffer ${id}`), bytes, label, lastUse: -1 };
  }

  #outOfMemory(bytes: number, label: string): OutOfMemoryError {
    const sums = new Map<string, number>();
    for (const b of this.#live) sums.set(b.label, (sums.get(b.label) ?? 0) + b.bytes);
    const largest = [...sums].sort((a, b) => b[1] - a[1]).slice(0, 5)
      .map(([name, sum]) => `${name} ${(sum / MIB).toFixed(1)} MiB`).join(", ");
    return new OutOfMemoryError(
      `Cannot allocate ${bytes} bytes for "${label}" within the budget of ${this.#budget}: ` +
        `${this.#liveBytes} are in use, ${this.#peakBytes} at the peak; largest: ${largest}; ` +
        "a smaller batch or a larger memoryBudget would help",
      bytes,
      this.#liveBytes,
    );
  }
}

/**
 * Keeps the lowest id last, so that it is taken first: equal sequences of requests then get equal buffers, and bind groups
 * of one step serve the next.
 */
function insertDescending(list: PoolBuffer[], buffer: PoolBuffer): void {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].id > buffer.id) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, buffer);
}
