/** Rows of comparison, logic, selection and classification. */

import { c, exact, type RowOf, rows, where } from "./row.ts";

const discrete = "the result is not continuous";
const flags = [[1, 1], [1, 0], [0, 1], [0, 0]];
const holds = (a: number): boolean => a !== 0;

// Compilers fold x == x to true and take x != NaN for false; the bit test tells NaN apart.
const compare = (sign: string, ref: (a: number, b: number) => boolean): RowOf<2> => ({
  arity: 2,
  kind: "compare",
  doc: `\`a ${sign} b\`; ${sign === "!=" ? "true" : "false"} where either is NaN.`,
  wgsl: sign === "!="
    ? "(!(a == b) || is_nan(a))"
    : sign.endsWith("=")
    ? `(a ${sign} b && !is_nan(a))`
    : `(a ${sign} b)`,
  wgslInt: `(a ${sign} b)`,
  ref: (a, b) => (ref(a, b) ? 1 : 0),
  grad: discrete,
  samples: [[1, 2], [2, 2], [3, 2]],
  tolerance: exact,
  source: "torch comparison ops",
});

const connective = (
  doc: string,
  wgsl: string,
  ref: (a: boolean, b: boolean) => boolean,
): RowOf<2> => ({
  arity: 2,
  kind: "logic",
  doc: `${doc}; numbers count as true unless they are 0.`,
  wgsl,
  ref: (a, b) => (ref(holds(a), holds(b)) ? 1 : 0),
  grad: discrete,
  samples: flags,
  tolerance: exact,
  source: "torch logical ops",
});

const classify = (
  doc: string,
  wgsl: string,
  wgslInt: string,
  ref: (a: number) => boolean,
): RowOf<1> => ({
  arity: 1,
  kind: "compare",
  doc,
  wgsl,
  wgslInt,
  ref: (a) => (ref(a) ? 1 : 0),
  grad: discrete,
  samples: [[1], [0], [-3]],
  tolerance: exact,
  source: "torch; on the bits, since compilers assume that there is no NaN",
});

/** Rows of this family by name. */
export const logic = rows({
  eq: compare("==", (a, b) => a === b),
  ne: compare("!=", (a, b) => a !== b),
  gt: compare(">", (a, b) => a > b),
  ge: compare(">=", (a, b) => a >= b),
  lt: compare("<", (a, b) => a < b),
  le: compare("<=", (a, b) => a <= b),
  logicalAnd: connective("`a` and `b`", "(a && b)", (a, b) => a && b),
  logicalOr: connective("`a` or `b`", "(a || b)", (a, b) => a || b),
  logicalXor: connective("Either `a` or `b`, not both", "(a != b)", (a, b) => a !== b),
  logicalNot: {
    arity: 1,
    kind: "logic",
    doc: "Not `a`; numbers count as true unless they are 0.",
    wgsl: "!a",
    ref: (a) => (holds(a) ? 0 : 1),
    grad: discrete,
    samples: [[1], [0]],
    tolerance: exact,
    source: "torch.logical_not",
  },
  isNan: classify("True for NaN.", "is_nan(a)", "false", (a) => Number.isNaN(a)),
  isInf: classify("True for ∞ and -∞.", "is_inf(a)", "false", (a) => Math.abs(a) === Infinity),
  isFinite: classify("False for NaN, ∞ and -∞.", "is_finite(a)", "true", (a) => Number.isFinite(a)),
  where: {
    arity: 3,
    kind: "select",
    doc: "`b` where the condition `a` holds, `c` elsewhere.",
    wgsl: "select(c, b, a)",
    ref: (a, b, d) => (holds(a) ? b : d),
    grad: (g, [a]) => [null, where(a, g, c(0)), where(a, c(0), g)],
    samples: [[1, 2.5, -3], [0, 2.5, -3]],
    tolerance: exact,
    source: "torch.where",
  },
});
