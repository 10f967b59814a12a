/** Views: other shapes and orders of the same memory. A copy is made only where no strides can describe the result. */

import { cast, input } from "../../kernels/expr.ts";
import { type DType, isFloat, type Shape, sizeOf } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { fullOn } from "./fill.ts";
import { checkDevices, launchMap, launchMapInto, noScalars } from "./launch.ts";
import { map, sumOf } from "./map.ts";
import { axesOf, axisOf, broadcastStrides, resolveShape, viewStrides } from "./shape.ts";
import { record } from "./tape.ts";
import type { Tensor, ViewSpec } from "./tensor.ts";

/** A range along an axis, as in `start:stop:step`; negative positions count from the end. */
export interface SliceRange {
  /** First position. @default {0} */
  readonly start?: number;
  /** Position behind the last. @default {the size} */
  readonly stop?: number;
  /** At least 1. @default {1} */
  readonly step?: number;
}

function view(t: Tensor, spec: Partial<ViewSpec>): Tensor {
  return t.alias({
    shape: spec.shape ?? t.shape,
    strides: spec.strides ?? t.strides,
    offset: spec.offset ?? t.offset,
  });
}

/** The same elements in row-major order; the tensor itself where they already are. */
export function contiguous(t: Tensor): Tensor {
  if (t.isContiguous) return t;
  const out = launchMap("contiguous", input(0), [t], t.dtype, noScalars, t.device, {
    rowMajor: true,
  });
  return record("contiguous", out, [t], (g) => [g]);
}

/** The values as another dtype; floats are cut towards zero when they become integers. */
export function to(t: Tensor, dtype: DType): Tensor {
  if (t.dtype === dtype) return t;
  if (dtype === "f16" && !t.device.traits.f16) {
    throw new DTypeError(`Cannot convert to f16: the device "${t.device.name}" has no f16 storage`);
  }
  const float = isFloat(t.dtype) && isFloat(dtype);
  return map("to", float ? input(0) : cast(input(0), dtype), [t], { dtype });
}

/** The same elements under another shape, of which one size may be -1. */
export function reshape(t: Tensor, shape: Shape): Tensor {
  const full = resolveShape(t.shape, shape);
  const strides = viewStrides(t.shape, t.strides, full);
  if (strides === null) return reshape(contiguous(t), full);
  return record("reshape", view(t, { shape: full, strides }), [t], (g) => [reshape(g, t.shape)]);
}

/** Axes `startDim` to `endDim` merged into one. */
export function flatten(t: Tensor, startDim = 0, endDim = -1): Tensor {
  if (t.ndim === 0) return reshape(t, [1]);
  const from = axisOf("flatten", startDim, t.ndim);
  const until = axisOf("flatten", endDim, t.ndim);
  if (until < from) {
    throw new ShapeError(
      `Cannot flatten dims ${startDim} to ${endDim}: the first lies behind the last`,
    );
  }
  const merged = sizeOf(t.shape.slice(from, until + 1));
  return reshape(t, [...t.shape.slice(0, from), merged, ...t.shape.slice(until + 1)]);
}

/** The axes in another order. */
export function permute(t: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map((d) => axisOf("permute", d, t.ndim));
  if (order.length !== t.ndim || new Set(order).size !== t.ndim) {
    throw new ShapeError(
      `Cannot permute ${showShape(t.shape)} by [${dims}]: expected each of its ${t.ndim} axes once`,
    );
  }
  const shape = order.map((d) => t.shape[d]);
  const strides = order.map((d) => t.strides[d]);
  const inverse = order.map((_, d) => order.indexOf(d));
  return record("permute", view(t, { shape, strides }), [t], (g) => [permute(g, inverse)]);
}

/** Two axes exchanged. */
export function transpose(t: Tensor, dim0: number, dim1: number): Tensor {
  const order = t.shape.map((_, d) => d);
  const a = axisOf("transpose", dim0, t.ndim);
  const b = axisOf("transpose", dim1, t.ndim);
  [order[a], order[b]] = [b, a];
  return permute(t, order);
}

/** Axes of size 1 repeated to a larger shape, without a copy; -1 keeps a size. */
export function expand(t: Tensor, shape: Shape): Tensor {
  const lead = shape.length - t.ndim;
  const full = shape.map((n, d) => n === -1 && d >= lead ? t.shape[d - lead] : n);
  const fits = lead >= 0 && t.shape.every((n, d) => n === full[d + lead] || n === 1);
  if (!fits || full.some((n) => !Number.isInteger(n) || n < 0)) {
    throw new ShapeError(
      `Cannot expand ${showShape(t.shape)} to ${showShape(shape)}: only axes of size 1 can grow`,
    );
  }
  const strides = broadcastStrides(t.shape, t.strides, full);
  return record("expand", view(t, { shape: full, strides }), [t], (g) => {
    const axes = full.map((_, d) => d).filter((d) =>
      d < lead || (t.shape[d - lead] === 1 && full[d] !== 1)
    );
    return [
      axes.length === 0 ? g : reshape(sumOf("expand backward", input(0), [g], axes), t.shape),
    ];
  });
}

/** Without the axes of size 1, or without those named, which must have size 1. */
export function squeeze(t: Tensor, dim?: number | readonly number[]): Tensor {
  const named = dim !== undefined;
  const axes = axesOf("squeeze", dim, t.ndim).filter((d) => t.shape[d] === 1 || named);
  const wrong = axes.find((d) => t.shape[d] !== 1);
  if (wrong !== undefined) {
    throw new ShapeError(
      `Cannot squeeze dim ${wrong} of ${showShape(t.shape)}: expected size 1, found ${
        t.shape[wrong]
      }`,
    );
  }
  return reshape(t, t.shape.filter((_, d) => !axes.includes(d)));
}

/** With a new axis of size 1 at this place. */
export function unsqueeze(t: Tensor, dim: number): Tensor {
  const at = axisOf("unsqueeze", dim, t.ndim + 1);
  return reshape(t, [...t.shape.slice(0, at), 1, ...t.shape.slice(at)]);
}

interface Window {
  readonly shape: number[];
  readonly starts: number[];
  readonly steps: number[];
}

function windowOf(t: Tensor, ranges: readonly (SliceRange | number | null)[]): Window {
  if (ranges.length > t.ndim) {
    throw new ShapeError(
      `Cannot slice ${showShape(t.shape)} with ${ranges.length} ranges: it has ${t.ndim} axes`,
    );
  }
  const starts: number[] = [];
  const steps: number[] = [];
  const shape = t.shape.map((n, d) => {
    const range = ranges[d] ?? {};
    const { start = 0, stop = n, step = 1 } = typeof range === "number"
      ? { start: indexIn(range, n), stop: indexIn(range, n) + 1 }
      : range;
    if (
      !Number.isInteger(step) || step < 1 || !Number.isInteger(start) || !Number.isInteger(stop)
    ) {
      throw new RangeError(
        `Cannot slice axis ${d} as ${start}:${stop}:${step}: expected integers with a step of at least 1`,
      );
    }
    const clip = (i: number) => Math.max(0, Math.min(n, i < 0 ? i + n : i));
    starts.push(clip(start));
    steps.push(step);
    return Math.max(0, Math.ceil((clip(stop) - clip(start)) / step));
  });
  return { shape, starts, steps };
}

function indexIn(index: number, size: number): number {
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new RangeError(`Cannot take index ${index} of an axis of size ${size}`);
  }
  return index < 0 ? index + size : index;
}

function windowView(t: Tensor, { shape, starts, steps }: Window): Tensor {
  const strides = t.strides.map((s, d) => s * steps[d]);
  const offset = sizeOf(shape) === 0
    ? t.offset
    : starts.reduce((at, start, d) => at + start * t.strides[d], t.offset);
  return view(t, { shape, strides, offset });
}

/** A range along each axis; a number takes one index and drops its axis. */
export function slice(t: Tensor, ranges: readonly (SliceRange | number | null)[]): Tensor {
  const window = windowOf(t, ranges);
  const out = record("slice", windowView(t, window), [t], (g) => [embed(g, t.shape, window)]);
  const dropped = ranges.flatMap((r, d) => typeof r === "number" ? [d] : []);
  return dropped.length === 0 ? out : squeeze(out, dropped);
}

/** Zeros of a shape with the tensor laid into a window: the transpose of a slice. */
function embed(t: Tensor, shape: Shape, window: Window, value = 0): Tensor {
  const out = fullOn(t.device, shape, t.dtype, value);
  const target = windowView(out, window);
  launchMapInto(input(0), [t], target, noScalars);
  target.dispose();
  return record("pad", out, [t], (g) => [
    record("slice", windowView(g, window), [g], (gg) => [embed(gg, shape, window)]),
  ]);
}

/** `length` elements along an axis from `start` on. */
export function narrow(t: Tensor, dim: number, start: number, length: number): Tensor {
  const axis = axisOf("narrow", dim, t.ndim);
  const from = start < 0 ? start + t.shape[axis] : start;
  if (!(from >= 0 && length >= 0 && from + length <= t.shape[axis])) {
    throw new ShapeError(
      `Cannot narrow axis ${axis} of ${showShape(t.shape)} to ${length} elements from ${start}`,
    );
  }
  return slice(t, t.shape.map((_, d) => d === axis ? { start: from, stop: from + length } : null));
}

/** One index along an axis, which is dropped. */
export function select(t: Tensor, dim: number, index: number): Tensor {
  const axis = axisOf("select", dim, t.ndim);
  return slice(t, t.shape.map((_, d) => d === axis ? index : null));
}

/** The elements of the named axes in reverse. */
export function flip(t: Tensor, dim: number | readonly number[]): Tensor {
  const axes = axesOf("flip", dim, t.ndim);
  const strides = t.strides.map((s, d) => axes.includes(d) ? -s : s);
  const offset = t.size === 0
    ? t.offset
    : axes.reduce((at, d) => at + (t.shape[d] - 1) * t.strides[d], t.offset);
  return record("flip", view(t, { strides, offset }), [t], (g) => [flip(g, axes)]);
}

/**
 * Surrounded by a constant.
 *
 * @param padding [before, after] for each axis, outermost first
 */
export function pad(t: Tensor, padding: readonly (readonly [number, number])[], value = 0): Tensor {
  const valid = padding.length === t.ndim &&
    padding.every(([a, b]) => Number.isInteger(a) && Number.isInteger(b) && a >= 0 && b >= 0);
  if (!valid) {
    throw new ShapeError(
      `Cannot pad ${showShape(t.shape)} by ${
        JSON.stringify(padding)
      }: expected [before, after] of at ` +
        `least 0 for each of its ${t.ndim} axes`,
    );
  }
  const shape = t.shape.map((n, d) => n + padding[d][0] + padding[d][1]);
  return embed(t, shape, {
    shape: [...t.shape],
    starts: padding.map(([a]) => a),
    steps: t.shape.map(() => 1),
  }, value);
}

/** Tensors of equal shape but for one axis, behind each other along it. */
export function concat(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ShapeError("Cannot concat no tensors: expected at least one");
  const [first] = tensors;
  const axis = axisOf("concat", dim, first.ndim);
  checkDevices("concat", tensors);
  let total = 0;
  for (const t of tensors) {
    const fits = t.ndim === first.ndim &&
      t.shape.every((n, d) => d === axis || n === first.shape[d]);
    if (!fits || t.dtype !== first.dtype) {
      throw new ShapeError(
        `Cannot concat ${
          tensors.map((x) => `${x.dtype} ${showShape(x.shape)}`).join(" and ")
        } along ` +
          `dim ${dim}: shapes may differ there only, and dtypes must be equal`,
      );
    }
    total += t.shape[axis];
  }
  const shape = first.shape.map((n, d) => d === axis ? total : n);
  const out = fullOn(first.device, shape, first.dtype, 0);
  const starts: number[] = [];
  let at = 0;
  for (const t of tensors) {
    starts.push(at);
    const window: Window = {
      shape: [...t.shape],
      starts: shape.map((_, d) => d === axis ? at : 0),
      steps: shape.map(() => 1),
    };
    const target = windowView(out, window);
    launchMapInto(input(0), [t], target, noScalars);
    target.dispose();
    at += t.shape[axis];
  }
  return record(
    "concat",
    out,
    tensors,
    (g) => tensors.map((t, i) => narrow(g, axis, starts[i], t.shape[axis])),
  );
}

/** Tensors of equal shape along a new axis. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return concat(tensors.map((t) => unsqueeze(t, dim)), dim);
}

/** Pieces of the given sizes (or of one size, the last may be smaller) along an axis. */
export function split(t: Tensor, sizes: number | readonly number[], dim = 0): Tensor[] {
  const axis = axisOf("split", dim, t.ndim);
  const n = t.shape[axis];
  if (typeof sizes === "number" && !(Number.isInteger(sizes) && sizes > 0)) {
    throw new RangeError(`Cannot split into pieces of ${sizes}: expected an integer of at least 1`);
  }
  const list = typeof sizes === "number"
    ? Array.from(
      { length: Math.max(1, Math.ceil(n / sizes)) },
      (_, i) => Math.min(sizes, n - i * sizes),
    )
    : sizes;
  if (list.reduce((a, b) => a + b, 0) !== n) {
    throw new ShapeError(
      `Cannot split axis ${axis} of size ${n} into [${list}]: expected the sum ${n}`,
    );
  }
  let at = 0;
  return list.map((size) => narrow(t, axis, (at += size) - size, size));
}

/** The tensor repeated so many times along each axis; leading counts make new axes. */
export function repeat(t: Tensor, counts: readonly number[]): Tensor {
  if (counts.length < t.ndim || counts.some((n) => !Number.isInteger(n) || n < 0)) {
    throw new ShapeError(
      `Cannot repeat ${
        showShape(t.shape)
      } [${counts}] times: expected at least ${t.ndim} integers ≥ 0`,
    );
  }
  const lead = counts.length - t.ndim;
  const shape = counts.map((_, d) => d < lead ? 1 : t.shape[d - lead]);
  const pairs = shape.flatMap((n) => [1, n]);
  const grown = shape.flatMap((n, d) => [counts[d], n]);
  return reshape(expand(reshape(t, pairs), grown), shape.map((n, d) => n * counts[d]));
}
