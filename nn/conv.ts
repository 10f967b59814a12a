/** Convolutions of images. */

import { conv2d, convTranspose2d, nextKey, type Pair, type Tensor } from "../core/mod.ts";
import { pairOf } from "../core/tensor/conv2d.ts";
import { checkInteger } from "./checks.ts";
import { fans, type InitOptions, kaimingUniform } from "./init.ts";
import { fanInBias } from "./linear.ts";
import { Module } from "./module.ts";

/** How a convolution is made. */
export interface Conv2dOptions extends InitOptions {
  /** Size of the kernel, or [height, width]. */
  readonly kernelSize: Pair;
  /** Step between output pixels, at least 1. @default {1} */
  readonly stride?: Pair;
  /** Zeros around the input, at least 0. @default {0} */
  readonly padding?: Pair;
  /** Distance between taps, at least 1. @default {1} */
  readonly dilation?: Pair;
  /** Blocks of channels that do not see each other. @default {1} */
  readonly groups?: number;
  /** Whether a bias is added. @default {true} */
  readonly bias?: boolean;
}

/** How a transposed convolution is made. */
export interface ConvTranspose2dOptions extends Conv2dOptions {
  /** Rows and columns added at the end of the output, below stride or dilation. @default {0} */
  readonly outputPadding?: Pair;
}

interface Geometry {
  readonly kernelSize: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
}

function geometryOf(
  layer: string,
  channels: readonly [number, number],
  options: Conv2dOptions,
): Geometry {
  const { kernelSize, stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  checkInteger(layer, "inChannels", channels[0], 0);
  checkInteger(layer, "outChannels", channels[1], 0);
  checkInteger(layer, "groups", groups, 1);
  if (channels.some((n) => n % groups !== 0)) {
    throw new RangeError(
      `Cannot make ${layer} of ${channels[0]} to ${
        channels[1]
      } channels in ${groups} groups: expected ` +
        "both numbers to be divisible by the groups",
    );
  }
  const op = `make ${layer}`;
  return {
    kernelSize: pairOf(op, "kernelSize", kernelSize, 1),
    stride: pairOf(op, "stride", stride, 1),
    padding: pairOf(op, "padding", padding, 0),
    dilation: pairOf(op, "dilation", dilation, 1),
    groups,
  };
}

/**
 * Convolution (cross-correlation) of images.
 *
 * Parameters: `weight` [outChannels, inChannels / groups, kh, kw] and `bias` [outChannels], uniform
 * in ±1/√fanIn with fanIn = inChannels / groups · kh · kw, as torch.nn.Conv2d. Sums accumulate in
 * f32.
 *
 * @example
 * ```ts
 * import { Conv2d } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new Conv2d(3, 8, { kernelSize: 3, stride: 2, padding: 1, device });
 * assertEquals(layer.forward(zeros([4, 3, 32, 32], { device })).shape, [4, 8, 16, 16]);
 * ```
 */
export class Conv2d extends Module {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** [height, width] */
  readonly kernelSize: readonly [number, number];
  /** Step between output pixels. */
  readonly stride: readonly [number, number];
  /** Zeros around the input. */
  readonly padding: readonly [number, number];
  /** Distance between taps. */
  readonly dilation: readonly [number, number];
  /** Blocks of channels that do not see each other. */
  readonly groups: number;
  /** [outChannels, inChannels / groups, kh, kw] */
  readonly weight: Tensor;
  /** [outChannels], or null */
  readonly bias: Tensor | null;

  /**
   * Draws weight and bias from the key.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @param options kernelSize, stride, padding, dilation, groups, bias, key, device
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(inChannels: number, outChannels: number, options: Conv2dOptions) {
    super();
    const geometry = geometryOf("Conv2d", [inChannels, outChannels], options);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = geometry.kernelSize;
    this.stride = geometry.stride;
    this.padding = geometry.padding;
    this.dilation = geometry.dilation;
    this.groups = geometry.groups;
    const shape = [outChannels, inChannels / this.groups, ...this.kernelSize];
    const parameters = drawParameters(shape, outChannels, options);
    this.weight = this.registerParameter("weight", parameters.weight);
    this.bias = parameters.bias && this.registerParameter("bias", parameters.bias);
  }

  /**
   * Convolves images.
   *
   * @param x [N, inChannels, H, W], f32 or f16
   * @returns [N, outChannels, ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1, …]
   * @throws {ShapeError} if the channels differ, or the kernel is larger than the padded image
   */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this);
  }
}

/**
 * Transposed convolution: the gradient of a convolution by its input, used as a layer.
 *
 * Parameters: `weight` [inChannels, outChannels / groups, kh, kw] and `bias` [outChannels], uniform
 * in ±1/√fanIn with fanIn = outChannels / groups · kh · kw, as torch.nn.ConvTranspose2d.
 *
 * @example Twice the size
 * ```ts
 * import { ConvTranspose2d } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new ConvTranspose2d(8, 3, { kernelSize: 2, stride: 2, device });
 * assertEquals(layer.forward(zeros([4, 8, 16, 16], { device })).shape, [4, 3, 32, 32]);
 * ```
 */
export class ConvTranspose2d extends Module {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** [height, width] */
  readonly kernelSize: readonly [number, number];
  /** Step between the pixels that input pixels are spread to. */
  readonly stride: readonly [number, number];
  /** Rows and columns cut from all sides of the output. */
  readonly padding: readonly [number, number];
  /** Rows and columns added at the end of the output. */
  readonly outputPadding: readonly [number, number];
  /** Distance between taps. */
  readonly dilation: readonly [number, number];
  /** Blocks of channels that do not see each other. */
  readonly groups: number;
  /** [inChannels, outChannels / groups, kh, kw] */
  readonly weight: Tensor;
  /** [outChannels], or null */
  readonly bias: Tensor | null;

  /**
   * Draws weight and bias from the key.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @param options kernelSize, stride, padding, outputPadding, dilation, groups, bias, key, device
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(inChannels: number, outChannels: number, options: ConvTranspose2dOptions) {
    super();
    const layer = "ConvTranspose2d";
    const geometry = geometryOf(layer, [inChannels, outChannels], options);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = geometry.kernelSize;
    this.stride = geometry.stride;
    this.padding = geometry.padding;
    this.outputPadding = pairOf(`make ${layer}`, "outputPadding", options.outputPadding ?? 0, 0);
    this.dilation = geometry.dilation;
    this.groups = geometry.groups;
    const shape = [inChannels, outChannels / this.groups, ...this.kernelSize];
    const parameters = drawParameters(shape, outChannels, options);
    this.weight = this.registerParameter("weight", parameters.weight);
    this.bias = parameters.bias && this.registerParameter("bias", parameters.bias);
  }

  /**
   * Spreads images.
   *
   * @param x [N, inChannels, H, W], f32 or f16
   * @returns [N, outChannels, H', W'] with
   * `H' = (H − 1)·stride − 2·padding + dilation·(kh − 1) + outputPadding + 1`
   * @throws {ShapeError} if the channels differ, or outputPadding is not below stride or dilation
   */
  forward(x: Tensor): Tensor {
    return convTranspose2d(x, this.weight, this.bias, this);
  }
}

interface Drawn {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

function drawParameters(shape: readonly number[], size: number, options: Conv2dOptions): Drawn {
  const { bias = true, key = nextKey(), device } = options;
  const start = { a: Math.sqrt(5), key: key.fold("weight"), device };
  return {
    weight: kaimingUniform(shape, start),
    bias: bias ? fanInBias(size, fans(shape).fanIn, { key, device }) : null,
  };
}
