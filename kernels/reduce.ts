/**
 * Reductions: one formula over strided inputs, folded over some axes in a fixed order.
 *
 * Long reductions run in two stages: the first folds `splits` slices of the longest reduced axis, the second folds the
 * slices. No atomics, so the same device gives the same bits.
 */

import { dtypeOf, type Expr } from "./expr.ts";
import { coerced, evaluator, exprFunction, literal } from "./expr_code.ts";
import { operandKey, type StridedOperand } from "./map.ts";
import {
  type DeviceTraits,
  type DType,
  intern,
  type Kernel,
  type ScalarType,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import {
  address,
  addressesOf,
  type Binding,
  coordinates,
  grid,
  loaded,
  perThread,
  shader,
  stored,
  u32,
  valueType,
} from "./wgsl.ts";

/** How values are folded. */
export type ReduceOp = "sum" | "prod" | "max" | "min" | "any" | "all";

/** Parameters of a reduction; the strides of the inputs go over `[...outer, ...reduced]`. */
export interface ReduceParams {
  readonly fold: ReduceOp;
  /** What is folded. */
  readonly expr: Expr;
  /** What becomes of the folded value, its input 0; only where `splits` is 1. */
  readonly post: Expr | null;
  readonly outer: Shape;
  readonly reduced: Shape;
  readonly inputs: readonly StridedOperand[];
  readonly scalars: readonly ScalarType[];
  /** Slices of the longest reduced axis; the result is `[splits, ...outer]` where it is above 1. */
  readonly splits: number;
  readonly output: DType;
  /** Where the results go, over the outer axes, where `splits` is 1. @default {row-major order} */
  readonly target?: { readonly strides: readonly number[]; readonly offset: number };
}

const neutral: Record<ReduceOp, Partial<Record<DType, number>>> = {
  sum: { f32: 0, i32: 0, u32: 0 },
  prod: { f32: 1, i32: 1, u32: 1 },
  max: { f32: -Infinity, i32: -2147483648, u32: 0 },
  min: { f32: Infinity, i32: 2147483647, u32: 4294967295 },
  any: { bool: 0 },
  all: { bool: 1 },
};

/** The value that folding starts from. */
export function neutralValue(fold: ReduceOp, type: DType): number {
  const value = neutral[fold][type === "f16" ? "f32" : type];
  if (value === undefined) throw new Error(`internal: ${fold} has no neutral ${type}`);
  return value;
}

function folded(fold: ReduceOp, type: DType, a: string, b: string): string {
  switch (fold) {
    case "sum":
      return `${a} + ${b}`;
    case "prod":
      return `${a} * ${b}`;
    case "max":
    case "min":
      return type === "f32" ? `${fold}_nan(${a}, ${b})` : `${fold}(${a}, ${b})`;
    case "any":
      return type === "bool" ? `${a} || ${b}` : `${a} | ${b}`;
    case "all":
      return type === "bool" ? `${a} && ${b}` : `${a} & ${b}`;
  }
}

/** The reduction kernel of these parameters. */
export function reduceKernel(params: ReduceParams): Kernel {
  const { fold, expr, post, outer, reduced, inputs, scalars, splits, output, target } = params;
  const key = `reduce|${fold}|${expr.key}|${post?.key}|${outer}|${reduced}|${
    inputs.map(operandKey).join(";")
  }|${scalars}|${splits}|${output}${target ? `|${target.strides}:${target.offset}` : ""}`;
  return intern(key, () => ({
    op: "reduce",
    key,
    params,
    inputs: inputs.map((i) => i.dtype),
    outputs: [output],
    scalars,
    wgsl: (traits) => reduceProgram(params, traits),
    reference: (ins, outs, values) => reduceReference(params, ins, outs[0], values),
  }));
}

/** The axis that slices cut: the longest one, the outermost of equals. */
export function splitAxis(reduced: Shape): number {
  return reduced.indexOf(Math.max(...reduced));
}

/** Threads that share one output on hardware; below this many values one thread does it alone. */
const TEAM = 128;

function reduceProgram(params: ReduceParams, traits: DeviceTraits): WgslProgram {
  const { outer, reduced, splits } = params;
  const outputs = sizeOf(outer) * splits;
  const team = !traits.software && sizeOf(reduced) / splits >= 2 * TEAM;
  const inputs: Binding[] = params.inputs.map((o, n) => ({ name: `x${n}`, dtype: o.dtype }));
  const types = params.inputs.map((i) => i.dtype);
  const acc = dtypeOf(params.expr, types);
  const finish = params.post === null ? "" : exprFunction("post", params.post, [acc]) + "\n";
  const text = exprFunction("f", params.expr, types) + "\n" + finish +
    (team ? teamBody(params, acc, outputs) : threadBody(params, acc, outputs));
  return {
    code: shader(inputs, [{ name: "y", dtype: params.output }], params.scalars, text),
    groups: grid(team ? outputs * TEAM : outputs, traits, team ? TEAM : undefined),
  };
}

/** Coordinates of the output `o`: `s` the slice, `c0` … the outer axes; and where each input starts. */
function outputHead({ outer, inputs, splits, reduced }: ReduceParams): string {
  const rank = outer.length;
  const lines = splits > 1
    ? [
      `  let s = o / ${sizeOf(outer)}u;`,
      `  let oo = o % ${sizeOf(outer)}u;`,
      coordinates("oo", outer, "c"),
    ]
    : [coordinates("o", outer, "c")];
  inputs.forEach((o, n) =>
    lines.push(`  let b${n} = ${address("c", o.strides.slice(0, rank), o.offset)};`)
  );
  const axis = splitAxis(reduced);
  reduced.forEach((n, d) => {
    const chunk = Math.ceil(n / splits);
    const cut = splits > 1 && d === axis;
    lines.push(`  let lo${d} = ${cut ? `s * ${chunk}u` : "0u"};`);
    lines.push(`  let hi${d} = ${cut ? `min(lo${d} + ${chunk}u, ${n}u)` : `${n}u`};`);
  });
  return lines.join("\n");
}

function valueAt(params: ReduceParams, inner: string): string {
  const rank = params.outer.length;
  const args = params.inputs.map((o, n) => {
    const strides = o.strides.slice(rank);
    const terms = strides.slice(0, -1).flatMap((s, d) => s === 0 ? [] : [`r${d} * ${u32(s)}`]);
    const last = strides.at(-1) ?? 0;
    if (last !== 0) terms.push(`(${inner}) * ${u32(last)}`);
    return loaded(o.dtype, `x${n}[${[`b${n}`, ...terms].join(" + ")}]`);
  });
  return `f(${args.join(", ")})`;
}

function result(params: ReduceParams, value: string): string {
  const { target } = params;
  const at = target ? address("c", target.strides, target.offset) : "o";
  return `y[${at}] = ${stored(params.output, params.post === null ? value : `post(${value})`)};`;
}

/** One thread folds everything of its output, in four interleaved sums for accuracy and speed. */
function threadBody(params: ReduceParams, acc: DType, outputs: number): string {
  const { reduced, fold } = params;
  const start = literal(neutralValue(fold, acc), acc);
  const last = reduced.length - 1;
  const lines = ["  let o = i;", outputHead(params)];
  for (let k = 0; k < 4; k++) lines.push(`  var a${k}: ${valueType(acc)} = ${start};`);
  for (let d = 0; d < last; d++) {
    lines.push(`  for (var r${d} = lo${d}; r${d} < hi${d}; r${d}++) {`);
  }
  const [r, hi] = [`r${last}`, `hi${last}`];
  lines.push(`  var ${r} = lo${last};`);
  lines.push(`  for (; ${r} + 4u <= ${hi}; ${r} += 4u) {`);
  for (let k = 0; k < 4; k++) {
    lines.push(
      `    a${k} = ${folded(fold, acc, `a${k}`, valueAt(params, k ? `${r} + ${k}u` : r))};`,
    );
  }
  lines.push(`  }`, `  for (; ${r} < ${hi}; ${r}++) {`);
  lines.push(`    a0 = ${folded(fold, acc, "a0", valueAt(params, r))};`, `  }`);
  for (let d = 0; d < last; d++) lines.push(`  }`);
  const pair = (a: string, b: string) => `(${folded(fold, acc, a, b)})`;
  lines.push(
    `  let total = ${pair(pair("a0", "a1"), pair("a2", "a3"))};`,
    `  ${result(params, "total")}`,
  );
  return perThread(outputs, lines.join("\n"));
}

/** A workgroup folds one output: strided partial sums, then a tree. */
function teamBody(params: ReduceParams, acc: DType, outputs: number): string {
  const { reduced, fold } = params;
  // Truth is kept as 0 or 1: drivers go wrong about bool in workgroup memory.
  const kept = acc === "bool" ? "u32" : acc;
  const join = (a: string, b: string) => folded(fold, kept, a, b);
  const value = valueAt(params, `r${reduced.length - 1}`);
  const last = reduced.length - 1;
  const spans = reduced.map((_, d) => `(hi${d} - lo${d})`);
  const split: string[] = [];
  let rest = "r";
  for (let d = last; d > 0; d--) {
    split.push(
      `    let r${d} = ${rest} % ${spans[d]} + lo${d};`,
      `    let q${d} = ${rest} / ${spans[d]};`,
    );
    rest = `q${d}`;
  }
  split.push(`    let r0 = ${rest} + lo0;`);
  return `var<workgroup> part: array<${valueType(kept)}, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) wgs: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let o = wg.y * wgs.x + wg.x;
  if (o >= ${outputs}u) { return; }
${outputHead(params)}
  let total = select(0u, ${spans.join(" * ")}, ${
    reduced.map((_, d) => `hi${d} > lo${d}`).join(" && ")
  });
  var a: ${valueType(kept)} = ${literal(neutralValue(fold, acc), kept)};
  for (var r = lane; r < total; r += ${TEAM}u) {
${split.join("\n")}
    a = ${join("a", acc === "bool" ? stored(acc, value) : value)};
  }
  part[lane] = a;
  workgroupBarrier();
  for (var k = ${TEAM / 2}u; k > 0u; k /= 2u) {
    if (lane < k) { part[lane] = ${join("part[lane]", "part[lane + k]")}; }
    workgroupBarrier();
  }
  if (lane == 0u) { let sum = ${acc === "bool" ? loaded(acc, "part[0]") : "part[0]"}; ${
    result(params, "sum")
  } }
}`;
}

function reduceReference(
  params: ReduceParams,
  ins: readonly Float64Array[],
  out: Float64Array,
  scalars: readonly number[],
): void {
  const { expr, post, outer, reduced, inputs, splits, fold } = params;
  const types = inputs.map((i) => i.dtype);
  const f = evaluator(expr, types);
  const type = dtypeOf(expr, types);
  const finish = post === null ? null : evaluator(post, [type]);
  const rank = outer.length;
  const starts = inputs.map((o) => addressesOf(outer, o.strides.slice(0, rank), o.offset));
  const steps = inputs.map((o) => addressesOf(reduced, o.strides.slice(rank), 0));
  const axis = splitAxis(reduced);
  const chunk = Math.ceil(reduced[axis] / splits);
  const inner = sizeOf(reduced.slice(axis + 1));
  const x = new Float64Array(inputs.length);
  const outputs = sizeOf(outer);
  const { target } = params;
  const to = target && addressesOf(outer, target.strides, target.offset);
  for (let o = 0; o < outputs; o++) {
    const place = to ? to[o] : o;
    for (let s = 0; s < splits; s++) out[s * outputs + place] = neutralValue(fold, type);
    for (let r = 0; r < sizeOf(reduced); r++) {
      for (let n = 0; n < x.length; n++) x[n] = ins[n][starts[n][o] + steps[n][r]];
      const slice = splits === 1 ? 0 : Math.floor((Math.floor(r / inner) % reduced[axis]) / chunk);
      const at = slice * outputs + place;
      out[at] = foldNumbers(fold, out[at], f(x, scalars), type);
    }
    if (finish) out[place] = finish([out[place]], scalars);
  }
}

function foldNumbers(fold: ReduceOp, a: number, b: number, type: DType): number {
  switch (fold) {
    case "sum":
      return coerced(a + b, type);
    case "prod":
      // Doubles would round products of integers before they wrap.
      return type === "f32" ? a * b : coerced(Math.imul(a, b), type);
    case "max":
      return Math.max(a, b);
    case "min":
      return Math.min(a, b);
    case "any":
      return a || b ? 1 : 0;
    case "all":
      return a && b ? 1 : 0;
  }
}
