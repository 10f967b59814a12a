/**
 * Matrix product `[…, M, K] × [K, N] → […, M, N]` with any strides, an optional bias per column, and K cut into slices where it
 * is long.
 *
 * One thread sums a tile in registers (gemm.ts), or the threads of a workgroup do together where few sums are long
 * (gemm_folded.ts). Each operand is loaded as vec4 along whichever of its axes is dense, so that
 * the plain product and both products of the backward pass run without copies.
 */

import { applyEpilogue, type Epilogue, epilogueKey, epilogueSignature } from "./epilogue.ts";
import {
  addProducts,
  declareSums,
  gemmShader,
  plainResult,
  type Result,
  storeSums,
  tileEntry,
} from "./gemm.ts";
import { storeFolded } from "./gemm_folded.ts";
import { sharedSums } from "./gemm_shared.ts";
import {
  type Axis,
  loadedNumber,
  loadRow,
  loadSteps,
  type MatrixOperand,
  matrixSide,
  operandRows,
  quad,
  vectorAxis,
} from "./matrix_loads.ts";
import type { StridedOperand } from "./map.ts";
import { rowSumsBinding, storeRowSums } from "./matmul_row_sums.ts";
import {
  isFolded,
  isShared,
  type Problem,
  sharesSteps,
  type Tile,
  tileNames,
  tileOf,
} from "./tiles.ts";
import {
  type DeviceTraits,
  intern,
  type Kernel,
  type Shape,
  sizeOf,
  type WgslProgram,
} from "./types.ts";
import { address, addressesOf, coordinates } from "./wgsl.ts";

export type { MatrixOperand };

/** Parameters of a matrix product. All operands are f32. */
export interface MatmulParams {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: Shape;
  readonly a: MatrixOperand;
  readonly b: MatrixOperand;
  readonly bias: boolean;
  /** Slices of K; the result is `[splits, …batch, M, N]` where it is above 1. */
  readonly splits: number;
  /** What is stored instead of the product, over the axes `[…batch, M, N]`; only without slices. */
  readonly epilogue?: Epilogue;
  /**
   * Whether the sums of the rows of `a`, [M], are a second output; only for one product of several columns, without slices
   * and without an epilogue.
   */
  readonly rowSums?: boolean;
}

/** The matrix product of these parameters. Inputs: a, b and, where asked for, bias [N]; then those of the epilogue. */
export function matmulKernel(params: MatmulParams): Kernel {
  const { epilogue, ...product } = params;
  const { m, n, k, batch, bias, splits, rowSums } = product;
  if (rowSums && (splits !== 1 || n === 1 || sizeOf(batch) !== 1 || epilogue)) {
    throw new Error("internal: sums of rows go with one whole product of several columns");
  }
  const signature = epilogueSignature(bias ? ["f32", "f32", "f32"] : ["f32", "f32"], epilogue);
  const key = `matmul|${JSON.stringify(product)}${epilogue ? `|${epilogueKey(epilogue)}` : ""}`;
  return intern(key, () => ({
    op: "matmul",
    key,
    params,
    ...signature,
    outputs: rowSums ? ["f32", "f32"] : signature.outputs,
    flops: 2 * m * n * k * sizeOf(batch) * (splits > 0 ? 1 : 0),
    variants: (traits) => tileNames(problemOf(asRow(params)), traits),
    wgsl: (traits, variant) => {
      const tile = tileOf(problemOf(asRow(params)), traits, variant);
      return matmulProgram(params, tile, traits);
    },
    reference: (inputs, outputs, scalars) => {
      if (rowSums) rowSumsReference(params, inputs[0], outputs[1]);
      if (epilogue === undefined) return matmulReference(params, inputs, outputs[0]);
      const sums = new Float64Array(sizeOf(batch) * m * n);
      matmulReference(params, inputs, sums);
      const beside = inputs.slice(bias ? 3 : 2);
      applyEpilogue(epilogue, [...batch, m, n], sums, beside, outputs, scalars);
    },
  }));
}

function problemOf({ m, n, k, batch, a, b, splits, epilogue }: MatmulParams): Problem {
  const steps = Math.ceil(k / splits);
  const scalarRows = vectorAxis(a.rowStride, a.columnStride, m, k, a) === null;
  const scalarColumns = vectorAxis(b.columnStride, b.rowStride, n, k, b) === null;
  const items = sizeOf(batch) * splits;
  const foldable = splits === 1;
  const denseColumns = b.columnStride === 1;
  const size = { rows: m, columns: n, steps, items };
  return { ...size, epilogue, scalarRows, scalarColumns, denseColumns, foldable };
}

/** Whether threads share the sums of a product of this size, so that it needs no slices to keep a device busy. */
export function sharesSums(
  m: number,
  n: number,
  k: number,
  items: number,
  traits: DeviceTraits,
): boolean {
  const [rows, columns] = isColumn({ m, n }) ? [n, m] : [m, n];
  return sharesSteps({ rows, columns, steps: k, items, foldable: true }, traits);
}

function isColumn({ m, n }: { readonly m: number; readonly n: number }): boolean {
  return n === 1 && m > 1;
}

/** A matrix times a vector as that vector times the transposed matrix, whose columns are computed four at a time. */
function asRow(params: MatmulParams): MatmulParams {
  if (!isColumn(params)) return params;
  const { m, a, b, epilogue } = params;
  const turned = (o: MatrixOperand): MatrixOperand => (
    { ...o, rowStride: o.columnStride, columnStride: o.rowStride }
  );
  const product = { ...params, m: 1, n: m, a: turned(b), b: turned(a) };
  return epilogue ? { ...product, epilogue: turnedEpilogue(epilogue) } : product;
}

function turnedEpilogue(e: Epilogue): Epilogue {
  const turned = (o: StridedOperand): StridedOperand => (
    { ...o, strides: [...o.strides.slice(0, -2), o.strides.at(-1)!, o.strides.at(-2)!] }
  );
  const outputs = e.outputs.map(({ expr, target }) => ({ expr, target: turned(target) }));
  return { ...e, outputs, inputs: e.inputs.map(turned) };
}

function matmulProgram(given: MatmulParams, tile: Tile, traits: DeviceTraits): WgslProgram {
  const params = asRow(given);
  const { m, n, k, batch, a, b, splits, rowSums } = params;
  const chunk = Math.ceil(k / splits / 4) * 4;
  const along = vectorAxis(a.rowStride, a.columnStride, m, k, a);
  const aAxis = along === "rows" && tile.rows % 4 !== 0 ? null : along;
  const bAxis = vectorAxis(b.columnStride, b.rowStride, n, k, b);
  const { head, groups, across, down } = tileEntry(tile, m, n, sizeOf(batch) * splits, traits);
  const low = splits === 1 ? "0u" : `slice * ${chunk}u`;
  const until = splits === 1 ? `${k}u` : `min(slice * ${chunk}u + ${chunk}u, ${k}u)`;
  const lines = [
    head,
    `  let slice = z / ${sizeOf(batch)}u;`,
    `  let item = z % ${sizeOf(batch)}u;`,
    coordinates("item", batch, "c"),
    `  let aBase = ${address("c", a.batchStrides, a.offset)};`,
    `  let bBase = ${address("c", b.batchStrides, b.offset)};`,
  ];
  if (isShared(tile)) {
    const whole = k % tile.depth === 0 && chunk % tile.depth === 0;
    const left = matrixSide("a", m, a.rowStride, a.columnStride, aAxis);
    const right = matrixSide("b", n, b.columnStride, b.rowStride, bAxis);
    lines.push(sharedSums(tile, left, right, { low, until, whole }));
  } else lines.push(registerSums(params, tile, low, until, aAxis, bAxis));
  const turned = isColumn(given);
  const result = { ...resultOf(params), oneBias: turned, beside: rowSums ? [rowSumsBinding] : [] };
  lines.push(isFolded(tile) ? storeFolded(tile, result) : storeSums(tile, result));
  if (rowSums) lines.push(storeRowSums({ m, k, a, axis: aAxis }, tile, across, down));
  lines.push("}");
  const inputs = [
    { name: "a", dtype: "f32", width: aAxis ? 4 : 1 },
    { name: "b", dtype: "f32", width: bAxis ? 4 : 1 },
  ] as const;
  const bindings = turned ? inputs.toReversed() : inputs;
  return { code: gemmShader(tile, bindings, result, lines.join("\n")), groups };
}

/** Sums from the thread's own loads, four steps at a time; threads that share a tile take turns. */
function registerSums(
  { m, n, k, a, b }: MatmulParams,
  tile: Tile,
  low: string,
  until: string,
  aAxis: Axis,
  bAxis: Axis,
): string {
  const { shares = 1 } = tile;
  const lines = [
    operandRows("a", tile.rows, "a", "row0", m, a.rowStride, aAxis),
    operandRows("b", tile.columns, "b", "col0", n, b.columnStride, bAxis),
    declareSums(tile),
    `  let until = ${until};`,
    `  var k = ${low}${isFolded(tile) ? " + share * 4u" : ""};`,
    `  for (; k + 4u <= until; k += ${4 * shares}u) {`,
    loadSteps("b", tile.columns, 4, b.rowStride, bAxis),
    products(tile, 4, a.columnStride, aAxis, bAxis),
    "  }",
  ];
  if (k % 4 !== 0) {
    const [aTail, bTail] = [aAxis, bAxis].map((axis) => axis === "rows" ? axis : null);
    if (shares > 1) lines.push(`  k = until - until % 4u + share;`);
    lines.push(
      `  for (; k < until; k += ${shares}u) {`,
      loadSteps("b", tile.columns, 1, b.rowStride, bTail),
      products(tile, 1, a.columnStride, aTail, bTail),
      "  }",
    );
  }
  return lines.join("\n");
}

/** What is stored: the plain product counts slices and matrices as one axis. */
function resultOf({ m, n, batch, bias, splits, epilogue }: MatmulParams): Result {
  if (epilogue === undefined) {
    const shape = [sizeOf(batch) * splits, m, n];
    const site = { lead: ["z"], rowShape: [m], columns: n };
    return { rows: m, site, epilogue: plainResult(shape), bias };
  }
  const site = { lead: batch.map((_, d) => `c${d}`), rowShape: [m], columns: n };
  return { rows: m, site, epilogue, bias };
}

function products(
  tile: Tile,
  steps: number,
  depthStride: number,
  aAxis: Axis,
  bAxis: Axis,
): string {
  return addProducts(tile, steps, {
    loadRow: (r) => loadRow("a", r, steps, depthStride, aAxis),
    left: (r, step) => loadedNumber("a", aAxis, r, step),
    right: (c, step) =>
      bAxis === "rows" ? `bv${c}_${step}` : quad((j) => loadedNumber("b", bAxis, c * 4 + j, step)),
  });
}

function matmulReference(
  { m, n, k, batch, a, b, bias, splits }: MatmulParams,
  inputs: readonly Float64Array[],
  out: Float64Array,
): void {
  const aStarts = addressesOf(batch, a.batchStrides, a.offset);
  const bStarts = addressesOf(batch, b.batchStrides, b.offset);
  const chunk = Math.ceil(k / splits / 4) * 4;
  let at = 0;
  for (let s = 0; s < splits; s++) {
    for (let item = 0; item < aStarts.length; item++) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = bias ? inputs[2][j] : 0;
          for (let p = s * chunk; p < Math.min(k, (s + 1) * chunk); p++) {
            sum += inputs[0][aStarts[item] + i * a.rowStride + p * a.columnStride] *
              inputs[1][bStarts[item] + p * b.rowStride + j * b.columnStride];
          }
          out[at++] = sum;
        }
      }
    }
  }
}

function rowSumsReference({ m, k, a }: MatmulParams, left: Float64Array, out: Float64Array): void {
  for (let i = 0; i < m; i++) {
    let sum = 0;
    for (let p = 0; p < k; p++) sum += left[a.offset + i * a.rowStride + p * a.columnStride];
    out[i] = sum;
  }
}
