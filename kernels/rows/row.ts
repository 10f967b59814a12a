/** The form of a row of the elementwise table. */

import { apply, constant, type Expr } from "../expr.ts";

/**
 * How a row treats element types: "float" computes in f32, "numeric" in the widest type of its
 * arguments, "compare" likewise with a bool result, "logic" in bool, "select" takes a bool and
 * two values.
 */
export type RowKind = "float" | "numeric" | "compare" | "logic" | "select";

/** Bounds of a comparison with the reference: `|got − want| ≤ abs + rel·scale`. */
export interface Tolerance {
  /** Part of the scale. */
  readonly rel: number;
  /** What is allowed at a scale of 0. */
  readonly abs: number;
}

/** Cotangents of a row's arguments: `g` is that of its result, `y` the result itself. */
export type Gradient = (g: Expr, args: readonly Expr[], y: Expr) => readonly (Expr | null)[];

/** One elementwise op: all that kernels, autograd, tests and docs need to know of it. */
export interface Row {
  /** Number of arguments. */
  readonly arity: 1 | 2 | 3;
  /** How it treats element types. */
  readonly kind: RowKind;
  /** One sentence with the formula. */
  readonly doc: string;
  /** WGSL for the arguments `a`, `b`, `c`; `T` stands for the type that it computes in. */
  readonly wgsl: string;
  /** The same for integer types, where it differs. */
  readonly wgslInt?: string;
  /** In double precision. */
  readonly ref: (a: number, b: number, c: number) => number;
  /** The same for integer types modulo 2³², where doubles would round. */
  readonly refInt?: (a: number, b: number, c: number) => number;
  /** The rule, or the reason why there is none. */
  readonly grad: Gradient | string;
  /** Argument lists where it is differentiated numerically; away from kinks and poles. */
  readonly samples: readonly (readonly number[])[];
  /** How far a device may be from the reference. */
  readonly tolerance: Tolerance;
  /** What `tolerance.rel` is relative to; the size of the result where absent. */
  readonly scale?: (a: number, b: number, c: number) => number;
  /** Where the definition comes from, and what is special. */
  readonly source: string;
}

/** A row with so many arguments. */
export type RowOf<Arity extends 1 | 2 | 3> = Row & { readonly arity: Arity };

/** Keeps the names of the rows and their numbers of arguments in the type. */
export function rows<const T extends Readonly<Record<string, Row>>>(
  table: T,
): { readonly [N in keyof T]: RowOf<T[N]["arity"]> } {
  return table;
}

/** No difference at all. */
export const exact: Tolerance = { rel: 0, abs: 0 };
/** One unit in the last place. */
export const ulp1: Tolerance = { rel: 1.2e-7, abs: 1e-38 };
/** What devices may give for division and roots. */
export const ulp5: Tolerance = { rel: 6e-7, abs: 1e-38 };
/** Own series: relative at any size, so that tiny arguments count. */
export const series: Tolerance = { rel: 1e-6, abs: 1e-38 };

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
/** The same number as an operand of its own: drivers combine nothing across a test of bits. */
export const apart = (a: Expr): Expr => where(apply("isNan", a), constant(NaN), a);
/** a > b */
export const gt = (a: Expr, b: Expr): Expr => apply("gt", a, b);
/** a < b */
export const lt = (a: Expr, b: Expr): Expr => apply("lt", a, b);
/** a and b */
export const and = (a: Expr, b: Expr): Expr => apply("logicalAnd", a, b);
/** A cotangent of 0 that has the shape of `g`. */
export const zero = (g: Expr): Expr => mul(g, c(0));
/** Any other row by name. */
export const op = (name: string, ...args: Expr[]): Expr => apply(name, ...args);
