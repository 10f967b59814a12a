/** Standardisation over axes with a fused gradient: what batch, layer and group normalisation share. */

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
 * Shifts and scales to mean 0 and variance 1 over axes: `(x − mean) / √(variance + eps)` with the biased variance.
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

/** `(g − mean(g) − y·mean(g·y)) / √(variance + eps)`, from saved values or, to be differentiated itself, from x again. */
function gradient(
  x: Tensor,
  output: Tensor,
  variance: Tensor,
  g: Tensor,
  axes: readonly number[],
  eps: number,
): Tensor {
  let [y, v] = [output.detach(), variance];
  if (isGradEnabled()) {
    const again = statistics(x, axes);
    y = center(x, again.mean, again.variance, eps);
    v = again.variance;
  }
  const kept = x.shape.map((n, d) => axes.includes(d) ? 1 : n);
  const count = axes.reduce((n, d) => n * x.shape[d], 1);
  const share = apply("div", input(0), constant(count));
  const m1 = sumOf("standardize backward", input(0), [g], axes, share).reshape(kept);
  const m2 = sumOf("standardize backward", productFormula, [g, y], axes, share).reshape(
    kept,
  );
  return map("standardize backward", gradientFormula, [g, y, m1, m2, v], {
    scalars: { values: [eps], types: ["f32"] },
    dtype: x.dtype,
  });
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
