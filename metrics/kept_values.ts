/** Values of all samples, for metrics that cannot do with counts. */

import { currentCapture } from "../core/backend/capture.ts";
import { noGrad, type Tensor } from "../core/mod.ts";
import type { Accumulator } from "./accumulator.ts";

/** Tensors, and elements in them, that wait on the device at most before they are read together. */
const PENDING_TENSORS = 256;
const PENDING_ELEMENTS = 2 ** 18;

/** How many samples are kept at most where the user does not say. */
export const MOST_SAMPLES: number = 2 ** 24;

/**
 * Rows of numbers, one for each sample: those of each step are copied on the device, and many steps
 * are read together in the background, so that no step waits. On the host a row takes 4 bytes a
 * number (8 on the reference device), on the device there are never more than 256 steps or about 1
 * MiB that have not begun to be read.
 */
export class KeptValues implements Accumulator {
  /** It grows with every step. */
  readonly length = null;
  readonly #metric: string;
  readonly #width: number;
  readonly #most: number;
  #rows = 0;
  #chunks: Promise<ArrayLike<number>>[] = [];
  #pending: Tensor[] = [];
  #pendingElements = 0;

  /**
   * No rows.
   *
   * @param metric its name, for errors
   * @param width numbers in a row
   * @param most rows to keep at most
   */
  constructor(metric: string, width: number, most: number) {
    this.#metric = metric;
    this.#width = width;
    this.#most = most;
  }

  /**
   * Keeps rows.
   *
   * @param like a tensor of the device
   * @param count number of rows
   * @param rows makes them: a new tensor [count, width]
   * @throws {RangeError} if there are too many
   * @throws {CaptureError} inside a captured step
   */
  add(like: Tensor, count: number, rows: () => Tensor): void {
    const reason = "it keeps the values of every step; update it outside";
    currentCapture()?.refuse(`update metric "${this.#metric}"`, reason);
    this.#count(count);
    if (count === 0) return;
    using _scope = like.device.scope();
    using _quiet = noGrad();
    const added = rows().to("f32").contiguous();
    this.#pending.push(added.keep());
    this.#pendingElements += added.size;
    const full = this.#pending.length >= PENDING_TENSORS ||
      this.#pendingElements >= PENDING_ELEMENTS;
    if (full) this.#beginRead();
  }

  /** All rows, one after the other. */
  async read(): Promise<ArrayLike<number>> {
    this.#beginRead();
    const chunks = await Promise.all(this.#chunks);
    return joined(chunks);
  }

  /** Forgets all rows. */
  reset(): void {
    for (const tensor of this.#pending) tensor.dispose();
    this.#pending = [];
    this.#pendingElements = 0;
    this.#chunks = [];
    this.#rows = 0;
  }

  /** Whether these are whole rows, and not too many. */
  accepts(values: readonly number[]): boolean {
    return values.length % this.#width === 0 && values.length / this.#width <= this.#most;
  }

  /** Sets the rows. */
  load(values: ArrayLike<number>): void {
    this.reset();
    this.absorb(values);
  }

  /** Adds rows. @throws {RangeError} if there are too many */
  absorb(values: ArrayLike<number>): void {
    this.#count(values.length / this.#width);
    this.#beginRead();
    this.#chunks.push(Promise.resolve(Float64Array.from(values)));
  }

  #count(rows: number): void {
    if (this.#rows + rows > this.#most) {
      throw new RangeError(
        `Cannot update metric "${this.#metric}": expected at most ${this.#most} samples, whose ` +
          `values it keeps, found ${this.#rows + rows}; raise maxSamples, or count in bins`,
      );
    }
    this.#rows += rows;
  }

  #beginRead(): void {
    if (this.#pending.length === 0) return;
    const tensors = this.#pending;
    this.#pending = [];
    this.#pendingElements = 0;
    const read = Promise.all(tensors.map((tensor) => tensor.data())).then(joined).finally(() => {
      for (const tensor of tensors) tensor.dispose();
    });
    // A device that fails is told of when the values are asked for.
    read.catch(() => {});
    this.#chunks.push(read);
  }
}

function joined(chunks: readonly ArrayLike<number>[]): ArrayLike<number> {
  if (chunks.length === 1) return chunks[0];
  const narrow = chunks.every((chunk) => chunk instanceof Float32Array);
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const all = narrow ? new Float32Array(length) : new Float64Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
