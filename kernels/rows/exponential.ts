/** Rows of exponentials, logarithms and powers. */

import { c, div, mul, rows } from "./row.ts";

/** Rows of this family by name. */
export const exponential = rows({
  exp: {
    arity: 1,
    kind: "float",
    doc: "Exponential `e^a`.",
    wgsl: "exp(a)",
    ref: (a) => Math.exp(a),
    grad: (g, _, y) => [mul(g, y)],
    samples: [[1.5], [-3], [0]],
    tolerance: { rel: 2e-5, abs: 1e-38 },
    source: "torch.exp",
  },
  log: {
    arity: 1,
    kind: "float",
    doc: "Natural logarithm.",
    wgsl: "log(a)",
    ref: (a) => Math.log(a),
    grad: (g, [a]) => [div(g, a)],
    samples: [[1.5], [0.1]],
    tolerance: { rel: 1e-6, abs: 6e-7 },
    source: "torch.log",
  },
  sqrt: {
    arity: 1,
    kind: "float",
    doc: "Square root.",
    wgsl: "sqrt(a)",
    ref: (a) => Math.sqrt(a),
    grad: (g, _, y) => [div(mul(g, c(0.5)), y)],
    samples: [[1.5], [4]],
    tolerance: { rel: 6e-7, abs: 1e-38 },
    source: "torch.sqrt",
  },
  rsqrt: {
    arity: 1,
    kind: "float",
    doc: "Reciprocal square root `1 / √a`.",
    wgsl: "inverseSqrt(a)",
    ref: (a) => 1 / Math.sqrt(a),
    grad: (g, _, y) => [mul(mul(g, c(-0.5)), mul(y, mul(y, y)))],
    samples: [[1.5], [4]],
    tolerance: { rel: 6e-7, abs: 1e-38 },
    source: "torch.rsqrt",
  },
});
