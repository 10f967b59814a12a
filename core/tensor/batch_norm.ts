/** Batch normalisation by the statistics of the batch itself. */

import { apply, constant, type Expr, input } from "../../kernels/expr.ts";
import { alongAxis, columnMoments, columnSums, type RunningStatistics } from "./column_stats.ts";
import { updateInto } from "./in_place.ts";
import { checkDevices, launchMap, noScalars } from "./launch.ts";
import { map } from "./map.ts";
import { composedGradients, composedNorm, type Normalization } from "./norm.ts";
import { isGradEnabled, noGrad, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const mul = (a: Expr, b: Expr) => apply("mul", a, b);
const add = (a: Expr, b: Expr) => apply("add", a, b);
const sub = (a: Expr, b: Expr) => apply("sub", a, b);

/** `(a − mean) · rstd` of three inputs. */
function standard(a: number, mean: number, rstd: number): Expr {
  return mul(sub(input(a), input(mean)), input(rstd));
}

/** The formula over x, mean, rstd, then the scale and the shift that there are. */
function forwardFormula(scale: boolean, shift: boolean): Expr {
  const y = standard(0, 1, 2);
  const scaled = scale ? mul(y, input(3)) : y;
  return shift ? add(scaled, input(scale ? 4 : 3)) : scaled;
}

const oneMore = apply("add", input(0), constant(1, "i32"));
const sumFormulas = [input(0), mul(input(0), standard(1, 2, 3))] as const;

/**
 * `(g − (Σg + x̂·Σg·x̂) / n) · rstd · scale` over g, x, mean, rstd, the sums, and the scale if
 * there is one.
 */
function backwardFormula(count: number, scale: boolean): Expr {
  const share = add(input(4), mul(standard(1, 2, 3), input(5)));
  const change = mul(sub(input(0), mul(share, constant(1 / count))), input(3));
  return scale ? mul(change, input(6)) : change;
}

/**
 * Normalises each channel by the mean and the biased variance of the batch:
 * `(x − mean) / √(variance + eps) · scale + shift`, and moves running statistics.
 *
 * One pass for mean and variance together, one for the result; backward likewise one for both sums
 * of each channel, which are the gradients of shift and scale, and one for the gradient of x.
 *
 * @param x [N, C, …], f32 or f16
 * @param eps added to the variance
 * @param scale [C, 1, …] with as many axes as x less one, or null
 * @param shift as scale
 * @param running what moves towards the statistics of the batch, or null
 * @returns the shape, dtype and memory order of x
 */
export function batchNorm(
  x: Tensor,
  eps: number,
  scale: Tensor | null,
  shift: Tensor | null,
  running: RunningStatistics | null,
): Tensor {
  const affine = [scale, shift].filter((t) => t !== null);
  const moving = running === null ? [] : [running.mean, running.variance, running.count];
  checkDevices("normalise", [x, ...affine, ...moving]);
  // An average over all batches needs their number first; without values there is nothing else.
  if (running !== null && (running.momentum === null || x.size === 0)) {
    noGrad(() => updateInto("count", running.count, oneMore, []));
  }
  const axes = x.shape.map((_, d) => d).filter((d) => d !== 1);
  const problem: Normalization = { x, axes, eps, scale, shift };
  if (x.size === 0) return composedNorm(problem);
  const behind = x.ndim - 2;
  const { mean, scale: rstd } = columnMoments("batch norm", x, 1, eps, running);
  const [means, rstds] = [mean, rstd].map((t) => alongAxis(t, behind));
  const out = launchMap(
    "batch norm",
    forwardFormula(scale !== null, shift !== null),
    [x, means, rstds, ...affine],
    x.dtype,
    noScalars,
    x.device,
  );
  const saved = [x, means, rstds, ...(scale ? [scale] : [])];
  record("batch norm", out, [x, ...affine], (g) => {
    const [ofX, ofScale, ofShift] = isGradEnabled()
      ? composedGradients(problem, g)
      : gradients(problem, means, rstds, g);
    return [ofX, ...(scale ? [ofScale] : []), ...(shift ? [ofShift] : [])];
  }, saved);
  mean.dispose();
  rstd.dispose();
  if (out.isLeaf) [means, rstds].forEach((t) => t.dispose());
  return out;
}

/** Gradients of x, scale and shift in two passes over x and g. */
function gradients(
  { x, axes, scale, shift }: Normalization,
  means: Tensor,
  rstds: Tensor,
  g: Tensor,
): (Tensor | null)[] {
  const op = "batch norm backward";
  const count = axes.reduce((n, d) => n * x.shape[d], 1);
  const sums = columnSums(op, sumFormulas, [g, x, means, rstds], x.shape, [1]);
  const [total, product] = sums.map((t) => t.reshape([x.shape[1], ...x.shape.slice(2).fill(1)]));
  const affine = scale ? [scale] : [];
  const inputs = [g, x, means, rstds, total, product, ...affine];
  const narrow = (t: Tensor | null, value: Tensor) =>
    t?.requiresGrad ? noGrad(() => value.to(t.dtype)) : null;
  return [
    x.requiresGrad
      ? map(op, backwardFormula(count, scale !== null), inputs, { dtype: x.dtype })
      : null,
    narrow(scale, product),
    narrow(shift, total),
  ];
}
