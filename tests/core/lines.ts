/** Plain arrays as lines along an axis: what line by line ops are compared with. */

import { type Device, type DType, type Tensor, tensor } from "../../core/mod.ts";
import { cpu, gpu, randomValues, reference } from "../util.ts";

/** The devices that value tests run on, by name; null where there is none. */
export const devices: readonly (readonly [string, Device | null])[] = [
  ["the reference", reference],
  ["WebGPU", gpu],
  ["the CPU", cpu],
];

/** Positions of the elements of each line, in row-major order of the other axes. */
export function linePositions(shape: readonly number[], axis: number): number[][] {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
  const lines: number[][] = [];
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      lines.push(
        Array.from({ length: shape[axis] }, (_, k) => (o * shape[axis] + k) * inner + i),
      );
    }
  }
  return lines;
}

/** Row-major results of a function of lines that gives one line each. */
export function mapLines(
  data: ArrayLike<number>,
  shape: readonly number[],
  axis: number,
  length: number,
  fn: (line: number[]) => number[],
): number[] {
  const lines = linePositions(shape, axis).map((at) => fn(at.map((i) => data[i])));
  const to = linePositions(shape.map((n, d) => d === axis ? length : n), axis);
  const out: number[] = new Array(lines.length * length);
  to.forEach((at, l) => at.forEach((i, k) => out[i] = lines[l][k]));
  return out;
}

/** Values with many ties: multiples of 1/2 from -2 to 2. */
export function coarseValues(count: number, seed: number): Float64Array {
  return randomValues(count, seed).map((x) => Math.round(x * 4) / 2);
}

/**
 * The same elements in memory that is not row-major: every other element of a transposed larger
 * tensor.
 */
export function scattered(
  device: Device,
  data: ArrayLike<number>,
  shape: readonly number[],
  dtype: DType = "f32",
): Tensor {
  const last = shape.length - 1;
  const wide = [...shape.slice(0, last), 2 * shape[last] + 1];
  const values = new Float64Array(wide.reduce((a, b) => a * b, 1)).fill(1);
  for (let i = 0; i < data.length; i++) {
    values[Math.floor(i / shape[last]) * wide[last] + 1 + 2 * (i % shape[last])] = data[i];
  }
  const dims = shape.map((_, d) => last - d);
  const turned = tensor(values, { device, shape: wide, dtype }).permute(dims).contiguous();
  return turned.permute(dims).slice(
    ...shape.map((_, d) => d === last ? { start: 1, step: 2 } : null),
  );
}

/** Index of the first element that differs or -1, so that messages about millions stay short. */
export function firstDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Math.min(got.length, want.length);
  for (let i = 0; i < got.length; i++) if (!Object.is(got[i], want[i])) return i;
  return -1;
}
