/** Shares of right labels. */

import { effect } from "../core/backend/capture.ts";
import type { StepOutput } from "../core/engine/mod.ts";
import { DeviceSum, type SavedSum } from "./device_sum.ts";
import {
  binaryCut,
  binaryLabels,
  type BinaryOptions,
  classLabels,
  type LabelPair,
} from "./labels.ts";
import type { Metric } from "./metric.ts";

/** Right labels and all labels: the part that both accuracies share. */
class RightLabels {
  #right = new DeviceSum(1);
  #total = 0;

  add(labels: LabelPair): void {
    this.#right.add(labels.like, () => labels.predicted().eq(labels.actual()).sum());
    const { count } = labels;
    effect(() => void (this.#total += count), () => void (this.#total -= count));
  }

  async share(): Promise<number> {
    const total = this.#total;
    const [right] = await this.#right.read();
    return total === 0 ? 0 : right / total;
  }

  reset(): void {
    this.#right.reset();
    this.#total = 0;
  }

  async save(): Promise<SavedSum> {
    const total = this.#total;
    return [...await this.#right.save(), total];
  }

  load(metric: string, state: unknown): void {
    const [right, total] = Array.isArray(state) ? state : [];
    if (!Number.isSafeInteger(total)) {
      throw new TypeError(
        `Cannot load metric "${metric}": expected two counts, found ${JSON.stringify(state)}`,
      );
    }
    this.#right.load(metric, [right]);
    this.#total = total;
  }
}

/** Options of `MultiClassAccuracy`. */
export interface MultiClassAccuracyOptions {
  /** The name of the value. @default {"accuracy"} */
  name?: string;
}

/**
 * Share of samples whose largest class score is that of the target class; 0 without samples.
 *
 * Step outputs need `predictions` [N, C, ...], scores such as logits along axis 1, and `targets`
 * [N, ...], integer labels from 0 to C − 1. Of equal scores the first wins. Counts are exact up to
 * 2³¹ − 1 right labels.
 *
 * @example Three samples, two of them right
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MultiClassAccuracy } from "@legoml/legoml/metrics";
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
 * console.assert((await accuracy.compute()).accuracy === 2 / 3);
 * ```
 */
export class MultiClassAccuracy implements Metric {
  /** The name of the value. */
  readonly name: string;
  /** The name of the value, as a list. */
  readonly keys: readonly string[];
  /** More is better. */
  readonly better = "up" as const;
  /** Whether captured steps may repeat updates. */
  readonly capturable = true;
  #labels = new RightLabels();

  /**
   * Makes the metric, without samples.
   *
   * @param options the name of the value
   */
  constructor(options: MultiClassAccuracyOptions = {}) {
    this.name = options.name ?? "accuracy";
    this.keys = [this.name];
  }

  /** Forgets all samples. */
  reset(): void {
    this.#labels.reset();
  }

  /**
   * Counts the samples of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    this.#labels.add(classLabels(output, this.name));
  }

  /** The share of right samples. */
  async compute(): Promise<Record<string, number>> {
    return { [this.name]: await this.#labels.share() };
  }

  /** Right samples and all samples. */
  state(): Promise<SavedSum> {
    return this.#labels.save();
  }

  /** Takes back what `state` gave. @throws {TypeError} if it is something else */
  load(state: unknown): void {
    this.#labels.load(this.name, state);
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
 * console.assert((await accuracy.compute()).accuracy === 0.5);
 * ```
 */
export class BinaryAccuracy implements Metric {
  /** The name of the value. */
  readonly name: string;
  /** The name of the value, as a list. */
  readonly keys: readonly string[];
  /** More is better. */
  readonly better = "up" as const;
  /** Whether captured steps may repeat updates. */
  readonly capturable = true;
  #labels = new RightLabels();
  #cut: number;

  /**
   * Makes the metric, without samples.
   *
   * @param options threshold, kind of the predictions, and name
   * @throws {RangeError} if the threshold does not lie between 0 and 1
   */
  constructor(options: BinaryOptions = {}) {
    this.name = options.name ?? "accuracy";
    this.keys = [this.name];
    this.#cut = binaryCut(this.name, options);
  }

  /** Forgets all labels. */
  reset(): void {
    this.#labels.reset();
  }

  /**
   * Counts the labels of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    this.#labels.add(binaryLabels(output, this.name, this.#cut));
  }

  /** The share of right labels. */
  async compute(): Promise<Record<string, number>> {
    return { [this.name]: await this.#labels.share() };
  }

  /** Right labels and all labels. */
  state(): Promise<SavedSum> {
    return this.#labels.save();
  }

  /** Takes back what `state` gave. @throws {TypeError} if it is something else */
  load(state: unknown): void {
    this.#labels.load(this.name, state);
  }
}
