/** Arrays as functions of their index, to state what views, broadcasts and folds mean without strides. */

import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import type { DType } from "../../kernels/types.ts";

/** A shape with the value at every index. */
export interface Plain {
  readonly shape: readonly number[];
  at(index: readonly number[]): number;
}

/** Every index of a shape, the last axis fastest. */
export function indices(shape: readonly number[]): number[][] {
  let all: number[][] = [[]];
  for (const n of shape) {
    all = all.flatMap((p) => Array.from({ length: n }, (_, i) => [...p, i]));
  }
  return all;
}

/** The values in row-major order. */
export function listOf(x: Plain): number[] {
  return indices(x.shape).map((index) => x.at(index));
}

/** Values in row-major order as an array of a shape. */
export function plainOf(shape: readonly number[], values: ArrayLike<number>): Plain {
  return {
    shape,
    at: (index) => values[index.reduce((at, i, d) => at * shape[d] + i, 0)],
  };
}

/** Numbers that say where they stand: 1, 2, 3 … in row-major order. */
export function counting(shape: readonly number[]): Plain {
  const count = shape.reduce((a, b) => a * b, 1);
  return plainOf(shape, Array.from({ length: count }, (_, i) => i + 1));
}

/** How the elements of a tensor under test lie in memory. */
export type LayoutName = "row-major" | "transposed" | "reversed" | "with gaps" | "unaligned";

/** Every layout that tests go through. */
export const layoutNames: readonly LayoutName[] = [
  "row-major",
  "transposed",
  "reversed",
  "with gaps",
  "unaligned",
];

function stridesOf(shape: readonly number[], layout: LayoutName): number[] {
  const order = [...shape.keys()];
  if (layout !== "transposed" && layout !== "with gaps") order.reverse();
  const strides = new Array<number>(shape.length);
  let step = layout === "with gaps" ? 2 : 1;
  for (const d of order) {
    strides[d] = layout === "reversed" ? -step : step;
    step *= Math.max(1, shape[d]) + (layout === "with gaps" ? 1 : 0);
  }
  return strides;
}

/** A tensor of these values that lies in memory as asked for, with `filler` in every other place. */
export function laidOut(
  device: Device,
  x: Plain,
  layout: LayoutName,
  dtype: DType = "f32",
  filler: number = dtype === "f32" ? NaN : 1,
): Tensor {
  const strides = stridesOf(x.shape, layout);
  const reach = strides.map((s, d) => s * Math.max(0, x.shape[d] - 1));
  const offset = reach.reduce((at, r) => at - Math.min(0, r), layout === "unaligned" ? 67 : 0);
  const length = reach.reduce((n, r) => n + Math.max(0, r), offset + 1) + 3;
  const memory = new Float64Array(length).fill(filler);
  for (const index of indices(x.shape)) {
    memory[index.reduce((at, i, d) => at + i * strides[d], offset)] = x.at(index);
  }
  const base = tensor(memory, { device, dtype, shape: [length] });
  return base.alias({ shape: [...x.shape], strides, offset });
}
