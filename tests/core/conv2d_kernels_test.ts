/** The convolution kernels that hardware adapters get, on whatever adapter there is. */

import { conv2d, type ConvOptions, convTranspose2d, type Tensor, tensor } from "../../core/mod.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { compareWithReference, reference, sample, testOnDevices } from "../util.ts";
import { hardwareKernels } from "./devices.ts";

interface Case {
  readonly name: string;
  readonly x: number[];
  readonly w: number[];
  readonly options: ConvOptions;
}

const cases: Case[] = [
  { name: "one channel", x: [2, 1, 7, 5], w: [3, 1, 3, 3], options: { padding: 1 } },
  { name: "four channels", x: [2, 4, 5, 6], w: [8, 4, 3, 3], options: { padding: 1 } },
  { name: "more channels than a tile", x: [1, 4, 3, 3], w: [68, 4, 2, 2], options: {} },
  {
    name: "more pixels than a tile",
    x: [2, 3, 9, 8],
    w: [5, 3, 3, 3],
    options: { stride: [2, 1] },
  },
  {
    name: "dilation",
    x: [1, 4, 9, 11],
    w: [4, 4, 3, 3],
    options: { dilation: [2, 3], padding: 2 },
  },
  { name: "1 × 1", x: [2, 8, 4, 4], w: [12, 8, 1, 1], options: {} },
  { name: "two groups", x: [2, 4, 5, 6], w: [6, 2, 3, 3], options: { groups: 2, padding: 1 } },
];

Deno.test({
  name: "conv2d() with the kernels for hardware agrees with the reference, forward and backward",
  ignore: hardwareKernels === null,
  fn: async (t) => {
    for (const { name, x, w, options } of cases) {
      const fn = (x: Tensor, w: Tensor, b: Tensor) => conv2d(x, w, b, options);
      const inputs = [sample(x, 1), sample(w, 2), sample([w[0]], 3)];
      await t.step(
        name,
        () => compareWithReference(hardwareKernels!, fn, inputs, { rel: 1e-6, abs: 2e-5 }, name),
      );
    }
  },
});

Deno.test({
  name: "convTranspose2d() with the kernels for hardware agrees with the reference",
  ignore: hardwareKernels === null,
  fn: async () => {
    const options = { stride: 2, padding: 1, outputPadding: 1 };
    const fn = (x: Tensor, w: Tensor, b: Tensor) => convTranspose2d(x, w, b, options);
    const inputs = [sample([2, 3, 4, 5], 1), sample([3, 2, 3, 3], 2), sample([2], 3)];
    await compareWithReference(
      hardwareKernels!,
      fn,
      inputs,
      { rel: 1e-6, abs: 2e-5 },
      "transposed",
    );
  },
});

testOnDevices({
  name: "conv2d() refuses tensors of different devices, and allocates nothing",
  fn: (device) => {
    const x = tensor(new Float64Array(9), { device, shape: [1, 1, 3, 3] });
    const w = tensor(new Float64Array(4), { device: reference, shape: [1, 1, 2, 2] });
    const before = device.memory().liveBuffers;
    assertThrows(() => conv2d(x, w), TypeError, "Cannot convolve tensors of different devices");
    assertEquals(device.memory().liveBuffers, before);
  },
});

Deno.test("conv2d() with a 1 × 1 kernel copies no image, forward or backward", () => {
  const image = (channels: number) =>
    tensor(new Float64Array(2 * 5 * 6 * channels), {
      device: reference,
      shape: [2, 5, 6, channels],
    })
      .permute([0, 3, 1, 2]);
  const [x, g] = [image(8), image(12)];
  const w = tensor(new Float64Array(96), { device: reference, shape: [12, 8, 1, 1] });
  x.requiresGrad = true;
  w.requiresGrad = true;
  const count = (run: () => void) => {
    const before = reference.work().dispatches;
    run();
    return reference.work().dispatches - before;
  };
  let y: Tensor;
  // The weight is packed, then used.
  assertEquals(count(() => y = conv2d(x, w)), 2);
  // The gradients of input and weight, each one kernel; the turned weight lies packed already.
  assertEquals(count(() => y.backward({ gradient: g })), 2);
});

Deno.test("conv2d() with stride s takes as many multiplications backward as forward", () => {
  const flops = (stride: number) => {
    const record = reference.record;
    let sum = 0;
    reference.record = (call) => {
      sum += call.kernel.op === "conv2d" ? call.kernel.flops! : 0;
      record.call(reference, call);
    };
    try {
      const x = tensor(new Float64Array(3 * 144), { device: reference, shape: [1, 3, 12, 12] });
      const w = tensor(new Float64Array(5 * 27), { device: reference, shape: [5, 3, 3, 3] });
      x.requiresGrad = true;
      const y = conv2d(x, w, null, { stride, padding: 1 });
      const forward = sum;
      sum = 0;
      y.sum().backward();
      return sum / forward;
    } finally {
      reference.record = record;
    }
  };
  assertEquals([flops(1), flops(2), flops(3)], [1, 1, 1]);
});
