/** Arithmetic of layer sizes: numbers of channels that suit devices, and paddings that keep sizes. */

import type { Pair } from "../core/mod.ts";
import { pairOf } from "../core/tensor/conv2d.ts";

/** How a number of channels is rounded. */
export interface DivisibleOptions {
  /** What the result is a multiple of, at least 1. @default {8} */
  readonly divisor?: number;
  /** The least result. @default {divisor} */
  readonly minValue?: number;
  /** Whether a result below 90 % of the value is raised by one divisor. @default {true} */
  readonly roundDownProtect?: boolean;
}

/**
 * The nearest multiple of a divisor, halves upwards, never more than a tenth below the value:
 * `max(minValue, ⌊(value + divisor / 2) / divisor⌋ · divisor)`.
 *
 * @param value number of channels, above 0; a fraction is allowed
 * @param options divisor, minValue, roundDownProtect
 * @returns an integer multiple of the divisor, or minValue
 * @throws {RangeError} if a number is out of its range
 *
 * Source: MobileNet's `_make_divisible`.
 *
 * @example
 * ```ts
 * import { makeDivisible } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([3, 11, 20, 25, 30].map((n) => makeDivisible(n)), [8, 16, 24, 24, 32]);
 * ```
 */
export function makeDivisible(value: number, options: DivisibleOptions = {}): number {
  const { divisor = 8, minValue = divisor, roundDownProtect = true } = options;
  if (!Number.isFinite(value) || value <= 0) {
    throw new RangeError(`Cannot make ${value} divisible: expected a number above 0`);
  }
  for (const [name, n] of [["divisor", divisor], ["minValue", minValue]] as const) {
    if (!Number.isInteger(n) || n < 1) {
      throw new RangeError(
        `Cannot make ${value} divisible with ${name} ${n}: expected an integer of at least 1`,
      );
    }
  }
  const nearest = Math.max(minValue, Math.floor((value + divisor / 2) / divisor) * divisor);
  return roundDownProtect && nearest < 0.9 * value ? nearest + divisor : nearest;
}

/** How a padding is chosen. */
export interface AutopadOptions {
  /** The padding itself, which is given back, 0 too. @default {chosen by the kernel} */
  readonly padding?: Pair;
  /** Distance between taps, at least 1. @default {1} */
  readonly dilation?: Pair;
}

/**
 * The padding with which a convolution of stride 1 keeps the size of its images:
 * `⌊dilation · (kernelSize − 1) / 2⌋` rows and columns on each side.
 *
 * No padding keeps the size if `dilation · (kernelSize − 1)` is odd, as for kernels of even size:
 * with the result of this function the output is then one smaller.
 *
 * @param kernelSize size of the kernel, or [height, width], at least 1
 * @param options padding, dilation
 * @returns [height, width]
 * @throws {RangeError} if a number is out of its range
 *
 * @example
 * ```ts
 * import { autopad } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(autopad(3), [1, 1]);
 * assertEquals(autopad([3, 5], { dilation: 2 }), [2, 4]);
 * assertEquals(autopad(3, { padding: 0 }), [0, 0]);
 * ```
 */
export function autopad(kernelSize: Pair, options: AutopadOptions = {}): [number, number] {
  const op = "choose a padding";
  const kernel = pairOf(op, "kernelSize", kernelSize, 1);
  const dilation = pairOf(op, "dilation", options.dilation ?? 1, 1);
  if (options.padding !== undefined) return pairOf(op, "padding", options.padding, 0);
  const [height, width] = kernel.map((k, d) => Math.floor(dilation[d] * (k - 1) / 2));
  return [height, width];
}
