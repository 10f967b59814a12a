/** What the losses of several files share: checks of their operands, and the reduction. */

import { DTypeError, ShapeError, showShape, type Tensor } from "../core/mod.ts";
import type { Reduction } from "../core/tensor/cross_entropy.ts";
import { map, sumOf } from "../core/tensor/map.ts";
import { broadcastShapes } from "../core/tensor/shape.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { sizeOf } from "../kernels/types.ts";

/**
 * Refuses operands of different shape: broadcasting them would compare each element with all others.
 *
 * @param op the loss, for the message
 * @param operands tensors by name, the first of which says the shape
 * @throws {ShapeError} if the shapes differ
 * @throws {DTypeError} if one holds no floats
 */
export function checkAlike(op: string, operands: Readonly<Record<string, Tensor>>): void {
  const tensors = Object.values(operands);
  const names = Object.keys(operands).join(", ").replace(/, (?=\w+$)/, " and ");
  if (tensors.some((t) => String(t.shape) !== String(tensors[0].shape))) {
    throw new ShapeError(
      `Cannot compute the ${op} of ${
        tensors.map((t) => showShape(t.shape)).join(" and ")
      }: expected ${names} of one shape`,
    );
  }
  checkFloats(op, tensors);
}

/**
 * Refuses operands that hold no floats.
 *
 * @param op the loss, for the message
 * @param tensors the operands
 * @throws {DTypeError} if one holds no floats
 */
export function checkFloats(op: string, tensors: readonly Tensor[]): void {
  if (tensors.every((t) => t.dtype === "f32" || t.dtype === "f16")) return;
  throw new DTypeError(
    `Cannot compute the ${op} of dtypes ${tensors.map((t) => t.dtype).join(" and ")}: expected ` +
      "f32 or f16",
  );
}

/**
 * Refuses weights that would make the result larger.
 *
 * @param op the loss, for the message
 * @param weight what the losses are multiplied with
 * @param like says the shape
 * @throws {ShapeError} if the weight does not broadcast to that shape
 */
export function checkWeight(op: string, weight: Tensor, like: Tensor): void {
  const shape = broadcastShapes(op, [weight.shape, like.shape]);
  if (String(shape) === String(like.shape)) return;
  throw new ShapeError(
    `Cannot compute the ${op} of ${showShape(like.shape)} with a weight of shape ${
      showShape(weight.shape)
    }: expected a shape that broadcasts to that of the input`,
  );
}

/**
 * The number, if it lies between two bounds, both included.
 *
 * @param op the loss, for the message
 * @param name the option, for the message
 * @param value what was given
 * @param range the bounds
 * @returns the value
 * @throws {RangeError} if it does not, or is NaN
 */
export function checkOption(
  op: string,
  name: string,
  value: number,
  [low, high]: readonly [number, number] = [-Infinity, Infinity],
): number {
  if (typeof value === "number" && value >= low && value <= high) return value;
  throw new RangeError(
    `Cannot compute the ${op} with ${name} ${value}: expected a number from ${low} to ${high}`,
  );
}

/**
 * Applies a formula and reduces the result, in one kernel.
 *
 * @param op the loss, for messages
 * @param expr the formula over the inputs
 * @param inputs shapes that broadcast
 * @param reduction mean, sum or none
 * @returns an f32 scalar, or the broadcast shape
 * @throws {RangeError} if the reduction is another one
 */
export function reduced(
  op: string,
  expr: Expr,
  inputs: readonly Tensor[],
  reduction: Reduction = "mean",
): Tensor {
  if (reduction !== "mean" && reduction !== "sum" && reduction !== "none") {
    throw new RangeError(
      `Cannot compute the ${op} with reduction "${reduction}": expected mean, sum, none`,
    );
  }
  if (reduction === "none") return map(op, expr, inputs, { dtype: "f32" });
  const shape = broadcastShapes(op, inputs.map((t) => t.shape));
  const share = reduction === "sum" ? null : apply("div", input(0), constant(sizeOf(shape)));
  return sumOf(op, expr, inputs, shape.map((_, d) => d), share);
}

/** `max(x, 0)` with the derivative 1 at 0, as PyTorch's losses have it. */
export const atLeastZero = (x: Expr): Expr =>
  apply("where", apply("ge", x, constant(0)), x, constant(0));

/** The losses themselves as the formula of `reduced`. */
export const itself: Expr = input(0);
