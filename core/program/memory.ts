/** Places for the intermediate values of a step: values that do not live at once share a buffer. */

import { VirtualBuffer } from "../backend/capture.ts";
import { threefry2x32 } from "../tensor/random.ts";
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

interface Slots {
  readonly bytes: number;
  readonly sizes: readonly number[];
  readonly slotOf: ReadonlyMap<unknown, number>;
}

/** Gives each value, in the order given, the free buffer whose size fits best; buffers grow where that is cheaper than a new one. */
function place(lives: readonly Lifetime[]): Slots {
  const slots: { bytes: number; lives: Lifetime[] }[] = [];
  const slotOf = new Map<unknown, number>();
  for (const life of lives) {
    let best = -1;
    let least = life.bytes;
    slots.forEach((slot, i) => {
      const free = slot.lives.every((o) => o.until < life.from || life.until < o.from);
      // Growth costs all of it; unused room costs a little, so that it stays for larger values.
      const cost = Math.max(0, life.bytes - slot.bytes) + Math.max(0, slot.bytes - life.bytes) / 64;
      if (free && cost < least) [best, least] = [i, cost];
    });
    if (best < 0) best = slots.push({ bytes: life.bytes, lives: [] }) - 1;
    slots[best].bytes = Math.max(slots[best].bytes, life.bytes);
    slots[best].lives.push(life);
    slotOf.set(life.buffer, best);
  }
  const sizes = slots.map((slot) => slot.bytes);
  return { bytes: sizes.reduce((a, b) => a + b, 0), sizes, slotOf };
}

/** Orders tried beside the plain ones. */
const TRIES = 48;

/** Values that do not live at once share buffers; of many orders of giving them out the one that takes least memory counts. */
export function planMemory(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): MemoryPlan {
  const lives = lifetimes(calls, observable);
  const least = mostAtOnce(lives, calls.length);
  const by = (weight: (life: Lifetime) => number) =>
    lives.toSorted((a, b) => weight(b) - weight(a) || a.from - b.from);
  let best = place(by((life) => life.bytes));
  const attempt = (order: readonly Lifetime[]) => {
    const slots = place(order);
    if (slots.bytes < best.bytes) best = slots;
  };
  attempt(lives);
  attempt(by((life) => life.bytes * (life.until - life.from + 1)));
  for (let k = 0; k < TRIES && best.bytes > least; k++) {
    const noise = new Map(lives.map((life, i) => [life, threefry2x32(k, i, 0, 0)[0] / 2 ** 32]));
    attempt(by((life) => life.bytes * (0.5 + noise.get(life)!)));
  }
  return {
    calls,
    slots: best.sizes.map((bytes) => bytes / 4),
    slotOf: best.slotOf,
    bytes: best.bytes,
    least,
  };
}
