/** Batches of a stream that is too long for memory, shuffled in a buffer, from any position. */

import type { Device } from "../core/mod.ts";
import { Key } from "../core/tensor/random.ts";
import { type ClassificationBatch, classificationCollate, type Collate } from "./batch.ts";
import { checkCount, checkSame } from "./checks.ts";
import type { LabelledItem, Normalization } from "./dataset.ts";
import { KeyedStream } from "./order.ts";

/**
 * Opens a stream of items for an epoch.
 *
 * The same epoch must give the same items in the same order each time, as a loader that continues
 * from a saved position reads it again.
 */
export type StreamSource<Item> = (epoch: number) => AsyncIterable<Item>;

/** Options of {@linkcode StreamLoader}. */
export interface StreamLoaderOptions<Item, Batch> {
  /** Items in a batch, at least 1. Default: 1. */
  readonly batchSize?: number;
  /**
   * Items that are kept to draw the next one from; 0 for the order of the stream. The larger, the
   * better it is shuffled: an item comes at most this much too early. Default: 0.
   */
  readonly shuffleBuffer?: number;
  /** Seed of the draws, a whole number from 0 to 2^53 - 1. Default: 0. */
  readonly seed?: number;
  /** Whether the last batch is left out when it is not full. Default: false. */
  readonly dropLast?: boolean;
  /** How many batches are read ahead, at least 0. Default: 2. */
  readonly prefetch?: number;
  /** Makes a batch of items. Default: classification batches of labelled items. */
  readonly collate?: Collate<Item, Batch>;
  /** What images are normalised with where there is no `collate`. Default: 0 and 1. */
  readonly normalization?: Normalization;
  /** Where the tensors go. Default: the default device. */
  readonly device?: Device;
}

/** Where a stream loader is. */
export interface StreamLoaderState {
  /** Index of the epoch, from 0. */
  readonly epoch: number;
  /** Batches of this epoch that have been handed out. */
  readonly position: number;
  /** Seed of the draws. */
  readonly seed?: number;
  /** Items in a batch. */
  readonly batchSize?: number;
  /** Items of the shuffle buffer. */
  readonly shuffleBuffer?: number;
}

/**
 * Batches of a stream, one epoch for each iteration.
 *
 * The order is a pure function of seed, epoch and the stream, so that `state` and `load` continue
 * where a run stopped, to the batch: the epoch's stream is opened again and read up to the position
 * without making batches. As with a `DataLoader`, a complete iteration moves on to the next epoch,
 * and one that is left early does not.
 *
 * @example
 * ```ts
 * import { StreamLoader } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * async function* numbers() {
 *   for (let i = 0; i < 10; i++) yield i;
 * }
 * const collate = (items: readonly number[]) => {
 *   const kept = [...items];
 *   return () => kept;
 * };
 * const options = { batchSize: 4, shuffleBuffer: 5, seed: 1, collate };
 * const loader = new StreamLoader(numbers, options);
 * const batches: number[][] = [];
 * for await (const batch of loader) batches.push(batch);
 * assertEquals(batches.flat().sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
 *
 * const other = new StreamLoader(numbers, options);
 * other.load({ epoch: 0, position: 2 });
 * for await (const batch of other) assertEquals(batch, batches[2]);
 * ```
 */
export class StreamLoader<Item = LabelledItem, Batch = ClassificationBatch>
  implements AsyncIterable<Batch> {
  /** Items in a batch. */
  readonly batchSize: number;
  /** Items that are kept to draw the next one from. */
  readonly shuffleBuffer: number;
  /** Seed of the draws. */
  readonly seed: number;
  /** Whether the last batch is left out when it is not full. */
  readonly dropLast: boolean;

  readonly #source: StreamSource<Item>;
  readonly #prefetch: number;
  readonly #collate: Collate<Item, Batch>;
  readonly #device: Device | undefined;
  #epoch = 0;
  #position = 0;
  #start = 0;
  // Counts iterations and loads: only the latest one may move the position
  #turn = 0;

  /**
   * Checks the options; nothing is read before the first batch.
   *
   * @param source opens the stream of an epoch
   * @param options batch size, shuffle buffer, collate, device
   * @throws {RangeError} when a number is out of range
   */
  constructor(source: StreamSource<Item>, options: StreamLoaderOptions<Item, Batch> = {}) {
    const { batchSize = 1, shuffleBuffer = 0, seed = 0, prefetch = 2 } = options;
    const action = "make a StreamLoader";
    checkCount(action, "batchSize", batchSize, 1);
    checkCount(action, "shuffleBuffer", shuffleBuffer, 0, 2 ** 32 - 1);
    checkCount(action, "seed", seed, 0);
    checkCount(action, "prefetch", prefetch, 0);
    this.batchSize = batchSize;
    this.shuffleBuffer = shuffleBuffer;
    this.seed = seed;
    this.dropLast = options.dropLast ?? false;
    this.#source = source;
    this.#prefetch = prefetch;
    this.#collate = options.collate ?? labelledCollate(options.normalization);
    this.#device = options.device;
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
   * Where the loader is: counts what has been handed out, not what has been read ahead.
   *
   * @returns plain data for {@linkcode StreamLoader.load}
   */
  state(): Required<StreamLoaderState> {
    return {
      epoch: this.#epoch,
      position: this.#position,
      seed: this.seed,
      batchSize: this.batchSize,
      shuffleBuffer: this.shuffleBuffer,
    };
  }

  /**
   * Continues from a state: the next iteration begins at its position.
   *
   * @param state from {@linkcode StreamLoader.state}, or just epoch and position
   * @throws {RangeError} when it is out of range, or from a loader with other options
   */
  load(state: StreamLoaderState): void {
    checkCount("load the state of a StreamLoader", "epoch", state.epoch, 0, 2 ** 32 - 1);
    checkCount("load the state of a StreamLoader", "position", state.position, 0);
    checkSame("load the state of a StreamLoader", state, this.state(), [
      "seed",
      "batchSize",
      "shuffleBuffer",
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
   * @throws {RangeError} when the stream ends before the position that was loaded
   */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Batch> {
    const turn = ++this.#turn;
    const epoch = this.#epoch;
    const start = this.#start;
    this.#start = 0;
    this.#position = start;
    const ahead = new Ahead(this.#prepared(epoch, start), this.#prefetch);
    let made = 0;
    try {
      for (let at = start;; at++) {
        const { done, value } = await ahead.next();
        if (done) break;
        const batch = value(this.#device);
        made++;
        if (this.#turn === turn) this.#position = at + 1;
        yield batch;
      }
    } finally {
      // Complete once all was handed out, whether or not the program asked for one more
      const isComplete = made === ahead.taken && await ahead.isAtEnd();
      await ahead.close();
      if (this.#turn === turn && isComplete) this.setEpoch(epoch + 1);
    }
  }

  async *#prepared(epoch: number, start: number): AsyncGenerator<(device?: Device) => Batch> {
    let [at, items] = [0, [] as Item[]];
    for await (const item of this.#items(epoch)) {
      items.push(item);
      if (items.length < this.batchSize) continue;
      if (at++ >= start) yield this.#collate(items);
      items = [];
    }
    if (items.length > 0 && !this.dropLast && at++ >= start) yield this.#collate(items);
    if (at >= start) return;
    throw new RangeError(
      `Cannot continue epoch ${epoch} at batch ${start} as the stream ended after ${at} batches`,
    );
  }

  async *#items(epoch: number): AsyncGenerator<Item> {
    const kept: Item[] = [];
    const random = new KeyedStream(new Key(this.seed).fold("stream shuffle"), epoch);
    for await (const item of this.#source(epoch)) {
      if (this.shuffleBuffer === 0) {
        yield item;
      } else if (kept.length < this.shuffleBuffer) {
        kept.push(item);
      } else {
        const at = Math.floor(random.uniform() * kept.length);
        const drawn = kept[at];
        kept[at] = item;
        yield drawn;
      }
    }
    while (kept.length > 0) {
      const at = Math.floor(random.uniform() * kept.length);
      const drawn = kept[at];
      kept[at] = kept[kept.length - 1];
      kept.pop();
      yield drawn;
    }
  }
}

/** Asks a generator for more than was taken; it works on one request after the other. */
class Ahead<Value> {
  /** Values that were taken, or could not be. */
  taken = 0;

  readonly #values: AsyncGenerator<Value>;
  readonly #count: number;
  readonly #asked: Promise<IteratorResult<Value>>[] = [];
  #isDone = false;

  constructor(values: AsyncGenerator<Value>, count: number) {
    this.#values = values;
    this.#count = count;
  }

  async next(): Promise<IteratorResult<Value>> {
    this.#ask(this.#count + 1);
    this.taken++;
    const result = await this.#asked.shift()!;
    this.#isDone = result.done === true;
    if (this.#isDone) this.taken--;
    return result;
  }

  /** Whether nothing is left; reads on by one value where that is not known yet. */
  async isAtEnd(): Promise<boolean> {
    if (this.#isDone) return true;
    this.#ask(1);
    try {
      return (await this.#asked[0]).done === true;
    } catch {
      // The program that left early did not ask for what failed
      return false;
    }
  }

  async close(): Promise<void> {
    await this.#values.return(undefined);
  }

  #ask(count: number): void {
    while (this.#asked.length < count) {
      const result = this.#values.next();
      // An error belongs to the program that takes the value
      result.catch(() => {});
      this.#asked.push(result);
    }
  }
}

// Items are labelled where Batch = ClassificationBatch, as `collate` did not say otherwise
function labelledCollate<Item, Batch>(
  normalization: Normalization | undefined,
): Collate<Item, Batch> {
  const collate = classificationCollate({ normalization });
  return ((items: readonly unknown[]) => {
    for (const item of items) {
      const { input, shape, label } = (item ?? {}) as Partial<LabelledItem>;
      if (input !== undefined && Array.isArray(shape) && typeof label === "number") continue;
      throw new TypeError(
        "Cannot make a batch without collate as items must have input, shape, label and " +
          "classCount: pass collate",
      );
    }
    return collate(items as readonly LabelledItem[]);
  }) as unknown as Collate<Item, Batch>;
}
