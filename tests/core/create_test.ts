import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  arange,
  AutogradError,
  eye,
  full,
  linspace,
  noGrad,
  oneHot,
  ones,
  onesLike,
  scaleShift,
  standardize,
  type Tensor,
  tensor,
  zeros,
  zerosLike,
} from "../../core/mod.ts";
import type { DType } from "../../kernels/types.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  randomValues,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices } from "./devices.ts";

for (const device of devices) {
  Deno.test(`tensor() takes numbers, nested and typed arrays, ${device.kind}`, async () => {
    const cases: [Tensor, number[], DType, unknown][] = [
      [tensor(2.5, { device }), [], "f32", 2.5],
      [tensor(true, { device }), [], "bool", 1],
      [tensor([1, 2, 3], { device }), [3], "f32", [1, 2, 3]],
      [tensor([[1, 2], [3, 4], [5, 6]], { device }), [3, 2], "f32", [[1, 2], [3, 4], [5, 6]]],
      [tensor([[true], [false]], { device }), [2, 1], "bool", [[1], [0]]],
      [tensor([true, 2], { device }), [2], "f32", [1, 2]],
      [tensor([], { device }), [0], "f32", []],
      [tensor([[], []], { device }), [2, 0], "f32", [[], []]],
      [tensor([1.9, -1.9], { device, dtype: "i32" }), [2], "i32", [1, -1]],
      [tensor([0, 0.5, -2], { device, dtype: "bool" }), [3], "bool", [0, 1, 1]],
      [tensor(new Int32Array([-1, 2]), { device }), [2], "i32", [-1, 2]],
      [tensor(new Uint32Array([4294967295]), { device }), [1], "u32", [4294967295]],
      [tensor(new Uint8Array([7, 255]), { device }), [2], "u32", [7, 255]],
      [tensor(new Uint8Array([7, 0]), { device, dtype: "bool" }), [2], "bool", [1, 0]],
      [tensor(new Float64Array(6), { device, shape: [1, 6] }), [1, 6], "f32", [[0, 0, 0, 0, 0, 0]]],
      [tensor([1, 2, 3, 4], { device, shape: [2, 2] }), [2, 2], "f32", [[1, 2], [3, 4]]],
      [tensor(new Float32Array([9, 8, 7, 6]).subarray(1, 3), { device }), [2], "f32", [8, 7]],
    ];
    const got = await Promise.all(cases.map(([t]) => t.array()));
    cases.forEach(([t, shape, dtype, want], i) =>
      assertEquals([t.shape, t.dtype, got[i]], [shape, dtype, want], `case ${i}`)
    );
  });

  Deno.test(`tensor() keeps its own copy of the data, ${device.kind}`, async () => {
    for (
      const data of [new Float32Array([1, 2]), new Float64Array([1, 2]), new Int32Array([1, 2])]
    ) {
      const t = tensor(data, { device });
      data.fill(9);
      assertEquals(await t.array(), [1, 2]);
      (await t.data()).fill(9);
      assertEquals(await t.array(), [1, 2]);
    }
  });

  Deno.test(`full(), zeros() and ones() fill every type, ${device.kind}`, async () => {
    const cases: [Tensor, DType, number[]][] = [
      [zeros([3], { device }), "f32", [0, 0, 0]],
      [ones([2], { device, dtype: "u32" }), "u32", [1, 1]],
      [full([2], 2.75, { device }), "f32", [2.75, 2.75]],
      [full([2], -2.75, { device, dtype: "i32" }), "i32", [-2, -2]],
      [full([2], -Infinity, { device }), "f32", [-Infinity, -Infinity]],
      [full([2], 0.5, { device, dtype: "bool" }), "bool", [1, 1]],
      [zeros([2], { device, dtype: "bool" }), "bool", [0, 0]],
      [full([0], 7, { device }), "f32", []],
    ];
    if (device.traits.f16) {
      cases.push([full([2], 1.5, { device, dtype: "f16" }), "f16", [1.5, 1.5]]);
    }
    const got = await Promise.all(cases.map(([t]) => t.data()));
    cases.forEach(([t, dtype, want], i) =>
      assertEquals([t.dtype, Array.from(got[i])], [dtype, want], `case ${i}`)
    );
    assertEquals(full([2], 1, { device, requiresGrad: true }).requiresGrad, true);
  });

  Deno.test(`zerosLike() and onesLike() take shape and type, but no gradient, ${device.kind}`, async () => {
    const x = tensor([[1, 2, 3]], { device, requiresGrad: true });
    const likes = [zerosLike(x), onesLike(x), onesLike(x.to("i32").t())];
    assertEquals(likes.map((t) => t.requiresGrad), [false, false, false]);
    assertEquals(likes.map((t) => t.dtype), ["f32", "f32", "i32"]);
    assertEquals(await Promise.all(likes.map((t) => t.array())), [[[0, 0, 0]], [[1, 1, 1]], [
      [1],
      [1],
      [1],
    ]]);
  });

  Deno.test(`arange(), linspace(), eye() and oneHot() give what their names say, ${device.kind}`, async () => {
    const cases: [Tensor, DType, unknown][] = [
      [arange(0, 5, 1, { device }), "i32", [0, 1, 2, 3, 4]],
      [arange(5, 0, -2, { device }), "i32", [5, 3, 1]],
      [arange(0, 1, 0.25, { device }), "f32", [0, 0.25, 0.5, 0.75]],
      [arange(3, 3, 1, { device }), "i32", []],
      [arange(0, 3, 1, { device, dtype: "f32" }), "f32", [0, 1, 2]],
      [linspace(0, 1, 5, { device }), "f32", [0, 0.25, 0.5, 0.75, 1]],
      [linspace(2, 9, 1, { device }), "f32", [2]],
      [linspace(2, 9, 0, { device }), "f32", []],
      [eye(2, undefined, { device }), "f32", [[1, 0], [0, 1]]],
      [eye(2, 3, { device, dtype: "i32" }), "i32", [[1, 0, 0], [0, 1, 0]]],
      [oneHot(tensor([1, 0, 5], { device, dtype: "i32" }), 3), "i32", [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 0],
      ]],
    ];
    const got = await Promise.all(cases.map(([t]) => t.array()));
    cases.forEach(([t, dtype, want], i) =>
      assertEquals([t.dtype, got[i]], [dtype, want], `case ${i}`)
    );
  });

  Deno.test(`makers refuse what they cannot make, and allocate nothing, ${device.kind}`, () => {
    const floats = tensor([1, 2], { device });
    const calls: [() => unknown, ErrorConstructor, string][] = [
      [
        () => tensor([[1, 2], [3]], { device }),
        RangeError,
        "ragged arrays: expected 2 elements along axis 1, found 1",
      ],
      [() => tensor([[1], 2], { device }), RangeError, "found a number"],
      [
        () => tensor([1, "2"] as unknown as number[], { device }),
        TypeError,
        "Cannot make a tensor of string",
      ],
      [
        () => tensor([1, 2, 3], { device, shape: [2, 2] }),
        RangeError,
        "expected 4 values, found 3",
      ],
      [
        () => tensor([1], { device, shape: [1.5] }),
        RangeError,
        "expected an array of integers of at least 0",
      ],
      [() => zeros([-1], { device }), RangeError, "Cannot make a tensor of shape [-1]"],
      [
        () => zeros(3 as unknown as number[], { device }),
        RangeError,
        "expected an array of integers",
      ],
      [
        () => arange(0, 5, 0, { device }),
        RangeError,
        "Cannot make a range from 0 to 5 in steps of 0",
      ],
      [() => arange(0, 5, -1, { device }), RangeError, "in steps of -1"],
      [() => linspace(0, 1, 2.5, { device }), RangeError, "Cannot make 2.5 numbers"],
      [() => eye(-1, 2, { device }), RangeError, "Cannot make a matrix of shape [-1,2]"],
      [
        () => oneHot(floats, 3),
        TypeError,
        "Cannot encode labels of dtype f32: expected i32 or u32",
      ],
      [() => tensor([1], { device, dtype: "u32", requiresGrad: true }), TypeError, "of dtype u32"],
    ];
    const before = device.memory().liveBuffers;
    for (const [call, kind, message] of calls.slice(0, -1)) {
      assertThrows(call, kind, message);
      assertEquals(device.memory().liveBuffers, before, message);
    }
    assertThrows(...calls.at(-1)!);
  });

  Deno.test(`item(), array() and toString() describe a tensor, ${device.kind}`, async () => {
    const x = tensor([[1, 2]], { device, requiresGrad: true });
    assertEquals(`${x}`, `Tensor([1, 2], f32, ${device.kind}, requiresGrad)`);
    assertEquals(Deno.inspect(x.gt(1)), `Tensor([1, 2], bool, ${device.kind})`);
    assertEquals(await tensor([[3]], { device }).item(), 3);
    assertEquals(await tensor(true, { device }).item(), 1);
    await x.item().then(
      () => {
        throw new Error("item() of two elements");
      },
      (error) =>
        assertEquals([error.name, error.message.includes("found 2")], ["RangeError", true]),
    );
    assertEquals([x.size, x.ndim, x.isContiguous, x.t().isContiguous], [2, 2, true, true]);
  });

  Deno.test(`copy_(), fill_() and add_() change the elements that a view shows, ${device.kind}`, async () => {
    const x = zeros([3, 4], { device });
    assertStrictEquals(x.fill_(1), x);
    x.select(0, 1).fill_(2);
    x.slice(null, { start: 1, step: 2 }).copy_(tensor([[7], [8], [9]], { device }));
    x.t().narrow(0, 0, 1).add_(tensor([1, 2, 3], { device }), 10);
    assertEquals(await x.array(), [[11, 7, 1, 7], [22, 8, 2, 8], [31, 9, 1, 9]]);
    // The source may overlap the target.
    x.copy_(x.flip([0, 1]));
    assertEquals(await x.array(), [[9, 1, 9, 31], [8, 2, 8, 22], [7, 1, 7, 11]]);
    x.add_(x);
    assertEquals(await x.select(0, 2).array(), [14, 2, 14, 22]);
  });

  Deno.test(`copy_() and fill_() convert to the type of the target, ${device.kind}`, async () => {
    const source = tensor([1.75, 0, -3.5, 300], { device });
    const types: [DType, number[]][] = [
      ["i32", [1, 0, -3, 300]],
      ["bool", [1, 0, 1, 1]],
      ["f32", [1.75, 0, -3.5, 300]],
      ...(device.traits.f16 ? [["f16", [1.75, 0, -3.5, 300]] as [DType, number[]]] : []),
    ];
    for (const [dtype, want] of types) {
      const target = zeros([4], { device, dtype });
      assertEquals(Array.from(await target.copy_(source).data()), want, dtype);
      const filled = dtype === "bool" ? 1 : dtype === "i32" ? 2 : 2.5;
      assertEquals(Array.from(await target.fill_(2.5).data()), new Array(4).fill(filled), dtype);
    }
    const flags = zeros([2], { device, dtype: "bool" });
    assertEquals(await flags.fill_(0.25).array(), [1, 1]);
    assertEquals(await zeros([2], { device }).copy_(flags).array(), [1, 1]);
  });

  Deno.test(`copy_() refuses sources that do not fit, ${device.kind}`, () => {
    const x = zeros([2, 3], { device });
    assertThrows(() => x.copy_(zeros([3, 2], { device })), RangeError, "Cannot copy");
    assertThrows(
      () => x.copy_(zeros([4, 2, 3], { device })),
      RangeError,
      "Cannot copy a tensor of shape [4, 2, 3] into one of shape [2, 3]",
    );
    const leaf = zeros([2], { device, requiresGrad: true });
    assertThrows(() => leaf.copy_(zeros([2], { device })), AutogradError, "Cannot copy into");
    assertEquals(noGrad(() => leaf.fill_(1)).requiresGrad, true);
  });

  Deno.test(`standardize() gives mean 0 and variance 1, also far from 0, ${device.kind}`, async () => {
    const values = randomValues(6 * 50, 3, -1, 1);
    for (const shift of [0, 10_000]) {
      const host = values.map((v) => Math.fround(v + shift));
      const x = tensor(host, { device, shape: [6, 50] });
      const { output, mean, variance } = standardize(x, [1], 1e-5);
      const want = Array.from({ length: 6 }, (_, i) => {
        const row = host.slice(50 * i, 50 * i + 50);
        const m = row.reduce((a, b) => a + b) / 50;
        const v = row.reduce((a, b) => a + (b - m) ** 2, 0) / 50;
        return { m, v, rows: Array.from(row, (r) => (r - m) / Math.sqrt(v + 1e-5)) };
      });
      const tolerance = shift === 0 ? 5e-6 : 2e-3;
      const got = await Promise.all([output, mean, variance].map((t) => t.data()));
      assertClose(got[0], want.flatMap((w) => w.rows), tolerance, `output at ${shift}`);
      assertClose(got[1], want.map((w) => w.m), { rel: 1e-6, abs: 1e-6 }, "mean");
      assertClose(got[2], want.map((w) => w.v), { rel: 5e-6 + tolerance, abs: 1e-6 }, "variance");
      assertEquals([mean.shape, variance.requiresGrad], [[6, 1], false]);
    }
  });
}

Deno.test("scaleShift() gradients agree with central differences, with either part left out", async () => {
  const inputs = [sample([3, 4], 1), sample([4], 2), sample([4], 3)];
  await gradcheck((x, w, b) => scaleShift(x, w, b), inputs, "both", { secondOrder: true });
  await gradcheck((x, w) => scaleShift(x, w, null), inputs.slice(0, 2), "scale");
  await gradcheck((x, b) => scaleShift(x, null, b), inputs.slice(0, 2), "shift");
  const x = tensor([1], { device: devices[0] });
  assertStrictEquals(scaleShift(x, null, null), x);
});

testOnDevices({
  name: "standardize() and scaleShift() on the device agree with the reference",
  fn: async (device) => {
    const fn = (x: Tensor, w: Tensor, b: Tensor) =>
      scaleShift(standardize(x.permute([0, 2, 1]), [0, 1], 1e-3).output, w, b);
    const inputs = [sample([5, 4, 7], 1), sample([4], 2), sample([4], 3)];
    await compareWithReference(device, fn, inputs, 5e-6, "normalisation");
  },
});
