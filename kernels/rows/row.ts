/** The form of a row of the elementwise table. */

import { apply, constant, type Expr } from "../expr.ts";

/**
 * How a row treats element types: "float" computes in f32, "numeric" in the widest type of its arguments, "compare" likewise
 * with a bool result, "logic" in bool, "select" takes a bool and two values.
 */
export type RowKind = "float" | "numeric" | "compare" | "logic" | "select";

/** Bounds of a comparison with the reference: `|got − want| ≤ abs + rel·|want|`. */
export interface Tolerance {
  readonly rel: number;
  readonly abs: number;
}

/** Cotangents of a row's arguments, from that of the result `g`, the arguments and the result `y`. */
export type Gradient = (g: Expr, args: readonly Expr[], y: Expr) => readonly (Expr | null)[];

/** One elementwise op: all that kernels, autograd, tests and docs need to know of it. */
export interface Row {
  readonly arity: 1 | 2 | 3;
  readonly kind: RowKind;
  /** One sentence with the formula. */
  readonly doc: string;
  /** WGSL for the arguments `a`, `b`, `c`; `T` stands for the type that it computes in. */
  readonly wgsl: string;
  /** The same for integer types, where it differs. */
  readonly wgslInt?: string;
  /** In double precision. */
  readonly ref: (a: number, b: number, c: number) => number;
  /** The rule, or the reason why there is none. */
  readonly grad: Gradient | string;
  /** Where it is differentiated numerically, one tuple an argument list; away from kinks and poles. */
  readonly samples: readonly (readonly number[])[];
  readonly tolerance: Tolerance;
  /** Where the definition comes from, and what is special. */
  readonly source: string;
}

/** Keeps the names of the rows in the type. */
export function rows<K extends string>(
  table: { readonly [N in K]: Row },
): { readonly [N in K]: Row } {
  return table;
}

/** A number in a gradient formula. */
export const c = (value: number): Expr => constant(value);
/** a + b */
export const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
/** a − b */
export const sub = (a: Expr, b: Expr): Expr => apply("sub", a, b);
/** a · b */
export const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);
/** a / b */
export const div = (a: Expr, b: Expr): Expr => apply("div", a, b);
/** −a */
export const neg = (a: Expr): Expr => apply("neg", a);
/** `yes` where the condition holds, `no` elsewhere */
export const where = (condition: Expr, yes: Expr, no: Expr): Expr =>
  apply("where", condition, yes, no);
/** a > b */
export const gt = (a: Expr, b: Expr): Expr => apply("gt", a, b);
/** a < b */
export const lt = (a: Expr, b: Expr): Expr => apply("lt", a, b);
/** Any other row by name. */
export const op = (name: string, ...args: Expr[]): Expr => apply(name, ...args);
