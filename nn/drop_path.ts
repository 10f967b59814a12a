/** Stochastic depth. */

import { effect } from "../core/backend/capture.ts";
import { dropoutMask, type Key, nextKey, ShapeError, type Tensor } from "../core/mod.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a stochastic depth is made. */
export interface DropPathOptions {
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
}

/**
 * In training sets whole samples to 0 with probability p and divides the others by 1 − p; in
 * evaluation does nothing. At the end of a residual branch it drops the branch.
 *
 * The mask of the n-th call is a function of the key and n, as that of `Dropout`; to continue a run
 * exactly, save `position` and set it again. Huang et al., "Deep networks with stochastic depth",
 * 2016; `timm.layers.DropPath`.
 *
 * @example
 * ```ts
 * import { DropPath } from "@legoml/legoml/nn";
 * import { Key, ones, referenceDevice } from "@legoml/legoml/core";
 * import { assert, assertStrictEquals } from "@std/assert";
 *
 * const x = ones([8, 3], { device: referenceDevice() });
 * const layer = new DropPath(0.5, { key: new Key(1) });
 * const y = await layer.forward(x).array() as number[][];
 * assert(y.every((row) => row.every((value) => value === row[0] && (value === 0 || value === 2))));
 * assertStrictEquals(layer.eval().forward(x), x);
 * ```
 */
export class DropPath extends Module {
  /** Probability that a sample becomes 0. */
  readonly p: number;
  readonly #key: Key;
  #position = 0;

  /**
   * Takes the probability.
   *
   * @param p probability that a sample becomes 0, from 0 to 1
   * @param options key
   * @throws {RangeError} if p is no probability
   */
  constructor(p = 0, options: DropPathOptions = {}) {
    super();
    this.p = checkNumber("DropPath", "p", p, [0, 1]);
    this.#key = options.key ?? nextKey();
  }

  /** Number of masks drawn so far; the next mask is a function of the key and this number. */
  get position(): number {
    return this.#position;
  }

  set position(value: number) {
    this.#position = checkInteger("DropPath", "position", value, 0);
  }

  /**
   * Drops samples in training.
   *
   * @param x [N, ...], f32 or f16
   * @returns the same shape and dtype; in evaluation, and for p = 0, the input itself
   * @throws {ShapeError} if x is a scalar
   */
  forward(x: Tensor): Tensor {
    if (!this.training || this.p === 0) return x;
    if (x.ndim === 0) {
      throw new ShapeError("Cannot apply DropPath to []: expected an axis of samples");
    }
    effect(() => void this.#position++, () => void this.#position--);
    const key = () => this.#key.fold(this.#position - 1);
    const shape = x.shape.map((n, d) => d === 0 ? n : 1);
    const mask = dropoutMask(shape, this.p, key, x.device);
    return x.mul(x.dtype === "f16" ? mask.to("f16") : mask);
  }
}
