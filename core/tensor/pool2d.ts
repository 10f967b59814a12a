/** Pooling of images: the largest value or the mean of windows. */

import {
  type AvgAxis,
  avgPoolKernel,
  type AvgPoolShape,
  avgSpreadKernel,
} from "../../kernels/avg_pool2d.ts";
import type { StridedOperand } from "../../kernels/map.ts";
import { maxGatherKernel, maxPoolKernel, maxScatterKernel } from "../../kernels/max_pool2d.ts";
import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import {
  channelsLast,
  longestWindow,
  type PoolShape,
  type WindowAxis,
  windowsOver,
} from "../../kernels/pool2d.ts";
import { type DType, isFloat, type Kernel } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { type Pair, pairOf } from "./conv2d.ts";
import { denseOperand, operandOf, residualOf } from "./launch.ts";
import { mean } from "./reduce.ts";
import { isGradEnabled, record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Windows of max-pooling. */
export interface MaxPool2dOptions {
  /** Size of the window. */
  readonly kernelSize: Pair;
  /** Steps between windows. @default {kernelSize} */
  readonly stride?: Pair;
  /** Rows and columns around the image that never win, at most half of the kernel. @default {0} */
  readonly padding?: Pair;
  /** Steps inside the window. @default {1} */
  readonly dilation?: Pair;
  /** Keep a last window that reaches beyond the image. @default {false} */
  readonly ceilMode?: boolean;
}

/** Windows of average pooling. */
export interface AvgPool2dOptions {
  /** Size of the window. */
  readonly kernelSize: Pair;
  /** Steps between windows. @default {kernelSize} */
  readonly stride?: Pair;
  /** Rows and columns of zeros around the image, at most half of the kernel. @default {0} */
  readonly padding?: Pair;
  /** Whether the zeros count in the divisor. @default {true} */
  readonly countIncludePad?: boolean;
  /** Keep a last window that reaches beyond the image. @default {false} */
  readonly ceilMode?: boolean;
}

function checkImages(op: string, x: Tensor): void {
  if (!isFloat(x.dtype)) {
    throw new DTypeError(`Cannot ${op} a tensor of dtype ${x.dtype}: expected f32 or f16`);
  }
  if ((x.ndim !== 4 && x.ndim !== 3) || x.shape.slice(-2).includes(0)) {
    throw new ShapeError(
      `Cannot ${op} ${
        showShape(x.shape)
      }: expected [N, C, H, W] or [C, H, W] with H and W of at least 1`,
    );
  }
}

/** Brings images to [N, C, H, W] in f32, and the result back. */
function onImages(op: string, x: Tensor, fn: (images: Tensor) => Tensor): Tensor {
  checkImages(op, x);
  const images = x.ndim === 3 ? x.unsqueeze(0) : x;
  const out = fn(images.to("f32")).to(x.dtype);
  return x.ndim === 3 ? out.squeeze(0) : out;
}

interface Windows {
  readonly kernelSize: Pair;
  readonly stride?: Pair;
  readonly padding?: Pair;
  readonly dilation?: Pair;
  readonly ceilMode?: boolean;
}

function windowsOf(op: string, x: Tensor, options: Windows): PoolShape<WindowAxis> {
  const kernel = pairOf(op, "kernelSize", options.kernelSize, 1);
  const stride = pairOf(op, "stride", options.stride ?? kernel, 1);
  const padding = pairOf(op, "padding", options.padding ?? 0, 0);
  const dilation = pairOf(op, "dilation", options.dilation ?? 1, 1);
  const [batch, channels, ...sizes] = x.shape;
  const [h, w] = [0, 1].map((d): WindowAxis => {
    if (padding[d] > kernel[d] / 2) {
      throw new RangeError(
        `Cannot ${op} with kernelSize ${kernel[d]} and padding ${
          padding[d]
        }: expected a padding of at ` +
          "most half of the kernel",
      );
    }
    const rest = sizes[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
    const steps = rest / stride[d];
    let out = (options.ceilMode ? Math.ceil(steps) : Math.floor(steps)) + 1;
    // A window must not start in the padding behind the image.
    if (options.ceilMode && (out - 1) * stride[d] >= sizes[d] + padding[d]) out--;
    if (out < 1) {
      throw new ShapeError(
        `Cannot ${op} ${showShape(x.shape)}: a window of ${dilation[d] * (kernel[d] - 1) + 1} ` +
          `${d === 0 ? "rows" : "columns"} does not fit into ${sizes[d]} with padding ${
            padding[d]
          }`,
      );
    }
    return {
      kind: "window",
      size: sizes[d],
      out,
      kernel: kernel[d],
      stride: stride[d],
      padding: padding[d],
      dilation: dilation[d],
    };
  });
  return { batch, channels, h, w };
}

function strided(t: Tensor): StridedOperand {
  return { dtype: t.dtype, strides: t.strides, offset: residualOf(t) };
}

/** An axis that is left as it is. */
function untouched({ size }: AvgAxis): WindowAxis {
  return { kind: "window", size, out: size, kernel: 1, stride: 1, padding: 0, dilation: 1 };
}

/** Whether a thread can visit all places of a window, and all windows over a place. */
function isShort(h: AvgAxis, w: AvgAxis): boolean {
  return longestWindow(h) * longestWindow(w) <= LOOP_LIMIT &&
    windowsOver(h) * windowsOver(w) <= LOOP_LIMIT;
}

/**
 * Pools windows that are too large for one thread along the columns and then along the rows: the
 * maxima and means are the same, and so is the first of equal maxima.
 *
 * @throws {ShapeError} if even one axis is too long
 */
function inTwoSteps<Axis extends AvgAxis>(
  op: string,
  x: Tensor,
  { h, w }: PoolShape<Axis>,
  step: (x: Tensor, h: Axis | WindowAxis, w: Axis | WindowAxis) => Tensor,
): Tensor {
  if (!isShort(h, untouched(h)) || !isShort(w, untouched(w))) {
    throw new ShapeError(
      `Cannot ${op} ${
        showShape(x.shape)
      }: expected windows of at most ${LOOP_LIMIT} rows or columns`,
    );
  }
  const columns = step(x, untouched(h), w);
  return step(columns, h, untouched({ ...w, size: w.out }));
}

/** Launches a kernel into a new channels-last tensor of [batch, channels, rows, columns]. */
function launch(
  op: string,
  kernel: () => Kernel,
  inputs: readonly Tensor[],
  shape: readonly number[],
  more: readonly Tensor[] = [],
): Tensor {
  const out = imagesOf(op, inputs[0], shape, "f32");
  if (out.size > 0) {
    out.device.record({
      kernel: kernel(),
      inputs: inputs.map(operandOf),
      outputs: [out, ...more].map(denseOperand),
      scalars: [],
    });
  }
  return out;
}

function imagesOf(op: string, like: Tensor, shape: readonly number[], dtype: DType): Tensor {
  return empty(like.device, shape, dtype, op, channelsLast(shape[1], shape[2], shape[3]));
}

/**
 * Largest value of each window, `y[n, c, o, p] = max x[n, c, o·stride − padding + a·dilation, …]`
 * over the taps a.
 *
 * NaN counts as the largest value. The gradient goes to the element that won, to the first of
 * equals.
 *
 * @param x [N, C, H, W] or [C, H, W], f32 or f16, in any memory order
 * @param options the windows, in rows and columns
 * @returns [N, C, H', W'] (or [C, H', W']) of the dtype of x, channels-last in memory, with
 * `H' = ⌊(H + 2·padding − dilation·(kernelSize − 1) − 1) / stride⌋ + 1`
 * @throws {DTypeError} if x is no float
 * @throws {ShapeError} if x holds no images, or a window does not fit
 * @throws {RangeError} if an option has no meaning
 *
 * @example
 * ```ts
 * import { maxPool2d, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2, 5], [4, 3, 0], [7, 8, 9]]]], { device: referenceDevice() });
 * assertEquals(await maxPool2d(x, { kernelSize: 2, stride: 1 }).array(), [[[[4, 5], [8, 9]]]]);
 * ```
 */
export function maxPool2d(x: Tensor, options: MaxPool2dOptions): Tensor {
  return onImages(
    "max-pool",
    x,
    (images) => maximum(images, windowsOf("max-pool", images, options)),
  );
}

function maximum(x: Tensor, shape: PoolShape<WindowAxis>): Tensor {
  const { batch, channels, h, w } = shape;
  if (!isShort(h, w)) {
    return inTwoSteps("max-pool", x, shape, (t, h, w) => maximum(t, { ...shape, h, w }));
  }
  const full = [batch, channels, h.out, w.out];
  const tracked = x.requiresGrad && isGradEnabled();
  const places = tracked ? imagesOf("maxPool2d", x, full, "u32") : null;
  const kernel = () => maxPoolKernel(shape, strided(x), tracked);
  const out = launch("maxPool2d", kernel, [x], full, places ? [places] : []);
  if (places === null) return out;
  return record("maxPool2d", out, [x], (g) => [scatter(g, places, shape)], [places]);
}

/** Each value goes to the place that its window chose. */
function scatter(g: Tensor, places: Tensor, shape: PoolShape<WindowAxis>): Tensor {
  const { batch, channels, h, w } = shape;
  const kernel = () => maxScatterKernel(shape, strided(g));
  const full = [batch, channels, h.size, w.size];
  const out = launch("maxPool2d backward", kernel, [g, places], full);
  return record("maxPool2d backward", out, [g], (gg) => [gather(gg, places, shape)], [places]);
}

/** The value at the place that each window chose. */
function gather(x: Tensor, places: Tensor, shape: PoolShape<WindowAxis>): Tensor {
  const { batch, channels, h, w } = shape;
  const kernel = () => maxGatherKernel(shape, strided(x));
  const out = launch("maxPool2d gather", kernel, [x, places], [batch, channels, h.out, w.out]);
  return record("maxPool2d gather", out, [x], (g) => [scatter(g, places, shape)], [places]);
}

/**
 * Mean of each window, `y[n, c, o, p] = Σ x[n, c, o·stride − padding + a, …] / divisor` over the
 * taps a.
 *
 * The divisor is the number of taps, with those in the padding where `countIncludePad` says so, and
 * without those that `ceilMode` lets reach beyond the padding.
 *
 * @param x [N, C, H, W] or [C, H, W], f32 or f16, in any memory order
 * @param options the windows, in rows and columns
 * @returns [N, C, H', W'] (or [C, H', W']) of the dtype of x, channels-last in memory
 * @throws {DTypeError} if x is no float
 * @throws {ShapeError} if x holds no images, or a window does not fit
 * @throws {RangeError} if an option has no meaning
 *
 * @example
 * ```ts
 * import { avgPool2d, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2], [3, 6]]]], { device: referenceDevice() });
 * assertEquals(await avgPool2d(x, { kernelSize: 2 }).array(), [[[[3]]]]);
 * ```
 */
export function avgPool2d(x: Tensor, options: AvgPool2dOptions): Tensor {
  return onImages("average-pool", x, (images) => {
    const { kernelSize, stride, padding, ceilMode, countIncludePad = true } = options;
    const windows = windowsOf("average-pool", images, { kernelSize, stride, padding, ceilMode });
    return average(images, { ...windows, countPadding: countIncludePad });
  });
}

/**
 * Mean of windows that share the image out evenly: output o takes the rows from `⌊o·H/H'⌋` to
 * before `⌈(o+1)·H/H'⌉`.
 *
 * @param x [N, C, H, W] or [C, H, W], f32 or f16, in any memory order
 * @param outputSize H' and W', at least 1; null keeps the size of the image
 * @returns [N, C, H', W'] (or [C, H', W']) of the dtype of x, channels-last in memory
 * @throws {DTypeError} if x is no float
 * @throws {ShapeError} if x holds no images
 * @throws {RangeError} if the output size has no meaning
 */
export function adaptiveAvgPool2d(
  x: Tensor,
  outputSize: number | readonly [number | null, number | null],
): Tensor {
  return onImages("average-pool", x, (images) => {
    const [batch, channels, ...sizes] = images.shape;
    const wanted = typeof outputSize === "number" ? [outputSize, outputSize] : outputSize;
    const filled = [wanted?.[0] ?? sizes[0], wanted?.[1] ?? sizes[1]] as const;
    const out = pairOf("average-pool", "outputSize", filled, 1);
    const [h, w] = sizes.map((size, d): AvgAxis => ({ kind: "bins", size, out: out[d] }));
    return average(images, { batch, channels, h, w, countPadding: false });
  });
}

/**
 * Mean of each channel over the whole image.
 *
 * @param x [N, C, H, W] or [C, H, W], f32 or f16
 * @returns [N, C, 1, 1] (or [C, 1, 1]) of the dtype of x
 * @throws {DTypeError} if x is no float
 * @throws {ShapeError} if x holds no images
 */
export function globalAvgPool2d(x: Tensor): Tensor {
  checkImages("average-pool", x);
  return mean(x, [-2, -1], { keepdim: true }).to(x.dtype);
}

function average(x: Tensor, shape: AvgPoolShape): Tensor {
  const { batch, channels, h, w } = shape;
  if (!isShort(h, w)) {
    return inTwoSteps("average-pool", x, shape, (t, h, w) => average(t, { ...shape, h, w }));
  }
  const kernel = () => avgPoolKernel(shape, strided(x));
  const out = launch("avgPool2d", kernel, [x], [batch, channels, h.out, w.out]);
  return record("avgPool2d", out, [x], (g) => [spread(g, shape)]);
}

function spread(g: Tensor, shape: AvgPoolShape): Tensor {
  const { batch, channels, h, w } = shape;
  const kernel = () => avgSpreadKernel(shape, strided(g));
  const out = launch("avgPool2d backward", kernel, [g], [batch, channels, h.size, w.size]);
  return record("avgPool2d backward", out, [g], (gg) => [average(gg, shape)]);
}
