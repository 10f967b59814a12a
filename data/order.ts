/**
 * Keyed random numbers on the host: the same seed, purpose and position give the same values, in
 * any order.
 */

import { Key, shuffled, threefry2x32 } from "../core/tensor/random.ts";
import { checkCount } from "./checks.ts";

/** Random numbers of one position of one purpose, drawn one after the other. */
export class KeyedStream {
  readonly #key: Key;
  readonly #position: number;
  #draw = 0;

  /**
   * Starts a stream.
   *
   * @param key what the numbers belong to: a seed, folded with a purpose
   * @param position which stream of the key, a whole number from 0 to 2^32 - 1
   * @throws {RangeError} when the position is out of range
   */
  constructor(key: Key, position: number) {
    checkCount("draw random numbers", "position", position, 0, 2 ** 32 - 1);
    this.#key = key;
    this.#position = position;
  }

  /** The next two words, each from 0 to 2^32 - 1. */
  words(): [number, number] {
    return threefry2x32(this.#key.k0, this.#key.k1, this.#draw++, this.#position);
  }

  /** The next number of [0, 1), a multiple of 2^-53. */
  uniform(): number {
    const [high, low] = this.words();
    return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
  }

  /** The next number of a normal distribution with mean 0 and standard deviation 1. */
  normal(): number {
    const [first, second] = this.words();
    const radius = Math.sqrt(-2 * Math.log((first + 1) / 2 ** 32));
    return radius * Math.cos(2 * Math.PI * second / 2 ** 32);
  }
}

/**
 * A random permutation, as a pure function.
 *
 * Fisher and Yates' shuffle, one keyed number for each exchange.
 *
 * @param seed whole number from 0 to 2^53 - 1
 * @param purpose what it is for: other purposes get other permutations
 * @param position which permutation of the purpose, a whole number from 0 to 2^32 - 1
 * @param count number of elements
 * @returns 0 to `count - 1`, each once
 * @throws {RangeError} when the seed, position or count is out of range
 */
export function permutation(
  seed: number,
  purpose: string,
  position: number,
  count: number,
): Uint32Array<ArrayBuffer> {
  checkCount("make a permutation", "count", count, 0, 2 ** 32 - 1);
  checkCount("make a permutation", "seed", seed, 0);
  checkCount("make a permutation", "position", position, 0, 2 ** 32 - 1);
  return shuffled(count, new Key(seed).fold(purpose), position);
}

/**
 * The order in which an epoch visits a data set.
 *
 * It depends on nothing else, so a run that continues from a checkpoint sees the same order as one
 * that never stopped.
 *
 * @param seed whole number from 0 to 2^53 - 1
 * @param epoch index of the epoch, from 0
 * @param count number of items
 * @returns 0 to `count - 1`, each once
 * @throws {RangeError} when an argument is out of range
 *
 * @example
 * ```ts
 * import { order } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...order(42, 0, 5)], [1, 4, 0, 3, 2]);
 * assertEquals([...order(42, 1, 5)], [2, 1, 0, 3, 4]);
 * ```
 */
export function order(seed: number, epoch: number, count: number): Uint32Array<ArrayBuffer> {
  checkCount("order an epoch", "epoch", epoch, 0, 2 ** 32 - 1);
  return permutation(seed, "data shuffle", epoch, count);
}
