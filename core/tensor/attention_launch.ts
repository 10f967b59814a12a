/** From the operands of attention to its kernel calls. */

import {
  attentionKernel,
  attentionKeyKernel,
  type AttentionParams,
  attentionQueryKernel,
  attentionRowDotsKernel,
} from "../../kernels/attention.ts";
import { attentionTurns } from "../../kernels/attention_rows.ts";
import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import type { MatrixOperand } from "../../kernels/matrix_loads.ts";
import { type Operand, type Shape, sizeOf } from "../../kernels/types.ts";
import { denseOperand, operandOf, residualOf } from "./launch.ts";
import type { Key } from "./random.ts";
import { broadcastStrides, contiguousStrides, memoryOrder } from "./shape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Weights that are dropped. */
export interface DroppedWeights {
  readonly p: number;
  /** The key of the forward pass, which the backward pass asks for again. */
  readonly key: () => Key;
}

/** Operands of which all kernels are made: f32 matrices of one batch. */
export interface AttentionProblem {
  /** [...batch, L, D] */
  readonly q: Tensor;
  /** [...batch, S, D] */
  readonly k: Tensor;
  /** [...batch, S, Dv] */
  readonly v: Tensor;
  /** f32 or bool, broadcastable to [...batch, L, S] */
  readonly mask: Tensor | null;
  readonly batch: Shape;
  readonly causal: boolean;
  readonly scale: number;
  readonly dropout: DroppedWeights | null;
}

/** Strides over batch, rows and columns. */
function matrixOf(t: Tensor, batch: Shape, rows: number, columns: number): MatrixOperand {
  const strides = broadcastStrides(t.shape, t.strides, [...batch, rows, columns]);
  return {
    rowStride: strides.at(-2)!,
    columnStride: strides.at(-1)!,
    batchStrides: strides.slice(0, -2),
    offset: residualOf(t),
  };
}

function paramsOf(p: AttentionProblem): AttentionParams {
  const { q, k, v, mask, batch, causal, dropout } = p;
  const [[queries, depth], [keys, width]] = [q, v].map((t) => t.shape.slice(-2));
  const params: AttentionParams = {
    batch,
    queries,
    keys,
    depth,
    width,
    causal,
    dropout: dropout !== null,
    q: matrixOf(q, batch, queries, depth),
    k: matrixOf(k, batch, keys, depth),
    v: matrixOf(v, batch, keys, width),
    mask: mask &&
      { ...matrixOf(mask, batch, queries, keys), dtype: mask.dtype === "bool" ? "bool" : "f32" },
  };
  const { software, wasm, name } = { ...q.device.traits, name: q.device.name };
  if (software && !wasm && attentionTurns(params) > LOOP_LIMIT) {
    throw new RangeError(
      `Cannot attend from ${queries} to ${keys} rows of ${depth} and ${width} columns on "${name}": ` +
        "expected fewer, since a software adapter leaves long loops",
    );
  }
  return params;
}

/** Run-time numbers of a kernel, renewed by replays where weights are dropped. */
function numbersOf({ scale, dropout }: AttentionProblem): {
  scalars: readonly number[];
  live?: () => readonly number[];
} {
  if (dropout === null) return { scalars: [scale] };
  const { p, key } = dropout;
  const live = () => {
    const { k0, k1 } = key();
    return [scale, k0, k1, Math.ceil(p * 2 ** 24), p < 1 ? 1 / (1 - p) : 0];
  };
  return { scalars: live(), live };
}

function inputsOf({ q, k, v, mask }: AttentionProblem): Operand<unknown>[] {
  return [q, k, v, ...(mask ? [mask] : [])].map(operandOf);
}

/** Dense strides of a result: columns are next to each other, the other axes lie as those of a tensor that has them. */
export function stridesLike(shape: Shape, like: Tensor): number[] {
  const outer = shape.slice(0, -1);
  const same = String(like.shape.slice(0, -1)) === String(outer);
  if (!same) return contiguousStrides(shape);
  const strides = new Array<number>(shape.length).fill(1);
  let step = Math.max(1, shape.at(-1)!);
  for (const d of memoryOrder(outer, like.strides.slice(0, -1)).reverse()) {
    strides[d] = step;
    step *= Math.max(1, shape[d]);
  }
  return strides;
}

/** The result [...batch, L, Dv], and the logarithms of the sums [...batch, L]. */
export function launchAttention(op: string, p: AttentionProblem): { out: Tensor; logs: Tensor } {
  const params = paramsOf(p);
  const { batch, queries, width } = params;
  const { device } = p.q;
  const shape = [...batch, queries, width];
  const out = empty(device, shape, "f32", op, stridesLike(shape, p.q));
  const logs = empty(device, [...batch, queries], "f32", op);
  device.record({
    kernel: attentionKernel({ ...params, out: matrixOf(out, batch, queries, width) }),
    inputs: inputsOf(p),
    outputs: [operandOf(out), denseOperand(logs)],
    ...numbersOf(p),
  });
  return { out, logs };
}

/** Places for the gradients; null where one is not wanted. */
export interface AttentionGradients {
  readonly dq: Tensor | null;
  readonly dk: Tensor | null;
  readonly dv: Tensor | null;
}

/** Writes the gradients into their places; those of k and v, of which both are written, may lie in one buffer. */
export function launchAttentionGradients(
  op: string,
  p: AttentionProblem,
  g: Tensor,
  { out, logs }: { readonly out: Tensor; readonly logs: Tensor },
  { dq, dk, dv }: AttentionGradients,
): void {
  const params = paramsOf(p);
  const { batch, queries, keys, depth, width } = params;
  const { device } = p.q;
  const rows = empty(device, [...batch, 2, queries], "f32", op);
  const ofG = matrixOf(g, batch, queries, width);
  device.record({
    kernel: attentionRowDotsKernel({
      batch,
      queries,
      width,
      g: ofG,
      out: matrixOf(out, batch, queries, width),
    }),
    inputs: [operandOf(g), operandOf(out), denseOperand(logs)],
    outputs: [denseOperand(rows)],
    scalars: [],
  });
  const inputs = [...inputsOf(p), operandOf(g), denseOperand(rows)];
  const beside = dq !== null && dk !== null && dv !== null && sharesScores(p, g);
  if (dq !== null && !beside) {
    const ofQ = matrixOf(dq, batch, queries, depth);
    device.record({
      kernel: attentionQueryKernel({ ...params, g: ofG, dq: ofQ }),
      inputs,
      outputs: [operandOf(dq)],
      ...numbersOf(p),
    });
  }
  if (dk !== null && dv !== null) {
    const places = outputsOf(beside ? [dk, dv, dq] : [dk, dv]);
    const place = (t: Tensor, n: number, count: number, columns: number) => (
      { ...matrixOf(t, batch, count, columns), offset: places.offsets[n] }
    );
    const of = {
      dk: place(dk, 0, keys, depth),
      dv: place(dv, 1, keys, width),
      ...(beside ? { dq: place(dq, 2, queries, depth) } : {}),
    };
    device.record({
      kernel: attentionKeyKernel({ ...params, g: ofG, ...of, together: places.together }),
      inputs,
      outputs: places.outputs,
      ...numbersOf(p),
    });
  }
  rows.dispose();
}

/** Matrices that keep the threads of a CPU busy with one each. */
const MANY = 16;

/** Whether all gradients come from one kernel, which computes the scores once, but shares out whole matrices only. */
function sharesScores({ q, k, v, batch }: AttentionProblem, g: Tensor): boolean {
  return q.device.traits.wasm === true && sizeOf(batch) >= MANY &&
    [q, k, v, g].every((t) => t.strides.at(-1) === 1);
}

/** Places as operands: as one, where they lie in one buffer, since that may be bound but once to be written. */
function outputsOf(places: readonly Tensor[]): {
  together: boolean;
  outputs: Operand<unknown>[];
  offsets: readonly number[];
} {
  const all = places.map(operandOf);
  if (places.some((t) => t.storage !== places[0].storage)) {
    return { together: false, outputs: all, offsets: places.map(residualOf) };
  }
  const offset = Math.min(...all.map((o) => o.offset));
  const size = Math.max(...all.map((o) => o.offset + o.size)) - offset;
  return {
    together: true,
    outputs: [{ buffer: all[0].buffer, offset, size }],
    offsets: places.map((t, n) => residualOf(t) + all[n].offset - offset),
  };
}
