/**
 * Two formulas summed over the rows of every column: gradients of a scale and a shift in one pass.
 */

import { type ColumnParams, columnProgram, rowsOfSlice } from "./columns.ts";
import { type Expr, input } from "./expr.ts";
import { evaluator, exprFunction } from "./expr_code.ts";
import { operandKey } from "./map.ts";
import { intern, type Kernel, sizeOf } from "./types.ts";
import { addressesOf } from "./wgsl.ts";

/** Parameters of a pair of sums. */
export interface ColumnSumsParams extends ColumnParams {
  /** What is summed, over the inputs. */
  readonly exprs: readonly [Expr, Expr];
}

/**
 * Sums of two formulas over the rows.
 *
 * Outputs: either sum, `[slices, ...outer]` in f32.
 */
export function columnSumsKernel(params: ColumnSumsParams): Kernel {
  const { outer, reduced, inputs, slices, exprs } = params;
  const key = `column sums|${exprs.map((e) => e.key).join("|")}|${outer}|${reduced}|${
    inputs.map(operandKey).join(";")
  }|${slices}`;
  return intern(key, () => ({
    op: "columnSums",
    key,
    params,
    inputs: inputs.map((o) => o.dtype),
    outputs: ["f32", "f32"],
    scalars: [],
    wgsl: (traits) => columnProgram(params, foldOf(params), traits),
    reference: (ins, outs) => reference(params, ins, outs),
  }));
}

function foldOf({ inputs, exprs }: ColumnSumsParams): Parameters<typeof columnProgram>[1] {
  const types = inputs.map((o) => o.dtype);
  const term = (name: string, values: readonly string[], width: 1 | 4) => {
    if (width === 1) return `${name}(${values.join(", ")})`;
    const parts = [..."xyzw"].map((p) => `${name}(${values.map((v) => `${v}.${p}`).join(", ")})`);
    return `vec4(${parts.join(", ")})`;
  };
  return {
    names: inputs.map((_, n) => `in${n}`),
    extra: [],
    outputs: [{ name: "sums0", dtype: "f32" }, { name: "sums1", dtype: "f32" }],
    wide: true,
    scalars: [],
    functions: exprs.map((e, n) => exprFunction(`term${n}`, e, types)).join("\n"),
    first: false,
    terms: (values, width) => [term("term0", values, width), term("term1", values, width)],
    store: () => "  sums0[o] = a; sums1[o] = b;",
  };
}

/** The kernel that folds the slices of a pair of sums. */
export function sliceSumsKernel(columns: number, slices: number): Kernel {
  const operand = { dtype: "f32", strides: [1, columns], offset: 0 } as const;
  return columnSumsKernel({
    outer: [columns],
    reduced: [slices],
    inputs: [operand, operand],
    slices: 1,
    exprs: [input(0), input(1)],
  });
}

function reference(
  { outer, reduced, inputs, slices, exprs }: ColumnSumsParams,
  ins: readonly Float64Array[],
  outs: readonly Float64Array[],
): void {
  const types = inputs.map((o) => o.dtype);
  const terms = exprs.map((e) => evaluator(e, types));
  const rank = outer.length;
  const starts = inputs.map((o) => addressesOf(outer, o.strides.slice(0, rank), o.offset));
  const steps = inputs.map((o) => addressesOf(reduced, o.strides.slice(rank), 0));
  const [width, length] = [sizeOf(outer), sizeOf(reduced)];
  const chunk = rowsOfSlice(length, slices);
  const x = new Float64Array(inputs.length);
  for (const out of outs) out.fill(0, 0, slices * width);
  for (let r = 0; r < length; r++) {
    const slice = Math.floor(r / chunk);
    for (let c = 0; c < width; c++) {
      for (let n = 0; n < x.length; n++) x[n] = ins[n][starts[n][c] + steps[n][r]];
      terms.forEach((term, k) => outs[k][slice * width + c] += term(x, []));
    }
  }
}
