/** Errors of numbers. */

import type { StepOutput } from "../core/engine/mod.ts";
import type { Tensor } from "../core/mod.ts";
import { HostSum } from "./accumulator.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import { pairsOf } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";

/** Options of metrics of numbers. */
export interface RegressionOptions<N extends string = string> {
  /** The name of the value. */
  name?: N;
}

/** Predictions and targets as f32 columns [M]. */
export function columnsOf(
  output: StepOutput,
  metric: string,
): { like: Tensor; count: number; columns(): [Tensor, Tensor] } {
  const { predictions, targets, count } = pairsOf(output, metric);
  const flat = (t: Tensor) => t.to("f32").reshape([count]);
  return { like: predictions, count, columns: () => [flat(predictions), flat(targets)] };
}

/**
 * Base of the mean errors: adds up a function of the differences on the device.
 *
 * Step outputs need `predictions` and `targets` of the same shape up to axes of size 1; every
 * element counts as one value.
 */
export abstract class MeanError<N extends string = string> extends DeviceMetric<N, N, LabelFields> {
  readonly #sum: DeviceSum;
  readonly #count: HostSum;
  readonly #error: (difference: Tensor) => Tensor;

  /**
   * Makes the metric, without values.
   *
   * @param name the name of the value
   * @param error of differences, element by element
   */
  constructor(name: N, error: (difference: Tensor) => Tensor) {
    const [sum, count] = [new DeviceSum(1, "f32"), new HostSum()];
    super(name, { parts: [sum, count], better: "down" });
    this.#sum = sum;
    this.#count = count;
    this.#error = error;
  }

  /**
   * Adds the errors of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const { like, count, columns } = columnsOf(output, this.name);
    this.#sum.add(like, () => {
      const [predictions, targets] = columns();
      return this.#error(predictions.sub(targets)).sum();
    });
    this.#count.add(count);
  }

  /** The mean error; NaN without values, and where one of them is NaN. */
  async compute(): Promise<ValuesByName<N>> {
    return this.values(await this.mean());
  }

  /** The mean of the function of the differences. */
  protected async mean(): Promise<number> {
    const [[sum], [count]] = (await this.read()).map((part) => Array.from(part));
    return sum / count;
  }
}

/**
 * Mean absolute error, `1/n · Σ |pᵢ − tᵢ|` over all elements; NaN without any, and with NaN among
 * them.
 *
 * Step outputs need `predictions` and `targets` of the same shape up to axes of size 1. The sum is
 * an f32 on the device: over n steps its relative error is about √n · 6e-8.
 *
 * @example Two predictions
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MeanAbsoluteError } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const error = new MeanAbsoluteError();
 * error.update(
 *   new DictStepOutput({
 *     predictions: tensor([1, 5], { device }),
 *     targets: tensor([2, 2], { device }),
 *   }),
 * );
 * assertEquals((await error.compute()).mae, 2);
 * ```
 */
export class MeanAbsoluteError<N extends string = "mae"> extends MeanError<N> {
  /**
   * Makes the metric, without values.
   *
   * @param options the name, by default "mae"
   */
  constructor(options: RegressionOptions<N> = {}) {
    super(options.name ?? "mae" as N, (difference) => difference.abs());
  }
}

/**
 * Mean squared error, `1/n · Σ (pᵢ − tᵢ)²` over all elements; NaN without any, and with NaN among
 * them.
 *
 * Step outputs and accuracy are those of `MeanAbsoluteError`.
 *
 * @example Two predictions
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MeanSquaredError } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const error = new MeanSquaredError();
 * error.update(
 *   new DictStepOutput({
 *     predictions: tensor([1, 5], { device }),
 *     targets: tensor([2, 2], { device }),
 *   }),
 * );
 * assertEquals((await error.compute()).mse, 5);
 * ```
 */
export class MeanSquaredError<N extends string = "mse"> extends MeanError<N> {
  /**
   * Makes the metric, without values.
   *
   * @param options the name, by default "mse"
   */
  constructor(options: RegressionOptions<N> = {}) {
    super(options.name ?? "mse" as N, (difference) => difference.square());
  }
}

/**
 * Root of the mean squared error, `√(1/n · Σ (pᵢ − tᵢ)²)` over all elements: of all steps together,
 * not the mean of the steps' roots. NaN without elements, and with NaN among them.
 *
 * Step outputs and accuracy are those of `MeanAbsoluteError`.
 *
 * @example Two predictions
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { RootMeanSquaredError } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const error = new RootMeanSquaredError();
 * error.update(
 *   new DictStepOutput({
 *     predictions: tensor([3, 3], { device }),
 *     targets: tensor([2, 4], { device }),
 *   }),
 * );
 * assertEquals((await error.compute()).rmse, 1);
 * ```
 */
export class RootMeanSquaredError<N extends string = "rmse"> extends MeanError<N> {
  /**
   * Makes the metric, without values.
   *
   * @param options the name, by default "rmse"
   */
  constructor(options: RegressionOptions<N> = {}) {
    super(options.name ?? "rmse" as N, (difference) => difference.square());
  }

  /** The root of the mean. */
  override async compute(): Promise<ValuesByName<N>> {
    return this.values(Math.sqrt(await this.mean()));
  }
}
