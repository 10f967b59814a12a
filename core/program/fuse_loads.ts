/** Elementwise kernels as part of the loads of the kernels that read them. */

import { columnSumsKernel, type ColumnSumsParams } from "../../kernels/column_sums.ts";
import {
  constant,
  dtypeOf,
  type Expr,
  input,
  scalar,
  substitute,
  topological,
} from "../../kernels/expr.ts";
import {
  mapKernel,
  type MapOutput,
  type MapParams,
  type StridedOperand,
} from "../../kernels/map.ts";
import { reduceKernel, type ReduceParams } from "../../kernels/reduce.ts";
import {
  type DType,
  type Kernel,
  type Operand,
  type ScalarType,
  sizeOf,
} from "../../kernels/types.ts";
import { mergeAxes } from "../tensor/launch.ts";
import {
  cutShape,
  cutStrides,
  isOneToOne,
  relate,
  type Relation,
  throughWriter,
} from "./affine.ts";
import { combines, isOpen, opaque, zeroCell } from "./opaque.ts";
import type { StepCall } from "./recording.ts";

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
  return kernel.op === "map" && inputs.length <= 2 &&
    costOf((kernel.params as MapParams).expr) <= 2;
}

/** The parts of a kernel that fusion into its loads needs. */
interface Reader {
  readonly exprs: readonly Expr[];
  readonly shape: readonly number[];
  readonly inputs: readonly StridedOperand[];
  readonly scalars: readonly ScalarType[];
  /** Types of what the formula reads before the inputs: of the output, where it is changed in place. */
  readonly own: readonly DType[];
}

function readerOf({ kernel }: StepCall): Reader | null {
  switch (kernel.op) {
    case "map": {
      const { expr, shape, inputs, scalars, inPlace, output, also = [] } = kernel
        .params as MapParams;
      const exprs = [expr, ...also.map((o) => o.expr)];
      return { exprs, shape, inputs, scalars, own: inPlace ? [output.dtype] : [] };
    }
    case "reduce": {
      const { expr, outer, reduced, inputs, scalars } = kernel.params as ReduceParams;
      return { exprs: [expr], shape: [...outer, ...reduced], inputs, scalars, own: [] };
    }
    case "columnSums": {
      const { exprs, outer, reduced, inputs } = kernel.params as ColumnSumsParams;
      return { exprs, shape: [...outer, ...reduced], inputs, scalars: [], own: [] };
    }
    default:
      return null;
  }
}

/**
 * An elementwise reader that also stores what it reads from the writer, which others need; null where it reads it twice, or
 * does not visit every element once.
 */
export function fuseBoth(
  writer: StepCall,
  reader: StepCall,
  maxBindings: number,
): StepCall | null {
  const map = writer.kernel.params as MapParams;
  const { buffer } = writer.outputs[0];
  const loads = reader.inputs.filter((o) => o.buffer === buffer).length;
  const both = writer.kernel.op === "map" && reader.kernel.op === "map" && loads === 1;
  if (!both || !isPlain(map) || (reader.kernel.params as MapParams).inPlace) return null;
  const at = reader.inputs.findIndex((o) => o.buffer === buffer);
  const fused = fuseLoad(writer, map, reader, at, true);
  return fused !== null && fused.inputs.length + fused.outputs.length <= maxBindings ? fused : null;
}

/** Whether a map does nothing but compute one formula that it stores as it is. */
function isPlain({ inPlace, also, expr, inputs, output }: MapParams): boolean {
  return !inPlace && !also && dtypeOf(expr, inputs.map((i) => i.dtype)) === output.dtype;
}

/** The writer's formula in place of each load of its result; null where that cannot be, or would cost more. */
export function fuseLoads(
  writer: StepCall,
  reader: StepCall,
  maxBindings: number,
): StepCall | null {
  if (writer.kernel.op !== "map") return null;
  const map = writer.kernel.params as MapParams;
  if (!isPlain(map)) return null;
  let call: StepCall | null = reader;
  const { buffer } = writer.outputs[0];
  while (call !== null) {
    const at: number = call.inputs.findIndex((o) => o.buffer === buffer);
    if (at < 0) return call;
    call = fuseLoad(writer, map, call, at);
    if (call !== null && call.inputs.length + call.outputs.length > maxBindings) return null;
  }
  return null;
}

function fuseLoad(
  writer: StepCall,
  map: MapParams,
  call: StepCall,
  at: number,
  keep = false,
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
  if (relation === null || (keep && !isOneToOne(relation, map.shape))) return null;
  const repeated = sizeOf(reader.shape) - sizeOf(map.shape);
  const cost = costOf(map.expr);
  if (repeated > 0 && cost > 2 && repeated * cost > MAX_REPEATED) return null;
  const operands = new Operands(reader.own.length);
  reader.inputs.forEach((o, n) => {
    if (n === at) return;
    operands.add(call.inputs[n], { ...o, strides: cutStrides(relation, o.strides) });
  });
  const shift = reader.scalars.length;
  const known = keep ? null : factor(writer);
  const renamed = known ?? substitute(map.expr, (e) => {
    if (e.kind === "scalar") return scalar(e.index + shift, e.type);
    if (e.kind !== "input") return undefined;
    const o = map.inputs[e.index];
    return input(operands.add(writer.inputs[e.index], { ...o, ...throughWriter(relation, o) }));
  });
  const index = at + reader.own.length;
  const mixed = call.kernel.op !== "map" || reader.exprs.some((expr) => combines(expr, index));
  const { dtype } = map.output;
  const inexact = dtype === "f32" || map.expr.kind === "cast";
  const wall = known === null && inexact && isOpen(map.expr) && mixed;
  const value = wall ? opaque(renamed, shift + map.scalars.length, dtype) : renamed;
  const replace = (e: Expr) => {
    if (e.kind !== "input" || e.index < reader.own.length) return undefined;
    const n = e.index - reader.own.length;
    if (n === at) return value;
    const o = reader.inputs[n];
    return input(
      operands.add(call.inputs[n], { ...o, strides: cutStrides(relation, o.strides) }),
    );
  };
  const replaced = reader.exprs.map((expr) => substitute(expr, replace));
  const types = [...reader.own, ...operands.strided.map((o) => o.dtype)];
  const exprs = replaced.map((expr) => known === null ? expr : withoutFactor(expr, types));
  if (exprs.some((expr) => expr.key.length > MAX_KEY)) return null;
  const outputs = keep ? [...call.outputs, writer.outputs[0]] : call.outputs;
  // One dispatch cannot read a buffer and write it.
  if (operands.calls.some((o) => outputs.some((out) => out.buffer === o.buffer))) return null;
  const own = known === null ? map.scalars : [];
  const scalars = [...reader.scalars, ...own, ...wall ? ["u32" as const] : []];
  const stored = { ...map.output, ...throughWriter(relation, map.output) };
  const also = keep ? [{ expr: renamed, output: stored }] : [];
  const kernel = rebuilt(call.kernel, relation, exprs, operands.strided, scalars, also);
  if (kernel === null) return null;
  const parts = known === null ? [...call.cells, ...writer.cells] : call.cells;
  const cells = wall ? [...parts, zeroCell] : parts;
  return { kernel, inputs: operands.calls, outputs, cells };
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

/** A kernel with other formulas over other operands, its axes cut; null where they cannot be cut so. */
function rebuilt(
  { op, params }: Kernel,
  relation: Relation,
  exprs: readonly Expr[],
  inputs: readonly StridedOperand[],
  scalars: readonly ScalarType[],
  also: readonly MapOutput[],
): Kernel | null {
  if (op === "map") return mapWith(params as MapParams, relation, exprs, inputs, scalars, also);
  // The folded axes stay whole, since the order of the sums follows from them.
  const { outer } = params as ReduceParams | ColumnSumsParams;
  if (relation.pieces.slice(outer.length).some((cut) => cut.length > 1)) return null;
  const pieces = relation.pieces.slice(0, outer.length).flat();
  const cut = { outer: pieces.map(({ size }) => size), inputs };
  if (op === "reduce") {
    const { target, ...rest } = params as ReduceParams;
    return target ? null : reduceKernel({ ...rest, ...cut, expr: exprs[0], scalars });
  }
  const same = pieces.length === outer.length && scalars.length === 0;
  return same
    ? columnSumsKernel({ ...params as ColumnSumsParams, ...cut, exprs: [exprs[0], exprs[1]] })
    : null;
}

/** A map over cut axes, which also stores what `more` says. */
function mapWith(
  params: MapParams,
  relation: Relation,
  exprs: readonly Expr[],
  inputs: readonly StridedOperand[],
  scalars: readonly ScalarType[],
  more: readonly MapOutput[],
): Kernel {
  const cut = (o: StridedOperand) => ({ ...o, strides: cutStrides(relation, o.strides) });
  const own = [params.output, ...(params.also ?? []).map((o) => o.output)].map(cut);
  const targets = [...own, ...more.map((o) => o.output)];
  const formulas = [...exprs, ...more.map((o) => o.expr)];
  const all = [...targets, ...inputs];
  const merged = mergeAxes(cutShape(relation), all.map((o) => o.strides));
  const placed = all.map((o, n) => ({ ...o, strides: merged.operands[n] }));
  const [first, ...rest] = formulas.map((expr, n) => ({ expr, output: placed[n] }));
  return mapKernel({
    ...params,
    ...first,
    also: rest.length > 0 ? rest : undefined,
    shape: merged.shape,
    inputs: placed.slice(targets.length),
    scalars,
  });
}
