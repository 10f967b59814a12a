import { assertEquals } from "@std/assert";
import type { Epilogue } from "../../../kernels/epilogue.ts";
import { apply, constant, input } from "../../../kernels/expr.ts";
import { matmulKernel, type MatmulParams } from "../../../kernels/matmul.ts";
import { sizeOf } from "../../../kernels/types.ts";
import { matmulProgram } from "../../../kernels/wasm/sums/matmul.ts";
import { randomValues } from "../../util.ts";
import { runProgram } from "./runner.ts";
import { checkSums } from "./sums.ts";

type Options = Partial<Pick<MatmulParams, "bias" | "rowSums" | "batch" | "epilogue">> & {
  /** Whether all products of a batch share the right side. */
  readonly sharedRight?: boolean;
};

const LAYOUTS = ["NN", "NT", "TN", "TT"] as const;

/** A product of dense matrices, either of which may be transposed in memory. */
function product(m: number, n: number, k: number, layout: string, options: Options = {}) {
  const { batch = [], bias = false, sharedRight = false, ...rest } = options;
  const steps = batch.map((_, d) => sizeOf(batch.slice(d + 1)));
  const matrix = (rows: number, columns: number, form: string, still = false) => ({
    rowStride: form === "N" ? columns : 1,
    columnStride: form === "N" ? 1 : rows,
    batchStrides: steps.map((s) => still ? 0 : s * rows * columns),
    offset: 0,
  });
  const items = sizeOf(batch);
  const kernel = matmulKernel({
    m,
    n,
    k,
    batch,
    bias,
    splits: 1,
    a: matrix(m, k, layout[0]),
    b: matrix(k, n, layout[1], sharedRight),
    ...rest,
  });
  const ins = [items * m * k, (sharedRight ? 1 : items) * k * n, ...(bias ? [n] : [])];
  const outs = [items * m * n, ...(rest.rowSums ? [m] : [])];
  return { kernel, sizes: [ins, outs] as const, label: `${m}×${k}×${n} ${layout}` };
}

/** Sizes at the edges of tiles (6 × 8), of vectors, and of blocks. */
const SIZES = [
  [1, 1, 1],
  [1, 8, 5],
  [5, 7, 3],
  [6, 8, 4],
  [7, 9, 13],
  [13, 17, 31],
  [64, 10, 128],
  [33, 129, 515],
  [1, 100, 300],
  [100, 1, 300],
  [250, 24, 700],
];

for (const layout of LAYOUTS) {
  Deno.test(`matmulProgram() multiplies ${layout} at all edges`, () => {
    for (const [m, n, k] of SIZES) {
      for (const bias of [false, true]) {
        const { kernel, sizes, label } = product(m, n, k, layout, { bias });
        checkSums(label, kernel, matmulProgram, sizes);
      }
    }
  });
}

Deno.test("matmulProgram() sums the rows of the left side beside the product", () => {
  for (const layout of LAYOUTS) {
    for (const [m, n, k] of [[6, 8, 4], [13, 17, 31], [37, 9, 130], [10, 128, 600]]) {
      const { kernel, sizes, label } = product(m, n, k, layout, { rowSums: true });
      checkSums(label, kernel, matmulProgram, sizes);
    }
  }
});

Deno.test("matmulProgram() multiplies batches, with one right side for all or one each", () => {
  for (const batch of [[3], [2, 3]]) {
    for (const sharedRight of [false, true]) {
      for (const layout of ["NN", "NT"]) {
        const options = { batch, sharedRight, bias: true };
        for (const [m, n, k] of [[7, 9, 13], [40, 20, 300]]) {
          const { kernel, sizes, label } = product(m, n, k, layout, options);
          checkSums(`[${batch}] of ${label}`, kernel, matmulProgram, sizes);
        }
      }
    }
  }
});

Deno.test("matmulProgram() multiplies matrices that run backwards in memory", () => {
  const [m, n, k] = [13, 17, 31];
  for (const turned of ["rows of a", "columns of a", "rows of b", "columns of b"]) {
    const a = { rowStride: k, columnStride: 1, batchStrides: [], offset: 0 };
    const b = { rowStride: n, columnStride: 1, batchStrides: [], offset: 0 };
    const side = turned.endsWith("a") ? a : b;
    const [rows, columns] = turned.endsWith("a") ? [m, k] : [k, n];
    if (turned.startsWith("rows")) {
      Object.assign(side, { rowStride: -side.rowStride, offset: (rows - 1) * columns });
    } else Object.assign(side, { columnStride: -1, offset: columns - 1 });
    const kernel = matmulKernel({
      m,
      n,
      k,
      batch: [],
      a,
      b,
      bias: false,
      splits: 1,
      rowSums: true,
    });
    checkSums(`backwards ${turned}`, kernel, matmulProgram, [[m * k, k * n], [m * n, m]]);
  }
});

Deno.test("matmulProgram() keeps sums of many terms accurate", () => {
  const { kernel, sizes, label } = product(7, 9, 20_000, "NN");
  checkSums(label, kernel, matmulProgram, sizes);
});

Deno.test("matmulProgram() has the same bits with and without an epilogue", () => {
  const relu: Epilogue = {
    outputs: [{
      expr: apply("relu", apply("mul", input(0), constant(2))),
      target: { dtype: "f32", strides: [40, 1], offset: 0 },
    }],
    inputs: [],
    scalars: [],
  };
  const features = { shared: false, relaxed: true, maxPages: 4096 };
  const [plain, fused] = [undefined, relu].map((epilogue) => {
    const { kernel, sizes: [ins] } = product(50, 40, 90, "NT", { epilogue });
    const inputs = ins.map((count, n) => randomValues(count, 3 + n));
    const outputs = [new Float64Array(2000)];
    return runProgram(matmulProgram(kernel, features), kernel, { inputs, outputs })[0];
  });
  assertEquals(fused, plain.map((v) => Math.max(0, Math.fround(2 * v))));
});
