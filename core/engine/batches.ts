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
