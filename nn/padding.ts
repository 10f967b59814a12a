/** Layers that put a frame around images. */

import { type Device, ShapeError, showShape, type Tensor, tensor } from "../core/mod.ts";
import { Module } from "./module.ts";

/** Columns and rows on all sides, or those on the left, on the right, above and below. */
export type Padding2d = number | readonly [number, number, number, number];

/** What frames of any content share: PyTorch's order of the sides. */
export abstract class Pad2d extends Module {
  /** Columns on the left and on the right, rows above and below. */
  readonly padding: readonly [number, number, number, number];

  /**
   * Checks the sides.
   *
   * @param padding columns and rows on all sides, or [left, right, top, bottom]
   * @throws {RangeError} if one is no integer of at least 0
   */
  constructor(padding: Padding2d) {
    super();
    const all = typeof padding === "number"
      ? [padding, padding, padding, padding] as const
      : padding;
    if (all.length !== 4 || all.some((n) => !Number.isInteger(n) || n < 0)) {
      throw new RangeError(
        `Cannot make ${new.target.name} with padding ${
          JSON.stringify(padding)
        }: expected an integer of at least 0, or [left, right, top, bottom]`,
      );
    }
    this.padding = [...all];
  }

  /**
   * Checks that there are images.
   *
   * @param x [N, C, H, W] or [C, H, W]
   * @throws {ShapeError} if it has another number of axes
   */
  protected check(x: Tensor): void {
    if (x.ndim === 3 || x.ndim === 4) return;
    throw new ShapeError(
      `Cannot apply ${this.constructor.name} to ${
        showShape(x.shape)
      }: expected [N, C, H, W] or [C, H, W]`,
    );
  }
}

/**
 * Zeros around images. As torch.nn.ZeroPad2d.
 *
 * @example
 * ```ts
 * import { ZeroPad2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[1, 2]]], { device: referenceDevice() });
 * const y = new ZeroPad2d([1, 0, 0, 1]).forward(x);
 * assertEquals(await y.array(), [[[0, 1, 2], [0, 0, 0]]]);
 * ```
 */
export class ZeroPad2d extends Pad2d {
  /**
   * Takes the frame.
   *
   * @param padding columns and rows on all sides, or [left, right, top, bottom]
   * @throws {RangeError} if one is no integer of at least 0
   */
  constructor(padding: Padding2d) {
    super(padding);
  }

  /**
   * Surrounds images.
   *
   * @param x [N, C, H, W] or [C, H, W], any dtype
   * @returns [N, C, H + top + bottom, W + left + right]
   * @throws {ShapeError} if x holds no images
   */
  forward(x: Tensor): Tensor {
    this.check(x);
    const [left, right, top, bottom] = this.padding;
    const outer = x.shape.slice(0, -2).map(() => [0, 0] as const);
    return x.pad([...outer, [top, bottom], [left, right]]);
  }
}

/**
 * Mirror images around images; what lies on the edge is not repeated. As torch.nn.ReflectionPad2d.
 *
 * @example
 * ```ts
 * import { ReflectionPad2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[1, 2, 3]]], { device: referenceDevice() });
 * const y = new ReflectionPad2d([2, 1, 0, 0]).forward(x);
 * assertEquals(await y.array(), [[[3, 2, 1, 2, 3, 2]]]);
 * ```
 */
export class ReflectionPad2d extends Pad2d {
  /**
   * Takes the frame.
   *
   * @param padding columns and rows on all sides, or [left, right, top, bottom]
   * @throws {RangeError} if one is no integer of at least 0
   */
  constructor(padding: Padding2d) {
    super(padding);
  }

  /**
   * Surrounds images.
   *
   * @param x [N, C, H, W] or [C, H, W], f32 or f16
   * @returns [N, C, H + top + bottom, W + left + right]
   * @throws {ShapeError} if x holds no images, or the frame is not thinner than the image
   */
  forward(x: Tensor): Tensor {
    this.check(x);
    const [left, right, top, bottom] = this.padding;
    const [height, width] = x.shape.slice(-2);
    if (Math.max(top, bottom) >= height || Math.max(left, right) >= width) {
      throw new ShapeError(
        `Cannot apply ReflectionPad2d with padding [${this.padding}] to ${
          showShape(x.shape)
        }: expected paddings below height and width`,
      );
    }
    const rows = reflected(height, top, bottom, x.device);
    const columns = reflected(width, left, right, x.device);
    const tall = rows === null ? x : x.indexSelect(x.ndim - 2, rows);
    return columns === null ? tall : tall.indexSelect(x.ndim - 1, columns);
  }
}

/** The places of an axis with its mirror images at both ends, or null where there are none. */
function reflected(size: number, before: number, after: number, device: Device): Tensor | null {
  if (before === 0 && after === 0) return null;
  const places = Int32Array.from({ length: before + size + after }, (_, i) => {
    const at = Math.abs(i - before);
    return at < size ? at : 2 * (size - 1) - at;
  });
  return tensor(places, { device });
}
