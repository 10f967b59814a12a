import { convKernel, type ConvParams, convWeightKernel } from "../../../kernels/conv2d.ts";
import type { Epilogue } from "../../../kernels/epilogue.ts";
import { apply, input, scalar } from "../../../kernels/expr.ts";
import { matmulKernel, type MatmulParams } from "../../../kernels/matmul.ts";
import { check, dense, strided, values } from "./cases.ts";

const BOUNDS = { rel: 1e-4, abs: 1e-4 };

function matrices(m: number, k: number, n: number, form: string): Pick<MatmulParams, "a" | "b"> {
  const matrix = (rows: number, columns: number, turned: boolean) => ({
    rowStride: turned ? 1 : columns,
    columnStride: turned ? rows : 1,
    batchStrides: [] as number[],
    offset: 0,
  });
  return { a: matrix(m, k, form[0] === "T"), b: matrix(k, n, form[1] === "T") };
}

Deno.test("matrix products in all variants", () => {
  const sizes = [[5, 7, 3], [17, 33, 20], [64, 16, 64], [1, 50, 40], [24, 260, 12], [30, 200, 1]];
  for (const [m, k, n] of sizes) {
    for (const form of ["NN", "NT", "TN"]) {
      const operands = matrices(m, k, n, form);
      const kernel = matmulKernel({ m, n, k, batch: [], ...operands, bias: true, splits: 1 });
      const inputs = [values(m * k, 1), values(k * n, 2), values(n, 3)];
      check({ kernel, inputs, outputs: [m * n], bounds: BOUNDS });
    }
  }
  const operands = matrices(20, 75, 12, "NN");
  const sliced = matmulKernel({
    m: 20,
    n: 12,
    k: 75,
    batch: [],
    ...operands,
    bias: false,
    splits: 4,
  });
  check({
    kernel: sliced,
    inputs: [values(1500, 1), values(900, 2)],
    outputs: [960],
    bounds: BOUNDS,
  });
  const sums = matmulKernel({
    m: 20,
    n: 12,
    k: 75,
    batch: [],
    ...operands,
    bias: false,
    splits: 1,
    rowSums: true,
  });
  check({
    kernel: sums,
    inputs: [values(1500, 1), values(900, 2)],
    outputs: [240, 20],
    bounds: BOUNDS,
  });
});

Deno.test("matrix products that store formulas of what lies beside them", () => {
  for (const n of [12, 7]) {
    const epilogue: Epilogue = {
      outputs: [
        { expr: apply("tanh", apply("mul", input(0), input(1))), target: dense([10, n]) },
        {
          expr: apply("gt", input(2), apply("mul", input(0), scalar(0, "f32"))),
          target: strided([1, 10], 0, "bool"),
        },
      ],
      inputs: [strided([0, 1]), dense([10, n])],
      scalars: ["f32"],
    };
    const kernel = matmulKernel({
      m: 10,
      n,
      k: 9,
      batch: [],
      ...matrices(10, 9, n, "NN"),
      bias: false,
      splits: 1,
      epilogue,
    });
    check({
      kernel,
      inputs: [values(90, 1), values(9 * n, 2), values(n, 3), values(10 * n, 4)],
      outputs: [10 * n, 10 * n],
      scalars: [0.5],
      bounds: BOUNDS,
    });
  }
});

Deno.test("convolutions and weight gradients in all variants", () => {
  const forms: [number[], number[], [number, number], [number, number], [number, number]][] = [
    [[2, 9, 8], [1, 12], [3, 3], [1, 1], [1, 1]],
    [[2, 7, 9], [4, 20], [3, 2], [2, 1], [1, 1]],
    [[1, 8, 8], [3, 5], [2, 3], [1, 1], [2, 2]],
  ];
  for (
    const [[batch, height, width], [inChannels, outChannels], kernel, stride, dilation] of forms
  ) {
    const out = (size: number, d: number) =>
      Math.floor((size - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1;
    const p: ConvParams = {
      batch,
      height,
      width,
      inChannels,
      outChannels,
      kernel,
      stride,
      dilation,
      outHeight: out(height, 0),
      outWidth: out(width, 1),
    };
    const x = values(batch * height * width * inChannels, 1);
    const w = values(kernel[0] * kernel[1] * inChannels * outChannels, 2);
    const g = values(batch * p.outHeight * p.outWidth * outChannels, 3);
    check({
      kernel: convKernel(p, true),
      inputs: [x, w, values(outChannels, 4)],
      outputs: [g.length],
      bounds: BOUNDS,
    });
    check({
      kernel: convWeightKernel(p, 2),
      inputs: [x, g],
      outputs: [2 * w.length],
      bounds: BOUNDS,
    });
  }
});
