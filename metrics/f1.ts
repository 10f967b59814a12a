/** Precision, recall and F1 of yes-or-no decisions, and LegoML's macro F1. */

import type { StepOutput } from "../core/engine/mod.ts";
import { ClassCounts, type Counts, type ScoreName, scoreOf } from "./class_counts.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import {
  binaryCut,
  binaryLabels,
  type BinaryOptions,
  checkClasses,
  checkCount,
  checkIgnored,
  classLabels,
  countCodes,
} from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";

/** What a score of yes-or-no decisions is made of. */
export interface BinaryScoreOptions<N extends string = string> extends BinaryOptions<N> {
  /** The value where it is undefined: 0 or 1. @default {0} */
  zeroDivision?: 0 | 1;
}

/**
 * Base of the scores of yes-or-no decisions: counts hits, positive predictions and positive
 * targets.
 *
 * Step outputs need what `BinaryAccuracy` needs.
 */
export abstract class BinaryScore<N extends string = string, K extends string = N>
  extends DeviceMetric<N, K, LabelFields> {
  readonly #counts: DeviceSum;
  readonly #cut: number;
  readonly #scores: readonly ScoreName[];
  readonly #undefined: number;

  /**
   * Makes the metric, without samples.
   *
   * @param scores the first one has the name of the metric, others that name, a slash and their own
   * @param options threshold, kind of the predictions, name, and value where undefined
   * @throws {RangeError} if the threshold does not lie between 0 and 1, or `zeroDivision` is
   * neither 0 nor 1
   */
  constructor(scores: readonly ScoreName[], options: BinaryScoreOptions<N>) {
    const { name = scores[0] as string as N, zeroDivision = 0 } = options;
    const cut = binaryCut(name, options);
    checkZeroDivision(name, zeroDivision);
    const counts = new DeviceSum(4);
    const keys = scores.map((score, i) => i === 0 ? name : `${name}/${score}`) as string[] as K[];
    super(name, { parts: [counts], keys, options: { cut, zeroDivision } });
    this.#counts = counts;
    this.#cut = cut;
    this.#scores = scores;
    this.#undefined = zeroDivision;
  }

  /**
   * Counts the labels of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const { like, count, scores, actual } = binaryLabels(output, this.name);
    const codes = () => scores().ge(this.#cut).to("i32").mul(2).add(actual());
    this.#counts.add(like, () => countCodes(codes(), 4), count);
  }

  /** The scores. */
  async compute(): Promise<ValuesByName<K>> {
    const [[, missed, alarms, hits]] = (await this.read()).map((part) => Array.from(part));
    const counts: Counts = { hits, predicted: hits + alarms, actual: hits + missed };
    return this.values(...this.#scores.map((score) => scoreOf(score, counts, this.#undefined)));
  }
}

/** Refuses a value of undefined scores. @throws {RangeError} if it is neither 0 nor 1 */
export function checkZeroDivision(metric: string, zeroDivision: number): void {
  if (zeroDivision === 0 || zeroDivision === 1) return;
  throw new RangeError(
    `Cannot make metric "${metric}": expected zeroDivision to be 0 or 1, found ${zeroDivision}`,
  );
}

/**
 * F1 score, precision and recall of a yes-or-no decision, under the names `f1`, `f1/precision` and
 * `f1/recall`; each is `zeroDivision`, by default 0, where it is undefined, as without labels.
 *
 * Step outputs need what `BinaryAccuracy` needs.
 *
 * @example One hit, one miss, one false alarm
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { BinaryF1 } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const f1 = new BinaryF1();
 * f1.update(
 *   new SupervisedStepOutput({
 *     loss: tensor(0, { device }),
 *     predictions: tensor([2, -1, 3], { device }),
 *     targets: tensor([1, 1, 0], { device }),
 *   }),
 * );
 * const { "f1/precision": precision, "f1/recall": recall } = await f1.compute();
 * assertEquals([precision, recall], [0.5, 0.5]);
 * ```
 */
export class BinaryF1<N extends string = "f1">
  extends BinaryScore<N, N | `${N}/precision` | `${N}/recall`> {
  /**
   * Makes the metric, without samples.
   *
   * @param options threshold, kind of the predictions, name, and value where undefined
   * @throws {RangeError} if the threshold does not lie between 0 and 1
   */
  constructor(options: BinaryScoreOptions<N> = {}) {
    super(["f1", "precision", "recall"], options);
  }
}

/**
 * Share of right ones among the positive predictions, `hits / predicted`; `zeroDivision`, by
 * default 0, where nothing was predicted.
 *
 * Step outputs need what `BinaryAccuracy` needs.
 *
 * @example Two alarms, one of them false
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { BinaryPrecision } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new BinaryPrecision();
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([2, 3, -1], { device }),
 *     targets: tensor([1, 0, 0], { device }),
 *   }),
 * );
 * assertEquals((await metric.compute()).precision, 0.5);
 * ```
 */
export class BinaryPrecision<N extends string = "precision"> extends BinaryScore<N> {
  /**
   * Makes the metric, without samples.
   *
   * @param options threshold, kind of the predictions, name, and value where undefined
   * @throws {RangeError} if the threshold does not lie between 0 and 1
   */
  constructor(options: BinaryScoreOptions<N> = {}) {
    super(["precision"], options);
  }
}

/**
 * Share of found ones among the positive targets, `hits / actual`; `zeroDivision`, by default 0,
 * where no target is positive.
 *
 * Step outputs need what `BinaryAccuracy` needs.
 *
 * @example Two positive targets, one of them found
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { BinaryRecall } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new BinaryRecall();
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([2, -3, 1], { device }),
 *     targets: tensor([1, 1, 0], { device }),
 *   }),
 * );
 * assertEquals((await metric.compute()).recall, 0.5);
 * ```
 */
export class BinaryRecall<N extends string = "recall"> extends BinaryScore<N> {
  /**
   * Makes the metric, without samples.
   *
   * @param options threshold, kind of the predictions, name, and value where undefined
   * @throws {RangeError} if the threshold does not lie between 0 and 1
   */
  constructor(options: BinaryScoreOptions<N> = {}) {
    super(["recall"], options);
  }
}

/** Options of `MacroF1`. */
export interface MacroF1Options<N extends string = string> {
  /** Number of classes. */
  numClasses: number;
  /** The name of the value. @default {"f1_macro"} */
  name?: N;
  /** The target of samples that do not count. @default {none} */
  ignoreIndex?: number;
}

/**
 * Mean over all classes of the class's F1 score; a class that was neither predicted nor true counts
 * as 0, so the value is 0 without samples. `MultiClassF1` leaves such classes out.
 *
 * Step outputs need what `MultiClassAccuracy` needs.
 *
 * @example Two classes, of which one is always found
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MacroF1 } from "@legoml/legoml/metrics";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const f1 = new MacroF1({ numClasses: 2 });
 * f1.update(
 *   new SupervisedStepOutput({
 *     loss: tensor(0, { device }),
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * const value = (await f1.compute()).f1_macro;
 * assertAlmostEquals(value, 2 / 3, 1e-12);
 * ```
 */
export class MacroF1<N extends string = "f1_macro"> extends DeviceMetric<N, N, LabelFields> {
  #classes: number;
  #counts: ClassCounts;
  #ignoreIndex: number | undefined;

  /**
   * Makes the metric, without samples.
   *
   * @param options number of classes, name, and the target to ignore
   * @throws {RangeError} if `numClasses` is no whole number from 1, or `ignoreIndex` no i32
   */
  constructor(options: MacroF1Options<N>) {
    const { numClasses, name = "f1_macro" as N, ignoreIndex } = options;
    checkCount(name, "numClasses", numClasses);
    checkIgnored(name, ignoreIndex);
    const counts = new ClassCounts(numClasses);
    super(name, { parts: [counts.sum], options: { numClasses, ignoreIndex } });
    this.#classes = numClasses;
    this.#counts = counts;
    this.#ignoreIndex = ignoreIndex;
  }

  /**
   * Counts the samples of a step by class.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit, or axis 1 of the predictions is no class axis
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name, { ignoreIndex: this.#ignoreIndex });
    checkClasses(this.name, labels, this.#classes);
    this.#counts.add(labels);
  }

  /**
   * The mean F1 score.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async compute(): Promise<ValuesByName<N>> {
    const [numbers] = await this.read();
    const scores = this.#counts.of(this.name, numbers).map((counts) => scoreOf("f1", counts, 0));
    return this.values(scores.reduce((sum, score) => sum + score, 0) / this.#classes);
  }
}
