/** Dropout of the weights of attention, which draws inside of the kernels. */

import { effect } from "../core/backend/capture.ts";
import { type AttentionDropout, type Key, nextKey } from "../core/mod.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import type { DropoutOptions } from "./dropout.ts";
import { Module } from "./module.ts";

/**
 * Says which weights the next call of `scaledDotProductAttention` drops: in training each with
 * probability p, in evaluation none. As with `Dropout`, the n-th call is a function of the key and
 * n.
 *
 * @example
 * ```ts
 * import { WeightDropout } from "@legoml/legoml/nn";
 * import { Key } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = new WeightDropout(0.1, { key: new Key(42) });
 * assertEquals(layer.forward()?.p, 0.1);
 * assertEquals(layer.position, 1);
 * assertEquals(layer.eval().forward(), null);
 * ```
 */
export class WeightDropout extends Module {
  /** Probability that a weight becomes 0. */
  readonly p: number;
  readonly #key: Key;
  #position = 0;

  /**
   * Takes the probability.
   *
   * @param p probability that a weight becomes 0, from 0 to 1
   * @param options key
   * @throws {RangeError} if p is no probability
   */
  constructor(p: number, options: DropoutOptions = {}) {
    super();
    this.p = checkNumber("WeightDropout", "p", p, [0, 1]);
    this.#key = options.key ?? nextKey();
  }

  /** Number of calls so far that dropped; the next one is a function of the key and this number. */
  get position(): number {
    return this.#position;
  }

  set position(value: number) {
    this.#position = checkInteger("WeightDropout", "position", value, 0);
  }

  /**
   * What the next call drops.
   *
   * @returns the option `dropout` of attention; null in evaluation, and for p = 0
   */
  forward(): AttentionDropout | null {
    if (!this.training || this.p === 0) return null;
    effect(() => void this.#position++, () => void this.#position--);
    return { p: this.p, key: () => this.#key.fold(this.#position - 1) };
  }
}
