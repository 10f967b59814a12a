import { assertEquals } from "@std/assert";
import type { Backend, HostArray } from "../../core/backend/backend.ts";
import { apply, constant, input } from "../../kernels/expr.ts";
import { mapKernel } from "../../kernels/map.ts";
import { padKernel, type PadParams } from "../../kernels/pad.ts";
import { reduceKernel, type ReduceOp, type ReduceParams } from "../../kernels/reduce.ts";
import { type DType, type Kernel, sizeOf } from "../../kernels/types.ts";
import { randomValues } from "../util.ts";
import { everyKernel } from "./backends.ts";

interface Range {
  readonly buffer: unknown;
  readonly offset: number;
  readonly size: number;
}

/** Runs one kernel on a backend. */
class Bench {
  readonly backend: Backend;

  constructor(backend: Backend) {
    this.backend = backend;
  }

  put(dtype: DType, values: ArrayLike<number>): Range {
    const size = values.length;
    const place = (type: DType) => ({
      buffer: this.backend.allocate(size, type, "test"),
      offset: 0,
      size,
    });
    const type = dtype === "f16" ? "f32" : dtype;
    const wide = place(type);
    const data: HostArray = dtype === "i32" ? Int32Array.from(values) : Float32Array.from(values);
    this.backend.write(wide.buffer, 0, type, data);
    return dtype === "f16" ? this.#convert(wide, place("f16"), "f32", "f16") : wide;
  }

  run(kernel: Kernel, inputs: readonly Range[], outputs: readonly Range[]): void {
    this.backend.run({ kernel, inputs, outputs, scalars: [] });
  }

  async read(range: Range, dtype: DType): Promise<number[]> {
    if (dtype !== "f16") return [...await this.backend.read(range, dtype)];
    const wide = this.put("f32", new Float32Array(range.size));
    return [...await this.backend.read(this.#convert(range, wide, "f16", "f32"), "f32")];
  }

  #convert(from: Range, to: Range, source: DType, target: DType): Range {
    const kernel = mapKernel({
      expr: input(0),
      shape: [from.size],
      inputs: [{ dtype: source, strides: [1], offset: 0 }],
      output: { dtype: target, strides: [1], offset: 0 },
      scalars: [],
    });
    this.run(kernel, [from], [to]);
    return to;
  }
}

/** Multiples of 1/16, which are halves and sums of which are exact. */
function grains(count: number, seed: number): number[] {
  return Array.from(randomValues(count, seed, -8, 8), (x) => Math.round(x * 16) / 16);
}

/** Whole numbers for integers, multiples of 1/16 else. */
function valuesOf(dtype: DType, count: number, seed: number): number[] {
  return grains(count, seed).map((x) => dtype === "i32" ? Math.round(x * 16) : x);
}

interface PadCase extends Omit<PadParams, "image"> {
  readonly name: string;
  readonly dtype?: DType;
  /** Strides and offset of the image; dense by default. */
  readonly strides?: readonly number[];
  readonly offset?: number;
}

function pad(
  name: string,
  shape: PadCase["shape"],
  size: PadCase["size"],
  start: PadCase["start"],
  step: PadCase["step"] = [1, 1],
  image: Partial<PadCase> = {},
): PadCase {
  return { name, shape, size, start, step, ...image };
}

const pads: readonly PadCase[] = [
  pad("a border", [2, 6, 7, 3], [4, 5], [1, 1]),
  pad("a border of vectors", [2, 6, 7, 8], [4, 5], [1, 1]),
  pad("an uneven border", [3, 9, 5, 4], [4, 4], [4, 0]),
  pad("no border", [1, 3, 5, 1], [3, 5], [0, 0]),
  pad("one pixel", [1, 1, 1, 1], [1, 1], [0, 0]),
  pad("a tail of threads", [5, 7, 11, 3], [5, 6], [1, 3]),
  pad("zeros between pixels", [2, 9, 8, 3], [4, 3], [1, 2], [2, 2]),
  pad("uneven steps", [2, 12, 9, 4], [4, 3], [1, 0], [3, 4]),
  pad("steps from before the start", [1, 7, 7, 2], [5, 4], [-3, -1], [2, 3]),
  pad("a window with its corner outside", [2, 4, 4, 3], [5, 6], [-2, -3]),
  pad("a window that sticks out at the end", [2, 4, 4, 4], [5, 6], [2, 1]),
  pad("a window wholly before the start", [2, 4, 4, 3], [2, 3], [-2, 0]),
  pad("a window wholly behind the end", [2, 4, 4, 4], [2, 3], [0, 4]),
  pad("channels first in memory, from an odd place", [2, 5, 6, 3], [3, 4], [1, 1], [1, 1], {
    strides: [36, 4, 1, 12],
    offset: 7,
  }),
  pad("vectors with gaps between rows", [2, 5, 6, 4], [3, 4], [1, 1], [1, 1], {
    strides: [64, 20, 4, 1],
    offset: 8,
  }),
  pad("vectors from a place that is none", [2, 5, 6, 4], [3, 4], [1, 1], [1, 1], {
    strides: [64, 20, 4, 1],
    offset: 6,
  }),
  pad("one image for all of the batch, repeated channels", [3, 4, 4, 4], [2, 2], [1, 1], [1, 1], {
    strides: [0, 2, 1, 0],
  }),
  pad("whole numbers", [2, 5, 5, 4], [3, 3], [1, 1], [1, 1], { dtype: "i32" }),
  pad("halves", [2, 7, 5, 8], [3, 3], [1, 1], [2, 1], { dtype: "f16" }),
  pad("odd halves", [2, 7, 5, 3], [3, 3], [-1, 1], [2, 1], { dtype: "f16" }),
];

function paramsOf(c: PadCase): { params: PadParams; extent: number } {
  const [n, , , channels] = c.shape;
  const [h, w] = c.size;
  const strides = c.strides ?? [h * w * channels, w * channels, channels, 1];
  const offset = c.offset ?? 0;
  const reach = [n, h, w, channels].reduce((at, size, d) => at + (size - 1) * strides[d], offset);
  const image = { dtype: c.dtype ?? "f32", strides, offset };
  return {
    params: { shape: c.shape, size: c.size, start: c.start, step: c.step, image },
    extent: reach + 1,
  };
}

/** For each place of the result: which pixel lies there, asked the other way round than the kernel does. */
function padded({ shape, size, start, step, image }: PadParams, x: readonly number[]): number[] {
  const [n, h, w, channels] = shape;
  const y: number[] = [];
  for (let b = 0; b < n; b++) {
    for (let row = 0; row < h; row++) {
      for (let column = 0; column < w; column++) {
        const rows = Array.from({ length: size[0] }, (_, i) => start[0] + i * step[0]);
        const columns = Array.from({ length: size[1] }, (_, i) => start[1] + i * step[1]);
        const at = [b, rows.indexOf(row), columns.indexOf(column)];
        for (let k = 0; k < channels; k++) {
          const place = [...at, k].reduce((sum, i, d) => sum + i * image.strides[d], image.offset);
          y.push(at.includes(-1) ? 0 : x[place]);
        }
      }
    }
  }
  return y;
}

for (const { name, ignore, open } of everyKernel) {
  Deno.test({
    name: `padKernel() lays images among zeros, ${name}`,
    ignore,
    fn: async (t) => {
      const backend = await open();
      const bench = new Bench(backend);
      for (const c of pads) {
        if (c.dtype === "f16" && !backend.traits.f16) continue;
        await t.step(c.name, async () => {
          const { params, extent } = paramsOf(c);
          const { dtype } = params.image;
          const x = valuesOf(dtype, extent, 3);
          const y = bench.put(dtype, new Array(sizeOf(c.shape)).fill(77));
          bench.run(padKernel(params), [bench.put(dtype, x)], [y]);
          assertEquals(await bench.read(y, dtype), padded(params, x));
        });
      }
      backend.close();
    },
  });
}

Deno.test("padKernel() has a reference that lays images among zeros", () => {
  for (const c of pads) {
    const { params, extent } = paramsOf(c);
    const x = valuesOf(params.image.dtype, extent, 3);
    const y = new Float64Array(sizeOf(c.shape)).fill(77);
    padKernel(params).reference([Float64Array.from(x)], [y], []);
    assertEquals([...y], padded(params, x), c.name);
  }
});

interface TargetCase {
  readonly name: string;
  readonly outer: readonly number[];
  readonly reduced: readonly number[];
  readonly fold: ReduceOp;
  readonly target: { readonly strides: readonly number[]; readonly offset: number };
  readonly output?: DType;
  readonly post?: boolean;
}

/** Elements around the targets. */
const ROOM = 40;

const targets: readonly TargetCase[] = [
  {
    name: "rows to columns",
    outer: [3, 5],
    reduced: [7],
    fold: "sum",
    target: { strides: [1, 3], offset: 0 },
  },
  {
    name: "a window",
    outer: [3, 4],
    reduced: [6],
    fold: "max",
    target: { strides: [10, 1], offset: 13 },
  },
  {
    name: "every second place, a formula",
    outer: [5],
    reduced: [9],
    fold: "sum",
    target: { strides: [2], offset: 1 },
    post: true,
  },
  {
    name: "backwards",
    outer: [4, 3],
    reduced: [2, 3],
    fold: "min",
    target: { strides: [-3, -1], offset: 11 },
  },
  {
    name: "long sums, a formula",
    outer: [6],
    reduced: [600],
    fold: "sum",
    target: { strides: [3], offset: 2 },
    post: true,
  },
  {
    name: "long sums over two axes",
    outer: [2, 3],
    reduced: [20, 30],
    fold: "sum",
    target: { strides: [1, 2], offset: 4 },
  },
  {
    name: "one result",
    outer: [],
    reduced: [33],
    fold: "prod",
    target: { strides: [], offset: 5 },
  },
  {
    name: "halves",
    outer: [3, 4],
    reduced: [5],
    fold: "sum",
    target: { strides: [1, 3], offset: 0 },
    output: "f16",
    post: true,
  },
];

function reduceParams({ outer, reduced, fold, target, output, post }: TargetCase): ReduceParams {
  const shape = [...outer, ...reduced];
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
  return {
    fold,
    expr: input(0),
    post: post ? apply("sub", apply("mul", input(0), constant(0.5)), constant(1)) : null,
    outer,
    reduced,
    inputs: [{ dtype: "f32", strides, offset: 0 }],
    scalars: [],
    splits: 1,
    output: output ?? "f32",
    target,
  };
}

/** Plain loops; everything that is no target stays 77. */
function reduced(c: TargetCase, x: readonly number[]): number[] {
  const count = sizeOf(c.outer);
  const length = sizeOf(c.reduced);
  const y = new Array<number>(ROOM).fill(77);
  for (let o = 0; o < count; o++) {
    const line = x.slice(o * length, (o + 1) * length);
    const folded = {
      sum: () => line.reduce((a, b) => a + b),
      prod: () => line.reduce((a, b) => a * b),
      max: () => Math.max(...line),
      min: () => Math.min(...line),
      any: () => 0,
      all: () => 0,
    }[c.fold]();
    let at = c.target.offset;
    let rest = o;
    for (let d = c.outer.length - 1; d >= 0; d--) {
      at += (rest % c.outer[d]) * c.target.strides[d];
      rest = Math.floor(rest / c.outer[d]);
    }
    y[at] = c.post ? folded * 0.5 - 1 : folded;
  }
  return y;
}

function operandsOf(c: TargetCase): number[] {
  const count = sizeOf(c.outer) * sizeOf(c.reduced);
  // Signs have exact products, and so have sums of multiples of 1/16.
  return c.fold === "prod"
    ? grains(count, 8).map((x) => x < 0 ? -1 : 2 ** (x > 7 ? 1 : 0))
    : grains(count, 8);
}

for (const { name, ignore, open } of everyKernel) {
  Deno.test({
    name: `reduceKernel() stores where its target says, ${name}`,
    ignore,
    fn: async (t) => {
      const backend = await open();
      const bench = new Bench(backend);
      for (const c of targets) {
        if (c.output === "f16" && !backend.traits.f16) continue;
        await t.step(c.name, async () => {
          const x = operandsOf(c);
          const params = reduceParams(c);
          const y = bench.put(params.output, new Array(ROOM).fill(77));
          bench.run(reduceKernel(params), [bench.put("f32", x)], [y]);
          assertEquals(await bench.read(y, params.output), reduced(c, x));
        });
      }
      backend.close();
    },
  });
}

Deno.test("reduceKernel() has a reference that stores where its target says", () => {
  for (const c of targets) {
    const x = operandsOf(c);
    const y = new Float64Array(ROOM).fill(77);
    reduceKernel(reduceParams(c)).reference([Float64Array.from(x)], [y], []);
    assertEquals([...y], reduced(c, x), c.name);
  }
});

Deno.test("reduceKernel() tells targets apart by its key", () => {
  const keys = targets.map((c) => reduceKernel(reduceParams(c)).key);
  assertEquals(new Set(keys).size, targets.length);
  const { target: _, ...plain } = reduceParams(targets[0]);
  assertEquals(keys.includes(reduceKernel(plain).key), false);
});
