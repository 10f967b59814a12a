import { assert } from "@std/assert";
import { gatherKernel, placeKernel } from "../../../kernels/gather.ts";
import { type Draw, randomKernel } from "../../../kernels/random.ts";
import { scatterAddKernel, segmentStartsKernel } from "../../../kernels/scatter_add.ts";
import { mergeRunsKernel, sortBlocksKernel } from "../../../kernels/sort.ts";
import type { DType } from "../../../kernels/types.ts";
import { check, dense, integers, NEAR, SAME, strided, valuesOf } from "./cases.ts";
import { referenceOf, runKernel } from "./runner.ts";

const TYPES: readonly DType[] = ["f32", "f16", "i32", "u32", "bool"];

Deno.test("elements are gathered from places, also outside of the source", () => {
  for (const dtype of TYPES) {
    for (const outside of ["nan", "zero"] as const) {
      for (const dim of [0, 1]) {
        const index = integers(35, 2, 0, 6);
        index[3] = -1;
        index[8] = 6;
        check({
          kernel: gatherKernel({
            shape: [5, 7],
            dim,
            size: 6,
            source: dim === 0 ? strided([7, 1], 0, dtype) : strided([6, 1], 0, dtype),
            index: dense([5, 7], "i32"),
            outside,
          }),
          inputs: [valuesOf(dtype, 42, 1), index],
          outputs: [35],
          bounds: SAME,
        });
      }
    }
  }
});

Deno.test("elements are placed, and others stay", () => {
  for (const dtype of TYPES) {
    const index = Float64Array.from({ length: 12 }, (_, n) => [5, 0, 3, 9][n % 4]);
    check({
      kernel: placeKernel({
        shape: [3, 4],
        dim: 1,
        size: 7,
        source: dense([3, 4], dtype),
        index: dense([3, 4], "u32"),
        output: strided([7, 1], 0, dtype),
      }),
      inputs: [valuesOf(dtype, 12, 1), index],
      outputs: [valuesOf(dtype, 21, 3)],
      bounds: SAME,
    });
  }
});

Deno.test("sums at places, by looking through lines and by segments", () => {
  for (const dtype of ["f32", "i32", "u32"] as const) {
    const bounds = dtype === "f32" ? NEAR : SAME;
    const source = strided([11, 1], 0, dtype);
    const x = valuesOf(dtype, 33, 1);
    for (const base of [null, dense([3, 5], dtype)]) {
      const kernel = scatterAddKernel({
        shape: [3, 5],
        dim: 1,
        sourceShape: [3, 11],
        search: { kind: "scan", index: strided([11, 1], 0, "i32") },
        source,
        base,
      });
      const inputs = [x, integers(33, 2, -1, 6), ...(base ? [valuesOf(dtype, 15, 3)] : [])];
      check({ kernel, inputs, outputs: [15], bounds });
    }
    const starts = Float64Array.of(0, 2, 2, 7, 9, 11, 0, 1, 4, 4, 8, 11, 1, 3, 6, 9, 10, 10);
    const order = Float64Array.from({ length: 33 }, (_, n) => (7 * n) % 11);
    const kernel = scatterAddKernel({
      shape: [3, 5],
      dim: 1,
      sourceShape: [3, 11],
      search: {
        kind: "segments",
        starts: strided([6, 1], 0, "i32"),
        order: strided([11, 1], 0, "i32"),
        chunk: 4,
      },
      source,
      base: null,
    });
    check({ kernel, inputs: [x, starts, order], outputs: [45], bounds });
  }
  const sorted = integers(60, 4, -1, 9).sort();
  const lines = Float64Array.from({ length: 120 }, (_, n) => sorted[n % 60]);
  const kernel = segmentStartsKernel({ lines: 2, length: 60, size: 8 });
  check({ kernel, inputs: [lines], outputs: [18], bounds: SAME });
});

Deno.test("lines are sorted in blocks and merged", () => {
  for (const dtype of ["f32", "i32", "u32", "bool"] as const) {
    for (const descending of [true, false]) {
      for (const keep of [100, 6]) {
        const x = valuesOf(dtype, 3 * 37, 1);
        if (dtype === "f32") [x[4], x[40], x[41]] = [NaN, 0, -0];
        const kernel = sortBlocksKernel({
          outer: [3],
          length: 37,
          input: strided([37, 1], 0, dtype),
          block: 16,
          keep,
          descending,
        });
        check({ kernel, inputs: [x], outputs: [111, 111], bounds: SAME });
        const runs = { lines: 3, length: 37, dtype, descending };
        const blank = () => [new Float64Array(111), new Float64Array(111)];
        const whole = sortBlocksKernel({
          outer: [3],
          length: 37,
          input: strided([37, 1], 0, dtype),
          block: 16,
          keep: 100,
          descending,
        });
        const sorted = referenceOf(whole, { inputs: [x], outputs: blank() });
        check({
          kernel: mergeRunsKernel({ ...runs, run: 16, keep }),
          inputs: sorted,
          outputs: blank(),
          bounds: SAME,
        });
      }
    }
  }
});

Deno.test("random numbers of all kinds are those of their keys", () => {
  const key = [0x12345678, 0x9abcdef0];
  const scalars: Record<Draw, number[]> = {
    bits: [],
    uniform: [-1, 3, 2],
    normal: [0.5, 2],
    truncated: [0, 1, -1, 2, 0.15865525, 0.022750132, 0.81859458],
    integer: [-7, 1000],
    choice: [2 ** 22, -1, 1],
  };
  for (const [draw, numbers] of Object.entries(scalars) as [Draw, number[]][]) {
    for (const count of [1, 200, 1021]) {
      const exact = draw === "bits" || draw === "integer" || draw === "choice";
      check({
        kernel: randomKernel({ draw, count }),
        inputs: [],
        outputs: [count],
        scalars: [...key, ...numbers],
        bounds: exact ? SAME : { rel: 1e-5, abs: 1e-5 },
      });
    }
  }
  const kernel = randomKernel({ draw: "normal", count: 4096 });
  const [drawn] = runKernel(kernel, {
    inputs: [],
    outputs: [new Float64Array(4096)],
    scalars: [...key, 0, 1],
  });
  assert(Math.abs(drawn.reduce((a, b) => a + b) / 4096) < 0.1);
});
