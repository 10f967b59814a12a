/** Panels of a matrix: some neighbouring rows (or columns) with their numbers side by side for every step of the summed axis. */

import {
  brIf,
  type Code,
  countUp,
  f32,
  get,
  i32,
  ifElse,
  type Local,
  loop,
  set,
  tee,
  v128,
} from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";
import { least } from "./arithmetic.ts";

/** A matrix of f32 as a product reads it; steps in elements. */
export interface Side {
  /** Rows of the left side, or columns of the right one. */
  readonly size: number;
  /** Length of the summed axis. */
  readonly depth: number;
  /** From one row (or column) to the next. */
  readonly stride: number;
  /** From one step of the summed axis to the next. */
  readonly depthStride: number;
}

/** Bytes of a packed panel of so many rows. */
export function panelBytes(side: Side, width: number): number {
  return 4 * width * side.depth;
}

/**
 * Statements that pack the panel with the number `panel`, `width` rows from `width · panel` on. Rows behind the end of the
 * matrix hold anything. Up to 28 bytes behind an operand may be read.
 *
 * @param from address of the matrix
 * @param to address of the panel
 * @param width 6 or 8
 */
export function packPanel(
  fn: FunctionBuilder,
  side: Side,
  width: number,
  panel: Local,
  from: Local,
  to: Local,
): Code {
  const first = i32.mul(get(panel), i32.const(4 * width * side.stride));
  const source = fn.local("i32");
  const target = fn.local("i32");
  const begin: Code = [set(source, i32.add(get(from), first)), set(target, get(to))];
  if (side.stride === 1) return [begin, packDense(fn, side, width, source, target)];
  const rows = rowPointers(fn, side, width, panel, from);
  if (side.depthStride === 1 && width === 8) {
    return [begin, rows.set, packTurned(fn, side, rows.pointers, target)];
  }
  return [begin, rows.set, packSingly(fn, side.depth, side, rows.pointers, target)];
}

/** Rows that lie behind each other at every step: two vectors, which overlap where six rows are wanted. */
function packDense(
  fn: FunctionBuilder,
  { depth, depthStride }: Side,
  width: number,
  source: Local,
  target: Local,
): Code {
  const second = 4 * width - 16;
  return countUp(fn.local("i32"), i32.const(0), i32.const(depth), 1, [
    v128.store(get(target), v128.load(get(source))),
    v128.store(get(target), v128.load(get(source), second), second),
    set(source, i32.add(get(source), i32.const(4 * depthStride))),
    set(target, i32.add(get(target), i32.const(4 * width))),
  ]);
}

/** Addresses of the rows of a panel, held inside the matrix at its end. */
function rowPointers(
  fn: FunctionBuilder,
  { size, stride }: Side,
  width: number,
  panel: Local,
  from: Local,
): { pointers: Local[]; set: Code } {
  const pointers = fn.locals(width, "i32");
  const row = fn.local("i32");
  const code = pointers.map((pointer, r) => {
    const number = i32.add(i32.mul(get(panel), i32.const(width)), i32.const(r));
    const last = i32.const(size - 1);
    const inside = least(get(row), last);
    return [
      set(row, number),
      set(pointer, i32.add(get(from), i32.mul(inside, i32.const(4 * stride)))),
    ];
  });
  return { pointers, set: code };
}

/** Rows along which the steps lie behind each other: blocks of four by four are turned in registers. */
function packTurned(
  fn: FunctionBuilder,
  side: Side,
  pointers: readonly Local[],
  target: Local,
): Code {
  const whole = side.depth - side.depth % 4;
  const turn = [0, 4].map((first) => {
    const rows = fn.locals(4, "v128");
    const halves = fn.locals(4, "v128");
    const [a, b, c, d] = rows.map(get);
    const [ab0, cd0, ab1, cd1] = halves;
    const store = (step: number, low: Local, high: Local, upper: boolean) =>
      v128.store(
        get(target),
        v128.shuffle32(get(low), get(high), upper ? [2, 3, 6, 7] : [0, 1, 4, 5]),
        32 * step + 4 * first,
      );
    return [
      rows.map((row, r) => set(row, v128.load(get(pointers[first + r])))),
      set(ab0, v128.shuffle32(a, b, [0, 4, 1, 5])),
      set(cd0, v128.shuffle32(c, d, [0, 4, 1, 5])),
      set(ab1, v128.shuffle32(a, b, [2, 6, 3, 7])),
      set(cd1, v128.shuffle32(c, d, [2, 6, 3, 7])),
      store(0, ab0, cd0, false),
      store(1, ab0, cd0, true),
      store(2, ab1, cd1, false),
      store(3, ab1, cd1, true),
    ];
  });
  const four = [
    turn,
    pointers.map((p) => set(p, i32.add(get(p), i32.const(16)))),
    set(target, i32.add(get(target), i32.const(128))),
  ];
  return [
    whole === 0 ? [] : countUp(fn.local("i32"), i32.const(0), i32.const(whole), 4, four),
    packSingly(fn, side.depth - whole, side, pointers, target),
  ];
}

/** One number at a time, for so many steps. */
function packSingly(
  fn: FunctionBuilder,
  steps: number,
  { depthStride }: Side,
  pointers: readonly Local[],
  target: Local,
): Code {
  if (steps === 0) return [];
  const left = fn.local("i32");
  return [
    set(left, i32.const(steps)),
    ifElse(
      get(left),
      loop([
        pointers.map((p, r) => f32.store(get(target), f32.load(get(p)), 4 * r)),
        pointers.map((p) => set(p, i32.add(get(p), i32.const(4 * depthStride)))),
        set(target, i32.add(get(target), i32.const(4 * pointers.length))),
        brIf(0, tee(left, i32.sub(get(left), i32.const(1)))),
      ]),
    ),
  ];
}
