/** Pooling of sequences: that of images with a height of one. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { avgPool2d, maxPool2d } from "../core/tensor/pool2d.ts";
import { checkInteger } from "./checks.ts";
import { Module } from "./module.ts";

/** Windows of max-pooling over sequences. */
export interface MaxPool1dOptions {
  /** Length of the window. */
  readonly kernelSize: number;
  /** Steps between windows. @default {kernelSize} */
  readonly stride?: number;
  /** Places at both ends that never win, at most half of the window. @default {0} */
  readonly padding?: number;
  /** Steps inside the window. @default {1} */
  readonly dilation?: number;
  /** Keep a last window that reaches beyond the sequence. @default {false} */
  readonly ceilMode?: boolean;
}

/** Windows of average pooling over sequences. */
export interface AvgPool1dOptions {
  /** Length of the window. */
  readonly kernelSize: number;
  /** Steps between windows. @default {kernelSize} */
  readonly stride?: number;
  /** Zeros at both ends, at most half of the window. @default {0} */
  readonly padding?: number;
  /** Whether the zeros count in the divisor. @default {true} */
  readonly countIncludePad?: boolean;
  /** Keep a last window that reaches beyond the sequence. @default {false} */
  readonly ceilMode?: boolean;
}

/**
 * Largest value of each window of a sequence; NaN counts as the largest. As torch.nn.MaxPool1d.
 *
 * @example
 * ```ts
 * import { MaxPool1d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[1, 4, 2, 3]]], { device: referenceDevice() });
 * assertEquals(await new MaxPool1d({ kernelSize: 2 }).forward(x).array(), [[[4, 3]]]);
 * ```
 */
export class MaxPool1d extends Module {
  /** Length of the window. */
  readonly kernelSize: number;
  /** Step between windows. */
  readonly stride: number;
  /** Places at both ends that never win. */
  readonly padding: number;
  /** Distance between taps. */
  readonly dilation: number;
  /** Whether a last window that reaches beyond the sequence is kept. */
  readonly ceilMode: boolean;

  /**
   * Takes the windows.
   *
   * @param options kernelSize, stride, padding, dilation, ceilMode
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: MaxPool1dOptions) {
    super();
    const windows = windowsOf("MaxPool1d", options);
    this.kernelSize = windows.kernelSize;
    this.stride = windows.stride;
    this.padding = windows.padding;
    this.dilation = checkInteger("MaxPool1d", "dilation", options.dilation ?? 1, 1);
    this.ceilMode = options.ceilMode ?? false;
  }

  /**
   * Pools sequences.
   *
   * @param x [N, C, L] or [C, L], f32 or f16
   * @returns [N, C, ⌊(L + 2·padding − dilation·(kernelSize − 1) − 1) / stride⌋ + 1]
   * @throws {ShapeError} if x holds no sequences, or a window does not fit
   */
  forward(x: Tensor): Tensor {
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    checkSequences("MaxPool1d", x);
    const images = maxPool2d(x.unsqueeze(-2), {
      kernelSize: [1, kernelSize],
      stride: [1, stride],
      padding: [0, padding],
      dilation: [1, dilation],
      ceilMode,
    });
    return images.squeeze(-2);
  }
}

/**
 * Mean of each window of a sequence. As torch.nn.AvgPool1d.
 *
 * @example
 * ```ts
 * import { AvgPool1d } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[1, 4, 2, 3]]], { device: referenceDevice() });
 * assertEquals(await new AvgPool1d({ kernelSize: 2 }).forward(x).array(), [[[2.5, 2.5]]]);
 * ```
 */
export class AvgPool1d extends Module {
  /** Length of the window. */
  readonly kernelSize: number;
  /** Step between windows. */
  readonly stride: number;
  /** Zeros at both ends. */
  readonly padding: number;
  /** Whether a last window that reaches beyond the sequence is kept. */
  readonly ceilMode: boolean;
  /** Whether the zeros count in the divisor. */
  readonly countIncludePad: boolean;

  /**
   * Takes the windows.
   *
   * @param options kernelSize, stride, padding, ceilMode, countIncludePad
   * @throws {RangeError} if a number is out of its range
   */
  constructor(options: AvgPool1dOptions) {
    super();
    const windows = windowsOf("AvgPool1d", options);
    this.kernelSize = windows.kernelSize;
    this.stride = windows.stride;
    this.padding = windows.padding;
    this.ceilMode = options.ceilMode ?? false;
    this.countIncludePad = options.countIncludePad ?? true;
  }

  /**
   * Pools sequences.
   *
   * @param x [N, C, L] or [C, L], f32 or f16
   * @returns [N, C, ⌊(L + 2·padding − kernelSize) / stride⌋ + 1]
   * @throws {ShapeError} if x holds no sequences, or a window does not fit
   */
  forward(x: Tensor): Tensor {
    const { kernelSize, stride, padding, ceilMode, countIncludePad } = this;
    checkSequences("AvgPool1d", x);
    const images = avgPool2d(x.unsqueeze(-2), {
      kernelSize: [1, kernelSize],
      stride: [1, stride],
      padding: [0, padding],
      ceilMode,
      countIncludePad,
    });
    return images.squeeze(-2);
  }
}

interface Windows {
  readonly kernelSize: number;
  readonly stride: number;
  readonly padding: number;
}

function windowsOf(layer: string, options: AvgPool1dOptions): Windows {
  const { kernelSize, stride = kernelSize, padding = 0 } = options;
  checkInteger(layer, "kernelSize", kernelSize, 1);
  checkInteger(layer, "stride", stride, 1);
  checkInteger(layer, "padding", padding, 0);
  if (padding > kernelSize / 2) {
    throw new RangeError(
      `Cannot make ${layer} with kernelSize ${kernelSize} and padding ${padding}: expected a ` +
        "padding of at most half of the window",
    );
  }
  return { kernelSize, stride, padding };
}

function checkSequences(layer: string, x: Tensor): void {
  if ((x.ndim === 2 || x.ndim === 3) && x.shape.at(-1) !== 0) return;
  throw new ShapeError(
    `Cannot apply ${layer} to ${
      showShape(x.shape)
    }: expected [N, C, L] or [C, L] with L of at least 1`,
  );
}
