/** Places for the intermediate values of a step: values that do not live at once share a buffer. */

import { VirtualBuffer } from "../backend/capture.ts";
import { threefry2x32 } from "../tensor/random.ts";
import { bytesPerElement, type DType } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";

/** The place of a value: the number of a buffer, and the first word in it. */
export interface Place {
  readonly slot: number;
  readonly offset: number;
}

/** Where the values of a step lie. */
export interface MemoryPlan {
  /** Size of each buffer, in words of 4 bytes. */
  readonly slots: readonly number[];
  /** Where each value lies. */
  readonly placeOf: ReadonlyMap<unknown, Place>;
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

/** How many bytes an element takes. */
export type ElementSize = (dtype: DType) => number;

function lifetimes(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
  sizeOf: ElementSize,
): Lifetime[] {
  const found = new Map<unknown, Lifetime>();
  calls.forEach(({ inputs, outputs }, at) => {
    for (const { buffer } of [...inputs, ...outputs]) {
      if (!(buffer instanceof VirtualBuffer) || observable.has(buffer) || buffer.data !== null) {
        continue;
      }
      const life = found.get(buffer);
      if (life === undefined) {
        // Bound ranges start at multiples of 256 bytes.
        const bytes = Math.ceil(buffer.count * sizeOf(buffer.dtype) / 256) * 256;
        found.set(buffer, { buffer, bytes, from: at, until: at });
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

/** A buffer that is being filled: values that live at once lie behind each other. */
interface Slot {
  bytes: number;
  readonly held: { readonly life: Lifetime; readonly offset: number }[];
}

/** A way of giving the values their places. */
interface Layout {
  readonly bytes: number;
  readonly sizes: readonly number[];
  readonly placeOf: ReadonlyMap<unknown, Place>;
}

/** Buffers do not grow beyond this many bytes by holding several values. */
const MOST_SHARED = 64 * 2 ** 20;

/**
 * Gives each value, in the order given, the place that makes the buffers grow least.
 *
 * @param apart values that one dispatch reads and writes: these cannot lie in one buffer
 */
function layOut(
  lives: readonly Lifetime[],
  apart: ReadonlyMap<unknown, ReadonlySet<unknown>>,
): Layout {
  const slots: Slot[] = [];
  const placeOf = new Map<unknown, Place>();
  for (const life of lives) {
    const others = apart.get(life.buffer);
    let best = { slot: slots.length, offset: 0, growth: life.bytes };
    slots.forEach((slot, index) => {
      if (slot.held.some((h) => others?.has(h.life.buffer))) return;
      const offset = lowestGap(slot, life);
      const end = offset + life.bytes;
      const growth = Math.max(0, end - slot.bytes);
      if (growth > 0 && end > MOST_SHARED) return;
      if (growth < best.growth) best = { slot: index, offset, growth };
    });
    if (best.slot === slots.length) slots.push({ bytes: 0, held: [] });
    const slot = slots[best.slot];
    slot.bytes += best.growth;
    slot.held.push({ life, offset: best.offset });
    placeOf.set(life.buffer, { slot: best.slot, offset: best.offset / 4 });
  }
  const sizes = slots.map((slot) => slot.bytes);
  return { bytes: sizes.reduce((a, b) => a + b, 0), sizes, placeOf };
}

/** The first place of a buffer where nothing lies as long as the value lives. */
function lowestGap({ held }: Slot, life: Lifetime): number {
  const taken = held
    .filter((h) => h.life.from <= life.until && life.from <= h.life.until)
    .sort((a, b) => a.offset - b.offset);
  let at = 0;
  for (const { offset, life: other } of taken) {
    if (offset - at >= life.bytes) break;
    at = Math.max(at, offset + other.bytes);
  }
  return at;
}

/** For each value those that a dispatch reads where it writes this one, or the other way round. */
function separated(calls: readonly StepCall[]): Map<unknown, Set<unknown>> {
  const apart = new Map<unknown, Set<unknown>>();
  const add = (a: unknown, b: unknown) => {
    if (!apart.has(a)) apart.set(a, new Set());
    apart.get(a)!.add(b);
  };
  for (const { inputs, outputs } of calls) {
    for (const { buffer: i } of inputs) {
      for (const { buffer: o } of outputs) {
        add(i, o);
        add(o, i);
      }
    }
  }
  return apart;
}

/** Orders tried beside the plain ones. */
const TRIES = 64;

/**
 * Values share buffers, one behind the other or one after the other; of many orders of giving them out the one that takes
 * least memory counts.
 *
 * @param sizeOf bytes of an element; not those of a device where the backend keeps elements otherwise
 */
export function planMemory(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
  sizeOf: ElementSize = bytesPerElement,
): MemoryPlan {
  const lives = lifetimes(calls, observable, sizeOf);
  const least = mostAtOnce(lives, calls.length);
  const by = (weight: (life: Lifetime) => number) =>
    lives.toSorted((a, b) => weight(b) - weight(a) || a.from - b.from);
  const apart = separated(calls);
  let best = layOut(by((life) => life.bytes), apart);
  const attempt = (order: readonly Lifetime[]) => {
    const layout = layOut(order, apart);
    if (layout.bytes < best.bytes) best = layout;
  };
  attempt(lives);
  attempt(by((life) => life.bytes * (life.until - life.from + 1)));
  for (let k = 0; k < TRIES && best.bytes > least; k++) {
    const noise = new Map(lives.map((life, i) => [life, threefry2x32(k, i, 0, 0)[0] / 2 ** 32]));
    attempt(by((life) => life.bytes * 2 ** (6 * noise.get(life)!)));
  }
  return {
    slots: best.sizes.map((bytes) => bytes / 4),
    placeOf: best.placeOf,
    bytes: best.bytes,
    least,
  };
}
