/** From tensors to kernel calls: broadcasting, memory order, merging of axes, and a cache of the outcome. */

import type { Device } from "../backend/device.ts";
import { type Expr, input } from "../../kernels/expr.ts";
import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import { mapKernel, type StridedOperand } from "../../kernels/map.ts";
import { reduceKernel, type ReduceOp } from "../../kernels/reduce.ts";
import {
  type DType,
  type Kernel,
  type Layout,
  type Operand,
  type ScalarType,
  type Shape,
  sizeOf,
} from "../../kernels/types.ts";
import {
  broadcastShapes,
  broadcastStrides,
  contiguousStrides,
  isDense,
  memoryOrder,
} from "./shape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Run-time numbers of a formula with their types. */
export interface Scalars {
  readonly values: readonly number[];
  readonly types: readonly ScalarType[];
}

/** No run-time numbers. */
export const noScalars: Scalars = { values: [], types: [] };

/** Refuses operands that live on different devices. @throws {TypeError} naming the kinds of both */
export function checkDevices(op: string, tensors: readonly Tensor[]): void {
  for (const t of tensors) {
    if (t.device !== tensors[0].device) {
      throw new TypeError(
        `Cannot ${op} tensors of different devices: found ${
          tensors[0].device.kind
        } and ${t.device.kind}`,
      );
    }
  }
}

/** Buffer ranges start at multiples of this many elements, since devices bind at 256 bytes. */
function alignment(dtype: DType): number {
  return dtype === "f16" ? 128 : 64;
}

/** The range that a strided view touches: where it may be bound, and where its first element is from there. */
function rangeOf(t: Tensor): { base: number; residual: number; extent: number } {
  let lowest = t.offset;
  let highest = t.offset;
  for (let d = 0; d < t.shape.length; d++) {
    const reach = (t.shape[d] - 1) * t.strides[d];
    if (reach < 0) lowest += reach;
    else highest += reach;
  }
  const unit = alignment(t.dtype);
  const base = Math.floor(lowest / unit) * unit;
  return { base, residual: t.offset - base, extent: highest - base + 1 };
}

/** Where the first element lies from the start of the range that is bound for the tensor, in elements. */
export function residualOf(t: Tensor): number {
  return rangeOf(t).residual;
}

/** A tensor as the operand of a kernel that reads it through its strides. */
export function operandOf(t: Tensor): Operand<unknown> {
  const { base, extent } = rangeOf(t);
  return { buffer: t.storage.buffer, offset: base, size: extent };
}

/** A dense tensor as the operand of a kernel that reads it as one range from its first element. */
export function denseOperand(t: Tensor): Operand<unknown> {
  return { buffer: t.storage.buffer, offset: t.offset, size: Math.max(1, t.size) };
}

/** True where the first element can be bound as the start of a range. */
export function isAligned(t: Tensor): boolean {
  return t.offset % alignment(t.dtype) === 0;
}

// Results of one plan share their arrays of sizes and strides, so texts of arrays are found again by identity.
const arrayTexts = new WeakMap<readonly number[], string>();

function textOf(values: readonly number[]): string {
  let text = arrayTexts.get(values);
  if (text === undefined) {
    text = values.join();
    arrayTexts.set(values, text);
  }
  return text;
}

function layoutKey(t: Tensor): string {
  return `${t.dtype}:${textOf(t.shape)}:${textOf(t.strides)}:${rangeOf(t).residual}`;
}

/** Axes that all operands step through alike are merged into one; axes of size 1 vanish. */
export function mergeAxes(
  shape: Shape,
  operands: readonly (readonly number[])[],
): { shape: number[]; operands: number[][] } {
  const outShape: number[] = [];
  const out: number[][] = operands.map(() => []);
  for (let d = 0; d < shape.length; d++) {
    if (shape[d] === 1) continue;
    const last = outShape.length - 1;
    const joins = last >= 0 &&
      operands.every((strides, n) => out[n][last] === strides[d] * shape[d]);
    if (joins) {
      outShape[last] *= shape[d];
      operands.forEach((strides, n) => out[n][last] = strides[d]);
    } else {
      outShape.push(shape[d]);
      operands.forEach((strides, n) => out[n].push(strides[d]));
    }
  }
  return { shape: outShape, operands: out };
}

interface MapPlan {
  readonly kernel: Kernel;
  readonly shape: number[];
  readonly strides: number[];
}

/** What was worked out for a formula, by the layouts of its operands. */
class PlanCache<P> {
  readonly #plans = new Map<Expr, Map<string, P>>();

  /** The plan for these operands, made once. */
  get(expr: Expr, options: string, operands: readonly Tensor[], make: () => P): P {
    let key = options;
    for (const t of operands) key += `|${layoutKey(t)}`;
    let ofExpr = this.#plans.get(expr);
    if (ofExpr === undefined) this.#plans.set(expr, ofExpr = new Map());
    let plan = ofExpr.get(key);
    if (plan === undefined) ofExpr.set(key, plan = make());
    return plan;
  }
}

const mapPlans = new PlanCache<MapPlan>();

/**
 * Launches a formula over tensors into a new tensor, which takes the memory order of its first full-size input.
 *
 * @param options `shape` where there is no input to take it from; `rowMajor` asks for that order
 */
export function launchMap(
  op: string,
  expr: Expr,
  inputs: readonly Tensor[],
  dtype: DType,
  scalars: Scalars,
  device: Device,
  options: { readonly shape?: Shape; readonly rowMajor?: boolean } = {},
): Tensor {
  const wanted = `${dtype}|${scalars.types}|${options.shape}|${options.rowMajor}`;
  const make = () => planMap(op, expr, inputs, dtype, scalars, options);
  const plan = mapPlans.get(expr, wanted, inputs, make);
  const out = empty(device, plan.shape, dtype, op, plan.strides);
  if (out.size > 0) {
    device.record({
      kernel: plan.kernel,
      inputs: inputs.map(operandOf),
      outputs: [denseOperand(out)],
      scalars: scalars.values,
    });
  }
  return out;
}

function planMap(
  op: string,
  expr: Expr,
  inputs: readonly Tensor[],
  dtype: DType,
  scalars: Scalars,
  options: { readonly shape?: Shape; readonly rowMajor?: boolean },
): MapPlan {
  const shape = [...options.shape ?? broadcastShapes(op, inputs.map((t) => t.shape))];
  const strides = options.rowMajor ? contiguousStrides(shape) : outputStrides(shape, inputs);
  const kernel = mapKernelOf(expr, inputs, { shape, strides, dtype, offset: 0 }, scalars, false);
  return { kernel, shape, strides };
}

/** Dense strides in the memory order of the first input that has the full shape and no gaps. */
function outputStrides(shape: Shape, inputs: readonly Tensor[]): number[] {
  const lead = inputs.find((t) =>
    t.shape.length === shape.length && t.shape.every((n, d) => n === shape[d]) &&
    isDense(t.shape, t.strides)
  );
  if (lead === undefined) return contiguousStrides(shape);
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (const d of memoryOrder(lead.shape, lead.strides).reverse()) {
    strides[d] = step;
    step *= Math.max(shape[d], 1);
  }
  return strides;
}

/** Where a formula writes: a view of a range that is bound from its first element less `offset`. */
interface Target extends Layout {
  readonly dtype: DType;
}

function mapKernelOf(
  expr: Expr,
  inputs: readonly Tensor[],
  { shape, strides, dtype, offset }: Target,
  scalars: Scalars,
  inPlace: boolean,
): Kernel {
  const order = memoryOrder(shape, strides);
  const pick = (values: readonly number[]) => order.map((d) => values[d]);
  const all = [strides, ...inputs.map((t) => broadcastStrides(t.shape, t.strides, shape))];
  const merged = mergeAxes(pick(shape), all.map(pick));
  const [out, ...ins] = merged.operands;
  return mapKernel({
    expr,
    shape: merged.shape,
    inputs: ins.map((s, n) => operand(inputs[n], s)),
    output: { dtype, strides: out, offset },
    scalars: scalars.types,
    inPlace,
  });
}

function operand(t: Tensor, strides: readonly number[]): StridedOperand {
  return { dtype: t.dtype, strides, offset: rangeOf(t).residual };
}

const intoKernels = new PlanCache<Kernel>();

/**
 * Launches a formula over tensors into the elements of an existing one. The inputs must lie in other buffers.
 *
 * @param inPlace whether input 0 of the formula is what the elements hold, and `inputs` begin with input 1
 */
export function launchMapInto(
  expr: Expr,
  inputs: readonly Tensor[],
  out: Tensor,
  scalars: Scalars,
  inPlace = false,
): void {
  if (out.size === 0) return;
  const kernel = intoKernels.get(expr, `${scalars.types}|${inPlace}`, [out, ...inputs], () => {
    const { shape, strides, dtype } = out;
    const target = { shape, strides, dtype, offset: residualOf(out) };
    return mapKernelOf(expr, inputs, target, scalars, inPlace);
  });
  out.storage.version++;
  out.device.record({
    kernel,
    inputs: inputs.map(operandOf),
    outputs: [operandOf(out)],
    scalars: scalars.values,
  });
}

interface ReducePlan {
  readonly kernel: Kernel;
  readonly outer: number[];
  readonly order: number[];
}

const reducePlans = new PlanCache<ReducePlan>();

/** What a reduction folds, and over which axes. */
export interface ReduceSpec {
  readonly fold: ReduceOp;
  readonly expr: Expr;
  readonly post: Expr | null;
  /** Type of the result. */
  readonly dtype: DType;
  /** Type of the folded values, where a first stage stores them. */
  readonly partial: DType;
  readonly shape: Shape;
  readonly axes: readonly number[];
}

/** Length from which few outputs are cut into slices, outputs that count as few, and values that a thread folds at most. */
const LONG = 512;
const FEW = 4096;
const MOST = LOOP_LIMIT / 2;

/** Launches a reduction; the result has the axes that remain. The inputs must not be empty. */
export function launchReduce(
  op: string,
  spec: ReduceSpec,
  inputs: readonly Tensor[],
  scalars: Scalars,
): Tensor {
  const { shape, axes } = spec;
  const kept = shape.map((_, d) => d).filter((d) => !axes.includes(d));
  const outputs = kept.reduce((n, d) => n * shape[d], 1);
  const length = axes.reduce((n, d) => n * shape[d], 1);
  const longest = Math.max(1, ...axes.map((d) => shape[d]));
  const wanted = length > LONG && outputs < FEW
    ? Math.min(Math.ceil(length / LONG * 4), Math.ceil(FEW / outputs))
    : 1;
  const splits = Math.min(longest, Math.max(wanted, Math.ceil(length / MOST)));
  if (splits === 1) return reduceOnce(op, spec, inputs, scalars, 1);
  const slices = reduceOnce(
    op,
    { ...spec, post: null, dtype: spec.partial },
    inputs,
    scalars,
    splits,
  );
  const rest: ReduceSpec = {
    ...spec,
    expr: input(0),
    shape: slices.shape,
    axes: [0],
  };
  const out = launchReduce(op, rest, [slices], noScalars);
  slices.dispose();
  return out;
}

function reduceOnce(
  op: string,
  spec: ReduceSpec,
  inputs: readonly Tensor[],
  scalars: Scalars,
  splits: number,
): Tensor {
  // The shape follows from the layouts of the inputs.
  const { fold, expr, post, dtype, axes } = spec;
  const wanted = `${fold}|${post?.key}|${dtype}|${axes}|${scalars.types}|${splits}`;
  const make = () => planReduce(spec, inputs, scalars, splits);
  const plan = reducePlans.get(expr, wanted, inputs, make);
  const { outer, order } = plan;
  const dense = contiguousStrides(order.map((d) => outer[d]));
  const strides = new Array<number>(outer.length);
  order.forEach((d, i) => strides[d] = dense[i]);
  const full = splits > 1 ? [splits, ...outer] : outer;
  const fullStrides = splits > 1 ? [sizeOf(outer), ...strides] : strides;
  const { device } = inputs[0];
  const out = empty(device, full, spec.dtype, op, fullStrides);
  device.record({
    kernel: plan.kernel,
    inputs: inputs.map(operandOf),
    outputs: [denseOperand(out)],
    scalars: scalars.values,
  });
  return out;
}

function planReduce(
  spec: ReduceSpec,
  inputs: readonly Tensor[],
  scalars: Scalars,
  splits: number,
): ReducePlan {
  const { shape, axes } = spec;
  const all = inputs.map((t) => broadcastStrides(t.shape, t.strides, shape));
  const order = memoryOrder(shape, all[0]);
  const kept = shape.map((_, d) => d).filter((d) => !axes.includes(d));
  const outerOrder = order.filter((d) => !axes.includes(d));
  const innerOrder = order.filter((d) => axes.includes(d));
  const pick = (dims: readonly number[], values: readonly number[]) => dims.map((d) => values[d]);
  const outer = mergeAxes(pick(outerOrder, shape), all.map((s) => pick(outerOrder, s)));
  const reduced = mergeAxes(pick(innerOrder, shape), all.map((s) => pick(innerOrder, s)));
  if (reduced.shape.length === 0) {
    reduced.shape.push(1);
    reduced.operands.forEach((s) => s.push(0));
  }
  const kernel = reduceKernel({
    fold: spec.fold,
    expr: spec.expr,
    post: spec.post,
    outer: outer.shape,
    reduced: reduced.shape,
    inputs: inputs.map((t, n) => operand(t, [...outer.operands[n], ...reduced.operands[n]])),
    scalars: scalars.types,
    splits: Math.min(splits, Math.max(...reduced.shape)),
    output: spec.dtype,
  });
  return {
    kernel,
    outer: kept.map((d) => shape[d]),
    order: outerOrder.map((d) => kept.indexOf(d)),
  };
}
