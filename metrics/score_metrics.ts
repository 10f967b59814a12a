/** What the areas under curves have in common. */

import type { StepOutput } from "../core/engine/mod.ts";
import { type ClassKey, keysOfClasses, namesOfClasses } from "./class_counts.ts";
import { DeviceMetric } from "./device_metric.ts";
import { binaryLabels, checkClasses, checkCount, classLabels } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";
import { ScoreStorage, type ScoreStorageOptions } from "./scores.ts";
import { positivesOf, type ThresholdCounts } from "./thresholds.ts";

/** Options of areas under curves of yes-or-no questions. */
export interface BinaryAreaOptions<N extends string = string> extends ScoreStorageOptions {
  /**
   * Whether predictions are logits (true) or probabilities (false); of account only with `bins`,
   * since the areas depend on the order of the scores alone.
   * @default {true}
   */
  applySigmoid?: boolean;
  /** The name of the value. */
  name?: N;
}

/**
 * Base of the areas under curves of yes-or-no questions.
 *
 * Step outputs need what `BinaryAccuracy` needs.
 */
export abstract class BinaryArea<N extends string = string>
  extends DeviceMetric<N, N, LabelFields> {
  readonly #storage: ScoreStorage;
  readonly #applySigmoid: boolean;
  readonly #area: (counts: ThresholdCounts) => number;

  /**
   * Makes the metric, without samples.
   *
   * @param area the value from counts at thresholds
   * @param options bins or limit, kind of the predictions, and name
   * @throws {RangeError} if an option is no whole number from 1
   */
  constructor(
    area: (counts: ThresholdCounts) => number,
    options: BinaryAreaOptions<N> & { name: N },
  ) {
    const { name, applySigmoid = true, bins } = options;
    const storage = new ScoreStorage(name, 1, options);
    super(name, {
      parts: [storage.part],
      capturable: storage.binned,
      options: bins === undefined ? {} : { bins, applySigmoid },
    });
    this.#storage = storage;
    this.#applySigmoid = applySigmoid;
    this.#area = area;
  }

  /**
   * Gathers the scores of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   * @throws {RangeError} if more than `maxSamples` would be kept
   * @throws {CaptureError} inside a captured step, without `bins`
   */
  update(output: StepOutput): void {
    const { like, count, scores, actual } = binaryLabels(output, this.name);
    const column = () => scores().to("f32").unsqueeze(1);
    const squash = this.#storage.binned && this.#applySigmoid;
    const values = () => squash ? column().sigmoid() : column();
    this.#storage.add({ like, count, scores: values, labels: actual });
  }

  /**
   * The area.
   *
   * @throws {RangeError} if scores were NaN or, with `bins`, probabilities not from 0 to 1
   */
  async compute(): Promise<ValuesByName<N>> {
    return this.values(this.#area(await this.counts()));
  }

  /** Counts at every threshold. */
  protected async counts(): Promise<ThresholdCounts> {
    const [numbers] = await this.read();
    return this.#storage.counts(numbers)[0];
  }
}

/** How the areas of the classes become one number, or stay several. */
export type AreaAverage = "macro" | "weighted" | "none";

/** Options of areas under curves of each class against the others. */
export interface ClassAreaOptions<
  N extends string = string,
  A extends AreaAverage = AreaAverage,
> extends ScoreStorageOptions {
  /** Number of classes, from 2. */
  numClasses: number;
  /**
   * "macro": mean over the classes whose area is defined; "weighted": mean of these by numbers of
   * targets; "none": a value for each class.
   * @default {"macro"}
   */
  average?: A;
  /** Whether predictions are logits (true) or probabilities (false). @default {true} */
  applySoftmax?: boolean;
  /** Names of the classes, for the names of the values of "none". @default {their numbers} */
  classNames?: readonly string[];
  /** The name of the value; with "none" the names are this one, a slash, and the class. */
  name?: N;
}

/**
 * Base of the areas under curves of each class against the others.
 *
 * Step outputs need what `MultiClassAccuracy` needs.
 */
export abstract class ClassArea<
  N extends string = string,
  A extends AreaAverage = AreaAverage,
> extends DeviceMetric<N, ClassKey<N, A>, LabelFields> {
  readonly #storage: ScoreStorage;
  readonly #classes: number;
  readonly #average: AreaAverage;
  readonly #applySoftmax: boolean;
  readonly #area: (counts: ThresholdCounts) => number;

  /**
   * Makes the metric, without samples.
   *
   * @param area the value from counts at thresholds
   * @param options classes, average, bins or limit, and kind of the predictions
   * @throws {RangeError} if an option has no meaning
   */
  constructor(
    area: (counts: ThresholdCounts) => number,
    options: ClassAreaOptions<N, A> & { name: N },
  ) {
    const { name, numClasses, applySoftmax = true, bins } = options;
    const average: AreaAverage = options.average ?? "macro";
    checkCount(name, "numClasses", numClasses);
    if (numClasses < 2 || !["macro", "weighted", "none"].includes(average)) {
      throw new RangeError(
        `Cannot make metric "${name}": expected at least 2 classes and average "macro", ` +
          `"weighted" or "none", found ${numClasses} and "${average}"`,
      );
    }
    const names = namesOfClasses(name, numClasses, options.classNames);
    const storage = new ScoreStorage(name, numClasses, options);
    super(name, {
      parts: [storage.part],
      keys: keysOfClasses(name, average, names) as ClassKey<N, A>[],
      capturable: storage.binned,
      options: { numClasses, bins, applySoftmax },
    });
    this.#storage = storage;
    this.#classes = numClasses;
    this.#average = average;
    this.#applySoftmax = applySoftmax;
    this.#area = area;
  }

  /**
   * Gathers the scores of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit, or axis 1 of the predictions is no class axis
   * @throws {RangeError} if more than `maxSamples` would be kept
   * @throws {CaptureError} inside a captured step, without `bins`
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name);
    checkClasses(this.name, labels, this.#classes);
    const scores = () => {
      const wide = labels.scores().to("f32");
      return this.#applySoftmax ? wide.softmax(1) : wide;
    };
    this.#storage.add({ like: labels.like, count: labels.count, scores, labels: labels.actual });
  }

  /**
   * The mean area, or that of each class.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1, or scores NaN or,
   * with `bins`, not from 0 to 1
   */
  async compute(): Promise<ValuesByName<ClassKey<N, A>>> {
    const counts = await this.counts();
    const areas = counts.map(this.#area);
    const values = this.#average === "none" ? areas : [this.#meanOf(areas, counts)];
    return this.values(...values);
  }

  /** Counts at every threshold for each class. */
  protected async counts(): Promise<ThresholdCounts[]> {
    const [numbers] = await this.read();
    return this.#storage.counts(numbers);
  }

  #meanOf(areas: readonly number[], counts: readonly ThresholdCounts[]): number {
    let [sum, total] = [0, 0];
    areas.forEach((area, label) => {
      if (Number.isNaN(area)) return;
      const weight = this.#average === "weighted" ? positivesOf(counts[label]) : 1;
      sum += weight * area;
      total += weight;
    });
    return sum / total;
  }
}
