/** When a loss is far above those before it. */

/** How a spike is told from noise. */
export interface SpikeOptions {
  /** How many losses before are compared with, at least 4. @default {100} */
  readonly window?: number;
  /** By how many standard deviations a loss must exceed their median, above 0. @default {10} */
  readonly sigmas?: number;
}

/** Turns the median absolute deviation of normal noise into its standard deviation. */
const NORMAL = 1.4826;
/** The least deviation, as a share of the median: curves without noise have none of their own. */
const LEAST = 1e-3;

/**
 * The latest losses and their limit, `median + sigmas · σ` with `σ = max(1.4826 · MAD, |median| /
 * 1000)`, where MAD is the median distance from the median. Medians do not follow the spikes
 * themselves, as mean and variance would. There is no limit until half of the window is full.
 */
export class SpikeWindow {
  readonly #size: number;
  readonly #sigmas: number;
  #values: number[] = [];

  /**
   * Begins with an empty window.
   *
   * @param options length of the window, height of the limit
   * @throws {RangeError} if a number is out of its range
   */
  constructor({ window = 100, sigmas = 10 }: SpikeOptions = {}) {
    if (!Number.isSafeInteger(window) || window < 4 || !(sigmas > 0 && sigmas < Infinity)) {
      throw new RangeError(
        "Cannot guard against spikes: expected window to be a whole number from 4 and sigmas a finite " +
          `number above 0, found window ${window} and sigmas ${sigmas}`,
      );
    }
    this.#size = window;
    this.#sigmas = sigmas;
  }

  /** Losses above it are spikes; Infinity while too few are known. */
  get limit(): number {
    if (this.#values.length < this.#size / 2) return Infinity;
    const middle = median(this.#values);
    const spread = median(this.#values.map((value) => Math.abs(value - middle)));
    return middle + this.#sigmas * Math.max(NORMAL * spread, LEAST * Math.abs(middle));
  }

  /** Takes a loss that is none, and forgets the oldest one where the window is full. */
  add(loss: number): void {
    this.#values.push(loss);
    if (this.#values.length > this.#size) this.#values.shift();
  }

  /** The losses, as JSON values. */
  get values(): readonly number[] {
    return this.#values;
  }

  set values(values: readonly number[]) {
    this.#values = values.slice(-this.#size);
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
