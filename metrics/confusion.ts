/** Which classes are taken for which. */

import type { StepOutput } from "../core/engine/mod.ts";
import { namesOfClasses } from "./class_counts.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import {
  checkClasses,
  checkCount,
  checkIgnored,
  checkOutside,
  classLabels,
  countCodes,
} from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";
import { textTable } from "./table.ts";

/** Options of `ConfusionMatrix`. */
export interface ConfusionMatrixOptions<N extends string = string> {
  /** Number of classes, at most 4096. */
  numClasses: number;
  /** Names of the classes. @default {their numbers} */
  classNames?: readonly string[];
  /** The target of samples that do not count. @default {none} */
  ignoreIndex?: number;
  /** What the names of the values start with, before a slash. @default {"confusion"} */
  name?: N;
}

/**
 * What the numbers of a confusion matrix are shares of: targets of a class, predictions of a class,
 * or all samples.
 */
export type ConfusionShares = "targets" | "predictions" | "all";

/** The counters of that many classes take 64 MiB. */
const MOST_CLASSES = 4096;

/**
 * Counts samples by target (row) and prediction (column), as scikit-learn's `confusion_matrix`.
 *
 * As values it gives `confusion/accuracy`, and `confusion/balanced_accuracy`, the mean recall of
 * the classes that have targets; both 0 without samples. The matrix is read by `matrix()` and
 * `table()`. Its C² counters lie on the device. Step outputs need what `MultiClassAccuracy` needs.
 *
 * @example One sample of class 1 is taken for class 0
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { ConfusionMatrix } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const confusion = new ConfusionMatrix({ numClasses: 2 });
 * confusion.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals(await confusion.matrix(), [[1, 0], [1, 1]]);
 * ```
 */
export class ConfusionMatrix<N extends string = "confusion"> extends DeviceMetric<
  N,
  `${N}/accuracy` | `${N}/balanced_accuracy`,
  LabelFields
> {
  readonly #names: readonly string[];
  readonly #ignoreIndex: number | undefined;
  readonly #counts: DeviceSum;

  /**
   * Makes the metric, without samples.
   *
   * @param options classes, name, and the target to ignore
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ConfusionMatrixOptions<N>) {
    const { numClasses, classNames, ignoreIndex, name = "confusion" as N } = options;
    checkCount(name, "numClasses", numClasses, MOST_CLASSES);
    checkIgnored(name, ignoreIndex);
    const names = namesOfClasses(name, numClasses, classNames);
    const counts = new DeviceSum(numClasses ** 2 + 1);
    super(name, {
      parts: [counts],
      keys: [`${name}/accuracy`, `${name}/balanced_accuracy`] as const,
      options: { numClasses, ignoreIndex },
    });
    this.#names = names;
    this.#ignoreIndex = ignoreIndex;
    this.#counts = counts;
  }

  /**
   * Counts the samples of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit, or axis 1 of the predictions is no class axis
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name, { ignoreIndex: this.#ignoreIndex });
    const size = this.#names.length;
    checkClasses(this.name, labels, size);
    this.#counts.add(labels.like, () => {
      const cells = labels.actual().mul(size).add(labels.predicted());
      return countCodes(labels.coded(cells, size ** 2), size ** 2 + 1);
    }, labels.count);
  }

  /**
   * Accuracy and balanced accuracy.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async compute(): Promise<ValuesByName<`${N}/accuracy` | `${N}/balanced_accuracy`>> {
    const matrix = await this.matrix();
    const supports = matrix.map(sum);
    const right = matrix.map((row, label) => row[label]);
    const recalls = right.map((count, label) => count / supports[label])
      .filter((_, label) => supports[label] > 0);
    return this.values(
      sum(right) / (sum(supports) || 1),
      sum(recalls) / (recalls.length || 1),
    );
  }

  /**
   * The counts: a row for each target, in it a column for each prediction.
   *
   * @param shares gives shares instead, of the targets of a row, of the predictions of a column, or
   * of all samples; 0 where there are none
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async matrix(shares?: ConfusionShares): Promise<number[][]> {
    const [numbers] = await this.read();
    const size = this.#names.length;
    const counts = this.#names.map((_, row) =>
      Array.from({ length: size }, (_, column) => numbers[row * size + column])
    );
    const outside = numbers[size ** 2];
    checkOutside(this.name, outside, sum(counts.map(sum)) + outside, size);
    if (shares === undefined) return counts;
    const whole = (row: number, column: number) =>
      shares === "targets"
        ? sum(counts[row])
        : shares === "predictions"
        ? sum(counts.map((r) => r[column]))
        : sum(counts.map(sum));
    return counts.map((r, row) => r.map((count, column) => count / (whole(row, column) || 1)));
  }

  /**
   * The counts as text: a line for each target, in it a column for each prediction.
   *
   * @param shares gives shares instead, with three digits, as for `matrix`
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async table(shares?: ConfusionShares): Promise<string> {
    const matrix = await this.matrix(shares);
    const show = (value: number) => shares === undefined ? String(value) : value.toFixed(3);
    return textTable([
      ["target \\ prediction", ...this.#names],
      ...matrix.map((row, label) => [this.#names[label], ...row.map(show)]),
    ]);
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
