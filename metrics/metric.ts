/** What a metric is, and how it finds its tensors in a step output. */

import { ShapeError, showShape, Tensor } from "../core/mod.ts";
import type { StepOutput } from "../core/engine/mod.ts";

/**
 * Folds the outputs of many steps into a few numbers.
 *
 * `update` only gives work to the device; `compute` waits for it and reads. `K` is the type of the
 * names of its values, as far as the compiler knows them.
 */
export interface Metric<K extends string = string> {
  /** What errors and saved states call it, and what the names of its values start with. */
  readonly name: string;
  /** The names of the values that `compute` gives. */
  readonly keys: readonly K[];
  /**
   * Whether larger values are better, smaller ones, or neither; null also where values differ in
   * that.
   */
  readonly better: Better;
  /**
   * The same for one of the values, where values differ in it; without this method `better` holds
   * for all. Ask with the function `betterOf`.
   */
  betterOf?(key: string): Better;
  /**
   * Whether `update` only gives work to the device and changes host state through `effect()`, so
   * that it can be captured and replayed. @default {false}
   */
  readonly capturable?: boolean;
  /** Forgets everything. */
  reset(): void;
  /** Takes in the output of a step. */
  update(output: StepOutput): void;
  /** The values so far, by name. */
  compute(): Promise<Record<string, number>> | Record<string, number>;
  /** What must be saved to continue later, as JSON values. */
  state(): unknown;
  /** Takes back what `state` gave. */
  load(state: unknown): void;
  /**
   * Takes in what another metric of the same class and options has seen, e.g. one that has loaded
   * the state of another process; the values are then those of both together. The other one stays
   * as it is. A metric without this method cannot be merged.
   */
  merge?(other: Metric): Promise<void>;
}

/** Values of a metric by name. */
// NoInfer: in an array of metrics, `new MeanLoss()` would else be one of any name.
export type ValuesByName<K extends string> = { [P in NoInfer<K>]: number };

/** The values of a step output that metrics of labels and of regressions read. */
export type LabelFields = "predictions" | "targets";

/** Whether larger values are better ("up"), smaller ones ("down"), or neither. */
export type Better = "up" | "down" | null;

/**
 * Whether larger or smaller values are better for one value of a metric.
 *
 * @param metric the metric
 * @param key one of its `keys`
 * @returns "up", "down", or null where neither is
 * @throws {RangeError} if the metric has no such value
 *
 * @example
 * ```ts
 * import { betterOf, MeanLoss } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(betterOf(new MeanLoss(), "loss"), "down");
 * ```
 */
export function betterOf(metric: Metric, key: string): Better {
  if (!metric.keys.includes(key)) {
    throw new RangeError(
      `Cannot tell which values of "${key}" are better: expected a value of metric ` +
        `"${metric.name}" (${metric.keys.join(", ")})`,
    );
  }
  return metric.betterOf === undefined ? metric.better : metric.betterOf(key);
}

/** A step output that lacks what a metric needs. */
export class MetricInputError extends TypeError {
  /** The name of the class. */
  override readonly name = "MetricInputError";
}

/**
 * The tensor with a name in a step output.
 *
 * @param output where to look
 * @param metric the name of the metric, for the error
 * @param field the name of the tensor
 * @throws {MetricInputError} if there is no such value or it is no tensor
 */
export function tensorField(output: StepOutput, metric: string, field: string): Tensor {
  const value = output.get(field);
  if (value instanceof Tensor) return value;
  throw new MetricInputError(
    `Cannot update metric "${metric}": expected a tensor "${field}" in the step output, ` +
      `found ${foundIn(output, value)}`,
  );
}

/**
 * The number with a name in a step output, on the host or in a tensor.
 *
 * @param output where to look
 * @param metric the name of the metric, for errors
 * @param field the name of the value
 * @throws {MetricInputError} if there is no such value or it is neither number nor tensor
 * @throws {ShapeError} if it is a tensor that has not exactly one element
 */
export function scalarField(output: StepOutput, metric: string, field: string): number | Tensor {
  const value = output.get(field);
  if (typeof value === "number") return value;
  if (!(value instanceof Tensor)) {
    throw new MetricInputError(
      `Cannot update metric "${metric}": expected a number or a tensor "${field}" in the step ` +
        `output, found ${foundIn(output, value)}`,
    );
  }
  if (value.size === 1) return value;
  throw new ShapeError(
    `Cannot update metric "${metric}": expected "${field}" to have one element, ` +
      `found shape ${showShape(value.shape)}`,
  );
}

function foundIn(output: StepOutput, value: unknown): string {
  return value === undefined
    ? `only ${output.names().join(", ") || "an empty output"}`
    : `a value of type ${typeof value}`;
}
