/** Convolutions of sequences: those of images with a height of one. */

import {
  conv2d,
  convTranspose2d,
  nextKey,
  ShapeError,
  showShape,
  type Tensor,
} from "../core/mod.ts";
import { checkInteger } from "./checks.ts";
import { fans, type InitOptions, kaimingUniform } from "./init.ts";
import { fanInBias } from "./linear.ts";
import { Module } from "./module.ts";

/** How a convolution of sequences is made. */
export interface Conv1dOptions extends InitOptions {
  /** Size of the kernel, at least 1. */
  readonly kernelSize: number;
  /** Step between output places, at least 1. @default {1} */
  readonly stride?: number;
  /** Zeros at both ends of the input, at least 0. @default {0} */
  readonly padding?: number;
  /** Distance between taps, at least 1. @default {1} */
  readonly dilation?: number;
  /** Blocks of channels that do not see each other. @default {1} */
  readonly groups?: number;
  /** Whether a bias is added. @default {true} */
  readonly bias?: boolean;
}

/** How a transposed convolution of sequences is made. */
export interface ConvTranspose1dOptions extends Conv1dOptions {
  /** Places added at the end of the output, below stride or dilation. @default {0} */
  readonly outputPadding?: number;
}

/** What both convolutions of sequences share. */
export abstract class SequenceConvolution extends Module {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** Size of the kernel. */
  readonly kernelSize: number;
  /** Step between output places. */
  readonly stride: number;
  /** Zeros at both ends of the input; of a transposed convolution, places cut from both ends. */
  readonly padding: number;
  /** Distance between taps. */
  readonly dilation: number;
  /** Blocks of channels that do not see each other. */
  readonly groups: number;

  /**
   * Checks the sizes.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @param options kernelSize, stride, padding, dilation, groups
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(inChannels: number, outChannels: number, options: Conv1dOptions) {
    super();
    const owner = new.target.name;
    const { kernelSize, stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
    this.inChannels = checkInteger(owner, "inChannels", inChannels, 0);
    this.outChannels = checkInteger(owner, "outChannels", outChannels, 0);
    this.kernelSize = checkInteger(owner, "kernelSize", kernelSize, 1);
    this.stride = checkInteger(owner, "stride", stride, 1);
    this.padding = checkInteger(owner, "padding", padding, 0);
    this.dilation = checkInteger(owner, "dilation", dilation, 1);
    this.groups = checkInteger(owner, "groups", groups, 1);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new RangeError(
        `Cannot make ${owner} of ${inChannels} to ${outChannels} channels in ${groups} groups: ` +
          "expected both numbers to be divisible by the groups",
      );
    }
  }

  /**
   * Runs a convolution of images on sequences.
   *
   * @param x [N, inChannels, L]
   * @param convolve works on [N, inChannels, 1, L]
   * @returns the result without its axis of height
   * @throws {ShapeError} if x holds no such sequences
   */
  protected asImages(x: Tensor, convolve: (images: Tensor) => Tensor): Tensor {
    if (x.ndim !== 3 || x.shape[1] !== this.inChannels) {
      throw new ShapeError(
        `Cannot apply ${this.constructor.name} to ${
          showShape(x.shape)
        }: expected sequences [N, ${this.inChannels}, L]`,
      );
    }
    return convolve(x.unsqueeze(2)).squeeze(2);
  }
}

/**
 * Convolution (cross-correlation) of sequences.
 *
 * Parameters: `weight` [outChannels, inChannels / groups, k] and `bias` [outChannels], uniform in
 * ±1/√fanIn with fanIn = inChannels / groups · k, as torch.nn.Conv1d. Sums accumulate in f32.
 *
 * @example
 * ```ts
 * import { Conv1d } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new Conv1d(3, 8, { kernelSize: 3, stride: 2, padding: 1, device });
 * assertEquals(layer.forward(zeros([4, 3, 32], { device })).shape, [4, 8, 16]);
 * ```
 */
export class Conv1d extends SequenceConvolution {
  /** [outChannels, inChannels / groups, k] */
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
  constructor(inChannels: number, outChannels: number, options: Conv1dOptions) {
    super(inChannels, outChannels, options);
    const shape = [outChannels, inChannels / this.groups, this.kernelSize];
    const { weight, bias } = drawParameters(shape, outChannels, options);
    this.weight = this.registerParameter("weight", weight);
    this.bias = bias && this.registerParameter("bias", bias);
  }

  /**
   * Convolves sequences.
   *
   * @param x [N, inChannels, L], f32 or f16
   * @returns [N, outChannels, ⌊(L + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1]
   * @throws {ShapeError} if the channels differ, or the kernel is longer than the padded sequence
   */
  forward(x: Tensor): Tensor {
    const { stride, padding, dilation, groups } = this;
    const options = {
      stride: [1, stride],
      padding: [0, padding],
      dilation: [1, dilation],
      groups,
    } as const;
    return this.asImages(
      x,
      (images) => conv2d(images, this.weight.unsqueeze(2), this.bias, options),
    );
  }
}

/**
 * Transposed convolution of sequences: the gradient of a convolution by its input, used as a layer.
 *
 * Parameters: `weight` [inChannels, outChannels / groups, k] and `bias` [outChannels], uniform in
 * ±1/√fanIn with fanIn = outChannels / groups · k, as torch.nn.ConvTranspose1d.
 *
 * @example Twice the length
 * ```ts
 * import { ConvTranspose1d } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new ConvTranspose1d(8, 3, { kernelSize: 2, stride: 2, device });
 * assertEquals(layer.forward(zeros([4, 8, 16], { device })).shape, [4, 3, 32]);
 * ```
 */
export class ConvTranspose1d extends SequenceConvolution {
  /** Places added at the end of the output. */
  readonly outputPadding: number;
  /** [inChannels, outChannels / groups, k] */
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
  constructor(inChannels: number, outChannels: number, options: ConvTranspose1dOptions) {
    super(inChannels, outChannels, options);
    const { outputPadding = 0 } = options;
    this.outputPadding = checkInteger("ConvTranspose1d", "outputPadding", outputPadding, 0);
    const shape = [inChannels, outChannels / this.groups, this.kernelSize];
    const { weight, bias } = drawParameters(shape, outChannels, options);
    this.weight = this.registerParameter("weight", weight);
    this.bias = bias && this.registerParameter("bias", bias);
  }

  /**
   * Spreads sequences.
   *
   * @param x [N, inChannels, L], f32 or f16
   * @returns [N, outChannels, (L − 1)·stride − 2·padding + dilation·(k − 1) + outputPadding + 1]
   * @throws {ShapeError} if the channels differ, or outputPadding is not below stride or dilation
   */
  forward(x: Tensor): Tensor {
    const { stride, padding, dilation, outputPadding, groups } = this;
    const options = {
      stride: [1, stride],
      padding: [0, padding],
      dilation: [1, dilation],
      outputPadding: [0, outputPadding],
      groups,
    } as const;
    return this.asImages(
      x,
      (images) => convTranspose2d(images, this.weight.unsqueeze(2), this.bias, options),
    );
  }
}

interface Drawn {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

function drawParameters(shape: readonly number[], size: number, options: Conv1dOptions): Drawn {
  const { bias = true, key = nextKey(), device } = options;
  const start = { a: Math.sqrt(5), key: key.fold("weight"), device };
  return {
    weight: kaimingUniform(shape, start),
    bias: bias ? fanInBias(size, fans(shape).fanIn, { key, device }) : null,
  };
}
