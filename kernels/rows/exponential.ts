/** Rows of exponentials, logarithms and powers. */

import { integerPower, power } from "../special.ts";
import { add, and, c, div, mul, op, rows, series, sub, ulp5, where } from "./row.ts";

const positive = [[1.5], [0.1], [7]];

/** Rows of this family by name. */
export const exponential = rows({
  exp: {
    arity: 1,
    kind: "float",
    doc: "Exponential `e^a`.",
    wgsl: "precise_exp(a)",
    ref: (a) => Math.exp(a),
    grad: (g, _, y) => [mul(g, y)],
    samples: [[1.5], [-3], [0]],
    tolerance: series,
    source: "torch.exp; own series, since the built-in one may lose 180 ULP at 88",
  },
  exp2: {
    arity: 1,
    kind: "float",
    doc: "Power of two `2^a`.",
    wgsl: "precise_exp2(a)",
    ref: (a) => Math.pow(2, a),
    grad: (g, _, y) => [mul(mul(g, c(Math.LN2)), y)],
    samples: [[1.5], [-3], [0]],
    tolerance: series,
    source: "torch.exp2; exact for whole numbers",
  },
  expm1: {
    arity: 1,
    kind: "float",
    doc: "`e^a - 1`, with all digits next to 0.",
    wgsl: "precise_expm1(a)",
    ref: (a) => Math.expm1(a),
    grad: (g, _, y) => [mul(g, add(y, c(1)))],
    samples: [[1.5], [-3], [1e-3]],
    tolerance: series,
    source: "torch.expm1",
  },
  log: {
    arity: 1,
    kind: "float",
    doc: "Natural logarithm; -∞ at 0, NaN below.",
    wgsl: "precise_log(a)",
    ref: (a) => Math.log(a),
    grad: (g, [a]) => [div(g, a)],
    samples: positive,
    tolerance: series,
    source: "torch.log; own series, since the built-in one may lose all digits next to 1",
  },
  log2: {
    arity: 1,
    kind: "float",
    doc: "Logarithm to base 2; -∞ at 0, NaN below.",
    wgsl: "precise_log2(a)",
    ref: (a) => Math.log2(a),
    grad: (g, [a]) => [div(mul(g, c(Math.LOG2E)), a)],
    samples: positive,
    tolerance: series,
    source: "torch.log2; exact for powers of two",
  },
  log10: {
    arity: 1,
    kind: "float",
    doc: "Logarithm to base 10; -∞ at 0, NaN below.",
    wgsl: "precise_log10(a)",
    ref: (a) => Math.log10(a),
    grad: (g, [a]) => [div(mul(g, c(Math.LOG10E)), a)],
    samples: positive,
    tolerance: series,
    source: "torch.log10",
  },
  log1p: {
    arity: 1,
    kind: "float",
    doc: "`log(1 + a)`, with all digits next to 0; -∞ at -1, NaN below.",
    wgsl: "precise_log1p(a)",
    ref: (a) => Math.log1p(a),
    grad: (g, [a]) => [div(g, add(c(1), a))],
    samples: [[1.5], [-0.5], [1e-3]],
    tolerance: series,
    source: "torch.log1p",
  },
  sqrt: {
    arity: 1,
    kind: "float",
    doc: "Square root; NaN below 0.",
    wgsl: "sqrt(a)",
    ref: (a) => Math.sqrt(a),
    grad: (g, _, y) => [div(mul(g, c(0.5)), y)],
    samples: positive,
    tolerance: ulp5,
    source: "torch.sqrt",
  },
  rsqrt: {
    arity: 1,
    kind: "float",
    doc: "Reciprocal square root `1 / √a`; NaN below 0.",
    wgsl: "inverseSqrt(a)",
    ref: (a) => 1 / Math.sqrt(a),
    grad: (g, _, y) => [mul(mul(g, c(-0.5)), mul(y, mul(y, y)))],
    samples: positive,
    tolerance: ulp5,
    source: "torch.rsqrt",
  },
  pow: {
    arity: 2,
    kind: "numeric",
    doc: "Power `a^b`, also of negative `a` for whole `b`; integers wrap.",
    wgsl: "precise_pow(a, b)",
    wgslInt: "select(bitcast<T>(pow_u32(bitcast<u32>(a), bitcast<u32>(b))), " +
      "select(select(T(0), T(1) - T(2) * (b & T(1)), a + T(1) == T(0)), T(1), a == T(1)), " +
      "b < T(0))",
    ref: power,
    refInt: integerPower,
    grad: (g, [a, b], y) => {
      // 0 · ∞ is kept out: b · a^(b - 1) at b = 0 where 1/a overflows, and aᵇ · log a at a = 0.
      const none = and(op("eq", b, c(0)), op("logicalNot", op("isFinite", op("reciprocal", a))));
      const slope = mul(b, op("pow", a, where(none, c(0), sub(b, c(1)))));
      const flat = and(op("eq", a, c(0)), op("ge", b, c(0)));
      return [mul(g, slope), mul(g, mul(y, op("log", where(flat, c(1), a))))];
    },
    samples: [[1.5, 2.5], [0.3, -1.25], [4, 0.5], [2, 0]],
    tolerance: { rel: 2.5e-6, abs: 1e-38 },
    source:
      "torch.pow; 0⁰ = 1ᵇ = 1; for integers b < 0 gives 0 unless a is ±1; good to 2e-7 itself, " +
      "but the rounding of b - 1 in its gradient costs |log a| times as much",
  },
  logaddexp: {
    arity: 2,
    kind: "float",
    doc: "`log(e^a + e^b)`, without overflow.",
    wgsl: "precise_logaddexp(a, b)",
    ref: (a, b) => a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))),
    grad: (g, [a, b]) => [
      mul(g, op("sigmoid", sub(a, b))),
      mul(g, op("sigmoid", sub(b, a))),
    ],
    samples: [[1.5, -0.25], [-3, 7], [2, 2]],
    tolerance: { rel: 1e-6, abs: 1e-7 },
    source: "torch.logaddexp; absolute where the result is near 0",
  },
  xlogy: {
    arity: 2,
    kind: "float",
    doc: "`a · log b`, and 0 where `a` is 0 unless `b` is NaN.",
    wgsl: "select(select(a * precise_log(b), 0.0, a == 0.0), nan(), is_nan(b))",
    ref: (a, b) => (Number.isNaN(b) ? NaN : a === 0 ? 0 : a * Math.log(b)),
    grad: (g, [a, b]) => {
      const none = and(op("eq", a, c(0)), op("le", b, c(0)));
      return [mul(g, op("log", where(none, c(1), b))), div(mul(g, a), b)];
    },
    samples: [[1.5, 0.25], [-3, 7], [0, 2]],
    tolerance: series,
    source: "torch.xlogy",
  },
});
