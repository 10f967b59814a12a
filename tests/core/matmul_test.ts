import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Device, linear, type Tensor, tensor } from "../../core/mod.ts";
import {
  compareWithReference,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";
import { indices, laidOut, layoutNames, listOf, type Plain, plainOf } from "./plain.ts";

const all = hardwareKernels === null ? devices : [...devices, hardwareKernels];
const label = (device: Device) =>
  device === hardwareKernels ? "webgpu with the kernels for hardware" : device.kind;
const variants = all.filter((d) => d !== reference);

function random(shape: readonly number[], seed: number): Plain {
  return plainOf(shape, randomValues(shape.reduce((a, b) => a * b, 1), seed));
}

/** The product of matrices with batch axes in front, and the sums of the sizes of its terms. */
function product(a: Plain, b: Plain): { values: number[]; sizes: number[]; shape: number[] } {
  const lead = Math.max(a.shape.length, b.shape.length) - 2;
  const batchOf = (x: Plain, d: number) => x.shape[x.shape.length - 2 - lead + d] ?? 1;
  const batch = Array.from({ length: lead }, (_, d) => Math.max(batchOf(a, d), batchOf(b, d)));
  const [m, k] = a.shape.slice(-2);
  const shape = [...batch, m, b.shape.at(-1)!];
  const place = (x: Plain, index: readonly number[]) =>
    index.slice(lead - (x.shape.length - 2)).map((i, d) => x.shape[d] === 1 ? 0 : i);
  const values: number[] = [];
  const sizes: number[] = [];
  for (const index of indices(shape)) {
    const [i, j] = index.slice(lead);
    const head = index.slice(0, lead);
    const [atA, atB] = [place(a, head), place(b, head)];
    let [sum, size] = [0, 0];
    for (let p = 0; p < k; p++) {
      const term = a.at([...atA, i, p]) * b.at([...atB, p, j]);
      sum += term;
      size += Math.abs(term);
    }
    values.push(sum);
    sizes.push(size);
  }
  return { values, sizes, shape };
}

/** Sums may be off by 1e-6 of the sizes of their terms. */
async function checkProduct(got: Tensor, a: Plain, b: Plain, text: string): Promise<void> {
  const { values, sizes, shape } = product(a, b);
  assertEquals([...got.shape], shape, text);
  const data = await got.data();
  values.forEach((want, i) => {
    const error = Math.abs(data[i] - want);
    assert(error <= 1e-6 * sizes[i] + 1e-30, `${text}: element ${i} is ${data[i]}, not ${want}`);
  });
}

// One off, on, and one above the tile edges (4, 8, 16 and 32 rows, 32 and 64 columns, 4 steps), and primes.
const sizes: [number, number, number][] = [
  [1, 1, 1],
  [1, 7, 1],
  [1, 64, 33],
  [2, 3, 5],
  [3, 4, 3],
  [4, 4, 4],
  [4, 5, 8],
  [5, 4, 4],
  [5, 7, 31],
  [3, 8, 32],
  [4, 9, 33],
  [1, 12, 63],
  [2, 16, 64],
  [3, 17, 65],
  [7, 8, 9],
  [8, 8, 8],
  [8, 9, 7],
  [9, 16, 15],
  [13, 17, 19],
  [11, 1, 36],
  [7, 2, 127],
  [15, 15, 15],
  [16, 16, 16],
  [16, 1, 68],
  [17, 17, 17],
  [31, 3, 32],
  [32, 13, 33],
  [33, 31, 31],
  [65, 8, 40],
  [127, 7, 4],
];

/** A matrix, or a matrix that lies transposed in memory. */
function matrix(device: Device, x: Plain, transposed: boolean): Tensor {
  return laidOut(device, x, transposed ? "transposed" : "row-major");
}

for (const device of all) {
  Deno.test(`matmul() at tile edges in NN, NT, TN and TT agrees with plain loops on ${label(device)}`, async () => {
    for (const [n, [m, k, columns]] of sizes.entries()) {
      const [a, b] = [random([m, k], n), random([k, columns], 100 + n)];
      // All four at two sizes, one at the others.
      const forms = [7, 22].includes(n) ? [0, 1, 2, 3] : [n % 4];
      await Promise.all(forms.map((form) =>
        checkProduct(
          matrix(device, a, form >= 2).matmul(matrix(device, b, form % 2 === 1)),
          a,
          b,
          `${m} × ${k} × ${columns} as ${["NN", "NT", "TN", "TT"][form]}`,
        )
      ));
    }
  });

  Deno.test(`matmul() takes operands in any memory order, ${label(device)}`, async () => {
    const [a, b] = [random([2, 4, 8], 1), random([2, 8, 12], 2)];
    await Promise.all(layoutNames.flatMap((first, i) =>
      // Each order on either side, beside two others.
      [i, (i + 1) % layoutNames.length].map((n) =>
        checkProduct(
          laidOut(device, a, first).matmul(laidOut(device, b, layoutNames[n])),
          a,
          b,
          `${first} by ${layoutNames[n]}`,
        )
      )
    ));
  });

  Deno.test(`matmul() broadcasts batch axes, ${label(device)}`, async () => {
    const pairs = [
      [[3, 5, 4], [3, 4, 6]],
      [[3, 5, 4], [4, 6]],
      [[5, 4], [2, 4, 6]],
      [[2, 1, 5, 4], [3, 4, 6]],
      [[1, 1, 5, 4], [1, 4, 3]],
      [[2, 3, 1, 4], [2, 1, 4, 8]],
    ];
    for (const [n, [left, right]] of pairs.entries()) {
      const [a, b] = [random(left, n), random(right, 10 + n)];
      const layout = layoutNames[n % layoutNames.length];
      const got = laidOut(device, a, layout).matmul(laidOut(device, b, "row-major"));
      await checkProduct(got, a, b, `[${left}] by [${right}]`);
    }
  });

  Deno.test(`matmul() sums a long inner axis in slices, ${label(device)}`, async () => {
    for (const [m, k, n] of [[1, 2048, 1], [5, 2049, 6], [8, 5000, 12], [3, 16384, 4]]) {
      const a = plainOf([m, k], randomValues(m * k, k, 0.1, 1));
      const b = plainOf([k, n], randomValues(k * n, k + 1, 0.1, 1));
      const [x, y] = [laidOut(device, a, "row-major"), laidOut(device, b, "transposed")];
      await checkProduct(x.matmul(y), a, b, `${m} × ${k} × ${n}`);
      const bias = tensor(new Float64Array(n).fill(3), { device, shape: [n] });
      await checkProduct(linear(x, y.t(), bias).sub(3), a, b, `linear of ${k} inputs`);
    }
  });

  Deno.test(`matmul() of a vector gives a vector, ${label(device)}`, async () => {
    const v = tensor([1, 2, 3], { device });
    const m = tensor([[1, 0, 2], [0, 3, 1], [5, 1, 1]], { device });
    assertEquals(await m.matmul(v).array(), [7, 9, 10]);
    assertEquals(await v.matmul(m).array(), [16, 9, 7]);
    assertEquals(await v.matmul(v).array(), 14);
    assertEquals(v.matmul(m.expand([4, 3, 3])).shape, [4, 3]);
    assertEquals(m.expand([4, 3, 3]).matmul(v).shape, [4, 3]);
    assertEquals(await v.dot(v).item(), 14);
    assertEquals(await v.outer(m.select(0, 2)).array(), [[5, 1, 1], [10, 2, 2], [15, 3, 3]]);
  });

  Deno.test(`matmul() with empty axes gives zeros or nothing, ${label(device)}`, async () => {
    const make = (...shape: number[]) =>
      tensor(new Float64Array(shape.reduce((a, b) => a * b)).fill(1), { device, shape });
    assertEquals(make(0, 3).matmul(make(3, 2)).shape, [0, 2]);
    assertEquals(make(2, 3).matmul(make(3, 0)).shape, [2, 0]);
    assertEquals(make(0, 2, 3).matmul(make(3, 4)).shape, [0, 2, 4]);
    assertEquals(await make(2, 0).matmul(make(0, 3)).array(), [[0, 0, 0], [0, 0, 0]]);
    assertEquals(await linear(make(2, 0), make(3, 0), make(3)).array(), [[1, 1, 1], [1, 1, 1]]);
    assertEquals(linear(make(0, 4), make(3, 4), make(3)).shape, [0, 3]);
    const [x, w] = [make(0, 4), make(3, 4)];
    w.requiresGrad = true;
    linear(x, w).sum().backward();
    assertEquals(await w.grad!.sum().item(), 0);
  });

  Deno.test(`linear() adds a bias that starts anywhere in memory, ${label(device)}`, async () => {
    const x = tensor([[1, 2], [3, 4]], { device });
    const w = tensor([[1, 0], [0, 1], [1, 1]], { device });
    const many = tensor(Float64Array.from({ length: 200 }, (_, i) => i), { device });
    const want = (bias: number[]) =>
      [[1, 2, 3], [3, 4, 7]].map((r) => r.map((v, i) => v + bias[i]));
    assertEquals(await linear(x, w, many.narrow(0, 0, 3)).array(), want([0, 1, 2]));
    assertEquals(await linear(x, w, many.narrow(0, 5, 3)).array(), want([5, 6, 7]));
    assertEquals(await linear(x, w, many.narrow(0, 64, 3)).array(), want([64, 65, 66]));
    assertEquals(
      await linear(x, w, many.slice({ start: 90, stop: 75 + 90, step: 25 })).array(),
      want([90, 115, 140]),
    );
    assertEquals(await linear(x, w, many.narrow(0, 9, 1).expand([3])).array(), want([9, 9, 9]));
    assertEquals(await linear(x.reshape([2, 1, 2]), w).array(), [[[1, 2, 3]], [[3, 4, 7]]]);
    assertEquals(await linear(tensor([1, 1], { device }), w).array(), [1, 1, 2]);
  });
}

for (const device of variants) {
  Deno.test(`matmul() reads nothing beyond its operands, ${label(device)}`, async () => {
    // NaN lies behind the operands, between their rows, and in the memory that results are given.
    const inputs: [Plain, Plain][] = [[5, 7, 9], [8, 12, 20], [17, 6, 34]]
      .map(([m, k, n]) => [random([m, k], m), random([k, n], n)]);
    for (const [n, [a, b]] of inputs.entries()) {
      const size = a.shape[0] * b.shape[1];
      for (const layout of layoutNames.slice(n, n + 3)) {
        const poison = Array.from(
          { length: 4 },
          () => tensor(new Float64Array(size).fill(NaN), { device, shape: [size] }),
        );
        const [x, y] = [laidOut(device, a, layout), laidOut(device, b, "with gaps")];
        poison.forEach((t) => t.dispose());
        await checkProduct(x.matmul(y), a, b, layout);
      }
    }
    const long = tensor(new Float64Array(40_000).fill(NaN), { device, shape: [40_000] });
    const [a, b] = [random([4, 2050], 1), random([2050, 4], 2)];
    const [x, y] = [laidOut(device, a, "row-major"), laidOut(device, b, "row-major")];
    long.dispose();
    await checkProduct(x.matmul(y), a, b, "slices");
  });
}

Deno.test({
  name: "matmul() takes more matrices than a dimension has workgroups",
  fn: async () => {
    const count = 65_539;
    const a = Float64Array.from({ length: count * 2 }, (_, i) => i % 13 - 6);
    for (const device of variants) {
      const x = tensor(a, { device, shape: [count, 1, 2] });
      const y = tensor(a, { device, shape: [count, 2, 1] });
      const got = await x.matmul(y).data();
      let wrong = 0;
      got.forEach((v, i) => wrong += Number(v !== a[2 * i] ** 2 + a[2 * i + 1] ** 2));
      assertEquals([got.length, wrong], [count, 0]);
    }
  },
});

type Fn = (...inputs: Tensor[]) => Tensor;
const differentiable: [string, Fn, number[][]][] = [
  ["two matrices", (a, b) => a.matmul(b), [[3, 4], [4, 5]]],
  ["transposed operands", (a, b) => a.t().matmul(b.t()), [[4, 3], [5, 4]]],
  ["broadcast batches", (a, b) => a.matmul(b), [[2, 1, 3, 4], [3, 4, 2]]],
  ["a matrix for all batches", (a, b) => a.matmul(b), [[2, 3, 4], [4, 5]]],
  ["a vector on the right", (a, b) => a.matmul(b), [[3, 4], [4]]],
  ["a vector on the left", (a, b) => a.matmul(b), [[4], [2, 4, 3]]],
  ["two vectors", (a, b) => a.dot(b), [[5], [5]]],
  ["outer", (a, b) => a.outer(b), [[3], [4]]],
  ["a slice", (a, b) => a.slice({ start: 1 }, { step: 2 }).matmul(b.flip(0)), [[4, 7], [4, 3]]],
  ["the square of a matrix", (a) => a.matmul(a), [[4, 4]]],
  ["a sliced inner axis", (a, b) => a.matmul(b), [[2, 2050], [2050, 3]]],
  ["linear", (x, w, b) => linear(x, w, b), [[2, 3, 4], [5, 4], [5]]],
  ["linear without bias", (x, w) => linear(x, w), [[6, 4], [5, 4]]],
];

Deno.test("matmul() gradients agree with central differences, to second order", async (t) => {
  for (const [name, fn, shapes] of differentiable) {
    await t.step(
      name,
      () => gradcheck(fn, shapes.map((s, i) => sample(s, i + 1)), name, { secondOrder: true }),
    );
  }
});

for (const device of variants) {
  Deno.test(`matmul() agrees with the reference, forward and backward, ${label(device)}`, async () => {
    // One of each form is enough for the second kind of kernels.
    const chosen = differentiable.filter((_, i) => device !== hardwareKernels || i % 4 === 3);
    for (const [name, fn, shapes] of chosen) {
      const longest = Math.max(...shapes.flat());
      const bounds = { rel: 1e-6, abs: 1e-6 * Math.max(8, longest / 4) };
      await compareWithReference(device, fn, shapes.map((s, i) => sample(s, i + 1)), bounds, name);
    }
  });
}

testOnDevices({
  name: "matmul() of f16 sums in f32, and mixed operands give f32",
  f16: true,
  fn: async (device) => {
    const x = tensor(new Float64Array(3000).fill(1), {
      device,
      shape: [1, 3000],
      dtype: "f16",
    });
    const out = x.matmul(x.t());
    // 2999 is no f16; sums in f16 would stop at 2048.
    assertEquals([out.dtype, await out.item()], ["f16", 3000]);
    assertEquals(x.matmul(x.t().to("f32")).dtype, "f32");
    const w = tensor([[1, 2]], { device, dtype: "f16", requiresGrad: true });
    linear(tensor([[3, 4]], { device, dtype: "f16" }), w).sum().backward();
    assertEquals([w.grad!.dtype, await w.grad!.array()], ["f16", [[3, 4]]]);
  },
});

Deno.test("matmul() refuses what does not fit, and allocates nothing", () => {
  for (const device of devices) {
    const make = (shape: number[], dtype: "f32" | "i32" = "f32") =>
      tensor(new Float64Array(shape.reduce((a, b) => a * b, 1)), { device, shape, dtype });
    const [m23, m34, v3, s] = [make([2, 3]), make([3, 4]), make([3]), make([])];
    const [batch2, batch3, whole] = [make([2, 2, 3]), make([3, 3, 4]), make([3, 4], "i32")];
    const calls: [() => Tensor, ErrorConstructor, string][] = [
      [
        () => m23.matmul(m23),
        RangeError,
        "Cannot matmul [2, 3] by [2, 3] as inner sizes must match: found 3 and 2",
      ],
      [() => batch2.matmul(batch3), RangeError, "neither is 1"],
      [() => m23.matmul(s), RangeError, "expected at least one axis each"],
      [
        () => m23.matmul(whole),
        TypeError,
        "Cannot matmul f32 [2, 3] by i32 [3, 4]: expected f32 or f16",
      ],
      [() => v3.dot(m23), RangeError, "expected two vectors of equal length"],
      [() => v3.outer(m23), RangeError, "expected two vectors"],
      [() => linear(m23, m34), RangeError, "expected the last axis to be 4"],
      [() => linear(m23, make([5, 3]), v3), RangeError, "bias [3]"],
      [() => linear(m23, m23, whole), TypeError, "expected f32 or f16"],
    ];
    const held = calls.map(([call, kind, message]) => assertThrows(call, kind, message));
    assertEquals(held.length, calls.length);
    const before = device.memory().liveBuffers;
    for (const [call, kind] of calls.filter((_, i) => i !== 7)) assertThrows(call, kind);
    assertEquals(device.memory().liveBuffers, before);
  }
});

testOnDevices({
  name: "matmul() refuses tensors of different devices",
  fn: (device) => {
    const [a, b] = [device, reference].map((d) => tensor([[1]], { device: d }));
    assertThrows(
      () => a.matmul(b),
      TypeError,
      `different devices: found ${device.kind} and reference`,
    );
    assertThrows(() => linear(a, a, b.select(0, 0)), TypeError, "different devices");
  },
});

Deno.test("product() in this test is right on a known case", () => {
  const a = plainOf([2, 2], [1, 2, 3, 4]);
  assertEquals(product(a, plainOf([2, 2], [5, 6, 7, 8])).values, [19, 22, 43, 50]);
  assertEquals(listOf(a), [1, 2, 3, 4]);
});
