/**
 * Keyed, counter-based random numbers: a draw is a function of (key, purpose, position), so there is no state to save and
 * nobody can disturb anybody else. Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3", 2011).
 */

import { effect } from "../backend/capture.ts";
import { debugLine } from "../backend/debug.ts";

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

/**
 * One block of Threefry-2x32-20.
 *
 * @param k0 first word of the key
 * @param k1 second word of the key
 * @param c0 first word of the counter
 * @param c1 second word of the counter
 * @returns two unsigned words
 *
 * @example
 * ```ts
 * import { threefry2x32 } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(threefry2x32(0, 0, 0, 0), [0x6b200159, 0x99ba4efe]);
 * ```
 */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const keys = [k0 | 0, k1 | 0, (k0 ^ k1 ^ 0x1bd11bda) | 0];
  let x0 = (c0 + keys[0]) | 0;
  let x1 = (c1 + keys[1]) | 0;
  for (let block = 0; block < 5; block++) {
    for (let r = 0; r < 4; r++) {
      x0 = (x0 + x1) | 0;
      x1 = rotate(x1, ROTATIONS[(block % 2) * 4 + r]) ^ x0;
    }
    x0 = (x0 + keys[(block + 1) % 3]) | 0;
    x1 = (x1 + keys[(block + 2) % 3] + block + 1) | 0;
  }
  return [x0 >>> 0, x1 >>> 0];
}

/** The name of a stream of random numbers. Equal keys give equal numbers; folded keys are independent. */
export class Key {
  /** First word. */
  readonly k0: number;
  /** Second word. */
  readonly k1: number;

  /**
   * The key of a seed.
   *
   * @param seed an integer from 0 to 2^53 - 1
   * @throws {RangeError} if it is none
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(
        `Cannot make a key of seed ${seed}: expected an integer from 0 to 2^53 - 1`,
      );
    }
    this.k0 = seed >>> 0;
    this.k1 = Math.floor(seed / 2 ** 32);
  }

  /** The key of a sub-stream. @param purpose a name or a number */
  fold(purpose: string | number): Key {
    const [h0, h1] = typeof purpose === "string" ? hashText(purpose) : [purpose >>> 0, 0x9e3779b9];
    const [k0, k1] = threefry2x32(this.k0, this.k1, h0, h1);
    return Object.assign(Object.create(Key.prototype), { k0, k1 });
  }
}

/** Two words from a text, by FNV-1a from two bases. */
function hashText(text: string): [number, number] {
  let a = 0x811c9dc5;
  let b = 0xcbf29ce4;
  for (const byte of new TextEncoder().encode(text)) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x01000193) ^ (b >>> 15);
  }
  return [a >>> 0, b >>> 0];
}

/**
 * The numbers 0 to `count - 1` in random order, by Fisher and Yates' shuffle: one keyed number for each exchange.
 *
 * @param position which order of the key, from 0 to 2^32 - 1
 */
export function shuffled(count: number, key: Key, position = 0): Uint32Array<ArrayBuffer> {
  const indices = Uint32Array.from({ length: count }, (_, i) => i);
  for (let last = count - 1, draw = 0; last > 0; last--, draw++) {
    const [high, low] = threefry2x32(key.k0, key.k1, draw, position);
    const share = ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
    const other = Math.floor(share * (last + 1));
    [indices[last], indices[other]] = [indices[other], indices[last]];
  }
  return indices;
}

let current = { key: new Key(0), drawn: 0 };

/** Restarts the default stream, from which layers without a key of their own are initialised. */
export function manualSeed(seed: number): void {
  debugLine(1, () => `default stream of random numbers from seed ${seed}`);
  current = { key: new Key(seed), drawn: 0 };
}

/** Uses another default stream until the result is disposed: `using _ = seedScope(42)`. */
export function seedScope(seed: number): Disposable {
  debugLine(1, () => `random numbers from seed ${seed} for a while`);
  const previous = current;
  current = { key: new Key(seed), drawn: 0 };
  return {
    [Symbol.dispose]: () => {
      current = previous;
    },
  };
}

/** Moves the default stream on by one key; replays of a captured step do it again. */
export function advanceStream(): void {
  effect(() => void current.drawn++, () => void current.drawn--);
}

/** The key that the default stream gave last. */
export function streamKey(): Key {
  return current.key.fold(current.drawn - 1);
}

/** The next key of the default stream. */
export function nextKey(): Key {
  advanceStream();
  return streamKey();
}
