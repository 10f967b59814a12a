/** What addresses and counts are made of. */

import { type Code, get, i32, ifElse, type Local, select, set } from "../instructions.ts";

/** Local variables by name. */
export type Names<T extends string> = Readonly<Record<T, Local>>;

/** The sum of some numbers. */
export function sum(...terms: readonly Code[]): Code {
  return terms.reduce((a, b) => i32.add(a, b));
}

/** A variable times a constant. */
export function times(a: Local, n: number): Code {
  return i32.mul(get(a), i32.const(n));
}

/** The lesser of two unsigned numbers, each of which is computed twice. */
export function least(a: Code, b: Code): Code {
  return select(a, b, i32.lt_u(a, b));
}

/** Moves a pointer on. */
export function advance(pointer: Local, bytes: number): Code {
  return set(pointer, i32.add(get(pointer), i32.const(bytes)));
}

/** Columns of each vector of a tile that belong to the result. */
export function laneCounts(columns: number): number[] {
  return Array.from({ length: Math.ceil(columns / 4) }, (_, g) => Math.min(4, columns - 4 * g));
}

/** Code for all counts of a counter but the last, and for the last one, whose size is `rest` where that is not 0. */
export function atEdge(
  counter: Local,
  count: number,
  rest: number,
  whole: number,
  of: (size: number) => Code,
): Code {
  if (rest === 0) return of(whole);
  if (count === 1) return of(rest);
  return ifElse(i32.eq(get(counter), i32.const(count - 1)), of(rest), of(whole));
}
