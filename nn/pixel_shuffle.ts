/** Layers that exchange the space of images for channels. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { checkInteger } from "./checks.ts";
import { Module } from "./module.ts";

/**
 * Moves channels to space: each block of r² channels becomes r × r pixels,
 * `y[n, c, h·r + i, w·r + j] = x[n, c·r² + i·r + j, h, w]`. As torch.nn.PixelShuffle; Shi et al.,
 * "Real-time single image and video super-resolution", 2016.
 *
 * @example
 * ```ts
 * import { PixelShuffle } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1]], [[2]], [[3]], [[4]]]], { device: referenceDevice() });
 * assertEquals(await new PixelShuffle(2).forward(x).array(), [[[[1, 2], [3, 4]]]]);
 * ```
 */
export class PixelShuffle extends Module {
  /** r: by how much height and width grow. */
  readonly upscaleFactor: number;

  /**
   * Takes the factor.
   *
   * @param upscaleFactor r, at least 1
   * @throws {RangeError} if it is no such integer
   */
  constructor(upscaleFactor: number) {
    super();
    this.upscaleFactor = checkInteger("PixelShuffle", "upscaleFactor", upscaleFactor, 1);
  }

  /**
   * Moves channels to space.
   *
   * @param x [N, C·r², H, W], any dtype
   * @returns [N, C, H·r, W·r]
   * @throws {ShapeError} if x holds no images, or the channels are not divisible by r²
   */
  forward(x: Tensor): Tensor {
    const r = this.upscaleFactor;
    if (x.ndim !== 4 || x.shape[1] % (r * r) !== 0) {
      throw new ShapeError(
        `Cannot apply PixelShuffle to ${
          showShape(x.shape)
        }: expected images [N, C, H, W] with channels divisible by ${r * r}`,
      );
    }
    const [n, c, h, w] = x.shape;
    // The copy is made channels last, as convolutions give and want it.
    const pixels = x.reshape([n, c / (r * r), r, r, h, w]).permute([0, 4, 2, 5, 3, 1]);
    return pixels.reshape([n, h * r, w * r, c / (r * r)]).permute([0, 3, 1, 2]);
  }
}

/**
 * Moves space to channels: each r × r pixels become a block of r² channels,
 * `y[n, c·r² + i·r + j, h, w] = x[n, c, h·r + i, w·r + j]`; the inverse of `PixelShuffle`. As
 * torch.nn.PixelUnshuffle.
 *
 * @example
 * ```ts
 * import { PixelUnshuffle } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2], [3, 4]]]], { device: referenceDevice() });
 * assertEquals(await new PixelUnshuffle(2).forward(x).array(), [[[[1]], [[2]], [[3]], [[4]]]]);
 * ```
 */
export class PixelUnshuffle extends Module {
  /** r: by how much height and width shrink. */
  readonly downscaleFactor: number;

  /**
   * Takes the factor.
   *
   * @param downscaleFactor r, at least 1
   * @throws {RangeError} if it is no such integer
   */
  constructor(downscaleFactor: number) {
    super();
    this.downscaleFactor = checkInteger(new.target.name, "downscaleFactor", downscaleFactor, 1);
  }

  /**
   * Moves space to channels.
   *
   * @param x [N, C, H, W], any dtype
   * @returns [N, C·r², H / r, W / r]
   * @throws {ShapeError} if x holds no images, or height or width are not divisible by r
   */
  forward(x: Tensor): Tensor {
    const r = this.downscaleFactor;
    if (x.ndim !== 4 || x.shape[2] % r !== 0 || x.shape[3] % r !== 0) {
      throw new ShapeError(
        `Cannot apply ${this.constructor.name} to ${
          showShape(x.shape)
        }: expected images [N, C, H, W] with height and width divisible by ${r}`,
      );
    }
    const [n, c, h, w] = x.shape;
    const blocks = x.reshape([n, c, h / r, r, w / r, r]).permute([0, 2, 4, 1, 3, 5]);
    return blocks.reshape([n, h / r, w / r, c * r * r]).permute([0, 3, 1, 2]);
  }
}

/**
 * LegoML's name of `PixelUnshuffle`: space to channels, in the same order.
 *
 * @example
 * ```ts
 * import { SpaceToDepth } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const images = zeros([2, 3, 32, 32], { device: referenceDevice() });
 * assertEquals(new SpaceToDepth(4).forward(images).shape, [2, 48, 8, 8]);
 * ```
 */
export class SpaceToDepth extends PixelUnshuffle {}
