/**
 * Data sets by index: in-memory arrays, labelled examples, parts and random splits of another one.
 */

import { checkCount, checkFractions } from "./checks.ts";
import { permutation } from "./order.ts";

/** Items by index. */
export interface Dataset<Item> {
  /** Number of items. */
  readonly length: number;
  /** What images are normalised with by default. */
  readonly normalization?: Normalization;
  /**
   * One item.
   *
   * @param index from 0 to `length - 1`
   * @returns the item
   */
  get(index: number): Item;
  /**
   * Several items at once, for a data set that is quicker at that, or makes them elsewhere.
   *
   * @param indices from 0 to `length - 1`, in any order
   * @returns the items, in the order of the indices
   */
  getItems?(indices: ArrayLike<number>): readonly Item[] | Promise<readonly Item[]>;
}

/**
 * Items of a data set, all at once where it can.
 *
 * @param dataset where they are
 * @param indices which, in this order
 * @returns the items, or a promise of them
 */
export function itemsOf<Item>(
  dataset: Dataset<Item>,
  indices: ArrayLike<number>,
): readonly Item[] | Promise<readonly Item[]> {
  return dataset.getItems?.(indices) ?? Array.from(indices, (index) => dataset.get(index));
}

/** One example with its class. */
export interface LabelledItem {
  /** Elements in row-major order: bytes of an image, or features. */
  readonly input: Uint8Array | Float32Array;
  /** Sizes of `input`: `[C, H, W]` of an image, `[F]` of features. */
  readonly shape: readonly number[];
  /** Class, from 0 to `classCount - 1`. */
  readonly label: number;
  /** Number of classes. */
  readonly classCount: number;
}

/** Mean and standard deviation of each channel, for values from 0 to 1. */
export interface Normalization {
  /** One mean for all channels, or one for each. */
  readonly mean: number | readonly number[];
  /** One standard deviation for all channels, or one for each; above 0. */
  readonly std: number | readonly number[];
}

/**
 * A data set over an array.
 *
 * @example
 * ```ts
 * import { ArrayDataset } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const words = new ArrayDataset(["one", "two", "three"]);
 * assertEquals([words.length, words.get(2)], [3, "three"]);
 * ```
 */
export class ArrayDataset<Item> implements Dataset<Item> {
  readonly #items: readonly Item[];

  /**
   * Keeps the items.
   *
   * @param items the items; not copied
   */
  constructor(items: readonly Item[]) {
    this.#items = items;
  }

  /** Number of items. */
  get length(): number {
    return this.#items.length;
  }

  /**
   * One item.
   *
   * @param index from 0 to `length - 1`
   * @returns the item
   * @throws {RangeError} when there is no such item
   */
  get(index: number): Item {
    checkIndex(index, this.length);
    return this.#items[index];
  }
}

/** A part of another data set, in the order of a list of indices. */
export class Subset<Item> implements Dataset<Item> {
  readonly #dataset: Dataset<Item>;
  readonly #indices: ArrayLike<number>;

  /**
   * Checks the indices and keeps them.
   *
   * @param dataset where the items are
   * @param indices which of them, in this order; may repeat
   * @throws {RangeError} when an index is not one of the data set
   */
  constructor(dataset: Dataset<Item>, indices: ArrayLike<number>) {
    for (let i = 0; i < indices.length; i++) checkIndex(indices[i], dataset.length);
    this.#dataset = dataset;
    this.#indices = indices;
  }

  /** Number of items. */
  get length(): number {
    return this.#indices.length;
  }

  /** What images are normalised with by default: that of the whole data set. */
  get normalization(): Normalization | undefined {
    return this.#dataset.normalization;
  }

  /**
   * One item.
   *
   * @param index from 0 to `length - 1`
   * @returns the item
   * @throws {RangeError} when there is no such item
   */
  get(index: number): Item {
    checkIndex(index, this.length);
    return this.#dataset.get(this.#indices[index]);
  }

  /**
   * Several items at once.
   *
   * @param indices from 0 to `length - 1`
   * @returns the items, in the order of the indices
   * @throws {RangeError} when there is no such item
   */
  getItems(indices: ArrayLike<number>): readonly Item[] | Promise<readonly Item[]> {
    return itemsOf(
      this.#dataset,
      Array.from(indices, (index) => {
        checkIndex(index, this.length);
        return this.#indices[index];
      }),
    );
  }
}

/**
 * The first items of a data set.
 *
 * @param dataset any data set
 * @param count how many, at least 0; all when there are fewer
 * @returns a part of it; nothing is copied
 * @throws {RangeError} when `count` is not a whole number of at least 0
 */
export function take<Item>(dataset: Dataset<Item>, count: number): Subset<Item> {
  checkCount("take items", "count", count, 0);
  return new Subset(
    dataset,
    Uint32Array.from({ length: Math.min(count, dataset.length) }, (_, i) => i),
  );
}

/**
 * Splits a data set at random into parts that share no item.
 *
 * @param dataset any data set
 * @param fractions share of each part, above 0, with a sum of 1
 * @param options `seed`, a whole number from 0 to 2^53 - 1. Default: 0
 * @returns one part for each fraction; the same seed gives the same parts
 * @throws {RangeError} when the fractions are not above 0 or their sum is not 1
 *
 * @example
 * ```ts
 * import { ArrayDataset, randomSplit } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const [train, test] = randomSplit(new ArrayDataset([1, 2, 3, 4, 5]), [0.8, 0.2], { seed: 1 });
 * assertEquals([train.length, test.length], [4, 1]);
 * ```
 */
export function randomSplit<Item>(
  dataset: Dataset<Item>,
  fractions: readonly number[],
  options: { seed?: number } = {},
): Subset<Item>[] {
  checkFractions(fractions);
  const indices = permutation(options.seed ?? 0, "data split", 0, dataset.length);
  let share = 0;
  let start = 0;
  return fractions.map((fraction, part) => {
    share += fraction;
    const end = part === fractions.length - 1 ? dataset.length : Math.round(share * dataset.length);
    const subset = new Subset(dataset, indices.subarray(start, end));
    start = end;
    return subset;
  });
}

/**
 * Checks an index.
 *
 * @param index what was asked for
 * @param length number of items
 * @throws {RangeError} when it is not a whole number from 0 to `length - 1`
 */
export function checkIndex(index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  throw new RangeError(
    `Cannot get item ${index} as the index must be a whole number from 0 to ${length - 1}`,
  );
}
