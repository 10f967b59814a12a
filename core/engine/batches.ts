/** One pass over a loader, whatever kind of iterable it is. */

import { describeValue, isPromiseLike } from "./tensor_like.ts";

/** What an engine can loop over: arrays, data loaders, generators, and anything else iterable. */
export type Loader<B> = Iterable<B> | AsyncIterable<B>;

/** Number of batches of an epoch where the loader tells it, else null. */
export function loaderLength(loader: unknown): number | null {
  const length: unknown = (loader as { length?: unknown } | null)?.length;
  return Number.isSafeInteger(length) && (length as number) >= 0 ? length as number : null;
}

/** Throws unless the value can be iterated over. */
export function checkLoader(loader: unknown): void {
  const iterable = typeof loader === "object" && loader !== null &&
    (Symbol.asyncIterator in loader || Symbol.iterator in loader);
  if (!iterable) {
    throw new TypeError(
      `Cannot loop: expected an array, a data loader or another iterable of batches, found ${
        describeValue(loader)
      }`,
    );
  }
}

interface Positioned {
  state?(): { readonly epoch?: unknown } | null;
  load?(state: { epoch: number; position: number }): void;
}

/** The number of the epoch in which a loader is, where it has a state that tells. */
export function loaderEpoch(loader: unknown): number | undefined {
  const { state, load } = loader as Positioned;
  if (typeof state !== "function" || typeof load !== "function") return undefined;
  const epoch = state.call(loader)?.epoch;
  return typeof epoch === "number" ? epoch : undefined;
}

/**
 * Sends a loader to its next epoch although this one has more batches.
 *
 * @param loader what was iterated over
 * @param epoch what `loaderEpoch` gave when the epoch started; a loader that went on by itself, and
 * one without numbers, is left alone
 */
export function leaveEpoch(loader: unknown, epoch: number | undefined): void {
  if (epoch === undefined || loaderEpoch(loader) !== epoch) return;
  (loader as Required<Positioned>).load({ epoch: epoch + 1, position: 0 });
}

/** Takes a loader to the start of its epoch, where it knows its position. */
export function restartEpoch(loader: unknown): void {
  const epoch = loaderEpoch(loader);
  if (epoch !== undefined) (loader as Required<Positioned>).load({ epoch, position: 0 });
}

/** Where a loader is, as its `state` tells; null where it has none that could be loaded. */
export function loaderState(loader: unknown): unknown {
  const { state, load } = loader as Positioned;
  return typeof state === "function" && typeof load === "function" ? state.call(loader) : null;
}

/**
 * Takes a loader to where it was.
 *
 * @param loader what is iterated over
 * @param saved what `loaderState` gave
 * @param owner whose loader it is, for errors
 * @throws {TypeError} if only one of them has a position
 */
export function loadLoader(loader: unknown, saved: unknown, owner: string): void {
  const here = loaderState(loader) !== null;
  if (here !== (saved !== null && saved !== undefined)) {
    throw new TypeError(
      `Cannot load the state of ${owner}: expected a loader ${
        here ? "with" : "without"
      } a state as here, found one ${here ? "without" : "with"} it`,
    );
  }
  if (here) (loader as Required<Positioned>).load(saved as never);
}

/** The same batch again and again. */
export function* repeated<B>(batch: B): Generator<B> {
  while (true) yield batch;
}

/** One pass over a loader; waits only where the loader makes it wait. */
export class BatchReader<B> {
  #iterator: Iterator<B> | AsyncIterator<B>;

  /** @param loader what to iterate over; an asynchronous iterator is preferred */
  constructor(loader: Loader<B>) {
    this.#iterator = Symbol.asyncIterator in loader
      ? loader[Symbol.asyncIterator]()
      : loader[Symbol.iterator]();
  }

  /** The next batch, or the end. */
  next(): IteratorResult<B> | Promise<IteratorResult<B>> {
    return this.#iterator.next();
  }

  /** Tells the loader that no more batches will be asked for. */
  async close(): Promise<void> {
    const closed: unknown = this.#iterator.return?.();
    if (isPromiseLike(closed)) await closed;
  }
}
