/** The mean of the loss. */

import { effect } from "../core/backend/capture.ts";
import type { StepOutput } from "../core/engine/mod.ts";
import { ShapeError, showShape } from "../core/mod.ts";
import { DeviceSum, type SavedSum } from "./device_sum.ts";
import { type Metric, tensorField } from "./metric.ts";

/** Options of `MeanLoss`. */
export interface MeanLossOptions {
  /** The name of the value. @default {"loss"} */
  name?: string;
  /** The name of the tensor in the step output. @default {"loss"} */
  field?: string;
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
 *
 * const device = referenceDevice();
 * const mean = new MeanLoss();
 * mean.update(new SupervisedStepOutput({ loss: tensor(1, { device }), count: 3 }));
 * mean.update(new SupervisedStepOutput({ loss: tensor(5, { device }), count: 1 }));
 * console.assert((await mean.compute()).loss === 2);
 * ```
 */
export class MeanLoss implements Metric {
  /** The name of the value. */
  readonly name: string;
  /** The name of the value, as a list. */
  readonly keys: readonly string[];
  /** Less is better. */
  readonly better = "down" as const;
  /** Whether captured steps may repeat updates. */
  readonly capturable = true;
  #field: string;
  #sum = new DeviceSum(1);
  #weight = 0;

  /**
   * Makes the metric, without samples.
   *
   * @param options the names of the value and of the tensor
   */
  constructor(options: MeanLossOptions = {}) {
    this.name = options.name ?? "loss";
    this.keys = [this.name];
    this.#field = options.field ?? "loss";
  }

  /** Forgets all steps. */
  reset(): void {
    this.#sum.reset();
    this.#weight = 0;
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
    effect(() => void (this.#weight += size), () => void (this.#weight -= size));
  }

  /** The weighted mean. */
  async compute(): Promise<Record<string, number>> {
    const weight = this.#weight;
    const [sum] = await this.#sum.read();
    return { [this.name]: sum / weight };
  }

  /** The weighted sum and the weight. */
  async state(): Promise<SavedSum> {
    const weight = this.#weight;
    return [...await this.#sum.save(), weight];
  }

  /** Takes back what `state` gave. @throws {TypeError} if it is something else */
  load(state: unknown): void {
    const [sum, weight] = Array.isArray(state) ? state : [];
    if (!Number.isFinite(weight)) {
      throw new TypeError(
        `Cannot load metric "${this.name}": expected a sum and a weight, found ${
          JSON.stringify(state)
        }`,
      );
    }
    this.#sum.load(this.name, [sum]);
    this.#weight = weight;
  }
}
