/** Convolution and transposed convolution of images. Results lie channels last in memory. */

import { convKernel, convWeightKernel } from "../../kernels/conv2d.ts";
import { directConvKernel, type DirectConvParams } from "../../kernels/conv2d_direct.ts";
import { input } from "../../kernels/expr.ts";
import type { Kernel } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { fullOn } from "./fill.ts";
import { aligned, channelsLast, convParams, type Geometry, packedWeight } from "./conv_layout.ts";
import { spreadGradient } from "./conv_phases.ts";
import { checkDevices, denseOperand, launchReduce, noScalars } from "./launch.ts";
import { record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** A size for both axes, or [height, width]. */
export type Pair = number | readonly [number, number];

/** How a kernel is moved over an image. */
export interface ConvOptions {
  /** Step between output pixels, at least 1. @default {1} */
  readonly stride?: Pair;
  /** Zeros around the input, at least 0. @default {0} */
  readonly padding?: Pair;
  /** Distance between taps, at least 1. @default {1} */
  readonly dilation?: Pair;
  /** Blocks of channels that do not see each other. @default {1} */
  readonly groups?: number;
}

/** How a transposed convolution spreads its input. */
export interface ConvTransposeOptions extends ConvOptions {
  /** Rows and columns added at the end of the output, below the stride or dilation. @default {0} */
  readonly outputPadding?: Pair;
}

/**
 * Two numbers from a pair.
 *
 * @throws {RangeError} if one is no integer or below the least value
 */
export function pairOf(op: string, name: string, value: Pair, least: number): [number, number] {
  const pair: [number, number] = typeof value === "number" ? [value, value] : [value[0], value[1]];
  if (pair.some((n) => !Number.isInteger(n) || n < least)) {
    throw new RangeError(
      `Cannot ${op} with ${name} ${JSON.stringify(value)}: expected integers of at least ${least}`,
    );
  }
  return pair;
}

function geometryOf(op: string, options: ConvOptions): Geometry {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  if (!Number.isInteger(groups) || groups < 1) {
    throw new RangeError(`Cannot ${op} with groups ${groups}: expected an integer of at least 1`);
  }
  return {
    stride: pairOf(op, "stride", stride, 1),
    padding: pairOf(op, "padding", padding, 0),
    dilation: pairOf(op, "dilation", dilation, 1),
    groups,
  };
}

function checkImages(
  op: string,
  x: Tensor,
  weight: Tensor,
  channels: number,
  bias: Tensor | null,
): void {
  checkDevices(op, bias ? [x, weight, bias] : [x, weight]);
  for (const t of [x, weight]) {
    if (t.dtype !== "f32" && t.dtype !== "f16") {
      throw new DTypeError(`Cannot ${op} a tensor of dtype ${t.dtype}: expected f32 or f16`);
    }
  }
  if (x.ndim !== 4 || weight.ndim !== 4 || x.shape[1] !== channels) {
    throw new ShapeError(
      `Cannot ${op} ${showShape(x.shape)} with weight ${
        showShape(weight.shape)
      }: expected images ` +
        `[N, ${channels}, H, W]`,
    );
  }
  if (bias !== null && bias.ndim !== 1) {
    throw new ShapeError(`Cannot ${op} with bias ${showShape(bias.shape)}: expected one axis`);
  }
}

/**
 * Convolution (cross-correlation) of images, as torch.nn.functional.conv2d.
 *
 * @param x [N, in, H, W]
 * @param weight [out, in / groups, kh, kw]
 * @param bias [out], or null
 * @param options stride, padding, dilation, groups
 * @returns [N, out, (H + 2·padding − dilation·(kh − 1) − 1) / stride + 1, …], sums in f32
 * @throws {ShapeError} if the sizes do not fit
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvOptions = {},
): Tensor {
  const geometry = geometryOf("convolve", options);
  const { groups, padding, dilation, stride } = geometry;
  checkImages("convolve", x, weight, (weight.shape[1] ?? 0) * groups, bias);
  const [out, , kh, kw] = weight.shape;
  if (out % groups !== 0 || (bias !== null && bias.shape[0] !== out)) {
    throw new ShapeError(
      `Cannot convolve with weight ${showShape(weight.shape)}, bias ${
        bias ? showShape(bias.shape) : "none"
      } and ${groups} groups: expected out channels divisible by the groups, and a bias of ${out}`,
    );
  }
  const sizes = [kh, kw].map((k, d) =>
    Math.floor((x.shape[2 + d] + 2 * padding[d] - dilation[d] * (k - 1) - 1) / stride[d]) + 1
  );
  if (sizes.some((n) => n < 1)) {
    throw new ShapeError(
      `Cannot convolve ${
        showShape(x.shape)
      } with a kernel of ${kh} × ${kw}: with padding [${padding}] ` +
        `and dilation [${dilation}] the output would be ${sizes.join(" × ")}`,
    );
  }
  if (x.dtype === "f16") {
    return conv2d(x.to("f32"), weight.to("f32"), bias?.to("f32"), options).to("f16");
  }
  return forward(x, weight.to("f32"), bias, geometry, [sizes[0], sizes[1]]);
}

/**
 * Transposed convolution, the input gradient of conv2d used as a layer, as torch.nn.functional.conv_transpose2d.
 *
 * @param x [N, in, H, W]
 * @param weight [in, out / groups, kh, kw]
 * @param bias [out], or null
 * @param options stride, padding, outputPadding, dilation, groups
 * @returns [N, out, (H − 1)·stride − 2·padding + dilation·(kh − 1) + outputPadding + 1, …]
 * @throws {ShapeError} if the sizes do not fit
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvTransposeOptions = {},
): Tensor {
  const op = "convolve transposed";
  const geometry = geometryOf(op, options);
  checkImages(op, x, weight, weight.shape[0], bias);
  const { stride, padding, dilation, groups } = geometry;
  const extra = pairOf(op, "outputPadding", options.outputPadding ?? 0, 0);
  const size = [0, 1].map((d) =>
    (x.shape[2 + d] - 1) * stride[d] - 2 * padding[d] + dilation[d] * (weight.shape[2 + d] - 1) +
    extra[d] + 1
  );
  const out = weight.shape[1] * groups;
  const tooMuch = extra.some((n, d) => n >= Math.max(stride[d], dilation[d]));
  if (
    weight.shape[0] % groups !== 0 || size.some((n) => n < 1) || tooMuch ||
    (bias && bias.shape[0] !== out)
  ) {
    throw new ShapeError(
      `Cannot ${op} ${showShape(x.shape)} with weight ${showShape(weight.shape)}, bias ${
        bias ? showShape(bias.shape) : "none"
      } and outputPadding [${extra}]: expected an output of at least 1 × 1, a bias of ${out}, and ` +
        "an outputPadding below stride or dilation",
    );
  }
  if (x.dtype === "f16") {
    return convTranspose2d(x.to("f32"), weight.to("f32"), bias?.to("f32"), options).to("f16");
  }
  const result = inputGradient(x, weight.to("f32"), geometry, [size[0], size[1]]);
  return bias ? result.add(bias.reshape([1, out, 1, 1])) : result;
}

/** Runs a kernel whose result is an image [N, H, W, C] in memory, and gives it as [N, C, H, W]. */
function launchImage(
  kernel: Kernel,
  inputs: readonly Tensor[],
  [n, c, h, w]: readonly number[],
): Tensor {
  const { device } = inputs[0];
  const out = empty(device, [n, c, h, w], "f32", kernel.op, [h * w * c, 1, w * c, c]);
  if (out.size > 0) {
    device.record({
      kernel,
      inputs: inputs.map(denseOperand),
      outputs: [denseOperand(out)],
      scalars: [],
    });
  }
  return out;
}

function directParams(
  batch: number,
  channels: readonly [number, number],
  sizes: {
    input: readonly [number, number];
    output: readonly [number, number];
    kernel: readonly [number, number];
  },
  geometry: Geometry,
): DirectConvParams {
  return { batch, inChannels: channels[0], outChannels: channels[1], ...geometry, ...sizes };
}

function spatial(t: Tensor): [number, number] {
  return [t.shape[2], t.shape[3]];
}

function forward(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: Geometry,
  output: readonly [number, number],
): Tensor {
  const [outChannels, , kh, kw] = weight.shape;
  const shape = [x.shape[0], outChannels, output[0], output[1]];
  const grouped = geometry.groups > 1;
  const noChannels = x.shape[1] === 0;
  const xp = channelsLast(x.detach(), grouped ? [0, 0] : geometry.padding);
  const w = packedWeight(weight);
  let out: Tensor;
  if (noChannels) {
    const zero = fullOn(x.device, shape, "f32", 0);
    out = bias ? zero.add(bias.detach().reshape([1, outChannels, 1, 1])) : zero;
  } else if (grouped) {
    const sizes = { input: spatial(x), output, kernel: [kh, kw] as const };
    const params = directParams(x.shape[0], [x.shape[1], outChannels], sizes, geometry);
    out = launchImage(directConvKernel("output", params), [xp, w], shape);
    if (bias) out = out.add(bias.detach().reshape([1, outChannels, 1, 1]));
  } else {
    const params = convParams(xp, outChannels, [kh, kw], geometry, output);
    const inputs = bias ? [xp, w, aligned(bias.to("f32").detach())] : [xp, w];
    out = launchImage(convKernel(params, bias !== null), inputs, shape);
  }
  const inputs = bias ? [x, weight, bias] : [x, weight];
  return record("conv2d", out, inputs, (g) => [
    x.requiresGrad ? inputGradient(g, weight, geometry, spatial(x)) : null,
    weight.requiresGrad ? weightGradient(x, g, [kh, kw], geometry) : null,
    bias?.requiresGrad ? g.sum([0, 2, 3]) : null,
  ], [x, weight]);
}

/** Gradient of the input: the gradient of the output, spread by the stride, convolved with the turned weight. */
function inputGradient(
  g: Tensor,
  weight: Tensor,
  geometry: Geometry,
  size: readonly [number, number],
): Tensor {
  const [, inPerGroup, kh, kw] = weight.shape;
  const channels = inPerGroup * geometry.groups;
  const shape = [g.shape[0], channels, size[0], size[1]];
  let out: Tensor;
  if (g.shape[1] === 0) out = fullOn(g.device, shape, "f32", 0);
  else if (geometry.groups > 1) {
    const sizes = { input: size, output: spatial(g), kernel: [kh, kw] as const };
    const params = directParams(g.shape[0], [channels, g.shape[1]], sizes, geometry);
    out = launchImage(
      directConvKernel("input", params),
      [channelsLast(g.detach(), [0, 0]), packedWeight(weight)],
      shape,
    );
  } else out = spreadGradient(g, weight, geometry, size);
  const output = spatial(g);
  return record("conv2d input gradient", out, [g, weight], (gg) => [
    g.requiresGrad ? forward(gg, weight, null, geometry, output) : null,
    weight.requiresGrad ? weightGradient(gg, g, [kh, kw], geometry) : null,
  ], [g, weight]);
}

/** Output pixels that one slice of a weight gradient sums, about: at least, and at most. */
const SLICE_PIXELS = [512, 2048] as const;
/** Tiles of 64 × 64 that keep a device busy. */
const BUSY_TILES = 512;

/**
 * Slices of the sum of a weight gradient: enough to keep a device busy, and so many that sums stay short; in eights, which
 * software adapters run side by side.
 */
function slicesOf(lines: number, pixels: number, rows: number, columns: number): number {
  const tiles = Math.ceil(rows / 64) * Math.ceil(columns / 64);
  const [least, most] = SLICE_PIXELS;
  const wanted = Math.max(
    Math.ceil(pixels / most),
    Math.min(Math.ceil(pixels / least), Math.ceil(BUSY_TILES / tiles)),
  );
  return Math.max(1, Math.min(lines, wanted < 5 ? wanted : Math.ceil(wanted / 8) * 8));
}

/** Slices that the threads of a CPU share, and output pixels of each at least, so that adding the slices costs little. */
const CPU_SLICES = 16;
const CPU_SLICE_PIXELS = 256;

/** Slices on a CPU; there are none without groups, since its programs for these cut the sums themselves. */
function cpuSlices(lines: number, pixels: number, groups: number): number {
  return groups === 1 ? 1 : Math.min(lines, CPU_SLICES, Math.ceil(pixels / CPU_SLICE_PIXELS));
}

/** Gradient of the weight [out, in / groups, kh, kw], a view of memory in the order [kh, kw, in, out]. */
function weightGradient(
  x: Tensor,
  g: Tensor,
  kernel: readonly [number, number],
  geometry: Geometry,
): Tensor {
  const { groups } = geometry;
  const [outChannels, inChannels] = [g.shape[1], x.shape[1]];
  const packed = [kernel[0], kernel[1], inChannels / groups, outChannels];
  const lines = g.shape[0] * g.shape[2];
  const pixels = lines * g.shape[3];
  const rows = kernel[0] * kernel[1] * inChannels / groups;
  // Channels that do not fill vectors have no program by hand, which would sum accurately over any number of pixels.
  const vectors = groups === inChannels && groups === outChannels || outChannels / groups % 4 === 0;
  const splits = x.device.traits.wasm && (groups === 1 || vectors)
    ? cpuSlices(lines, pixels, groups)
    : slicesOf(lines, pixels, rows, outChannels);
  const gp = channelsLast(g.detach(), [0, 0]);
  let slices: Tensor;
  if (pixels === 0 || inChannels === 0) slices = fullOn(x.device, [1, ...packed], "f32", 0);
  else {
    const xp = channelsLast(x.detach(), groups > 1 ? [0, 0] : geometry.padding);
    const sizes = { input: spatial(x), output: spatial(g), kernel };
    const kernelOf = groups > 1
      ? directConvKernel(
        "weight",
        directParams(x.shape[0], [inChannels, outChannels], sizes, geometry),
        splits,
      )
      : convWeightKernel(convParams(xp, outChannels, kernel, geometry, spatial(g)), splits);
    slices = empty(x.device, [splits, ...packed], "f32", kernelOf.op);
    x.device.record({
      kernel: kernelOf,
      inputs: [denseOperand(xp), denseOperand(gp)],
      outputs: [denseOperand(slices)],
      scalars: [],
    });
  }
  const sum = slices.shape[0] === 1 ? slices.reshape(packed) : launchReduce(
    "conv2d weight gradient",
    {
      fold: "sum",
      expr: input(0),
      post: null,
      dtype: "f32",
      partial: "f32",
      shape: slices.shape,
      axes: [0],
    },
    [slices],
    noScalars,
  );
  const out = sum.alias({
    shape: [outChannels, inChannels / groups, kernel[0], kernel[1]],
    strides: [3, 2, 0, 1].map((d) => sum.strides[d]),
    offset: sum.offset,
  });
  const size = spatial(x);
  const output = spatial(g);
  return record("conv2d weight gradient", out, [x, g], (gw) => [
    x.requiresGrad ? inputGradient(g, gw, geometry, size) : null,
    g.requiresGrad ? forward(x, gw, null, geometry, output) : null,
  ], [x, g]);
}
