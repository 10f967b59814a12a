/** Blocks that enlarge images: transposed convolutions, and convolutions behind an enlargement. */

import type { Device, InterpolateMode, Pair } from "../../core/mod.ts";
import { pairOf } from "../../core/tensor/conv2d.ts";
import { ReLU } from "../activation.ts";
import { BatchNorm2d } from "../batch_norm.ts";
import { ConvTranspose2d } from "../conv.ts";
import { Dropout } from "../dropout.ts";
import type { ActivationFactory, NormFactory } from "../factories.ts";
import type { TensorModule } from "../module.ts";
import { Sequential } from "../sequential.ts";
import { Upsample } from "../upsample.ts";
import { ConvNormAct, type ConvNormActOptions } from "./conv.ts";

/** How a transposed convolution with normalisation and activation is made. */
export interface ConvTransposeNormActOptions {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. @default {inChannels} */
  readonly outChannels?: number;
  /** Size of the kernel. @default {3} */
  readonly kernelSize?: Pair;
  /** By how much height and width grow. @default {2} */
  readonly stride?: Pair;
  /** Blocks of channels that do not see each other. @default {1} */
  readonly groups?: number;
  /** Distance between taps. @default {1} */
  readonly dilation?: Pair;
  /** Makes the normalisation, or null for none. @default {BatchNorm2d} */
  readonly norm?: NormFactory | null;
  /** Makes the activation, or null for none. @default {ReLU} */
  readonly activation?: ActivationFactory | null;
  /** Probability of dropping an element at the end; 0 leaves the layer out. @default {0} */
  readonly dropout?: number;
  /** Whether the convolution adds a bias. @default {where no normalisation follows it} */
  readonly bias?: boolean;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

interface Frame {
  readonly padding: [number, number];
  readonly outputPadding: [number, number];
}

/** What makes the output exactly `stride` times the input: `2·padding − outputPadding = reach − stride`. */
function frameOf(kernelSize: Pair, stride: Pair, dilation: Pair): Frame {
  const op = "make ConvTransposeNormAct";
  const kernel = pairOf(op, "kernelSize", kernelSize, 1);
  const step = pairOf(op, "stride", stride, 1);
  const gap = pairOf(op, "dilation", dilation, 1);
  const frame: Frame = { padding: [0, 0], outputPadding: [0, 0] };
  for (const axis of [0, 1]) {
    const excess = gap[axis] * (kernel[axis] - 1) + 1 - step[axis];
    frame.padding[axis] = Math.max(0, Math.ceil(excess / 2));
    frame.outputPadding[axis] = 2 * frame.padding[axis] - excess;
    if (frame.outputPadding[axis] >= Math.max(step[axis], gap[axis])) {
      throw new RangeError(
        `Cannot ${op} with kernelSize ${JSON.stringify(kernelSize)}, stride ${
          JSON.stringify(stride)
        } and dilation ${JSON.stringify(dilation)}: expected sizes whose output can be exactly ` +
          "stride times the input, such as an odd kernel where the stride is 1",
      );
    }
  }
  return frame;
}

/**
 * Transposed convolution, normalisation, activation, dropout; the parts are named conv, norm, act,
 * dropout. Height and width become exactly `stride` times as large.
 *
 * A kernel that is no multiple of the stride covers some pixels more often than others (Odena et al.,
 * "Deconvolution and checkerboard artifacts", 2016): take 4 for a stride of 2, or an
 * `UpsampleConvNormAct`, where that shows.
 *
 * @example
 * ```ts
 * import { ConvTransposeNormAct } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new ConvTransposeNormAct({ inChannels: 8, outChannels: 4, device });
 * assertEquals(block.forward(zeros([2, 8, 7, 5], { device })).shape, [2, 4, 14, 10]);
 * assertEquals(block.parameterCount, 8 * 4 * 9 + 4 + 4);
 * ```
 */
export class ConvTransposeNormAct extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, the groups do not divide the channels, or
   * no padding makes the output `stride` times the input
   */
  constructor(options: ConvTransposeNormActOptions) {
    const { inChannels, outChannels = inChannels, kernelSize = 3, stride = 2, device } = options;
    const { dilation = 1, groups, dropout = 0 } = options;
    const {
      norm = (channels: number) => new BatchNorm2d(channels, { device }),
      activation = () => new ReLU(),
    } = options;
    const parts: Record<string, TensorModule> = {
      conv: new ConvTranspose2d(inChannels, outChannels, {
        ...frameOf(kernelSize, stride, dilation),
        kernelSize,
        stride,
        dilation,
        groups,
        bias: options.bias ?? norm === null,
        device,
      }),
    };
    if (norm !== null) parts.norm = norm(outChannels);
    if (activation !== null) parts.act = activation();
    if (dropout > 0) parts.dropout = new Dropout(dropout);
    super(parts);
  }
}

/** How an enlargement with a convolution behind it is made. */
export interface UpsampleConvNormActOptions extends Omit<ConvNormActOptions, "stride"> {
  /** By how much height and width grow. @default {2} */
  readonly scaleFactor?: number;
  /** How pixels of the larger image are found. @default {"nearest"} */
  readonly mode?: InterpolateMode;
}

/**
 * Enlargement, convolution, normalisation, activation, dropout; the parts are named up, conv, norm,
 * act, dropout. Every pixel is covered as often as every other.
 *
 * @example
 * ```ts
 * import { UpsampleConvNormAct } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new UpsampleConvNormAct({ inChannels: 8, outChannels: 4, device });
 * assertEquals(block.forward(zeros([2, 8, 7, 5], { device })).shape, [2, 4, 14, 10]);
 * assertEquals(Object.keys(block.stateDict())[0], "conv.weight");
 * ```
 */
export class UpsampleConvNormAct extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor({ scaleFactor = 2, mode, ...options }: UpsampleConvNormActOptions) {
    const block = new ConvNormAct(options);
    const names = block.namedChildren().map(([name]) => name);
    const parts = [...block].map((part, i): [string, TensorModule] => [names[i], part]);
    super({ up: new Upsample({ scaleFactor, mode }), ...Object.fromEntries(parts) });
  }
}
