import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Backend } from "../../core/backend/backend.ts";
import type { HostArray } from "../../core/backend/backend.ts";
import { convKernel, type ConvParams, convWeightKernel } from "../../kernels/conv2d.ts";
import type { Epilogue } from "../../kernels/epilogue.ts";
import { apply, cast, constant, type Expr, input, scalar } from "../../kernels/expr.ts";
import { resultShape, withEpilogue } from "../../kernels/fusable.ts";
import { mapKernel, type StridedOperand } from "../../kernels/map.ts";
import { matmulKernel, type MatmulParams, type MatrixOperand } from "../../kernels/matmul.ts";
import { type DType, type Kernel, type Shape, sizeOf } from "../../kernels/types.ts";
import { addressesOf } from "../../kernels/wgsl.ts";
import { randomValues } from "../util.ts";
import { everyKernel } from "./backends.ts";

/** A product without an epilogue, and the number of elements of each input. */
interface Product {
  readonly name: string;
  readonly kernel: Kernel;
  readonly sizes: readonly number[];
}

function matrix(rowStride: number, columnStride: number, batchStrides: number[]): MatrixOperand {
  return { rowStride, columnStride, batchStrides, offset: 0 };
}

function matmulOf(m: number, k: number, n: number, options: Partial<MatmulParams> = {}): Product {
  const { batch = [], bias = false, splits = 1, rowSums } = options;
  const lead = batch.map((_, d) => sizeOf(batch.slice(d + 1)));
  const params = {
    m,
    n,
    k,
    batch,
    bias,
    splits,
    rowSums,
    a: matrix(k, 1, lead.map((s) => s * m * k)),
    b: matrix(n, 1, lead.map((s) => s * k * n)),
  };
  const items = sizeOf(batch);
  const sizes = [items * m * k, items * k * n, ...(bias ? [n] : [])];
  const name = `[${[...batch, m, k]}] by ${n}${bias ? " with bias" : ""}`;
  return { name, kernel: matmulKernel(params), sizes };
}

function conv(batch: number, size: number, cin: number, cout: number, k: number): ConvParams {
  const out = size - k + 1;
  return {
    batch,
    height: size,
    width: size,
    inChannels: cin,
    outChannels: cout,
    kernel: [k, k],
    stride: [1, 1],
    dilation: [1, 1],
    outHeight: out,
    outWidth: out,
  };
}

function convOf(p: ConvParams, bias: boolean): Product {
  const kernel = convKernel(p, bias);
  const x = p.batch * p.height * p.width * p.inChannels;
  const w = p.kernel[0] * p.kernel[1] * p.inChannels * p.outChannels;
  const name = `convolution of ${p.inChannels} to ${p.outChannels} channels`;
  return { name, kernel, sizes: [x, w, ...(bias ? [p.outChannels] : [])] };
}

function weightOf(p: ConvParams): Product {
  const x = p.batch * p.height * p.width * p.inChannels;
  const y = p.batch * p.outHeight * p.outWidth * p.outChannels;
  const name = `weight gradient of ${p.inChannels} to ${p.outChannels} channels`;
  return { name, kernel: convWeightKernel(p, 1), sizes: [x, y] };
}

const products: Product[] = [
  matmulOf(1, 1, 1),
  matmulOf(5, 1, 7, { bias: true }),
  matmulOf(33, 12, 36, { bias: true }),
  matmulOf(16, 8, 64),
  matmulOf(17, 7, 70, { batch: [2, 3] }),
  matmulOf(4, 5, 8, { batch: [3, 2], bias: true }),
  matmulOf(5, 130, 9, { bias: true }),
  matmulOf(12, 264, 20, { batch: [2] }),
  matmulOf(20, 9, 1, { bias: true }),
  matmulOf(6, 5, 1, { batch: [2, 3] }),
  matmulOf(40, 140, 1, { bias: true }),
  convOf(conv(2, 6, 4, 8, 3), true),
  convOf(conv(3, 5, 1, 5, 2), false),
  convOf(conv(2, 6, 1, 12, 5), true),
  weightOf(conv(2, 6, 4, 8, 3)),
  weightOf(conv(3, 5, 1, 5, 2)),
];

/** Strides of a shape whose axes lie in memory in this order, the last one dense, with so many elements between lines. */
function laidOut(shape: Shape, order: readonly number[], gap = 0): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  [...order].reverse().forEach((d, i) => {
    strides[d] = step;
    step *= shape[d] + (i === 0 ? gap : 0);
  });
  return strides;
}

interface Case {
  readonly name: string;
  readonly values: readonly number[];
  readonly make: (shape: Shape) => Epilogue;
}

const [x, a, b] = [input(0), input(1), input(2)];
const forward = (shape: Shape) => shape.map((_, d) => d);
const operand = (strides: number[], dtype: DType = "f32", offset = 0): StridedOperand => ({
  dtype,
  strides,
  offset,
});
const dense = (shape: Shape, dtype: DType = "f32") =>
  operand(laidOut(shape, forward(shape)), dtype);

const cases: Case[] = [
  { name: "the sum alone", values: [], make: (s) => one(x, dense(s)) },
  {
    name: "a scaled sum and a cut one",
    values: [0.37, 2],
    make: (s) => ({
      outputs: [
        { expr: apply("mul", apply("add", x, a), scalar(0, "f32")), target: dense(s) },
        { expr: apply("relu", x), target: operand(laidOut(s, [...forward(s)].reverse())) },
      ],
      inputs: [operand(s.map((_, d) => Number(d === s.length - 1)))],
      scalars: ["f32", "i32"],
    }),
  },
  {
    name: "operands of rows, of columns, of all, and of one element",
    values: [],
    make: (s) => {
      const rows = [...laidOut(s.slice(0, -1), forward(s.slice(0, -1))), 0];
      const sum = apply(
        "add",
        apply("mul", x, a),
        apply("add", apply("mul", b, input(3)), input(4)),
      );
      return {
        ...one(sum, operand(laidOut(s, forward(s), 3), "f32", 5)),
        inputs: [
          operand(rows),
          operand(s.map((_, d) => 2 * Number(d === s.length - 1))),
          dense(s),
          operand(s.map(() => 0), "f32", 3),
        ],
      };
    },
  },
  {
    name: "whole numbers, truths and halves",
    values: [],
    make: (s) => ({
      outputs: [
        { expr: cast(apply("mul", x, constant(100)), "i32"), target: dense(s, "i32") },
        { expr: apply("gt", x, a), target: dense(s, "bool") },
        { expr: apply("where", input(3), x, b), target: dense(s, "f16") },
      ],
      inputs: [
        dense(s, "f16"),
        operand(laidOut(s, [...forward(s)].reverse()), "i32", 2),
        dense(s, "bool"),
      ],
      scalars: [],
    }),
  },
  {
    name: "a first row over and over, backwards",
    values: [],
    make: (s) => {
      const size = sizeOf(s);
      const back = laidOut(s, forward(s)).map((v) => -v);
      return {
        ...one(apply("tanh", apply("sub", x, a)), dense(s)),
        inputs: [operand(back, "f32", size - 1)],
      };
    },
  },
];

function one(expr: Expr, target: StridedOperand): Epilogue {
  return { outputs: [{ expr, target }], inputs: [], scalars: [] };
}

/** Elements from the start of the range to the last that an operand touches. */
function extentOf(o: StridedOperand, shape: Shape): number {
  return Math.max(...addressesOf(shape, o.strides, o.offset)) + 1;
}

function valuesOf(dtype: DType, count: number, seed: number): HostArray {
  const values = randomValues(count, seed);
  if (dtype === "bool") return Uint8Array.from(values, (v) => Number(v > 0));
  if (dtype === "i32") return Int32Array.from(values, (v) => Math.trunc(v * 9));
  return Float32Array.from(values);
}

/** Runs kernels on a backend: takes and gives host values. */
class Bench {
  readonly #backend: Backend;
  readonly #held: { buffer: ReturnType<Backend["allocate"]> }[] = [];

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Memory with values; halves are written as the bits of f32 that a copy converts. */
  put(dtype: DType, data: HostArray) {
    const make = (type: DType) => {
      const made = {
        buffer: this.#backend.allocate(data.length, type, "test"),
        offset: 0,
        size: data.length,
      };
      this.#held.push(made);
      return made;
    };
    const wide = make(dtype === "f16" ? "f32" : dtype);
    this.#backend.write(wide.buffer, 0, dtype === "f16" ? "f32" : dtype, data);
    return dtype === "f16" ? this.#copy(wide, make("f16"), "f32", "f16") : wide;
  }

  #copy<T extends { size: number }>(from: T, to: T, source: DType, target: DType): T {
    const whole = (dtype: DType) => operand([1], dtype);
    const kernel = mapKernel({
      expr: x,
      shape: [from.size],
      inputs: [whole(source)],
      output: whole(target),
      scalars: [],
    });
    this.run(kernel, [from], [to], []);
    return to;
  }

  run(
    kernel: Kernel,
    inputs: readonly unknown[],
    outputs: readonly unknown[],
    scalars: readonly number[],
  ) {
    this.#backend.run({ kernel, inputs, outputs, scalars } as Parameters<Backend["run"]>[0]);
  }

  async read(dtype: DType, o: ReturnType<Bench["put"]>): Promise<HostArray> {
    if (dtype !== "f16") return await this.#backend.read(o, dtype);
    const wide = this.put("f32", new Float32Array(o.size));
    this.#copy(o, wide, "f16", "f32");
    return await this.#backend.read(wide, "f32");
  }

  clear(): void {
    for (const { buffer } of this.#held.splice(0)) this.#backend.free(buffer);
  }
}

/** Bits of numbers, so that NaN and signed zeros count. */
function bits(values: HostArray): number[] {
  return values instanceof Float32Array ? [...new Uint32Array(values.slice().buffer)] : [...values];
}

/** Runs the kernel with the epilogue, and the kernel followed by one map for each output; gives both memories. */
async function bothWays(bench: Bench, product: Product, { make, values }: Case) {
  const shape = resultShape(product.kernel);
  const epilogue = make(shape);
  const fused = withEpilogue(product.kernel, epilogue);
  assert(fused !== null);
  const own = product.sizes.map((n, i) => bench.put("f32", valuesOf("f32", n, 10 + i)));
  const beside = epilogue.inputs.map((o, i) =>
    bench.put(o.dtype, valuesOf(o.dtype, extentOf(o, shape), 20 + i))
  );
  const room = epilogue.outputs.map(({ target }) =>
    valuesOf(target.dtype, extentOf(target, shape), 30)
  );
  const place = () => epilogue.outputs.map((o, i) => bench.put(o.target.dtype, room[i]));
  const scalars = values.slice(0, epilogue.scalars.length);
  const [got, want] = [place(), place()];
  bench.run(fused, [...own, ...beside], got, scalars);
  const sums = bench.put("f32", new Float32Array(sizeOf(shape)));
  bench.run(product.kernel, own, [sums], []);
  epilogue.outputs.forEach(({ expr, target }, i) => {
    const inputs = [dense(shape), ...epilogue.inputs];
    const map = mapKernel({ expr, shape, inputs, output: target, scalars: epilogue.scalars });
    bench.run(map, [sums, ...beside], [want[i]], scalars);
  });
  const types = epilogue.outputs.map((o) => o.target.dtype);
  const memory = async (places: typeof got) =>
    await Promise.all(places.map((o, i) => bench.read(types[i], o)));
  return { got: await memory(got), want: await memory(want) };
}

for (const { name, ignore, open } of everyKernel) {
  Deno.test({
    name: `withEpilogue() gives the bits of the kernel and a map behind it, ${name}`,
    ignore,
    fn: async (t) => {
      const backend = await open();
      const bench = new Bench(backend);
      for (const [n, product] of products.entries()) {
        // Every product with three of the cases, every case with more than half of the products.
        for (const c of cases.filter((_, i) => (i + n) % 5 < 3)) {
          if (c.name.includes("halves") && !backend.traits.f16) continue;
          await t.step(`${product.name}: ${c.name}`, async () => {
            const { got, want } = await bothWays(bench, product, c);
            got.forEach((values, i) => assertEquals(bits(values), bits(want[i]), `output ${i}`));
            bench.clear();
          });
        }
      }
      backend.close();
    },
  });
}

Deno.test("withEpilogue() has a reference that equals the kernel's and a map's behind it", () => {
  for (const product of products) {
    const shape = resultShape(product.kernel);
    for (const { name, make, values } of cases) {
      const epilogue = make(shape);
      const scalars = values.slice(0, epilogue.scalars.length);
      const own = product.sizes.map((n, i) => Float64Array.from(valuesOf("f32", n, 10 + i)));
      const beside = epilogue.inputs.map((o, i) =>
        Float64Array.from(valuesOf(o.dtype, extentOf(o, shape), 20 + i))
      );
      const place = () =>
        epilogue.outputs.map((o) => new Float64Array(extentOf(o.target, shape)).fill(7));
      const [got, want] = [place(), place()];
      withEpilogue(product.kernel, epilogue)!.reference([...own, ...beside], got, scalars);
      const sums = new Float64Array(sizeOf(shape));
      product.kernel.reference(own, [sums], []);
      epilogue.outputs.forEach(({ expr, target }, i) => {
        const inputs = [dense(shape), ...epilogue.inputs];
        mapKernel({ expr, shape, inputs, output: target, scalars: epilogue.scalars })
          .reference([sums, ...beside], [want[i]], scalars);
      });
      assertEquals(got, want, `${product.name}: ${name}`);
    }
  }
});

Deno.test("withEpilogue() is null where sums are slices, have an epilogue, or are none", () => {
  const plain = one(x, dense([4, 4]));
  const sliced = matmulOf(4, 8, 4, { splits: 2 }).kernel;
  assertEquals(withEpilogue(sliced, plain), null);
  const summed = matmulOf(4, 8, 4, { rowSums: true }).kernel;
  assertEquals(withEpilogue(summed, plain), null);
  assertEquals(
    withEpilogue(convWeightKernel(conv(2, 4, 1, 1, 2), 2), one(x, dense([2, 2, 1, 1]))),
    null,
  );
  const once = withEpilogue(matmulOf(4, 8, 4).kernel, plain)!;
  assertEquals(withEpilogue(once, plain), null);
  const map = mapKernel({
    expr: x,
    shape: [4],
    inputs: [dense([4])],
    output: dense([4]),
    scalars: [],
  });
  assertEquals(withEpilogue(map, plain), null);
  assertThrows(() => resultShape(map), Error, "map has no sums");
});

Deno.test("withEpilogue() gives one kernel for equal epilogues, others for others", () => {
  const { kernel } = matmulOf(4, 8, 4);
  const make = (name: string) => withEpilogue(kernel, one(apply(name, x), dense([4, 4])))!;
  assert(make("relu") === make("relu"));
  assert(make("relu").key !== make("exp").key);
  assertEquals(make("relu").outputs, ["f32"]);
  assertEquals(resultShape(make("relu")), [4, 4]);
});
