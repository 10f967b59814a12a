/** Elementwise kernels as part of the loads of the kernels that read them. */

import {
  constant,
  dtypeOf,
  type Expr,
  input,
  scalar,
  substitute,
  topological,
} from "../../kernels/expr.ts";
import { mapKernel, type MapParams, type StridedOperand } from "../../kernels/map.ts";
import { reduceKernel, type ReduceParams } from "../../kernels/reduce.ts";
import { type DType, type Operand, type ScalarType, sizeOf } from "../../kernels/types.ts";
import { mergeAxes } from "../tensor/launch.ts";
import { cutShape, cutStrides, relate, type Relation, throughWriter } from "./affine.ts";
import type { StepCall } from "./recording.ts";

/** Storage bindings that every device has for one kernel. */
export const MAX_BINDINGS = 8;
/** Formulas longer than this are not made longer. */
const MAX_KEY = 4000;
/** Operations that a reader may do again for elements that share one value of the writer. */
const MAX_REPEATED = 2 ** 18;

const heavy = new Set(
  "exp exp2 expm1 log log2 log10 log1p pow tanh sinh cosh sin cos tan asin acos atan erf erfinv gelu geluTanh sigmoid silu softplus mish"
    .split(" "),
);

/** About how many operations a formula takes. */
function costOf(expr: Expr): number {
  return topological(expr).reduce(
    (sum, e) => sum + (e.kind === "op" ? heavy.has(e.op) ? 10 : 1 : 0),
    0,
  );
}

/** Whether a call makes values that are as quick to compute as to load. */
export function isCheap({ kernel, inputs }: StepCall): boolean {
  return kernel.op === "map" && inputs.length <= 1 &&
    costOf((kernel.params as MapParams).expr) <= 2;
}

/** The parts of maps and reductions that fusion needs. */
interface Reader {
  readonly expr: Expr;
  readonly shape: readonly number[];
  readonly inputs: readonly StridedOperand[];
  readonly scalars: readonly ScalarType[];
  /** Types of what the formula reads before the inputs: of the output, where it is changed in place. */
  readonly own: readonly DType[];
}

function readerOf({ kernel }: StepCall): Reader | null {
  if (kernel.op === "map") {
    const { expr, shape, inputs, scalars, inPlace, output } = kernel.params as MapParams;
    return { expr, shape, inputs, scalars, own: inPlace ? [output.dtype] : [] };
  }
  if (kernel.op === "reduce") {
    const { expr, outer, reduced, inputs, scalars } = kernel.params as ReduceParams;
    return { expr, shape: [...outer, ...reduced], inputs, scalars, own: [] };
  }
  return null;
}

/** The writer's formula in place of each load of its result; null where that cannot be, or would cost more. */
export function fuseLoads(writer: StepCall, reader: StepCall): StepCall | null {
  if (writer.kernel.op !== "map") return null;
  const map = writer.kernel.params as MapParams;
  if (map.inPlace || dtypeOf(map.expr, map.inputs.map((i) => i.dtype)) !== map.output.dtype) {
    return null;
  }
  let call: StepCall | null = reader;
  const { buffer } = writer.outputs[0];
  while (call !== null) {
    const at: number = call.inputs.findIndex((o) => o.buffer === buffer);
    if (at < 0) return call;
    call = fuseLoad(writer, map, call, at);
  }
  return null;
}

function fuseLoad(
  writer: StepCall,
  map: MapParams,
  call: StepCall,
  at: number,
): StepCall | null {
  const reader = readerOf(call);
  if (reader === null) return null;
  const load = reader.inputs[at];
  const relation = relate(
    { shape: reader.shape, strides: load.strides, offset: call.inputs[at].offset + load.offset },
    {
      shape: map.shape,
      strides: map.output.strides,
      offset: writer.outputs[0].offset + map.output.offset,
    },
  );
  if (relation === null) return null;
  const repeated = sizeOf(reader.shape) - sizeOf(map.shape);
  const cost = costOf(map.expr);
  if (repeated > 0 && cost > 2 && repeated * cost > MAX_REPEATED) return null;
  const operands = new Operands(reader.own.length);
  reader.inputs.forEach((o, n) => {
    if (n === at) return;
    operands.add(call.inputs[n], { ...o, strides: cutStrides(relation, o.strides) });
  });
  const shift = reader.scalars.length;
  const known = factor(writer);
  const renamed = known ?? substitute(map.expr, (e) => {
    if (e.kind === "scalar") return scalar(e.index + shift, e.type);
    if (e.kind !== "input") return undefined;
    const o = map.inputs[e.index];
    return input(operands.add(writer.inputs[e.index], { ...o, ...throughWriter(relation, o) }));
  });
  const replaced = substitute(reader.expr, (e) => {
    if (e.kind !== "input" || e.index < reader.own.length) return undefined;
    const n = e.index - reader.own.length;
    if (n === at) return renamed;
    const o = reader.inputs[n];
    return input(
      operands.add(call.inputs[n], { ...o, strides: cutStrides(relation, o.strides) }),
    );
  });
  const types = [...reader.own, ...operands.strided.map((o) => o.dtype)];
  const expr = known === null ? replaced : withoutFactor(replaced, types);
  if (expr.key.length > MAX_KEY) return null;
  if (operands.calls.length + call.outputs.length > MAX_BINDINGS) return null;
  // One dispatch cannot read a buffer and write it.
  if (operands.calls.some((o) => call.outputs.some((out) => out.buffer === o.buffer))) return null;
  const own = known === null ? map.scalars : [];
  const scalars = [...reader.scalars, ...own];
  const kernel = call.kernel.op === "map"
    ? mapWith(call.kernel.params as MapParams, relation, expr, operands.strided, scalars)
    : reduceWith(call.kernel.params as ReduceParams, relation, expr, operands.strided, scalars);
  if (kernel === null) return null;
  const cells = known === null ? [...call.cells, ...writer.cells] : call.cells;
  return { kernel, inputs: operands.calls, outputs: call.outputs, cells };
}

const one = constant(1);

/** The constant 1 where a call makes nothing else: what backward starts from. */
function factor({ kernel, cells }: StepCall): Expr | null {
  const { expr } = kernel.params as MapParams;
  const [cell] = cells;
  return expr === scalar(0, "f32") && !cell.live && cell.values[0] === 1 ? one : null;
}

/** The formula without multiplications of floats by 1, which change no bit; those of integers also convert. */
function withoutFactor(expr: Expr, types: readonly DType[]): Expr {
  return substitute(expr, (e) => {
    if (e.kind !== "op" || e.op !== "mul" || !e.args.includes(one)) return undefined;
    const other = e.args[0] === one ? e.args[1] : e.args[0];
    return dtypeOf(other, types) === "f32" ? withoutFactor(other, types) : undefined;
  });
}

/** Operands of a fused kernel, each once. */
class Operands {
  readonly calls: Operand<unknown>[] = [];
  readonly strided: StridedOperand[] = [];
  readonly #lead: number;

  constructor(lead: number) {
    this.#lead = lead;
  }

  /** The number in the formula of an operand. */
  add(operand: Operand<unknown>, access: StridedOperand): number {
    const same = this.calls.findIndex((o, i) =>
      o.buffer === operand.buffer && o.offset === operand.offset &&
      this.strided[i].offset === access.offset && this.strided[i].dtype === access.dtype &&
      String(this.strided[i].strides) === String(access.strides)
    );
    if (same >= 0) return same + this.#lead;
    this.strided.push(access);
    return this.calls.push(operand) - 1 + this.#lead;
  }
}

function mapWith(
  params: MapParams,
  relation: Relation,
  expr: Expr,
  inputs: readonly StridedOperand[],
  scalars: readonly ScalarType[],
) {
  const output = cutStrides(relation, params.output.strides);
  const merged = mergeAxes(cutShape(relation), [output, ...inputs.map((o) => o.strides)]);
  const [out, ...ins] = merged.operands;
  return mapKernel({
    ...params,
    expr,
    shape: merged.shape,
    inputs: inputs.map((o, n) => ({ ...o, strides: ins[n] })),
    output: { ...params.output, strides: out },
    scalars,
  });
}

/** The reduced axes stay whole, since the order of the sums follows from them. */
function reduceWith(
  params: ReduceParams,
  relation: Relation,
  expr: Expr,
  inputs: readonly StridedOperand[],
  scalars: readonly ScalarType[],
) {
  const rank = params.outer.length;
  if (relation.pieces.slice(rank).some((cut) => cut.length > 1)) return null;
  const outerPieces = relation.pieces.slice(0, rank).flat().length;
  const outer = cutShape(relation).slice(0, outerPieces);
  return reduceKernel({ ...params, expr, outer, inputs, scalars });
}
