/** Rows of comparison, logic and selection. */

import { c, type Row, rows, where } from "./row.ts";

const exact = { rel: 0, abs: 0 };
const discrete = "the result is not continuous";
const compare = (doc: string, wgsl: string, ref: (a: number, b: number) => boolean): Row => ({
  arity: 2,
  kind: "compare",
  doc,
  wgsl,
  ref: (a, b) => (ref(a, b) ? 1 : 0),
  grad: discrete,
  samples: [[1, 2], [2, 2], [3, 2]],
  tolerance: exact,
  source: "torch comparison ops",
});

/** Rows of this family by name. */
export const logic = rows({
  eq: compare("`a == b`.", "a == b", (a, b) => a === b),
  ne: compare("`a != b`.", "a != b", (a, b) => a !== b),
  gt: compare("`a > b`.", "a > b", (a, b) => a > b),
  ge: compare("`a >= b`.", "a >= b", (a, b) => a >= b),
  lt: compare("`a < b`.", "a < b", (a, b) => a < b),
  le: compare("`a <= b`.", "a <= b", (a, b) => a <= b),
  logicalNot: {
    arity: 1,
    kind: "logic",
    doc: "`!a`.",
    wgsl: "!a",
    ref: (a) => (a ? 0 : 1),
    grad: discrete,
    samples: [[1], [0]],
    tolerance: exact,
    source: "torch.logical_not",
  },
  where: {
    arity: 3,
    kind: "select",
    doc: "`b` where the condition `a` holds, `c` elsewhere.",
    wgsl: "select(c, b, a)",
    ref: (a, b, d) => (a ? b : d),
    grad: (g, [a]) => [null, where(a, g, c(0)), where(a, c(0), g)],
    samples: [[1, 2.5, -3], [0, 2.5, -3]],
    tolerance: exact,
    source: "torch.where",
  },
});
