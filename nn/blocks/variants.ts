/** Convolution blocks of usual sizes: 1 × 1, 3 × 3, depthwise, separable. */

import type { Pair } from "../../core/mod.ts";
import { ReLU } from "../activation.ts";
import type { ActivationFactory } from "../factories.ts";
import { Sequential } from "../sequential.ts";
import { ConvActNorm, ConvNormAct, type ConvNormActOptions, NormActConv } from "./conv.ts";

/** How a convolution block of a fixed kernel is made. */
export type FixedConvOptions = Omit<ConvNormActOptions, "kernelSize">;

/** How a depthwise convolution block is made; the groups are the channels of the input. */
export type DepthwiseOptions = Omit<ConvNormActOptions, "groups">;

const BARE = { norm: null, activation: null, bias: false } as const;

/**
 * A convolution of 1 × 1 alone, without a bias unless asked for.
 *
 * @example
 * ```ts
 * import { Conv1x1 } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const conv = new Conv1x1({ inChannels: 64, outChannels: 128, device: referenceDevice() });
 * assertEquals(conv.parameterCount, 64 * 128);
 * ```
 */
export class Conv1x1 extends ConvNormAct {
  /**
   * Makes the convolution.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FixedConvOptions) {
    super({ ...BARE, ...options, kernelSize: 1 });
  }
}

/** A convolution of 3 × 3 alone, without a bias unless asked for. */
export class Conv3x3 extends ConvNormAct {
  /**
   * Makes the convolution.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FixedConvOptions) {
    super({ ...BARE, ...options, kernelSize: 3 });
  }
}

/** Convolution of 1 × 1, normalisation, activation. */
export class Conv1x1NormAct extends ConvNormAct {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FixedConvOptions) {
    super({ ...options, kernelSize: 1 });
  }
}

/** Convolution of 3 × 3, normalisation, activation. */
export class Conv3x3NormAct extends ConvNormAct {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FixedConvOptions) {
    super({ ...options, kernelSize: 3 });
  }
}

/** Convolution of 1 × 1, activation, normalisation. */
export class Conv1x1ActNorm extends ConvActNorm {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FixedConvOptions) {
    super({ ...options, kernelSize: 1 });
  }
}

/** Normalisation, activation, convolution of 3 × 3. */
export class NormActConv3x3 extends NormActConv {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: FixedConvOptions) {
    super({ ...options, kernelSize: 3 });
  }
}

/** A depthwise convolution alone, without a bias unless asked for. */
export class DWConv extends ConvNormAct {
  /**
   * Makes the convolution.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or outChannels is no multiple of inChannels
   */
  constructor(options: DepthwiseOptions) {
    super({ ...BARE, ...options, groups: options.inChannels });
  }
}

/**
 * Depthwise convolution, normalisation, activation.
 *
 * @example
 * ```ts
 * import { DWConvNormAct } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const block = new DWConvNormAct({ inChannels: 16, device: referenceDevice() });
 * assertEquals(block.parameterCount, 16 * 9 + 16 + 16);
 * ```
 */
export class DWConvNormAct extends ConvNormAct {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or outChannels is no multiple of inChannels
   */
  constructor(options: DepthwiseOptions) {
    super({ ...options, groups: options.inChannels });
  }
}

/** Depthwise convolution, activation, normalisation. */
export class DWConvActNorm extends ConvActNorm {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range, or outChannels is no multiple of inChannels
   */
  constructor(options: DepthwiseOptions) {
    super({ ...options, groups: options.inChannels });
  }
}

/** How a depthwise separable convolution is made. */
export interface DWSepConvNormActOptions
  extends Omit<ConvNormActOptions, "groups" | "activation" | "bias"> {
  /** Makes the activation behind the depthwise convolution, or null for none. @default {ReLU} */
  readonly dwActivation?: ActivationFactory | null;
  /** Makes the activation behind the pointwise convolution, or null for none. @default {null} */
  readonly pwActivation?: ActivationFactory | null;
  /** Size of the depthwise kernel. @default {3} */
  readonly kernelSize?: Pair;
}

/**
 * A depthwise convolution and one of 1 × 1, each with its normalisation and activation; the parts
 * are named depthwise and pointwise. Howard et al., "MobileNets", 2017, without the second
 * activation unless asked for.
 *
 * @example
 * ```ts
 * import { DWSepConvNormAct } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const block = new DWSepConvNormAct({ inChannels: 16, outChannels: 32, device });
 * assertEquals(block.parameterCount, 16 * 9 + 32 + 16 * 32 + 64);
 * ```
 */
export class DWSepConvNormAct extends Sequential {
  /**
   * Makes the parts.
   *
   * @param options inChannels, and what is not as usual
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: DWSepConvNormActOptions) {
    const { inChannels, outChannels, norm, dropout, device, ...window } = options;
    const { dwActivation = () => new ReLU(), pwActivation = null, ...depthwise } = window;
    super({
      depthwise: new DWConvNormAct({
        ...depthwise,
        inChannels,
        norm,
        activation: dwActivation,
        device,
      }),
      pointwise: new Conv1x1NormAct({
        inChannels,
        outChannels,
        norm,
        activation: pwActivation,
        dropout,
        device,
      }),
    });
  }
}
