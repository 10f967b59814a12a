/** Dropout. */

import { effect } from "../core/backend/capture.ts";
import { dropoutMask, type Key, nextKey, type Tensor } from "../core/mod.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a dropout is made. */
export interface DropoutOptions {
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
}

/**
 * In training sets elements to 0 with probability p and divides the others by 1 − p; in evaluation
 * does nothing. As torch.nn.Dropout; Srivastava et al., "Dropout", 2014.
 *
 * The mask of the n-th call is a function of the key and n, so equal keys give equal masks,
 * whatever else draws random numbers. To continue a run exactly, save `position` and set it again.
 *
 * @example
 * ```ts
 * import { Dropout } from "@legoml/legoml/nn";
 * import { Key, ones, referenceDevice } from "@legoml/legoml/core";
 * import { assert, assertStrictEquals } from "@std/assert";
 *
 * const x = ones([100], { device: referenceDevice() });
 * const layer = new Dropout(0.5, { key: new Key(42) });
 * const y = await layer.forward(x).data();
 * assert(y.every((value) => value === 0 || value === 2));
 * assertStrictEquals(layer.eval().forward(x), x);
 * ```
 */
export class Dropout extends Module {
  /** Probability that an element becomes 0. */
  readonly p: number;
  readonly #key: Key;
  #position = 0;

  /**
   * Takes the probability.
   *
   * @param p probability that an element becomes 0, from 0 to 1
   * @param options key
   * @throws {RangeError} if p is no probability
   */
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super();
    this.p = checkNumber("Dropout", "p", p, [0, 1]);
    this.#key = options.key ?? nextKey();
  }

  /** Number of masks drawn so far; the next mask is a function of the key and this number. */
  get position(): number {
    return this.#position;
  }

  set position(value: number) {
    this.#position = checkInteger("Dropout", "position", value, 0);
  }

  /**
   * Drops elements in training.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype; in evaluation, and for p = 0, the input itself
   */
  forward(x: Tensor): Tensor {
    if (!this.training || this.p === 0) return x;
    effect(() => void this.#position++, () => void this.#position--);
    const key = () => this.#key.fold(this.#position - 1);
    const mask = dropoutMask(x.shape, this.p, key, x.device);
    return x.mul(x.dtype === "f16" ? mask.to("f16") : mask);
  }
}
