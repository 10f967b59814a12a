/** Formulas over tensors as ops: one kernel forward, one kernel per gradient, whatever the formula. */

import {
  differentiate,
  dtypeOf,
  type Expr,
  input,
  inputsOf,
  substitute,
} from "../../kernels/expr.ts";
import type { DType, Shape } from "../../kernels/types.ts";
import { broadcastShapes } from "./shape.ts";
import { launchMap, launchReduce, noScalars, type Scalars } from "./launch.ts";
import { fullOn } from "./fill.ts";
import { record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** What a formula op may be told beside its inputs. */
export interface MapOptions {
  readonly scalars?: Scalars;
  /** Element type of the result; that of the formula by default, f16 where all float inputs are. */
  readonly dtype?: DType;
}

/** Element type of a formula's result where nobody asks for another one. */
function resultType(expr: Expr, inputs: readonly Tensor[]): DType {
  const type = dtypeOf(expr, inputs.map((t) => t.dtype));
  const floats = inputs.filter((t) => t.dtype === "f32" || t.dtype === "f16");
  return type === "f32" && floats.length > 0 && floats.every((t) => t.dtype === "f16")
    ? "f16"
    : type;
}

/**
 * Applies a formula to tensors, element by element with broadcasting; differentiable.
 *
 * @param op name for messages
 * @param expr the formula over `inputs`
 * @param inputs at least one tensor, all on one device
 */
export function map(
  op: string,
  expr: Expr,
  inputs: readonly Tensor[],
  options: MapOptions = {},
): Tensor {
  const { scalars = noScalars, dtype = resultType(expr, inputs) } = options;
  const { device } = inputs[0];
  const out = launchMap(op, expr, inputs, dtype, scalars, device);
  if (!inputs.some((t) => t.requiresGrad)) return out;
  const gradients = gradientsOf(expr, inputs, input(inputs.length), inputs.length + 1);
  return record(op, out, inputs, (g) => {
    const values = [...inputs, g, out];
    return gradients.formulas.map((e, i) =>
      e && inputs[i].requiresGrad ? sumOnto(op, e, values, scalars, inputs[i]) : null
    );
  }, savedBy(gradients, inputs, out));
}

/** Gradient formulas of a formula, and which values each of them reads. */
interface Gradients {
  readonly formulas: readonly (Expr | null)[];
  readonly reads: readonly (readonly number[])[];
}

const derived = new Map<Expr, Map<string, Gradients>>();

/** Gradient formulas over the inputs, then the gradient, then the result (if `y` is not -1). */
function gradientsOf(expr: Expr, inputs: readonly Tensor[], g: Expr, y: number): Gradients {
  const types = inputs.map((t) => t.dtype);
  const key = `${types}|${g.key}|${y}`;
  const ofExpr = derived.get(expr) ?? new Map<string, Gradients>();
  let known = ofExpr.get(key);
  if (known === undefined) {
    const formulas = differentiate(expr, types, g)
      // What the rules say of the result is read from the result instead of computed again.
      .map((e) =>
        e && (y < 0 ? e : substitute(e, (s) => s.key === expr.key ? input(y) : undefined))
      );
    known = { formulas, reads: formulas.map((e) => e ? inputsOf(e) : []) };
    derived.set(expr, ofExpr.set(key, known));
  }
  return known;
}

/** The tensors whose values the gradient formulas read: these may not change before the backward pass. */
function savedBy({ reads }: Gradients, inputs: readonly Tensor[], out: Tensor | null): Tensor[] {
  const values = [...inputs, null, out];
  const saved = new Set<Tensor>();
  reads.forEach((indices, i) => {
    if (!inputs[i].requiresGrad) return;
    for (const n of indices) if (values[n]) saved.add(values[n]);
  });
  return [...saved];
}

/** A formula over only those inputs that it reads, and which ones they were. */
interface Compact {
  readonly used: readonly number[];
  readonly compact: Expr;
}

const compacts = new Map<Expr, Compact>();

function compacted(expr: Expr): Compact {
  let known = compacts.get(expr);
  if (known === undefined) {
    const used = inputsOf(expr);
    const compact = substitute(
      expr,
      (e) => e.kind === "input" ? input(used.indexOf(e.index)) : undefined,
    );
    known = { used, compact };
    compacts.set(expr, known);
  }
  return known;
}

/** Evaluates a gradient formula and sums it over the axes in which the target was broadcast. */
export function sumOnto(
  op: string,
  expr: Expr,
  values: readonly Tensor[],
  scalars: Scalars,
  target: Tensor,
): Tensor {
  const { used, compact } = compacted(expr);
  const inputs = used.map((n) => values[n]);
  const shape = broadcastShapes(op, inputs.map((t) => t.shape));
  const lead = shape.length - target.shape.length;
  const axes = shape.map((_, d) => d)
    .filter((d) => d < lead || (target.shape[d - lead] === 1 && shape[d] !== 1));
  const narrow = target.dtype === "f16";
  if (axes.length === 0) {
    if (compact.kind === "input" && inputs[0].dtype === target.dtype) return inputs[0];
    return map(`${op} backward`, compact, inputs, { scalars, dtype: target.dtype });
  }
  const sum = sumOf(`${op} backward`, compact, inputs, axes, null, scalars).reshape(target.shape);
  return narrow ? map("cast", input(0), [sum], { dtype: "f16" }) : sum;
}

/**
 * Sums a formula over axes; differentiable.
 *
 * @param axes distinct and increasing, of the broadcast shape of the inputs
 * @param post formula for the sum, its input 0: null, or division by a constant
 * @returns a tensor with the axes that remain
 */
export function sumOf(
  op: string,
  expr: Expr,
  inputs: readonly Tensor[],
  axes: readonly number[],
  post: Expr | null = null,
  scalars: Scalars = noScalars,
): Tensor {
  const shape = broadcastShapes(op, inputs.map((t) => t.shape));
  const type = dtypeOf(expr, inputs.map((t) => t.dtype));
  const out = reduceOrFill(
    op,
    { fold: "sum", expr, post, dtype: type, partial: type, shape, axes },
    inputs,
    scalars,
  );
  if (!inputs.some((t) => t.requiresGrad)) return out;
  const share = post === null
    ? input(inputs.length)
    : substitute(post, (e) => e.kind === "input" ? input(inputs.length) : undefined);
  const gradients = gradientsOf(expr, inputs, share, -1);
  return record(op, out, inputs, (g) => {
    const spread = g.reshape(shape.map((n, d) => axes.includes(d) ? 1 : n));
    const values = [...inputs, spread.expand(shape)];
    return gradients.formulas.map((e, i) =>
      e && inputs[i].requiresGrad ? sumOnto(op, e, values, scalars, inputs[i]) : null
    );
  }, savedBy(gradients, inputs, null));
}

/** Launches a reduction; over nothing it gives the neutral value. */
export function reduceOrFill(
  op: string,
  spec: Parameters<typeof launchReduce>[1],
  inputs: readonly Tensor[],
  scalars: Scalars = noScalars,
): Tensor {
  const kept: Shape = spec.shape.filter((_, d) => !spec.axes.includes(d));
  const empty = spec.shape.some((n) => n === 0);
  return empty
    ? fullOn(inputs[0].device, kept, spec.dtype, emptyValue(spec))
    : launchReduce(op, spec, inputs, scalars);
}

function emptyValue({ fold, post }: Parameters<typeof launchReduce>[1]): number {
  const value = { sum: 0, prod: 1, any: 0, all: 1, max: -Infinity, min: Infinity }[fold];
  return post === null ? value : value / 0;
}
