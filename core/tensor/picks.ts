/**
 * The two ops below everything that works by index: reading at places along an axis, and summing
 * onto them. Each is the gradient of the other, to any order.
 */

import { input } from "../../kernels/expr.ts";
import { gatherKernel, placeKernel } from "../../kernels/gather.ts";
import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import { scatterAddKernel, type Search, segmentStartsKernel } from "../../kernels/scatter_add.ts";
import { isFloat, type Shape, sizeOf } from "../../kernels/types.ts";
import { lineStrides, stridedOperand } from "./axis_lines.ts";
import { fullOn } from "./fill.ts";
import { denseOperand, launchMap, noScalars, operandOf } from "./launch.ts";
import { sortLines } from "./sort_lines.ts";
import { noGrad, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/**
 * Comparisons with indices up to which it is cheaper to look through the whole index than to sort
 * it.
 */
const FEW_COMPARISONS = 2 ** 19;
/** Elements of the index that one thread looks through at most. */
const LONGEST_SCAN = 4096;
/**
 * Results below which their contributions are cut into slices, and contributions that need no cut.
 */
const FEW_RESULTS = 4096;
const SHORT = 512;

/** Which places along an axis are meant. */
export interface Picks {
  readonly axis: number;
  /** i32 or u32. */
  readonly index: Tensor;
  /** True where the index is one line that serves all lines; else it has the axes of the tensor. */
  readonly shared: boolean;
}

/** Steps of the index over the axes of a tensor of so many axes. */
function indexStrides({ axis, index, shared }: Picks, rank: number): readonly number[] {
  if (!shared) return index.strides;
  return Array.from({ length: rank }, (_, d) => d === axis ? index.strides[0] : 0);
}

/**
 * Reads at places along an axis; elsewhere than in the tensor there is NaN (0 for integers), or 0.
 * Differentiable.
 */
export function readAt(op: string, t: Tensor, picks: Picks, outside: "nan" | "zero"): Tensor {
  const { axis, index, shared } = picks;
  const { device, dtype } = t;
  const shape = shared ? t.shape.map((n, d) => d === axis ? index.size : n) : index.shape;
  const other = outside === "nan" && isFloat(dtype) ? NaN : 0;
  const out = t.size === 0 ? fullOn(device, shape, dtype, other) : empty(device, shape, dtype, op);
  if (t.size > 0 && out.size > 0) {
    const kernel = gatherKernel({
      shape,
      dim: axis,
      size: t.shape[axis],
      source: stridedOperand(t, t.strides),
      index: stridedOperand(index, indexStrides(picks, t.ndim)),
      outside,
    });
    const inputs = [operandOf(t), operandOf(index)];
    device.record({ kernel, inputs, outputs: [denseOperand(out)], scalars: [] });
  }
  return record(op, out, [t], (g) => [sumAt(`${op} backward`, null, t.shape, picks, g)], [index]);
}

/**
 * Sums onto places along an axis, in a fixed order; what belongs elsewhere is dropped.
 * Differentiable.
 *
 * @param base what is added to; zeros where it is null
 * @param shape of the result
 * @param source no bool
 */
export function sumAt(
  op: string,
  base: Tensor | null,
  shape: Shape,
  picks: Picks,
  source: Tensor,
): Tensor {
  if (source.dtype === "f16") {
    return sumAt(op, base && base.to("f32"), shape, picks, source.to("f32")).to("f16");
  }
  const out = noGrad(() => launchSum(op, base, shape, picks, source));
  const inputs = base === null ? [source] : [base, source];
  return record(op, out, inputs, (g) => {
    const part = source.requiresGrad ? readAt(`${op} backward`, g, picks, "zero") : null;
    return base === null ? [part] : [g, part];
  }, [picks.index]);
}

function launchSum(
  op: string,
  base: Tensor | null,
  shape: Shape,
  picks: Picks,
  source: Tensor,
): Tensor {
  const { device, dtype } = source;
  if (source.size === 0 || sizeOf(shape) === 0) {
    return base === null
      ? fullOn(device, shape, dtype, 0)
      : launchMap(op, input(0), [base], dtype, noScalars, device, { rowMajor: true });
  }
  const { search, inputs } = searchFor(op, shape, picks, source);
  const slices = search.kind === "scan" ? 1 : Math.ceil(source.shape[picks.axis] / search.chunk);
  const start = slices > 1 ? null : base;
  const out = empty(device, slices > 1 ? [slices, ...shape] : shape, dtype, op);
  device.record({
    kernel: scatterAddKernel({
      shape,
      dim: picks.axis,
      sourceShape: source.shape,
      search,
      source: stridedOperand(source, source.strides),
      base: start && stridedOperand(start, start.strides),
    }),
    inputs: [source, ...inputs, ...(start ? [start] : [])].map(operandOf),
    outputs: [denseOperand(out)],
    scalars: [],
  });
  if (search.kind === "segments") inputs.forEach((t) => t.dispose());
  return slices === 1 ? out : total(out, base);
}

/** Sum of the slices and of what they are added to. */
function total(slices: Tensor, base: Tensor | null): Tensor {
  const sum = slices.sum(0);
  slices.dispose();
  if (base === null) return sum;
  const out = base.add(sum);
  sum.dispose();
  return out;
}

/**
 * Sorted positions for one thread: few where there are few threads, and never more than a thread
 * may go through.
 */
function chunkFor(length: number, results: number, software: boolean): number {
  const slices = results < FEW_RESULTS
    ? Math.min(Math.ceil(length / SHORT), Math.ceil(FEW_RESULTS / results))
    : 1;
  const least = software ? Math.ceil(length / LOOP_LIMIT) : 1;
  return Math.ceil(length / Math.max(1, slices, least));
}

/** How contributions are found: by looking through the index, or by sorting it first. */
function searchFor(
  op: string,
  shape: Shape,
  picks: Picks,
  source: Tensor,
): { search: Search; inputs: readonly Tensor[] } {
  const { axis, index, shared } = picks;
  const rank = shape.length;
  const length = source.shape[axis];
  if (length <= LONGEST_SCAN && sizeOf(shape) * length <= FEW_COMPARISONS) {
    const operand = stridedOperand(index, indexStrides(picks, rank));
    return { search: { kind: "scan", index: operand }, inputs: [index] };
  }
  const line = shared ? 0 : axis;
  const places = index.to("i32");
  const { values, indices } = sortLines(op, places, line, index.shape[line], false);
  if (places !== index) places.dispose();
  const startShape = index.shape.map((n, d) => d === line ? shape[axis] + 1 : n);
  const starts = empty(index.device, startShape, "i32", op, lineStrides(startShape, line));
  index.device.record({
    kernel: segmentStartsKernel({ lines: index.size / length, length, size: shape[axis] }),
    inputs: [denseOperand(values)],
    outputs: [denseOperand(starts)],
    scalars: [],
  });
  values.dispose();
  const operand = (t: Tensor) => stridedOperand(t, indexStrides({ axis, index: t, shared }, rank));
  return {
    search: {
      kind: "segments",
      starts: operand(starts),
      order: operand(indices),
      chunk: chunkFor(length, sizeOf(shape), index.device.traits.software),
    },
    inputs: [starts, indices],
  };
}

/**
 * Elements laid onto places along an axis, zeros elsewhere. No place may be named twice.
 * Differentiable.
 *
 * @param shape of the result
 * @param index i32, of the shape of the source
 */
export function placeOnto(source: Tensor, shape: Shape, axis: number, index: Tensor): Tensor {
  const { device, dtype } = source;
  const full = source.shape[axis] === shape[axis];
  const out = full ? empty(device, shape, dtype, "place") : fullOn(device, shape, dtype, 0);
  if (source.size > 0) {
    const kernel = placeKernel({
      shape: source.shape,
      dim: axis,
      size: shape[axis],
      source: stridedOperand(source, source.strides),
      index: stridedOperand(index, index.strides),
      output: stridedOperand(out, out.strides),
    });
    const inputs = [operandOf(source), operandOf(index)];
    device.record({ kernel, inputs, outputs: [denseOperand(out)], scalars: [] });
  }
  const picks: Picks = { axis, index, shared: false };
  return record("place", out, [source], (g) => [readAt("gather", g, picks, "zero")], [index]);
}
