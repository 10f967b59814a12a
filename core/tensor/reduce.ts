/** Reductions over any axes, with NaN handed on and sums in a fixed order. */

import { apply, cast, constant, type Expr, input } from "../../kernels/expr.ts";
import type { ReduceOp } from "../../kernels/reduce.ts";
import { type DType, isFloat } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { fullOn } from "./fill.ts";
import { map, reduceOrFill, sumOf } from "./map.ts";
import { axesOf } from "./shape.ts";
import { isGradEnabled, noGrad, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** Axes to reduce: one, several, or all of them. */
export type Dim = number | readonly number[] | null;

/** How a reduction shapes its result. */
export interface ReduceOptions {
  /** Keep the reduced axes with size 1. @default {false} */
  readonly keepdim?: boolean;
}

/** Options of variance and standard deviation. */
export interface VarianceOptions extends ReduceOptions {
  /** Subtracted from the count in the divisor; 1 is the unbiased estimate, 0 that of the population. @default {1} */
  readonly correction?: number;
}

function shaped(t: Tensor, out: Tensor, axes: readonly number[], keepdim = false): Tensor {
  return keepdim ? out.reshape(t.shape.map((n, d) => axes.includes(d) ? 1 : n)) : out;
}

/** Refuses integers and bool. @throws {DTypeError} naming the op */
export function needFloat(op: string, t: Tensor): void {
  if (!isFloat(t.dtype)) {
    throw new DTypeError(
      `Cannot take the ${op} of a tensor of dtype ${t.dtype}: expected f32 or f16`,
    );
  }
}

function count(t: Tensor, axes: readonly number[]): number {
  return axes.reduce((n, d) => n * t.shape[d], 1);
}

/** Sum; of bool the number of true elements, as i32. */
export function sum(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  const axes = axesOf("sum", dim, t.ndim);
  const expr: Expr = t.dtype === "bool" ? cast(input(0), "i32") : input(0);
  return shaped(t, sumOf("sum", expr, [t], axes), axes, keepdim);
}

/** Arithmetic mean; NaN of no elements. @throws {DTypeError} for integers and bool */
export function mean(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  needFloat("mean", t);
  const axes = axesOf("mean", dim, t.ndim);
  const post = apply("div", input(0), constant(count(t, axes)));
  return shaped(t, sumOf("mean", input(0), [t], axes, post), axes, keepdim);
}

function extreme(fold: "max" | "min", t: Tensor, dim: Dim | undefined, keepdim?: boolean): Tensor {
  const axes = axesOf(fold, dim, t.ndim);
  if (count(t, axes) === 0) {
    throw new ShapeError(`Cannot take the ${fold} of ${showShape(t.shape)} over no elements`);
  }
  const type: DType = t.dtype === "bool" ? "u32" : t.dtype === "f16" ? "f32" : t.dtype;
  const expr: Expr = t.dtype === "bool" ? cast(input(0), "u32") : input(0);
  const spec = { fold, expr, post: null, dtype: type, partial: type, shape: t.shape, axes };
  const out = reduceOrFill(fold, spec, [t]);
  const kept = t.shape.map((n, d) => axes.includes(d) ? 1 : n);
  // Ties share the gradient evenly, as torch.amax and amin do.
  const recorded = record(fold, out, [t], (g) => {
    const hit = noGrad(() => t.eq(out.detach().reshape(kept)));
    const ties = noGrad(() => hit.sum(axes, { keepdim: true }));
    return [hit.where(g.reshape(kept).div(ties), 0)];
  }, [t, out]);
  return shaped(t, t.dtype === "bool" ? recorded.to("bool") : recorded, axes, keepdim);
}

/** Largest value; NaN where there is one. @throws {ShapeError} over no elements */
export function max(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  return extreme("max", t, dim, keepdim);
}

/** Smallest value; NaN where there is one. @throws {ShapeError} over no elements */
export function min(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  return extreme("min", t, dim, keepdim);
}

function foldPlain(
  fold: ReduceOp,
  t: Tensor,
  axes: readonly number[],
  expr: Expr,
  type: DType,
): Tensor {
  return reduceOrFill(fold, {
    fold,
    expr,
    post: null,
    dtype: type,
    partial: type,
    shape: t.shape,
    axes,
  }, [t]);
}

/** Product; its gradient is right also where there are zeros. */
export function prod(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  const axes = axesOf("prod", dim, t.ndim);
  const type: DType = t.dtype === "bool" ? "i32" : t.dtype === "f16" ? "f32" : t.dtype;
  const expr: Expr = t.dtype === "bool" ? cast(input(0), "i32") : input(0);
  const out = foldPlain("prod", t, axes, expr, type);
  const recorded = record("prod", out, [t], (g) => [prodGradient(t, g, axes)], [t]);
  return shaped(t, recorded, axes, keepdim);
}

/** Each element's gradient is the product of the others: with one zero only that one gets it, with two none does. */
function prodGradient(t: Tensor, g: Tensor, axes: readonly number[]): Tensor {
  const kept = t.shape.map((n, d) => axes.includes(d) ? 1 : n);
  if (isGradEnabled() && t.size > 0) return productsOfOthers(t, axes).mul(g.reshape(kept));
  const zero = t.eq(0);
  const zeros = zero.sum(axes, { keepdim: true });
  const rest = prod(zero.where(1, t), axes, { keepdim: true });
  const others = zero.where(
    zeros.eq(1).where(rest, 0),
    zeros.eq(0).where(rest.div(zero.where(1, t)), 0),
  );
  return others.mul(g.reshape(kept));
}

/** The same products by a tree, up and down again: without a choice by zeros, so that it can be differentiated. */
function productsOfOthers(t: Tensor, axes: readonly number[]): Tensor {
  const order = [...t.shape.keys()].sort((a, b) =>
    Number(axes.includes(a)) - Number(axes.includes(b)) || a - b
  );
  const length = count(t, axes);
  const lines = t.size / length;
  const sorted = t.permute(order);
  const width = 2 ** Math.ceil(Math.log2(length));
  const levels = [sorted.reshape([lines, length]).pad([[0, 0], [0, width - length]], 1)];
  for (let n = width; n > 1; n /= 2) {
    const pairs = levels.at(-1)!.reshape([lines, n / 2, 2]);
    levels.push(pairs.select(2, 0).mul(pairs.select(2, 1)));
  }
  let others = fullOn(t.device, [lines, 1], t.dtype, 1);
  for (const level of levels.slice(0, -1).reverse()) {
    const [, n] = level.shape;
    const siblings = level.reshape([lines, n / 2, 2]).flip(2);
    others = others.unsqueeze(2).mul(siblings).reshape([lines, n]);
  }
  return others.narrow(1, 0, length).reshape(sorted.shape)
    .permute(order.map((_, d) => order.indexOf(d)));
}

/** True where any element is not zero. */
export function any(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  const axes = axesOf("any", dim, t.ndim);
  return shaped(t, foldPlain("any", t, axes, cast(input(0), "bool"), "bool"), axes, keepdim);
}

/** True where no element is zero. */
export function all(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  const axes = axesOf("all", dim, t.ndim);
  return shaped(t, foldPlain("all", t, axes, cast(input(0), "bool"), "bool"), axes, keepdim);
}

/** Variance by two passes: the mean, then the mean square of the differences. */
export function variance(t: Tensor, dim?: Dim, options: VarianceOptions = {}): Tensor {
  needFloat("variance", t);
  const { keepdim, correction = 1 } = options;
  const axes = axesOf("var", dim, t.ndim);
  const center = mean(t, axes, { keepdim: true });
  const square = apply("square", apply("sub", input(0), input(1)));
  const divisor = Math.max(0, count(t, axes) - correction);
  const post = apply("div", input(0), constant(divisor));
  return shaped(
    t,
    sumOf("var", square, [t, center], axes, divisor > 0 ? post : null)
      .mul(divisor > 0 ? 1 : NaN),
    axes,
    keepdim,
  );
}

/** Standard deviation, the root of the variance; where all elements are equal its gradient is 0. */
export function std(t: Tensor, dim?: Dim, options: VarianceOptions = {}): Tensor {
  const [v, zero] = [input(0), constant(0)];
  // At 0 the derivative of the root is infinite, and times the differences of 0 it would be NaN.
  const safe = apply("where", apply("eq", v, zero), zero, v);
  return map("std", apply("sqrt", safe), [variance(t, dim, options)]);
}

/** What exponentials are shifted by so that they do not overflow: the maximum, or 0 where that is no number. */
export function shiftOf(t: Tensor, axes: readonly number[]): Tensor {
  return noGrad(() => {
    const kept = t.shape.map((n, d) => axes.includes(d) ? 1 : n);
    // Over no elements the sum is 0 whatever the shift.
    if (count(t, axes) === 0) return fullOn(t.device, kept, "f32", 0);
    const top = max(t.detach(), axes, { keepdim: true });
    return top.lt(Infinity).where(top.gt(-Infinity).where(top, 0), 0);
  });
}

/** Input 0 less the shift, input 1. */
export const shifted: Expr = apply("sub", input(0), input(1));

/** `log Σ e^x`, shifted by the maximum so that nothing overflows. */
export function logsumexp(t: Tensor, dim?: Dim, { keepdim }: ReduceOptions = {}): Tensor {
  needFloat("logsumexp", t);
  const axes = axesOf("logsumexp", dim, t.ndim);
  const shift = shiftOf(t, axes);
  const total = sumOf("logsumexp", apply("exp", shifted), [t, shift], axes);
  const out = total.log().add(shift.reshape(total.shape));
  return shaped(t, out, axes, keepdim);
}
