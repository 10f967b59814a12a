/** Areas under ROC and precision-recall curves. */

import type { ClassName } from "./class_counts.ts";
import {
  type AreaAverage,
  BinaryArea,
  type BinaryAreaOptions,
  ClassArea,
  type ClassAreaOptions,
} from "./score_metrics.ts";
import {
  areaUnderRoc,
  averagePrecision,
  type PrecisionRecallCurve,
  precisionRecallCurve,
  type RocCurve,
  rocCurve,
} from "./thresholds.ts";

/**
 * Area under the ROC curve of a yes-or-no question: the share of pairs of a positive and a negative
 * sample in which the positive one has the larger score, ties counting as one half (Mann and
 * Whitney's U, as scikit-learn's `roc_auc_score`). NaN unless there are samples of both kinds.
 *
 * Step outputs need what `BinaryAccuracy` needs. Without `bins` the value is exact: scores are
 * kept, 8 bytes a sample on the host, up to `maxSamples`; they are read in the background, many
 * steps at once, and updates cannot be captured. With `bins` two counters for each bin lie on the
 * device, and a pair in one bin counts as a tie: the value is off by at most `½ Σ_b p_b·n_b /
 * (P·N)`, with the positive and negative samples of the bins and of all, which for scores that
 * spread evenly is about `1 / (2·bins)`.
 *
 * @example One of four pairs is in the wrong order
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { BinaryRocAuc } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const auc = new BinaryRocAuc();
 * auc.update(
 *   new DictStepOutput({
 *     predictions: tensor([0.1, 0.4, 0.35, 0.8], { device }),
 *     targets: tensor([0, 0, 1, 1], { device }),
 *   }),
 * );
 * assertEquals((await auc.compute()).auc, 0.75);
 * ```
 */
export class BinaryRocAuc<N extends string = "auc"> extends BinaryArea<N> {
  /**
   * Makes the metric, without samples.
   *
   * @param options bins or limit, kind of the predictions, and name (by default "auc")
   * @throws {RangeError} if an option is no whole number from 1
   */
  constructor(options: BinaryAreaOptions<N> = {}) {
    super(areaUnderRoc, { ...options, name: options.name ?? "auc" as N });
  }

  /**
   * The points of the curve, one for every different score (or bin), as scikit-learn's `roc_curve`
   * without `drop_intermediate`.
   *
   * Thresholds are predictions as they came, or with `bins` the lower edges of the bins.
   *
   * @throws {RangeError} as `compute`
   */
  async curve(): Promise<RocCurve> {
    return rocCurve(await this.counts());
  }
}

/**
 * Average precision of a yes-or-no question: `Σ (Rₙ − Rₙ₋₁)·Pₙ` over falling thresholds, precision
 * P and recall R, without interpolation (as scikit-learn's `average_precision_score`); equal scores
 * are one threshold. NaN without positive samples.
 *
 * Step outputs need what `BinaryAccuracy` needs. Scores are kept or counted as for `BinaryRocAuc`.
 * With `bins` every positive sample has the precision at the lower edge of its bin. With p positive
 * and n negative samples in a bin, h and a above it, and P positive ones in all, the value is off by
 * at most the sum over the bins of `p/P · ((h + p)/(h + p + a) − (h + 1)/(h + 1 + a + n))`: the
 * recall that a bin adds times the largest and the smallest precision that are possible in it.
 *
 * @example A negative sample comes second
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { BinaryAveragePrecision } from "@legoml/legoml/metrics";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new BinaryAveragePrecision();
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([0.1, 0.4, 0.35, 0.8], { device }),
 *     targets: tensor([0, 0, 1, 1], { device }),
 *   }),
 * );
 * const { average_precision: value } = await metric.compute();
 * assertAlmostEquals(value, (1 + 2 / 3) / 2, 1e-12);
 * ```
 */
export class BinaryAveragePrecision<N extends string = "average_precision"> extends BinaryArea<N> {
  /**
   * Makes the metric, without samples.
   *
   * @param options bins or limit, kind of the predictions, and name (by default
   * "average_precision")
   * @throws {RangeError} if an option is no whole number from 1
   */
  constructor(options: BinaryAreaOptions<N> = {}) {
    super(averagePrecision, { ...options, name: options.name ?? "average_precision" as N });
  }

  /**
   * The points of the curve, one for every different score (or bin); scikit-learn's
   * `precision_recall_curve` gives the same points in the other order.
   *
   * Thresholds are predictions as they came, or with `bins` the lower edges of the bins.
   *
   * @throws {RangeError} as `compute`
   */
  async curve(): Promise<PrecisionRecallCurve> {
    return precisionRecallCurve(await this.counts());
  }
}

/**
 * Areas under the ROC curves of each class against all others, and their mean (as scikit-learn's
 * `roc_auc_score` with `multi_class="ovr"`).
 *
 * Step outputs need what `MultiClassAccuracy` needs. A class without samples, or without others,
 * has no area: it is NaN in "none", and the means leave it out. Scores are kept, 4 bytes for each
 * class and sample, or counted, as for `BinaryRocAuc`; they are the probabilities of the classes,
 * since logits of different samples cannot be compared.
 *
 * @example Three classes, told apart without fault
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MultiClassRocAuc } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const auc = new MultiClassRocAuc({ numClasses: 3 });
 * auc.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 0, 0]], { device }),
 *     targets: tensor([0, 1, 2, 0], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await auc.compute()).auc_macro, 1);
 * ```
 */
export class MultiClassRocAuc<
  A extends AreaAverage = "macro",
  N extends string = ClassName<"auc", A>,
> extends ClassArea<N, A> {
  /**
   * Makes the metric, without samples.
   *
   * @param options classes, average, bins or limit, kind of the predictions, and name (by default
   * "auc_macro", with the average)
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ClassAreaOptions<N, A>) {
    super(areaUnderRoc, { ...options, name: nameOf("auc", options) });
  }

  /**
   * The points of the curve of each class, as `BinaryRocAuc` gives them.
   *
   * @throws {RangeError} as `compute`
   */
  async curves(): Promise<RocCurve[]> {
    return (await this.counts()).map(rocCurve);
  }
}

/**
 * Average precision of each class against all others, and the mean.
 *
 * Step outputs need what `MultiClassAccuracy` needs. A class without samples has no value: it is
 * NaN in "none", and the means leave it out. Scores are kept or counted as for `MultiClassRocAuc`.
 *
 * @example Each class by itself
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MultiClassAveragePrecision } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new MultiClassAveragePrecision({ numClasses: 2, average: "none" });
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, 0], [0, 2], [1, 0]], { device }),
 *     targets: tensor([0, 1, 0], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await metric.compute())["average_precision/1"], 1);
 * ```
 */
export class MultiClassAveragePrecision<
  A extends AreaAverage = "macro",
  N extends string = ClassName<"average_precision", A>,
> extends ClassArea<N, A> {
  /**
   * Makes the metric, without samples.
   *
   * @param options classes, average, bins or limit, kind of the predictions, and name (by default
   * "average_precision_macro", with the average)
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ClassAreaOptions<N, A>) {
    super(averagePrecision, { ...options, name: nameOf("average_precision", options) });
  }

  /**
   * The points of the curve of each class, as `BinaryAveragePrecision` gives them.
   *
   * @throws {RangeError} as `compute`
   */
  async curves(): Promise<PrecisionRecallCurve[]> {
    return (await this.counts()).map(precisionRecallCurve);
  }
}

function nameOf<N extends string>(area: string, options: ClassAreaOptions<N>): N {
  const { name, average = "macro" } = options;
  return name ?? (average === "none" ? area : `${area}_${average}`) as N;
}
