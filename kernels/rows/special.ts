/** Rows of special functions. */

import { erf, erfc } from "../special.ts";
import { c, mul, neg, op, rows, series } from "./row.ts";
import type { Expr } from "../expr.ts";

const bell = (a: Expr, factor: number): Expr => mul(c(factor), op("exp", neg(mul(a, a))));

/** Rows of this family by name. */
export const special = rows({
  erf: {
    arity: 1,
    kind: "float",
    doc: "Error function `2/√π ∫₀ᵃ e^(-t²) dt`.",
    wgsl: "precise_erf(a)",
    ref: erf,
    grad: (g, [a]) => [mul(g, bell(a, 2 / Math.sqrt(Math.PI)))],
    samples: [[0.5], [-2], [1e-3]],
    tolerance: series,
    source: "torch.erf",
  },
  erfc: {
    arity: 1,
    kind: "float",
    doc: "Complementary error function `1 - erf a`, with all digits in the tail.",
    wgsl: "precise_erfc(a)",
    ref: erfc,
    grad: (g, [a]) => [mul(g, bell(a, -2 / Math.sqrt(Math.PI)))],
    samples: [[0.5], [-2], [3.5]],
    tolerance: series,
    source: "torch.erfc",
  },
});
