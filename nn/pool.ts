/** Pooling of images. */

import type { Tensor } from "../core/mod.ts";
import { pairOf } from "../core/tensor/conv2d.ts";
import {
  adaptiveAvgPool2d,
  avgPool2d,
  type AvgPool2dOptions,
  maxPool2d,
  type MaxPool2dOptions,
} from "../core/tensor/pool2d.ts";
import { Module } from "./module.ts";

/**
 * Largest value of each window; NaN counts as the largest. As torch.nn.MaxPool2d.
 *
 * @example
 * ```ts
 * import { MaxPool2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2], [4, 3]]]], { device: referenceDevice() });
 * assertEquals(await new MaxPool2d({ kernelSize: 2 }).forward(x).array(), [[[[4]]]]);
 * ```
 */
export class MaxPool2d extends Module {
  /** [height, width] of the window. */
  readonly kernelSize: readonly [number, number];
  /** Step between windows. */
  readonly stride: readonly [number, number];
  /** Rows and columns around the image that never win. */
  readonly padding: readonly [number, number];
  /** Distance between taps. */
  readonly dilation: readonly [number, number];
  /** Whether a last window that reaches beyond the image is kept. */
  readonly ceilMode: boolean;

  /**
   * Takes the windows.
   *
   * @param options kernelSize, stride, padding, dilation, ceilMode
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: MaxPool2dOptions) {
    super();
    const windows = windowsOf("MaxPool2d", options);
    this.kernelSize = windows.kernelSize;
    this.stride = windows.stride;
    this.padding = windows.padding;
    this.dilation = pairOf("make MaxPool2d", "dilation", options.dilation ?? 1, 1);
    this.ceilMode = options.ceilMode ?? false;
  }

  /**
   * Pools images.
   *
   * @param x [N, C, H, W] or [C, H, W], f32 or f16
   * @returns [N, C, ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1, …]
   * @throws {ShapeError} if x holds no images, or a window does not fit
   */
  forward(x: Tensor): Tensor {
    return maxPool2d(x, this);
  }
}

/**
 * Mean of each window. As torch.nn.AvgPool2d.
 *
 * @example
 * ```ts
 * import { AvgPool2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2], [4, 3]]]], { device: referenceDevice() });
 * assertEquals(await new AvgPool2d({ kernelSize: 2 }).forward(x).array(), [[[[2.5]]]]);
 * ```
 */
export class AvgPool2d extends Module {
  /** [height, width] of the window. */
  readonly kernelSize: readonly [number, number];
  /** Step between windows. */
  readonly stride: readonly [number, number];
  /** Zeros around the image. */
  readonly padding: readonly [number, number];
  /** Whether a last window that reaches beyond the image is kept. */
  readonly ceilMode: boolean;
  /** Whether the zeros count in the divisor. */
  readonly countIncludePad: boolean;

  /**
   * Takes the windows.
   *
   * @param options kernelSize, stride, padding, ceilMode, countIncludePad
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: AvgPool2dOptions) {
    super();
    const windows = windowsOf("AvgPool2d", options);
    this.kernelSize = windows.kernelSize;
    this.stride = windows.stride;
    this.padding = windows.padding;
    this.ceilMode = options.ceilMode ?? false;
    this.countIncludePad = options.countIncludePad ?? true;
  }

  /**
   * Pools images.
   *
   * @param x [N, C, H, W] or [C, H, W], f32 or f16
   * @returns [N, C, ⌊(H + 2·padding − kh) / stride⌋ + 1, …]
   * @throws {ShapeError} if x holds no images, or a window does not fit
   */
  forward(x: Tensor): Tensor {
    return avgPool2d(x, this);
  }
}

/**
 * Means of so many windows that the output has the size asked for. As torch.nn.AdaptiveAvgPool2d.
 *
 * @example The mean of each channel
 * ```ts
 * import { AdaptiveAvgPool2d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[1, 2, 3], [4, 5, 6]]]], { device: referenceDevice() });
 * assertEquals(await new AdaptiveAvgPool2d(1).forward(x).array(), [[[[3.5]]]]);
 * ```
 */
export class AdaptiveAvgPool2d extends Module {
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
    pairOf("make AdaptiveAvgPool2d", "outputSize", [height ?? 1, width ?? 1], 1);
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
    return adaptiveAvgPool2d(x, this.outputSize);
  }
}

interface Windows {
  readonly kernelSize: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
}

function windowsOf(layer: string, options: AvgPool2dOptions): Windows {
  const op = `make ${layer}`;
  const { kernelSize, stride = kernelSize, padding = 0 } = options;
  const windows = {
    kernelSize: pairOf(op, "kernelSize", kernelSize, 1),
    stride: pairOf(op, "stride", stride, 1),
    padding: pairOf(op, "padding", padding, 0),
  };
  if (windows.padding.some((n, axis) => n > windows.kernelSize[axis] / 2)) {
    throw new RangeError(
      `Cannot ${op} with kernelSize ${JSON.stringify(kernelSize)} and padding ${
        JSON.stringify(padding)
      }: expected a padding of at most half of the window`,
    );
  }
  return windows;
}
