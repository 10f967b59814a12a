/**
 * Attention `softmax(Q Kᵀ · scale + mask) V` without a matrix of all scores: a kernel for the result, and three for its
 * gradients, which compute the scores again.
 *
 * Dao et al., "FlashAttention", 2022; the sums run over keys (or queries) in order, and nothing is added by atomics.
 */

import { attentionScalars, gradientProgram, keyProgram, outputProgram } from "./attention_code.ts";
import { rowDotsProgram } from "./attention_row_dots.ts";
import {
  keyReference,
  outputReference,
  queryReference,
  rowDotsReference,
} from "./attention_reference.ts";
import type { MatrixOperand } from "./matrix_loads.ts";
import { type DType, intern, type Kernel, type Shape, sizeOf } from "./types.ts";

/** What is added to the scores (f32), or which of them count (bool); rows are queries, columns are keys. */
export interface MaskOperand extends MatrixOperand {
  readonly dtype: "f32" | "bool";
}

/** What all kernels are told. */
export interface AttentionParams {
  readonly batch: Shape;
  /** Rows of q, rows of k and v. */
  readonly queries: number;
  readonly keys: number;
  /** Columns of q and k, columns of v. */
  readonly depth: number;
  readonly width: number;
  /** Whether key j counts for queries from number j on only. */
  readonly causal: boolean;
  /** Whether weights are dropped. */
  readonly dropout: boolean;
  readonly q: MatrixOperand;
  readonly k: MatrixOperand;
  readonly v: MatrixOperand;
  readonly mask: MaskOperand | null;
}

/** The result. */
export interface AttentionOutputParams extends AttentionParams {
  readonly out: MatrixOperand;
}

/** The gradient of q, from that of the result. */
export interface AttentionQueryParams extends AttentionParams {
  readonly g: MatrixOperand;
  readonly dq: MatrixOperand;
}

/** The gradients of k and v. */
export interface AttentionKeyParams extends AttentionParams {
  readonly g: MatrixOperand;
  readonly dk: MatrixOperand;
  readonly dv: MatrixOperand;
  /** The gradient of q beside them, for devices that say `wasm`; columns of q, k, v and g must be next to each other. */
  readonly dq?: MatrixOperand;
  /** Whether all lie in one operand. */
  readonly together: boolean;
}

/** Sums over the rows of g · out, beside the logarithms of the sums of the forward pass. */
export interface RowDotsParams {
  readonly batch: Shape;
  readonly queries: number;
  readonly width: number;
  readonly g: MatrixOperand;
  readonly out: MatrixOperand;
}

function inputsOf({ mask }: AttentionParams): DType[] {
  return mask === null ? ["f32", "f32", "f32"] : ["f32", "f32", "f32", mask.dtype];
}

/** Products of queries and keys; causal ones leave about half of them out. */
function pairs({ batch, queries, keys, causal }: AttentionParams): number {
  return sizeOf(batch) * queries * keys * (causal ? 0.5 : 1);
}

/**
 * The result, and of each query the logarithm of the sum of the exponentials of its scores, 0 where no key counts: then the
 * result is 0.
 *
 * Inputs: q, k, v, the mask where there is one. Outputs: the result, and [...batch, queries].
 */
export function attentionKernel(params: AttentionOutputParams): Kernel {
  const key = `attention|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "attention",
    key,
    params,
    inputs: inputsOf(params),
    outputs: ["f32", "f32"],
    scalars: attentionScalars(params.dropout),
    flops: 2 * pairs(params) * (params.depth + params.width),
    wgsl: (traits) => outputProgram(params, traits),
    reference: (inputs, outputs, scalars) => outputReference(params, inputs, outputs, scalars),
  }));
}

/**
 * What the kernels of the gradients read of each query. Inputs: g, the result, and the logarithms of the forward pass.
 * Output: [...batch, 2, queries], the logarithm and the sum of g · out.
 */
export function attentionRowDotsKernel(params: RowDotsParams): Kernel {
  const key = `attention row dots|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "attentionRowDots",
    key,
    params,
    inputs: ["f32", "f32", "f32"],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => rowDotsProgram(params, traits),
    reference: (inputs, [to]) => rowDotsReference(params, inputs, to),
  }));
}

/** The gradient of q. Inputs: those of the forward pass, g, and what attentionRowDotsKernel() gives. */
export function attentionQueryKernel(params: AttentionQueryParams): Kernel {
  const key = `attention query gradient|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "attentionQueryGradient",
    key,
    params,
    inputs: [...inputsOf(params), "f32", "f32"],
    outputs: ["f32"],
    scalars: attentionScalars(params.dropout),
    flops: 2 * pairs(params) * (2 * params.depth + params.width),
    wgsl: (traits) => gradientProgram(params, traits),
    reference: (inputs, [to], scalars) => queryReference(params, inputs, to, scalars),
  }));
}

/** The gradients of k and v, and of q where asked for, as one output each or as one. Inputs as attentionQueryKernel(). */
export function attentionKeyKernel(params: AttentionKeyParams): Kernel {
  const key = `attention key gradient|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "attentionKeyGradient",
    key,
    params,
    inputs: [...inputsOf(params), "f32", "f32"],
    outputs: params.together ? ["f32"] : params.dq ? ["f32", "f32", "f32"] : ["f32", "f32"],
    scalars: attentionScalars(params.dropout),
    flops: pairs(params) * (4 * (params.depth + params.width) + (params.dq ? 2 * params.depth : 0)),
    wgsl: (traits) => keyProgram(params, traits),
    reference: (inputs, outputs, scalars) => keyReference(params, inputs, outputs, scalars),
  }));
}
