/** Means and sums of products of deviations, stable also where means are large. */

import { concat, full, noGrad, stack, type Tensor } from "../core/mod.ts";
import { addInto, copyInto } from "../core/tensor/in_place.ts";
import type { Accumulator } from "./accumulator.ts";
import { DeviceVector } from "./device_vector.ts";

/**
 * Count, means, and sums of products of deviations from the means (first squares, then the product
 * of both columns).
 */
export interface MomentValues {
  /** Number of rows. */
  readonly count: number;
  /** Mean of each column. */
  readonly means: readonly number[];
  /** `Σ (xᵢ − mean xᵢ)²` of each column, and for two columns `Σ (x₀ − mean x₀)·(x₁ − mean x₁)`. */
  readonly products: readonly number[];
}

/**
 * Moments of one column or two, from batches: each batch has its own, and two sets become one by
 * the formulas of Chan, Golub and LeVeque (1979), so that nothing is the small difference of large
 * sums.
 *
 * On the device (f32) means are kept relative to the first row that came, so they round like the
 * spread of the data and not like its size; a column of equal numbers has squares of exactly 0.
 * What is merged is put together on the host, in f64.
 */
export class Moments implements Accumulator {
  /** Device and host part, each: count, origins, means, products (the host has no origins). */
  readonly length: number;
  readonly #columns: number;
  readonly #products: number;
  readonly #count: DeviceVector;
  /** Origins, means relative to them, products. */
  readonly #state: DeviceVector;
  #base: MomentValues;

  /** @param columns 1 or 2 */
  constructor(columns: 1 | 2) {
    this.#columns = columns;
    this.#products = columns === 1 ? 1 : 3;
    this.length = 1 + 2 * columns + this.#products + 1 + columns + this.#products;
    this.#count = new DeviceVector(1, "i32");
    this.#state = new DeviceVector(2 * columns + this.#products, "f32");
    this.#base = this.#nothing();
  }

  /**
   * Adds rows.
   *
   * @param like a tensor of the device
   * @param count number of rows
   * @param columns makes them: f32 [count] each
   */
  add(like: Tensor, count: number, columns: () => readonly Tensor[]): void {
    if (count === 0) return;
    const { device } = like;
    using _scope = device.scope();
    using _quiet = noGrad();
    const [rows, before] = [this.#count.on(device), this.#state.on(device)];
    const [size, products] = [this.#columns, this.#products];
    const part = (from: number, length: number) => before.narrow(0, from, length);

    const x = stack(columns(), 1);
    const first = x.select(0, 0);
    const shifted = x.sub(first);
    const shift = shifted.mean(0);
    const own = productsOf(shifted.sub(shift), (t) => t.sum(0));

    const n = rows.to("f32");
    const origin = rows.eq(0).where(first, part(0, size));
    const mean = part(size, size);
    const delta = first.sub(origin).add(shift).sub(mean);
    const share = n.add(count).reciprocal().mul(count);
    const between = productsOf(delta.unsqueeze(0), (t) => t.select(0, 0)).mul(n).mul(share);
    const after = concat([
      origin,
      mean.add(delta.mul(share)),
      part(2 * size, products).add(own).add(between),
    ]);
    copyInto(before, after);
    addInto(rows, full([1], count, { device, dtype: "i32" }));
  }

  /** Device part and host part. */
  async read(): Promise<number[]> {
    const base = this.#base;
    const [count, state] = await Promise.all([this.#count.read(), this.#state.read()]);
    return [
      ...Array.from(count),
      ...Array.from(state),
      base.count,
      ...base.means,
      ...base.products,
    ];
  }

  /** The moments, from numbers of `read`. */
  of(values: ArrayLike<number>): MomentValues {
    const all = Array.from(values);
    const [size, products] = [this.#columns, this.#products];
    let at = 0;
    const next = (length: number) => all.slice(at, at += length);
    const [count] = next(1);
    const [origins, means, own] = [next(size), next(size), next(products)];
    const device = { count, means: means.map((m, i) => origins[i] + m), products: own };
    const [baseCount] = next(1);
    return together(device, { count: baseCount, means: next(size), products: next(products) });
  }

  /** Forgets all rows. */
  reset(): void {
    this.#count.write(null);
    this.#state.write(null);
    this.#base = this.#nothing();
  }

  /** Whether these are as many numbers, with whole counts. */
  accepts(values: readonly number[]): boolean {
    const counts = [values[0], values[this.length - 1 - this.#columns - this.#products]];
    return values.length === this.length && values[0] < 2 ** 31 &&
      counts.every((count) => Number.isSafeInteger(count) && count >= 0);
  }

  /** Sets both parts. */
  load(values: ArrayLike<number>): void {
    const all = Array.from(values);
    const end = 1 + 2 * this.#columns + this.#products;
    this.#count.write(all.slice(0, 1));
    this.#state.write(all.slice(1, end));
    const [count, ...rest] = all.slice(end);
    const [means, products] = [rest.slice(0, this.#columns), rest.slice(this.#columns)];
    this.#base = { count, means, products };
  }

  /** Adds both parts of another one to the host part. */
  absorb(values: ArrayLike<number>): void {
    this.#base = together(this.#base, this.of(values));
  }

  #nothing(): MomentValues {
    return {
      count: 0,
      means: Array(this.#columns).fill(0),
      products: Array(this.#products).fill(0),
    };
  }
}

/** Squares of the columns of [N, D], and for two columns their product, reduced over the rows. */
function productsOf(t: Tensor, reduce: (t: Tensor) => Tensor): Tensor {
  const squares = reduce(t.square());
  if (t.shape[1] === 1) return squares;
  return concat([squares, reduce(t.narrow(1, 0, 1).mul(t.narrow(1, 1, 1)))]);
}

/** Moments of two sets of rows. */
function together(a: MomentValues, b: MomentValues): MomentValues {
  if (a.count === 0 || b.count === 0) return a.count === 0 ? b : a;
  const count = a.count + b.count;
  const delta = a.means.map((mean, i) => b.means[i] - mean);
  const between = [...delta.map((d) => d * d), delta[0] * delta.at(-1)!];
  return {
    count,
    means: a.means.map((mean, i) => mean + delta[i] * b.count / count),
    products: a.products.map((p, i) =>
      p + b.products[i] + between[i] * a.count * (b.count / count)
    ),
  };
}
