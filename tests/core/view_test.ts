import { assertEquals, assertThrows } from "@std/assert";
import { concat, type Device, noGrad, stack, type Tensor, tensor } from "../../core/mod.ts";
import type { DType } from "../../kernels/types.ts";
import { compareWithReference, gradcheck, reference, sample, testOnDevices } from "../util.ts";
import { devices } from "./devices.ts";
import { counting, laidOut, layoutNames, listOf, plainOf } from "./plain.ts";
import { meaningOf, viewCases } from "./view_cases.ts";

function flags(shape: readonly number[]) {
  return plainOf(shape, listOf(counting(shape)).map((v) => v % 3 === 0 ? 1 : 0));
}

async function checkValues(device: Device, dtype: DType): Promise<void> {
  for (const layout of layoutNames) {
    const running = viewCases.map(async (item) => {
      const plains = item.shapes.map((shape, i) => {
        const x = dtype === "bool" ? flags(shape) : counting(shape);
        return plainOf(shape, listOf(x).map((v) => dtype === "bool" ? v : v + 100 * i));
      });
      const out = item.view(...plains.map((x) => laidOut(device, x, layout, dtype)));
      const want = meaningOf(item, plains);
      const label = `${item.name}, ${layout} ${dtype} on ${device.kind}`;
      assertEquals([...out.shape], [...want.shape], label);
      assertEquals(out.dtype, dtype);
      const fill = dtype === "bool" ? (v: number) => v === 0 ? 0 : 1 : (v: number) => v;
      assertEquals(Array.from(await out.data()), listOf(want).map(fill), label);
    });
    await Promise.all(running);
  }
}

for (const device of devices) {
  for (const dtype of ["f32", "i32", "bool"] as const) {
    Deno.test(`views of ${dtype} on ${device.kind} give the elements that plain arrays give`, () =>
      checkValues(device, dtype));
  }
}

testOnDevices({
  name: "views of f16 give the elements that plain arrays give",
  f16: true,
  fn: (device) => checkValues(device, "f16"),
});

Deno.test("views have gradients that agree with central differences, to second order", async (t) => {
  for (const { name, shapes, view } of viewCases) {
    await t.step(name, () =>
      gradcheck(
        (...inputs) => view(...inputs.map((x) => x.mul(x))).square(),
        shapes.map((shape, i) => sample(shape, i + 1)),
        name,
        { secondOrder: shapes[0].every((n) => n > 0) && !/nothing|no times/.test(name) },
      ));
  }
});

testOnDevices({
  name: "views on the device agree with the reference, forward and backward",
  fn: async (device) => {
    for (const { name, shapes, view } of viewCases) {
      const through = (...inputs: Tensor[]) =>
        view(...inputs.map((x) => x.flip([...x.shape.keys()]).mul(0.5))).mul(2);
      const samples = shapes.map((shape, i) => sample(shape, i + 1));
      await compareWithReference(device, through, samples, 1e-6, name);
    }
  },
});

Deno.test("views share memory with what they look at, copies do not", async () => {
  const x = tensor([[1, 2, 3], [4, 5, 6]], { device: reference });
  const views = [x.t(), x.reshape([3, 2]), x.slice(1), x.flip(1), x.unsqueeze(0), x.expand([2, 3])];
  const copies = [
    x.t().reshape([6]),
    x.t().contiguous(),
    x.repeat([1, 1]),
    x.pad([[0, 0], [0, 0]]),
  ];
  noGrad(() => x.fill_(7));
  for (const v of views) assertEquals(new Set(await v.data()), new Set([7]));
  assertEquals(await copies[0].array(), [1, 4, 2, 5, 3, 6]);
  assertEquals(await copies[1].array(), [[1, 4], [2, 5], [3, 6]]);
  assertEquals(x.contiguous() === x, true);
  assertEquals(x.to("f32") === x, true);
});

Deno.test("split() gives all pieces, the last of them smaller", async () => {
  const pieces = tensor([1, 2, 3, 4, 5], { device: reference }).split(2);
  assertEquals(await Promise.all(pieces.map((p) => p.array())), [[1, 2], [3, 4], [5]]);
  const none = tensor(new Float64Array(0), { device: reference }).split(2);
  assertEquals(none.map((p) => p.shape), [[0]]);
});

const conversions: [DType, DType, number[], number[]][] = [
  ["f32", "i32", [1.9, -1.9, 0.5, -3e9, 3e9], [1, -1, 0, -2147483648, 2147483520]],
  ["f32", "u32", [1.9, -1.9, 3e9, 5e9], [1, 0, 3e9, 4294967040]],
  ["f32", "bool", [0, -0, 0.001, -2, NaN, Infinity], [0, 0, 1, 1, 1, 1]],
  ["i32", "u32", [-1, 5, -2147483648], [4294967295, 5, 2147483648]],
  ["u32", "i32", [4294967295, 5, 2147483648], [-1, 5, -2147483648]],
  ["i32", "f32", [-3, 0, 65536], [-3, 0, 65536]],
  ["bool", "f32", [1, 0], [1, 0]],
  ["bool", "i32", [1, 0], [1, 0]],
  ["u32", "bool", [0, 7, 4294967295], [0, 1, 1]],
];

for (const device of devices) {
  Deno.test(`to() on ${device.kind} cuts floats towards 0 and clamps them, and wraps integers`, async () => {
    for (const [from, to, values, want] of conversions) {
      const got = await tensor(values, { device, dtype: from }).to(to).data();
      assertEquals(Array.from(got), want, `${from} to ${to}`);
    }
  });
}

testOnDevices({
  name: "to() f16 rounds to 11 bits, and gradients flow through it",
  f16: true,
  fn: async (device) => {
    const x = tensor([1.0009765, 65504, 7e4, 1e-8, -0.1], { device, requiresGrad: true });
    const half = x.to("f16");
    assertEquals(half.dtype, "f16");
    assertEquals(
      Array.from(await half.data()),
      [1.0009765625, 65504, Infinity, 0, -0.0999755859375],
    );
    half.mul(3).to("f32").sum().backward();
    assertEquals(Array.from(await x.grad!.data()), [3, 3, 3, 3, 3]);
    assertEquals(x.grad!.dtype, "f32");
  },
});

type Call = (x: Tensor) => unknown;
const refused: Record<string, [Call, string][]> = {
  reshape: [
    [
      (x) => x.reshape([4, 4]),
      "Cannot reshape [2, 3, 4] to [4, 4]: expected sizes with the product 24",
    ],
    [(x) => x.reshape([-1, -1]), "Cannot reshape"],
  ],
  flatten: [
    [(x) => x.flatten(2, 1), "Cannot flatten dims 2 to 1"],
    [(x) => x.flatten(3), "expected an integer from -3 to 2"],
  ],
  permute: [
    [
      (x) => x.permute([0, 1]),
      "Cannot permute [2, 3, 4] by [0,1]: expected each of its 3 axes once",
    ],
    [(x) => x.permute([0, 1, 1]), "expected each of its 3 axes once"],
  ],
  transpose: [
    [(x) => x.transpose(0, 3), "Cannot transpose along dim 3"],
    [(x) => x.select(0, 0).select(0, 0).t(), "Cannot transpose along dim -2"],
  ],
  squeeze: [
    [(x) => x.squeeze(1), "Cannot squeeze dim 1 of [2, 3, 4]: expected size 1, found 3"],
    [(x) => x.squeeze(-4), "Cannot squeeze along dim -4"],
  ],
  unsqueeze: [
    [(x) => x.unsqueeze(4), "expected an integer from -4 to 3"],
    [(x) => x.unsqueeze(NaN), "Cannot unsqueeze along dim NaN"],
  ],
  expand: [
    [
      (x) => x.expand([2, 6, 4]),
      "Cannot expand [2, 3, 4] to [2, 6, 4]: only axes of size 1 can grow",
    ],
    [(x) => x.expand([3, 4]), "Cannot expand"],
    [(x) => x.expand([-1, 2, 3, 4]), "Cannot expand"],
    [(x) => x.unsqueeze(0).expand([2.5, 2, 3, 4]), "Cannot expand"],
  ],
  slice: [
    [(x) => x.slice(null, null, null, null), "Cannot slice [2, 3, 4] with 4 ranges: it has 3 axes"],
    [(x) => x.slice({ step: 0 }), "expected integers with a step of at least 1"],
    [(x) => x.slice({ start: 0.5 }), "Cannot slice axis 0 as 0.5:2:1"],
    [(x) => x.slice(2), "2"],
  ],
  narrow: [
    [(x) => x.narrow(2, 3, 2), "Cannot narrow axis 2 of [2, 3, 4] to 2 elements from 3"],
    [(x) => x.narrow(2, 0, -1), "Cannot narrow"],
  ],
  select: [
    [(x) => x.select(1, 3), "3"],
    [(x) => x.select(3, 0), "Cannot select along dim 3"],
  ],
  flip: [
    [(x) => x.flip([0, -3]), "an axis is named twice"],
    [(x) => x.flip(5), "Cannot flip along dim 5"],
  ],
  pad: [
    [(x) => x.pad([[1, 1]]), "expected [before, after] of at least 0 for each of its 3 axes"],
    [(x) => x.pad([[1, 1], [0, -1], [0, 0]]), "Cannot pad [2, 3, 4]"],
  ],
  concat: [
    [() => concat([]), "expected at least one"],
    [(x) => concat([x, x.narrow(1, 0, 2)]), "shapes may differ there only"],
    [(x) => concat([x, x.to("i32")]), "dtypes must be equal"],
  ],
  stack: [
    [(x) => stack([x, x.select(0, 0)]), "shapes may differ there only"],
    [(x) => stack([x], 5), "Cannot unsqueeze along dim 5"],
  ],
  split: [
    [(x) => x.split(0), "Cannot split into pieces of 0"],
    [(x) => x.split([1, 1], 1), "Cannot split axis 1 of size 3 into [1,1]: expected the sum 3"],
    [(x) => x.split([4, -1], 1), "Cannot narrow"],
  ],
  repeat: [
    [(x) => x.repeat([2]), "expected at least 3 integers"],
    [(x) => x.repeat([1, 1, -1]), "Cannot repeat"],
  ],
};

for (const device of devices) {
  for (const [op, calls] of Object.entries(refused)) {
    Deno.test(`${op}() on ${device.kind} refuses what it cannot do, and allocates nothing`, () => {
      const x = tensor(new Float64Array(24), { device, shape: [2, 3, 4] });
      using scope = device.scope();
      for (const [call, message] of calls) {
        assertThrows(() => call(x), RangeError, message);
      }
      scope.close();
      const before = device.memory().liveBuffers;
      for (const [call, message] of calls) {
        // The dtype error needs a second tensor, which is no part of the refused call.
        if (message.startsWith("dtypes")) continue;
        assertThrows(() => call(x), RangeError);
        assertEquals(device.memory().liveBuffers, before, message);
      }
    });
  }
}

testOnDevices({
  name: "concat() refuses tensors of different devices",
  fn: (device) => {
    const [a, b] = [device, reference].map((d) => tensor([1], { device: d }));
    assertThrows(() => concat([a, b]), TypeError, "Cannot concat tensors of different devices");
  },
});
