/**
 * Standardisation over axes with a fused gradient: what batch, layer and group normalisation share.
 */

import { apply, constant, type Expr, input, scalar } from "../../kernels/expr.ts";
import { map, sumOf } from "./map.ts";
import { axesOf } from "./shape.ts";
import { isGradEnabled, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** A standardised tensor with the statistics that it was made with. */
export interface Standardized {
  /** `(x − mean) / √(variance + eps)`. */
  readonly output: Tensor;
  /** Mean over the axes, which stay with size 1; without a history. */
  readonly mean: Tensor;
  /** Biased variance over the axes, which stay with size 1; without a history. */
  readonly variance: Tensor;
}

const add = (a: Expr, b: Expr) => apply("add", a, b);
const sub = (a: Expr, b: Expr) => apply("sub", a, b);
const mul = (a: Expr, b: Expr) => apply("mul", a, b);

const squareFormula = apply("square", sub(input(0), input(1)));
const centerFormula = mul(
  sub(input(0), input(1)),
  apply("rsqrt", add(input(2), scalar(0, "f32"))),
);
const productFormula = mul(input(0), input(1));
const gradientFormula = mul(
  sub(sub(input(0), input(2)), mul(input(1), input(3))),
  apply("rsqrt", add(input(4), scalar(0, "f32"))),
);
const uncenteredFormula = mul(
  sub(input(0), mul(input(1), input(2))),
  apply("rsqrt", add(input(3), scalar(0, "f32"))),
);

function statistics(x: Tensor, axes: readonly number[]): { mean: Tensor; variance: Tensor } {
  const kept = x.shape.map((n, d) => axes.includes(d) ? 1 : n);
  const count = axes.reduce((n, d) => n * x.shape[d], 1);
  const share = apply("div", input(0), constant(count));
  const mean = sumOf("mean", input(0), [x], axes, share).reshape(kept);
  // Two passes: the squares of differences stay exact where the mean is large.
  return { mean, variance: sumOf("variance", squareFormula, [x, mean], axes, share).reshape(kept) };
}

function center(x: Tensor, mean: Tensor, variance: Tensor, eps: number): Tensor {
  return map("standardize", centerFormula, [x, mean, variance], {
    scalars: { values: [eps], types: ["f32"] },
  });
}

/**
 * Shifts and scales to mean 0 and variance 1 over axes: `(x − mean) / √(variance + eps)` with the
 * biased variance.
 *
 * @param x f32 or f16
 * @param dims axes that the statistics are taken over
 * @param eps added to the variance, above 0
 */
export function standardize(x: Tensor, dims: readonly number[], eps: number): Standardized {
  const axes = axesOf("standardize", dims, x.ndim);
  const plain = x.detach();
  const { mean, variance } = statistics(plain, axes);
  const output = center(plain, mean, variance, eps);
  const saved = [x, output, variance];
  record("standardize", output, [x], (g) => [gradient(x, output, variance, g, axes, eps)], saved);
  return { output, mean, variance };
}

/**
 * What is normalised, and with what: a tensor, its axes, and a scale and a shift that broadcast to
 * it.
 */
export interface Normalization {
  /** f32 or f16. */
  readonly x: Tensor;
  /** Distinct and increasing. */
  readonly axes: readonly number[];
  /** Added to the variance. */
  readonly eps: number;
  /**
   * Whether the mean is subtracted; otherwise it counts as 0, as in RMS normalisation. @default
   * {true}
   */
  readonly centered?: boolean;
  readonly scale: Tensor | null;
  /** Of the shape of the scale, where there are both. */
  readonly shift: Tensor | null;
}

/** `standardize(x) · scale + shift`, in the dtype of x; the way of many kernels, for any layout. */
export function composedNorm({ x, axes, eps, centered, scale, shift }: Normalization): Tensor {
  const standard = centered === false ? unitSquare(x, axes, eps) : standardize(x, axes, eps).output;
  return scaleShift(standard, scale, shift).to(x.dtype);
}

const unitFormula = mul(input(0), apply("rsqrt", add(input(1), scalar(0, "f32"))));

/** `x / √(mean square + eps)`. */
function unitSquare(x: Tensor, axes: readonly number[], eps: number): Tensor {
  return map("unit square", unitFormula, [x, meanSquare(x, axes)], {
    scalars: { values: [eps], types: ["f32"] },
  });
}

function meanSquare(x: Tensor, axes: readonly number[]): Tensor {
  const kept = x.shape.map((n, d) => axes.includes(d) ? 1 : n);
  const count = axes.reduce((n, d) => n * x.shape[d], 1);
  const share = apply("div", input(0), constant(count));
  return sumOf("mean square", apply("square", input(0)), [x], axes, share).reshape(kept);
}

/** Gradients of x, scale and shift in ops that can be differentiated themselves. */
export function composedGradients(
  { x, axes, eps, centered = true, scale, shift }: Normalization,
  g: Tensor,
): (Tensor | null)[] {
  const { mean, variance } = centered
    ? statistics(x, axes)
    : { mean: null, variance: meanSquare(x, axes) };
  const standard = mean === null ? unitSquare(x, axes, eps) : center(x, mean, variance, eps);
  const onto = (t: Tensor, value: Tensor) => {
    const lead = x.ndim - t.ndim;
    const dims = x.shape.map((_, d) => d).filter((d) => d < lead || t.shape[d - lead] === 1);
    return (dims.length > 0 ? value.sum(dims) : value).reshape(t.shape).to(t.dtype);
  };
  const scaled = scale === null ? g : g.mul(scale);
  return [
    x.requiresGrad ? change(x, standard, variance, scaled, axes, eps, centered) : null,
    scale?.requiresGrad ? onto(scale, g.mul(standard)) : null,
    shift?.requiresGrad ? onto(shift, g) : null,
  ];
}

/** The gradient of x, from saved values or, to be differentiated itself, from x again. */
function gradient(
  x: Tensor,
  output: Tensor,
  variance: Tensor,
  g: Tensor,
  axes: readonly number[],
  eps: number,
): Tensor {
  if (!isGradEnabled()) return change(x, output.detach(), variance, g, axes, eps, true);
  const again = statistics(x, axes);
  const y = center(x, again.mean, again.variance, eps);
  return change(x, y, again.variance, g, axes, eps, true);
}

/**
 * `(g − mean(g) − y·mean(g·y)) / √(variance + eps)`, without mean(g) where nothing was centered.
 */
function change(
  x: Tensor,
  y: Tensor,
  variance: Tensor,
  g: Tensor,
  axes: readonly number[],
  eps: number,
  centered: boolean,
): Tensor {
  const kept = x.shape.map((n, d) => axes.includes(d) ? 1 : n);
  const count = axes.reduce((n, d) => n * x.shape[d], 1);
  const share = apply("div", input(0), constant(count));
  const op = "standardize backward";
  const m1 = centered ? sumOf(op, input(0), [g], axes, share).reshape(kept) : null;
  const m2 = sumOf(op, productFormula, [g, y], axes, share).reshape(kept);
  const options = { scalars: { values: [eps], types: ["f32"] as const }, dtype: x.dtype };
  return m1 === null
    ? map(op, uncenteredFormula, [g, y, m2, variance], options)
    : map(op, gradientFormula, [g, y, m1, m2, variance], options);
}

/** `x · scale + shift` in one kernel, with either left out where it is null. */
export function scaleShift(x: Tensor, scale: Tensor | null, shift: Tensor | null): Tensor {
  if (scale !== null && shift !== null) {
    return map("scale and shift", add(mul(input(0), input(1)), input(2)), [x, scale, shift], {
      dtype: x.dtype,
    });
  }
  if (scale !== null) return map("scale", mul(input(0), input(1)), [x, scale], { dtype: x.dtype });
  return shift === null ? x : map("shift", add(input(0), input(1)), [x, shift], { dtype: x.dtype });
}
