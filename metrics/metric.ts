/** What a metric is, and how it finds its tensors in a step output. */

import { Tensor } from "../core/mod.ts";
import type { StepOutput } from "../core/engine/mod.ts";

/**
 * Folds the outputs of many steps into a few numbers.
 *
 * `update` only gives work to the device; `compute` waits for it and reads.
 */
export interface Metric {
  /** What errors and saved states call it, and what the names of its values start with. */
  readonly name: string;
  /** The names of the values that `compute` gives. */
  readonly keys: readonly string[];
  /** Whether larger values are better, smaller ones, or neither. */
  readonly better: "up" | "down" | null;
  /**
   * Whether `update` only gives work to the device and changes host state through `effect()`, so that it can be captured and
   * replayed. @default {false}
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
  const found = value === undefined
    ? `only ${output.names().join(", ") || "an empty output"}`
    : `a value of type ${typeof value}`;
  throw new MetricInputError(
    `Cannot update metric "${metric}": expected a tensor "${field}" in the step output, ` +
      `found ${found}`,
  );
}
