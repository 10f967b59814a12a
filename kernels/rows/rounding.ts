/** Rows that round to integers. */

import { roundHalfEven } from "../special.ts";
import { exact, type RowOf, rows, zero } from "./row.ts";

const samples = [[1.25], [-2.75], [0.3]];
const step = (doc: string, wgsl: string, ref: (a: number) => number, source: string): RowOf<1> => ({
  arity: 1,
  kind: "numeric",
  doc: `${doc} The derivative is 0; integers stay as they are.`,
  wgsl,
  wgslInt: "a",
  ref,
  grad: (g) => [zero(g)],
  samples,
  tolerance: exact,
  source,
});

/** Rows of this family by name. */
export const rounding = rows({
  floor: step("The largest integer up to `a`.", "floor(a)", Math.floor, "torch.floor"),
  ceil: step("The smallest integer from `a` on.", "ceil(a)", Math.ceil, "torch.ceil"),
  round: step(
    "The nearest integer, at a tie the even one.",
    "round(a)",
    roundHalfEven,
    "torch.round",
  ),
  trunc: step("The integer part of `a`, towards 0.", "trunc(a)", Math.trunc, "torch.trunc"),
  frac: {
    arity: 1,
    kind: "float",
    doc: "The fractional part `a - trunc(a)`, with the sign of `a`.",
    wgsl: "a - trunc(a)",
    ref: (a) => a - Math.trunc(a),
    grad: (g) => [g],
    samples,
    tolerance: exact,
    source: "torch.frac",
  },
});
