/**
 * Losses of pairs of inputs and targets, each one kernel with its reduction; values as PyTorch's.
 */

import { ShapeError, type Tensor } from "../core/mod.ts";
import type { Reduction } from "../core/tensor/cross_entropy.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { checkAlike, checkWeight, reduced } from "./loss_parts.ts";

/** How a loss is reduced. */
export interface LossOptions {
  /** Mean over all elements, sum, or none. @default {"mean"} */
  readonly reduction?: Reduction;
}

/** How squared errors turn into absolute ones: Huber's way. */
export interface HuberLossOptions extends LossOptions {
  /** Error up to which the loss is a square, above 0. @default {1} */
  readonly delta?: number;
}

/** How squared errors turn into absolute ones: the slope stays 1. */
export interface SmoothL1LossOptions extends LossOptions {
  /** Error up to which the loss is a square, at least 0. @default {1} */
  readonly beta?: number;
}

/** How the binary cross-entropy is weighted. */
export interface BinaryCrossEntropyOptions extends LossOptions {
  /** Factor of each element's loss; its shape broadcasts to that of the input. @default {1} */
  readonly weight?: Tensor;
  /** Factor of the loss of positives; its shape broadcasts to that of the input. @default {1} */
  readonly posWeight?: Tensor;
}

/** How divergences are taken. */
export interface KlDivOptions {
  /**
   * As of other losses, or "batchmean": the sum divided by the size of axis 0. @default {"mean"}
   */
  readonly reduction?: Reduction | "batchmean";
  /** Whether the targets are logarithms of probabilities. @default {false} */
  readonly logTarget?: boolean;
}

const [x, t] = [input(0), input(1)];
const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
const sub = (a: Expr, b: Expr): Expr => apply("sub", a, b);
const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);

/** Refuses pairs of different shape or without floats. */
function checkPair(op: string, input: Tensor, target: Tensor): void {
  checkAlike(op, { input, target });
}

function pairLoss(
  op: string,
  expr: Expr,
  prediction: Tensor,
  target: Tensor,
  { reduction = "mean" }: LossOptions,
): Tensor {
  checkPair(op, prediction, target);
  return reduced(op, expr, [prediction, target], reduction);
}

/**
 * Squared error `(x − t)²`.
 *
 * @param prediction any shape, f32 or f16
 * @param target the same shape
 * @param options reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 *
 * @example
 * ```ts
 * import { mseLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, t] = [tensor([1, 2], { device }), tensor([1, 4], { device })];
 * assertEquals(await mseLoss(x, t).item(), 2);
 * ```
 */
export function mseLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return pairLoss("mseLoss", apply("square", sub(x, t)), prediction, target, options);
}

/**
 * Absolute error `|x − t|`; the derivative at 0 is 0.
 *
 * @param prediction any shape, f32 or f16
 * @param target the same shape
 * @param options reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 */
export function l1Loss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return pairLoss("l1Loss", apply("abs", sub(x, t)), prediction, target, options);
}

/**
 * Huber's loss: `(x − t)² / 2` where `|x − t|` is below delta, `delta·(|x − t| − delta / 2)`
 * elsewhere.
 *
 * @param prediction any shape, f32 or f16
 * @param target the same shape
 * @param options delta, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 * @throws {RangeError} if delta is not above 0
 */
export function huberLoss(
  prediction: Tensor,
  target: Tensor,
  options: HuberLossOptions = {},
): Tensor {
  const { delta = 1 } = options;
  if (!(delta > 0)) {
    throw new RangeError(
      `Cannot compute the huberLoss with delta ${delta}: expected a number above 0`,
    );
  }
  return pairLoss("huberLoss", bend(delta, 1), prediction, target, options);
}

/**
 * Smooth absolute error: `(x − t)² / (2·beta)` where `|x − t|` is below beta, `|x − t| − beta / 2`
 * elsewhere; Huber's loss divided by beta, and the absolute error for beta 0.
 *
 * @param prediction any shape, f32 or f16
 * @param target the same shape
 * @param options beta, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 * @throws {RangeError} if beta is below 0
 */
export function smoothL1Loss(
  prediction: Tensor,
  target: Tensor,
  options: SmoothL1LossOptions = {},
): Tensor {
  const { beta = 1 } = options;
  if (!(beta >= 0)) {
    throw new RangeError(
      `Cannot compute the smoothL1Loss with beta ${beta}: expected a number of at least 0`,
    );
  }
  if (beta === 0) return l1Loss(prediction, target, options);
  return pairLoss("smoothL1Loss", bend(beta, beta), prediction, target, options);
}

/** A square up to an error, then a straight line; all divided by a number. */
function bend(limit: number, divisor: number): Expr {
  const error = sub(x, t);
  const size = apply("abs", error);
  const square = mul(constant(0.5 / divisor), apply("square", error));
  const line = mul(constant(limit / divisor), sub(size, constant(0.5 * limit)));
  return apply("where", apply("lt", size, constant(limit)), square, line);
}

/**
 * Binary cross-entropy of the sigmoid of logits:
 * `weight·(posWeight·t·softplus(−x) + (1 − t)·softplus(x))`.
 *
 * All terms are positive, so nothing cancels and nothing overflows.
 *
 * @param logits any shape, f32 or f16
 * @param target the same shape, probabilities from 0 to 1
 * @param options weight, posWeight, reduction
 * @returns an f32 scalar, or the shape of the logits where nothing is reduced
 * @throws {ShapeError} if the shapes differ, or a weight does not broadcast to them
 *
 * @example
 * ```ts
 * import { binaryCrossEntropyWithLogits } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [logits, target] = [tensor([0, 0], { device }), tensor([0, 1], { device })];
 * const loss = binaryCrossEntropyWithLogits(logits, target);
 * assertAlmostEquals(await loss.item(), Math.LN2, 1e-7);
 * ```
 */
export function binaryCrossEntropyWithLogits(
  logits: Tensor,
  target: Tensor,
  options: BinaryCrossEntropyOptions = {},
): Tensor {
  const op = "binaryCrossEntropyWithLogits";
  const { weight, posWeight, reduction = "mean" } = options;
  checkPair(op, logits, target);
  const inputs = [logits, target];
  let positive = mul(t, apply("softplus", apply("neg", x)));
  if (posWeight !== undefined) positive = mul(input(inputs.push(posWeight) - 1), positive);
  let loss = add(positive, mul(sub(constant(1), t), apply("softplus", x)));
  if (weight !== undefined) loss = mul(input(inputs.push(weight) - 1), loss);
  for (const factor of inputs.slice(2)) checkWeight(op, factor, logits);
  return reduced(op, loss, inputs, reduction);
}

/**
 * Kullback-Leibler divergence by element: `t·(log t − x)`, or `e^t·(t − x)` for logarithmic
 * targets.
 *
 * The mean over elements is PyTorch's default; "batchmean" is the divergence as mathematics has it.
 *
 * @param logProbabilities logarithms of probabilities, any shape, f32 or f16
 * @param target probabilities, or their logarithms, of the same shape; 0 counts as `0·log 0 = 0`,
 * with a gradient by the input only
 * @param options logTarget, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ, or "batchmean" is asked of a scalar
 */
export function klDiv(
  logProbabilities: Tensor,
  target: Tensor,
  options: KlDivOptions = {},
): Tensor {
  const { logTarget = false, reduction = "mean" } = options;
  checkPair("klDiv", logProbabilities, target);
  if (reduction === "batchmean" && target.ndim === 0) {
    throw new ShapeError('Cannot compute the klDiv of scalars with reduction "batchmean"');
  }
  const expr = logTarget ? mul(apply("exp", t), sub(t, x)) : sub(apply("xlogy", t, t), mul(t, x));
  const inputs = [logProbabilities, target];
  if (reduction !== "batchmean") return reduced("klDiv", expr, inputs, reduction);
  return reduced("klDiv", apply("div", expr, constant(target.shape[0])), inputs, "sum");
}
