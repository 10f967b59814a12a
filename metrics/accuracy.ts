/** Shares of right labels. */

import type { StepOutput } from "../core/engine/mod.ts";
import { ShapeError, showShape } from "../core/mod.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import {
  binaryCut,
  binaryLabels,
  type BinaryOptions,
  checkCount,
  checkIgnored,
  checkOutside,
  type ClassLabels,
  classLabels,
  countCodes,
} from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";

/** Codes of samples: wrong, right, and with a target that is no class. */
const OUTSIDE = 2;
const CODES = 3;

/** Options of `MultiClassAccuracy`. */
export interface MultiClassAccuracyOptions<N extends string = string> {
  /** The name of the value. @default {"accuracy"} */
  name?: N;
  /** The target of samples that do not count. @default {none} */
  ignoreIndex?: number;
}

/**
 * Share of samples whose largest class score is that of the target class; 0 without samples.
 *
 * Step outputs need `predictions` [N, C, ...], scores such as logits along axis 1, and `targets`
 * [N, ...], integer labels from 0 to C − 1 or `ignoreIndex`. Of equal scores the first wins, NaN
 * counts as the largest. Counts are exact up to 2³¹ − 1 labels.
 *
 * @example Three samples, two of them right
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MultiClassAccuracy } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const accuracy = new MultiClassAccuracy();
 * accuracy.update(
 *   new SupervisedStepOutput({
 *     loss: tensor(0, { device }),
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await accuracy.compute()).accuracy, 2 / 3);
 * ```
 */
export class MultiClassAccuracy<N extends string = "accuracy">
  extends DeviceMetric<N, N, LabelFields> {
  #counts: DeviceSum;
  #ignoreIndex: number | undefined;
  #classes: number | null = null;

  /**
   * Makes the metric, without samples.
   *
   * @param options the name of the value, and the target to ignore
   * @throws {RangeError} if `ignoreIndex` is no i32
   */
  constructor(options: MultiClassAccuracyOptions<N> = {}) {
    const { name = "accuracy" as N, ignoreIndex } = options;
    checkIgnored(name, ignoreIndex);
    const counts = new DeviceSum(CODES);
    super(name, { parts: [counts], options: { ignoreIndex } });
    this.#counts = counts;
    this.#ignoreIndex = ignoreIndex;
  }

  /**
   * Counts the samples of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name, { ignoreIndex: this.#ignoreIndex });
    this.#classes = labels.classes;
    countRight(this.#counts, labels);
  }

  /**
   * The share of right samples.
   *
   * @throws {RangeError} if targets were no labels from 0 to C − 1
   */
  async compute(): Promise<ValuesByName<N>> {
    const [counts] = await this.read();
    return this.values(shareOfRight(this.name, counts, this.#classes));
  }
}

/**
 * Counts right, wrong and impossible samples.
 *
 * @param counts of these codes
 * @param labels of the step
 */
export function countRight(counts: DeviceSum, labels: ClassLabels): void {
  const code = () => labels.predicted().eq(labels.actual()).where(1, 0);
  counts.add(labels.like, () => countCodes(labels.coded(code(), OUTSIDE), CODES), labels.count);
}

/**
 * The share of right samples, 0 without samples.
 *
 * @throws {RangeError} if there were targets that are no class
 */
export function shareOfRight(
  metric: string,
  counts: ArrayLike<number>,
  classes: number | null,
): number {
  const [wrong, right, outside] = Array.from(counts);
  checkOutside(metric, outside, wrong + right + outside, classes);
  return right === 0 ? 0 : right / (right + wrong);
}

/** Options of `TopKAccuracy`. */
export interface TopKAccuracyOptions<T extends number = number, N extends string = string> {
  /** How many of the largest scores count, from 1 to the number of classes. @default {5} */
  k?: T;
  /** The name of the value. @default {"top5_accuracy", with k in place of 5} */
  name?: N;
  /** The target of samples that do not count. @default {none} */
  ignoreIndex?: number;
}

/**
 * Share of samples whose target class is among the `k` largest class scores; 0 without samples.
 *
 * Step outputs need what `MultiClassAccuracy` needs, and at least `k` classes. Of equal scores the
 * first come first, NaN counts as the largest; with `k` 1 it is `MultiClassAccuracy`.
 *
 * @example The second largest score is that of the target
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { TopKAccuracy } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const accuracy = new TopKAccuracy({ k: 2 });
 * accuracy.update(
 *   new SupervisedStepOutput({
 *     loss: tensor(0, { device }),
 *     predictions: tensor([[2, 1, 0], [2, 1, 0]], { device }),
 *     targets: tensor([1, 2], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await accuracy.compute()).top2_accuracy, 0.5);
 * ```
 */
export class TopKAccuracy<T extends number = 5, N extends string = `top${T}_accuracy`>
  extends DeviceMetric<N, N, LabelFields> {
  #counts: DeviceSum;
  #k: number;
  #ignoreIndex: number | undefined;
  #classes: number | null = null;

  /**
   * Makes the metric, without samples.
   *
   * @param options k, the name of the value, and the target to ignore
   * @throws {RangeError} if `k` is no whole number from 1, or `ignoreIndex` no i32
   */
  constructor(options: TopKAccuracyOptions<T, N> = {}) {
    const { k = 5, ignoreIndex } = options;
    const { name = `top${k}_accuracy` as N } = options;
    checkCount(name, "k", k);
    checkIgnored(name, ignoreIndex);
    const counts = new DeviceSum(CODES);
    super(name, { parts: [counts], options: { k, ignoreIndex } });
    this.#counts = counts;
    this.#k = k;
    this.#ignoreIndex = ignoreIndex;
  }

  /**
   * Counts the samples of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit, or there are less than `k` classes
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name, { ignoreIndex: this.#ignoreIndex });
    const { like, count, classes } = labels;
    if (classes < this.#k) {
      throw new ShapeError(
        `Cannot update metric "${this.name}": expected predictions of at least ${this.#k} ` +
          `classes along axis 1, found shape ${showShape(like.shape)}`,
      );
    }
    this.#classes = classes;
    this.#counts.add(like, () => {
      const { indices } = labels.scores().topk(this.#k, 1);
      const right = indices.eq(labels.actual().unsqueeze(1)).any(1).where(1, 0);
      return countCodes(labels.coded(right, OUTSIDE), CODES);
    }, count);
  }

  /**
   * The share of right samples.
   *
   * @throws {RangeError} if targets were no labels from 0 to C − 1
   */
  async compute(): Promise<ValuesByName<N>> {
    const [counts] = await this.read();
    return this.values(shareOfRight(this.name, counts, this.#classes));
  }
}

/**
 * Share of labels on the right side of a threshold; 0 without labels.
 *
 * Step outputs need `predictions`, logits or probabilities, and `targets` of the same shape up to
 * axes of size 1; targets other than 0 are positive. Predictions that are NaN count as negative.
 *
 * @example One of two logits is right
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { BinaryAccuracy } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const accuracy = new BinaryAccuracy({ threshold: 0.5 });
 * accuracy.update(
 *   new SupervisedStepOutput({
 *     loss: tensor(0, { device }),
 *     predictions: tensor([2, -1], { device }),
 *     targets: tensor([1, 1], { device }),
 *   }),
 * );
 * assertEquals((await accuracy.compute()).accuracy, 0.5);
 * ```
 */
export class BinaryAccuracy<N extends string = "accuracy"> extends DeviceMetric<N, N, LabelFields> {
  #counts: DeviceSum;
  #cut: number;

  /**
   * Makes the metric, without samples.
   *
   * @param options threshold, kind of the predictions, and name
   * @throws {RangeError} if the threshold does not lie between 0 and 1
   */
  constructor(options: BinaryOptions<N> = {}) {
    const { name = "accuracy" as N } = options;
    const cut = binaryCut(name, options);
    const counts = new DeviceSum(2);
    super(name, { parts: [counts], options: { cut } });
    this.#counts = counts;
    this.#cut = cut;
  }

  /**
   * Counts the labels of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const { like, count, scores, actual } = binaryLabels(output, this.name);
    const right = () => scores().ge(this.#cut).to("i32").eq(actual()).where(1, 0);
    this.#counts.add(like, () => countCodes(right(), 2), count);
  }

  /** The share of right labels. */
  async compute(): Promise<ValuesByName<N>> {
    const [[wrong, right]] = (await this.read()).map((part) => Array.from(part));
    return this.values(right === 0 ? 0 : right / (right + wrong));
  }
}
