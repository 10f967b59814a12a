/**
 * Tensors as lines along one axis: how ops that work line by line hand their operands to kernels.
 */

import type { StridedOperand } from "../../kernels/map.ts";
import type { Shape } from "../../kernels/types.ts";
import { mergeAxes, residualOf } from "./launch.ts";
import { contiguousStrides } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/**
 * All axes but one, merged where all operands step alike, and each operand's strides over them and
 * along the line.
 */
export interface AxisLines {
  readonly outer: number[];
  /** Over `[...outer, line]`, one list for each operand. */
  readonly strides: number[][];
}

/** The lines of a shape along an axis. */
export function axisLines(
  shape: Shape,
  axis: number,
  operands: readonly (readonly number[])[],
): AxisLines {
  const kept = shape.map((_, d) => d).filter((d) => d !== axis);
  const pick = (values: readonly number[]) => kept.map((d) => values[d]);
  const merged = mergeAxes(pick(shape), operands.map(pick));
  return {
    outer: merged.shape,
    strides: merged.operands.map((strides, n) => [...strides, operands[n][axis]]),
  };
}

/**
 * Dense strides with the elements of each line next to each other and the lines in row-major order.
 */
export function lineStrides(shape: Shape, axis: number): number[] {
  const kept = shape.map((_, d) => d).filter((d) => d !== axis);
  const dense = contiguousStrides([...kept.map((d) => shape[d]), shape[axis]]);
  const strides = new Array<number>(shape.length);
  kept.forEach((d, i) => strides[d] = dense[i]);
  strides[axis] = 1;
  return strides;
}

/** A tensor as a kernel reads it, with strides over the axes that the kernel goes through. */
export function stridedOperand(t: Tensor, strides: readonly number[]): StridedOperand {
  return { dtype: t.dtype, strides, offset: residualOf(t) };
}
