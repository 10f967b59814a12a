/** The convolution kernels that hardware adapters get, on whatever adapter there is. */

import { conv2d, type ConvOptions, convTranspose2d, type Tensor, tensor } from "../../core/mod.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { compareWithReference, gpu, reference, sample } from "../util.ts";
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

Deno.test({
  name: "conv2d() refuses tensors of different devices, and allocates nothing",
  ignore: gpu === null,
  fn: () => {
    const x = tensor(new Float64Array(9), { device: gpu!, shape: [1, 1, 3, 3] });
    const w = tensor(new Float64Array(4), { device: reference, shape: [1, 1, 2, 2] });
    const before = gpu!.memory().liveBuffers;
    assertThrows(() => conv2d(x, w), TypeError, "Cannot convolve tensors of different devices");
    assertEquals(gpu!.memory().liveBuffers, before);
  },
});
