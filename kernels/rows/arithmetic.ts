/** Rows of arithmetic: exact or correctly rounded, on floats and integers. */

import { c, div, gt, lt, mul, neg, op, rows, sub, where } from "./row.ts";

const exact = { rel: 0, abs: 0 };
const ulp1 = { rel: 1.2e-7, abs: 1e-38 };
const ulp5 = { rel: 6e-7, abs: 1e-38 };

/** Rows of this family by name. */
export const arithmetic = rows({
  add: {
    arity: 2,
    kind: "numeric",
    doc: "Sum `a + b`.",
    wgsl: "a + b",
    ref: (a, b) => a + b,
    grad: (g) => [g, g],
    samples: [[1.5, -0.25], [-3, 7]],
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
    samples: [[1.5, -0.25], [-3, 7]],
    tolerance: ulp1,
    source: "torch.sub",
  },
  mul: {
    arity: 2,
    kind: "numeric",
    doc: "Product `a * b`.",
    wgsl: "a * b",
    ref: (a, b) => a * b,
    grad: (g, [a, b]) => [mul(g, b), mul(g, a)],
    samples: [[1.5, -0.25], [-3, 7]],
    tolerance: ulp1,
    source: "torch.mul",
  },
  div: {
    arity: 2,
    kind: "float",
    doc: "True quotient `a / b`, also of integers.",
    wgsl: "a / b",
    ref: (a, b) => a / b,
    grad: (g, [, b], y) => [div(g, b), neg(div(mul(g, y), b))],
    samples: [[1.5, -0.25], [-3, 7]],
    tolerance: ulp5,
    source: "torch.div",
  },
  neg: {
    arity: 1,
    kind: "numeric",
    doc: "Negation `-a`.",
    wgsl: "-a",
    ref: (a) => -a,
    grad: (g) => [neg(g)],
    samples: [[1.5], [-3]],
    tolerance: exact,
    source: "torch.neg",
  },
  square: {
    arity: 1,
    kind: "numeric",
    doc: "Square `a * a`.",
    wgsl: "a * a",
    ref: (a) => a * a,
    grad: (g, [a]) => [mul(g, mul(c(2), a))],
    samples: [[1.5], [-3]],
    tolerance: ulp1,
    source: "torch.square",
  },
  maximum: {
    arity: 2,
    kind: "numeric",
    doc: "The larger of `a` and `b`; NaN where either is NaN. At a tie the gradient is split in halves.",
    wgsl: "max_nan(a, b)",
    wgslInt: "max(a, b)",
    ref: (a, b) => Math.max(a, b),
    grad: (g, [a, b]) => {
      const half = mul(g, c(0.5));
      const tie = op("eq", a, b);
      return [where(tie, half, where(gt(a, b), g, c(0))), where(tie, half, where(lt(a, b), g, c(0)))];
    },
    samples: [[1.5, -0.25], [-3, 7]],
    tolerance: exact,
    source: "torch.maximum",
  },
});
