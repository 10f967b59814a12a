import { assert, assertEquals, assertThrows } from "@std/assert";
import { openWebGpu } from "../../core/backend/adapter.ts";
import { convKernel, type ConvParams, convWeightKernel } from "../../kernels/conv2d.ts";
import type { Epilogue } from "../../kernels/epilogue.ts";
import { apply, constant, type Expr, input } from "../../kernels/expr.ts";
import { withEpilogue } from "../../kernels/fusable.ts";
import { matmulKernel, type MatrixOperand } from "../../kernels/matmul.ts";
import { type Kernel, type Shape, sizeOf } from "../../kernels/types.ts";
import { randomValues } from "../util.ts";

const hasAdapter = (await navigator.gpu?.requestAdapter() ?? null) !== null;

/** A kernel with the values of its inputs, and the steps of its longest sum. */
interface Case {
  readonly name: string;
  readonly kernel: Kernel;
  readonly inputs: readonly Float64Array[];
  /** Elements of each output. */
  readonly outputs: readonly number[];
}

/** A matrix whose lines, and what lies before it, have gaps. */
function operandIn(
  rows: number,
  columns: number,
  batch: Shape,
  transposed: boolean,
  gap: number,
): MatrixOperand {
  const [lines, length] = transposed ? [columns, rows] : [rows, columns];
  const line = length + gap;
  const batchStrides = batch.map((_, d) => lines * line * sizeOf(batch.slice(d + 1)));
  const [rowStride, columnStride] = transposed ? [1, line] : [line, 1];
  return { rowStride, columnStride, batchStrides, offset: gap };
}

/** A matrix in memory with NaN between its lines, before it and behind it. */
function matrixIn(
  rows: number,
  columns: number,
  batch: Shape,
  transposed: boolean,
  gap: number,
  seed: number,
): { operand: MatrixOperand; data: Float64Array } {
  const [lines, length] = transposed ? [columns, rows] : [rows, columns];
  const line = length + gap;
  const item = lines * line;
  const offset = gap;
  const data = new Float64Array(offset + sizeOf(batch) * item + gap).fill(NaN);
  const values = randomValues(sizeOf(batch) * lines * length, seed);
  for (let n = 0; n < values.length; n++) {
    data[offset + Math.floor(n / length) * line + n % length] = values[n];
  }
  return { operand: operandIn(rows, columns, batch, transposed, gap), data };
}

function matmulCase(
  m: number,
  k: number,
  n: number,
  form: string,
  gap: number,
  { batch = [] as Shape, bias = false, splits = 1, rowSums = false } = {},
): Case {
  const a = matrixIn(m, k, batch, form[0] === "T", gap, 1);
  const b = matrixIn(k, n, batch, form[1] === "T", gap, 2);
  const operands = { a: a.operand, b: b.operand };
  const kernel = matmulKernel({ m, n, k, batch, ...operands, bias, splits, rowSums });
  const extra = rowSums ? ", sums of rows" : "";
  return {
    name: `matmul ${form} [${[...batch, m, k, n]}], gaps of ${gap}, ${splits} slices${extra}`,
    kernel,
    inputs: [a.data, b.data, ...(bias ? [randomValues(n, 3)] : [])],
    outputs: [splits * sizeOf(batch) * m * n, ...(rowSums ? [m] : [])],
  };
}

function conv(
  [batch, height, width]: readonly number[],
  [inChannels, outChannels]: readonly number[],
  kernel: readonly [number, number],
  { stride = [1, 1], dilation = [1, 1], spare = 0 }: {
    stride?: readonly [number, number];
    dilation?: readonly [number, number];
    /** Columns at the end of each line that no patch touches. */
    spare?: number;
  } = {},
): ConvParams {
  const out = (size: number, d: number) =>
    Math.floor((size - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1;
  return {
    batch,
    height,
    width: width + spare,
    inChannels,
    outChannels,
    kernel,
    stride,
    dilation,
    outHeight: out(height, 0),
    outWidth: out(width, 1),
  };
}

function convCases(p: ConvParams, splits: number): Case[] {
  const { batch, inChannels: cin, outChannels: cout } = p;
  const x = randomValues(batch * p.height * p.width * cin, 4);
  const used = (p.outWidth - 1) * p.stride[1] + (p.kernel[1] - 1) * p.dilation[1] + 1;
  x.forEach((_, i) => {
    if (Math.floor(i / cin) % p.width >= used) x[i] = NaN;
  });
  const w = randomValues(p.kernel[0] * p.kernel[1] * cin * cout, 5);
  const g = randomValues(batch * p.outHeight * p.outWidth * cout, 6);
  const text = `[${[batch, p.height, p.width, cin]}] to ${cout} by ${p.kernel}, stride ${p.stride}`;
  return [
    {
      name: `convolution ${text}`,
      kernel: convKernel(p, true),
      inputs: [x, w, randomValues(cout, 7)],
      outputs: [g.length],
    },
    {
      name: `weight gradient ${text}, ${splits} slices`,
      kernel: convWeightKernel(p, splits),
      inputs: [x, g],
      outputs: [splits * w.length],
    },
  ];
}

const cases: Case[] = [
  matmulCase(17, 19, 23, "NN", 3),
  matmulCase(64, 16, 64, "NT", 0, { bias: true }),
  matmulCase(65, 33, 66, "NT", 4),
  matmulCase(64, 36, 128, "TN", 4),
  matmulCase(131, 8, 68, "TN", 1),
  matmulCase(40, 41, 36, "TT", 5, { batch: [2, 3] }),
  matmulCase(16, 20, 16, "NN", 4, { batch: [9], bias: true }),
  matmulCase(20, 75, 20, "NN", 0, { splits: 9 }),
  matmulCase(36, 100, 33, "TN", 2, { splits: 3 }),
  matmulCase(1, 50, 300, "NN", 0),
  matmulCase(300, 50, 1, "NT", 0),
  matmulCase(70, 35, 1, "TN", 1, { bias: true, batch: [2] }),
  matmulCase(68, 31, 1, "NN", 4, { splits: 3 }),
  matmulCase(16, 784, 64, "NT", 0, { bias: true }),
  matmulCase(5, 303, 9, "NN", 3),
  matmulCase(13, 262, 34, "TT", 2, { batch: [2], bias: true }),
  matmulCase(12, 513, 20, "TN", 0),
  matmulCase(1, 514, 36, "NN", 4),
  matmulCase(2, 200, 5, "NT", 4, { bias: true }),
  matmulCase(21, 331, 1, "NT", 0, { bias: true }),
  matmulCase(24, 160, 1, "TN", 0),
  matmulCase(64, 16, 784, "TN", 0, { rowSums: true }),
  matmulCase(10, 19, 33, "TN", 2, { rowSums: true }),
  matmulCase(68, 37, 21, "NN", 3, { rowSums: true }),
  matmulCase(132, 40, 150, "NT", 4, { rowSums: true }),
  matmulCase(36, 130, 40, "TN", 4, { rowSums: true }),
  matmulCase(7, 3, 5, "NT", 0, { rowSums: true, bias: true }),
  matmulCase(1, 66, 300, "TN", 0, { rowSums: true }),
  ...convCases(conv([2, 11, 9], [1, 20], [5, 3]), 3),
  ...convCases(conv([3, 8, 7], [8, 36], [3, 3]), 9),
  ...convCases(conv([2, 9, 11], [4, 17], [3, 2], { stride: [2, 1] }), 1),
  ...convCases(conv([2, 9, 12], [3, 16], [2, 3], { dilation: [2, 3] }), 10),
  ...convCases(conv([3, 6, 5], [12, 16], [1, 1]), 4),
  ...convCases(conv([2, 10, 12], [1, 24], [5, 5]), 9),
  ...convCases(conv([2, 6, 13], [1, 12], [3, 3], { spare: 3 }), 8),
  ...convCases(conv([2, 7, 6], [8, 36], [2, 2], { spare: 1 }), 3),
  ...convCases(conv([2, 7, 9], [3, 10], [3, 3], { dilation: [2, 1] }), 2),
  ...convCases(conv([1, 1, 1], [5, 12], [1, 1]), 1),
  ...convCases(conv([2, 3, 4], [1, 8], [1, 1]), 2),
  ...convCases(conv([2, 9, 14], [2, 12], [3, 3], { stride: [2, 2] }), 8),
];

/** What the reference gives, all outputs behind each other. */
function referenceOf({ kernel, outputs }: Case, inputs: readonly Float64Array[]): number[] {
  const results = outputs.map((size) => new Float64Array(size));
  kernel.reference(inputs, results, []);
  return results.flatMap((values) => [...values]);
}

for (const software of [true, false]) {
  Deno.test({
    name: `Kernel.variants() all give the same bits, near the reference, kernels for ${
      software ? "software" : "hardware"
    }`,
    ignore: !hasAdapter,
    fn: async (t) => {
      const backend = await openWebGpu({ memoryBudget: 2 ** 26, traits: { software } });
      const seen = new Set<string>();
      for (const c of cases) {
        await t.step(c.name, async () => {
          const { kernel } = c;
          const want = referenceOf(c, c.inputs);
          // Sums of the magnitudes of all terms bound the error of a sum.
          const sizes = referenceOf(c, c.inputs.map((x) => x.map(Math.abs)));
          const names = kernel.variants!(backend.traits);
          assertEquals(new Set(names).size, names.length);
          let first: Float32Array | null = null;
          for (const name of names) {
            seen.add(name.replace(/\d+/g, ""));
            const got = await runVariant(backend, c, name);
            for (let i = 0; i < want.length; i++) {
              const error = Math.abs(got[i] - want[i]);
              assert(error <= 1e-6 * sizes[i] + 1e-30, `${name}: ${i}: ${got[i]}, not ${want[i]}`);
            }
            first ??= got;
            assertEquals(new Uint32Array(got.buffer), new Uint32Array(first.buffer), name);
          }
        });
      }
      backend.close();
      const kinds = software
        ? [
          "x by ",
          "x columns",
          "x columns of lines",
          "x items",
          "x items of lines",
          "x rows",
          "x rows of lines",
        ]
        : ["x by ", "x registers", "x shared"];
      assertEquals([...seen].sort(), kinds);
    },
  });
}

/** The results of one variant behind each other, from memory that is NaN around the operands and around the result. */
async function runVariant(
  backend: Awaited<ReturnType<typeof openWebGpu>>,
  { kernel, inputs, outputs }: Case,
  name: string,
): Promise<Float32Array> {
  const margin = 64;
  const place = (values: Float64Array | number) => {
    const size = typeof values === "number" ? values : values.length;
    const data = new Float32Array(size + 2 * margin).fill(NaN);
    if (typeof values !== "number") data.set(values, margin);
    const buffer = backend.allocate(data.length, "f32", "test");
    backend.write(buffer, 0, "f32", data);
    return { buffer, offset: margin, size };
  };
  const operands = inputs.map(place);
  const results = outputs.map(place);
  const variant: Kernel = {
    ...kernel,
    key: `${kernel.key}|${name}`,
    variants: undefined,
    wgsl: (traits) => kernel.wgsl(traits, name),
  };
  backend.run({ kernel: variant, inputs: operands, outputs: results, scalars: [] });
  const values: number[] = [];
  for (const { buffer, size } of results) {
    const whole = { buffer, offset: 0, size: size + 2 * margin };
    const memory = await backend.read(whole, "f32") as Float32Array;
    for (const margins of [memory.slice(0, margin), memory.slice(-margin)]) {
      assert(margins.every(Number.isNaN), `${name} writes beyond its result`);
    }
    values.push(...memory.subarray(margin, -margin));
  }
  for (const o of [...operands, ...results]) backend.free(o.buffer);
  return Float32Array.from(values);
}

for (const software of [true, false]) {
  const kind = software ? "software" : "hardware";
  Deno.test(`matmulKernel() lets threads share sums by the sizes alone, kernels for ${kind}`, () => {
    const traits = { software, maxGroups: 65535, f16: false };
    const kernelOf = (m: number, k: number, n: number, form: string, gap: number) => {
      const a = operandIn(m, k, [], form[0] === "T", gap);
      const b = operandIn(k, n, [], form[1] === "T", gap);
      return matmulKernel({ m, n, k, batch: [], a, b, bias: false, splits: 1 });
    };
    const isShared = (kernel: Kernel) => {
      const found = new Set(kernel.variants!(traits).map((name) => name.includes(" by ")));
      assertEquals(found.size, 1, kernel.key);
      return found.has(true);
    };
    const shared: Record<string, boolean> = {};
    for (const [m, k, n] of [[16, 784, 64], [8, 1024, 8], [512, 512, 512], [64, 16, 784]]) {
      shared[`${m}×${k}×${n}`] = isShared(kernelOf(m, k, n, "NT", 0));
    }
    assertEquals(shared, {
      "16×784×64": true,
      "8×1024×8": true,
      "512×512×512": false,
      "64×16×784": false,
    });
    const epilogue: Epilogue = {
      outputs: [{ expr: longFormula(60), target: { dtype: "f32", strides: [1, 9], offset: 1 } }],
      inputs: [],
      scalars: [],
    };
    for (const m of [1, 2, 7, 16, 40, 96, 300, 1000]) {
      for (const k of [100, 130, 260, 784, 2000]) {
        for (const n of [1, 4, 10, 64, 130, 400]) {
          const kernel = kernelOf(m, k, n, "NT", 0);
          const others = ["NN", "TN", "TT"].map((form) => kernelOf(m, k, n, form, 1));
          for (const other of [...others, withEpilogue(kernel, epilogue)!]) {
            assertEquals(isShared(other), isShared(kernel), `${m} × ${k} × ${n}`);
          }
        }
      }
    }
  });
}

/** A formula of the sum with so many additions. */
function longFormula(length: number): Expr {
  let expr: Expr = input(0);
  for (let n = 1; n <= length; n++) expr = apply("add", expr, constant(n));
  return expr;
}

Deno.test("matmulKernel() refuses sums of rows where a product is not whole", () => {
  const { operand } = matrixIn(4, 4, [], false, 0, 1);
  const params = { m: 4, n: 4, k: 4, batch: [], a: operand, b: operand, bias: false, splits: 1 };
  for (const other of [{ splits: 2 }, { n: 1 }, { batch: [2] }]) {
    assertThrows(() => matmulKernel({ ...params, ...other, rowSums: true }), Error, "sums of rows");
  }
});

Deno.test("Kernel.wgsl() refuses a variant that there is not", () => {
  const { kernel } = cases[0];
  const traits = { software: true, maxGroups: 65535, f16: false };
  assertThrows(() => kernel.wgsl(traits, "7x7 rows"), Error, 'no tile "7x7 rows"');
});
