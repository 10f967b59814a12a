/**
 * Metrics: numbers about many steps, kept on the device until an epoch ends.
 *
 * | subject      | metrics                                                                                                             |
 * | ------------ | ------------------------------------------------------------------------------------------------------------------- |
 * | labels       | `MultiClassAccuracy`, `TopKAccuracy`, `BinaryAccuracy`, `ConfusionMatrix`, `ClassificationReport`                    |
 * | found, right | `BinaryPrecision`, `BinaryRecall`, `BinaryF1`, `MultiClassPrecision`, `MultiClassRecall`, `MultiClassF1`, `MacroF1` |
 * | order        | `BinaryRocAuc`, `BinaryAveragePrecision`, `MultiClassRocAuc`, `MultiClassAveragePrecision`                           |
 * | confidence   | `CalibrationError`, `BinaryCalibrationError`                                                                        |
 * | tokens       | `TokenAccuracy`, `Perplexity`                                                                                       |
 * | numbers      | `MeanAbsoluteError`, `MeanSquaredError`, `RootMeanSquaredError`, `R2Score`, `PearsonCorrelation`, `SpearmanCorrelation` |
 * | anything     | `MeanLoss`, `RunningMean`, `WindowedMean`                                                                           |
 *
 * All weigh samples alike, also where the last batch is smaller; save what they have counted as
 * JSON (`state`, `load`); and can be merged with those of other processes (`merge`).
 * `MetricsCallback` binds them to an engine, `MetricCollection` makes one of several,
 * `DeviceMetric` is the base for more of them. Their types know the names of their values and what
 * they read, so the compiler refuses a name that nobody writes, such as one to monitor, and a metric
 * on steps that do not return what it needs.
 *
 * @example Make a metric of one's own: the largest loss
 * ```ts
 * import { Context, Engine, type StepOutput } from "@legoml/legoml/core";
 * import { type Metric, MetricsCallback } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * class Largest implements Metric<"largest"> {
 *   readonly name = "largest";
 *   readonly keys = ["largest"] as const;
 *   readonly better = "down";
 *   #value = -Infinity;
 *   reset(): void {
 *     this.#value = -Infinity;
 *   }
 *   update(output: StepOutput): void {
 *     this.#value = Math.max(this.#value, output.get("loss") as number);
 *   }
 *   compute(): Record<string, number> {
 *     return { largest: this.#value };
 *   }
 *   state(): number {
 *     return this.#value;
 *   }
 *   load(state: unknown): void {
 *     this.#value = state as number;
 *   }
 * }
 *
 * const engine = new Engine((_engine, loss: number) => ({ loss }), new Context({ model: null }), {
 *   callbacks: [new MetricsCallback([new Largest()])],
 * });
 * const { metrics } = await engine.loop([1, 3, 2]);
 * assertEquals(metrics.largest, 3);
 * ```
 *
 * @module
 */

export { type Accumulator, HostSum, type SavedSum } from "./accumulator.ts";
export {
  BinaryAccuracy,
  MultiClassAccuracy,
  type MultiClassAccuracyOptions,
  TopKAccuracy,
  type TopKAccuracyOptions,
} from "./accuracy.ts";
export {
  BinaryAveragePrecision,
  BinaryRocAuc,
  MultiClassAveragePrecision,
  MultiClassRocAuc,
} from "./areas.ts";
export {
  BinaryCalibrationError,
  type BinaryCalibrationOptions,
  Calibration,
  CalibrationError,
  type CalibrationOptions,
  type Confidences,
  type MultiClassCalibrationOptions,
  type ReliabilityBin,
} from "./calibration.ts";
export { MetricsCallback } from "./callback.ts";
export type { ClassAverage, ClassKey, ClassName, ScoreName } from "./class_counts.ts";
export {
  ClassScore,
  type ClassScoreOptions,
  MultiClassF1,
  MultiClassPrecision,
  MultiClassRecall,
} from "./class_scores.ts";
export { MetricCollection, type MetricCollectionOptions } from "./collection.ts";
export type {
  CollectionKey,
  MemberKey,
  MetricKey,
  Metrics,
  ReadsOf,
  RenamedKey,
} from "./collection_names.ts";
export { ConfusionMatrix, type ConfusionMatrixOptions, type ConfusionShares } from "./confusion.ts";
export {
  PearsonCorrelation,
  R2Score,
  SpearmanCorrelation,
  type SpearmanOptions,
} from "./correlation.ts";
export { DeviceMetric, type MetricParts } from "./device_metric.ts";
export { DeviceSum } from "./device_sum.ts";
export {
  BinaryF1,
  BinaryPrecision,
  BinaryRecall,
  BinaryScore,
  type BinaryScoreOptions,
  MacroF1,
  type MacroF1Options,
} from "./f1.ts";
export type { BinaryOptions } from "./labels.ts";
export { MeanLoss, type MeanLossOptions } from "./mean_loss.ts";
export {
  RunningMean,
  type RunningMeanOptions,
  WindowedMean,
  type WindowedMeanOptions,
} from "./mean_value.ts";
export {
  type Better,
  betterOf,
  type LabelFields,
  type Metric,
  MetricInputError,
  type ValuesByName,
} from "./metric.ts";
export {
  MeanAbsoluteError,
  MeanError,
  MeanSquaredError,
  type RegressionOptions,
  RootMeanSquaredError,
} from "./regression.ts";
export {
  ClassificationReport,
  type ClassificationReportOptions,
  type ReportKey,
  type ReportRow,
} from "./report.ts";
export {
  type AreaAverage,
  BinaryArea,
  type BinaryAreaOptions,
  ClassArea,
  type ClassAreaOptions,
} from "./score_metrics.ts";
export type { ScoreStorageOptions } from "./scores.ts";
export type { PrecisionRecallCurve, RocCurve, ThresholdCounts } from "./thresholds.ts";
export { Perplexity, TokenAccuracy, type TokenOptions } from "./token.ts";
