/** Harmonic means of precision and recall. */

import { effect } from "../core/backend/capture.ts";
import type { StepOutput } from "../core/engine/mod.ts";
import { arange, ShapeError, showShape, stack, type Tensor } from "../core/mod.ts";
import { DeviceSum, type SavedSum } from "./device_sum.ts";
import { binaryCut, binaryLabels, type BinaryOptions, classLabels } from "./labels.ts";
import { type Metric, tensorField } from "./metric.ts";

/** Hits, predictions and targets, along axis 0, from i32 flags of both along axis 0. */
function countFlags(predicted: Tensor, actual: Tensor): Tensor {
  return stack([predicted.mul(actual).sum(0), predicted.sum(0), actual.sum(0)], 0);
}

/** `2·hits / (predicted + actual)`, 0 where nothing was predicted nor true. */
function f1(hits: number, predicted: number, actual: number): number {
  return ratio(2 * hits, predicted + actual);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/**
 * F1 score, precision and recall of a yes-or-no decision, under the names `f1`, `f1/precision` and
 * `f1/recall`; each is 0 where it is undefined, as without labels.
 *
 * Step outputs need what `BinaryAccuracy` needs.
 *
 * @example One hit, one miss, one false alarm
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { BinaryF1 } from "@legoml/legoml/metrics";
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
 * console.assert(precision === 0.5 && recall === 0.5);
 * ```
 */
export class BinaryF1 implements Metric {
  /** The name of the F1 score, and the start of the other names. */
  readonly name: string;
  /** The names of F1 score, precision and recall. */
  readonly keys: readonly string[];
  /** More is better. */
  readonly better = "up" as const;
  /** Whether captured steps may repeat updates. */
  readonly capturable = true;
  #counts = new DeviceSum(3);
  #cut: number;

  /**
   * Makes the metric, without samples.
   *
   * @param options threshold, kind of the predictions, and name
   * @throws {RangeError} if the threshold does not lie between 0 and 1
   */
  constructor(options: BinaryOptions = {}) {
    this.name = options.name ?? "f1";
    this.keys = [this.name, `${this.name}/precision`, `${this.name}/recall`];
    this.#cut = binaryCut(this.name, options);
  }

  /** Forgets all labels. */
  reset(): void {
    this.#counts.reset();
  }

  /**
   * Counts the labels of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const labels = binaryLabels(output, this.name, this.#cut);
    this.#counts.add(
      labels.like,
      () => countFlags(labels.predicted().reshape([-1]), labels.actual().reshape([-1])),
    );
  }

  /** F1 score, precision and recall. */
  async compute(): Promise<Record<string, number>> {
    const [hits, predicted, actual] = await this.#counts.read();
    return {
      [this.keys[0]]: f1(hits, predicted, actual),
      [this.keys[1]]: ratio(hits, predicted),
      [this.keys[2]]: ratio(hits, actual),
    };
  }

  /** Hits, positive predictions and positive targets. */
  state(): Promise<SavedSum> {
    return this.#counts.save();
  }

  /** Takes back what `state` gave. @throws {TypeError} if it is something else */
  load(state: unknown): void {
    this.#counts.load(this.name, state);
  }
}

/** Options of `MacroF1`. */
export interface MacroF1Options {
  /** Number of classes. */
  numClasses: number;
  /** The name of the value. @default {"f1_macro"} */
  name?: string;
}

/**
 * Mean over all classes of the class's F1 score; a class that was neither predicted nor true counts
 * as 0, so the value is 0 without samples.
 *
 * Step outputs need what `MultiClassAccuracy` needs.
 *
 * @example Two classes, of which one is always found
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MacroF1 } from "@legoml/legoml/metrics";
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
 * console.assert(Math.abs(value - 2 / 3) < 1e-12);
 * ```
 */
export class MacroF1 implements Metric {
  /** The name of the value. */
  readonly name: string;
  /** The name of the value, as a list. */
  readonly keys: readonly string[];
  /** More is better. */
  readonly better = "up" as const;
  /** Whether captured steps may repeat updates. */
  readonly capturable = true;
  #classes: number;
  #counts: DeviceSum;
  #total = 0;

  /**
   * Makes the metric, without samples.
   *
   * @param options number of classes, and name
   * @throws {RangeError} if `numClasses` is no whole number from 1
   */
  constructor(options: MacroF1Options) {
    const { numClasses, name = "f1_macro" } = options;
    if (!Number.isSafeInteger(numClasses) || numClasses < 1) {
      throw new RangeError(
        `Cannot make metric "${name}": expected numClasses to be a whole number from 1, found ` +
          `${numClasses}`,
      );
    }
    this.name = name;
    this.keys = [name];
    this.#classes = numClasses;
    this.#counts = new DeviceSum(3 * numClasses);
  }

  /** Forgets all samples. */
  reset(): void {
    this.#counts.reset();
    this.#total = 0;
  }

  /**
   * Counts the samples of a step by class.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit, or axis 1 of the predictions is no class axis
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name);
    const { shape, device } = tensorField(output, this.name, "predictions");
    if (shape[1] !== this.#classes) {
      throw new ShapeError(
        `Cannot update metric "${this.name}": expected predictions of ${this.#classes} classes ` +
          `along axis 1, found shape ${showShape(shape)}`,
      );
    }
    this.#counts.add(labels.like, () => {
      const classes = arange(0, this.#classes, 1, { dtype: "i32", device });
      const flags = (t: Tensor) => t.reshape([-1, 1]).eq(classes).to("i32");
      return countFlags(flags(labels.predicted()), flags(labels.actual()));
    });
    const { count } = labels;
    effect(() => void (this.#total += count), () => void (this.#total -= count));
  }

  /**
   * The mean F1 score.
   *
   * @throws {RangeError} if targets were no labels from 0 to `numClasses` − 1
   */
  async compute(): Promise<Record<string, number>> {
    const total = this.#total;
    const counts = await this.#counts.read();
    const of = (row: number) => counts.slice(row * this.#classes, (row + 1) * this.#classes);
    const [hits, predicted, actual] = [of(0), of(1), of(2)];
    const known = actual.reduce((sum, count) => sum + count, 0);
    if (known !== total) {
      throw new RangeError(
        `Cannot compute metric "${this.name}": expected targets from 0 to ${this.#classes - 1}, ` +
          `found ${total - known} of ${total} outside`,
      );
    }
    const scores = hits.map((count, label) => f1(count, predicted[label], actual[label]));
    return { [this.name]: scores.reduce((sum, score) => sum + score, 0) / this.#classes };
  }

  /** All samples; then hits, predictions and targets of each class. */
  async state(): Promise<SavedSum> {
    const total = this.#total;
    return [total, ...await this.#counts.save()];
  }

  /** Takes back what `state` gave. @throws {TypeError} if it is something else */
  load(state: unknown): void {
    const [total, ...counts] = Array.isArray(state) ? state : [];
    if (!Number.isSafeInteger(total)) {
      throw new TypeError(
        `Cannot load metric "${this.name}": expected counts, found ${JSON.stringify(state)}`,
      );
    }
    this.#counts.load(this.name, counts);
    this.#total = total;
  }
}
