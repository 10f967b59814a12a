/** Batch normalisation by its own kernels: closed form, layouts, slices, running statistics. */

import { assertEquals } from "@std/assert";
import { type Device, grad, ones, tensor, zeros } from "../../core/mod.ts";
import { batchNorm } from "../../core/tensor/batch_norm.ts";
import type { RunningStatistics } from "../../core/tensor/column_stats.ts";
import {
  assertClose,
  compareWithReference,
  evaluate,
  gradcheck,
  randomValues,
  reference,
  sample,
  type TensorFunction,
} from "../util.ts";
import { devices, kernelSets } from "./devices.ts";

const eps = 1e-3;

/** x [N, C, …] with a scale and a shift for each channel. */
const affine: TensorFunction = (x, w, b) => {
  const shape = [x.shape[1], ...x.shape.slice(2).fill(1)];
  return batchNorm(x, eps, w.reshape(shape), b.reshape(shape), null);
};
const plain: TensorFunction = (x) => batchNorm(x, eps, null, null, null);

/** The images of x [N, H, W, C] as [N, C, H, W]. */
const channelsLast = (fn: TensorFunction): TensorFunction => (x, ...rest) =>
  fn(x.permute([0, 3, 1, 2]), ...rest);

/** Output, then gradients of x, scale and shift, of the definition: x is [N, C] or [N, C, S]. */
function definition(
  values: ArrayLike<number>,
  [n, c, s]: readonly [number, number, number],
  scale: (channel: number) => number,
  shift: (channel: number) => number,
  cotangent: ArrayLike<number>,
): { y: Float64Array; dx: Float64Array; dscale: number[]; dshift: number[] } {
  const y = new Float64Array(n * c * s);
  const dx = new Float64Array(n * c * s);
  const [dscale, dshift]: [number[], number[]] = [[], []];
  for (let k = 0; k < c; k++) {
    const at = Array.from({ length: n * s }, (_, i) => (Math.floor(i / s) * c + k) * s + i % s);
    const mean = at.reduce((sum, i) => sum + values[i], 0) / at.length;
    const variance = at.reduce((sum, i) => sum + (values[i] - mean) ** 2, 0) / at.length;
    const rstd = 1 / Math.sqrt(variance + eps);
    const standard = (i: number) => (values[i] - mean) * rstd;
    const g = at.reduce((sum, i) => sum + cotangent[i], 0);
    const gx = at.reduce((sum, i) => sum + cotangent[i] * standard(i), 0);
    for (const i of at) {
      y[i] = standard(i) * scale(k) + shift(k);
      dx[i] = (cotangent[i] - (g + standard(i) * gx) / at.length) * rstd * scale(k);
    }
    dscale.push(gx);
    dshift.push(g);
  }
  return { y, dx, dscale, dshift };
}

for (const device of devices) {
  Deno.test(`batchNorm() gives the definition's values and gradients, on ${device.kind}`, async () => {
    const sizes = [37, 6, 11] as const;
    const x = sample([37, 6, 11], 1, -2, 5);
    const [w, b] = [sample([6], 2, 0.5, 2), sample([6], 3)];
    const got = await evaluate(device, affine, [x, w, b]);
    const cotangent = randomValues(x.data.length, 99);
    const want = definition(x.data, sizes, (k) => w.data[k], (k) => b.data[k], cotangent);
    assertClose(got.output, want.y, 3e-6, "output");
    assertClose(got.gradients[0]!, want.dx, 3e-6, "gradient of x");
    assertClose(got.gradients[1]!, want.dscale, 2e-5, "gradient of the scale");
    assertClose(got.gradients[2]!, want.dshift, 2e-5, "gradient of the shift");
  });
}

for (const [name, device] of [["reference", reference] as const, ...kernelSets]) {
  Deno.test({
    name: `batchNorm() keeps its digits far from 0 and with an outlier first, with ${name}`,
    ignore: device === null,
    fn: () => checkDigits(device!),
  });
}

async function checkDigits(device: Device): Promise<void> {
  const noise = randomValues(4000 * 4, 5);
  for (
    const [name, change] of [
      ["far from 0", (v: number) => Math.fround(v + 10_000)],
      ["outlier first", (v: number, i: number) => i < 4 ? 3000 : v],
    ] as const
  ) {
    const values = noise.map(change);
    const x = tensor(values, { device, shape: [4000, 4] });
    const y = await batchNorm(x, 0, null, null, null).data();
    for (let k = 0; k < 4; k++) {
      const own = values.filter((_, i) => i % 4 === k);
      const mean = own.reduce((a, v) => a + v) / own.length;
      const rstd = 1 / Math.sqrt(own.reduce((a, v) => a + (v - mean) ** 2, 0) / own.length);
      const column = Float64Array.from(y).filter((_, i) => i % 4 === k);
      const abs = name === "far from 0" && device !== reference ? 2e-3 : 2e-5;
      // An outlier costs as many roundings as its slice has rows; without the shift no digit is
      // left.
      assertClose(column, own.map((v) => (v - mean) * rstd), { rel: 3e-5, abs }, name);
    }
  }
}

for (const device of devices) {
  Deno.test(`batchNorm() moves running statistics by their momentum or as averages, on ${device.kind}`, async () => {
    for (const momentum of [0.25, null]) {
      for (const rows of [5, 3000]) {
        const running: RunningStatistics = {
          mean: zeros([6], { device }),
          variance: ones([6], { device }),
          count: zeros([], { dtype: "i32", device }),
          momentum,
        };
        let [mean, variance] = [new Array(6).fill(0), new Array(6).fill(1)];
        for (const [at, seed] of [7, 8, 9].entries()) {
          const values = randomValues(rows * 6, seed, -1, 3);
          batchNorm(tensor(values, { device, shape: [rows, 6] }), eps, null, null, running);
          const share = momentum ?? 1 / (at + 1);
          const columns = mean.map((_, k) => values.filter((_, i) => i % 6 === k));
          const means = columns.map((c) => c.reduce((a, v) => a + v) / rows);
          mean = mean.map((m, k) => m + share * (means[k] - m));
          variance = variance.map((v, k) =>
            v + share * (columns[k].reduce((a, x) => a + (x - means[k]) ** 2, 0) / (rows - 1) - v)
          );
        }
        assertClose(await running.mean.data(), mean, 2e-6, `mean of ${rows} by ${momentum}`);
        assertClose(await running.variance.data(), variance, 4e-6, `variance of ${rows}`);
        assertEquals(await running.count.item(), 3);
      }
    }
  });

  Deno.test(`batchNorm() takes one kernel more than its passes over long columns, on ${device.kind}`, () => {
    const x = tensor(randomValues(8192 * 8, 1), { device, shape: [8192, 8], requiresGrad: true });
    const [w, b] = [ones([8], { device }), zeros([8], { device })];
    w.requiresGrad = b.requiresGrad = true;
    const running = {
      mean: zeros([8], { device }),
      variance: ones([8], { device }),
      count: zeros([], { dtype: "i32", device }),
      momentum: 0.1,
    };
    const start = device.work().dispatches;
    const y = batchNorm(x, eps, w, b, running);
    const forward = device.work().dispatches;
    grad(y, [x, w, b], { gradient: y.detach() });
    assertEquals([forward - start, device.work().dispatches - forward], [3, 3]);
  });
}

const layouts: [string, TensorFunction, ReturnType<typeof sample>[]][] = [
  ["vec4 columns", channelsLast(affine), [sample([3, 5, 7, 8], 1), sample([8], 2), sample([8], 3)]],
  [
    "vec4 columns in slices",
    channelsLast(affine),
    [sample([5, 20, 20, 12], 1), sample([12], 2), sample([12], 3)],
  ],
  ["odd channels", channelsLast(affine), [sample([4, 9, 9, 3], 1), sample([3], 2), sample([3], 3)]],
  ["one channel", affine, [sample([9, 1, 50, 3], 1), sample([1], 2), sample([1], 3)]],
  ["channels first", affine, [sample([4, 6, 9, 9], 1), sample([6], 2), sample([6], 3)]],
  ["many channels", affine, [sample([17, 300], 1), sample([300], 2), sample([300], 3)]],
  ["vectors of 6", affine, [sample([700, 6], 1), sample([6], 2), sample([6], 3)]],
  ["without scale and shift", plain, [sample([31, 8], 1)]],
  [
    "a slice of a tensor",
    (x, w, b) => affine(x.slice({ start: 1 }, { start: 3, stop: 11 }), w, b),
    [sample([40, 16], 1), sample([8], 2), sample([8], 3)],
  ],
  ["a gradient that repeats", (x) => plain(x).mean().expand([3]), [sample([40, 8], 1)]],
];

for (const [name, device] of kernelSets) {
  Deno.test({
    name: `batchNorm() agrees with the reference in every layout, ${name}`,
    ignore: device === null,
    fn: async (t) => {
      for (const [label, fn, inputs] of layouts) {
        await t.step(
          label,
          () => compareWithReference(device!, fn, inputs, { rel: 4e-6, abs: 8e-6 }, label),
        );
      }
    },
  });
}

Deno.test("batchNorm() gradients agree with central differences, to second order", async () => {
  const inputs = [sample([3, 4, 5], 1), sample([4], 2), sample([4], 3)];
  await gradcheck(affine, inputs, "affine", { secondOrder: true });
  await gradcheck(plain, inputs.slice(0, 1), "plain", { secondOrder: true });
});

Deno.test("batchNorm() of halves gives halves, with statistics in f32", async () => {
  for (const device of devices.filter((d: Device) => d.traits.f16)) {
    const values = randomValues(600 * 4, 3, 99, 101);
    const x = tensor(values, { device, shape: [600, 4], dtype: "f16", requiresGrad: true });
    const y = batchNorm(x, eps, null, null, null);
    const wide = x.detach().to("f32");
    assertEquals([y.dtype, ...y.shape], ["f16", 600, 4]);
    assertClose(await y.data(), await batchNorm(wide, eps, null, null, null).data(), 2e-3);
    const [g] = grad(y, [x], { gradient: y.detach().square() });
    assertEquals(g.dtype, "f16");
    wide.requiresGrad = true;
    const [want] = grad(plain(wide), [wide], { gradient: y.detach().to("f32").square() });
    assertClose(await g.data(), await want.data(), 4e-3);
  }
});
