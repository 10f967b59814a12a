/** Convolution, normalisation and activation in the orders that networks use. */

import type { Device, Pair } from "../../core/mod.ts";
import { BatchNorm2d } from "../batch_norm.ts";
import { ReLU } from "../activation.ts";
import { Conv2d } from "../conv.ts";
import { Dropout } from "../dropout.ts";
import type { ActivationFactory, NormFactory } from "../factories.ts";
import type { TensorModule } from "../module.ts";
import { Sequential } from "../sequential.ts";
import { autopad } from "../sizes.ts";

/** How a convolution with normalisation and activation is made. */
export interface ConvNormActOptions {
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. @default {inChannels} */
  readonly outChannels?: number;
  /** Size of the kernel. @default {3} */
  readonly kernelSize?: Pair;
  /** Step between output pixels. @default {1} */
  readonly stride?: Pair;
  /**
   * Zeros around the image; null for as many as keep the size at stride 1. @default {null}
   */
  readonly padding?: Pair | null;
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

/** The parts of a block by name, without those that were not asked for. */
function partsOf(
  order: readonly ("conv" | "norm" | "act")[],
  options: ConvNormActOptions,
): Record<string, TensorModule> {
  const { inChannels, outChannels = inChannels, kernelSize = 3, dilation = 1, device } = options;
  const {
    norm = (channels: number) => new BatchNorm2d(channels, { device }),
    activation = () => new ReLU(),
    dropout = 0,
  } = options;
  const normFollows = norm !== null && order.indexOf("norm") === order.indexOf("conv") + 1;
  const makers: Record<string, () => TensorModule | null> = {
    conv: () =>
      new Conv2d(inChannels, outChannels, {
        kernelSize,
        stride: options.stride,
        padding: options.padding ?? autopad(kernelSize, { dilation }),
        dilation,
        groups: options.groups,
        bias: options.bias ?? !normFollows,
        device,
      }),
    norm: () => norm && norm(order[0] === "norm" ? inChannels : outChannels),
    act: () => activation && activation(),
    dropout: () => dropout > 0 ? new Dropout(dropout) : null,
  };
  const made = [...order, "dropout"].map((name) => [name, makers[name]()] as const);
  return Object.fromEntries(made.filter(([, part]) => part !== null)) as Record<
    string,
    TensorModule
  >;
}

/**
 * Convolution, normalisation, activation, dropout; the parts are named conv, norm, act, dropout.
 *
 * @example
 * ```ts
 * import { ConvNormAct } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new ConvNormAct({ inChannels: 3, outChannels: 8, stride: 2, device });
 * assertEquals(block.forward(zeros([2, 3, 9, 9], { device })).shape, [2, 8, 5, 5]);
 * assertEquals(block.namedParameters().map(([name]) => name), [
 *   "conv.weight",
 *   "norm.weight",
 *   "norm.bias",
 * ]);
 * ```
 */
export class ConvNormAct extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(options: ConvNormActOptions) {
    super(partsOf(["conv", "norm", "act"], options));
  }
}

/**
 * Convolution, activation, normalisation, dropout; the parts are named conv, act, norm, dropout.
 *
 * @example
 * ```ts
 * import { ConvActNorm } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const block = new ConvActNorm({ inChannels: 3, outChannels: 8, device: referenceDevice() });
 * assertEquals(block.parameterCount, 3 * 8 * 9 + 8 + 8 + 8);
 * ```
 */
export class ConvActNorm extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(options: ConvNormActOptions) {
    super(partsOf(["conv", "act", "norm"], options));
  }
}

/**
 * Normalisation, activation, convolution, dropout; the parts are named norm, act, conv, dropout.
 *
 * The convolution has no bias unless asked for, since a normalisation usually follows it in the
 * next block.
 *
 * @example
 * ```ts
 * import { NormActConv } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const block = new NormActConv({ inChannels: 3, outChannels: 8, device: referenceDevice() });
 * assertEquals(block.parameterCount, 3 + 3 + 3 * 8 * 9);
 * ```
 */
export class NormActConv extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or the groups do not divide the channels
   */
  constructor(options: ConvNormActOptions) {
    super(partsOf(["norm", "act", "conv"], { bias: false, ...options }));
  }
}
