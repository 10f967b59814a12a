import { assert, assertEquals, assertThrows } from "@std/assert";
import { type DType, Key, tensor } from "../../core/mod.ts";
import { gather } from "../../core/tensor/gather.ts";
import { uniform } from "../../core/tensor/random_tensors.ts";
import { sort, topk } from "../../core/tensor/sort.ts";
import {
  compareWithReference,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";
import { coarseValues, devices, firstDifference, mapLines, scattered } from "./lines.ts";

/** Stable order of a line, NaN as the largest. */
function plainOrder(line: readonly number[], descending: boolean): number[] {
  const rank = (x: number) => Number.isNaN(x) ? Infinity : Math.max(-3e38, Math.min(3e38, x));
  return line.map((_, i) => i).sort((a, b) => {
    const [x, y] = [rank(line[a]), rank(line[b])];
    return (x < y ? -1 : x > y ? 1 : 0) * (descending ? -1 : 1) || a - b;
  });
}

const shapes = [[1], [5], [7, 11, 3], [3, 1, 4], [3, 64], [65, 2], [2, 129], [3, 1000], [997, 2]];

for (const [name, device] of devices) {
  Deno.test({
    name: `sort() orders each line and keeps the order of equals on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const shape of shapes) {
        const data = coarseValues(shape.reduce((a, b) => a * b, 1), 1);
        for (let dim = 0; dim < shape.length; dim++) {
          for (const descending of [false, true]) {
            const n = shape[dim];
            const order = mapLines(data, shape, dim, n, (line) => plainOrder(line, descending));
            const want = mapLines(
              data,
              shape,
              dim,
              n,
              (line) => plainOrder(line, descending).map((i) => line[i]),
            );
            const { values, indices } = sort(scattered(device!, data, shape), dim - shape.length, {
              descending,
            });
            assertEquals([values.dtype, indices.dtype], ["f32", "i32"]);
            assertEquals([values.shape, indices.shape], [shape, shape]);
            const label = `[${shape}] along ${dim}, descending ${descending}`;
            assertEquals([...await indices.data()], order, label);
            assertEquals(
              Array.from(await values.data(), (x) => x + 0),
              want.map((x) => x + 0),
              label,
            );
          }
        }
      }
    },
  });

  Deno.test({
    name: `topk() gives the first k of the sorted lines on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (
        const [shape, dim, ks] of [
          [[5], 0, [0, 1, 5]],
          [[4, 63, 2], 1, [1, 7, 63]],
          [[3, 64], 1, [1, 64]],
          [[2, 1000], 1, [1, 5, 16, 17, 100, 999, 1000]],
          [[1500, 2], 0, [3, 40]],
        ] as const
      ) {
        const data = coarseValues(shape.reduce((a: number, b) => a * b, 1), 2);
        for (const k of ks) {
          for (const largest of [true, false]) {
            const { values, indices } = topk(scattered(device!, data, shape), k, dim, { largest });
            const order = (line: number[]) => plainOrder(line, largest).slice(0, k);
            const label = `${k} of [${shape}] along ${dim}, largest ${largest}`;
            assertEquals(values.shape, shape.map((n, d) => d === dim ? k : n), label);
            assertEquals([...await indices.data()], mapLines(data, shape, dim, k, order), label);
            const want = mapLines(data, shape, dim, k, (line) => order(line).map((i) => line[i]));
            assertEquals(
              Array.from(await values.data(), (x) => x + 0),
              want.map((x) => x + 0),
              label,
            );
          }
        }
      }
    },
  });

  Deno.test({
    name: `sort() puts NaN last, or first when descending, and keeps 0 and -0 in place on ${name}`,
    ignore: device === null,
    fn: async () => {
      const x = tensor([NaN, 1, -Infinity, 0, -0, NaN, Infinity, -1, 1e-40, -1e-40], {
        device: device!,
      });
      const { indices } = sort(x);
      assertEquals(await indices.array(), [2, 7, 9, 3, 4, 8, 1, 6, 0, 5]);
      const down = sort(x, 0, { descending: true });
      assertEquals(await down.indices.array(), [0, 5, 6, 1, 8, 3, 4, 9, 7, 2]);
      const top = await topk(x, 3).values.array();
      assertEquals(top, [NaN, NaN, Infinity]);
    },
  });

  Deno.test({
    name: `sort() compares integers, booleans and f16 exactly on ${name}`,
    ignore: device === null,
    fn: async () => {
      const cases: [DType, number[], number[]][] = [
        ["i32", [16777217, 16777216, -2147483648, 2147483647, -1], [2, 4, 1, 0, 3]],
        ["u32", [2147483648, 4294967295, 0, 4294967294], [2, 0, 3, 1]],
        ["bool", [1, 0, 1, 0], [1, 3, 0, 2]],
        ...(device!.traits.f16
          ? [["f16", [1, -2, 3, -4], [3, 1, 0, 2]] as [DType, number[], number[]]]
          : []),
      ];
      for (const [dtype, data, order] of cases) {
        const { values, indices } = sort(tensor(data, { device: device!, dtype }));
        assertEquals(values.dtype, dtype);
        assertEquals(await indices.array(), order, dtype);
        assertEquals(await values.array(), order.map((i) => data[i]), dtype);
      }
    },
  });
}

Deno.test("sort() topk() gradients agree with central differences, to second order", async () => {
  const distinct = {
    shape: [4, 70, 2],
    data: randomValues(560, 3).map((x, i) => x * 0.1 + i % 97),
  };
  for (
    const [label, fn] of [
      ["sort", (x) => sort(x.square(), 1).values],
      ["sort, last axis, descending", (x) => sort(x.square(), 2, { descending: true }).values],
      ["topk", (x) => topk(x.square(), 5, 1).values],
      ["topk, smallest", (x) => topk(x.square(), 2, 0, { largest: false }).values],
    ] as [string, Parameters<typeof gradcheck>[0]][]
  ) {
    await gradcheck(fn, [distinct], label, { secondOrder: true });
  }
});

testOnDevices({
  name: "sort() topk() on the device agree with the reference, forward and backward",
  fn: async (device) => {
    const x = sample([3, 211], 4);
    await compareWithReference(device, (x) => sort(x, 1).values, [x], 0, "sort");
    await compareWithReference(device, (x) => sort(x.transpose(0, 1), 0).values, [x], 0, "turned");
    await compareWithReference(device, (x) => topk(x, 20, 1).values, [x], 0, "topk");
  },
});

testOnDevices({
  name: "sort() of a million numbers is a permutation in order, the same every time",
  fn: async (device) => {
    using _ = device.scope();
    const x = uniform([1_000_003], { key: new Key(3), device });
    const { values, indices } = sort(x);
    const [plain, sorted, order, gathered, again] = await Promise.all([
      x.data(),
      values.data(),
      indices.data(),
      gather(x, 0, indices).data(),
      sort(x).indices.data(),
    ]);
    assertEquals(firstDifference(sorted, Float32Array.from(plain).sort()), -1);
    assertEquals(firstDifference(gathered, sorted), -1);
    assertEquals(firstDifference(again, order), -1);
    assertEquals(new Set(order).size, plain.length);
  },
});

testOnDevices({
  name: "sort() serves more elements than one dimension of workgroups",
  fn: async (device) => {
    using _ = device.scope();
    const x = uniform([1_400_001, 3], { key: new Key(4), device });
    const [before, after] = await Promise.all([x.data(), sort(x, 1).values.data()]);
    for (let i = 0; i < before.length; i += 3) {
      const [a, b, c] = [before[i], before[i + 1], before[i + 2]].sort((x, y) => x - y);
      assert(after[i] === a && after[i + 1] === b && after[i + 2] === c, `line ${i / 3}`);
    }
  },
});

Deno.test("sort() topk() of nothing are empty, what cannot be had is refused", () => {
  const none = tensor([], { device: reference, shape: [0, 3] });
  assertEquals(sort(none, 0).values.shape, [0, 3]);
  assertEquals(topk(none, 2).indices.shape, [0, 2]);
  const x = tensor([1, 2], { device: reference });
  assertThrows(() => sort(x, 1), RangeError, "Cannot sort along dim 1");
  assertThrows(
    () => topk(x, 3),
    RangeError,
    "Cannot take the 3 largest elements along axis 0 of [2]",
  );
  assertThrows(() => topk(x, 1.5), RangeError, "expected an integer from 0 to 2");
  assertThrows(() => topk(x, -1, 0, { largest: false }), RangeError, "the -1 smallest");
});
