/** Elementwise kernels as part of the stores of the kernels that they read from. */

import { dtypeOf, type Expr, input, substitute } from "../../kernels/expr.ts";
import { resultShape, withEpilogue } from "../../kernels/fusable.ts";
import type { MapParams, StridedOperand } from "../../kernels/map.ts";
import { reduceKernel, type ReduceParams } from "../../kernels/reduce.ts";
import { type Operand, sizeOf } from "../../kernels/types.ts";
import { contiguousStrides } from "../tensor/shape.ts";
import { cutOperand, cutStrides, cutWriter, isOneToOne, overWriter, relate } from "./affine.ts";
import { combines, isOpen, opaque, zeroCell } from "./opaque.ts";
import type { StepCall } from "./recording.ts";
import { overlap, type Step } from "./step.ts";

/** Lets a call write where a copy of its result would lie, and all its readers read there. */
export function elideCopy(step: Step, from: number, at: number): number | null {
  const [writer, copy] = [step.calls[from], step.calls[at]];
  if (!isPlainCopy(copy)) return null;
  const [source] = copy.inputs;
  const [target] = copy.outputs;
  const place = writer.outputs.findIndex((o) => o.buffer === source.buffer);
  const result = writer.outputs[place];
  const readers = step.readersOf(source.buffer);
  const whole = result.offset === source.offset && result.size === source.size;
  if (!whole || step.isObservable(source.buffer) || !step.canRise(copy, at, from)) return null;
  // One dispatch cannot read and write one buffer, not even in different places; writing two places is fine.
  const mixed = (operands: StepCall["inputs"]) => operands.some((o) => o.buffer === target.buffer);
  if (mixed(writer.inputs) || writer.outputs.some((o) => overlap(o, target))) return null;
  if (readers.some((index) => index !== at && mixed(step.calls[index].outputs))) return null;
  const last = Math.max(...readers);
  const changed = step.calls.some((call, index) =>
    index > from && index <= last && index !== at && call.outputs.some((o) => overlap(o, target))
  );
  if (changed) return null;
  const moved = (o: Operand<unknown>) =>
    o.buffer === source.buffer
      ? { ...o, buffer: target.buffer, offset: o.offset - source.offset + target.offset }
      : o;
  for (const index of readers) {
    step.calls[index] = { ...step.calls[index], inputs: step.calls[index].inputs.map(moved) };
  }
  step.calls[from] = { ...writer, outputs: writer.outputs.map(moved) };
  step.calls.splice(at, 1);
  return at - 1;
}

/** Whether a call copies one range to another as it is. */
function isPlainCopy({ kernel, inputs: [source], outputs: [target] }: StepCall): boolean {
  if (kernel.op !== "map") return false;
  const { expr, shape, inputs, output, inPlace, also } = kernel.params as MapParams;
  if (inPlace || also || expr !== input(0) || inputs.length !== 1 || shape.length > 1) return false;
  const [from, to] = [inputs[0], output];
  return from.dtype === to.dtype && from.offset === 0 && to.offset === 0 &&
    [...from.strides, ...to.strides].every((stride) => stride === 1) &&
    source.size === sizeOf(shape) && target.size === source.size;
}

/** The kernel of the writer with the reader's formula where it stores; null where one of them cannot. */
export function fuseStores(
  writer: StepCall,
  reader: StepCall,
  others: boolean,
  maxBindings: number,
): StepCall | null {
  if (reader.kernel.op !== "map" || writer.outputs.length !== 1) return null;
  const { inPlace, also } = reader.kernel.params as MapParams;
  if (inPlace || also) return null;
  if (writer.kernel.op === "reduce") return others ? null : fusePost(writer, reader);
  const takes = ["matmul", "conv2d", "conv2d_weight"].includes(writer.kernel.op);
  const fused = takes ? fuseEpilogue(writer, reader, others) : null;
  const fits = fused !== null && fused.inputs.length + fused.outputs.length <= maxBindings;
  return fits ? fused : null;
}

/** A reduction that stores the reader's formula of its result. */
function fusePost(writer: StepCall, reader: StepCall): StepCall | null {
  const params = writer.kernel.params as ReduceParams;
  const { expr, shape, inputs, output, scalars } = reader.kernel.params as MapParams;
  const types = params.inputs.map((i) => i.dtype);
  const folded = dtypeOf(params.expr, types);
  const result = params.post === null ? folded : dtypeOf(params.post, [folded]);
  if (params.splits !== 1 || params.target || inputs.length !== 1 || scalars.length > 0) {
    return null;
  }
  if (result !== params.output) return null;
  // What a formula makes of the sum is not combined with a second one.
  if (params.post !== null && isOpen(params.post) && combines(expr, 0)) return null;
  const [place] = writer.outputs;
  const { outer } = params;
  const relation = relate(
    { shape, strides: inputs[0].strides, offset: reader.inputs[0].offset + inputs[0].offset },
    { shape: outer, strides: contiguousStrides(outer), offset: place.offset },
  );
  const cut = relation && cutWriter(relation, outer);
  if (cut === null) return null;
  const target = cutStrides(relation!, output.strides);
  if (writer.inputs.some((o) => o.buffer === reader.outputs[0].buffer)) return null;
  const inner = params.post ?? input(0);
  const post = substitute(expr, (e) => e.kind === "input" ? inner : undefined);
  const kernel = reduceKernel({
    ...params,
    post: post === input(0) ? null : post,
    outer: cut.flat().map(({ size }) => size),
    inputs: params.inputs.map((o) => ({ ...o, strides: cutOperand(cut, o.strides) })),
    output: output.dtype,
    target: { strides: cut.flat().map(({ piece }) => target[piece]), offset: output.offset },
  });
  return { ...writer, kernel, outputs: reader.outputs };
}

/** A product or convolution that stores the reader's formula of its sums, and the sums too where `others` need them. */
function fuseEpilogue(
  writer: StepCall,
  reader: StepCall,
  others: boolean,
): StepCall | null {
  const params = reader.kernel.params as MapParams;
  const shape = resultShape(writer.kernel);
  const [result] = writer.outputs;
  const strides = contiguousStrides(shape);
  const at = reader.inputs.findIndex((o) => o.buffer === result.buffer);
  const load = params.inputs[at];
  const relation = relate(
    { shape: params.shape, strides: load.strides, offset: reader.inputs[at].offset + load.offset },
    { shape, strides, offset: result.offset },
  );
  if (relation === null || !isOneToOne(relation, shape)) return null;
  const inputs: StridedOperand[] = [];
  const operands: Operand<unknown>[] = [];
  const numbers: number[] = [];
  for (let n = 0; n < params.inputs.length; n++) {
    const o = params.inputs[n];
    if (reader.inputs[n].buffer === result.buffer) {
      const same = String(o.strides) === String(load.strides) && o.offset === load.offset &&
        reader.inputs[n].offset === reader.inputs[at].offset;
      if (!same) return null;
      numbers.push(0);
      continue;
    }
    const over = overWriter(relation, shape, o.strides);
    if (over === null) return null;
    inputs.push({ ...o, strides: over });
    numbers.push(operands.push(reader.inputs[n]));
  }
  const over = overWriter(relation, shape, params.output.strides);
  if (over === null) return null;
  const all = [...writer.inputs, ...operands];
  const outputs = others ? [result, ...reader.outputs] : reader.outputs;
  if (all.some((o) => outputs.some(({ buffer }) => buffer === o.buffer))) return null;
  const expr = substitute(
    params.expr,
    (e) => e.kind === "input" ? input(numbers[e.index]) : undefined,
  );
  // The sum of a single step is a product, and a bias is added to it in the same kernel.
  const wall = combines(expr, 0);
  const value = wall ? throughWall(expr, params.scalars.length) : expr;
  const stored = { expr: value, target: { ...params.output, strides: over } };
  const plain = { expr: input(0), target: { dtype: "f32" as const, strides, offset: 0 } };
  const kernel = withEpilogue(writer.kernel, {
    outputs: others ? [plain, stored] : [stored],
    inputs,
    scalars: wall ? [...params.scalars, "u32"] : params.scalars,
  });
  const cells = wall ? [...reader.cells, zeroCell] : reader.cells;
  return kernel && { kernel, inputs: all, outputs, cells };
}

/** A formula that takes the sum from behind a wall. */
function throughWall(expr: Expr, index: number): Expr {
  const sum = opaque(input(0), index);
  return substitute(expr, (e) => e === input(0) ? sum : undefined);
}
