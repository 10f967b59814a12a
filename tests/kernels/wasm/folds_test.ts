import { argReduceKernel } from "../../../kernels/arg_reduce.ts";
import { columnSumsKernel, sliceSumsKernel } from "../../../kernels/column_sums.ts";
import { apply, type Expr, input } from "../../../kernels/expr.ts";
import type { StridedOperand } from "../../../kernels/map.ts";
import { joinMomentsKernel, momentsKernel } from "../../../kernels/moments.ts";
import { reduceKernel, type ReduceOp } from "../../../kernels/reduce.ts";
import { rowNormGradientKernel, rowNormKernel } from "../../../kernels/row_norm.ts";
import { scanKernel } from "../../../kernels/scan.ts";
import { softmaxGradientKernel, softmaxKernel } from "../../../kernels/softmax_rows.ts";
import type { DType, Shape } from "../../../kernels/types.ts";
import { check, dense, HALF, SAME, strided, values, valuesOf } from "./cases.ts";

const SUMS = { rel: 1e-5, abs: 1e-4 };

interface Reduction {
  readonly outer: Shape;
  readonly reduced: Shape;
  readonly operand: StridedOperand;
  readonly splits?: number;
}

function reduction(
  fold: ReduceOp,
  { outer, reduced, operand, splits = 1 }: Reduction,
  expr: Expr,
  post: Expr | null,
) {
  const float = operand.dtype === "f32" || operand.dtype === "f16";
  return reduceKernel({
    fold,
    expr,
    post,
    outer,
    reduced,
    inputs: [operand],
    scalars: [],
    splits,
    output: fold === "any" || fold === "all" ? "bool" : float ? "f32" : operand.dtype,
  });
}

const reductions: readonly Reduction[] = [
  { outer: [5], reduced: [7], operand: strided([7, 1]) },
  { outer: [8], reduced: [64], operand: strided([64, 1]) },
  { outer: [13], reduced: [600], operand: strided([1, 13]) },
  { outer: [], reduced: [1001], operand: strided([1]) },
  { outer: [3], reduced: [9, 130], operand: strided([1200, 130, 1]) },
  { outer: [2, 3], reduced: [5, 4], operand: strided([60, 4, 12, 1], 3) },
  { outer: [3], reduced: [1031], operand: strided([1031, 1]), splits: 4 },
  { outer: [4], reduced: [3], operand: strided([-3, -1], 11) },
];

Deno.test("reductions fold floats in all layouts", () => {
  for (const r of reductions) {
    for (const fold of ["sum", "max", "min"] as const) {
      const outputs = [r.outer.reduce((a, b) => a * b, 1) * (r.splits ?? 1)];
      const inputs = [values(8000, 3)];
      check({ kernel: reduction(fold, r, input(0), null), inputs, outputs, bounds: SUMS });
    }
    const post = apply("sqrt", input(0));
    if (r.splits !== undefined) continue;
    const outputs = [r.outer.reduce((a, b) => a * b, 1)];
    const squares = reduction("sum", r, apply("square", input(0)), post);
    check({ kernel: squares, inputs: [values(8000, 4)], outputs, bounds: SUMS });
    const exponentials = reduction("sum", r, apply("exp", input(0)), null);
    check({ kernel: exponentials, inputs: [values(8000, 5)], outputs, bounds: SUMS });
  }
});

Deno.test("reductions of integers, truth values and 16-bit floats", () => {
  for (const r of reductions) {
    const outputs = [r.outer.reduce((a, b) => a * b, 1) * (r.splits ?? 1)];
    for (const dtype of ["i32", "u32"] as const) {
      for (const fold of ["sum", "prod", "max", "min"] as const) {
        const typed = { ...r, operand: { ...r.operand, dtype } };
        const inputs = [valuesOf(dtype, 8000, 6)];
        check({ kernel: reduction(fold, typed, input(0), null), inputs, outputs, bounds: SAME });
      }
    }
    for (const fold of ["any", "all"] as const) {
      const typed = { ...r, operand: { ...r.operand, dtype: "bool" as const } };
      for (const share of [0.01, 0.99]) {
        const inputs = [values(8000, 7, 0, 1).map((x) => Number(x < share))];
        check({ kernel: reduction(fold, typed, input(0), null), inputs, outputs, bounds: SAME });
      }
    }
    const half = { ...r, operand: { ...r.operand, dtype: "f16" as const } };
    check({
      kernel: reduction("sum", half, input(0), null),
      inputs: [values(8000, 8)],
      outputs,
      bounds: SUMS,
    });
  }
});

Deno.test("reductions keep NaN, and give the neutral value over nothing but it", () => {
  const [r] = reductions;
  const inputs = [values(35, 9)];
  inputs[0][3] = NaN;
  inputs[0][20] = -Infinity;
  for (const fold of ["sum", "max", "min"] as const) {
    check({ kernel: reduction(fold, r, input(0), null), inputs, outputs: [5], bounds: SUMS });
  }
});

Deno.test("reductions store where their target says", () => {
  check({
    kernel: reduceKernel({
      fold: "sum",
      expr: apply("mul", input(0), input(1)),
      post: null,
      outer: [3, 4],
      reduced: [6],
      inputs: [strided([24, 6, 1]), strided([0, 0, 1])],
      scalars: [],
      splits: 1,
      output: "f32",
      target: { strides: [1, 5], offset: 2 },
    }),
    inputs: [values(72, 1), values(6, 2)],
    outputs: [values(24, 3)],
    bounds: SUMS,
  });
});

Deno.test("column sums fold two formulas in slices", () => {
  const exprs = [input(0), apply("mul", input(0), input(1))] as const;
  const shapes: [Shape, Shape, StridedOperand[], number][] = [
    [[8], [300], [strided([1, 8]), strided([1, 8])], 1],
    [[12], [5, 37], [strided([1, 444, 12]), strided([1, 0, 0])], 3],
    [[5], [77], [strided([1, 5]), strided([77, 1])], 2],
    [[2, 4], [9], [strided([36, 1, 4]), strided([4, 1, 0])], 1],
    [[1], [1], [strided([1, 1]), strided([1, 1])], 1],
  ];
  for (const [outer, reduced, inputs, slices] of shapes) {
    const count = outer.reduce((a, b) => a * b, 1) * slices;
    check({
      kernel: columnSumsKernel({ outer, reduced, inputs, slices, exprs }),
      inputs: inputs.map((_, n) => values(2400, n)),
      outputs: [count, count],
      bounds: SUMS,
    });
  }
  check({
    kernel: sliceSumsKernel(10, 7),
    inputs: [values(70, 1), values(70, 2)],
    outputs: [10, 10],
    bounds: SUMS,
  });
});

Deno.test("moments of columns, with running statistics and joined slices", () => {
  const bounds = { rel: 1e-4, abs: 1e-4 };
  for (const [columns, rows] of [[8, 130], [5, 33], [1, 7]]) {
    const inputs = [strided([1, columns])];
    const shape = { outer: [columns], reduced: [rows], inputs };
    const x = values(columns * rows, 1);
    check({
      kernel: momentsKernel({ ...shape, slices: 3, finish: null }),
      inputs: [x],
      outputs: [3 * columns, 3 * columns],
      bounds,
    });
    for (const average of [false, true]) {
      const running = {
        mean: dense([columns]),
        variance: dense([columns], "f32", 2),
        count: dense([1], "i32"),
        average,
      };
      const outputs = [columns, columns, values(columns, 2), values(columns + 2, 3)];
      const count = [Float64Array.of(4)];
      const finish = { count: rows, running };
      const scalars = [1e-5, 0.1];
      check({
        kernel: momentsKernel({ ...shape, slices: 1, finish }),
        inputs: average ? [x, ...count] : [x],
        outputs: average ? outputs : [...outputs, ...count],
        scalars,
        bounds,
      });
      check({
        kernel: joinMomentsKernel({
          outer: [columns],
          reduced: [3],
          finish: { count: 17, running },
        }),
        inputs: [values(3 * columns, 4), values(3 * columns, 5, 1, 2), ...(average ? count : [])],
        outputs: average ? outputs : [...outputs, ...count],
        scalars,
        bounds,
      });
    }
  }
});

/** Rows in several layouts, short and long. */
const rowLayouts: [Shape, Shape, StridedOperand, DType][] = [
  [[5], [7], dense([5, 7]), "f32"],
  [[6], [16], dense([6, 16]), "f32"],
  [[3], [640], dense([3, 640]), "f32"],
  [[4], [33], strided([1, 4]), "f32"],
  [[2, 3], [4, 8], strided([96, 8, 24, 1]), "f32"],
  [[70], [3], dense([70, 3]), "f32"],
  [[5], [12], dense([5, 12], "f16"), "f16"],
  [[2], [1], dense([2, 1]), "f32"],
];

Deno.test("softmax and log-softmax of rows, with their gradients", () => {
  for (const [outer, reduced, x, dtype] of rowLayouts) {
    const count = 2 * [...outer, ...reduced].reduce((a, b) => a * b, 1) + 40;
    const bounds = dtype === "f16" ? HALF : { rel: 1e-5, abs: 1e-5 };
    const outputs = [count];
    for (const log of [true, false]) {
      const inputs = [values(count, 1, -4, 4)];
      check({ kernel: softmaxKernel({ outer, reduced, log, x, y: x }), inputs, outputs, bounds });
      check({
        kernel: softmaxGradientKernel({ outer, reduced, log, g: x, y: x, dx: x }),
        inputs: [values(count, 2), values(count, 3, log ? -3 : 0, log ? 0 : 1)],
        outputs,
        bounds: { rel: bounds.rel, abs: 10 * bounds.abs },
      });
    }
  }
});

Deno.test("rows are normalised, with and without mean, scale and shift", () => {
  for (const [outer, reduced, x, dtype] of rowLayouts) {
    const rows = outer.reduce((a, b) => a * b, 1);
    const length = reduced.reduce((a, b) => a * b, 1);
    const count = 2 * rows * length + 40;
    const along = dense(reduced);
    const affine = { ...along, strides: [...outer.map(() => 0), ...along.strides] };
    const bounds = dtype === "f16" ? { rel: 2e-3, abs: 2e-3 } : { rel: 2e-4, abs: 2e-4 };
    for (const centered of [true, false]) {
      for (const scale of [affine, null]) {
        const shape = { outer, reduced, centered };
        const own = [values(count, 1), ...(scale ? [values(length, 2), values(length, 3)] : [])];
        const outputs = [count, rows, rows];
        const kernel = rowNormKernel({ ...shape, x, scale, shift: scale, y: x });
        check({ kernel, inputs: own, outputs, scalars: [0.1], bounds });
        const inputs = [
          values(count, 4),
          ...own.slice(0, scale ? 2 : 1),
          values(rows, 5),
          values(rows, 6, 1, 2),
        ];
        const gradient = rowNormGradientKernel({ ...shape, g: x, x, scale, dx: x });
        check({
          kernel: gradient,
          inputs,
          outputs: [count],
          bounds: { rel: 10 * bounds.rel, abs: 10 * bounds.abs },
        });
      }
    }
  }
});

/** Running sums over the sums of blocks, as a carried scan reads them. */
function scannedBlocks(x: Float64Array, at: (line: number, k: number) => number, block: number) {
  const blocks = Math.ceil(37 / block);
  return Float64Array.from({ length: 5 * blocks }, (_, n) => {
    const line = Math.floor(n / blocks);
    const end = Math.min(37, (n % blocks + 1) * block);
    return Array.from({ length: end }, (_, k) => x[at(line, k)]).reduce((a, b) => a + b, 0);
  });
}

Deno.test("running sums, whole and in blocks", () => {
  for (const dtype of ["f32", "i32", "u32"] as const) {
    const bounds = dtype === "f32" ? { rel: 1e-5, abs: 1e-5 } : SAME;
    for (const [line, step] of [[37, 1], [1, 5]]) {
      const input = strided([line, step], 0, dtype);
      const x = valuesOf(dtype, 185, 1);
      for (const block of [37, 8]) {
        const blocks = Math.ceil(37 / block);
        const shape = { outer: [5], length: 37, block, input };
        check({
          kernel: scanKernel({ ...shape, output: null }),
          inputs: [x],
          outputs: [5 * blocks],
          bounds,
        });
        const carried = scannedBlocks(x, (l, k) => l * line + k * step, block);
        const inputs = block < 37 ? [x, carried] : [x];
        check({
          kernel: scanKernel({ ...shape, output: dense([5, 37], dtype) }),
          inputs,
          outputs: [185],
          bounds,
        });
      }
    }
  }
});

Deno.test("the places of extremes, of all types and in two stages", () => {
  for (const dtype of ["f32", "i32", "u32", "bool"] as const) {
    for (const fold of ["max", "min"] as const) {
      for (const strides of [[53, 1], [1, 4]]) {
        const x = valuesOf(dtype, 53 * 4, 1);
        if (dtype === "f32") x[7] = NaN;
        const shape = { fold, outer: [4], length: 53, input: strided(strides, 0, dtype) };
        const kernel = argReduceKernel({ ...shape, chunk: 53, merge: false });
        check({ kernel, inputs: [x], outputs: [4], bounds: SAME });
        const sliced = argReduceKernel({ ...shape, chunk: 10, merge: false });
        check({ kernel: sliced, inputs: [x], outputs: [24], bounds: SAME });
        const places = Float64Array.from({ length: 24 }, (_, n) => 10 * Math.floor(n / 4) + n % 3);
        const merged = argReduceKernel({ ...shape, chunk: 10, merge: true });
        check({ kernel: merged, inputs: [x, places], outputs: [4], bounds: SAME });
      }
    }
  }
});
