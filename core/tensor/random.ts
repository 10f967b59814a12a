/**
 * Keyed, counter-based random numbers: a draw is a function of (key, purpose, position), so there is no state to save and
 * nobody can disturb anybody else. Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3", 2011).
 */

import { threefry2x32 } from "../../kernels/threefry.ts";
import { effect } from "../backend/capture.ts";
import { debugLine } from "../backend/debug.ts";

export { threefry2x32 };

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

/** Where the default stream of random numbers is, as plain data. */
export interface RngState {
  /** The words of its key. */
  readonly key: readonly [number, number];
  /** How many keys it has given. */
  readonly drawn: number;
}

/** Where the default stream of random numbers is; `setRngState` goes on from there. */
export function getRngState(): RngState {
  return { key: [current.key.k0, current.key.k1], drawn: current.drawn };
}

/**
 * Goes on with the default stream of random numbers from where it was.
 *
 * @param state what `getRngState` gave
 * @throws {TypeError} if it is none
 */
export function setRngState(state: RngState): void {
  const words = [...(state?.key ?? []), state?.drawn];
  if (words.length !== 3 || !words.every((n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32)) {
    throw new TypeError(
      `Cannot set the state of random numbers: expected a key of two words and a count, found ${
        JSON.stringify(state)
      }`,
    );
  }
  const [k0, k1] = state.key;
  current = { key: new Key(k0 + k1 * 2 ** 32), drawn: state.drawn };
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
