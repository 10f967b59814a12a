/** What a score separates at every threshold: curves and the areas under them, from counts. */

/** Samples with at least a score, for every different score, from the largest to the smallest. */
export interface ThresholdCounts {
  /** The different scores, falling. */
  readonly thresholds: Float64Array;
  /** Positive samples with at least that score. */
  readonly hits: Float64Array;
  /** Negative samples with at least that score. */
  readonly alarms: Float64Array;
}

/** A ROC curve, from no positive predictions to all; the thresholds fall. */
export interface RocCurve {
  /** Scores from which on a sample counts as positive; the first one is Infinity. */
  readonly thresholds: Float64Array;
  /** Share of negative samples that count as positive. */
  readonly falsePositiveRate: Float64Array;
  /** Share of positive samples that count as positive. */
  readonly truePositiveRate: Float64Array;
}

/** A precision-recall curve, from no positive predictions to all; the thresholds fall. */
export interface PrecisionRecallCurve {
  /** Scores from which on a sample counts as positive; the first one is Infinity. */
  readonly thresholds: Float64Array;
  /** Of the samples that count as positive, the share that is; 1 for none of them. */
  readonly precision: Float64Array;
  /** Of the positive samples, the share that counts as positive. */
  readonly recall: Float64Array;
}

/**
 * Counts at every different score; equal scores are one threshold.
 *
 * @param positives scores of positive samples, without NaN; sorted in place
 * @param negatives scores of negative samples, without NaN; sorted in place
 */
export function countsOfScores(positives: Float64Array, negatives: Float64Array): ThresholdCounts {
  positives.sort();
  negatives.sort();
  const thresholds: number[] = [];
  const hits: number[] = [];
  const alarms: number[] = [];
  let [p, n] = [positives.length, negatives.length];
  while (p > 0 || n > 0) {
    const score = Math.max(
      p > 0 ? positives[p - 1] : -Infinity,
      n > 0 ? negatives[n - 1] : -Infinity,
    );
    while (p > 0 && positives[p - 1] === score) p--;
    while (n > 0 && negatives[n - 1] === score) n--;
    thresholds.push(score);
    hits.push(positives.length - p);
    alarms.push(negatives.length - n);
  }
  return countsFrom(thresholds, hits, alarms);
}

/**
 * Counts at the lower edges of bins of equal width between 0 and 1; bins without samples are left
 * out.
 *
 * @param positives positive samples of each bin, from the lowest bin on
 * @param negatives negative samples of each bin
 */
export function countsOfBins(
  positives: ArrayLike<number>,
  negatives: ArrayLike<number>,
): ThresholdCounts {
  const bins = positives.length;
  const thresholds: number[] = [];
  const hits: number[] = [];
  const alarms: number[] = [];
  let [p, n] = [0, 0];
  for (let bin = bins - 1; bin >= 0; bin--) {
    if (positives[bin] + negatives[bin] === 0) continue;
    thresholds.push(bin / bins);
    hits.push(p += positives[bin]);
    alarms.push(n += negatives[bin]);
  }
  return countsFrom(thresholds, hits, alarms);
}

function countsFrom(thresholds: number[], hits: number[], alarms: number[]): ThresholdCounts {
  return {
    thresholds: Float64Array.from(thresholds),
    hits: Float64Array.from(hits),
    alarms: Float64Array.from(alarms),
  };
}

/** Number of positive samples. */
export function positivesOf({ hits }: ThresholdCounts): number {
  return hits.at(-1) ?? 0;
}

/** Number of negative samples. */
export function negativesOf({ alarms }: ThresholdCounts): number {
  return alarms.at(-1) ?? 0;
}

/**
 * Area under the ROC curve: the share of pairs of a positive and a negative sample in which the
 * positive one has the larger score, ties counting as one half. NaN without samples of both kinds.
 * The sum is one of halves of whole numbers, exact below 2⁵².
 */
export function areaUnderRoc(counts: ThresholdCounts): number {
  const { hits, alarms } = counts;
  let twice = 0;
  for (let i = 0; i < hits.length; i++) {
    const before = i === 0 ? 0 : hits[i - 1];
    twice += (alarms[i] - (i === 0 ? 0 : alarms[i - 1])) * (before + hits[i]);
  }
  return twice / 2 / (positivesOf(counts) * negativesOf(counts));
}

/**
 * Average precision: `Σ (Rₙ − Rₙ₋₁)·Pₙ` over falling thresholds, without interpolation. NaN without
 * positive samples.
 */
export function averagePrecision(counts: ThresholdCounts): number {
  const { hits, alarms } = counts;
  let sum = 0;
  for (let i = 0; i < hits.length; i++) {
    const more = hits[i] - (i === 0 ? 0 : hits[i - 1]);
    sum += more * hits[i] / (hits[i] + alarms[i]);
  }
  return sum / positivesOf(counts);
}

/** The points of the ROC curve; rates without samples are NaN. */
export function rocCurve(counts: ThresholdCounts): RocCurve {
  const [positives, negatives] = [positivesOf(counts), negativesOf(counts)];
  return {
    thresholds: withFirst(Infinity, counts.thresholds),
    falsePositiveRate: withFirst(0, counts.alarms.map((n) => n / negatives)),
    truePositiveRate: withFirst(0, counts.hits.map((n) => n / positives)),
  };
}

/** The points of the precision-recall curve; recall without positive samples is NaN. */
export function precisionRecallCurve(counts: ThresholdCounts): PrecisionRecallCurve {
  const positives = positivesOf(counts);
  return {
    thresholds: withFirst(Infinity, counts.thresholds),
    precision: withFirst(1, counts.hits.map((n, i) => n / (n + counts.alarms[i]))),
    recall: withFirst(0, counts.hits.map((n) => n / positives)),
  };
}

function withFirst(first: number, rest: Float64Array): Float64Array {
  const all = new Float64Array(rest.length + 1);
  all[0] = first;
  all.set(rest, 1);
  return all;
}
