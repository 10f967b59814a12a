/** Sums of the rows of a product's left side: the gradient of a bias beside that of its weight. */

import {
  type Code,
  countUp,
  f32,
  f32x4,
  get,
  i32,
  ifElse,
  type Local,
  set,
  v128,
} from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import type { Side } from "./pack.ts";
import type { CpuPhase } from "../program.ts";
import { least } from "./arithmetic.ts";

/** Rows of a task. */
const ROWS = 16;

/** Byte offsets of the operands in the arguments. */
interface Operands {
  readonly left: number;
  readonly sums: number;
}

/**
 * The phase that sums the rows, in four parts that are joined at the end: the parts are steps apart where rows lie behind each
 * other, and neighbouring steps else.
 *
 * @param offset first element of the matrix
 */
export function rowSumsPhase(
  module: ModuleBuilder,
  name: string,
  side: Side,
  offset: number,
  operands: Operands,
): CpuPhase {
  const fn = module.function(["i32", "i32", "i32", "i32"], null, name);
  const [args, begin, end] = fn.params;
  const [row, until, from, to] = fn.locals(4, "i32");
  const last = i32.const(side.size);
  const wide = side.stride === 1;
  const rows = (width: number) => wide && width === 4 ? fourRows : oneRow;
  const visit = (width: number): Code => [
    set(from, i32.add(i32.load(get(args), operands.left), i32.const(4 * offset))),
    set(from, i32.add(get(from), i32.mul(get(row), i32.const(4 * side.stride)))),
    set(to, i32.add(i32.load(get(args), operands.sums), i32.shl(get(row), i32.const(2)))),
    rows(width)(fn, side, from, to),
  ];
  const bound = i32.mul(get(end), i32.const(ROWS));
  fn.emit(
    set(until, bound),
    set(until, least(get(until), last)),
    set(row, i32.mul(get(begin), i32.const(ROWS))),
    wide ? countUp(row, get(row), i32.and(get(until), i32.const(-4)), 4, visit(4)) : [],
    // What is left: all rows, or those behind the last four.
    ifElse(i32.lt_u(get(row), get(until)), countUp(row, get(row), get(until), 1, visit(1))),
  );
  return { tasks: Math.ceil(side.size / ROWS), taskNs: ROWS * side.depth * 0.3 };
}

/** Four rows at once, in four parts that take turns. */
function fourRows(fn: FunctionBuilder, { depth, depthStride }: Side, from: Local, to: Local): Code {
  const parts = fn.locals(4, "v128");
  const whole = depth - depth % 4;
  const step = 4 * depthStride;
  const add = (n: number) =>
    set(parts[n], f32x4.add(get(parts[n]), v128.load(get(from), n * step)));
  const four = [[0, 1, 2, 3].map(add), set(from, i32.add(get(from), i32.const(4 * step)))];
  const [a, b, c, d] = parts.map(get);
  return [
    parts.map((part) => set(part, v128.const([0, 0, 0, 0]))),
    countUp(fn.local("i32"), i32.const(0), i32.const(whole), 4, four),
    Array.from({ length: depth - whole }, (_, n) => add(n)),
    v128.store(get(to), f32x4.add(f32x4.add(a, b), f32x4.add(c, d))),
  ];
}

/** One row in four parts that take turns. */
function oneRow(fn: FunctionBuilder, { depth, depthStride }: Side, from: Local, to: Local): Code {
  const parts = fn.locals(4, "f32");
  const whole = depth - depth % 4;
  const step = 4 * depthStride;
  const add = (n: number) => set(parts[n], f32.add(get(parts[n]), f32.load(get(from), n * step)));
  const four = [[0, 1, 2, 3].map(add), set(from, i32.add(get(from), i32.const(4 * step)))];
  const [a, b, c, d] = parts.map(get);
  return [
    parts.map((part) => set(part, f32.const(0))),
    countUp(fn.local("i32"), i32.const(0), i32.const(whole), 4, four),
    Array.from({ length: depth - whole }, (_, n) => add(n)),
    f32.store(get(to), f32.add(f32.add(a, b), f32.add(c, d))),
  ];
}
