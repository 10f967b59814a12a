import { assertEquals, assertThrows } from "@std/assert";
import { type Tensor, tensor } from "../../core/mod.ts";
import { conv2d, type ConvOptions, convTranspose2d } from "../../core/tensor/conv2d.ts";
import {
  assertClose,
  compareWithReference,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";

interface Case {
  readonly name: string;
  readonly x: number[];
  readonly w: number[];
  readonly options: ConvOptions;
}

const cases: Case[] = [
  { name: "3 × 3 of one channel", x: [2, 1, 7, 5], w: [3, 1, 3, 3], options: { padding: 1 } },
  { name: "four channels", x: [2, 4, 5, 6], w: [8, 4, 3, 3], options: { padding: 1 } },
  { name: "prime sizes", x: [3, 5, 11, 7], w: [7, 5, 3, 2], options: {} },
  { name: "many taps of odd channels", x: [1, 3, 9, 9], w: [5, 3, 5, 5], options: { padding: 2 } },
  { name: "stride 2", x: [2, 4, 9, 8], w: [5, 4, 3, 3], options: { stride: 2, padding: 1 } },
  {
    name: "dilation",
    x: [1, 4, 9, 11],
    w: [4, 4, 3, 3],
    options: { dilation: [2, 3], padding: 2 },
  },
  {
    name: "all at once",
    x: [2, 3, 10, 12],
    w: [6, 3, 3, 2],
    options: { stride: [2, 3], padding: [1, 2], dilation: [2, 1] },
  },
  { name: "1 × 1", x: [2, 8, 4, 4], w: [12, 8, 1, 1], options: {} },
  { name: "padding beyond the kernel", x: [1, 2, 4, 4], w: [3, 2, 1, 1], options: { padding: 2 } },
  { name: "two groups", x: [2, 4, 5, 6], w: [6, 2, 3, 3], options: { groups: 2, padding: 1 } },
  {
    name: "depthwise",
    x: [2, 5, 6, 5],
    w: [10, 1, 3, 3],
    options: { groups: 5, stride: 2, padding: 1 },
  },
  { name: "no images", x: [0, 3, 6, 6], w: [4, 3, 3, 3], options: {} },
];

function forward(options: ConvOptions): (...t: Tensor[]) => Tensor {
  return (x, w, b) => conv2d(x, w, b, options);
}

Deno.test("conv2d() gradients agree with central differences, to second order", async (t) => {
  for (const { name, x, w, options } of cases) {
    await t.step(
      name,
      () =>
        gradcheck(forward(options), [sample(x, 1), sample(w, 2), sample([w[0]], 3)], name, {
          secondOrder: x[0] > 0,
        }),
    );
  }
});

testOnDevices({
  name: "conv2d() on the device agrees with the reference, forward and backward",
  fn: async (device, t) => {
    for (const { name, x, w, options } of cases) {
      await t.step(name, () =>
        compareWithReference(
          device,
          forward(options),
          [sample(x, 1), sample(w, 2), sample([w[0]], 3)],
          // 1e-6 times the sum of absolute terms, which is below 75 taps of values below 1; 2 × 12 × 10 pixels for weights.
          { rel: 1e-6, abs: 2e-5 },
          name,
        ));
    }
  },
});

Deno.test("conv2d() by matrix product equals the definition with groups of all channels", async () => {
  // One group given as two images of half the channels must equal two separate convolutions.
  for (const options of [{ padding: 1 }, { stride: 2, padding: 1 }, { dilation: 2 }]) {
    const x = tensor(randomValues(2 * 4 * 9 * 8, 5), { device: reference, shape: [2, 4, 9, 8] });
    const w = tensor(randomValues(6 * 2 * 3 * 3, 6), { device: reference, shape: [6, 2, 3, 3] });
    const grouped = conv2d(x, w, null, { ...options, groups: 2 });
    const halves = [0, 1].map((i) =>
      conv2d(x.narrow(1, 2 * i, 2), w.narrow(0, 3 * i, 3), null, options)
    );
    for (const [i, half] of halves.entries()) {
      assertClose(await grouped.narrow(1, 3 * i, 3).data(), await half.data(), 1e-12, `half ${i}`);
    }
  }
});

Deno.test("conv2d() of a delta gives the kernel turned round", async () => {
  const x = new Float64Array(25);
  x[12] = 1;
  const w = tensor([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], { device: reference });
  const y = conv2d(tensor(x, { device: reference, shape: [1, 1, 5, 5] }), w);
  assertEquals(await y.array(), [[[[9, 8, 7], [6, 5, 4], [3, 2, 1]]]]);
});

Deno.test("convTranspose2d() is the transpose of conv2d(): ⟨conv(x), y⟩ = ⟨x, convT(y)⟩", async () => {
  for (
    const options of [{ stride: 2, padding: 1 }, { dilation: 2 }, {
      groups: 2,
      stride: [2, 1] as const,
    }]
  ) {
    const groups = (options as ConvOptions).groups ?? 1;
    const x = tensor(randomValues(2 * 4 * 9 * 7, 5), { device: reference, shape: [2, 4, 9, 7] });
    const w = tensor(randomValues(6 * 4 / groups * 9, 6), {
      device: reference,
      shape: [6, 4 / groups, 3, 3],
    });
    const ax = conv2d(x, w, null, options);
    const y = tensor(randomValues(ax.size, 8), { device: reference, shape: ax.shape });
    const aty = convTranspose2d(y, w, null, options);
    // Rows that the stride did not reach are not produced without outputPadding; they do not count in the product.
    const xs = x.slice(null, null, { stop: aty.shape[2] }, { stop: aty.shape[3] });
    assertClose([await ax.mul(y).sum().item()], [await xs.mul(aty).sum().item()], 1e-11);
  }
});

Deno.test("convTranspose2d() gradients agree with central differences", async () => {
  const options = { stride: 2, padding: 1, outputPadding: 1 };
  const inputs = [sample([2, 3, 4, 5], 1), sample([3, 2, 3, 3], 2), sample([2], 3)];
  await gradcheck((x, w, b) => convTranspose2d(x, w, b, options), inputs, "convTranspose2d", {
    secondOrder: true,
  });
});

testOnDevices({
  name: "convTranspose2d() on the device agrees with the reference",
  fn: async (device) => {
    const options = { stride: 2, padding: 1, outputPadding: 1 };
    const inputs = [sample([2, 3, 4, 5], 1), sample([3, 2, 3, 3], 2), sample([2], 3)];
    await compareWithReference(
      device,
      (x, w, b) => convTranspose2d(x, w, b, options),
      inputs,
      1e-5,
      "convT",
    );
  },
});

testOnDevices({
  name: "conv2d() takes transposed and sliced inputs",
  fn: async (device) => {
    const fn = (x: Tensor, w: Tensor) =>
      conv2d(x.permute([3, 0, 1, 2]).slice({ start: 1 }, null, { start: 1 }), w.flip(0), null, {
        padding: 1,
      });
    await compareWithReference(
      device,
      fn,
      [sample([3, 7, 5, 3], 1), sample([4, 3, 3, 3], 2)],
      1e-5,
      "views",
    );
  },
});

Deno.test("conv2d() refuses sizes that do not fit, naming them", () => {
  const make = (shape: number[]) =>
    tensor(new Float64Array(shape.reduce((a, b) => a * b)), { device: reference, shape });
  assertThrows(
    () => conv2d(make([1, 3, 4, 4]), make([2, 2, 3, 3])),
    RangeError,
    "expected images [N, 2, H, W]",
  );
  assertThrows(
    () => conv2d(make([1, 2, 2, 2]), make([2, 2, 3, 3])),
    RangeError,
    "the output would be 0 × 0",
  );
  assertThrows(
    () => conv2d(make([1, 2, 4, 4]), make([3, 1, 3, 3]), null, { groups: 2 }),
    RangeError,
    "divisible",
  );
  assertThrows(
    () => conv2d(make([1, 2, 4, 4]), make([2, 2, 3, 3]), null, { stride: 0 }),
    RangeError,
    "stride 0",
  );
});
