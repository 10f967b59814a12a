/** Predicted and true labels of a step output, as integer tensors. */

import type { StepOutput } from "../core/engine/mod.ts";
import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { tensorField } from "./metric.ts";

/** How a binary metric turns predictions into labels. */
export interface BinaryOptions {
  /** Predictions from this probability on count as positive, between 0 and 1. @default {0.5} */
  threshold?: number;
  /** Whether predictions are logits (true) or probabilities (false). @default {true} */
  applySigmoid?: boolean;
  /** What the names of the values start with. */
  name?: string;
}

/** Predicted and true labels of one step; the functions run on the device. */
export interface LabelPair {
  /** A tensor of the device. */
  readonly like: Tensor;
  /** Number of labels. */
  readonly count: number;
  /** i32 labels that the model predicts. */
  predicted(): Tensor;
  /** i32 labels that are true, of the same shape. */
  actual(): Tensor;
}

/**
 * Labels by the largest of the class scores along axis 1; of equal scores the first wins.
 *
 * @param output holds `predictions` [N, C, ...] and `targets` [N, ...], labels from 0 to C − 1
 * @param metric the name of the metric, for errors
 * @throws {MetricInputError} if a field is missing
 * @throws {ShapeError} if the shapes do not fit
 */
export function classLabels(output: StepOutput, metric: string): LabelPair {
  const predictions = tensorField(output, metric, "predictions");
  const targets = tensorField(output, metric, "targets");
  const expected = predictions.shape.filter((_, dim) => dim !== 1);
  if (predictions.ndim < 2 || String(expected) !== String(targets.shape)) {
    throw new ShapeError(
      `Cannot update metric "${metric}": expected predictions of shape [N, C, ...] and targets ` +
        `of shape [N, ...], found ${showShape(predictions.shape)} and ${showShape(targets.shape)}`,
    );
  }
  return {
    like: predictions,
    count: targets.size,
    predicted: () => predictions.argmax(1).to("i32"),
    actual: () => targets.to("i32"),
  };
}

/**
 * Labels 0 and 1 by a threshold; targets other than 0 are positive.
 *
 * @param output holds `predictions` and `targets` of the same shape up to axes of size 1
 * @param metric the name of the metric, for errors
 * @param cut predictions from this value on are positive
 * @throws {MetricInputError} if a field is missing
 * @throws {ShapeError} if the shapes do not fit
 */
export function binaryLabels(output: StepOutput, metric: string, cut: number): LabelPair {
  const predictions = tensorField(output, metric, "predictions");
  const targets = tensorField(output, metric, "targets");
  const [found, expected] = [predictions, targets].map((t) => t.shape.filter((n) => n !== 1));
  if (String(found) !== String(expected)) {
    throw new ShapeError(
      `Cannot update metric "${metric}": expected predictions and targets of one shape, found ` +
        `${showShape(predictions.shape)} and ${showShape(targets.shape)}`,
    );
  }
  return {
    like: predictions,
    count: targets.size,
    predicted: () => predictions.reshape(targets.shape).ge(cut).to("i32"),
    actual: () => targets.ne(0).to("i32"),
  };
}

/**
 * The prediction from which on a label is positive: `log(t / (1 − t))` for logits, as the sigmoid
 * rises.
 *
 * @param metric the name of the metric, for the error
 * @param options threshold and kind of the predictions
 * @throws {RangeError} if the threshold does not lie between 0 and 1
 */
export function binaryCut(metric: string, options: BinaryOptions): number {
  const { threshold = 0.5, applySigmoid = true } = options;
  if (!(threshold > 0 && threshold < 1)) {
    throw new RangeError(
      `Cannot make metric "${metric}": expected a threshold between 0 and 1, found ${threshold}`,
    );
  }
  return applySigmoid ? Math.log(threshold / (1 - threshold)) : threshold;
}
