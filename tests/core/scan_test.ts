import { assertEquals, assertThrows } from "@std/assert";
import { Key, tensor } from "../../core/mod.ts";
import { uniform } from "../../core/tensor/random_tensors.ts";
import { cumsum } from "../../core/tensor/scan.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices, firstDifference, mapLines, scattered } from "./lines.ts";

function plain(line: readonly number[]): number[] {
  let sum = 0;
  return line.map((x) => sum += x);
}

const shapes = [[1], [5], [7, 11, 3], [3, 1, 4], [2, 1024], [1025, 2], [3, 2999], [70000]];

for (const [name, device] of devices) {
  Deno.test({
    name: `cumsum() gives the running sums of each line on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const shape of shapes) {
        const data = randomValues(shape.reduce((a, b) => a * b, 1), 1);
        for (let dim = 0; dim < shape.length; dim++) {
          const want = mapLines(data, shape, dim, shape[dim], plain);
          // 1e-6 of the sum of absolute terms, 1/2 on average.
          const bounds = { rel: 0, abs: 5e-7 * shape[dim] + 1e-6 };
          for (
            const x of [tensor(data, { device: device!, shape }), scattered(device!, data, shape)]
          ) {
            const y = cumsum(x, dim - shape.length);
            assertEquals(y.shape, shape);
            assertClose(await y.data(), want, bounds, `[${shape}] along ${dim}`);
          }
        }
      }
    },
  });

  Deno.test({
    name: `cumsum() of integers wraps and is exact, of booleans it counts, on ${name}`,
    ignore: device === null,
    fn: async () => {
      const long = Array.from({ length: 3001 }, (_, i) => (i * 2654435761) | 0);
      const sums = Int32Array.from(long);
      for (let i = 1; i < sums.length; i++) sums[i] += sums[i - 1];
      const options = { device: device! };
      assertEquals(await cumsum(tensor(Int32Array.from(long), options), 0).data(), sums);
      const words = tensor(Uint32Array.of(4294967295, 2, 3), options);
      assertEquals([...await cumsum(words, 0).data()], [4294967295, 1, 4]);
      const counted = cumsum(tensor([true, false, true, true], options), 0);
      assertEquals(counted.dtype, "i32");
      assertEquals(await counted.array(), [1, 1, 2, 3]);
    },
  });

  Deno.test({
    name: `cumsum() hands NaN and infinity on, but not back, on ${name}`,
    ignore: device === null,
    fn: async () => {
      const data = new Float64Array(3000).fill(1);
      data[700] = Infinity;
      data[1500] = NaN;
      const y = await cumsum(tensor(data, { device: device! }), 0).data();
      assertEquals(y[699], 700);
      assertEquals(y[700], Infinity);
      assertEquals(y[1499], Infinity);
      assertEquals([y[1500], y[2999]], [NaN, NaN]);
    },
  });
}

Deno.test("cumsum() gradients agree with central differences, to second order", async () => {
  for (const [shape, dim] of [[[5], 0], [[3, 4, 2], 1], [[3, 4], -1], [[1100, 2], 0]] as const) {
    const label = `cumsum of [${shape}] along ${dim}`;
    await gradcheck((x) => cumsum(x.square(), dim), [sample(shape, 4)], label, {
      secondOrder: true,
    });
  }
});

testOnDevices({
  name: "cumsum() on the device agrees with the reference, forward and backward",
  fn: async (device) => {
    const cases: [number[], number][] = [[[1], 0], [[7, 11, 3], 1], [[2, 2999], 1], [[2999, 2], 0]];
    for (const [shape, dim] of cases) {
      const bounds = { rel: 0, abs: 5e-7 * shape[dim] + 1e-6 };
      await compareWithReference(
        device,
        (x) => cumsum(x, dim),
        [sample(shape, 5)],
        bounds,
        `[${shape}]`,
      );
      const turned = shape.length - 1 - dim;
      await compareWithReference(
        device,
        (x) => cumsum(x.permute(shape.map((_, d) => shape.length - 1 - d)), turned),
        [sample(shape, 6)],
        bounds,
        `[${shape}] turned`,
      );
    }
  },
});

testOnDevices({
  name: "cumsum() of f16 is summed in f32",
  f16: true,
  fn: async (device) => {
    // In f16, 2048 + 1 is 2048.
    const y = cumsum(tensor(new Float32Array(4096).fill(1), { device, dtype: "f16" }), 0);
    assertEquals(y.dtype, "f16");
    assertEquals((await y.data())[4095], 4096);
  },
});

testOnDevices({
  name: "cumsum() serves more lines than one dimension of workgroups, and is the same every time",
  fn: async (device) => {
    using _ = device.scope();
    const x = uniform([2, 65535 * 64 + 77], { key: new Key(1), device });
    const [first, second, top, all] = await Promise.all([
      cumsum(x, 0).data(),
      cumsum(x, 0).data(),
      x.slice({ stop: 1 }).data(),
      x.sum(0).data(),
    ]);
    assertEquals(firstDifference(first, second), -1);
    assertEquals(firstDifference(first.subarray(0, top.length), top), -1);
    assertEquals(firstDifference(first.subarray(top.length), all), -1);
  },
});

Deno.test("cumsum() of nothing is empty, along no axis it is refused", () => {
  assertEquals(cumsum(tensor([], { device: reference, shape: [0, 3] }), 0).shape, [0, 3]);
  assertEquals(cumsum(tensor([], { device: reference, shape: [3, 0] }), 0).shape, [3, 0]);
  const x = tensor([1, 2], { device: reference });
  assertThrows(() => cumsum(x, 1), RangeError, "Cannot cumsum along dim 1");
  assertThrows(() => cumsum(x, NaN), RangeError, "Cannot cumsum along dim NaN");
});
