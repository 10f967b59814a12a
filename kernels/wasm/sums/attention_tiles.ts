/** The tiles of attention: scores, what weights add up to, and what a block of keys adds to the gradients of queries. */

import type { MatrixOperand } from "../../matrix_loads.ts";
import type { ScoreProduct, ValueProduct } from "./attention_work.ts";
import { laneCounts } from "./arithmetic.ts";
import { storeLanes } from "./depthwise.ts";
import { f32x4, get, i32, ifElse, type Local, set, v128 } from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import { addLongRun, addProducts, sumsOf, TILE_COLUMNS } from "./tile.ts";

/** A tile of the sums. */
export interface QueryTile {
  readonly rows: number;
  readonly columns: number;
  /** Bytes from the scores of a key to those of the next one. */
  readonly line: number;
  readonly keys: MatrixOperand;
  readonly dq: MatrixOperand;
  /** Keys behind the last whole panel of them. */
  readonly rest: number;
}

/**
 * The function of a tile: (gradients of the scores of the first key with the tile's queries, the first key, whole panels of
 * keys, whether there is a rest, place of the result, whether these are the first keys). Sums go on from what earlier keys
 * have left, so that they have the bits of one sum over all keys.
 */
export function queryTile(module: ModuleBuilder, tile: QueryTile): FunctionBuilder {
  const { rows, columns, line, keys, dq, rest } = tile;
  const fn = module.function(["i32", "i32", "i32", "i32", "i32", "i32"]);
  const [left, right, whole, tail, to, fresh] = fn.params;
  const counts = laneCounts(columns);
  const sums = sumsOf(fn, rows, counts.length);
  const places = sums.map((_, r) => ({ pointer: left, offset: 4 * r }));
  const steps = { leftStep: line, leftJump: 0, rightStep: 4 * keys.rowStride, rightJump: 0 };
  const add = (runs: number | Local, length: number) =>
    addProducts(fn, sums, places, right, { runs, length, ...steps }, module.features.relaxed);
  const offset = (r: number, g: number) => 4 * r * dq.rowStride + 16 * g;
  fn.emit(
    ifElse(
      i32.eqz(get(fresh)),
      sums.map((row, r) => row.map((sum, g) => set(sum, v128.load(get(to), offset(r, g))))),
    ),
    add(whole, TILE_COLUMNS),
    rest === 0 ? [] : ifElse(get(tail), add(1, rest)),
    sums.map((row, r) => row.map((sum, g) => storeLanes(get(to), sum, counts[g], offset(r, g)))),
  );
  return fn;
}

/** The function of a tile of scores: (own rows, packed other rows, place of the scores). */
export function scoreTile(
  module: ModuleBuilder,
  { own, depth }: ScoreProduct,
  rows: number,
  line: number,
): FunctionBuilder {
  const fn = module.function(["i32", "i32", "i32"]);
  const [left, right, to] = fn.params;
  const sums = sumsOf(fn, rows, 2);
  const pointers = fn.locals(rows, "i32");
  const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
  const steps = { leftStep: 4 * own.columnStride, rightStep: 4 * TILE_COLUMNS };
  const run = { runs: 1, length: depth, leftJump: 0, rightJump: 0, ...steps };
  fn.emit(
    pointers.map((q, r) => set(q, i32.add(get(left), i32.const(4 * r * own.rowStride)))),
    addLongRun(fn, sums, places, right, run, module.features.relaxed),
    sums.map((row, r) => row.map((sum, g) => v128.store(get(to), get(sum), r * line + 16 * g))),
  );
  return fn;
}

/** A tile of what weights add up to. */
export interface ValueTile {
  readonly rows: number;
  readonly columns: number;
  /** Bytes of a row of weights. */
  readonly line: number;
  /** Weights of a row behind the last whole panel. */
  readonly rest: number;
}

/**
 * The function of a tile: (weights, other rows, whole panels of weights, whether there is a rest, place of the result,
 * factors of the rows).
 */
export function valueTile(
  module: ModuleBuilder,
  { right: o, out, scaled }: ValueProduct,
  { rows, columns, line, rest }: ValueTile,
): FunctionBuilder {
  const fn = module.function(["i32", "i32", "i32", "i32", "i32", "i32"]);
  const [left, right, whole, tail, to, factors] = fn.params;
  const counts = laneCounts(columns);
  const sums = sumsOf(fn, rows, counts.length);
  const pointers = fn.locals(rows, "i32");
  const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
  const steps = { leftStep: 4, leftJump: 0, rightStep: 4 * o.rowStride, rightJump: 0 };
  const add = (runs: number | Local, length: number) =>
    addProducts(fn, sums, places, right, { runs, length, ...steps }, module.features.relaxed);
  const final = fn.local("v128");
  const factor = (r: number) => v128.load32_splat(get(factors), 4 * r);
  fn.emit(
    pointers.map((q, r) => set(q, i32.add(get(left), i32.const(r * line)))),
    add(whole, TILE_COLUMNS),
    rest === 0 ? [] : ifElse(get(tail), add(1, rest)),
    sums.map((row, r) =>
      row.map((sum, g) => [
        set(final, scaled ? f32x4.mul(get(sum), factor(r)) : get(sum)),
        storeLanes(get(to), final, counts[g], 4 * r * out.rowStride + 16 * g),
      ])
    ),
  );
  return fn;
}
