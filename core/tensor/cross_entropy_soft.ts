/** Cross-entropy with probabilities as targets, composed of tensor ops. */

import { isFloat } from "../../kernels/types.ts";
import { AutogradError, DTypeError, ShapeError, showShape } from "../errors.ts";
import type { CrossEntropyOptions } from "./cross_entropy.ts";
import { checkDevices } from "./launch.ts";
import type { Tensor } from "./tensor.ts";

function check(logits: Tensor, targets: Tensor, options: CrossEntropyOptions): void {
  const { weight, ignoreIndex, labelSmoothing = 0, reduction = "mean" } = options;
  const fail = (reason: string) => `Cannot take the cross-entropy with probabilities: ${reason}`;
  if (!isFloat(logits.dtype)) {
    throw new DTypeError(fail(`expected logits in f32 or f16, found ${logits.dtype}`));
  }
  const axis = logits.ndim === 1 ? 0 : 1;
  const fits = String(logits.shape) === String(targets.shape);
  if (logits.ndim === 0 || logits.shape[axis] === 0 || !fits) {
    const found = `${showShape(logits.shape)} and ${showShape(targets.shape)}`;
    throw new ShapeError(
      fail(`expected logits and targets of one shape [N, C, …], found ${found}`),
    );
  }
  const classes = logits.shape[axis];
  if (weight && !(isFloat(weight.dtype) && weight.ndim === 1 && weight.size === classes)) {
    const found = `${weight.dtype} ${showShape(weight.shape)}`;
    throw new ShapeError(
      fail(`expected a float weight for each of ${classes} classes, found ${found}`),
    );
  }
  if (weight?.requiresGrad) throw new AutogradError(fail("its weight cannot have a gradient"));
  checkDevices("take the cross-entropy of", weight ? [logits, targets, weight] : [logits, targets]);
  if (ignoreIndex !== undefined) {
    throw new RangeError(
      fail(`expected no ignoreIndex, which is for class numbers, found ${ignoreIndex}`),
    );
  }
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new RangeError(fail(`expected labelSmoothing from 0 to 1, found ${labelSmoothing}`));
  }
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new RangeError(fail(`expected reduction mean, sum or none, found ${reduction}`));
  }
}

/** `−Σ_k w_k · p_k · log softmax(z)_k` of each row; the mean divides by the number of rows. */
export function softCrossEntropy(
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions,
): Tensor {
  check(logits, targets, options);
  const { weight, labelSmoothing = 0, reduction = "mean" } = options;
  const axis = logits.ndim === 1 ? 0 : 1;
  const classes = logits.shape[axis];
  const smooth = labelSmoothing === 0
    ? targets
    : targets.mul(1 - labelSmoothing).add(labelSmoothing / classes);
  const ones = new Array<number>(Math.max(logits.ndim - 2, 0)).fill(1);
  const wanted = weight ? smooth.mul(weight.reshape([classes, ...ones])) : smooth;
  const losses = logits.to("f32").logSoftmax(axis).mul(wanted).sum(axis).neg();
  if (reduction === "none") return losses;
  return reduction === "sum" ? losses.sum() : losses.mean();
}
