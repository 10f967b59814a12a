/** The mean of the loss. */

import type { StepOutput } from "../core/engine/mod.ts";
import { ShapeError, showShape } from "../core/mod.ts";
import { HostSum } from "./accumulator.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import { tensorField, type ValuesByName } from "./metric.ts";

/** Options of `MeanLoss`. */
export interface MeanLossOptions<N extends string = string, F extends string = string> {
  /** The name of the value. @default {"loss"} */
  name?: N;
  /** The name of the tensor in the step output. @default {"loss"} */
  field?: F;
}

/**
 * Mean of the steps' losses, each weighted by its number of samples: `Σ nᵢ·lossᵢ / Σ nᵢ`; NaN
 * without samples.
 *
 * For losses that are means over samples this is the mean over all samples, also where the last
 * batch is smaller. The weighted sum is an f32 on the device: over n steps its relative error is
 * about √n · 6e-8.
 *
 * @example Batches of three samples and of one
 * ```ts
 * import { referenceDevice, SupervisedStepOutput, tensor } from "@legoml/legoml/core";
 * import { MeanLoss } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const mean = new MeanLoss();
 * mean.update(new SupervisedStepOutput({ loss: tensor(1, { device }), count: 3 }));
 * mean.update(new SupervisedStepOutput({ loss: tensor(5, { device }), count: 1 }));
 * assertEquals((await mean.compute()).loss, 2);
 * ```
 */
export class MeanLoss<N extends string = "loss", F extends string = "loss">
  extends DeviceMetric<N, N, F> {
  #field: F;
  #sum: DeviceSum;
  #weight: HostSum;

  /**
   * Makes the metric, without samples.
   *
   * @param options the names of the value and of the tensor
   */
  constructor(options: MeanLossOptions<N, F> = {}) {
    const { name = "loss" as N, field = "loss" as F } = options;
    const [sum, weight] = [new DeviceSum(1, "f32"), new HostSum()];
    super(name, { parts: [sum, weight], better: "down", options: { field } });
    this.#field = field;
    this.#sum = sum;
    this.#weight = weight;
  }

  /**
   * Adds the loss of a step.
   *
   * @throws {MetricInputError} if the loss is missing
   * @throws {ShapeError} if it has not exactly one element
   */
  update(output: StepOutput): void {
    const loss = tensorField(output, this.name, this.#field);
    if (loss.size !== 1) {
      throw new ShapeError(
        `Cannot update metric "${this.name}": expected "${this.#field}" to have one element, ` +
          `found shape ${showShape(loss.shape)}`,
      );
    }
    const { size } = output;
    this.#sum.add(loss, () => loss.to("f32").mul(size));
    this.#weight.add(size);
  }

  /** The weighted mean. */
  async compute(): Promise<ValuesByName<N>> {
    const [[sum], [weight]] = (await this.read()).map((part) => Array.from(part));
    return this.values(sum / weight);
  }
}
