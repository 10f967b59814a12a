/** Predicted and true labels of a step output, as integer tensors. */

import type { StepOutput } from "../core/engine/mod.ts";
import { arange, full, ShapeError, showShape, type Tensor, zeros } from "../core/mod.ts";
import { tensorField } from "./metric.ts";

/** How a binary metric turns predictions into labels. */
export interface BinaryOptions<N extends string = string> {
  /** Predictions from this probability on count as positive, between 0 and 1. @default {0.5} */
  threshold?: number;
  /** Whether predictions are logits (true) or probabilities (false). @default {true} */
  applySigmoid?: boolean;
  /** What the names of the values start with. */
  name?: N;
}

/** How a metric finds classes. */
export interface ClassLabelOptions {
  /** The target of samples that do not count. @default {none} */
  readonly ignoreIndex?: number;
  /** The axis of the predictions that goes through the classes. @default {1} */
  readonly classDim?: number;
}

/** Class scores and true labels of one step; the functions run on the device. */
export interface ClassLabels {
  /** A tensor of the device. */
  readonly like: Tensor;
  /** Number of labels M, those to ignore included. */
  readonly count: number;
  /** Number of classes C. */
  readonly classes: number;
  /** Scores [M, C]. */
  scores(): Tensor;
  /** i32 labels [M] that the model predicts: the largest score, of equal ones the first. */
  predicted(): Tensor;
  /** i32 labels [M] that are true. */
  actual(): Tensor;
  /**
   * Codes [M] of samples: that of the sample, `outside` where its target is no class, -1 where it
   * is to be ignored.
   *
   * @param code i32 [M]
   */
  coded(code: Tensor, outside: number): Tensor;
}

/**
 * Class scores and true labels.
 *
 * @param output holds `predictions` [N, C, ...] (classes along `classDim`) and `targets` of that
 * shape without the classes
 * @param metric the name of the metric, for errors
 * @throws {MetricInputError} if a field is missing
 * @throws {ShapeError} if the shapes do not fit
 */
export function classLabels(
  output: StepOutput,
  metric: string,
  { ignoreIndex, classDim = 1 }: ClassLabelOptions = {},
): ClassLabels {
  const predictions = tensorField(output, metric, "predictions");
  const targets = tensorField(output, metric, "targets");
  const axis = classDim < 0 ? classDim + predictions.ndim : classDim;
  const expected = predictions.shape.filter((_, dim) => dim !== axis);
  if (
    predictions.ndim < 2 || axis < 0 || axis >= predictions.ndim || predictions.shape[axis] === 0 ||
    String(expected) !== String(targets.shape)
  ) {
    const shapes = classDim === 1
      ? "predictions of shape [N, C, ...] and targets of shape [N, ...]"
      : `targets of the shape of the predictions without their axis ${classDim}`;
    throw new ShapeError(
      `Cannot update metric "${metric}": expected ${shapes}, found ` +
        `${showShape(predictions.shape)} and ${showShape(targets.shape)}`,
    );
  }
  const classes = predictions.shape[axis];
  const count = targets.size;
  const order = [...predictions.shape.keys()].filter((dim) => dim !== axis);
  const actual = () => targets.to("i32").reshape([count]);
  return {
    like: predictions,
    count,
    classes,
    scores: () => predictions.permute([...order, axis]).reshape([count, classes]),
    predicted: () => predictions.argmax(axis).to("i32").reshape([count]),
    actual,
    coded: (code, outside) => {
      const labels = actual();
      const known = labels.ge(0).logicalAnd(labels.lt(classes)).where(code, outside);
      return ignoreIndex === undefined ? known : labels.eq(ignoreIndex).where(-1, known);
    },
  };
}

/** Predicted and true labels of one step; the functions run on the device. */
export interface BinaryLabels {
  /** A tensor of the device. */
  readonly like: Tensor;
  /** Number of labels M. */
  readonly count: number;
  /** Scores [M]. */
  scores(): Tensor;
  /** i32 labels [M] that are true, 0 or 1. */
  actual(): Tensor;
}

/**
 * Scores and labels 0 and 1; targets other than 0 are positive.
 *
 * @param output holds `predictions` and `targets` of the same shape up to axes of size 1
 * @param metric the name of the metric, for errors
 * @throws {MetricInputError} if a field is missing
 * @throws {ShapeError} if the shapes do not fit
 */
export function binaryLabels(output: StepOutput, metric: string): BinaryLabels {
  const { predictions, targets, count } = pairsOf(output, metric);
  return {
    like: predictions,
    count,
    scores: () => predictions.reshape([count]),
    actual: () => targets.ne(0).to("i32").reshape([count]),
  };
}

/**
 * Predictions and targets that belong together one by one.
 *
 * @param output holds `predictions` and `targets` of the same shape up to axes of size 1
 * @param metric the name of the metric, for errors
 * @throws {MetricInputError} if a field is missing
 * @throws {ShapeError} if the shapes do not fit
 */
export function pairsOf(
  output: StepOutput,
  metric: string,
): { predictions: Tensor; targets: Tensor; count: number } {
  const predictions = tensorField(output, metric, "predictions");
  const targets = tensorField(output, metric, "targets");
  const [found, expected] = [predictions, targets].map((t) => t.shape.filter((n) => n !== 1));
  if (String(found) !== String(expected)) {
    throw new ShapeError(
      `Cannot update metric "${metric}": expected predictions and targets of one shape, found ` +
        `${showShape(predictions.shape)} and ${showShape(targets.shape)}`,
    );
  }
  return { predictions, targets, count: targets.size };
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

/** Few enough bins to compare every code with each. */
const FEW = 8;

/**
 * How often each code occurs.
 *
 * @param codes i32 [M]; those that are not from 0 to `bins` − 1 are left out
 * @returns i32 [bins]
 */
export function countCodes(codes: Tensor, bins: number): Tensor {
  const { device } = codes;
  if (bins <= FEW) {
    const each = arange(0, bins, 1, { device, dtype: "i32" }).unsqueeze(1);
    return codes.unsqueeze(0).eq(each).sum(1);
  }
  const ones = full([1], 1, { device, dtype: "i32" }).expand([codes.size]);
  return zeros([bins], { device, dtype: "i32" }).scatterAdd(0, codes, ones);
}

/**
 * Refuses an option that is no whole number of at least 1.
 *
 * @throws {RangeError} naming metric and option
 */
export function checkCount(metric: string, option: string, value: number, most = 2 ** 31): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  const range = most === 2 ** 31 ? "from 1" : `from 1 to ${most}`;
  throw new RangeError(
    `Cannot make metric "${metric}": expected ${option} to be a whole number ${range}, found ` +
      `${value}`,
  );
}

/** Refuses an ignored target that is no i32. @throws {RangeError} naming the metric */
export function checkIgnored(metric: string, ignoreIndex: number | undefined): void {
  if (ignoreIndex === undefined || (ignoreIndex | 0) === ignoreIndex) return;
  throw new RangeError(
    `Cannot make metric "${metric}": expected ignoreIndex to be an i32, found ${ignoreIndex}`,
  );
}

/**
 * Refuses predictions of another number of classes.
 *
 * @throws {ShapeError} naming the metric
 */
export function checkClasses(metric: string, labels: ClassLabels, numClasses: number): void {
  if (labels.classes === numClasses) return;
  throw new ShapeError(
    `Cannot update metric "${metric}": expected predictions of ${numClasses} classes ` +
      `along axis 1, found shape ${showShape(labels.like.shape)}`,
  );
}

/**
 * Refuses counts with targets that were no classes.
 *
 * @param outside how many there were
 * @param total of how many targets
 * @param classes number of classes, where known
 * @throws {RangeError} naming the metric
 */
export function checkOutside(
  metric: string,
  outside: number,
  total: number,
  classes: number | null,
): void {
  if (outside === 0) return;
  const range = classes === null
    ? "that are classes of the predictions"
    : `from 0 to ${classes - 1}`;
  throw new RangeError(
    `Cannot compute metric "${metric}": expected targets ${range}, ` +
      `found ${outside} of ${total} outside`,
  );
}
