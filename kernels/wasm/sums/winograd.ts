/**
 * The transforms of Winograd's minimal convolution F(2×2, 3×3): sixteen products give four results of a 3 × 3 window, where the
 * definition takes thirty-six.
 *
 * Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015: Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A.
 */

import { type Code, f32, f32x4, get, type Local, set } from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";

/** Results of a window along an axis, inputs that it reads, and products. */
export const WINDOW = 2;
export const PATCH = 4;
export const POINTS = PATCH * PATCH;

/** Values in rows and columns. */
export type Grid = readonly (readonly Local[])[];

/** A transform along one axis: code of the results from that of the values. */
export type Transform = (values: readonly Code[]) => Code[];

const { add, sub } = f32x4;
const half = (a: Code) => f32x4.mul(a, f32x4.splat(f32.const(0.5)));

/** Bᵀ, of four inputs. */
export const ofInputs: Transform = ([a, b, c, d]) => [sub(a, c), add(b, c), sub(c, b), sub(b, d)];

/** G, of three weights. */
export const ofWeights: Transform = ([a, b, c]) => [
  a,
  half(add(add(a, c), b)),
  half(sub(add(a, c), b)),
  c,
];

/** Aᵀ, of four products. */
export const ofProducts: Transform = ([a, b, c, d]) => [add(add(a, b), c), sub(sub(b, c), d)];

/** A, of two gradients of results: the way back through Aᵀ. */
export const ofGradients: Transform = ([a, b]) => [a, add(a, b), sub(a, b), f32x4.neg(b)];

/** Gᵀ, of four gradients of transformed weights: the way back through G. */
export const ofWeightGradients: Transform = ([a, b, c, d]) => [
  add(a, half(add(b, c))),
  half(sub(b, c)),
  add(half(add(b, c)), d),
];

/** Statements that transform a grid along both axes, and the variables that hold the result. */
export function transformed(
  fn: FunctionBuilder,
  grid: Grid,
  transform: Transform,
): { code: Code; grid: Grid } {
  const columns = onRows(fn, turned(grid), transform);
  const rows = onRows(fn, turned(columns.grid), transform);
  return { code: [columns.code, rows.code], grid: rows.grid };
}

function turned(grid: Grid): Grid {
  return grid[0].map((_, c) => grid.map((row) => row[c]));
}

function onRows(
  fn: FunctionBuilder,
  grid: Grid,
  transform: Transform,
): { code: Code; grid: Grid } {
  const code: Code[] = [];
  const result = grid.map((row) => {
    const values = transform(row.map(get));
    const made = fn.locals(values.length, "v128");
    code.push(made.map((local, n) => set(local, values[n])));
    return made;
  });
  return { code, grid: result };
}
