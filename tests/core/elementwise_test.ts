import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import { elementwise } from "../../core/tensor/elementwise.ts";
import type { DType } from "../../kernels/types.ts";
import {
  compareWithReference,
  gpu,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";
import { devices, ownDevice } from "./devices.ts";
import { indices, laidOut, layoutNames, listOf, type Plain, plainOf } from "./plain.ts";

/** Whole numbers from -9 to 9, whose sums and products every type holds exactly. */
function whole(shape: readonly number[], seed: number): Plain {
  const count = shape.reduce((a, b) => a * b, 1);
  return plainOf(shape, randomValues(count, seed, -9, 10).map(Math.floor));
}

/** A formula over arrays that are broadcast against each other by NumPy's rule. */
function broadcast(shape: readonly number[], f: (...v: number[]) => number, ...xs: Plain[]) {
  return indices(shape).map((index) =>
    f(...xs.map((x) => {
      const own = index.slice(shape.length - x.shape.length);
      return x.at(own.map((i, d) => x.shape[d] === 1 ? 0 : i));
    }))
  );
}

for (const device of devices) {
  Deno.test(`elementwise() takes numbers on either side, ${device.kind}`, async () => {
    const x = tensor([1, 2, 4], { device });
    const cases: [Tensor, number[]][] = [
      [x.sub(3), [-2, -1, 1]],
      [elementwise("sub", 3, x), [2, 1, -1]],
      [elementwise("div", 8, x), [8, 4, 2]],
      [elementwise("pow", 2, x), [2, 4, 16]],
      [x.clamp(1.5, 3), [1.5, 2, 3]],
      [elementwise("clamp", 2, 0, x), [1, 2, 2]],
      [x.gt(1).where(x, -1), [-1, 2, 4]],
      [x.gt(1).where(0, x), [1, 0, 0]],
      [elementwise("where", 1, x, 9), [1, 2, 4]],
      [elementwise("where", 0, x, 9), [9, 9, 9]],
      [x.lerp(10, 0.5), [5.5, 6, 7]],
      [x.add(NaN), [NaN, NaN, NaN]],
      [x.minimum(Infinity), [1, 2, 4]],
      [x.mul(-0).add(1), [1, 1, 1]],
    ];
    const got = await Promise.all(cases.map(([t]) => t.array()));
    cases.forEach(([, want], i) => assertEquals(got[i], want, `case ${i}`));
  });

  Deno.test(`elementwise() broadcasts operands in any memory order, ${device.kind}`, async () => {
    const x = whole([3, 4, 8], 1);
    const partners = [[3, 4, 8], [4, 8], [8], [], [1], [3, 1, 1], [1, 4, 1], [3, 4, 1], [
      2,
      1,
      4,
      8,
    ]];
    const running: Promise<void>[] = [];
    for (const [n, shape] of partners.entries()) {
      const y = whole(shape, 20 + n);
      const full = shape.length > 3 ? [2, 3, 4, 8] : x.shape;
      const want = broadcast(full, (a, b) => 2 * a - b, x, y);
      for (const [i, layout] of layoutNames.entries()) {
        const other = layoutNames[(i + n) % layoutNames.length];
        const [a, b] = [laidOut(device, x, layout), laidOut(device, y, other)];
        const text = `[${shape}], ${layout} and ${other}`;
        const out = a.mul(2).sub(b);
        assertEquals([...out.shape], [...full], text);
        running.push(out.data().then((data) => assertEquals(Array.from(data), want, text)));
      }
    }
    await Promise.all(running);
  });

  Deno.test(`elementwise() takes three operands and repeated axes, ${device.kind}`, async () => {
    const [c, a, b] = [whole([4, 1], 1), whole([3, 1, 8], 2), whole([8], 3)];
    const want = broadcast([3, 4, 8], (c, a, b) => c > 0 ? a : b, c, a, b);
    const [x, y, z] = [c, a, b].map((p, i) => laidOut(device, p, layoutNames[i + 1]));
    assertEquals(Array.from(await x.gt(0).where(y, z).data()), want);
    const expanded = z.expand([3, 4, 8]).mul(y.expand([3, 4, 8])).add(x.expand([3, 4, 8]));
    assertEquals(
      Array.from(await expanded.data()),
      broadcast([3, 4, 8], (c, a, b) => b * a + c, c, a, b),
    );
  });

  Deno.test(`elementwise() is right at every vector width and tail, ${device.kind}`, async () => {
    const running: Promise<void>[] = [];
    for (const n of [1, 3, 4, 5, 64, 255, 256, 257, 1023, 1024, 1025]) {
      const [x, y] = [whole([n], n), whole([n], n + 1)];
      const want = broadcast([n], (a, b) => 3 * a + b, x, y);
      for (const layout of ["row-major", "unaligned", "reversed"] as const) {
        const out = laidOut(device, x, layout).mul(3).add(laidOut(device, y, "row-major"));
        running.push(
          out.data().then((data) =>
            assertEquals(Array.from(data), want, `${n} elements, ${layout}`)
          ),
        );
      }
    }
    await Promise.all(running);
  });

  Deno.test(`elementwise() of nothing gives nothing, ${device.kind}`, async () => {
    const none = tensor(new Float64Array(0), { device, shape: [0, 3] });
    const row = tensor([1, 2, 3], { device });
    const before = device.work().dispatches;
    const outs = [none.add(row), none.exp(), none.mul(2), none.unsqueeze(0).add(none)];
    assertEquals(outs.map((t) => t.shape), [[0, 3], [0, 3], [0, 3], [1, 0, 3]]);
    assertEquals(device.work().dispatches, before);
    assertEquals((await outs[0].data()).length, 0);
  });
}

Deno.test("elementwise() gives results the memory order of the first full-size operand", () => {
  const x = tensor(new Float64Array(24), { device: reference, shape: [2, 3, 4] });
  const row = tensor(new Float64Array(4), { device: reference, shape: [4] });
  assertEquals(x.permute([2, 0, 1]).add(1).strides, [1, 12, 4]);
  assertEquals(row.add(x).strides, [12, 4, 1]);
  // A view with gaps does not hand its gaps on.
  assertEquals(x.slice(null, { step: 2 }).exp().strides, [8, 4, 1]);
  assertEquals(x.t().add(x.t()).strides, [12, 1, 4]);
  assertEquals(row.expand([3, 4]).add(1).strides, [4, 1]);
});

/** Types of a + b. PyTorch gives i64 for i32 with u32, and bool for two bools, which here add up as i32. */
const sums: [DType, DType, DType][] = [
  ["f32", "f32", "f32"],
  ["f32", "i32", "f32"],
  ["u32", "f32", "f32"],
  ["bool", "f32", "f32"],
  ["i32", "i32", "i32"],
  ["u32", "u32", "u32"],
  ["i32", "bool", "i32"],
  ["bool", "u32", "u32"],
  ["i32", "u32", "i32"],
  ["bool", "bool", "i32"],
  ["f16", "f16", "f16"],
  ["f16", "f32", "f32"],
  ["f16", "i32", "f16"],
  ["bool", "f16", "f16"],
];

const numbers: [DType, number, DType][] = [
  ["f32", 3, "f32"],
  ["f16", 2.5, "f16"],
  ["i32", 3, "i32"],
  ["i32", -3, "i32"],
  ["i32", 2.5, "f32"],
  ["i32", 3e9, "f32"],
  ["i32", -3e9, "f32"],
  ["u32", 4e9, "u32"],
  ["u32", 5e9, "f32"],
  ["u32", -1, "i32"],
  ["bool", 2, "i32"],
  ["bool", 0.5, "f32"],
  ["i32", NaN, "f32"],
];

function valueIn(dtype: DType): number {
  return dtype === "bool" ? 1 : dtype === "i32" ? -7 : 5;
}

for (const device of devices) {
  Deno.test(`elementwise() promotes types as PyTorch does, ${device.kind}`, async () => {
    for (const [a, b, want] of sums) {
      if (!device.traits.f16 && [a, b].includes("f16")) continue;
      const [x, y] = [a, b].map((dtype) => tensor([valueIn(dtype)], { device, dtype }));
      const [sum, swapped] = [x.add(y), y.add(x)];
      assertEquals([sum.dtype, swapped.dtype], [want, want], `${a} + ${b}`);
      assertEquals(await sum.item(), valueIn(a) + valueIn(b), `${a} + ${b}`);
    }
    for (const [a, number, want] of numbers) {
      if (!device.traits.f16 && a === "f16") continue;
      const x = tensor([valueIn(a)], { device, dtype: a });
      const outs = [x.maximum(number), elementwise("maximum", number, x)];
      assertEquals(outs.map((t) => t.dtype), [want, want], `${a} and ${number}`);
      const top = Math.max(valueIn(a), number);
      assertEquals(await outs[0].item(), want === "f32" ? Math.fround(top) : top);
    }
  });

  Deno.test(`elementwise() gives quotients as floats, comparisons as bool, choices as the wider type, ${device.kind}`, async () => {
    const i32 = tensor([7, -7], { device, dtype: "i32" });
    const u32 = tensor([2, 4294967295], { device, dtype: "u32" });
    const f32 = tensor([2.5, -1], { device });
    const bool = tensor([true, false], { device });
    const cases: [Tensor, DType, number[]][] = [
      [i32.div(2), "f32", [3.5, -3.5]],
      [i32.div(i32), "f32", [1, 1]],
      [tensor([16, 9], { device, dtype: "i32" }).sqrt(), "f32", [4, 3]],
      [i32.gt(0), "bool", [1, 0]],
      [i32.eq(f32), "bool", [0, 0]],
      [f32.lt(bool), "bool", [0, 1]],
      // 7 and 2³² − 1 meet in i32, where the second is -1.
      [i32.abs().gt(u32), "bool", [1, 1]],
      [i32.logicalAnd(f32), "bool", [1, 1]],
      [bool.logicalNot(), "bool", [0, 1]],
      [bool.where(i32, f32), "f32", [7, -1]],
      [bool.where(i32, 3), "i32", [7, 3]],
      [bool.where(bool, bool), "bool", [1, 0]],
      [bool.where(u32, 0), "u32", [2, 0]],
      [i32.mul(700000000), "i32", [605032704, -605032704]],
      [u32.add(2), "u32", [4, 1]],
      [u32.square(), "u32", [4, 1]],
    ];
    const got = await Promise.all(cases.map(([t]) => t.data()));
    cases.forEach(([t, dtype, want], i) =>
      assertEquals([t.dtype, Array.from(got[i])], [dtype, want], `case ${i}`)
    );
  });
}

Deno.test("elementwise() refuses what it cannot combine, and allocates nothing", () => {
  for (const device of devices) {
    const x = tensor([[1, 2, 3], [4, 5, 6]], { device });
    const pair = tensor([1, 2], { device });
    const gone = tensor([1], { device });
    gone.dispose();
    const loose = x as unknown as Record<string, (...values: unknown[]) => Tensor>;
    const calls: [() => Tensor, ErrorConstructor, string][] = [
      [() => x.add(pair), RangeError, "Cannot add [2, 3] and [2]: axis -1 has sizes 3 and 2"],
      [() => x.gt(0).where(x, pair), RangeError, "Cannot where [2, 3] and [2, 3] and [2]"],
      [
        () => elementwise("add", 1, 2),
        TypeError,
        "Cannot add numbers only: expected at least one tensor",
      ],
      [() => loose.add(undefined), TypeError, "Cannot add a value of type undefined"],
      [
        () => loose.mul("2"),
        TypeError,
        "Cannot mul a value of type string: expected tensors and numbers",
      ],
      [() => loose.add(), TypeError, "Cannot add 1 operands: expected 2"],
      [() => loose.exp(3), TypeError, "Cannot exp 2 operands: expected 1"],
      [() => x.add(gone), Error, "it was released, by dispose() or at the end of its step"],
    ];
    const before = device.memory().liveBuffers;
    for (const [call, kind, message] of calls) {
      if (message.startsWith("Cannot where")) continue;
      assertThrows(call, kind, message);
    }
    assertEquals(device.memory().liveBuffers, before);
    assertThrows(calls[1][0], calls[1][1], calls[1][2]);
  }
});

testOnDevices({
  name: "elementwise() refuses tensors of different devices",
  fn: (device) => {
    const [a, b] = [device, reference].map((d) => tensor([1], { device: d }));
    const text = `Cannot add tensors of different devices: found ${device.kind} and reference`;
    assertThrows(() => a.add(b), TypeError, text);
    assertThrows(() => b.gt(0).where(b, a), TypeError, `found reference and ${device.kind}`);
    assertThrows(() => a.copy_(b), TypeError, "Cannot copy tensors of different devices");
    assertThrows(() => a.add_(b), TypeError, "tensors of different devices");
  },
});

async function checkLarge(device: Device, count: number): Promise<void> {
  const values = Float32Array.from({ length: count }, (_, i) => i % 1000);
  const x = tensor(values, { device, shape: [count] });
  const data = await x.mul(2).add(1).data();
  let wrong = 0;
  for (let i = 0; i < count; i++) wrong += Number(data[i] !== values[i] * 2 + 1);
  assertEquals([data.length, wrong], [count, 0]);
}

testOnDevices({
  name: "elementwise() takes more elements than one dimension has workgroups",
  // An odd count is taken one element a thread: 70,001 workgroups of 64.
  fn: (device) => checkLarge(device, 64 * 70_000 + 1),
});

Deno.test({
  name:
    "elementwise() and reductions spread their workgroups over two dimensions where one is short",
  ignore: gpu === null,
  fn: async () => {
    const device = await ownDevice({ traits: { maxGroups: 7 } });
    for (const count of [64 * 7, 64 * 7 + 1, 64 * 4 * 7 + 4, 64 * 30 + 17]) {
      await checkLarge(device, count);
    }
    const shape = [1031, 3];
    const x = whole(shape, 4);
    const rows = await tensor(Float64Array.from(listOf(x)), { device, shape }).sum(1).data();
    const want = Array.from({ length: 1031 }, (_, i) => x.at([i, 0]) + x.at([i, 1]) + x.at([i, 2]));
    assertEquals(Array.from(rows), want);
    const teams = await ownDevice({ traits: { maxGroups: 7, software: false } });
    const long = tensor(new Float64Array(20 * 300).fill(1), { device: teams, shape: [20, 300] });
    assertEquals(new Set(await long.sum(1).data()), new Set([300]));
    [device, teams].forEach((d) => d.close());
  },
});

testOnDevices({
  name:
    "elementwise() agrees with the reference, forward and backward, for broadcast and strided operands",
  fn: async (device) => {
    const fns: [string, (a: Tensor, b: Tensor) => Tensor, number[][]][] = [
      ["a row and a column", (a, b) => a.mul(b).sub(a.div(b.add(3))), [[4, 1], [5]]],
      ["a scalar", (a, b) => a.mul(b).exp(), [[3, 4, 4], []]],
      ["permuted", (a, b) => a.permute([2, 0, 1]).mul(b).tanh(), [[2, 3, 4], [4, 2, 3]]],
      ["slices", (a, b) => a.slice(null, { start: 1, step: 2 }).mul(b.flip(0)), [[3, 8], [3, 4]]],
      ["expanded", (a, b) => a.expand([3, 4]).mul(b.expand([3, 4])), [[1, 4], [3, 1]]],
      ["the same operand twice", (a, b) => a.mul(a).add(b.mul(b)), [[7], [7]]],
    ];
    for (const [name, fn, shapes] of fns) {
      const samples = shapes.map((shape, i) => sample(shape, i + 1));
      await compareWithReference(device, fn, samples, { rel: 2e-6, abs: 1e-6 }, name);
    }
  },
});

testOnDevices({
  name: "elementwise() of f16 computes in f32 and rounds once",
  f16: true,
  fn: async (device) => {
    const x = tensor([1, 2048, -3], { device, dtype: "f16" });
    const y = tensor([0.0001, 1, 0.5], { device, dtype: "f16" });
    const sum = x.add(y);
    // 2049 lies between 2048 and 2050; ties go to the even one.
    assertEquals([sum.dtype, await sum.array()], ["f16", [1, 2048, -2.5]]);
    const wide = await x.to("f32").add(y).data();
    assert(wide[0] > 1 && wide[1] === 2049);
  },
});
