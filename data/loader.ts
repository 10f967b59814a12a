/** Batches of a data set in a keyed order, from any position. */

import type { Device } from "../core/mod.ts";
import type { ClassificationBatch, Collate } from "./batch.ts";
import { classificationCollate } from "./batch.ts";
import { checkCount, checkSame } from "./checks.ts";
import { type Dataset, itemsOf, type LabelledItem } from "./dataset.ts";
import { order } from "./order.ts";

/** Options of {@linkcode DataLoader}. */
export interface DataLoaderOptions<Item, Batch> {
  /** Items in a batch, at least 1. Default: 1. */
  readonly batchSize?: number;
  /** Whether each epoch has its own random order. Default: false, the order of the data set. */
  readonly shuffle?: boolean;
  /** Seed of the random orders, a whole number from 0 to 2^53 - 1. Default: 0. */
  readonly seed?: number;
  /** Whether the last batch is left out when it is not full. Default: false. */
  readonly dropLast?: boolean;
  /** How many batches are prepared ahead while the program waits, at least 0. Default: 2. */
  readonly prefetch?: number;
  /**
   * Makes a batch of items. Default: classification batches, normalised as the data set says, for a
   * data set of labelled items.
   */
  readonly collate?: Collate<Item, Batch>;
  /** Where the tensors go. Default: the default device. */
  readonly device?: Device;
}

/** Makes a batch on a device, or promises to. */
export type Prepared<Batch> = ((device?: Device) => Batch) | Promise<(device?: Device) => Batch>;

/** Where a loader is. */
export interface DataLoaderState {
  /** Index of the epoch, from 0. */
  readonly epoch: number;
  /** Batches of this epoch that have been handed out. */
  readonly position: number;
  /** Seed of the random orders. */
  readonly seed?: number;
  /** Items in a batch. */
  readonly batchSize?: number;
  /** Number of items. */
  readonly count?: number;
}

/**
 * Batches of a data set, one epoch for each iteration.
 *
 * The order of an epoch is a pure function of seed and epoch ({@linkcode order}), so that `state`
 * and `load` continue where a run stopped, to the batch. A complete iteration moves on to the next
 * epoch. An iteration that is left early does not: the next one starts the same epoch again, unless
 * `load` says otherwise.
 *
 * While the program waits for a device, the host arrays of the next `prefetch` batches are
 * prepared; their tensors are made when the batch is asked for, and belong to the step scope that
 * is open then.
 *
 * @example
 * ```ts
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { DataLoader, digits } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const dataset = digits({ split: "train", count: 100 });
 * const loader = new DataLoader(dataset, {
 *   batchSize: 32,
 *   shuffle: true,
 *   seed: 42,
 *   device: referenceDevice(),
 * });
 * const sizes: number[] = [];
 * for await (const { inputs, targets } of loader) {
 *   assertEquals(inputs.shape, [targets.size, 1, 28, 28]);
 *   sizes.push(targets.size);
 * }
 * assertEquals([loader.length, sizes], [4, [32, 32, 32, 4]]);
 * assertEquals(loader.state().epoch, 1);
 * ```
 */
export class DataLoader<Item = LabelledItem, Batch = ClassificationBatch>
  implements AsyncIterable<Batch> {
  /** The data set. */
  readonly dataset: Dataset<Item>;
  /** Items in a batch. */
  readonly batchSize: number;
  /** Whether each epoch has its own random order. */
  readonly shuffle: boolean;
  /** Seed of the random orders. */
  readonly seed: number;
  /** Whether the last batch is left out when it is not full. */
  readonly dropLast: boolean;

  readonly #prefetch: number;
  readonly #collate: Collate<Item, Batch>;
  readonly #device: Device | undefined;
  #epoch = 0;
  #position = 0;
  #start = 0;
  // Counts iterations and loads: only the latest one may move the position
  #turn = 0;

  /**
   * Checks the options; nothing is read before the first batch, except item 0.
   *
   * @param dataset items by index
   * @param options batch size, order, collate, device
   * @throws {RangeError} when a number is out of range
   * @throws {TypeError} when there is no `collate` and the items are not labelled
   */
  constructor(dataset: Dataset<Item>, options: DataLoaderOptions<Item, Batch> = {}) {
    const { batchSize = 1, seed = 0, prefetch = 2 } = options;
    checkCount("make a DataLoader", "batchSize", batchSize, 1);
    checkCount("make a DataLoader", "seed", seed, 0);
    checkCount("make a DataLoader", "prefetch", prefetch, 0);
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.shuffle = options.shuffle ?? false;
    this.seed = seed;
    this.dropLast = options.dropLast ?? false;
    this.#prefetch = prefetch;
    this.#collate = options.collate ?? defaultCollate(dataset);
    this.#device = options.device;
  }

  /** Batches of an epoch. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** Items of an epoch. */
  get sampleCount(): number {
    return this.dropLast ? this.length * this.batchSize : this.dataset.length;
  }

  /**
   * Goes to the start of an epoch.
   *
   * @param epoch index of the epoch, from 0
   * @throws {RangeError} when it is not a whole number from 0 to 2^32 - 1
   */
  setEpoch(epoch: number): void {
    this.load({ epoch, position: 0 });
  }

  /**
   * Where the loader is: counts what has been handed out, not what has been prepared.
   *
   * @returns plain data for {@linkcode DataLoader.load}
   */
  state(): Required<DataLoaderState> {
    return {
      epoch: this.#epoch,
      position: this.#position,
      seed: this.seed,
      batchSize: this.batchSize,
      count: this.dataset.length,
    };
  }

  /**
   * Continues from a state: the next iteration begins at its position.
   *
   * @param state from {@linkcode DataLoader.state}, or just epoch and position
   * @throws {RangeError} when it is out of range, or from a loader with another seed, batch size or
   * data set
   */
  load(state: DataLoaderState): void {
    checkCount("load the state of a DataLoader", "epoch", state.epoch, 0, 2 ** 32 - 1);
    checkCount("load the state of a DataLoader", "position", state.position, 0, this.length);
    checkSame("load the state of a DataLoader", state, this.state(), [
      "seed",
      "batchSize",
      "count",
    ]);
    this.#epoch = state.epoch;
    this.#position = state.position;
    this.#start = state.position;
    this.#turn++;
  }

  /**
   * Iterates over the rest of the current epoch, as far as `load` has not set another position from
   * its start.
   *
   * @returns batches
   */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Batch> {
    const turn = ++this.#turn;
    const epoch = this.#epoch;
    const start = this.#start;
    this.#start = 0;
    this.#position = start;
    const count = this.dataset.length;
    const indices = this.shuffle ? order(this.seed, epoch, count) : undefined;
    const queue = new Prefetcher(
      start,
      this.length,
      this.#prefetch,
      (at) => this.prepare(this.#indicesOf(at, indices), epoch),
    );
    try {
      for (let at = start; at < this.length; at++) {
        const prepared = queue.take();
        const make = prepared instanceof Promise ? await prepared : prepared;
        const batch = make(this.#device);
        if (this.#turn === turn) this.#position = at + 1;
        yield batch;
      }
    } finally {
      queue.stop();
      // Complete once all was handed out, whether or not the program asked for one more
      if (this.#turn === turn && this.#position === this.length) this.setEpoch(epoch + 1);
    }
  }

  /**
   * Prepares a batch on the host; a loader that makes its batches in another way overrides this.
   *
   * @param indices which items, in this order
   * @param _epoch index of the epoch
   * @returns makes the batch on a device; a promise of that where items are made elsewhere
   */
  protected prepare(indices: Uint32Array, _epoch: number): Prepared<Batch> {
    const items = itemsOf(this.dataset, indices);
    return items instanceof Promise ? items.then(this.#collate) : this.#collate(items);
  }

  #indicesOf(at: number, order: Uint32Array | undefined): Uint32Array {
    const from = at * this.batchSize;
    const to = Math.min(from + this.batchSize, this.dataset.length);
    return order?.subarray(from, to) ??
      Uint32Array.from({ length: to - from }, (_, i) => from + i);
  }
}

/** Prepares batches in order, ahead of their use whenever the program waits. */
class Prefetcher<Value> {
  readonly #prepare: (at: number) => Value;
  readonly #ahead: number;
  readonly #end: number;
  #next: number;
  #ready: (() => Value)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(start: number, end: number, ahead: number, prepare: (at: number) => Value) {
    this.#next = start;
    this.#end = end;
    this.#ahead = ahead;
    this.#prepare = prepare;
  }

  take(): Value {
    const ready = this.#ready.shift();
    const prepared = ready === undefined ? this.#prepare(this.#next++) : ready();
    this.#schedule();
    return prepared;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#ready = [];
    this.#next = this.#end;
  }

  // One batch for each turn of the event loop, so that nothing else waits long
  #schedule(): void {
    if (this.#timer !== undefined || this.#isFull()) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#isFull()) return;
      this.#ready.push(this.#attempt(this.#next++));
      this.#schedule();
    }, 0);
  }

  // An error belongs to the program that asks for the batch, not to the timer
  #attempt(at: number): () => Value {
    try {
      const prepared = this.#prepare(at);
      if (prepared instanceof Promise) prepared.catch(() => {});
      return () => prepared;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }

  #isFull(): boolean {
    return this.#ready.length >= this.#ahead || this.#next >= this.#end;
  }
}

// A data set of labelled items has Batch = ClassificationBatch, as `collate` did not say otherwise
function defaultCollate<Item, Batch>(dataset: Dataset<Item>): Collate<Item, Batch> {
  if (dataset.length > 0 && !isLabelled(dataset.get(0))) {
    throw new TypeError(
      "Cannot make a DataLoader without collate as items must have input, shape, label and " +
        "classCount: pass collate",
    );
  }
  return classificationCollate({ normalization: dataset.normalization }) as unknown as Collate<
    Item,
    Batch
  >;
}

function isLabelled(item: unknown): item is LabelledItem {
  if (typeof item !== "object" || item === null) return false;
  const { input, shape, label, classCount } = item as Partial<LabelledItem>;
  return (input instanceof Uint8Array || input instanceof Float32Array) && Array.isArray(shape) &&
    typeof label === "number" && typeof classCount === "number";
}
