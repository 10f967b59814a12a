/** Rows of arithmetic on floats and integers. */

import { floorDivide, floorRemainder } from "../special.ts";
import {
  and,
  apart,
  c,
  div,
  exact,
  gt,
  lt,
  mul,
  neg,
  op,
  rows,
  sub,
  ulp1,
  ulp5,
  where,
  zero,
} from "./row.ts";

const pairs = [[1.5, -0.25], [-3, 7]];
/** The remainder of integers; Vulkan leaves that of negative ones open. */
const REST = "(a - a / b * b)";

/** Rows of this family by name. */
export const arithmetic = rows({
  add: {
    arity: 2,
    kind: "numeric",
    doc: "Sum `a + b`.",
    wgsl: "a + b",
    ref: (a, b) => a + b,
    grad: (g) => [g, g],
    samples: pairs,
    tolerance: ulp1,
    source: "torch.add",
  },
  sub: {
    arity: 2,
    kind: "numeric",
    doc: "Difference `a - b`.",
    wgsl: "a - b",
    ref: (a, b) => a - b,
    grad: (g) => [g, neg(g)],
    samples: pairs,
    tolerance: ulp1,
    source: "torch.sub; compilers take `x - x` for 0, also where x is NaN or ∞",
  },
  mul: {
    arity: 2,
    kind: "numeric",
    doc: "Product `a * b`.",
    wgsl: "a * b",
    ref: (a, b) => a * b,
    refInt: Math.imul,
    grad: (g, [a, b]) => [mul(g, b), mul(g, a)],
    samples: pairs,
    tolerance: ulp1,
    source: "torch.mul; integers wrap; compilers take `x * 0` for 0, also where x is NaN or ∞",
  },
  div: {
    arity: 2,
    kind: "float",
    doc: "True quotient `a / b`, also of integers.",
    wgsl: "divide(a, b)",
    ref: (a, b) => a / b,
    grad: (g, [, b], y) => [div(g, b), neg(div(mul(g, y), b))],
    samples: pairs,
    tolerance: ulp5,
    source: "torch.div; WGSL allows 2.5 ULP, and anything for |b| above 2^126, which is scaled",
  },
  neg: {
    arity: 1,
    kind: "numeric",
    doc: "Negation `-a`.",
    wgsl: "-(a)",
    wgslInt: "T(0) - a",
    ref: (a) => -a,
    grad: (g) => [neg(g)],
    samples: [[1.5], [-3]],
    tolerance: exact,
    source: "torch.neg; integers wrap",
  },
  square: {
    arity: 1,
    kind: "numeric",
    doc: "Square `a * a`.",
    wgsl: "a * a",
    ref: (a) => a * a,
    refInt: (a) => Math.imul(a, a),
    grad: (g, [a]) => [mul(g, mul(c(2), a))],
    samples: [[1.5], [-3]],
    tolerance: ulp1,
    source: "torch.square; integers wrap",
  },
  reciprocal: {
    arity: 1,
    kind: "float",
    doc: "Reciprocal `1 / a`.",
    wgsl: "1.0 / a",
    ref: (a) => 1 / a,
    // Drivers would take g · y² for it, which overflows sooner.
    grad: (g, _, y) => [neg(mul(apart(mul(g, y)), y))],
    samples: [[1.5], [-3]],
    tolerance: ulp5,
    source: "torch.reciprocal",
  },
  maximum: {
    arity: 2,
    kind: "numeric",
    doc: "The larger of `a` and `b`; NaN where either is NaN. A tie halves the gradient.",
    wgsl: "max_nan(a, b)",
    wgslInt: "max(a, b)",
    ref: (a, b) => Math.max(a, b),
    grad: (g, [a, b]) => {
      const half = where(op("eq", a, b), mul(g, c(0.5)), c(0));
      return [where(gt(a, b), g, half), where(lt(a, b), g, half)];
    },
    samples: pairs,
    tolerance: exact,
    source: "torch.maximum",
  },
  minimum: {
    arity: 2,
    kind: "numeric",
    doc: "The smaller of `a` and `b`; NaN where either is NaN. A tie halves the gradient.",
    wgsl: "min_nan(a, b)",
    wgslInt: "min(a, b)",
    ref: (a, b) => Math.min(a, b),
    grad: (g, [a, b]) => {
      const half = where(op("eq", a, b), mul(g, c(0.5)), c(0));
      return [where(lt(a, b), g, half), where(gt(a, b), g, half)];
    },
    samples: pairs,
    tolerance: exact,
    source: "torch.minimum",
  },
  remainder: {
    arity: 2,
    kind: "numeric",
    doc: "Remainder `a - b·⌊a / b⌋`, with the sign of `b`; 0 for an integer divisor 0.",
    wgsl: "floor_remainder(a, b)",
    wgslInt:
      `select(${REST} + select(T(0), b, ${REST} != T(0) && (${REST} < T(0)) != (b < T(0))), ` +
      "T(0), b == T(0))",
    ref: floorRemainder,
    grad: (g, [a, b]) => [g, neg(mul(g, op("floorDivide", a, b)))],
    samples: [[5.5, 2], [-5.25, 2], [5.5, -0.75], [-5.5, -3]],
    tolerance: ulp1,
    source: "torch.remainder; the remainder of |a| by |b| is exact for any quotient",
  },
  fmod: {
    arity: 2,
    kind: "numeric",
    doc: "Remainder `a - b·trunc(a / b)`, with the sign of `a`; 0 for an integer divisor 0.",
    wgsl: "exact_fmod(a, b)",
    wgslInt: `select(${REST}, T(0), b == T(0))`,
    ref: (a, b) => a % b,
    grad: (g, [a, b], y) => [g, neg(mul(g, op("round", div(sub(a, y), b))))],
    samples: [[5.5, 2], [-5.25, 2], [5.5, -0.75], [-5.5, -3]],
    tolerance: exact,
    source: "torch.fmod; exact for any quotient, which the built-in % is not",
  },
  floorDivide: {
    arity: 2,
    kind: "numeric",
    doc: "Quotient rounded down, `⌊a / b⌋`; 0 for an integer divisor 0.",
    wgsl: "floor_divide(a, b)",
    wgslInt: `select(a / b - select(T(0), T(1), ${REST} != T(0) && (a < T(0)) != (b < T(0))), ` +
      "T(0), b == T(0))",
    ref: floorDivide,
    grad: (g) => [zero(g), zero(g)],
    samples: [[5.5, 2], [-5.25, 2], [5.5, -0.75]],
    tolerance: ulp5,
    source: "torch.div with rounding_mode floor; a whole number while the quotient is below 1e6",
  },
  abs: {
    arity: 1,
    kind: "numeric",
    doc: "Absolute value `|a|`; the derivative at 0 is 0.",
    wgsl: "abs(a)",
    ref: (a) => Math.abs(a),
    grad: (g, [a]) => [where(gt(a, c(0)), g, where(lt(a, c(0)), neg(g), c(0)))],
    samples: [[1.5], [-3]],
    tolerance: exact,
    source: "torch.abs",
  },
  sign: {
    arity: 1,
    kind: "numeric",
    doc: "Sign of `a`: -1, 0 or 1; 0 for NaN.",
    wgsl: "T(a > T(0)) - T(a < T(0))",
    ref: (a) => (a > 0 ? 1 : a < 0 ? -1 : 0),
    grad: (g) => [zero(g)],
    samples: [[1.5], [-3]],
    tolerance: exact,
    source: "torch.sign, which also gives 0 for NaN",
  },
  hypot: {
    arity: 2,
    kind: "float",
    doc: "Length `√(a² + b²)`, without overflow; the derivative at the origin is 0.",
    wgsl: "precise_hypot(a, b)",
    ref: (a, b) => Math.hypot(a, b),
    grad: (g, [a, b], y) => {
      const length = where(op("eq", y, c(0)), c(1), y);
      return [mul(g, div(a, length)), mul(g, div(b, length))];
    },
    samples: [[1.5, -0.25], [-3, 7]],
    tolerance: ulp5,
    source: "torch.hypot, whose derivative at the origin is NaN",
  },
  lerp: {
    arity: 3,
    kind: "float",
    doc: "Linear interpolation `a + c·(b - a)`.",
    wgsl: "select(b - (b - a) * (1.0 - c), a + c * (b - a), abs(c) < 0.5)",
    ref: (a, b, w) => (Math.abs(w) < 0.5 ? a + w * (b - a) : b - (b - a) * (1 - w)),
    grad: (g, [a, b, w]) => [mul(g, sub(c(1), w)), mul(g, w), mul(g, sub(b, a))],
    samples: [[1.5, -0.25, 0.3], [-3, 7, 0.75]],
    tolerance: { rel: 3e-7, abs: 1e-38 },
    scale: (a, b, w) => (Math.abs(a) + Math.abs(b)) * Math.max(1, Math.abs(w), Math.abs(1 - w)),
    source: "torch.lerp, exact at both ends; overflows where b - a does",
  },
  clamp: {
    arity: 3,
    kind: "numeric",
    doc: "`min(max(a, b), c)`; NaN where any is NaN. At a bound the gradient goes to `a`.",
    wgsl: "min_nan(max_nan(a, b), c)",
    wgslInt: "min(max(a, b), c)",
    ref: (a, low, high) => Math.min(Math.max(a, low), high),
    grad: (g, [a, low, high]) => {
      const inside = and(op("ge", a, low), op("le", a, high));
      const below = and(lt(low, high), lt(a, low));
      const above = op("logicalOr", gt(a, high), gt(low, high));
      return [inside, below, above].map((part) => where(part, g, c(0)));
    },
    samples: [[0.5, -1, 1], [-3, -1, 1], [2.5, -1, 1], [0.5, 2, 1]],
    tolerance: exact,
    source: "torch.clamp with tensor bounds",
  },
});
