/** Normalisation of rows by themselves: layer and group normalisation. */

import { apply, input } from "../../kernels/expr.ts";
import { ROW_NORM_PASSES, rowNormGradientKernel, rowNormKernel } from "../../kernels/row_norm.ts";
import { fitTeams } from "../../kernels/teams.ts";
import type { Shape } from "../../kernels/types.ts";
import { stridedOperand } from "./axis_lines.ts";
import { columnSums } from "./column_stats.ts";
import { checkDevices, denseOperand, operandOf } from "./launch.ts";
import { composedGradients, composedNorm, type Normalization } from "./norm.ts";
import { denseStrides, type Rows, rowsAlong } from "./row_operands.ts";
import { broadcastStrides } from "./shape.ts";
import { isGradEnabled, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Mean and rstd of each row, with the normalised axes of size 1. */
interface RowStatistics {
  readonly mean: Tensor;
  readonly rstd: Tensor;
}

/**
 * Normalises over axes: `(x − mean) / √(variance + eps) · scale + shift` with the biased variance,
 * in one kernel where rows are short or many; its gradient takes one for x and one or two for scale
 * and shift together.
 *
 * @param problem x, axes, eps, and a scale and a shift that broadcast to x
 * @returns the shape and dtype of x
 */
export function rowNorm(problem: Normalization): Tensor {
  const { x, axes, eps, centered = true, scale, shift } = problem;
  const affine = [scale, shift].filter((t) => t !== null);
  checkDevices("normalise", [x, ...affine]);
  const strides = denseStrides(x);
  const parts = rowsOf(problem, [x, ...affine], [strides]);
  if (x.size === 0 || !fitTeams(parts.outer, parts.reduced, ROW_NORM_PASSES, x.device.traits)) {
    return composedNorm(problem);
  }
  const { device } = x;
  const op = "row norm";
  const out = empty(device, x.shape, x.dtype, op, strides);
  const kept = x.shape.map((n, d) => axes.includes(d) ? 1 : n);
  const statistics: RowStatistics = {
    mean: empty(device, kept, "f32", op),
    rstd: empty(device, kept, "f32", op),
  };
  const { mean, rstd } = statistics;
  const operands = [x, ...affine, out].map((t, n) => stridedOperand(t, parts.strides[n]));
  device.record({
    kernel: rowNormKernel({
      centered,
      outer: parts.outer,
      reduced: parts.reduced,
      x: operands[0],
      scale: scale && operands[1],
      shift: shift && operands[affine.length],
      y: operands[affine.length + 1],
    }),
    inputs: [x, ...affine].map(operandOf),
    outputs: [out, mean, rstd].map(denseOperand),
    scalars: [eps],
  });
  record(op, out, [x, ...affine], (g) => {
    const [ofX, ofScale, ofShift] = isGradEnabled()
      ? composedGradients(problem, g)
      : gradients(problem, statistics, g);
    return [ofX, ...(scale ? [ofScale] : []), ...(shift ? [ofShift] : [])];
  }, [x, mean, rstd, ...(scale ? [scale] : [])]);
  if (out.isLeaf) [mean, rstd].forEach((t) => t.dispose());
  return out;
}

/** The rows of tensors that broadcast to x, and of results with these strides. */
function rowsOf(
  { x, axes }: Normalization,
  inputs: readonly Tensor[],
  results: readonly (readonly number[])[],
): Rows {
  const operands = inputs.map((t) => broadcastStrides(t.shape, t.strides, x.shape));
  return rowsAlong(x.shape, axes, [...operands, ...results], true);
}

function gradients(
  problem: Normalization,
  statistics: RowStatistics,
  g: Tensor,
): (Tensor | null)[] {
  const { x, scale, shift } = problem;
  const [ofScale, ofShift] = scale?.requiresGrad || shift?.requiresGrad
    ? affineGradients(problem, statistics, g)
    : [null, null];
  return [x.requiresGrad ? rowGradient(problem, statistics, g) : null, ofScale, ofShift];
}

function rowGradient(problem: Normalization, { mean, rstd }: RowStatistics, g: Tensor): Tensor {
  const { x, centered = true, scale } = problem;
  const strides = denseStrides(x);
  const inputs = [g, x, ...(scale ? [scale] : [])];
  // Where g lies otherwise, its rows may merge otherwise; their order is the same.
  const { outer, reduced, strides: of } = rowsOf(problem, inputs, [strides]);
  if (!fitTeams(outer, reduced, ROW_NORM_PASSES, x.device.traits)) {
    return composedGradients({ ...problem, shift: null }, g)[0]!;
  }
  const dx = empty(x.device, x.shape, x.dtype, "row norm backward", strides);
  const operands = [...inputs, dx].map((t, n) => stridedOperand(t, of[n]));
  x.device.record({
    kernel: rowNormGradientKernel({
      centered,
      outer,
      reduced,
      g: operands[0],
      x: operands[1],
      scale: scale && operands[2],
      dx: operands.at(-1)!,
    }),
    inputs: [...inputs.map(operandOf), denseOperand(mean), denseOperand(rstd)],
    outputs: [denseOperand(dx)],
    scalars: [],
  });
  return dx;
}

const standard = apply("mul", apply("sub", input(1), input(2)), input(3));
const sumFormulas = [input(0), apply("mul", input(0), standard)] as const;

/** Gradients of scale and shift, from one pass over g and x. */
function affineGradients(
  { x, scale, shift }: Normalization,
  { mean, rstd }: RowStatistics,
  g: Tensor,
): (Tensor | null)[] {
  const shape: Shape = (scale ?? shift)!.shape;
  const lead = x.ndim - shape.length;
  const kept = x.shape.map((_, d) => d).filter((d) => d >= lead && shape[d - lead] === x.shape[d]);
  const inputs = [g, x, mean, rstd];
  const [total, product] = columnSums("row norm backward", sumFormulas, inputs, x.shape, kept);
  const onto = (t: Tensor | null, value: Tensor) =>
    t?.requiresGrad ? value.reshape(t.shape).to(t.dtype) : null;
  return [onto(scale, product), onto(shift, total)];
}
