import { assertEquals } from "@std/assert";
import { convKernel, type ConvParams, convWeightKernel } from "../../../kernels/conv2d.ts";
import { convProgram } from "../../../kernels/wasm/sums/conv2d.ts";
import { convWeightProgram } from "../../../kernels/wasm/sums/conv2d_weight.ts";
import { weightWinogradProgram } from "../../../kernels/wasm/sums/conv2d_weight_winograd.ts";
import { winogradProgram } from "../../../kernels/wasm/sums/conv2d_winograd.ts";
import { suitsWinograd } from "../../../kernels/wasm/sums/winograd_tiles.ts";
import { checkSums, type Emitter } from "./sums.ts";

type Pair = readonly [number, number];

/** A convolution of a padded image. */
function convolution(
  batch: number,
  [height, width]: Pair,
  [inChannels, outChannels]: Pair,
  kernel: Pair,
  stride: Pair = [1, 1],
  dilation: Pair = [1, 1],
): ConvParams {
  const out = ([height, width] as const).map((n, d) =>
    Math.floor((n - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1
  );
  const sizes = { outHeight: out[0], outWidth: out[1] };
  return { batch, height, width, inChannels, outChannels, kernel, stride, dilation, ...sizes };
}

function checkForward(p: ConvParams, emit: Emitter): void {
  const x = p.batch * p.height * p.width * p.inChannels;
  const w = p.kernel[0] * p.kernel[1] * p.inChannels * p.outChannels;
  const y = p.batch * p.outHeight * p.outWidth * p.outChannels;
  for (const bias of [false, true]) {
    const ins = [x, w, ...(bias ? [p.outChannels] : [])];
    checkSums(JSON.stringify(p), convKernel(p, bias), emit, [ins, [y]]);
  }
}

function checkWeight(p: ConvParams, emit: Emitter): void {
  const x = p.batch * p.height * p.width * p.inChannels;
  const w = p.kernel[0] * p.kernel[1] * p.inChannels * p.outChannels;
  const y = p.batch * p.outHeight * p.outWidth * p.outChannels;
  checkSums(JSON.stringify(p), convWeightKernel(p, 1), emit, [[x, y], [w]]);
}

/** Edges of tiles, one channel, steps and gaps in either direction, more images than a slice has. */
const CONVOLUTIONS = [
  convolution(1, [3, 3], [1, 1], [3, 3]),
  convolution(2, [5, 7], [3, 8], [3, 3]),
  convolution(3, [6, 9], [5, 10], [3, 2]),
  convolution(2, [8, 8], [4, 24], [5, 5]),
  convolution(2, [9, 9], [4, 13], [3, 3], [2, 2]),
  convolution(2, [9, 11], [3, 9], [3, 3], [1, 2], [2, 2]),
  convolution(1, [7, 7], [16, 3], [1, 1]),
  convolution(20, [12, 14], [1, 32], [3, 3]),
  convolution(2, [9, 11], [8, 8], [2, 3], [2, 1], [1, 3]),
  convolution(1, [4, 30], [2, 40], [1, 7]),
];

Deno.test("convProgram() convolves at all edges, with steps and gaps", () => {
  for (const p of CONVOLUTIONS) checkForward(p, convProgram);
});

Deno.test("convWeightProgram() gives weight gradients at all edges, with steps and gaps", () => {
  for (const p of CONVOLUTIONS) checkWeight(p, convWeightProgram);
});

Deno.test("convWeightProgram() cuts gradients that are too large for one thread", () => {
  checkWeight(convolution(2, [5, 5], [70, 90], [3, 3]), convWeightProgram);
});

Deno.test("winogradProgram() convolves even and odd images of all small sizes", () => {
  for (const [height, width] of [[3, 3], [4, 4], [5, 6], [9, 9], [7, 12], [16, 16]] as Pair[]) {
    for (const channels of [[4, 4], [8, 12], [16, 20], [32, 64]] as Pair[]) {
      checkForward(convolution(3, [height, width], channels, [3, 3]), winogradProgram);
    }
  }
});

Deno.test("weightWinogradProgram() gives weight gradients of images of all small sizes", () => {
  for (const [height, width] of [[3, 3], [4, 4], [5, 6], [9, 9], [7, 12], [16, 16]] as Pair[]) {
    for (const channels of [[4, 4], [8, 12], [16, 20], [32, 64]] as Pair[]) {
      checkWeight(convolution(19, [height, width], channels, [3, 3]), weightWinogradProgram);
    }
  }
});

Deno.test("weightWinogradProgram() cuts gradients that are too large for a near cache", () => {
  checkWeight(convolution(3, [6, 6], [64, 100], [3, 3]), weightWinogradProgram);
});

Deno.test("suitsWinograd() wants 3 × 3, step 1, some channels, and little waste", () => {
  const suits = suitsWinograd;
  const image: Pair = [16, 16];
  assertEquals(suits(convolution(1, image, [32, 32], [3, 3])), true);
  assertEquals(suits(convolution(1, image, [32, 32], [5, 5])), false);
  assertEquals(suits(convolution(1, image, [32, 32], [3, 3], [2, 1])), false);
  assertEquals(suits(convolution(1, image, [32, 32], [3, 3], [1, 1], [1, 2])), false);
  assertEquals(suits(convolution(1, image, [3, 32], [3, 3])), false);
  assertEquals(suits(convolution(1, image, [32, 30], [3, 3])), false);
  assertEquals(suits(convolution(1, [5, 5], [32, 32], [3, 3])), false);
});
