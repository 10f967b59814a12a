import { assertEquals } from "@std/assert";
import { grad, type Tensor, tensor } from "../../core/mod.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  reference,
  type Sample,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices, kernelSets } from "./devices.ts";

interface Case {
  readonly name: string;
  readonly fn: (x: Tensor) => Tensor;
  readonly input: Sample;
}

const cube = sample([3, 4, 5], 1);
const positive = sample([3, 4, 5], 2, 0.5, 1.5);
/** Numbers that keep their order when they move a little. */
const distinct: Sample = {
  shape: [3, 4, 5],
  data: Float64Array.from({ length: 60 }, (_, i) => ((i * 37) % 60) / 10 - 3),
};

const cases: Case[] = [
  { name: "sum", fn: (x) => x.sum(1).square(), input: cube },
  { name: "sum of two axes", fn: (x) => x.sum([0, 2], { keepdim: true }).mul(x), input: cube },
  { name: "mean", fn: (x) => x.mean([0, -1]).square(), input: cube },
  { name: "mean of a transposed tensor", fn: (x) => x.t().mean(1).square(), input: cube },
  { name: "prod", fn: (x) => x.prod(1), input: positive },
  { name: "prod of two axes", fn: (x) => x.prod([0, 2]), input: sample([2, 3, 3], 3, 0.5, 1.5) },
  { name: "prod of everything", fn: (x) => x.prod(), input: sample([7], 4) },
  { name: "max", fn: (x) => x.max(1).square(), input: distinct },
  { name: "min of two axes", fn: (x) => x.min([0, 2], { keepdim: true }).exp(), input: distinct },
  { name: "var", fn: (x) => x.var(1), input: cube },
  { name: "var without correction", fn: (x) => x.var([0, 1], { correction: 0 }), input: cube },
  { name: "std", fn: (x) => x.std(-1), input: positive },
  { name: "logsumexp", fn: (x) => x.logsumexp(1), input: cube },
  { name: "logsumexp of all", fn: (x) => x.logsumexp(), input: cube },
  { name: "softmax", fn: (x) => x.softmax(1), input: cube },
  { name: "softmax of a slice", fn: (x) => x.slice(null, { step: 2 }).softmax(0), input: cube },
  { name: "logSoftmax", fn: (x) => x.logSoftmax(-1), input: cube },
];

Deno.test("gradients of reductions agree with central differences, to second order", async (t) => {
  for (const { name, fn, input } of cases) {
    await t.step(name, () => gradcheck(fn, [input], name, { secondOrder: true }));
  }
});

const close = { rel: 2e-6, abs: 2e-6 };

testOnDevices({
  name: "reductions on the device agree with the reference, forward and backward",
  fn: async (device) => {
    for (const { name, fn, input } of cases) {
      await compareWithReference(device, fn, [input], close, name);
    }
  },
});

for (const [which, device] of kernelSets) {
  Deno.test({
    name: `reductions of long lines agree with the reference, forward and backward, ${which}`,
    ignore: device === null,
    fn: async () => {
      const long = sample([3, 1100], 6);
      const fns = [(x: Tensor) => x.sum(1), (x: Tensor) => x.var(), (x: Tensor) => x.softmax(1)];
      for (const fn of fns) await compareWithReference(device!, fn, [long], close, which);
    },
  });
}

for (const device of devices) {
  Deno.test(`prod() on ${device.kind} has the gradient of the other factors, also with zeros`, async () => {
    const rows = [[2, 3, 4], [2, 0, 4], [0, 3, 0], [0, 0, 0]];
    const want = [[12, 8, 6], [0, 8, 0], [0, 0, 0], [0, 0, 0]];
    const x = tensor(rows, { device, requiresGrad: true });
    x.prod(1).sum().backward();
    assertEquals(await x.grad!.array(), want);
    const [recorded] = grad(x.prod(1).sum(), [x], { createGraph: true });
    assertEquals(await recorded.array(), want);
    // The sum of all second derivatives of abc is 2(a + b + c).
    const [second] = grad(recorded.sum(), [x]);
    const sums = rows.map(([a, b, c]) => [b + c, a + c, a + b]);
    assertEquals(await second.array(), sums);
  });

  Deno.test(`max() and min() on ${device.kind} share the gradient among ties`, async () => {
    const x = tensor([[1, 5, 5, 5], [2, 2, 7, 8]], { device, requiresGrad: true });
    x.max(1).add(x.min(1).mul(10)).sum().backward();
    assertClose(
      Float64Array.from(await x.grad!.data()),
      [10, 1 / 3, 1 / 3, 1 / 3, 5, 5, 0, 1],
      1e-6,
    );
    const y = tensor([[3, 3], [3, 1]], { device, requiresGrad: true });
    y.max().backward();
    assertClose(Float64Array.from(await y.grad!.data()), [1 / 3, 1 / 3, 1 / 3, 0], 1e-6);
  });
}

function softmaxOf(row: readonly number[]): number[] {
  const top = Math.max(...row);
  const parts = row.map((x) => Math.exp(x - top));
  const total = parts.reduce((a, b) => a + b, 0);
  return parts.map((x) => x / total);
}

for (const device of devices) {
  Deno.test(`softmax() on ${device.kind} gives rows that sum to 1, and does not see shifts`, async () => {
    const rows = [[1, 2, 3], [-1e4, 0, 1e4], [1e4, 1e4 - 1, 1e4 - 2], [-80, 80, 0], [0, 0, 0]];
    const x = tensor(rows, { device });
    const [p, shifted, logs, sums] = await Promise.all([
      x.softmax(1),
      x.add(1024).softmax(-1),
      x.logSoftmax(1),
      x.softmax(1).sum(1),
    ].map((t) => t.data()));
    const want = rows.flatMap(softmaxOf);
    assertClose(p, want, 2e-6, "softmax");
    assertClose(shifted, want, 2e-6, "shifted");
    assertClose(sums, rows.map(() => 1), 1e-6, "sums");
    const wantLogs = rows.flatMap((row) => {
      const top = Math.max(...row);
      const total = Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0)) + top;
      return row.map((v) => v - total);
    });
    assertClose(logs, wantLogs, { rel: 2e-6, abs: 2e-6 }, "logSoftmax");
  });

  Deno.test(`softmax() on ${device.kind} gives masked places 0, and a fully masked row NaN`, async () => {
    const x = tensor([[0, -Infinity, Math.log(3)], [-Infinity, -Infinity, -Infinity]], { device });
    assertClose(await x.softmax(1).data(), [0.25, 0, 0.75, NaN, NaN, NaN], 1e-6);
    assertClose(await x.logsumexp(1).data(), [Math.log(4), -Infinity], 1e-6);
    assertClose(await x.neg().logsumexp(1).data(), [Infinity, Infinity], 0);
    const nan = tensor([1, NaN, 2], { device });
    assertClose(await nan.softmax(0).data(), [NaN, NaN, NaN], 0);
  });

  Deno.test(`softmax() on ${device.kind} runs along any axis`, async () => {
    const values = [1, -2, 0.5, 3, 2, -1];
    const x = tensor(values, { device, shape: [3, 2] });
    const columns = [0, 1].map((j) => softmaxOf([0, 1, 2].map((i) => values[2 * i + j])));
    const want = values.map((_, i) => columns[i % 2][i >> 1]);
    assertClose(await x.softmax(0).data(), want, 2e-6);
    assertClose(await x.t().softmax(1).t().data(), want, 2e-6);
  });
}

testOnDevices({
  name: "reductions of f16 sum in f32",
  f16: true,
  fn: async (device) => {
    // In f16 the sum would stop at 2048, where adding 1 no longer changes it.
    const x = tensor(new Float64Array(6000).fill(1), { device, dtype: "f16", shape: [6000] });
    assertEquals(await Promise.all([x.sum(), x.max(), x.mean()].map((t) => t.item())), [
      6000,
      1,
      1,
    ]);
    assertEquals([x.sum().dtype, x.max().dtype], ["f32", "f32"]);
    const leaf = tensor([1, 2, 3], { device, dtype: "f16", requiresGrad: true });
    leaf.mul(leaf).sum().backward();
    assertEquals([leaf.grad!.dtype, await leaf.grad!.array()], ["f16", [2, 4, 6]]);
  },
});

Deno.test("gradients of reductions over nothing are empty", async () => {
  const x = tensor(new Float64Array(0), { device: reference, shape: [3, 0], requiresGrad: true });
  x.sum(1).add(x.prod(1)).sum().backward();
  assertEquals([x.grad!.shape, (await x.grad!.data()).length], [[3, 0], 0]);
  const [second] = grad(x.prod(1).sum(), [x], { createGraph: true });
  assertEquals(second.shape, [3, 0]);
});
