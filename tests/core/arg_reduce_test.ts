import { assertEquals, assertThrows } from "@std/assert";
import { type DType, tensor } from "../../core/mod.ts";
import { argmax, argmin } from "../../core/tensor/arg_reduce.ts";
import { randomValues, reference, testOnDevices } from "../util.ts";
import { coarseValues, devices, mapLines, scattered } from "./lines.ts";

/** The first index of the extreme, where NaN beats everything. */
function plain(line: readonly number[], largest: boolean): number {
  const nan = line.findIndex((x) => Number.isNaN(x));
  if (nan >= 0) return nan;
  let best = 0;
  line.forEach((x, i) => {
    if (largest ? x > line[best] : x < line[best]) best = i;
  });
  return best;
}

const shapes = [[1], [5], [7, 11, 3], [3, 1, 4], [2, 131], [513, 2], [3, 5003], [5003, 3]];

for (const [name, device] of devices) {
  Deno.test({
    name: `argmax() argmin() find the first extreme of each line on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const shape of shapes) {
        const data = coarseValues(shape.reduce((a, b) => a * b, 1), 1);
        for (let dim = 0; dim < shape.length; dim++) {
          const want = (largest: boolean) =>
            mapLines(data, shape, dim, 1, (line) => [plain(line, largest)]);
          for (
            const x of [tensor(data, { device: device!, shape }), scattered(device!, data, shape)]
          ) {
            const [high, low] = [argmax(x, dim - shape.length), argmin(x, dim, { keepdim: true })];
            assertEquals(high.dtype, "i32");
            assertEquals(high.shape, shape.filter((_, d) => d !== dim));
            assertEquals(low.shape, shape.map((n, d) => d === dim ? 1 : n));
            assertEquals([...await high.data()], want(true), `argmax of [${shape}] along ${dim}`);
            assertEquals([...await low.data()], want(false), `argmin of [${shape}] along ${dim}`);
          }
        }
      }
    },
  });

  Deno.test({
    name: `argmax() argmin() without an axis count in row-major order on ${name}`,
    ignore: device === null,
    fn: async () => {
      const data = randomValues(6 * 35, 2);
      const x = scattered(device!, data, [6, 5, 7]);
      assertEquals(await argmax(x).item(), plain([...data], true));
      assertEquals(await argmin(x, null).item(), plain([...data], false));
      assertEquals(argmax(x).shape, []);
      assertEquals(argmax(x, null, { keepdim: true }).shape, [1, 1, 1]);
    },
  });

  Deno.test({
    name: `argmax() argmin() take the first NaN, and 0 and -0 as equal, on ${name}`,
    ignore: device === null,
    fn: async () => {
      const rows: [number[], number, number][] = [
        [[NaN, 1, 2, Infinity], 0, 0],
        [[1, 2, NaN, NaN], 2, 2],
        [[-Infinity, 3, 4, NaN], 3, 3],
        [[-0, 0, -0, 0], 0, 0],
        [[-1, 0, -0, -1], 1, 0],
        [[Infinity, Infinity, -Infinity, -Infinity], 0, 2],
        [[-3, -2, -2, -5], 1, 3],
        [[1e-40, 2e-40, -2e-40, -1e-40], 1, 2],
      ];
      const x = tensor(rows.map(([row]) => row), { device: device! });
      assertEquals(await argmax(x, 1).array(), rows.map(([, high]) => high));
      assertEquals(await argmin(x, 1).array(), rows.map(([, , low]) => low));
    },
  });

  Deno.test({
    name: `argmax() argmin() find a NaN anywhere in a long line on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const at of [0, 1, 511, 512, 3000, 4999]) {
        const data = randomValues(5000, 3);
        data[at] = NaN;
        if (at < 4999) data[4999] = NaN;
        const x = tensor(data, { device: device! });
        assertEquals(await argmax(x, 0).item(), at);
        assertEquals(await argmin(x, 0).item(), at);
      }
    },
  });

  Deno.test({
    name: `argmax() argmin() compare integers, booleans and f16 exactly on ${name}`,
    ignore: device === null,
    fn: async () => {
      const cases: [DType, number[], number, number][] = [
        ["i32", [16777216, 16777217, -2147483648, 2147483647, -2147483647], 3, 2],
        ["u32", [2147483647, 4294967295, 0, 4294967294], 1, 2],
        ["bool", [0, 1, 1, 0], 1, 0],
        ...(device!.traits.f16
          ? [["f16", [1, -2, 3, 3], 2, 1] as [DType, number[], number, number]]
          : []),
      ];
      for (const [dtype, data, high, low] of cases) {
        const x = tensor(data, { device: device!, dtype });
        assertEquals(await argmax(x, 0).item(), high, dtype);
        assertEquals(await argmin(x, 0).item(), low, dtype);
      }
    },
  });
}

testOnDevices({
  name: "argmax() serves more lines than one dimension of workgroups",
  fn: async (device) => {
    const lines = 65535 * 64 + 77;
    const data = new Float32Array(lines * 2);
    for (let i = 0; i < lines; i++) data[2 * i + (i * 7 % 3 === 0 ? 1 : 0)] = 1;
    using _ = device.scope();
    const got = await argmax(tensor(data, { device, shape: [lines, 2] }), 1).data();
    const wrong = got.findIndex((k, i) => k !== (i * 7 % 3 === 0 ? 1 : 0));
    assertEquals(wrong, -1);
  },
});

Deno.test("argmax() argmin() of no lines are empty, over no elements they are refused", () => {
  const x = tensor([], { device: reference, shape: [0, 3] });
  assertEquals(argmax(x, 1).shape, [0]);
  assertThrows(() => argmin(x, 0), RangeError, "Cannot take the argmin of [0, 3] over no elements");
  assertThrows(() => argmax(x), RangeError, "over no elements");
  assertThrows(() => argmax(x, 2), RangeError, "Cannot argmax along dim 2");
  assertThrows(() => argmax(x, 0.5), RangeError, "Cannot argmax along dim 0.5");
});
