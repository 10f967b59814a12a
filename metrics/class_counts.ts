/** Precision, recall and F1 from counts. */

import { concat } from "../core/mod.ts";
import { DeviceSum } from "./device_sum.ts";
import { checkOutside, type ClassLabels, countCodes } from "./labels.ts";

/** What a sample can be counted for. */
export interface Counts {
  /** Right predictions of the class. */
  readonly hits: number;
  /** Predictions of the class. */
  readonly predicted: number;
  /** Targets of the class: its support. */
  readonly actual: number;
}

/** How the scores of the classes become one number, or stay several. */
export type ClassAverage = "macro" | "micro" | "weighted" | "none";

/** The usual name of a metric of several classes. */
export type ClassName<S extends string, A extends ClassAverage> = A extends "none" ? S
  : `${S}_${A}`;

/** The names of its values: its own, or one for each class. */
export type ClassKey<N extends string, A extends ClassAverage> = A extends "none" ? `${N}/${string}`
  : N;

/** Which score. */
export type ScoreName = "precision" | "recall" | "f1";

/**
 * One score from counts: precision `hits / predicted`, recall `hits / actual`, F1 their harmonic
 * mean `2·hits / (predicted + actual)`.
 *
 * @param undefinedValue the score where its divisor is 0
 */
export function scoreOf(score: ScoreName, counts: Counts, undefinedValue: number): number {
  const { hits, predicted, actual } = counts;
  if (score === "f1") return ratio(2 * hits, predicted + actual, undefinedValue);
  return ratio(hits, score === "precision" ? predicted : actual, undefinedValue);
}

function ratio(part: number, whole: number, undefinedValue: number): number {
  return whole === 0 ? undefinedValue : part / whole;
}

/** The classes that occur among targets or predictions. */
function occurring(classes: readonly Counts[]): readonly Counts[] {
  return classes.filter(({ predicted, actual }) => predicted + actual > 0);
}

/**
 * One score over all classes. As in scikit-learn, "macro" is the mean over the classes that occur
 * among targets or predictions, "weighted" the mean by targets, "micro" the score of the sums of
 * all counts.
 *
 * @param undefinedValue the score where a divisor is 0, and without samples
 */
export function averageScore(
  score: ScoreName,
  classes: readonly Counts[],
  average: Exclude<ClassAverage, "none">,
  undefinedValue: number,
): number {
  if (average === "micro") {
    const sum = (key: keyof Counts) => classes.reduce((total, counts) => total + counts[key], 0);
    const all = { hits: sum("hits"), predicted: sum("predicted"), actual: sum("actual") };
    return scoreOf(score, all, undefinedValue);
  }
  const there = occurring(classes);
  const weights = there.map(({ actual }) => average === "weighted" ? actual : 1);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const scores = there.map((counts) => scoreOf(score, counts, undefinedValue));
  return ratio(scores.reduce((sum, s, i) => sum + s * weights[i], 0), total, undefinedValue);
}

/** Hits, predictions and targets of each class, counted on the device. */
export class ClassCounts {
  /** Hits of the classes, then predictions, then targets, then targets that are no class. */
  readonly sum: DeviceSum;
  readonly #classes: number;

  /** @param classes number of classes */
  constructor(classes: number) {
    this.#classes = classes;
    this.sum = new DeviceSum(3 * classes + 1);
  }

  /** Counts the labels of a step. */
  add(labels: ClassLabels): void {
    const bins = this.sum.length;
    this.sum.add(labels.like, () => {
      const [predicted, actual] = [labels.predicted(), labels.actual()];
      const codes = [
        labels.coded(predicted.eq(actual).where(actual, -1), -1),
        labels.coded(predicted.add(this.#classes), -1),
        labels.coded(actual.add(2 * this.#classes), bins - 1),
      ];
      return countCodes(concat(codes), bins);
    }, labels.count);
  }

  /**
   * The counts of each class, from the numbers of `sum`.
   *
   * @throws {RangeError} if there were targets that are no class
   */
  of(metric: string, numbers: ArrayLike<number>): Counts[] {
    const size = this.#classes;
    const counts = Array.from({ length: size }, (_, label) => ({
      hits: numbers[label],
      predicted: numbers[size + label],
      actual: numbers[2 * size + label],
    }));
    const outside = numbers[3 * size];
    const known = counts.reduce((sum, { actual }) => sum + actual, 0);
    checkOutside(metric, outside, known + outside, size);
    return counts;
  }
}

/**
 * The names of the classes.
 *
 * @throws {RangeError} if there are not as many different names as classes
 */
export function namesOfClasses(
  metric: string,
  numClasses: number,
  classNames?: readonly string[],
): readonly string[] {
  const names = classNames ?? Array.from({ length: numClasses }, (_, label) => String(label));
  const different = new Set(names).size;
  if (names.length === numClasses && different === numClasses) return [...names];
  throw new RangeError(
    `Cannot make metric "${metric}": expected ${numClasses} different classNames, found ` +
      `${names.length}${different < names.length ? ", some of them equal" : ""}`,
  );
}

/** The names of the values of a metric of several classes. */
export function keysOfClasses(
  name: string,
  average: ClassAverage,
  labels: readonly string[],
): readonly string[] {
  return average === "none" ? labels.map((label) => `${name}/${label}`) : [name];
}
