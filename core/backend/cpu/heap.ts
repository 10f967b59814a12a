/** An allocator over one WebAssembly memory: best fit, with free neighbours joined at once. */

import { OutOfMemoryError } from "../../errors.ts";
import type { MemoryStats } from "../backend.ts";
import { FreeBlocks } from "./free_blocks.ts";

/** A range of the memory. */
export interface Block {
  /** First byte. */
  readonly address: number;
  /** Bytes, rounded up. */
  readonly bytes: number;
  /** What it is used for, for error messages; null while it is free. */
  label: string | null;
  /** Whether it counts as device memory; what the backend itself needs does not. */
  readonly counted: boolean;
  /** The block that ends where this one begins. */
  before: Block | null;
  /** The block that begins where this one ends. */
  after: Block | null;
}

/** The memory as arrays; made anew when it grows. */
export interface Views {
  /** As floats. */
  readonly f32: Float32Array;
  /** As signed integers. */
  readonly i32: Int32Array;
  /** As unsigned integers. */
  readonly u32: Uint32Array;
  /** As bytes. */
  readonly bytes: Uint8Array;
}

/** Bytes of a page of WebAssembly memory. */
export const PAGE = 65536;
/** A line of the cache: what different threads write should not share one. */
export const ALIGNMENT = 64;
/** Bytes behind the last block that stay free: kernels may read some bytes behind an operand, and must not leave the memory. */
const GUARD = ALIGNMENT;
/** What is left of a memory that was let go of. */
const NOTHING: Views = {
  f32: new Float32Array(),
  i32: new Int32Array(),
  u32: new Uint32Array(),
  bytes: new Uint8Array(),
};
/** Least growth, in pages; pages that nothing has touched cost no memory. */
const LEAST_GROWTH = 1024;

const MIB = 1024 * 1024;

/** Shares out the memory, within a byte budget. */
export class Heap {
  #memory: WebAssembly.Memory | null;
  readonly #maxPages: number;
  readonly #budget: number;
  readonly #free = new FreeBlocks<Block>();
  readonly #live = new Set<Block>();
  #last: Block | null = null;
  #views: Views;
  /** Where the memory ends that was ever in use. */
  #touched = ALIGNMENT;
  #liveBytes = 0;
  #ownBytes = 0;
  #peakBytes = 0;
  #pieces = 1;

  /**
   * @param memory what is shared out, from its first line on
   * @param limits `budget` in bytes, `maxPages` that the memory may have
   */
  constructor(memory: WebAssembly.Memory, limits: { budget: number; maxPages: number }) {
    this.#memory = memory;
    this.#maxPages = limits.maxPages;
    this.#budget = limits.budget;
    this.#views = viewsOf(memory);
    // Address 0 stays free, so that an address that was forgotten shows.
    this.#append(ALIGNMENT, memory.buffer.byteLength - ALIGNMENT - GUARD);
  }

  /** The memory as arrays. */
  get views(): Views {
    return this.#views;
  }

  /** What is shared out. */
  get source(): WebAssembly.Memory {
    if (this.#memory === null) throw new Error("internal: the memory was let go of");
    return this.#memory;
  }

  /** How many pieces of memory the system was asked for. */
  get pieces(): number {
    return this.#pieces;
  }

  /**
   * A block of at least so many bytes, with any content.
   *
   * @throws {OutOfMemoryError} beyond the budget, or beyond what one memory holds
   */
  take(bytes: number, label: string): Block {
    const size = rounded(bytes);
    if (this.#liveBytes + size > this.#budget) throw this.#overBudget(size, label);
    const block = this.#place(size, label, true);
    this.#live.add(block);
    this.#liveBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return block;
  }

  /** A block for the backend itself, which neither the budget nor the counts know of. */
  reserve(bytes: number, label: string): Block {
    const block = this.#place(rounded(bytes), label, false);
    this.#ownBytes += block.bytes;
    return block;
  }

  /** Takes a block back. */
  give(block: Block): void {
    if (block.label === null) {
      throw new Error(`internal: the block at ${block.address} was given back twice`);
    }
    block.label = null;
    if (!block.counted) this.#ownBytes -= block.bytes;
    else {
      this.#live.delete(block);
      this.#liveBytes -= block.bytes;
    }
    this.#join(block);
  }

  /** Blocks and bytes in use. */
  memory(): MemoryStats {
    return {
      liveBuffers: this.#live.size,
      liveBytes: this.#liveBytes,
      pooledBytes: this.#touched - ALIGNMENT - this.#liveBytes - this.#ownBytes,
      peakBytes: this.#peakBytes,
    };
  }

  /** Lets go of the memory. Blocks can be given back afterwards, and none be taken. */
  close(): void {
    this.#memory = null;
    this.#views = NOTHING;
  }

  /** All blocks in the order of their addresses; for tests. */
  blocks(): Block[] {
    const all: Block[] = [];
    for (let block = this.#last; block !== null; block = block.before) all.push(block);
    return all.reverse();
  }

  #place(bytes: number, label: string, counted: boolean): Block {
    let space = this.#free.takeBest(bytes);
    if (space === null) {
      this.#grow(bytes, label);
      space = this.#free.takeBest(bytes)!;
    }
    const { address, before, after } = space;
    const block: Block = { address, bytes, label, counted, before, after };
    if (before !== null) before.after = block;
    const rest = space.bytes - bytes;
    if (rest > 0) {
      const free = freeBlock(address + bytes, rest, block, after);
      block.after = free;
      if (after === null) this.#last = free;
      else after.before = free;
      this.#free.add(free);
    } else if (after === null) this.#last = block;
    else after.before = block;
    this.#touched = Math.max(this.#touched, address + bytes);
    return block;
  }

  /** Makes one free block of a block and its free neighbours. */
  #join(block: Block): void {
    let { address, bytes, before, after } = block;
    if (before !== null && before.label === null) {
      this.#free.remove(before);
      address = before.address;
      bytes += before.bytes;
      before = before.before;
    }
    if (after !== null && after.label === null) {
      this.#free.remove(after);
      bytes += after.bytes;
      after = after.after;
    }
    const joined = freeBlock(address, bytes, before, after);
    if (before !== null) before.after = joined;
    if (after === null) this.#last = joined;
    else after.before = joined;
    this.#free.add(joined);
  }

  /** Makes the memory larger, so that a block of this size fits at its end. */
  #grow(bytes: number, label: string): void {
    const memory = this.source;
    const pages = memory.buffer.byteLength / PAGE;
    const last = this.#last;
    const spare = last !== null && last.label === null ? last.bytes : 0;
    const needed = Math.ceil((bytes - spare) / PAGE);
    const most = this.#maxPages - pages;
    if (needed > most) throw this.#full(bytes, label);
    const wanted = Math.min(most, Math.max(needed, LEAST_GROWTH, Math.ceil(pages / 4)));
    if (!tryGrow(memory, wanted) && !tryGrow(memory, needed)) throw this.#full(bytes, label);
    this.#views = viewsOf(memory);
    this.#pieces++;
    const end = pages * PAGE - GUARD;
    this.#append(end, memory.buffer.byteLength - GUARD - end);
  }

  #append(address: number, bytes: number): void {
    const block = freeBlock(address, bytes, this.#last, null);
    if (this.#last !== null) this.#last.after = block;
    this.#last = block;
    this.#join(block);
  }

  #overBudget(bytes: number, label: string): OutOfMemoryError {
    return new OutOfMemoryError(
      `Cannot allocate ${bytes} bytes for "${label}" within the budget of ${this.#budget}: ` +
        `${this.#usage()}; a smaller batch or a larger memoryBudget would help`,
      bytes,
      this.#liveBytes,
    );
  }

  #full(bytes: number, label: string): OutOfMemoryError {
    return new OutOfMemoryError(
      `Cannot allocate ${bytes} bytes for "${label}": one WebAssembly memory holds at most ` +
        `${this.#maxPages * PAGE}, of which ${this.#views.bytes.length} could be had; ` +
        `${this.#usage()}; a smaller batch would help`,
      bytes,
      this.#liveBytes,
    );
  }

  #usage(): string {
    const sums = new Map<string, number>();
    for (const { label, bytes } of this.#live) sums.set(label!, (sums.get(label!) ?? 0) + bytes);
    const largest = [...sums].sort((a, b) => b[1] - a[1]).slice(0, 5)
      .map(([name, sum]) => `${name} ${(sum / MIB).toFixed(1)} MiB`).join(", ");
    return `${this.#liveBytes} are in use, ${this.#peakBytes} at the peak; largest: ${largest}`;
  }
}

/** False where the system has no more to give. */
function tryGrow(memory: WebAssembly.Memory, pages: number): boolean {
  try {
    memory.grow(pages);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function rounded(bytes: number): number {
  return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
}

function freeBlock(
  address: number,
  bytes: number,
  before: Block | null,
  after: Block | null,
): Block {
  return { address, bytes, label: null, counted: false, before, after };
}

function viewsOf({ buffer }: WebAssembly.Memory): Views {
  return {
    f32: new Float32Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    bytes: new Uint8Array(buffer),
  };
}
