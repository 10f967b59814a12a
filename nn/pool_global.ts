/** Pooling to a size that does not depend on that of the image. */

import { type Device, ShapeError, showShape, type Tensor, tensor } from "../core/mod.ts";
import { pairOf } from "../core/tensor/conv2d.ts";
import { globalAvgPool2d, maxPool2d } from "../core/tensor/pool2d.ts";
import { Module } from "./module.ts";

/** What global pooling keeps. */
export interface GlobalAvgPool2dOptions {
  /** Whether height and width stay as axes of size 1. @default {false} */
  readonly keepDim?: boolean;
}

/**
 * Mean of each channel over height and width.
 *
 * As `AdaptiveAvgPool2d(1)`, followed by `Flatten` unless `keepDim` is set.
 *
 * @example
 * ```ts
 * import { GlobalAvgPool2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2], [4, 5]], [[0, 0], [0, 8]]]], { device: referenceDevice() });
 * assertEquals(await new GlobalAvgPool2d().forward(x).array(), [[3, 2]]);
 * ```
 */
export class GlobalAvgPool2d extends Module {
  /** Whether height and width stay as axes of size 1. */
  readonly keepDim: boolean;

  /**
   * Takes the options.
   *
   * @param options keepDim
   */
  constructor(options: GlobalAvgPool2dOptions = {}) {
    super();
    this.keepDim = options.keepDim ?? false;
  }

  /**
   * Takes the means.
   *
   * @param x [N, C, H, W] or [C, H, W], f32 or f16
   * @returns [N, C] (or [C]) of the dtype of x; with keepDim [N, C, 1, 1] (or [C, 1, 1])
   * @throws {ShapeError} if x holds no images
   */
  forward(x: Tensor): Tensor {
    const means = globalAvgPool2d(x).to(x.dtype);
    return this.keepDim ? means : means.flatten(-3);
  }
}

/**
 * Largest values of so many windows that the output has the size asked for; window o reaches from
 * `⌊o·H/H'⌋` to before `⌈(o+1)·H/H'⌉`. NaN counts as the largest value, and the gradient goes to
 * the first of equals. As torch.nn.AdaptiveMaxPool2d.
 *
 * @example
 * ```ts
 * import { AdaptiveMaxPool2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2, 3], [4, 6, 5]]]], { device: referenceDevice() });
 * assertEquals(await new AdaptiveMaxPool2d([1, 2]).forward(x).array(), [[[[6, 6]]]]);
 * ```
 */
export class AdaptiveMaxPool2d extends Module {
  /** [height, width] of the output; null keeps the size of the image. */
  readonly outputSize: readonly [number | null, number | null];

  /**
   * Takes the size.
   *
   * @param outputSize size of the output, or [height, width], at least 1; null keeps the image's
   * @throws {RangeError} if a number is out of its range
   */
  constructor(outputSize: number | readonly [number | null, number | null]) {
    super();
    const [height, width] = typeof outputSize === "number" ? [outputSize, outputSize] : outputSize;
    pairOf("make AdaptiveMaxPool2d", "outputSize", [height ?? 1, width ?? 1], 1);
    this.outputSize = [height, width];
  }

  /**
   * Pools images.
   *
   * @param x [N, C, H, W] or [C, H, W], f32 or f16
   * @returns [N, C, ...outputSize]
   * @throws {ShapeError} if x holds no images
   */
  forward(x: Tensor): Tensor {
    if ((x.ndim !== 3 && x.ndim !== 4) || x.shape.slice(-2).includes(0)) {
      throw new ShapeError(
        `Cannot apply AdaptiveMaxPool2d to ${
          showShape(x.shape)
        }: expected [N, C, H, W] or [C, H, W] with H and W of at least 1`,
      );
    }
    const bins = [-2, -1].map((d, i) => binsOf(x.shape.at(d)!, this.outputSize[i], x.device));
    const spread = bins.reduce(
      (t, { index }, i) => index === null ? t : t.indexSelect(t.ndim - 2 + i, index),
      x,
    );
    return maxPool2d(spread, { kernelSize: [bins[0].length, bins[1].length] });
  }
}

/** Windows of equal length, and the places of their elements where they are not those of the axis. */
interface Bins {
  readonly length: number;
  readonly index: Tensor | null;
}

/**
 * Shorter windows repeat their last element: that changes no maximum, nor which of equals is first.
 */
function binsOf(size: number, wanted: number | null, device: Device): Bins {
  const out = wanted ?? size;
  if (size % out === 0) return { length: size / out, index: null };
  const ends = Array.from({ length: out }, (_, o) => Math.ceil((o + 1) * size / out));
  const starts = ends.map((_, o) => Math.floor(o * size / out));
  const length = Math.max(...ends.map((end, o) => end - starts[o]));
  const places = starts.flatMap((start, o) =>
    Array.from({ length }, (_, k) => Math.min(start + k, ends[o] - 1))
  );
  return { length, index: tensor(Int32Array.from(places), { device }) };
}
