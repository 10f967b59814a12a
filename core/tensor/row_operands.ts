/** Tensors as rows along some axes: how ops that work row by row hand their operands to kernels. */

import type { Shape } from "../../kernels/types.ts";
import { mergeAxes } from "./launch.ts";
import { contiguousStrides, isDense, memoryOrder } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Rows and the axes along a row, merged where all operands step alike. */
export interface Rows {
  /** Axes of the rows. */
  readonly outer: number[];
  /** Axes along a row. */
  readonly reduced: number[];
  /** Strides over `[...outer, ...reduced]`, one list for each operand. */
  readonly strides: number[][];
}

/**
 * The rows of a shape along axes, which are gone through in the memory order of the last operand.
 *
 * @param operands strides over the shape
 * @param rowMajor whether the rows stay in row-major order, for results that have one element a row
 */
export function rowsAlong(
  shape: Shape,
  axes: readonly number[],
  operands: readonly (readonly number[])[],
  rowMajor: boolean,
): Rows {
  const order = memoryOrder(shape, operands.at(-1)!);
  const kept = rowMajor ? shape.map((_, d) => d) : order;
  const pick = (dims: readonly number[]) =>
    mergeAxes(
      dims.map((d) => shape[d]),
      operands.map((strides) => dims.map((d) => strides[d])),
    );
  const outer = pick(kept.filter((d) => !axes.includes(d)));
  const reduced = pick(order.filter((d) => axes.includes(d)));
  return {
    outer: outer.shape,
    reduced: reduced.shape,
    strides: operands.map((_, n) => [...outer.operands[n], ...reduced.operands[n]]),
  };
}

/** Dense strides for a result: those of the tensor, or row-major ones where it has gaps. */
export function denseStrides(t: Tensor): readonly number[] {
  return isDense(t.shape, t.strides) ? t.strides : contiguousStrides(t.shape);
}
