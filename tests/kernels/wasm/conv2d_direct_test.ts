import { assertEquals } from "@std/assert";
import {
  type ConvResult,
  directConvKernel,
  type DirectConvParams,
} from "../../../kernels/conv2d_direct.ts";
import { directConvEmitter } from "../../../kernels/wasm/sums/conv2d_direct.ts";
import { checkSums } from "./sums.ts";

type Pair = readonly [number, number];

/** A convolution in groups. */
function grouped(
  batch: number,
  input: Pair,
  [inChannels, outChannels, groups]: readonly [number, number, number],
  kernel: Pair,
  stride: Pair = [1, 1],
  padding: Pair = [0, 0],
  dilation: Pair = [1, 1],
): DirectConvParams {
  const out = ([0, 1] as const).map((d) =>
    Math.floor((input[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1
  );
  const output = [out[0], out[1]] as const;
  const moves = { kernel, stride, padding, dilation };
  return { batch, inChannels, outChannels, groups, input, output, ...moves };
}

/** Elements of the input, the weight and the output. */
function sizesOf(p: DirectConvParams): [number, number, number] {
  return [
    p.batch * p.input[0] * p.input[1] * p.inChannels,
    p.kernel[0] * p.kernel[1] * p.inChannels / p.groups * p.outChannels,
    p.batch * p.output[0] * p.output[1] * p.outChannels,
  ];
}

function check(p: DirectConvParams, result: ConvResult, splits = 1): void {
  const [x, w, y] = sizesOf(p);
  const operands = {
    output: [[x, w], [y]],
    input: [[y, w], [x]],
    weight: [[x, y], [splits * w]],
  } as const;
  const emit = directConvEmitter(result);
  const label = `${result}, ${splits} slices, ${JSON.stringify(p)}`;
  const made = (kernel: Parameters<typeof emit>[0], features: Parameters<typeof emit>[1]) => {
    const program = emit(kernel, features);
    if (program === null) throw new Error(`${label}: no program`);
    return program;
  };
  checkSums(label, directConvKernel(result, p, splits), made, operands[result]);
}

/** Ways over an image: its size, the kernel, stride, padding, dilation. */
const WAYS: readonly (readonly [Pair, Pair, Pair, Pair, Pair])[] = [
  [[3, 3], [3, 3], [1, 1], [1, 1], [1, 1]],
  [[6, 29], [3, 3], [1, 1], [1, 1], [1, 1]],
  [[9, 14], [3, 3], [2, 2], [1, 1], [1, 1]],
  [[7, 8], [1, 1], [1, 1], [0, 0], [1, 1]],
  [[7, 8], [1, 1], [2, 3], [0, 0], [1, 1]],
  [[9, 11], [5, 5], [1, 1], [2, 2], [1, 1]],
  [[8, 30], [2, 7], [1, 2], [0, 3], [1, 1]],
  [[9, 12], [3, 2], [2, 1], [3, 2], [1, 2]],
  [[11, 10], [3, 3], [2, 4], [2, 1], [2, 3]],
  [[12, 13], [3, 3], [4, 2], [0, 0], [1, 2]],
  [[2, 2], [3, 3], [1, 1], [4, 5], [2, 1]],
  [[5, 40], [4, 11], [3, 1], [1, 5], [1, 1]],
];

Deno.test("depthwise convolutions and their gradients, all ways over an image", () => {
  for (const [input, ...moves] of WAYS) {
    for (const [batch, channels] of [[2, 8], [3, 5], [1, 3]]) {
      const p = grouped(batch, input, [channels, channels, channels], ...moves);
      check(p, "output");
      check(p, "input");
      for (const splits of [1, 3]) check(p, "weight", splits);
    }
  }
});

Deno.test("convolutions in groups of several channels and their gradients, all ways over an image", () => {
  for (const [input, ...moves] of WAYS) {
    const channels = [[8, 8, 2], [12, 24, 3], [40, 16, 2], [36, 36, 3]] as const;
    for (const each of channels) {
      const p = grouped(2, input, each, ...moves);
      check(p, "output");
      check(p, "input");
      for (const splits of [1, 3]) check(p, "weight", splits);
    }
  }
});

Deno.test("convolutions in groups that fill vectors on one side alone", () => {
  for (const [input, ...moves] of WAYS) {
    const wide = grouped(2, input, [6, 24, 3], ...moves);
    check(wide, "output");
    check(wide, "weight", 2);
    check(grouped(2, input, [5, 40, 5], ...moves), "output");
    check(grouped(2, input, [5, 20, 5], ...moves), "weight");
    check(grouped(2, input, [24, 6, 3], ...moves), "input");
  }
});

Deno.test("grouped weight gradients with more slices than lines", () => {
  const moves = [[3, 3], [1, 1], [1, 1]] as const;
  check(grouped(1, [3, 4], [4, 4, 4], ...moves), "weight", 7);
  check(grouped(1, [3, 4], [8, 8, 2], ...moves), "weight", 7);
  check(grouped(3, [3, 4], [6, 6, 6], ...moves), "weight", 5);
});

Deno.test("grouped convolutions with many blocks of lines and tasks", () => {
  const moves = [[3, 3], [1, 1], [1, 1]] as const;
  for (const channels of [[36, 36, 36], [32, 32, 2]] as const) {
    const p = grouped(9, [28, 28], channels, ...moves);
    check(p, "output");
    check(p, "input");
    check(p, "weight", 1);
    check(p, "weight", 4);
  }
});

Deno.test("directConvEmitter() has no program for channels that do not fill vectors", () => {
  const features = { shared: false, relaxed: true, maxPages: 16 };
  const programOf = (result: ConvResult, channels: readonly [number, number, number]) =>
    directConvEmitter(result)(
      directConvKernel(result, grouped(1, [5, 5], channels, [3, 3])),
      features,
    );
  assertEquals(programOf("output", [8, 6, 2]), null);
  assertEquals(programOf("weight", [8, 6, 2]), null);
  assertEquals(programOf("input", [6, 8, 2]), null);
  assertEquals(programOf("output", [3, 6, 3]), null);
});
