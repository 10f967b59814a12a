/** Arithmetic of shapes and strides; knows no device. */

import { ShapeError, showShape } from "../errors.ts";
import { type Shape, sizeOf } from "../../kernels/types.ts";

/** Strides of a dense row-major tensor, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= Math.max(shape[d], 1);
  }
  return strides;
}

/** True where the elements follow each other in row-major order without gaps. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== step) return false;
    step *= shape[d];
  }
  return true;
}

/** Axes from the slowest to the fastest in memory; axes of size 1, which have no place there, come first. */
export function memoryOrder(shape: Shape, strides: readonly number[]): number[] {
  const axes = shape.map((_, d) => d);
  const single = axes.filter((d) => shape[d] === 1);
  const others = axes.filter((d) => shape[d] !== 1);
  return [
    ...single,
    ...others.sort((a, b) => Math.abs(strides[b]) - Math.abs(strides[a]) || a - b),
  ];
}

/** True where the elements fill a range without gaps, in whatever order of axes. */
export function isDense(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  const axes = shape.map((_, d) => d).filter((d) => shape[d] !== 1)
    .sort((a, b) => strides[a] - strides[b]);
  for (const d of axes) {
    if (strides[d] !== step) return false;
    step *= shape[d];
  }
  return true;
}

/**
 * The common shape of operands by NumPy's rule: sizes match from the last axis on, or are 1.
 *
 * @throws {ShapeError} if two sizes differ and neither is 1
 */
export function broadcastShapes(op: string, shapes: readonly Shape[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let d = 0; d < shape.length; d++) {
      const at = rank - shape.length + d;
      if (shape[d] === 1) continue;
      if (out[at] !== 1 && out[at] !== shape[d]) {
        throw new ShapeError(
          `Cannot ${op} ${shapes.map(showShape).join(" and ")}: axis ${at - rank} has sizes ${
            out[at]
          } and ${shape[d]}, and neither is 1`,
        );
      }
      out[at] = shape[d];
    }
  }
  return out;
}

/** Strides of a tensor seen through a broadcast shape: 0 where it repeats. */
export function broadcastStrides(shape: Shape, strides: readonly number[], to: Shape): number[] {
  const lead = to.length - shape.length;
  return to.map((n, d) => d < lead || (shape[d - lead] === 1 && n !== 1) ? 0 : strides[d - lead]);
}

/**
 * An axis as a non-negative number.
 *
 * @throws {ShapeError} if there is no such axis
 */
export function axisOf(op: string, dim: number, rank: number): number {
  if (!Number.isInteger(dim) || dim < -rank || dim >= rank) {
    throw new ShapeError(
      `Cannot ${op} along dim ${dim}: expected an integer from ${-rank} to ${
        rank - 1
      } for ${rank} axes`,
    );
  }
  return dim < 0 ? dim + rank : dim;
}

/** Distinct axes in increasing order; all of them where none is named. */
export function axesOf(
  op: string,
  dim: number | readonly number[] | null | undefined,
  rank: number,
): number[] {
  if (dim === undefined || dim === null) return Array.from({ length: rank }, (_, d) => d);
  const axes = (typeof dim === "number" ? [dim] : dim).map((d) => axisOf(op, d, rank));
  if (new Set(axes).size !== axes.length) {
    throw new ShapeError(`Cannot ${op} along dims [${dim}]: an axis is named twice`);
  }
  return axes.sort((a, b) => a - b);
}

/**
 * A shape with at most one -1 filled in.
 *
 * @throws {ShapeError} if the sizes do not give the number of elements
 */
export function resolveShape(from: Shape, to: readonly number[]): number[] {
  const size = sizeOf(from);
  const open = to.indexOf(-1);
  const known = to.reduce((n, d, i) => i === open ? n : n * d, 1);
  const shape = to.map((n, i) => i === open && known > 0 ? size / known : n);
  const valid = shape.every((n) => Number.isInteger(n) && n >= 0) && sizeOf(shape) === size &&
    to.lastIndexOf(-1) === open && !(open >= 0 && known === 0);
  if (!valid) {
    throw new ShapeError(
      `Cannot reshape ${showShape(from)} to ${
        showShape(to)
      }: expected sizes with the product ${size}`,
    );
  }
  return shape;
}

/** Strides of the same memory under a new shape, or null where that needs a copy. */
export function viewStrides(from: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (sizeOf(from) === 0) return contiguousStrides(to);
  const out = new Array<number>(to.length);
  let d = to.length - 1;
  let base = strides.at(-1) ?? 1;
  let size = 1;
  let filled = 1;
  for (let at = from.length - 1; at >= 0; at--) {
    size *= from[at];
    const joins = at > 0 && (from[at - 1] === 1 || strides[at - 1] === size * base);
    if (joins) continue;
    // A run of axes that lie densely behind each other ends here; new axes must fill it exactly.
    while (d >= 0 && (filled < size || to[d] === 1)) {
      out[d] = filled * base;
      filled *= to[d--];
    }
    if (filled !== size) return null;
    if (at > 0) base = strides[at - 1];
    size = 1;
    filled = 1;
  }
  for (; d >= 0; d--) out[d] = 1;
  return out;
}
