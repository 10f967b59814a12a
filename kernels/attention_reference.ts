/** Attention on plain loops in double precision. */

import type {
  AttentionKeyParams,
  AttentionOutputParams,
  AttentionParams,
  AttentionQueryParams,
  RowDotsParams,
} from "./attention.ts";
import type { MatrixOperand } from "./matrix_loads.ts";
import { threefry2x32 } from "./threefry.ts";
import { sizeOf } from "./types.ts";
import { addressesOf } from "./wgsl.ts";

type Values = Float64Array;
/** Where the element in a row and column of a matrix lies. */
type Place = (row: number, column: number) => number;

/** Where the elements of each matrix of a batch lie. */
function placesOf({ batch }: { readonly batch: readonly number[] }, o: MatrixOperand): Place[] {
  return Array.from(
    addressesOf(batch, o.batchStrides, o.offset),
    (start) => (row, column) => start + row * o.rowStride + column * o.columnStride,
  );
}

function dot(a: Values, b: Values, length: number, at: (n: number) => [number, number]): number {
  let sum = 0;
  for (let n = 0; n < length; n++) {
    const [x, y] = at(n);
    sum += a[x] * b[y];
  }
  return sum;
}

/** The scores of a query, −∞ where a key does not count. */
function scorer(
  p: AttentionParams,
  [q, k, , mask]: readonly Values[],
  scale: number,
): (item: number, i: number) => Values {
  const [atQ, atK] = [placesOf(p, p.q), placesOf(p, p.k)];
  const atMask = p.mask && placesOf(p, p.mask);
  return (item, i) =>
    Float64Array.from({ length: p.keys }, (_, j) => {
      if (p.causal && j > i) return -Infinity;
      const m = atMask ? mask[atMask[item](i, j)] : 0;
      if (p.mask?.dtype === "bool" && m === 0) return -Infinity;
      const sum = dot(q, k, p.depth, (d) => [atQ[item](i, d), atK[item](j, d)]) * scale;
      return p.mask?.dtype === "f32" ? sum + m : sum;
    });
}

/** What a weight is multiplied with: that of dropoutMask() over [...batch, queries, keys]. */
function dropper(
  p: AttentionParams,
  [, k0, k1, threshold, factor]: readonly number[],
): (item: number, i: number, j: number) => number {
  if (!p.dropout) return () => 1;
  return (item, i, j) => {
    const [word] = threefry2x32(k0, k1, (item * p.queries + i) * p.keys + j, 0);
    return word >>> 8 < threshold ? 0 : factor;
  };
}

export function outputReference(
  p: AttentionOutputParams,
  inputs: readonly Values[],
  [out, logs]: readonly Values[],
  scalars: readonly number[],
): void {
  const [scoresOf, keep] = [scorer(p, inputs, scalars[0]), dropper(p, scalars)];
  const [atV, to] = [placesOf(p, p.v), placesOf(p, p.out)];
  for (let item = 0; item < sizeOf(p.batch); item++) {
    for (let i = 0; i < p.queries; i++) {
      const scores = scoresOf(item, i);
      const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      const shift = Number.isFinite(top) ? top : 0;
      const weights = scores.map((s) => Math.exp(s - shift));
      const total = weights.reduce((a, b) => a + b, 0);
      logs[item * p.queries + i] = total === 0 ? 0 : shift + Math.log(total);
      for (let d = 0; d < p.width; d++) {
        let sum = 0;
        weights.forEach((w, j) => {
          // A weight of 0 leaves out what does not count, whatever it is.
          if (w !== 0) sum += w * keep(item, i, j) * inputs[2][atV[item](j, d)];
        });
        out[to[item](i, d)] = total === 0 ? 0 : sum / total;
      }
    }
  }
}

export function rowDotsReference(
  p: RowDotsParams,
  [g, out, logs]: readonly Values[],
  to: Values,
): void {
  const [atG, atOut] = [placesOf(p, p.g), placesOf(p, p.out)];
  for (let item = 0; item < sizeOf(p.batch); item++) {
    for (let i = 0; i < p.queries; i++) {
      to[2 * item * p.queries + i] = logs[item * p.queries + i];
      to[(2 * item + 1) * p.queries + i] = dot(
        g,
        out,
        p.width,
        (d) => [atG[item](i, d), atOut[item](i, d)],
      );
    }
  }
}

/** Calls `visit` for every pair that counts, with its weight (dropped or not) and the gradient of its score. */
function eachPair(
  p: AttentionQueryParams | AttentionKeyParams,
  inputs: readonly Values[],
  scalars: readonly number[],
  visit: (item: number, i: number, j: number, weight: number, gradient: number) => void,
): void {
  const [scoresOf, keep] = [scorer(p, inputs, scalars[0]), dropper(p, scalars)];
  const [g, rows] = inputs.slice(-2);
  const [atG, atV] = [placesOf(p, p.g), placesOf(p, p.v)];
  for (let item = 0; item < sizeOf(p.batch); item++) {
    for (let i = 0; i < p.queries; i++) {
      const [log, rest] = [0, 1].map((n) => rows[(2 * item + n) * p.queries + i]);
      scoresOf(item, i).forEach((score, j) => {
        if (score === -Infinity) return;
        const weight = Math.exp(score - log);
        const kept = keep(item, i, j);
        const ofWeight = dot(
          g,
          inputs[2],
          p.width,
          (d) => [atG[item](i, d), atV[item](j, d)],
        );
        visit(item, i, j, weight * kept, weight * (kept * ofWeight - rest));
      });
    }
  }
}

function clear(p: AttentionParams, o: MatrixOperand, rows: number, columns: number, to: Values) {
  for (const at of placesOf(p, o)) {
    for (let i = 0; i < rows; i++) for (let d = 0; d < columns; d++) to[at(i, d)] = 0;
  }
}

export function queryReference(
  p: AttentionQueryParams,
  inputs: readonly Values[],
  dq: Values,
  scalars: readonly number[],
): void {
  const [atK, to] = [placesOf(p, p.k), placesOf(p, p.dq)];
  clear(p, p.dq, p.queries, p.depth, dq);
  eachPair(p, inputs, scalars, (item, i, j, _, gradient) => {
    for (let d = 0; d < p.depth; d++) {
      dq[to[item](i, d)] += gradient * scalars[0] * inputs[1][atK[item](j, d)];
    }
  });
}

export function keyReference(
  p: AttentionKeyParams,
  inputs: readonly Values[],
  outputs: readonly Values[],
  scalars: readonly number[],
): void {
  const [dk, dv, dq] = p.together ? [outputs[0], outputs[0], outputs[0]] : outputs;
  if (p.dq) queryReference({ ...p, dq: p.dq }, inputs, dq, scalars);
  const g = inputs.at(-2)!;
  const [atQ, atG, toK, toV] = [p.q, p.g, p.dk, p.dv].map((o) => placesOf(p, o));
  clear(p, p.dk, p.keys, p.depth, dk);
  clear(p, p.dv, p.keys, p.width, dv);
  eachPair(p, inputs, scalars, (item, i, j, weight, gradient) => {
    for (let d = 0; d < p.depth; d++) {
      dk[toK[item](j, d)] += gradient * scalars[0] * inputs[0][atQ[item](i, d)];
    }
    for (let d = 0; d < p.width; d++) {
      dv[toV[item](j, d)] += weight * g[atG[item](i, d)];
    }
  });
}
