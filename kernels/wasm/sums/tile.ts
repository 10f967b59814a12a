/**
 * The inner loop of matrix products and convolutions: a tile of sums in registers, one vector of four columns each.
 *
 * Six rows by two vectors fill the sixteen vector registers that engines use on x86 and half of those on ARM. Every sum
 * adds its products one after another in the order of the summed axis, so that no choice of tiles or blocks changes a bit.
 */

import { type Code, countUp, f32x4, get, i32, type Local, set, v128 } from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";

/** Rows of a whole tile. */
export const TILE_ROWS = 6;
/** Vectors of a whole tile, and its columns. */
export const TILE_VECTORS = 2;
export const TILE_COLUMNS = 4 * TILE_VECTORS;

/** Steps of the summed axis that stand behind each other in the code. */
const UNROLLED = 4;
/** Runs up to this length have no loop of their own, and so many steps in all no loop at all. */
const SHORT_RUN = 16;
const SHORT = 27;
/** Products that are added to a sum before it is added to a total, where there are more than twice as many. */
const CHUNK = 1024;

/** What a tile costs beside its products, in rows; and rows that a machine takes as long for as for fewer. */
const TILE_COST = 0.8;
const LEAST_ROWS = 4;

/** The rows of a tile that suit so many rows best. */
export function tileRowsFor(all: number): number {
  const cost = (rows: number) => Math.max(rows, LEAST_ROWS) + TILE_COST;
  const total = (rows: number) =>
    Math.floor(all / rows) * cost(rows) + (all % rows === 0 ? 0 : cost(all % rows));
  return [6, 5, 4].reduce((best, rows) => total(rows) < total(best) ? rows : best);
}

/** Where a row's left numbers are: a pointer that other rows may share, and a constant distance from it in bytes. */
export interface RowPlace {
  readonly pointer: Local;
  readonly offset: number;
}

/**
 * How the summed axis lies in memory, in bytes: `runs` times `length` steps, each `leftStep` and `rightStep` from the next;
 * behind every run the pointers jump.
 */
export interface Depth {
  /** A number, or a variable where it is not always the same. */
  readonly runs: number | Local;
  readonly length: number;
  readonly leftStep: number;
  readonly leftJump: number;
  readonly rightStep: number;
  readonly rightJump: number;
  /** How often all of this is repeated, and how far the left pointers jump between. @default {once} */
  readonly outer?: { readonly count: number; readonly leftJump: number };
}

/** The sums of a tile: `sums[row][vector]`. */
export type Sums = readonly (readonly Local[])[];

/** Variables for the sums of a tile. */
export function sumsOf(fn: FunctionBuilder, rows: number, vectors: number): Sums {
  return Array.from({ length: rows }, () => fn.locals(vectors, "v128"));
}

/**
 * Statements that add the products of one run, however long it is: long sums are added up from shorter ones, so that they
 * stay accurate. The pointers move, and the sums must be 0 before.
 */
export function addLongRun(
  fn: FunctionBuilder,
  sums: Sums,
  places: readonly RowPlace[],
  right: Local,
  depth: Depth,
  relaxed: boolean,
): Code {
  const add = (length: number) =>
    addProducts(fn, sums, places, right, { ...depth, length }, relaxed);
  if (depth.length <= 2 * CHUNK) return add(depth.length);
  const totals = sumsOf(fn, sums.length, sums[0].length);
  const each = (visit: (sum: Local, total: Local) => Code) =>
    sums.map((row, r) => row.map((sum, g) => visit(sum, totals[r][g])));
  const zero = v128.const([0, 0, 0, 0]);
  return [
    countUp(fn.local("i32"), i32.const(0), i32.const(Math.floor(depth.length / CHUNK)), 1, [
      add(CHUNK),
      each((sum, total) => [set(total, f32x4.add(get(total), get(sum))), set(sum, zero)]),
    ]),
    add(depth.length % CHUNK),
    each((sum, total) => set(sum, f32x4.add(get(total), get(sum)))),
  ];
}

/**
 * Statements that add all products to the sums. The pointers move.
 *
 * @param places where the left numbers of each row begin
 * @param right pointer to the first vector of the right side; the others lie behind it
 * @param relaxed whether a product and its addition may be fused
 */
export function addProducts(
  fn: FunctionBuilder,
  sums: Sums,
  places: readonly RowPlace[],
  right: Local,
  depth: Depth,
  relaxed: boolean,
): Code {
  const { runs, length, leftStep, leftJump, rightStep, rightJump, outer } = depth;
  if (runs === 0 || length === 0) return [];
  const step = stepper(fn, sums, places, right, relaxed);
  const leftRun = length * leftStep + leftJump;
  const rightRun = length * rightStep + rightJump;
  if (typeof runs === "number" && runs * length <= SHORT && outer === undefined) {
    return Array.from({ length: runs * length }, (_, n) => {
      const [run, s] = [Math.floor(n / length), n % length];
      return step(run * leftRun + s * leftStep, run * rightRun + s * rightStep);
    });
  }
  const pointers = [...new Set(places.map((p) => p.pointer))];
  const move = (left: number, ofRight: number): Code => [
    left === 0 ? [] : pointers.map((p) => set(p, i32.add(get(p), i32.const(left)))),
    ofRight === 0 ? [] : set(right, i32.add(get(right), i32.const(ofRight))),
  ];
  const steps = (count: number): Code =>
    Array.from({ length: count }, (_, s) => step(s * leftStep, s * rightStep));
  let run: Code;
  if (length <= SHORT_RUN) run = [steps(length), move(leftRun, rightRun)];
  else {
    const rest = length % UNROLLED;
    run = [
      countUp(fn.local("i32"), i32.const(0), i32.const(length - rest), UNROLLED, [
        steps(UNROLLED),
        move(UNROLLED * leftStep, UNROLLED * rightStep),
      ]),
      steps(rest),
      move(rest * leftStep + leftJump, rest * rightStep + rightJump),
    ];
  }
  const repeated = (count: number | Local, body: Code) => {
    if (count === 1) return body;
    const until = typeof count === "number" ? i32.const(count) : get(count);
    return countUp(fn.local("i32"), i32.const(0), until, 1, body);
  };
  const all = repeated(runs, run);
  return outer ? repeated(outer.count, [all, move(outer.leftJump, 0)]) : all;
}

/** Statements for the products of a step that lies so many bytes behind the pointers of either side. */
function stepper(
  fn: FunctionBuilder,
  sums: Sums,
  places: readonly RowPlace[],
  right: Local,
  relaxed: boolean,
): (leftOffset: number, rightOffset: number) => Code {
  const vectors = fn.locals(sums[0].length, "v128");
  const left = fn.local("v128");
  return (leftOffset, rightOffset) => [
    vectors.map((v, g) => set(v, v128.load(get(right), rightOffset + 16 * g))),
    places.map(({ pointer, offset }, r) => [
      set(left, v128.load32_splat(get(pointer), offset + leftOffset)),
      vectors.map((v, g) => set(sums[r][g], product(get(left), get(v), get(sums[r][g]), relaxed))),
    ]),
  ];
}

function product(a: Code, b: Code, sum: Code, relaxed: boolean): Code {
  return relaxed ? f32x4.relaxed_madd(a, b, sum) : f32x4.add(sum, f32x4.mul(a, b));
}
