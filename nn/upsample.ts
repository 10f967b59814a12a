/** Images of another size, as a layer. */

import { interpolate, type InterpolateMode, type Pair, type Tensor } from "../core/mod.ts";
import { checkInterpolation, type InterpolateOptions } from "../core/tensor/resize2d.ts";
import { Module } from "./module.ts";

/**
 * Resizes images by their nearest pixels, or by mixing four of them. As torch.nn.Upsample for images
 * of two axes; `interpolate` says how pixels are found.
 *
 * @example
 * ```ts
 * import { Upsample } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2]]]], { device: referenceDevice() });
 * const y = new Upsample({ scaleFactor: 2 }).forward(x);
 * assertEquals(await y.array(), [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]);
 * ```
 */
export class Upsample extends Module {
  /** Height and width of the result, or null where a factor says it. */
  readonly size: Pair | null;
  /** By how much height and width grow, or null where the size is fixed. */
  readonly scaleFactor: Pair | null;
  /** How pixels are found. */
  readonly mode: InterpolateMode;
  /** Whether the middles of corner pixels coincide. */
  readonly alignCorners: boolean;

  /**
   * Takes the options.
   *
   * @param options size or scaleFactor, mode, alignCorners
   * @throws {RangeError} if an option has no meaning
   */
  constructor(options: InterpolateOptions) {
    super();
    checkInterpolation("make Upsample", options);
    this.size = options.size ?? null;
    this.scaleFactor = options.scaleFactor ?? null;
    this.mode = options.mode ?? "nearest";
    this.alignCorners = options.alignCorners ?? false;
  }

  /**
   * Resizes images.
   *
   * @param x [N, C, H, W], f32 or f16
   * @returns [N, C, H', W'] of the same dtype
   * @throws {ShapeError} if x holds no images, or the result would have no pixels
   */
  forward(x: Tensor): Tensor {
    const { size, scaleFactor, mode, alignCorners } = this;
    const wanted = size !== null ? { size } : { scaleFactor: scaleFactor! };
    return interpolate(x, { ...wanted, mode, alignCorners });
  }
}
