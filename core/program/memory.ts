/** Places for the intermediate values of a step: values that do not live at once share a buffer. */

import { VirtualBuffer } from "../backend/capture.ts";
import { bytesPerElement } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";

/** Where the values of a step lie. */
export interface MemoryPlan {
  readonly calls: readonly StepCall[];
  /** Size of each buffer, in words of 4 bytes. */
  readonly slots: readonly number[];
  /** Number of the buffer of a value. */
  readonly slotOf: ReadonlyMap<unknown, number>;
  /** Bytes of all buffers. */
  readonly bytes: number;
  /** The most bytes that live at once. */
  readonly least: number;
}

/** A value from the call that first writes it to the last call that uses it. */
interface Lifetime {
  readonly buffer: VirtualBuffer;
  readonly bytes: number;
  readonly from: number;
  until: number;
}

/** Bytes that a value takes: bindings are multiples of 16. */
function bytesOf({ count, dtype }: VirtualBuffer): number {
  return Math.ceil(count * bytesPerElement(dtype) / 256) * 256;
}

function lifetimes(calls: readonly StepCall[], observable: ReadonlySet<unknown>): Lifetime[] {
  const found = new Map<unknown, Lifetime>();
  calls.forEach(({ inputs, outputs }, at) => {
    for (const { buffer } of [...inputs, ...outputs]) {
      if (!(buffer instanceof VirtualBuffer) || observable.has(buffer) || buffer.data !== null) {
        continue;
      }
      const life = found.get(buffer);
      if (life === undefined) {
        found.set(buffer, { buffer, bytes: bytesOf(buffer), from: at, until: at });
      } else life.until = at;
    }
  });
  return [...found.values()];
}

function mostAtOnce(lives: readonly Lifetime[], length: number): number {
  const change = new Array<number>(length + 1).fill(0);
  for (const { from, until, bytes } of lives) {
    change[from] += bytes;
    change[until + 1] -= bytes;
  }
  let now = 0;
  return change.reduce((most, step) => Math.max(most, now += step), 0);
}

/**
 * Gives the largest values their places first; each takes the fullest buffer that is free for its whole life, and buffers grow
 * where that costs less than a new one.
 */
export function planMemory(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): MemoryPlan {
  const lives = lifetimes(calls, observable);
  const slots: { bytes: number; lives: Lifetime[] }[] = [];
  const slotOf = new Map<unknown, number>();
  const ordered = lives.toSorted((a, b) => b.bytes - a.bytes || a.from - b.from);
  for (const life of ordered) {
    const free = (slot: { lives: Lifetime[] }) =>
      slot.lives.every(({ from, until }) => until < life.from || life.until < from);
    // Larger values came first, so every free buffer is large enough; the smallest of them wastes least.
    let best = -1;
    slots.forEach((slot, i) => {
      if (free(slot) && (best < 0 || slot.bytes < slots[best].bytes)) best = i;
    });
    if (best < 0) best = slots.push({ bytes: life.bytes, lives: [] }) - 1;
    slots[best].lives.push(life);
    slotOf.set(life.buffer, best);
  }
  return {
    calls,
    slots: slots.map(({ bytes }) => bytes / 4),
    slotOf,
    bytes: slots.reduce((sum, { bytes }) => sum + bytes, 0),
    least: mostAtOnce(lives, calls.length),
  };
}
