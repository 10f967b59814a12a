/** Kernels with operands, compared with their references. */

import type { StridedOperand } from "../../../kernels/map.ts";
import {
  type DeviceTraits,
  type DType,
  type Kernel,
  type Shape,
  sizeOf,
} from "../../../kernels/types.ts";
import { keyed } from "../points.ts";
import { hardware, referenceOf, rounded, runKernel, software } from "./runner.ts";

/** How far results may be from the reference: `|got − want| ≤ abs + rel·|want|`. */
export interface Bounds {
  readonly rel: number;
  readonly abs: number;
}

/** Sums and products of a few numbers of size 1. */
export const NEAR: Bounds = { rel: 2e-6, abs: 2e-6 };
/** Results of 16 bits. */
export const HALF: Bounds = { rel: 1e-3, abs: 1e-3 };
/** No difference. */
export const SAME: Bounds = { rel: 0, abs: 0 };

/** A kernel with what it is run on. */
export interface Case {
  readonly kernel: Kernel;
  readonly inputs: readonly ArrayLike<number>[];
  /** What the outputs hold at first, or how many elements they have. */
  readonly outputs: readonly (ArrayLike<number> | number)[];
  readonly scalars?: readonly number[];
  readonly bounds?: Bounds;
}

/** Numbers in [low, high), the same for the same seed. */
export function values(count: number, seed: number, low = -1, high = 1): Float64Array {
  return Float64Array.from({ length: count }, (_, n) => low + (high - low) * keyed(seed, n));
}

/** Whole numbers from `low` to before `high`. */
export function integers(count: number, seed: number, low: number, high: number): Float64Array {
  return values(count, seed, low, high).map(Math.floor);
}

/** Numbers that suit a type. */
export function valuesOf(dtype: DType, count: number, seed: number): Float64Array {
  switch (dtype) {
    case "bool":
      return integers(count, seed, 0, 2);
    case "i32":
      return integers(count, seed, -50, 50);
    case "u32":
      return integers(count, seed, 0, 100);
    default:
      return values(count, seed);
  }
}

/** An operand that lies dense in row-major order, behind so many other elements. */
export function dense(shape: Shape, dtype: DType = "f32", offset = 0): StridedOperand {
  const strides = shape.map((_, d) => sizeOf(shape.slice(d + 1)));
  return { dtype, strides, offset };
}

/** An operand with these strides. */
export function strided(
  strides: readonly number[],
  offset = 0,
  dtype: DType = "f32",
): StridedOperand {
  return { dtype, strides, offset };
}

/** Fails unless a kernel gives what its reference does, in all its variants and for both kinds of adapters. */
export function check(c: Case, kinds: readonly DeviceTraits[] = [software, hardware]): void {
  const { kernel, inputs, scalars = [], bounds = NEAR } = c;
  const outputs = c.outputs.map((o) => typeof o === "number" ? new Float64Array(o) : o);
  const operands = { inputs, outputs, scalars };
  const want = referenceOf(kernel, operands);
  for (const traits of kinds) {
    for (const variant of kernel.variants?.(traits) ?? [undefined]) {
      const label = `${kernel.key}, ${traits.software ? "software" : "hardware"} ${variant ?? ""}`;
      const got = runKernel(kernel, operands, traits, variant);
      got.forEach((result, n) =>
        assertNear(result, rounded(kernel.outputs[n], want[n]), bounds, `${label}, output ${n}`)
      );
    }
  }
}

/** Fails unless all numbers agree: NaN with NaN, infinities exactly, the rest within bounds. */
export function assertNear(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  { rel, abs }: Bounds,
  label: string,
): void {
  for (let n = 0; n < want.length; n++) {
    const [a, b] = [got[n], want[n]];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!(Math.abs(a - b) <= abs + rel * Math.abs(b))) {
      throw new Error(`${label}: element ${n} is ${a}, expected ${b}`);
    }
  }
}

/** Fails with the first disagreements; `check` gives a text for each element that is wrong. */
export function assertAll(count: number, check: (i: number) => string | null): void {
  const wrong: string[] = [];
  for (let i = 0; i < count; i++) {
    const text = check(i);
    if (text !== null) wrong.push(text);
  }
  if (wrong.length === 0) return;
  throw new Error(
    `${wrong.length} of ${count} results are wrong:\n${wrong.slice(0, 8).join("\n")}`,
  );
}
