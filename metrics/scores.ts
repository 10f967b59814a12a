/** Scores of yes-or-no questions, kept one by one or counted in bins. */

import { arange, concat, type Tensor } from "../core/mod.ts";
import type { Accumulator } from "./accumulator.ts";
import { DeviceSum } from "./device_sum.ts";
import { KeptValues, MOST_SAMPLES } from "./kept_values.ts";
import { checkCount, checkOutside, countCodes } from "./labels.ts";
import { countsOfBins, countsOfScores, type ThresholdCounts } from "./thresholds.ts";

/** How scores are gathered. */
export interface ScoreStorageOptions {
  /**
   * Counts scores in so many bins of equal width from 0 to 1, on the device; scores of one bin
   * count as equal. By default all scores are kept, and values are exact.
   */
  bins?: number;
  /** How many samples are kept at most, where they are. @default {16777216} */
  maxSamples?: number;
}

/** The scores of one step; the functions run on the device. */
export interface ScoredSamples {
  /** A tensor of the device. */
  readonly like: Tensor;
  /** Number of samples M. */
  readonly count: number;
  /** f32 scores [M, K]; between 0 and 1 where they are counted in bins. */
  scores(): Tensor;
  /** i32 labels [M]: the class that is true, or whether the only one is. */
  labels(): Tensor;
}

const MOST_BINS = 2 ** 20;

/** Scores of K classes (1 for yes or no) with the true label of each sample. */
export class ScoreStorage {
  /** What has been gathered. */
  readonly part: Accumulator;
  /** Whether only counts are kept, so that captured steps may add to them. */
  readonly binned: boolean;
  readonly #metric: string;
  readonly #classes: number;
  readonly #bins: number;
  readonly #kept: KeptValues | null = null;
  readonly #counts: DeviceSum | null = null;

  /**
   * Holds no samples.
   *
   * @param metric its name, for errors
   * @param classes K; 1 for questions of yes or no
   * @throws {RangeError} if an option is no whole number from 1
   */
  constructor(metric: string, classes: number, options: ScoreStorageOptions) {
    const { bins, maxSamples = MOST_SAMPLES } = options;
    checkCount(metric, "maxSamples", maxSamples);
    if (bins !== undefined) checkCount(metric, "bins", bins, Math.floor(MOST_BINS / classes));
    this.#metric = metric;
    this.#classes = classes;
    this.#bins = bins ?? 0;
    this.binned = bins !== undefined;
    // For each class negative samples by bin, then positive ones; then bad scores, then bad labels.
    this.part = bins === undefined
      ? this.#kept = new KeptValues(metric, classes + 1, maxSamples)
      : this.#counts = new DeviceSum(2 * classes * bins + 2);
  }

  /** Gathers the samples of a step. */
  add(samples: ScoredSamples): void {
    const { like, count } = samples;
    if (this.#kept !== null) {
      const rows = () => concat([samples.scores(), samples.labels().to("f32").unsqueeze(1)], 1);
      this.#kept.add(like, count, rows);
    } else {
      const most = count * this.#classes;
      this.#counts!.add(like, () => countCodes(this.#codes(samples), this.#counts!.length), most);
    }
  }

  /** For every score the place of its counter, and one more for every label. */
  #codes(samples: ScoredSamples): Tensor {
    const [classes, bins, end] = [this.#classes, this.#bins, this.#counts!.length];
    const scores = samples.scores();
    const labels = samples.labels();
    const { device } = scores;
    const each = arange(0, classes, 1, { device, dtype: "i32" });
    const positive = labels.unsqueeze(1).eq(each.add(classes === 1 ? 1 : 0)).where(1, 0);
    const place = each.mul(2).add(positive).mul(bins).add(binOf(scores, bins));
    const known = isProbability(scores).where(place, end - 2);
    const [low, high] = this.#range();
    const inside = labels.ge(low).logicalAnd(labels.le(high));
    return concat([
      inside.unsqueeze(1).where(known, -1).reshape([-1]),
      inside.where(-1, end - 1),
    ]);
  }

  /** The smallest and the largest label. */
  #range(): [number, number] {
    return this.#classes === 1 ? [0, 1] : [0, this.#classes - 1];
  }

  /**
   * Counts at thresholds for each class against the others, from the numbers of `part`.
   *
   * @throws {RangeError} if there were scores that are NaN or, in bins, not from 0 to 1, or labels
   * that are no class
   */
  counts(numbers: ArrayLike<number>): ThresholdCounts[] {
    return this.binned ? this.#countsOfBins(numbers) : this.#countsOfRows(numbers);
  }

  #countsOfBins(numbers: ArrayLike<number>): ThresholdCounts[] {
    const [classes, bins] = [this.#classes, this.#bins];
    const all = Float64Array.from(numbers);
    const [bad, outside] = all.subarray(-2);
    const total = all.subarray(0, -1).reduce((sum, n) => sum + n, 0) / classes + outside;
    checkOutside(this.#metric, outside, total, classes);
    if (bad > 0) this.#refuse("scores from 0 to 1", `${bad} that are not`);
    return Array.from({ length: classes }, (_, label) => {
      const of = (positive: number) => {
        const start = (2 * label + positive) * bins;
        return all.subarray(start, start + bins);
      };
      return countsOfBins(of(1), of(0));
    });
  }

  #countsOfRows(rows: ArrayLike<number>): ThresholdCounts[] {
    const width = this.#classes + 1;
    const total = rows.length / width;
    const labels = Float64Array.from({ length: total }, (_, i) => rows[i * width + width - 1]);
    const [low, high] = this.#range();
    const outside = labels.filter((l) => !(Number.isInteger(l) && l >= low && l <= high)).length;
    checkOutside(this.#metric, outside, total, this.#classes);
    return Array.from({ length: this.#classes }, (_, label) => {
      const wanted = this.#classes === 1 ? 1 : label;
      const count = labels.reduce((sum, l) => sum + Number(l === wanted), 0);
      const [positives, negatives] = [new Float64Array(count), new Float64Array(total - count)];
      let [p, n, bad] = [0, 0, 0];
      for (let i = 0; i < total; i++) {
        const score = rows[i * width + label];
        if (Number.isNaN(score)) bad++;
        if (labels[i] === wanted) positives[p++] = score;
        else negatives[n++] = score;
      }
      if (bad > 0) this.#refuse("scores that are numbers", `${bad} NaN of ${total}`);
      return countsOfScores(positives, negatives);
    });
  }

  #refuse(expected: string, found: string): never {
    throw new RangeError(
      `Cannot compute metric "${this.#metric}": expected ${expected}, found ${found}`,
    );
  }
}

/** True from 0 to 1; asked so that no compiler that leaves NaN out of account can be wrong. */
export function isProbability(scores: Tensor): Tensor {
  return scores.isNan().logicalOr(scores.lt(0)).logicalOr(scores.gt(1)).logicalNot();
}

/**
 * The bin of each score from 0 to 1, i32: bin b holds [b/bins, (b + 1)/bins), the last one also 1.
 */
export function binOf(scores: Tensor, bins: number): Tensor {
  const inside = isProbability(scores).where(scores, 0);
  return inside.mul(bins).floor().to("i32").clamp(0, bins - 1);
}
