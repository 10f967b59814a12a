import { assertEquals, assertThrows } from "@std/assert";
import { type Device, type DType, type Tensor, tensor, zeros } from "../../core/mod.ts";
import { embedding, gather, indexSelect, scatterAdd, takeRows } from "../../core/tensor/gather.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  randomValues,
  reference,
  type Sample,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices, scattered } from "./lines.ts";

type Ints = readonly number[];

/** Positions of all elements of a shape, in row-major order. */
function coordinates(shape: Ints): number[][] {
  return shape.reduce<number[][]>(
    (all, n) => all.flatMap((c) => Array.from({ length: n }, (_, i) => [...c, i])),
    [[]],
  );
}

function at(shape: Ints, coordinate: Ints): number {
  return shape.reduce((sum, n, d) => sum * n + coordinate[d], 0);
}

/** torch.gather in plain loops. */
function plainGather(
  x: ArrayLike<number>,
  shape: Ints,
  dim: number,
  index: Ints,
  of: Ints,
): number[] {
  return coordinates(of).map((c, i) => {
    const k = index[i];
    return k >= 0 && k < shape[dim] ? x[at(shape, c.map((v, d) => d === dim ? k : v))] : NaN;
  });
}

/** Tensor.scatter_add in plain loops. */
function plainScatter(
  x: ArrayLike<number>,
  shape: Ints,
  dim: number,
  index: Ints,
  of: Ints,
  source: ArrayLike<number>,
  sourceShape: Ints,
): number[] {
  const out = Array.from(x);
  coordinates(of).forEach((c, i) => {
    const k = index[i];
    if (k < 0 || k >= shape[dim]) return;
    out[at(shape, c.map((v, d) => d === dim ? k : v))] += source[at(sourceShape, c)];
  });
  return out;
}

/** Integers from -1 to `size`, so that some lie outside, with repetitions. */
function indices(count: number, size: number, seed: number): number[] {
  return Array.from(randomValues(count, seed, -1, size + 1), Math.floor);
}

interface Case {
  readonly shape: number[];
  readonly dim: number;
  readonly index: number[];
  readonly source: number[];
}

const cases: Case[] = [
  { shape: [5], dim: 0, index: [7], source: [7] },
  { shape: [1], dim: 0, index: [1], source: [2] },
  { shape: [4, 6], dim: 0, index: [9, 6], source: [9, 6] },
  { shape: [4, 6], dim: 1, index: [3, 2], source: [4, 5] },
  { shape: [3, 7, 5], dim: 1, index: [2, 11, 5], source: [3, 11, 5] },
  { shape: [3, 7, 5], dim: -1, index: [3, 7, 1], source: [3, 7, 1] },
  // Enough comparisons for the sorted way.
  { shape: [1009, 3], dim: 0, index: [401, 3], source: [401, 4] },
  { shape: [2, 1009], dim: 1, index: [2, 401], source: [2, 401] },
];

const size = (shape: Ints) => shape.reduce((a, b) => a * b, 1);
const axis = ({ dim, shape }: Case) => dim < 0 ? dim + shape.length : dim;

function indexOf(
  device: Device,
  c: Case,
  dtype: DType = "i32",
): { values: number[]; tensor: Tensor } {
  const values = indices(size(c.index), c.shape[axis(c)], 11);
  return { values, tensor: scattered(device, values, c.index, dtype) };
}

for (const [name, device] of devices) {
  Deno.test({
    name: `gather() reads by index, NaN outside, on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const c of cases) {
        const x = randomValues(size(c.shape), 1);
        const index = indexOf(device!, c);
        const y = gather(scattered(device!, x, c.shape), c.dim, index.tensor);
        assertEquals(y.shape, c.index);
        const want = plainGather(x, c.shape, axis(c), index.values, c.index);
        assertClose(await y.data(), want, 0, JSON.stringify(c));
      }
    },
  });

  Deno.test({
    name: `scatterAdd() adds by index on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const c of cases) {
        const x = randomValues(size(c.shape), 1);
        const source = randomValues(size(c.source), 2);
        const index = indexOf(device!, c);
        const y = scatterAdd(
          scattered(device!, x, c.shape),
          c.dim,
          index.tensor,
          scattered(device!, source, c.source),
        );
        const want = plainScatter(x, c.shape, axis(c), index.values, c.index, source, c.source);
        assertClose(await y.data(), want, { rel: 1e-6, abs: 1e-5 }, JSON.stringify(c));
      }
    },
  });

  Deno.test({
    name: `indexSelect() takeRows() embedding() read slices on ${name}`,
    ignore: device === null,
    fn: async () => {
      const shape = [4, 3, 5];
      const x = randomValues(60, 3);
      const t = scattered(device!, x, shape);
      for (const dim of [0, 1, -1]) {
        const d = (dim + 3) % 3;
        const places = indices(7, shape[d], 4 + d);
        const of = shape.map((n, i) => i === d ? 7 : n);
        const spread = coordinates(of).map((c) => places[c[d]]);
        const y = indexSelect(t, dim, tensor(Int32Array.from(places), { device: device! }));
        assertEquals(y.shape, of);
        assertClose(await y.data(), plainGather(x, shape, d, spread, of), 0, `along ${dim}`);
      }
      const rows = tensor([[3, 0], [1, 3]], { device: device!, dtype: "u32" });
      const taken = takeRows(t, rows);
      assertEquals(taken.shape, [2, 2, 3, 5]);
      const want = [3, 0, 1, 3].flatMap((r) => [...x.slice(r * 15, r * 15 + 15)]);
      assertClose(await taken.data(), want, 0);
      const looked = embedding(t.reshape([4, 15]), rows);
      assertEquals(looked.shape, [2, 2, 15]);
      assertClose(await looked.data(), want, 0);
    },
  });

  Deno.test({
    name: `gather() outside of an axis gives 0 for integers and false for bool on ${name}`,
    ignore: device === null,
    fn: async () => {
      const index = tensor([-1, 1, 2, 2147483647], { device: device!, dtype: "i32" });
      for (const dtype of ["i32", "u32", "bool"] as const) {
        const x = tensor([1, 1], { device: device!, dtype });
        const y = gather(x, 0, index);
        assertEquals(y.dtype, dtype);
        assertEquals(await y.array(), [0, 1, 0, 0], dtype);
      }
      const words = tensor(Uint32Array.of(4294967295, 0), { device: device! });
      const x = tensor([5, 6], { device: device! });
      assertEquals(await gather(x, 0, words).array(), [NaN, 5]);
    },
  });

  Deno.test({
    name: `scatterAdd() of integers is exact and wraps on ${name}`,
    ignore: device === null,
    fn: async () => {
      const index = tensor([1, 1, 0], { device: device!, dtype: "i32" });
      const i32 = (data: number[]) => tensor(Int32Array.from(data), { device: device! });
      const y = scatterAdd(i32([16777216, 2147483647]), 0, index, i32([1, 1, 1]));
      assertEquals(await y.array(), [16777217, -2147483647]);
    },
  });

  Deno.test({
    name: `scatterAdd() counts exactly where few places get very much on ${name}`,
    ignore: device === null,
    fn: async () => {
      using _ = device!.scope();
      const many = 300_000;
      const index = Int32Array.from({ length: many }, (_, i) => i < 200_000 ? 1 : i % 4);
      const counts = [0, 1000, 0];
      for (const k of index) if (k < 3) counts[k]++;
      const base = tensor(Int32Array.of(0, 1000, 0), { device: device! });
      const y = scatterAdd(
        base,
        0,
        tensor(index, { device: device! }),
        zeros([many], { device: device!, dtype: "i32" }).add(1),
      );
      assertEquals(await y.array(), counts);
      // Many places: one of them still gets more than a thread may go through.
      const wide = scatterAdd(
        zeros([2, 5000], { device: device!, dtype: "i32" }),
        1,
        tensor(index, { device: device! }).reshape([1, many]),
        zeros([1, many], { device: device!, dtype: "i32" }).add(1),
      );
      const sums = await wide.data();
      assertEquals([...sums.slice(0, 5)], [counts[0], counts[1] - 1000, counts[2], 25_000, 0]);
      assertEquals(Array.from(sums).reduce((a, b) => a + b, 0), many);
    },
  });
}

function indexSample(c: Case): Sample {
  const data = indices(size(c.index), c.shape[axis(c)], 11);
  return { shape: c.index, data, dtype: "i32" };
}

/** Reads outside give NaN, which has no derivative: only places inside. */
function insideSample(c: Case): Sample {
  const s = indexSample(c);
  return { ...s, data: Array.from(s.data, (k) => Math.max(0, Math.min(c.shape[axis(c)] - 1, k))) };
}

Deno.test("gather() gradients agree with central differences, to second order", async () => {
  for (const c of cases) {
    const fn = (x: Tensor, index: Tensor) => gather(x.square(), c.dim, index);
    await gradcheck(fn, [sample(c.shape, 1), insideSample(c)], JSON.stringify(c), {
      secondOrder: true,
    });
  }
});

Deno.test("scatterAdd() gradients agree with central differences, to second order", async () => {
  for (const c of cases) {
    const fn = (x: Tensor, index: Tensor, source: Tensor) =>
      scatterAdd(x.square(), c.dim, index, source.square());
    const samples = [sample(c.shape, 1), indexSample(c), sample(c.source, 2)];
    await gradcheck(fn, samples, JSON.stringify(c), { secondOrder: true });
  }
});

testOnDevices({
  name: "gather() scatterAdd() on the device agree with the reference, forward and backward",
  fn: async (device) => {
    for (const c of cases) {
      const label = JSON.stringify(c);
      const places = insideSample(c);
      await compareWithReference(
        device,
        (x, i) => gather(x, c.dim, i),
        [sample(c.shape, 1), places],
        2e-6,
        label,
      );
      await compareWithReference(
        device,
        (x, i, s) => scatterAdd(x, c.dim, i, s),
        [sample(c.shape, 1), indexSample(c), sample(c.source, 2)],
        2e-6,
        label,
      );
    }
  },
});

testOnDevices({
  name: "gather() moves f16 bit for bit, scatterAdd() of f16 adds in f32",
  f16: true,
  fn: async (device) => {
    const x = tensor([1.5, -2.25, 65504], { device, dtype: "f16", requiresGrad: true });
    const index = tensor([2, 0, 3, 0], { device, dtype: "i32" });
    const y = gather(x, 0, index);
    assertEquals(y.dtype, "f16");
    assertEquals(await y.array(), [65504, 1.5, NaN, 1.5]);
    y.backward({ gradient: tensor([1, 2, 4, 8], { device, dtype: "f16" }) });
    assertEquals(x.grad!.dtype, "f16");
    assertEquals(await x.grad!.array(), [10, 0, 1]);
    // In f16, 2048 + 1 is 2048.
    const ones = tensor(new Float32Array(4096).fill(1), { device, dtype: "f16" });
    const sum = scatterAdd(
      zeros([2], { device, dtype: "f16" }),
      0,
      zeros([4096], { device, dtype: "i32" }),
      ones,
    );
    assertEquals(await sum.array(), [4096, 0]);
  },
});

Deno.test("gather() scatterAdd() embedding() of nothing", async () => {
  const device = reference;
  const none = (shape: number[], dtype: DType = "f32") => tensor([], { device, shape, dtype });
  const x = tensor([[1, 2], [3, 4]], { device, requiresGrad: true });
  assertEquals(indexSelect(x, 0, none([0], "i32")).shape, [0, 2]);
  assertEquals(gather(none([0]), 0, none([0], "i32")).shape, [0]);
  assertEquals(await gather(none([0]), 0, zeros([2], { device, dtype: "i32" })).array(), [
    NaN,
    NaN,
  ]);
  const same = scatterAdd(x, 0, none([0, 2], "i32"), none([0, 2]));
  assertEquals(await same.array(), [[1, 2], [3, 4]]);
  indexSelect(x, 0, none([0], "i32")).sum().backward();
  assertEquals(await x.grad!.array(), [[0, 0], [0, 0]]);
  assertEquals(embedding(x, none([3, 0], "i32")).shape, [3, 0, 2]);
});

Deno.test("gather() scatterAdd() embedding() refuse what does not fit", () => {
  const device = reference;
  const x = tensor([[1, 2], [3, 4]], { device });
  const index = zeros([2, 2], { device, dtype: "i32" });
  const line = zeros([2], { device, dtype: "i32" });
  assertThrows(() => gather(x, 0, x), TypeError, "Cannot gather by an index of dtype f32");
  assertThrows(() => gather(x, 2, index), RangeError, "Cannot gather along dim 2");
  assertThrows(() => gather(x, 0, line), RangeError, "by an index of shape [2]");
  const wide = zeros([2, 3], { device, dtype: "i32" });
  assertThrows(() => gather(x, 0, wide), RangeError, "by an index of shape [2, 3]");
  assertThrows(() => indexSelect(x, 0, index), RangeError, "expected one axis");
  assertThrows(() => scatterAdd(x, 0, index, index), TypeError, "Cannot scatterAdd i32 to f32");
  const small = zeros([1, 2], { device });
  assertThrows(() => scatterAdd(x, 0, index, small), RangeError, "a source of shape [1, 2]");
  const bool = zeros([2, 2], { device, dtype: "bool" });
  assertThrows(() => scatterAdd(bool, 0, index, bool), TypeError, "no bool");
  assertThrows(() => takeRows(tensor(1, { device }), line), RangeError, "Cannot takeRows");
  assertThrows(() => embedding(line, line), RangeError, "a table of shape [2]");
  assertThrows(() => embedding(index, line), TypeError, "a table of dtype i32");
  assertThrows(() => embedding(x, line, { paddingIdx: 2 }), RangeError, "paddingIdx 2");
  assertThrows(() => embedding(x, line, { paddingIdx: 0.5 }), RangeError, "from -2 to 1");
});
