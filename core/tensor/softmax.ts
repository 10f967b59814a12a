/** Softmax along an axis, and its logarithm. */

import { apply, type Expr, input } from "../../kernels/expr.ts";
import {
  SOFTMAX_PASSES,
  softmaxGradientKernel,
  softmaxKernel,
} from "../../kernels/softmax_rows.ts";
import { fitTeams } from "../../kernels/teams.ts";
import { stridedOperand } from "./axis_lines.ts";
import { denseOperand, operandOf } from "./launch.ts";
import { map, sumOf } from "./map.ts";
import { needFloat, shifted, shiftOf } from "./reduce.ts";
import { denseStrides, rowsAlong } from "./row_operands.ts";
import { axisOf } from "./shape.ts";
import { isGradEnabled, noGrad, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Softmax along an axis: `e^x / Σ e^x`. Its rows sum to 1 also where the numbers are large. */
export function softmax(t: Tensor, dim: number): Tensor {
  return alongRows("softmax", t, dim, false);
}

/** Logarithm of the softmax along an axis: `x - log Σ e^x`. */
export function logSoftmax(t: Tensor, dim: number): Tensor {
  return alongRows("logSoftmax", t, dim, true);
}

function alongRows(op: string, t: Tensor, dim: number, log: boolean): Tensor {
  const axis = axisOf(op, dim, t.ndim);
  needFloat(op, t);
  const out = forward(op, t, axis, log);
  return record(op, out, [t], (g) => [
    (isGradEnabled() ? null : rowGradient(op, t, out, g, axis, log)) ??
      composedGradient(op, t, out, g, axis, log),
  ], [out]);
}

/** One kernel where rows are short or many, several where they are cut. */
function forward(op: string, t: Tensor, axis: number, log: boolean): Tensor {
  const strides = denseStrides(t);
  const { outer, reduced, strides: of } = rowsAlong(t.shape, [axis], [t.strides, strides], false);
  if (!fitTeams(outer, reduced, SOFTMAX_PASSES, t.device.traits)) {
    return noGrad(() => composed(op, t, axis, log));
  }
  const out = empty(t.device, t.shape, "f32", op, strides);
  const [x, y] = [t, out].map((operand, n) => stridedOperand(operand, of[n]));
  t.device.record({
    kernel: softmaxKernel({ outer, reduced, log, x, y }),
    inputs: [operandOf(t)],
    outputs: [denseOperand(out)],
    scalars: [],
  });
  return out;
}

const quotient = apply("div", apply("exp", shifted), input(2));
const difference = apply("sub", shifted, apply("log", input(2)));

/** By the maximum and the sum of all exponentials, in a kernel each. */
function composed(op: string, t: Tensor, axis: number, log: boolean): Tensor {
  const shift = shiftOf(t, [axis]);
  const total = sumOf(op, apply("exp", shifted), [t, shift], [axis]).reshape(shift.shape);
  return map(op, log ? difference : quotient, [t, shift, total]);
}

/** The gradient in one kernel; null for rows that are cut. */
function rowGradient(
  op: string,
  t: Tensor,
  out: Tensor,
  g: Tensor,
  axis: number,
  log: boolean,
): Tensor | null {
  const strides = denseStrides(t);
  const operands = [g.strides, out.strides, strides];
  const { outer, reduced, strides: of } = rowsAlong(t.shape, [axis], operands, false);
  if (!fitTeams(outer, reduced, SOFTMAX_PASSES, t.device.traits)) return null;
  const gradient = empty(t.device, t.shape, t.dtype, `${op} backward`, strides);
  const [ofG, y, dx] = [g, out, gradient].map((operand, n) => stridedOperand(operand, of[n]));
  t.device.record({
    kernel: softmaxGradientKernel({ outer, reduced, log, g: ofG, y, dx }),
    inputs: [g, out].map(operandOf),
    outputs: [denseOperand(gradient)],
    scalars: [],
  });
  return gradient;
}

const softmaxRule: Expr = apply("mul", input(1), apply("sub", input(0), input(2)));
const logRule: Expr = apply("sub", input(0), apply("mul", apply("exp", input(1)), input(2)));

/** The gradient in differentiable ops: `y · (g − Σ g·y)`, or `g − e^y · Σ g` for the logarithm. */
function composedGradient(
  op: string,
  t: Tensor,
  out: Tensor,
  g: Tensor,
  axis: number,
  log: boolean,
): Tensor {
  const summed = log ? input(0) : apply("mul", input(0), input(1));
  const values = log ? [g] : [g, out];
  const total = sumOf(`${op} backward`, summed, values, [axis]).unsqueeze(axis);
  const rule = log ? logRule : softmaxRule;
  return map(`${op} backward`, rule, [g, out, total], { dtype: t.dtype });
}
