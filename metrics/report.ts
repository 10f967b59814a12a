/** Precision, recall and F1 of every class in one table. */

import type { StepOutput } from "../core/engine/mod.ts";
import {
  averageScore,
  ClassCounts,
  type Counts,
  namesOfClasses,
  type ScoreName,
  scoreOf,
} from "./class_counts.ts";
import { DeviceMetric } from "./device_metric.ts";
import { checkZeroDivision } from "./f1.ts";
import { checkClasses, checkCount, checkIgnored, classLabels } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";
import { textTable } from "./table.ts";

/** Options of `ClassificationReport`. */
export interface ClassificationReportOptions<N extends string = string> {
  /** Number of classes. */
  numClasses: number;
  /** Names of the classes. @default {their numbers} */
  classNames?: readonly string[];
  /** The score of a class where its divisor is 0: 0 or 1. @default {0} */
  zeroDivision?: 0 | 1;
  /** The target of samples that do not count. @default {none} */
  ignoreIndex?: number;
  /** What the names of the values start with, before a slash. @default {"report"} */
  name?: N;
}

/** One class of a `ClassificationReport`. */
export interface ReportRow {
  /** The name of the class. */
  readonly label: string;
  /** Of its predictions, the share that is right. */
  readonly precision: number;
  /** Of its targets, the share that is predicted. */
  readonly recall: number;
  /** Harmonic mean of precision and recall. */
  readonly f1: number;
  /** Number of its targets. */
  readonly support: number;
}

/** The names of the values of a report. */
export type ReportKey<N extends string> = `${N}/${"accuracy" | ScoreName}`;

const SCORES = ["precision", "recall", "f1"] as const;

/**
 * Precision, recall, F1 and support of every class, as scikit-learn's `classification_report`.
 *
 * As values it gives the accuracy and the macro averages, over the classes that occur:
 * `report/accuracy`, `report/precision`, `report/recall` and `report/f1`. The rows and a table of
 * text are read by methods, e.g. after the epoch. Step outputs need what `MultiClassAccuracy`
 * needs.
 *
 * @example A table for two classes
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { ClassificationReport } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const report = new ClassificationReport({ numClasses: 2, classNames: ["cat", "dog"] });
 * report.update(
 *   new DictStepOutput({
 *     predictions: tensor([[2, -1], [0, 1], [5, 4]], { device }),
 *     targets: tensor([0, 1, 1], { dtype: "i32", device }),
 *   }),
 * );
 * const [cat] = await report.rows();
 * assertEquals(cat, { label: "cat", precision: 0.5, recall: 1, f1: 2 / 3, support: 1 });
 * console.log(await report.table());
 * ```
 */
export class ClassificationReport<N extends string = "report">
  extends DeviceMetric<N, ReportKey<N>, LabelFields> {
  readonly #names: readonly string[];
  readonly #undefined: number;
  readonly #ignoreIndex: number | undefined;
  readonly #counts: ClassCounts;

  /**
   * Makes the metric, without samples.
   *
   * @param options classes, and what is undefined or ignored
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: ClassificationReportOptions<N>) {
    const { numClasses, classNames, zeroDivision = 0, ignoreIndex, name = "report" as N } = options;
    checkCount(name, "numClasses", numClasses);
    checkZeroDivision(name, zeroDivision);
    checkIgnored(name, ignoreIndex);
    const names = namesOfClasses(name, numClasses, classNames);
    const counts = new ClassCounts(numClasses);
    super(name, {
      parts: [counts.sum],
      keys: (["accuracy", ...SCORES] as const).map((key): ReportKey<N> => `${name}/${key}`),
      options: { numClasses, ignoreIndex },
    });
    this.#names = names;
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
    checkClasses(this.name, labels, this.#names.length);
    this.#counts.add(labels);
  }

  /**
   * Accuracy, and macro averages of precision, recall and F1; 0 (or `zeroDivision`) without
   * samples.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async compute(): Promise<ValuesByName<ReportKey<N>>> {
    const classes = await this.#classes();
    const macro = SCORES.map((score) => averageScore(score, classes, "macro", this.#undefined));
    const values = [averageScore("recall", classes, "micro", 0), ...macro];
    return this.values(...values);
  }

  /**
   * The scores of every class, in the order of the classes.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async rows(): Promise<ReportRow[]> {
    return this.#rowsOf(await this.#classes());
  }

  /**
   * The scores as text: a line for each class, then accuracy, macro average and average by support.
   *
   * @param digits behind the point
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async table(digits = 4): Promise<string> {
    const classes = await this.#classes();
    const show = (value: number) => value.toFixed(digits);
    const support = classes.reduce((sum, { actual }) => sum + actual, 0);
    const cells = ({ label, precision, recall, f1, support }: ReportRow) => [
      label,
      ...[precision, recall, f1].map(show),
      String(support),
    ];
    const averages = (["macro", "weighted"] as const).map((average) => {
      const values = SCORES.map((score) => averageScore(score, classes, average, this.#undefined));
      return [`${average} avg`, ...values.map(show), String(support)];
    });
    const accuracy = show(averageScore("recall", classes, "micro", 0));
    return textTable([
      ["class", "precision", "recall", "f1", "support"],
      ...this.#rowsOf(classes).map(cells),
      ["accuracy", "", "", accuracy, String(support)],
      ...averages,
    ]);
  }

  #rowsOf(classes: readonly Counts[]): ReportRow[] {
    return classes.map((counts, i) => {
      const [precision, recall, f1] = SCORES.map((s) => scoreOf(s, counts, this.#undefined));
      return { label: this.#names[i], precision, recall, f1, support: counts.actual };
    });
  }

  async #classes(): Promise<Counts[]> {
    const [numbers] = await this.read();
    return this.#counts.of(this.name, numbers);
  }
}
