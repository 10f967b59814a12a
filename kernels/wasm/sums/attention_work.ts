/** The kernels of attention as products: which rows meet which, and where results go. */

import type {
  AttentionKeyParams,
  AttentionOutputParams,
  AttentionParams,
  AttentionQueryParams,
} from "../../attention.ts";
import type { MatrixOperand } from "../../matrix_loads.ts";
import type { Kernel } from "../../types.ts";

/** One product that gives scores: own rows times all rows of the other side, which are packed. */
export interface ScoreProduct {
  readonly own: MatrixOperand;
  readonly ownOperand: number;
  readonly other: MatrixOperand;
  readonly otherOperand: number;
  readonly depth: number;
}

/** One product of weights with all rows of the other side. */
export interface ValueProduct {
  /** Which scores are its left side. */
  readonly left: 0 | 1;
  readonly right: MatrixOperand;
  readonly rightOperand: number;
  readonly out: MatrixOperand;
  readonly outOperand: number;
  readonly columns: number;
  /** Whether the sums of a row are multiplied with a factor. */
  readonly scaled: boolean;
}

/** Gradients of queries beside those of keys. */
export interface QueryProduct {
  readonly dq: MatrixOperand;
  readonly operand: number;
}

/** What a kernel is made of. */
export interface Work {
  readonly p: AttentionParams;
  readonly ownRows: number;
  readonly otherRows: number;
  readonly byKey: boolean;
  readonly scores: readonly ScoreProduct[];
  readonly values: readonly ValueProduct[];
  /** The gradients of queries, where they are computed beside those of keys. */
  readonly queries?: QueryProduct;
}

/** What a kernel is made of. */
export function workOf(kernel: Kernel): Work {
  const p = kernel.params as AttentionParams;
  const [g, first] = [kernel.inputs.length - 2, kernel.inputs.length];
  const score = { own: p.q, ownOperand: 0, other: p.k, otherOperand: 1, depth: p.depth };
  const sides = { p, ownRows: p.queries, otherRows: p.keys, byKey: false };
  if (kernel.op === "attention") {
    const { out } = kernel.params as AttentionOutputParams;
    const right = { right: p.v, rightOperand: 2, columns: p.width };
    const value = { left: 0, ...right, out, outOperand: first, scaled: true } as const;
    return { ...sides, scores: [score], values: [value] };
  }
  if (kernel.op === "attentionQueryGradient") {
    const { g: ofG, dq } = kernel.params as AttentionQueryParams;
    const change = { own: ofG, ownOperand: g, other: p.v, otherOperand: 2, depth: p.width };
    const right = { right: p.k, rightOperand: 1, columns: p.depth };
    const value = { left: 0, ...right, out: dq, outOperand: first, scaled: false } as const;
    return { ...sides, scores: [score, change], values: [value] };
  }
  const { g: ofG, dk, dv, dq, together } = kernel.params as AttentionKeyParams;
  const turned = { own: p.k, ownOperand: 1, other: p.q, otherOperand: 0, depth: p.depth };
  const change = { own: p.v, ownOperand: 2, other: ofG, otherOperand: g, depth: p.width };
  const outV = { out: dv, outOperand: together ? first : first + 1, scaled: false };
  const outK = { out: dk, outOperand: first, scaled: false };
  return {
    ...{ p, ownRows: p.keys, otherRows: p.queries, byKey: true },
    scores: [turned, change],
    values: [
      { left: 0, right: ofG, rightOperand: g, columns: p.width, ...outV },
      { left: 1, right: p.q, rightOperand: 0, columns: p.depth, ...outK },
    ],
    ...(dq ? { queries: { dq, operand: together ? first : first + 2 } } : {}),
  };
}
