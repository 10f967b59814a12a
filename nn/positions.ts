/** What tells a model where in a sequence an element is. */

import { apply, input } from "../kernels/expr.ts";
import { type Device, nextKey, ShapeError, showShape, type Tensor, tensor } from "../core/mod.ts";
import { map } from "../core/tensor/map.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { type InitOptions, normal } from "./init.ts";
import { Module } from "./module.ts";

/** The part of a table for so many positions; fails where there are not as many. */
function positionsOf(owner: string, table: Tensor, x: Tensor, start: number): Tensor {
  const [length, width] = x.shape.slice(-2);
  const [most, own] = table.shape;
  if (x.ndim < 2 || width !== own) {
    throw new ShapeError(
      `Cannot apply ${owner} to ${showShape(x.shape)}: expected [..., L, ${own}]`,
    );
  }
  checkRange(owner, length, most, start);
  return table.narrow(0, start, length);
}

function checkRange(owner: string, length: number, most: number, start: number): void {
  if (Number.isInteger(start) && start >= 0 && start + length <= most) return;
  throw new RangeError(
    `Cannot apply ${owner} to ${length} positions from ${start} on: expected them to lie within ${most}`,
  );
}

/**
 * Learnt vectors added to the elements of a sequence: `y = x + weight[position]`.
 *
 * Parameter: `weight` [maxLength, width], normal with deviation 0.02, as in GPT-2 (Radford et al.,
 * 2019).
 *
 * @example
 * ```ts
 * import { LearnedPositions } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new LearnedPositions(16, 4, { device });
 * const y = layer.forward(zeros([2, 3, 4], { device }));
 * assertEquals(await y.select(0, 1).array(), await layer.weight.narrow(0, 0, 3).array());
 * ```
 */
export class LearnedPositions extends Module {
  /** [maxLength, width] */
  readonly weight: Tensor;

  /**
   * Draws the vectors from the key.
   *
   * @param maxLength positions at most, at least 1
   * @param width size of the last axis of the input, at least 1
   * @param options key, device
   * @throws {RangeError} if a size is no integer of at least 1
   */
  constructor(maxLength: number, width: number, options: InitOptions = {}) {
    super();
    checkInteger("LearnedPositions", "maxLength", maxLength, 1);
    checkInteger("LearnedPositions", "width", width, 1);
    const { key = nextKey(), device } = options;
    const start = normal([maxLength, width], { std: 0.02, key: key.fold("weight"), device });
    this.weight = this.registerParameter("weight", start);
  }

  /**
   * Adds the vectors.
   *
   * @param x [..., L, width]
   * @param start position of the first element
   * @returns the same shape
   * @throws {ShapeError} if the last axis is not the width
   * @throws {RangeError} if there are more positions than maxLength
   */
  forward(x: Tensor, start = 0): Tensor {
    return x.add(positionsOf("LearnedPositions", this.weight, x, start));
  }
}

/**
 * Fixed vectors added to the elements of a sequence: `y = x + table[position]`, with
 * `table[p][2i] = sin(p / 10000^(2i/width))` and `table[p][2i + 1] = cos(p / 10000^(2i/width))`.
 *
 * No parameters; the table is a buffer outside of the state dict. Vaswani et al., "Attention is all
 * you need", 2017.
 *
 * @example
 * ```ts
 * import { SinusoidalPositions } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new SinusoidalPositions(16, 4, { device });
 * const [, second] = await layer.forward(zeros([2, 4], { device })).array() as number[][];
 * assertAlmostEquals(second[0], Math.sin(1), 1e-6);
 * assertAlmostEquals(second[3], Math.cos(0.01), 1e-6);
 * ```
 */
export class SinusoidalPositions extends Module {
  /** [maxLength, width] */
  readonly table: Tensor;

  /**
   * Computes the table.
   *
   * @param maxLength positions at most, at least 1
   * @param width size of the last axis of the input, at least 1
   * @param options device
   * @throws {RangeError} if a size is no integer of at least 1
   */
  constructor(maxLength: number, width: number, options: { readonly device?: Device } = {}) {
    super();
    checkInteger("SinusoidalPositions", "maxLength", maxLength, 1);
    checkInteger("SinusoidalPositions", "width", width, 1);
    const values = Float64Array.from({ length: maxLength * width }, (_, at) => {
      const [position, d] = [Math.floor(at / width), at % width];
      const angle = position / 10000 ** ((d - d % 2) / width);
      return d % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    });
    const table = tensor(values, { shape: [maxLength, width], dtype: "f32", ...options });
    this.table = this.registerBuffer("table", table, { persistent: false });
  }

  /**
   * Adds the vectors.
   *
   * @param x [..., L, width]
   * @param start position of the first element
   * @returns the same shape
   * @throws {ShapeError} if the last axis is not the width
   * @throws {RangeError} if there are more positions than maxLength
   */
  forward(x: Tensor, start = 0): Tensor {
    return x.add(positionsOf("SinusoidalPositions", this.table, x, start));
  }
}

/** How a rotary embedding is made. */
export interface RotaryOptions {
  /** How fast angles fall from pair to pair: pair i turns by `base^(−2i/dim)` a position. @default {10000} */
  readonly base?: number;
  /**
   * Whether pairs are neighbours (2i, 2i + 1), as in the paper and GPT-J, instead of (i, i + dim/2),
   * as in GPT-NeoX and LLaMA.
   * @default {false}
   */
  readonly interleaved?: boolean;
  /** Where the tables live. @default {the default device} */
  readonly device?: Device;
}

const turned = apply("add", apply("mul", input(0), input(1)), apply("mul", input(2), input(3)));

/**
 * Turns pairs of elements by an angle in proportion to the position, so that the inner product of
 * two turned vectors depends on how far apart they are, not on where.
 *
 * A pair (a, b) becomes `(a cos θ − b sin θ, b cos θ + a sin θ)` with `θ = position · base^(−2i/dim)`.
 * No parameters; the tables are buffers outside of the state dict. One kernel. Su et al., "RoFormer:
 * Enhanced transformer with rotary position embedding", 2021.
 *
 * @example
 * ```ts
 * import { RotaryEmbedding } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const rotary = new RotaryEmbedding(2, 16, { device });
 * const [, y] = await rotary.forward(tensor([[1, 0], [1, 0]], { device })).array() as number[][];
 * assertAlmostEquals(y[0], Math.cos(1), 1e-6);
 * assertAlmostEquals(y[1], Math.sin(1), 1e-6);
 * ```
 */
export class RotaryEmbedding extends Module {
  /** Size of the last axis. */
  readonly dim: number;
  /** Whether pairs are neighbours. */
  readonly interleaved: boolean;
  /** [maxLength, 2, dim / 2], or [maxLength, dim / 2, 2] interleaved: cosines of both elements of a pair */
  readonly cosines: Tensor;
  /** Accordingly: what the other element of the pair is multiplied with */
  readonly sines: Tensor;

  /**
   * Computes the tables.
   *
   * @param dim size of the last axis, even and at least 2
   * @param maxLength positions at most, at least 1
   * @param options base, interleaved, device
   * @throws {RangeError} if dim is odd, or a number is out of its range
   */
  constructor(dim: number, maxLength: number, options: RotaryOptions = {}) {
    super();
    const { base = 10000, interleaved = false, device } = options;
    this.dim = checkInteger("RotaryEmbedding", "dim", dim, 2);
    checkInteger("RotaryEmbedding", "maxLength", maxLength, 1);
    checkNumber("RotaryEmbedding", "base", base, [Number.MIN_VALUE, Infinity]);
    if (dim % 2 !== 0) {
      throw new RangeError(`Cannot make RotaryEmbedding with dim ${dim}: expected an even number`);
    }
    this.interleaved = interleaved;
    const pairs = dim / 2;
    const table = (value: (angle: number, second: boolean) => number) => {
      const values = Float64Array.from({ length: maxLength * dim }, (_, at) => {
        const [position, d] = [Math.floor(at / dim), at % dim];
        const [pair, second] = interleaved ? [d >> 1, d % 2 === 1] : [d % pairs, d >= pairs];
        return value(position * base ** (-2 * pair / dim), second);
      });
      const shape = interleaved ? [maxLength, pairs, 2] : [maxLength, 2, pairs];
      return tensor(values, { shape, dtype: "f32", device });
    };
    const [cosines, sines] = [
      table((angle) => Math.cos(angle)),
      table((angle, second) => second ? Math.sin(angle) : -Math.sin(angle)),
    ];
    this.cosines = this.registerBuffer("cosines", cosines, { persistent: false });
    this.sines = this.registerBuffer("sines", sines, { persistent: false });
  }

  /**
   * Turns queries or keys.
   *
   * @param x [..., L, dim], f32 or f16
   * @param start position of the first element
   * @returns the same shape and dtype
   * @throws {ShapeError} if the last axis is not dim
   * @throws {RangeError} if there are more positions than maxLength
   */
  forward(x: Tensor, start = 0): Tensor {
    if (x.ndim < 2 || x.shape.at(-1) !== this.dim) {
      throw new ShapeError(
        `Cannot apply RotaryEmbedding to ${showShape(x.shape)}: expected [..., L, ${this.dim}]`,
      );
    }
    const length = x.shape.at(-2)!;
    const [cosines, sines] = this.tables(length, start);
    return this.turn(x, cosines, sines);
  }

  /**
   * The tables of some positions.
   *
   * @param length number of positions
   * @param start the first one
   * @returns cosines and sines, [length, 2, dim / 2] or [length, dim / 2, 2]
   * @throws {RangeError} if there are more positions than maxLength
   */
  tables(length: number, start = 0): [Tensor, Tensor] {
    checkRange("RotaryEmbedding", length, this.cosines.shape[0], start);
    return [this.cosines.narrow(0, start, length), this.sines.narrow(0, start, length)];
  }

  /**
   * Turns by given tables.
   *
   * @param x [..., dim]
   * @param cosines broadcastable to x with its last axis cut into pairs as `tables()` has them
   * @param sines accordingly
   * @returns the same shape and dtype
   */
  turn(x: Tensor, cosines: Tensor, sines: Tensor): Tensor {
    const [axis, pairs] = this.interleaved ? [-1, [this.dim / 2, 2]] : [-2, [2, this.dim / 2]];
    const cut = x.reshape([...x.shape.slice(0, -1), ...pairs]);
    return map("rotary", turned, [cut, cosines, cut.flip(axis), sines], { dtype: x.dtype })
      .reshape(x.shape);
  }
}
