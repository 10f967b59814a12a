/** Normalisation of rows in one kernel: closed form, layouts, long rows, gradients. */

import { assertEquals } from "@std/assert";
import { grad, LayerNorm, ones, type Tensor, tensor, zeros } from "../../mod.ts";
import { rowNorm } from "../../core/tensor/row_norm.ts";
import {
  assertClose,
  compareWithReference,
  evaluate,
  gradcheck,
  randomValues,
  reference,
  type Sample,
  sample,
  type TensorFunction,
} from "../util.ts";
import { devices, hardwareKernels, kernelSets } from "./devices.ts";

const eps = 0.05;

/** Normalises over axes, with a scale and a shift where they are given. */
function over(axes: readonly number[]): TensorFunction {
  return (x, scale, shift) => rowNorm({ x, axes, eps, scale: scale ?? null, shift: shift ?? null });
}

/** Brings the mean square over axes to 1, with a scale where it is given. */
function rms(axes: readonly number[]): TensorFunction {
  return (x, scale) =>
    rowNorm({ x, axes, eps, centered: false, scale: scale ?? null, shift: null });
}

/** Groups of the channels of x [N, H, W, C], as images [N, C, H, W]. */
function groups(count: number, last = true): TensorFunction {
  return (x, w, b) => {
    const images = last ? x.permute([0, 3, 1, 2]) : x;
    const [n, c, ...rest] = images.shape;
    const grouped = images.reshape([n, count, c / count, ...rest]);
    const [scale, shift] = [w, b].map((t) => t.reshape([count, c / count, 1, 1]));
    return rowNorm({ x: grouped, axes: [2, 3, 4], eps, scale, shift });
  };
}

/** The definition for rows of a matrix, with the gradients of a cotangent. */
function definition(
  x: ArrayLike<number>,
  [rows, length]: readonly [number, number],
  scale: ArrayLike<number>,
  shift: ArrayLike<number>,
  g: ArrayLike<number>,
): { y: number[]; dx: number[]; dscale: Float64Array; dshift: Float64Array } {
  const [y, dx]: [number[], number[]] = [[], []];
  const [dscale, dshift] = [new Float64Array(length), new Float64Array(length)];
  for (let i = 0; i < rows; i++) {
    const at = Array.from({ length }, (_, k) => i * length + k);
    const mean = at.reduce((sum, j) => sum + x[j], 0) / length;
    const variance = at.reduce((sum, j) => sum + (x[j] - mean) ** 2, 0) / length;
    const rstd = 1 / Math.sqrt(variance + eps);
    const standard = at.map((j) => (x[j] - mean) * rstd);
    const h = at.map((j, k) => g[j] * scale[k]);
    const mh = h.reduce((a, v) => a + v) / length;
    const mhs = h.reduce((a, v, k) => a + v * standard[k], 0) / length;
    at.forEach((j, k) => {
      y.push(standard[k] * scale[k] + shift[k]);
      dx.push((h[k] - mh - standard[k] * mhs) * rstd);
      dscale[k] += g[j] * standard[k];
      dshift[k] += g[j];
    });
  }
  return { y, dx, dscale, dshift };
}

for (const device of devices) {
  for (const length of [1, 3, 7, 64, 66, 260]) {
    Deno.test(`rowNorm() of rows of ${length} gives the definition, on ${device.kind}`, async () => {
      const rows = 75;
      const x = sample([rows, length], 1, -2, 5);
      const [w, b] = [sample([length], 2, 0.5, 2), sample([length], 3)];
      const got = await evaluate(device, over([1]), [x, w, b]);
      const g = randomValues(x.data.length, 99);
      const want = definition(x.data, [rows, length], w.data, b.data, g);
      assertClose(got.output, want.y, 4e-6, "output");
      assertClose(got.gradients[0]!, want.dx, 1e-5, "gradient of x");
      assertClose(got.gradients[1]!, want.dscale, 1e-5, "gradient of the scale");
      assertClose(got.gradients[2]!, want.dshift, 1e-5, "gradient of the shift");
    });
  }
}

/** Rows whose mean is far from 0, and rows whose first element is. */
async function checkDigits(device: Tensor["device"]): Promise<void> {
  const [rows, length] = [20, 1000];
  for (const far of [true, false]) {
    const values = randomValues(rows * length, 4).map((v, i) =>
      far ? Math.fround(v + 10_000) : i % length === 0 ? 3000 : v
    );
    const x = tensor(values, { device, shape: [rows, length] });
    const y = await rowNorm({ x, axes: [1], eps: 0, scale: null, shift: null }).data();
    for (let i = 0; i < rows; i++) {
      const row = values.subarray(i * length, (i + 1) * length);
      const mean = row.reduce((a, v) => a + v) / length;
      const rstd = 1 / Math.sqrt(row.reduce((a, v) => a + (v - mean) ** 2, 0) / length);
      const abs = far && device !== reference ? 2e-3 : 1e-6;
      const want = row.map((v) => (v - mean) * rstd);
      const found = y.subarray(i * length, (i + 1) * length);
      assertClose(found, want, { rel: 2e-6, abs }, far ? "far from 0" : "outlier first");
    }
  }
}

for (const device of [...devices, hardwareKernels].filter((d) => d !== null)) {
  const name = device === hardwareKernels ? "kernels for hardware" : device.kind;
  Deno.test(`rowNorm() keeps its digits far from 0 and with an outlier first, with ${name}`, () =>
    checkDigits(device));
}

const layouts: [string, TensorFunction, Sample[]][] = [
  ["last axis", over([2]), [sample([5, 6, 40], 1), sample([40], 2), sample([40], 3)]],
  ["two axes", over([1, 2]), [sample([20, 6, 10], 1), sample([6, 10], 2), sample([6, 10], 3)]],
  ["scale alone", (x, w) => over([1])(x, w), [sample([30, 36], 1), sample([36], 2)]],
  [
    "shift alone",
    (x, b) => rowNorm({ x, axes: [1], eps, scale: null, shift: b }),
    [sample([30, 36], 1), sample([36], 2)],
  ],
  ["neither", over([1]), [sample([33, 12], 1)]],
  [
    "a strided axis",
    (x, w, b) => over([1])(x.t(), w, b),
    [sample([24, 35], 1), sample([24], 2), sample([24], 3)],
  ],
  ["a leading axis", over([0]), [sample([24, 35], 1)]],
  ["axes apart", over([0, 2]), [sample([6, 21, 8], 1)]],
  [
    "a slice",
    (x, w, b) => over([1])(x.slice({ start: 2 }, { start: 3, stop: 35 }), w, b),
    [sample([30, 40], 1), sample([32], 2), sample([32], 3)],
  ],
  ["one row of 200", over([1]), [sample([1, 200], 1), sample([200], 2), sample([200], 3)]],
  ["few long rows", over([1]), [sample([3, 5000], 1), sample([5000], 2), sample([5000], 3)]],
  ["many long rows", over([1]), [sample([40, 5000], 1), sample([5000], 2), sample([5000], 3)]],
  ["groups, channels last", groups(2), [sample([9, 5, 6, 8], 1), sample([8], 2), sample([8], 3)]],
  ["groups of 3, channels last", groups(2), [
    sample([9, 5, 6, 6], 1),
    sample([6], 2),
    sample([6], 3),
  ]],
  ["a group for each channel", groups(4), [
    sample([5, 6, 6, 4], 1),
    sample([4], 2),
    sample([4], 3),
  ]],
  ["groups, channels first", groups(2, false), [
    sample([9, 4, 5, 5], 1),
    sample([4], 2),
    sample([4], 3),
  ]],
  ["one group, channels first", groups(1, false), [
    sample([9, 4, 4, 5], 1),
    sample([4], 2),
    sample([4], 3),
  ]],
  ["a gradient that repeats", (x) => over([1])(x).mean(1).mul(2), [sample([40, 20], 1)]],
  ["a gradient in another order", (x) => over([1, 2, 3])(x.permute([0, 3, 2, 1])), [
    sample([20, 3, 4, 5], 1),
  ]],
  ["mean squares", rms([1]), [sample([30, 36], 1), sample([36], 2)]],
  ["mean squares of odd rows", rms([1]), [sample([30, 35], 1), sample([35], 2)]],
  ["mean squares of few long rows", rms([1]), [sample([3, 5000], 1), sample([5000], 2)]],
  ["mean squares, gradient in another order", (x) => rms([1, 2, 3])(x.permute([0, 3, 2, 1])), [
    sample([20, 3, 4, 5], 1),
  ]],
  ["no rows", over([1]), [sample([0, 20], 1), sample([20], 2), sample([20], 3)]],
];

for (const [name, device] of kernelSets) {
  Deno.test({
    name: `rowNorm() agrees with the reference in every layout, ${name}`,
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

Deno.test("rowNorm() gradients agree with central differences, to second order", async () => {
  const inputs = [sample([3, 4, 5], 1), sample([4, 5], 2), sample([4, 5], 3)];
  await gradcheck(over([1, 2]), inputs, "two axes", { secondOrder: true });
  await gradcheck(over([0]), inputs.slice(0, 1), "first axis", { secondOrder: true });
  const grouped = [sample([2, 3, 2, 4], 1), sample([4], 2), sample([4], 3)];
  await gradcheck(groups(2), grouped, "groups", { secondOrder: true });
  await gradcheck(rms([1, 2]), inputs.slice(0, 2), "mean squares", { secondOrder: true });
});

Deno.test("rowNorm() without centering gives x over the root of its mean square", async () => {
  for (const device of devices) {
    const values = randomValues(40 * 90, 1, 2, 6);
    const x = tensor(values, { device, shape: [40, 90] });
    const factors = randomValues(90, 2);
    const scale = tensor(factors, { device });
    const want = values.map((v, i) => {
      const row = values.subarray(i - i % 90, i - i % 90 + 90);
      const square = row.reduce((sum, u) => sum + u * u, 0) / 90;
      return v / Math.sqrt(square + eps) * factors[i % 90];
    });
    const y = rowNorm({ x, axes: [1], eps, centered: false, scale, shift: null });
    assertClose(await y.data(), want, 2e-6, device.kind);
  }
});

Deno.test("rowNorm() gives the same gradients to be differentiated again", async () => {
  for (const device of devices) {
    const x = tensor(randomValues(600, 1), { device, shape: [20, 30], requiresGrad: true });
    const scale = tensor(randomValues(30, 2), { device, requiresGrad: true });
    const shift = tensor(randomValues(30, 3), { device, requiresGrad: true });
    const y = rowNorm({ x, axes: [1], eps, scale, shift });
    const gradient = tensor(randomValues(600, 4), { device, shape: [20, 30] });
    const options = { gradient, retainGraph: true };
    const inputs = [x, scale, shift];
    const once = grad(y, inputs, options);
    const twice = grad(y, inputs, { ...options, createGraph: true });
    for (const [i, g] of once.entries()) {
      assertClose(await g.data(), await twice[i].data(), 1e-5, `input ${i}`);
      assertEquals([g.shape, twice[i].requiresGrad], [twice[i].shape, i < 2]);
    }
  }
});

Deno.test("LayerNorm takes one kernel forward, and three backward over long columns", () => {
  for (const device of devices) {
    const layer = new LayerNorm(64, { device });
    const x = tensor(randomValues(4096 * 64, 1), { device, shape: [4096, 64], requiresGrad: true });
    const start = device.work().dispatches;
    const y = layer.forward(x);
    const forward = device.work().dispatches;
    grad(y, [x, ...layer.parameters()], { gradient: y.detach() });
    assertEquals([forward - start, device.work().dispatches - forward], [1, 3]);
  }
});

Deno.test("rowNorm() of halves gives halves, with sums in f32", async () => {
  for (const device of devices.filter((d) => d.traits.f16)) {
    const values = randomValues(40 * 64, 3, 99, 101);
    const x = tensor(values, { device, shape: [40, 64], dtype: "f16", requiresGrad: true });
    const [scale, shift] = [ones([64], { device }), zeros([64], { device })];
    const y = rowNorm({ x, axes: [1], eps, scale, shift });
    const wide = x.detach().to("f32");
    wide.requiresGrad = true;
    const want = rowNorm({ x: wide, axes: [1], eps, scale, shift });
    assertEquals(y.dtype, "f16");
    assertClose(await y.data(), await want.data(), 2e-3);
    const gradient = y.detach().square();
    const [g] = grad(y, [x], { gradient });
    const [wideG] = grad(want, [wide], { gradient: gradient.to("f32") });
    assertEquals(g.dtype, "f16");
    assertClose(await g.data(), await wideG.data(), 4e-3);
  }
});
