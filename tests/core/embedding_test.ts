import { assertEquals } from "@std/assert";
import { Key, type Tensor, tensor, zeros } from "../../core/mod.ts";
import { embedding, indexSelect, takeRows } from "../../core/tensor/gather.ts";
import { normal, randint } from "../../core/tensor/random_tensors.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  randomValues,
  type Sample,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices, firstDifference } from "./lines.ts";

/** Rows of a table of so many, with repetitions. */
function rowSample(shape: number[], rows: number, seed: number): Sample {
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, data: randomValues(count, seed, 0, rows).map(Math.floor), dtype: "i32" };
}

for (const [name, device] of devices) {
  Deno.test({
    name: `embedding() gives the padding row no gradient on ${name}`,
    ignore: device === null,
    fn: async () => {
      const index = tensor([[0, 2, 2], [1, 0, 2]], { device: device!, dtype: "i32" });
      for (const paddingIdx of [2, -1]) {
        const weight = tensor([[1, 2], [3, 4], [5, 6]], { device: device!, requiresGrad: true });
        const y = embedding(weight, index, { paddingIdx });
        assertEquals(await y.array(), [[[1, 2], [5, 6], [5, 6]], [[3, 4], [1, 2], [5, 6]]]);
        y.sum().backward();
        assertEquals(await weight.grad!.array(), [[2, 2], [1, 1], [0, 0]]);
      }
    },
  });
}

Deno.test("indexSelect() embedding() takeRows() gradients, to second order", async () => {
  const options = { secondOrder: true };
  await gradcheck(
    (x, i) => indexSelect(x.square(), 1, i),
    [sample([3, 5, 2], 1), rowSample([9], 5, 8)],
    "indexSelect",
    options,
  );
  await gradcheck(
    (x, i) => embedding(x.square(), i),
    [sample([17, 3], 1), rowSample([40], 17, 8)],
    "embedding",
    options,
  );
  // 900 × 60 × 20 comparisons: the sorted way.
  await gradcheck(
    (x, i) => takeRows(x.square(), i),
    [sample([900, 60], 1), rowSample([20], 900, 8)],
    "takeRows",
    options,
  );
});

testOnDevices({
  name: "embedding() on the device agrees with the reference, forward and backward",
  fn: async (device) => {
    const tokens = rowSample([30, 40], 500, 9);
    for (const paddingIdx of [undefined, 3]) {
      const fn = (w: Tensor, i: Tensor) => embedding(w, i, { paddingIdx });
      await compareWithReference(device, fn, [sample([500, 16], 1), tokens], 2e-6, "embedding");
    }
  },
});

testOnDevices({
  name: "embedding() backward of a large table agrees with plain sums, and is the same every time",
  fn: async (device) => {
    using _ = device.scope();
    const [rows, width, count] = [10_000, 64, 2000];
    const weight = normal([rows, width], { key: new Key(1), device, requiresGrad: true });
    const index = randint(0, 300, [count], { key: new Key(2), device });
    const g = normal([count, width], { key: new Key(3), device });
    const gradients: ArrayLike<number>[] = [];
    for (let turn = 0; turn < 2; turn++) {
      embedding(weight, index).backward({ gradient: g });
      gradients.push(await weight.grad!.data());
      weight.grad = null;
    }
    assertEquals(firstDifference(gradients[1], gradients[0]), -1);
    const [places, parts] = await Promise.all([index.data(), g.data()]);
    const want = new Float64Array(rows * width);
    places.forEach((row, n) => {
      for (let d = 0; d < width; d++) want[row * width + d] += parts[n * width + d];
    });
    assertClose(gradients[0], want, { rel: 1e-6, abs: 1e-5 });
  },
});

testOnDevices({
  name: "takeRows() serves more elements than one dimension of workgroups",
  fn: async (device) => {
    using _ = device.scope();
    const rows = 65535 * 64 + 77;
    const index = randint(0, 5, [rows], { key: new Key(4), device });
    const table = tensor([10, 11, 12, 13, 14], { device, requiresGrad: true });
    const [places, taken] = await Promise.all([index.data(), takeRows(table, index).data()]);
    assertEquals(taken.findIndex((x, i) => x !== 10 + places[i]), -1);
    takeRows(table, index).backward({ gradient: zeros([rows], { device }).add(1) });
    const counts = [0, 0, 0, 0, 0];
    for (const k of places) counts[k]++;
    assertEquals(await table.grad!.array(), counts);
  },
});
