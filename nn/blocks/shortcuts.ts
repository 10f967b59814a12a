/** Paths around a block: the identity where it fits, else something that adapts the sizes. */

import type { Pair } from "../../core/mod.ts";
import type { BlockFactory } from "../factories.ts";
import { AvgPool2d } from "../pool.ts";
import { SpaceToDepth } from "../pixel_shuffle.ts";
import { Sequential } from "../sequential.ts";
import { autopad } from "../sizes.ts";
import type { TensorModule } from "../module.ts";
import { Identity } from "../shape.ts";
import { type BlockOptions, identityOr, keepsSizes, sizesOf } from "./options.ts";
import { Conv1x1NormAct } from "./variants.ts";

/** How a shortcut is made. */
export interface ShortcutOptions extends BlockOptions {
  /** Makes what adapts the channels. @default {Conv1x1NormAct without activation} */
  readonly block?: BlockFactory;
}

/** How a shortcut with pooling is made. */
export interface PooledShortcutOptions extends ShortcutOptions {
  /** Size of the pooling window. @default {3} */
  readonly kernelSize?: Pair;
}

function projection({ block, device }: ShortcutOptions): BlockFactory {
  return block ?? ((sizes) => new Conv1x1NormAct({ ...sizes, activation: null, device }));
}

/**
 * The identity where sizes stay, else a strided convolution of 1 × 1 with normalisation, named
 * block. He et al., 2015, option B.
 *
 * @example
 * ```ts
 * import { ResNetShortcut } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * assertEquals(new ResNetShortcut({ inChannels: 64, device }).parameterCount, 0);
 * const path = new ResNetShortcut({ inChannels: 64, outChannels: 128, stride: 2, device });
 * assertEquals(path.parameterCount, 64 * 128 + 256);
 * ```
 */
export class ResNetShortcut extends Sequential {
  /**
   * Makes the path.
   *
   * @param options sizes, block
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ShortcutOptions) {
    super({ block: identityOr(sizesOf(options), projection(options)) });
  }
}

/**
 * The identity where sizes stay, else average pooling with the stride and a convolution of 1 × 1,
 * named pool and block: no pixel is skipped. He et al., "Bag of tricks", 2018, ResNet-D, with a
 * window of 3 × 3.
 *
 * @example
 * ```ts
 * import { ResNetDShortcut } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const path = new ResNetDShortcut({ inChannels: 4, outChannels: 8, stride: 2, device });
 * assertEquals(path.forward(zeros([2, 4, 9, 9], { device })).shape, [2, 8, 5, 5]);
 * ```
 */
export class ResNetDShortcut extends Sequential {
  /**
   * Makes the path.
   *
   * @param options sizes, kernelSize, block
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: PooledShortcutOptions) {
    const sizes = sizesOf(options);
    const { kernelSize = 3 } = options;
    super(
      keepsSizes(sizes) ? { block: new Identity() } : {
        pool: pooling(kernelSize, sizes.stride),
        block: projection(options)({ ...sizes, stride: 1 }),
      },
    );
  }
}

/**
 * The identity where sizes stay, else all pixels of a patch as channels and a convolution of 1 × 1,
 * named s2d and block: nothing is lost.
 *
 * @example
 * ```ts
 * import { ResNetS2DShortcut } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const path = new ResNetS2DShortcut({ inChannels: 4, outChannels: 8, stride: 2, device });
 * assertEquals(path.parameterCount, 4 * 4 * 8 + 16);
 * ```
 */
export class ResNetS2DShortcut extends Sequential {
  /**
   * Makes the path.
   *
   * @param options sizes, block
   * @throws {RangeError} if a size is out of its range
   */
  constructor(options: ShortcutOptions) {
    const sizes = sizesOf(options);
    super(
      keepsSizes(sizes) ? { block: new Identity() } : {
        ...spaceToDepthParts(
          sizes.inChannels,
          sizes.stride,
          sizes.outChannels,
          projection(options),
        ),
      },
    );
  }
}

/** How a shortcut of pooling alone is made. */
export interface PoolShortcutOptions extends BlockOptions {
  /** Size of the pooling window. @default {3} */
  readonly kernelSize?: Pair;
}

/**
 * Average pooling alone, named pool; channels stay. The path of Res2Net around its convolutions.
 *
 * @example
 * ```ts
 * import { PoolShortcut } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const path = new PoolShortcut({ inChannels: 4, stride: 2 });
 * const images = zeros([2, 4, 8, 8], { device: referenceDevice() });
 * assertEquals(path.forward(images).shape, [2, 4, 4, 4]);
 * ```
 */
export class PoolShortcut extends Sequential {
  /**
   * Makes the path.
   *
   * @param options sizes, kernelSize
   * @throws {RangeError} if the channels shall change, or a size is out of its range
   */
  constructor(options: PoolShortcutOptions) {
    const { inChannels, outChannels, stride } = sizesOf(options);
    if (inChannels !== outChannels) {
      throw new RangeError(
        `Cannot make PoolShortcut from ${inChannels} to ${outChannels} channels: expected as many`,
      );
    }
    super({ pool: pooling(options.kernelSize ?? 3, stride) });
  }
}

function pooling(kernelSize: Pair, stride: number): AvgPool2d {
  return new AvgPool2d({ kernelSize, stride, padding: autopad(kernelSize) });
}

/** Patches as channels, and what follows; without the patches where the stride is 1. */
export function spaceToDepthParts(
  inChannels: number,
  stride: number,
  outChannels: number,
  block: BlockFactory,
): Record<string, TensorModule> {
  const after = block({ inChannels: inChannels * stride ** 2, outChannels, stride: 1 });
  return stride === 1 ? { block: after } : { s2d: new SpaceToDepth(stride), block: after };
}
