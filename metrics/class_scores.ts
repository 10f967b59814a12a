/** Precision, recall and F1 over several classes. */

import type { StepOutput } from "../core/engine/mod.ts";
import {
  averageScore,
  type ClassAverage,
  ClassCounts,
  type ClassKey,
  type ClassName,
  keysOfClasses,
  namesOfClasses,
  type ScoreName,
  scoreOf,
} from "./class_counts.ts";
import { DeviceMetric } from "./device_metric.ts";
import { checkZeroDivision } from "./f1.ts";
import { checkClasses, checkCount, checkIgnored, classLabels } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";

/** Options of the scores over several classes. */
export interface ClassScoreOptions<
  N extends string = string,
  A extends ClassAverage = ClassAverage,
> {
  /** Number of classes. */
  numClasses: number;
  /**
   * "macro": mean over the classes that occur among targets or predictions; "weighted": mean by
   * numbers of targets; "micro": score of the sums of all counts, for single labels the accuracy;
   * "none": a value for each class.
   * @default {"macro"}
   */
  average?: A;
  /** The score of a class, or of all, where its divisor is 0: 0 or 1. @default {0} */
  zeroDivision?: 0 | 1;
  /** The target of samples that do not count. @default {none} */
  ignoreIndex?: number;
  /** Names of the classes, for the names of the values of "none". @default {their numbers} */
  classNames?: readonly string[];
  /**
   * The name of the value; with "none" the names are this one, a slash, and the class.
   * @default {"precision_macro", with score and average}
   */
  name?: N;
}

/**
 * Base of the scores over several classes: counts hits, predictions and targets of each class.
 *
 * Step outputs need what `MultiClassAccuracy` needs. Values are those of scikit-learn's
 * `precision_score`, `recall_score` and `f1_score` with the same `average` and `zero_division`.
 */
export abstract class ClassScore<
  N extends string = string,
  A extends ClassAverage = ClassAverage,
> extends DeviceMetric<N, ClassKey<N, A>, LabelFields> {
  readonly #score: ScoreName;
  readonly #average: ClassAverage;
  readonly #classes: number;
  readonly #undefined: number;
  readonly #ignoreIndex: number | undefined;
  readonly #counts: ClassCounts;

  /**
   * Makes the metric, without samples.
   *
   * @param score which score
   * @param options classes, average, and what is undefined or ignored
   * @throws {RangeError} if an option has no meaning
   */
  constructor(score: ScoreName, options: ClassScoreOptions<N, A>) {
    const { numClasses, zeroDivision = 0, ignoreIndex, classNames } = options;
    const average: ClassAverage = options.average ?? "macro";
    const usual = average === "none" ? score : `${score}_${average}`;
    const { name = usual as string as N } = options;
    checkCount(name, "numClasses", numClasses);
    checkZeroDivision(name, zeroDivision);
    checkIgnored(name, ignoreIndex);
    if (!["macro", "micro", "weighted", "none"].includes(average)) {
      throw new RangeError(
        `Cannot make metric "${name}": expected average "macro", "micro", "weighted" or "none", ` +
          `found "${average}"`,
      );
    }
    const names = namesOfClasses(name, numClasses, classNames);
    const counts = new ClassCounts(numClasses);
    super(name, {
      parts: [counts.sum],
      keys: keysOfClasses(name, average, names) as ClassKey<N, A>[],
      options: { numClasses, ignoreIndex },
    });
    this.#score = score;
    this.#average = average;
    this.#classes = numClasses;
    this.#undefined = zeroDivision;
    this.#ignoreIndex = ignoreIndex;
    this.#counts = counts;
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
   * The score, or that of each class.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async compute(): Promise<ValuesByName<ClassKey<N, A>>> {
    const [numbers] = await this.read();
    const classes = this.#counts.of(this.name, numbers);
    const values = this.#average === "none"
      ? classes.map((counts) => scoreOf(this.#score, counts, this.#undefined))
      : [averageScore(this.#score, classes, this.#average, this.#undefined)];
    return this.values(...values);
  }
}

/**
 * Precision over several classes: of the predictions of a class, the share that is right.
 *
 * Step outputs need what `MultiClassAccuracy` needs.
 *
 * @example The precision of each class
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MultiClassPrecision } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new MultiClassPrecision({
 *   numClasses: 2,
 *   average: "none",
 *   classNames: ["cat", "dog"],
 * });
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * const { "precision/cat": cat, "precision/dog": dog } = await metric.compute();
 * assertEquals([cat, dog], [0.5, 1]);
 * ```
 */
export class MultiClassPrecision<
  A extends ClassAverage = "macro",
  N extends string = ClassName<"precision", A>,
> extends ClassScore<N, A> {
  /**
   * Makes the metric, without samples.
   *
   * @param options classes, average, and what is undefined or ignored
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ClassScoreOptions<N, A>) {
    super("precision", options);
  }
}

/**
 * Recall over several classes: of the targets of a class, the share that is predicted. (The
 * balanced accuracy, which leaves out classes without targets, is a value of `ConfusionMatrix`.)
 *
 * Step outputs need what `MultiClassAccuracy` needs.
 *
 * @example Each class weighs the same
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MultiClassRecall } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new MultiClassRecall({ numClasses: 2 });
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await metric.compute()).recall_macro, 0.75);
 * ```
 */
export class MultiClassRecall<
  A extends ClassAverage = "macro",
  N extends string = ClassName<"recall", A>,
> extends ClassScore<N, A> {
  /**
   * Makes the metric, without samples.
   *
   * @param options classes, average, and what is undefined or ignored
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ClassScoreOptions<N, A>) {
    super("recall", options);
  }
}

/**
 * F1 score over several classes: the harmonic mean of precision and recall of a class.
 *
 * Step outputs need what `MultiClassAccuracy` needs. `MacroF1` differs from the macro average in
 * that classes that do not occur count as 0.
 *
 * @example For single labels the micro average is the accuracy
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MultiClassF1 } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const metric = new MultiClassF1({ numClasses: 2, average: "micro" });
 * metric.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await metric.compute()).f1_micro, 2 / 3);
 * ```
 */
export class MultiClassF1<
  A extends ClassAverage = "macro",
  N extends string = ClassName<"f1", A>,
> extends ClassScore<N, A> {
  /**
   * Makes the metric, without samples.
   *
   * @param options classes, average, and what is undefined or ignored
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ClassScoreOptions<N, A>) {
    super("f1", options);
  }
}
