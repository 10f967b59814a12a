/** How well confidences agree with the shares of right predictions. */

import type { StepOutput } from "../core/engine/mod.ts";
import { type Tensor, zeros } from "../core/mod.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import { binaryLabels, checkCount, checkOutside, classLabels, countCodes } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";
import { binOf, isProbability } from "./scores.ts";

/** One bin of a reliability curve. */
export interface ReliabilityBin {
  /** Smallest confidence of the bin. */
  readonly low: number;
  /** Where the next bin begins. */
  readonly high: number;
  /** Number of samples. */
  readonly count: number;
  /** Mean confidence of the samples; NaN without any. */
  readonly confidence: number;
  /** Share of the samples that are right; NaN without any. */
  readonly accuracy: number;
}

/** Options of the calibration errors. */
export interface CalibrationOptions<N extends string = string> {
  /** Number of bins of equal width between 0 and 1. @default {15} */
  bins?: number;
  /** The name of the expected error, and the start of that of the largest. @default {"ece"} */
  name?: N;
}

/** Options of `CalibrationError`. */
export interface MultiClassCalibrationOptions<N extends string = string>
  extends CalibrationOptions<N> {
  /** Whether predictions are logits (true) or probabilities (false). @default {true} */
  applySoftmax?: boolean;
}

/** Options of `BinaryCalibrationError`. */
export interface BinaryCalibrationOptions<N extends string = string> extends CalibrationOptions<N> {
  /** Whether predictions are logits (true) or probabilities (false). @default {true} */
  applySigmoid?: boolean;
}

/** Confidences [M] and whether samples are right, i32 [M]; the functions run on the device. */
export interface Confidences {
  /** A tensor of the device. */
  readonly like: Tensor;
  /** Number of samples M. */
  readonly count: number;
  /** f32 confidences [M]. */
  confidences(): Tensor;
  /** 1 where the sample is right, else 0. */
  right(): Tensor;
  /** Codes of samples, or others where their targets are no classes. */
  coded(codes: Tensor, outside: number): Tensor;
}

/**
 * Base of the calibration errors: counts samples and right ones, and adds up confidences, by bins
 * of confidence on the device.
 *
 * Bin b holds confidences in [b/bins, (b + 1)/bins), the last one also 1.
 */
export abstract class Calibration<N extends string = string>
  extends DeviceMetric<N, N | `${N}/max`, LabelFields> {
  readonly #bins: number;
  /**
   * Wrong samples of the bins, right ones, confidences that are no probabilities, targets that are
   * no classes.
   */
  readonly #counts: DeviceSum;
  readonly #sums: DeviceSum;

  /**
   * Makes the metric, without samples.
   *
   * @param options number of bins, and name
   * @param kind what else must be the same in metrics that are merged
   * @throws {RangeError} if `bins` is no whole number from 1
   */
  constructor(options: CalibrationOptions<N>, kind: Readonly<Record<string, unknown>>) {
    const { bins = 15, name = "ece" as N } = options;
    checkCount(name, "bins", bins, 2 ** 20);
    const [counts, sums] = [new DeviceSum(2 * bins + 2), new DeviceSum(bins, "f32")];
    super(name, {
      parts: [counts, sums],
      keys: [name, `${name}/max`] as const,
      better: "down",
      options: { bins, ...kind },
    });
    this.#bins = bins;
    this.#counts = counts;
    this.#sums = sums;
  }

  /**
   * Expected error `Σ_b n_b/n·|accuracy_b − confidence_b|` and the largest `|accuracy_b −
   * confidence_b|`; NaN without samples.
   *
   * @throws {RangeError} if confidences were NaN or not from 0 to 1, or targets no classes
   */
  async compute(): Promise<ValuesByName<N | `${N}/max`>> {
    const curve = (await this.curve()).filter(({ count }) => count > 0);
    const total = curve.reduce((sum, { count }) => sum + count, 0);
    const gaps = curve.map(({ accuracy, confidence }) => Math.abs(accuracy - confidence));
    const expected = gaps.reduce((sum, gap, i) => sum + gap * curve[i].count, 0) / total;
    const most = gaps.reduce((most, gap) => Math.max(most, gap), total === 0 ? NaN : 0);
    return this.values(expected, most);
  }

  /**
   * The reliability curve: confidence, accuracy and number of samples of every bin.
   *
   * @throws {RangeError} as `compute`
   */
  async curve(): Promise<ReliabilityBin[]> {
    const [counts, sums] = (await this.read()).map((part) => Array.from(part));
    const bins = this.#bins;
    const [bad, outside] = counts.slice(-2);
    const total = counts.reduce((sum, count) => sum + count, 0);
    checkOutside(this.name, outside, total, null);
    if (bad > 0) {
      throw new RangeError(
        `Cannot compute metric "${this.name}": expected confidences from 0 to 1, found ${bad} of ` +
          `${total} that are not`,
      );
    }
    return Array.from({ length: bins }, (_, bin) => {
      const right = counts[bins + bin];
      const count = counts[bin] + right;
      const [confidence, accuracy] = [sums[bin] / count, right / count];
      return { low: bin / bins, high: (bin + 1) / bins, count, confidence, accuracy };
    });
  }

  /** Gathers the confidences of a step. */
  protected gather({ like, count, confidences, right, coded }: Confidences): void {
    const bins = this.#bins;
    this.#counts.add(like, () => {
      const values = confidences();
      const place = right().mul(bins).add(binOf(values, bins));
      const known = isProbability(values).where(place, 2 * bins);
      return countCodes(coded(known, 2 * bins + 1), 2 * bins + 2);
    }, count);
    this.#sums.add(like, () => {
      const values = confidences();
      const place = isProbability(values).where(binOf(values, bins), -1);
      return zeros([bins], { device: like.device }).scatterAdd(0, place, values);
    });
  }
}

/**
 * Calibration error of a classifier: how far the probability of the predicted class is from the
 * share of right predictions, in bins of that probability (Guo et al. 2017, "On Calibration of
 * Modern Neural Networks"). Gives the expected error as `ece` and the largest one as `ece/max`.
 *
 * Step outputs need what `MultiClassAccuracy` needs. Bins are closed below and open above, so a
 * confidence on an edge counts in the upper one, where the paper has the lower one. Confidences are
 * added up in f32: over n steps with a relative error of about √n · 6e-8.
 *
 * @example Always certain, and right every other time
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { CalibrationError } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const error = new CalibrationError({ applySoftmax: false });
 * error.update(
 *   new DictStepOutput({
 *     predictions: tensor([[1, 0], [1, 0]], { device }),
 *     targets: tensor([0, 1], { dtype: "i32", device }),
 *   }),
 * );
 * const { ece, "ece/max": most } = await error.compute();
 * assertEquals([ece, most], [0.5, 0.5]);
 * ```
 */
export class CalibrationError<N extends string = "ece"> extends Calibration<N> {
  readonly #applySoftmax: boolean;

  /**
   * Makes the metric, without samples.
   *
   * @param options number of bins, kind of the predictions, and name
   * @throws {RangeError} if `bins` is no whole number from 1
   */
  constructor(options: MultiClassCalibrationOptions<N> = {}) {
    const { applySoftmax = true } = options;
    super(options, { applySoftmax });
    this.#applySoftmax = applySoftmax;
  }

  /**
   * Gathers the confidences of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name);
    this.gather({
      like: labels.like,
      count: labels.count,
      confidences: () => {
        const scores = labels.scores().to("f32");
        return (this.#applySoftmax ? scores.softmax(1) : scores).max(1);
      },
      right: () => labels.predicted().eq(labels.actual()).where(1, 0),
      coded: labels.coded,
    });
  }
}

/**
 * Calibration error of a yes-or-no question: how far the probability of yes is from the share of
 * positive targets, in bins of that probability. Gives the expected error as `ece` and the largest
 * one as `ece/max`.
 *
 * Step outputs need what `BinaryAccuracy` needs; bins and sums are those of `CalibrationError`.
 *
 * @example A coin that is called by its odds
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { BinaryCalibrationError } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const error = new BinaryCalibrationError();
 * error.update(
 *   new DictStepOutput({
 *     predictions: tensor([0, 0], { device }),
 *     targets: tensor([0, 1], { device }),
 *   }),
 * );
 * assertEquals((await error.compute()).ece, 0);
 * ```
 */
export class BinaryCalibrationError<N extends string = "ece"> extends Calibration<N> {
  readonly #applySigmoid: boolean;

  /**
   * Makes the metric, without samples.
   *
   * @param options number of bins, kind of the predictions, and name
   * @throws {RangeError} if `bins` is no whole number from 1
   */
  constructor(options: BinaryCalibrationOptions<N> = {}) {
    const { applySigmoid = true } = options;
    super(options, { applySigmoid });
    this.#applySigmoid = applySigmoid;
  }

  /**
   * Gathers the confidences of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const { like, count, scores, actual } = binaryLabels(output, this.name);
    this.gather({
      like,
      count,
      confidences: () => {
        const values = scores().to("f32");
        return this.#applySigmoid ? values.sigmoid() : values;
      },
      right: actual,
      coded: (codes) => codes,
    });
  }
}
