/** How much of the targets the predictions explain. */

import type { StepOutput } from "../core/engine/mod.ts";
import { stack } from "../core/mod.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import { KeptValues, MOST_SAMPLES } from "./kept_values.ts";
import { checkCount } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";
import { Moments } from "./moments.ts";
import { averageRanks } from "./ranks.ts";
import { columnsOf, type RegressionOptions } from "./regression.ts";

/**
 * Coefficient of determination, `R² = 1 − Σ (tᵢ − pᵢ)² / Σ (tᵢ − mean t)²` over all elements (as
 * scikit-learn's `r2_score`). NaN with less than two values, and with NaN among them; where all
 * targets are equal 1 if all predictions are right, else 0.
 *
 * Step outputs need `predictions` and `targets` of the same shape up to axes of size 1. The
 * deviations of the targets are put together from those of the steps, so the value is right also
 * where the mean is far larger than the spread.
 *
 * @example Off by one in one of three
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { R2Score } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const score = new R2Score();
 * score.update(
 *   new DictStepOutput({
 *     predictions: tensor([1, 2, 4], { device }),
 *     targets: tensor([1, 2, 3], { device }),
 *   }),
 * );
 * assertEquals((await score.compute()).r2, 0.5);
 * ```
 */
export class R2Score<N extends string = "r2"> extends DeviceMetric<N, N, LabelFields> {
  readonly #errors: DeviceSum;
  readonly #targets: Moments;

  /**
   * Makes the metric, without values.
   *
   * @param options the name, by default "r2"
   */
  constructor(options: RegressionOptions<N> = {}) {
    const [errors, targets] = [new DeviceSum(1, "f32"), new Moments(1)];
    super(options.name ?? "r2" as N, { parts: [errors, targets] });
    this.#errors = errors;
    this.#targets = targets;
  }

  /**
   * Adds the values of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const { like, count, columns } = columnsOf(output, this.name);
    this.#errors.add(like, () => {
      const [predictions, targets] = columns();
      return targets.sub(predictions).square().sum();
    });
    this.#targets.add(like, count, () => columns().slice(1));
  }

  /** The coefficient. */
  async compute(): Promise<ValuesByName<N>> {
    const [[errors], moments] = (await this.read()).map((part) => Array.from(part));
    const { count, products: [squares] } = this.#targets.of(moments);
    return this.values(count < 2 ? NaN : determination(errors, squares));
  }
}

function determination(errors: number, squares: number): number {
  if (squares === 0) return errors === 0 ? 1 : Number.isNaN(errors) ? NaN : 0;
  return 1 - errors / squares;
}

/**
 * Pearson's correlation of predictions and targets, `Σ (pᵢ − mean p)·(tᵢ − mean t) / √(Σ (pᵢ − mean
 * p)²·Σ (tᵢ − mean t)²)` over all elements. NaN with less than two values, where all predictions or
 * all targets are equal, and with NaN among them.
 *
 * Step outputs and accuracy are those of `R2Score`.
 *
 * @example Predictions that are right up to scale and shift
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { PearsonCorrelation } from "@legoml/legoml/metrics";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const correlation = new PearsonCorrelation();
 * correlation.update(
 *   new DictStepOutput({
 *     predictions: tensor([10, 20, 30], { device }),
 *     targets: tensor([1, 2, 3], { device }),
 *   }),
 * );
 * assertAlmostEquals((await correlation.compute()).pearson, 1, 1e-6);
 * ```
 */
export class PearsonCorrelation<N extends string = "pearson">
  extends DeviceMetric<N, N, LabelFields> {
  readonly #moments: Moments;

  /**
   * Makes the metric, without values.
   *
   * @param options the name, by default "pearson"
   */
  constructor(options: RegressionOptions<N> = {}) {
    const moments = new Moments(2);
    super(options.name ?? "pearson" as N, { parts: [moments] });
    this.#moments = moments;
  }

  /**
   * Adds the values of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const { like, count, columns } = columnsOf(output, this.name);
    this.#moments.add(like, count, columns);
  }

  /** The correlation, from −1 to 1. */
  async compute(): Promise<ValuesByName<N>> {
    const [numbers] = await this.read();
    const { count, products: [xx, yy, xy] } = this.#moments.of(numbers);
    return this.values(count < 2 ? NaN : correlation(xx, yy, xy));
  }
}

/** Held between -1 and 1, which rounding may pass. */
function correlation(xx: number, yy: number, xy: number): number {
  if (xx === 0 || yy === 0) return NaN;
  return Math.max(-1, Math.min(1, xy / Math.sqrt(xx * yy)));
}

/** Options of `SpearmanCorrelation`. */
export interface SpearmanOptions<N extends string = string> extends RegressionOptions<N> {
  /** How many values are kept at most. @default {16777216} */
  maxSamples?: number;
}

/**
 * Spearman's rank correlation of predictions and targets: Pearson's correlation of their ranks,
 * equal values sharing the mean of their ranks (as SciPy's `spearmanr`). NaN with less than two
 * values, where all predictions or all targets are equal, and with NaN among them.
 *
 * Step outputs need `predictions` and `targets` of the same shape up to axes of size 1. The value
 * is exact, so all values are kept, 8 bytes for each pair on the host, up to `maxSamples`; they are
 * read in the background, many steps at once, and updates cannot be captured.
 *
 * @example Right order, wrong distances
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { SpearmanCorrelation } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const correlation = new SpearmanCorrelation();
 * correlation.update(
 *   new DictStepOutput({
 *     predictions: tensor([1, 10, 1000], { device }),
 *     targets: tensor([1, 2, 3], { device }),
 *   }),
 * );
 * assertEquals((await correlation.compute()).spearman, 1);
 * ```
 */
export class SpearmanCorrelation<N extends string = "spearman">
  extends DeviceMetric<N, N, LabelFields> {
  readonly #values: KeptValues;

  /**
   * Makes the metric, without values.
   *
   * @param options the name, by default "spearman", and the limit
   * @throws {RangeError} if `maxSamples` is no whole number from 1
   */
  constructor(options: SpearmanOptions<N> = {}) {
    const { name = "spearman" as N, maxSamples = MOST_SAMPLES } = options;
    checkCount(name, "maxSamples", maxSamples);
    const values = new KeptValues(name, 2, maxSamples);
    super(name, { parts: [values], capturable: false });
    this.#values = values;
  }

  /**
   * Keeps the values of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   * @throws {RangeError} if more than `maxSamples` would be kept
   * @throws {CaptureError} inside a captured step
   */
  update(output: StepOutput): void {
    const { like, count, columns } = columnsOf(output, this.name);
    this.#values.add(like, count, () => stack(columns(), 1));
  }

  /** The correlation, from −1 to 1. */
  async compute(): Promise<ValuesByName<N>> {
    const [rows] = await this.read();
    const count = rows.length / 2;
    const column = (at: number) => Float64Array.from({ length: count }, (_, i) => rows[2 * i + at]);
    const [x, y] = [column(0), column(1)];
    if (count < 2 || x.some(Number.isNaN) || y.some(Number.isNaN)) return this.values(NaN);
    return this.values(rankCorrelation(averageRanks(x), averageRanks(y)));
  }
}

/** Pearson's correlation of ranks, whose mean is known. */
function rankCorrelation(x: Float64Array, y: Float64Array): number {
  const mean = (x.length + 1) / 2;
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i] - mean, y[i] - mean];
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  return correlation(xx, yy, xy);
}
