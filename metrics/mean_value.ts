/** Means of any number that steps return. */

import { currentCapture } from "../core/backend/capture.ts";
import type { StepOutput } from "../core/engine/mod.ts";
import type { Tensor } from "../core/mod.ts";
import { HostSum } from "./accumulator.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import { checkCount } from "./labels.ts";
import { type Better, scalarField, type ValuesByName } from "./metric.ts";
import { Window } from "./window.ts";

/** Options of `RunningMean`. */
export interface RunningMeanOptions<F extends string = string, N extends string = string> {
  /** The name of the number in the step output. */
  field: F;
  /** The name of the value. @default {the field} */
  name?: N;
  /** Whether steps weigh by their samples, else all the same. @default {false} */
  weighted?: boolean;
  /** Whether larger or smaller values are better. @default {null} */
  better?: Better;
}

/** Refuses numbers of the host inside a captured step, which would freeze them. */
function refuseHost(metric: string): void {
  const reason = "it reads a number of the host, which would stay that of the first step; " +
    "return it as a tensor, or update the metric outside";
  currentCapture()?.refuse(`update metric "${metric}"`, reason);
}

/**
 * Mean over all steps of a number in the step output, a tensor with one element or a number of the
 * host: `Σ wᵢ·xᵢ / Σ wᵢ` with w the samples of the steps if `weighted`, else 1. NaN without steps.
 *
 * Tensors are added up in f32 on the device: over n steps the relative error is about √n · 6e-8.
 * Inside a captured step the number must be a tensor.
 *
 * @example The mean learning rate of an epoch
 * ```ts
 * import { DictStepOutput } from "@legoml/legoml/core";
 * import { RunningMean } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const mean = new RunningMean({ field: "lr" });
 * mean.update(new DictStepOutput({ lr: 0.25 }));
 * mean.update(new DictStepOutput({ lr: 0.75 }));
 * assertEquals((await mean.compute()).lr, 0.5);
 * ```
 */
export class RunningMean<F extends string = string, N extends string = F>
  extends DeviceMetric<N, N, F> {
  readonly #field: F;
  readonly #weighted: boolean;
  readonly #device: DeviceSum;
  readonly #host: HostSum;
  readonly #weight: HostSum;

  /**
   * Makes the metric, without steps.
   *
   * @param options the names of number and value, and how steps weigh
   */
  constructor(options: RunningMeanOptions<F, N>) {
    const { field, name = field as string as N, weighted = false, better = null } = options;
    const [device, host, weight] = [new DeviceSum(1, "f32"), new HostSum("number"), new HostSum()];
    super(name, {
      parts: [device, host, weight],
      better,
      capturable: false,
      options: { field, weighted },
    });
    this.#field = field;
    this.#weighted = weighted;
    this.#device = device;
    this.#host = host;
    this.#weight = weight;
  }

  /**
   * Adds the number of a step.
   *
   * @throws {MetricInputError} if there is no such number
   * @throws {ShapeError} if it is a tensor that has not exactly one element
   * @throws {CaptureError} inside a captured step, if it is no tensor
   */
  update(output: StepOutput): void {
    const value = scalarField(output, this.name, this.#field);
    const weight = this.#weighted ? output.size : 1;
    if (typeof value === "number") {
      refuseHost(this.name);
      this.#host.add(value * weight);
    } else this.#device.add(value, () => value.to("f32").mul(weight));
    this.#weight.add(weight);
  }

  /** The mean. */
  async compute(): Promise<ValuesByName<N>> {
    const [[device], [host], [weight]] = (await this.read()).map((part) => Array.from(part));
    return this.values((device + host) / weight);
  }
}

/** Options of `WindowedMean`. */
export interface WindowedMeanOptions<F extends string = string, N extends string = string>
  extends RunningMeanOptions<F, N> {
  /** How many steps the mean goes over, at most 65536. @default {100} */
  window?: number;
}

/**
 * Mean over the last `window` steps of a number in the step output; of all steps while there are
 * fewer. NaN without steps.
 *
 * Steps that the window has left behind leave no trace, also where they were NaN. Numbers and
 * weights are those of `RunningMean`. Merging gives the mean over the windows of both, of which the
 * other one's stays as it is until `reset`.
 *
 * @example The last two steps
 * ```ts
 * import { DictStepOutput } from "@legoml/legoml/core";
 * import { WindowedMean } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const mean = new WindowedMean({ field: "loss", window: 2 });
 * for (const loss of [9, 1, 2]) mean.update(new DictStepOutput({ loss }));
 * assertEquals((await mean.compute()).loss, 1.5);
 * ```
 */
export class WindowedMean<F extends string = string, N extends string = F>
  extends DeviceMetric<N, N, F> {
  readonly #field: F;
  readonly #weighted: boolean;
  readonly #window: Window;

  /**
   * Makes the metric, without steps.
   *
   * @param options the names of number and value, length of the window, and how steps weigh
   * @throws {RangeError} if `window` is no whole number from 1 to 65536
   */
  constructor(options: WindowedMeanOptions<F, N>) {
    const { field, name = field as string as N, weighted = false, better = null, window = 100 } =
      options;
    checkCount(name, "window", window, 2 ** 16);
    const values = new Window(window);
    super(name, {
      parts: [values],
      better,
      capturable: false,
      options: { field, weighted, window },
    });
    this.#field = field;
    this.#weighted = weighted;
    this.#window = values;
  }

  /**
   * Takes in the number of a step, and forgets the one that is as many steps ago as the window is
   * long.
   *
   * @throws {MetricInputError} if there is no such number
   * @throws {ShapeError} if it is a tensor that has not exactly one element
   * @throws {TypeError} if it is a tensor after numbers of the host, or the other way round
   * @throws {CaptureError} inside a captured step, if it is no tensor
   */
  update(output: StepOutput): void {
    const value: number | Tensor = scalarField(output, this.name, this.#field);
    const weight = this.#weighted ? output.size : 1;
    if (typeof value === "number") refuseHost(this.name);
    this.#window.push(this.name, value, weight);
  }

  /** The mean. */
  async compute(): Promise<ValuesByName<N>> {
    const [numbers] = await this.read();
    return this.values(this.#window.mean(numbers));
  }
}
