/** Steps that change colours. Pixels are from 0 to 1: put them before {@linkcode normalizeImages}. */

import { changeColours, type ChangeName, CODES, rowsOf } from "../../core/tensor/augment_images.ts";
import type { Normalization } from "../dataset.ts";
import {
  type Augmentation,
  checkColours,
  checkPerChannel,
  makeStep,
  numberIn,
  type PerChannel,
  perChannelNumbers,
  probability,
  rangeIn,
  refuse,
  wholeIn,
} from "./step.ts";

/** Pixels are rounded quotients of levels, so thresholds are compared with this slack. */
const SLACK = 2 ** -16;

/**
 * Normalises channels: `(x - mean) / std`. Not random, so evaluation keeps it.
 *
 * @param options `mean` and `std` on pixels from 0 to 1, one for all channels or one for each
 * @returns a step
 * @throws {RangeError} if a mean is not finite or a deviation not above 0; when applied, also if
 * they are for another number of channels
 */
export function normalizeImages(options: Normalization): Augmentation {
  const name = "normalizeImages";
  const mean = perChannelNumbers(name, "mean", options.mean as PerChannel);
  const std = perChannelNumbers(name, "std", options.std as PerChannel);
  if (std.some((value) => !(value > 0))) {
    refuse(name, "std", options.std, "numbers above 0");
  }
  const json = { mean: options.mean as PerChannel, std: options.std as PerChannel };
  return makeStep(
    name,
    json,
    (shape) => {
      checkPerChannel(name, "mean", mean, shape);
      checkPerChannel(name, "std", std, shape);
      return { columns: [], shape, parts: { normalize: { mean, std } } };
    },
    false,
  );
}

/** A range of factors round 1, or its ends. */
export type JitterRange = number | readonly [number, number];

/** Options of {@linkcode colorJitter}. */
export interface ColorJitterOptions {
  /** Factors from `max(0, 1 - b)` to `1 + b`, or smallest and largest. Default: 0, no change. */
  readonly brightness?: JitterRange;
  /** As `brightness`, for the distance from the image's mean gray. Default: 0. */
  readonly contrast?: JitterRange;
  /** As `brightness`, for the distance from the pixel's gray. Default: 0. */
  readonly saturation?: JitterRange;
  /** Turns of the colour circle from `-h` to `h`, or both ends, within -0.5 and 0.5. Default: 0. */
  readonly hue?: JitterRange;
  /** Probability that an image is changed. Default: 1. */
  readonly p?: number;
}

/**
 * Brightness, contrast, saturation and hue by factors drawn evenly, in an order drawn for each
 * image. As torchvision's ColorJitter on float images: each change ends with a clamp to [0, 1].
 *
 * With gray `0.2989 r + 0.587 g + 0.114 b`: brightness is `f·x`, contrast `f·x + (1 - f)·m` with m
 * the mean gray of the image as the changes before have left it, saturation `f·x + (1 - f)·gray`;
 * hue adds to H of HSV. Saturation and hue leave gray images of one channel as they are.
 *
 * @param options brightness, contrast, saturation, hue, p
 * @returns a step
 * @throws {RangeError} if an option is out of range; when applied, also if there are not 1 or 3
 * channels
 *
 * @example
 * ```ts
 * import { colorJitter, compose } from "@legoml/legoml/data";
 * import { assert } from "@std/assert";
 *
 * const augment = compose([colorJitter({ brightness: 0.2, hue: 0.1 })], { seed: 1 });
 * const image = Float32Array.from({ length: 12 }, (_, i) => i / 12);
 * const { values } = augment.applyToImage(image, [3, 2, 2], { sample: 3, epoch: 0 });
 * assert(values.every((x) => x >= 0 && x <= 1));
 * ```
 */
export function colorJitter(options: ColorJitterOptions = {}): Augmentation {
  const name = "colorJitter";
  const { brightness = 0, contrast = 0, saturation = 0, hue = 0, p = 1 } = options;
  probability(name, p);
  const around = (option: string, value: JitterRange): readonly [number, number] => {
    if (typeof value !== "number") return rangeIn(name, option, value, 0);
    const reach = numberIn(name, option, value, 0);
    return [Math.max(0, 1 - reach), 1 + reach];
  };
  const turns = typeof hue === "number"
    ? [-numberIn(name, "hue", hue, 0, 0.5), hue]
    : rangeIn(name, "hue", hue, -0.5, 0.5);
  const ranges = [
    around("brightness", brightness),
    around("contrast", contrast),
    around("saturation", saturation),
    turns,
  ];
  const all = [CODES.brightness, CODES.contrast, CODES.saturation, CODES.hue];
  const codes = all.map((code, k) => {
    const still = k === 3 ? 0 : 1;
    return ranges[k].every((end) => end === still) ? 0 : code;
  });
  return makeStep(name, { brightness, contrast, saturation, hue, p }, (shape, column) => {
    checkColours(name, shape);
    return {
      columns: [
        { kind: "flag", p },
        { kind: "integer", count: 24 },
        ...ranges.map(([low, high]) => ({ kind: "uniform", low, high } as const)),
      ],
      shape,
      apply(machine, images, draws) {
        const rows = rowsOf(machine, { kind: "jitter", column, codes }, draws);
        const out = changeColours(machine, images, rows, { codes, slots: 4, column: 0 });
        machine.drop(rows);
        return out;
      },
    };
  });
}

/** A step of one change at one strength. */
function changeStep(
  name: string,
  change: ChangeName,
  strength: number,
  p: number,
  options: { readonly [key: string]: number },
): Augmentation {
  probability(name, p);
  const code = CODES[change];
  return makeStep(name, { ...options, p }, (shape, column) => {
    checkColours(name, shape);
    return {
      columns: [{ kind: "flag", p }, { kind: "uniform", low: strength, high: strength }],
      shape,
      apply(machine, images, draws) {
        const rows = rowsOf(machine, { kind: "fixed", column, code }, draws);
        const out = changeColours(machine, images, rows, { codes: [code], slots: 1, column: 0 });
        machine.drop(rows);
        return out;
      },
    };
  });
}

/**
 * All channels become the pixel's gray, `0.2989 r + 0.587 g + 0.114 b`, with a probability; the
 * number of channels stays. As torchvision's RandomGrayscale.
 *
 * @param options `p` from 0 to 1. Default: 0.1
 * @returns a step
 * @throws {RangeError} if p is no probability
 */
export function randomGrayscale(options: { readonly p?: number } = {}): Augmentation {
  return changeStep("randomGrayscale", "grayscale", 0, options.p ?? 0.1, {});
}

/**
 * The negative, `1 - x`, with a probability. As torchvision's RandomInvert.
 *
 * @param options `p` from 0 to 1. Default: 0.5
 * @returns a step
 * @throws {RangeError} if p is no probability
 */
export function randomInvert(options: { readonly p?: number } = {}): Augmentation {
  return changeStep("randomInvert", "invert", 0, options.p ?? 0.5, {});
}

/**
 * Keeps the highest bits of each pixel's byte, with a probability. As torchvision's RandomPosterize
 * on bytes: a value stands for the byte `⌊255·x + ½⌋`.
 *
 * @param options `bits` from 0 to 8; `p` from 0 to 1, default 0.5
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function randomPosterize(
  options: { readonly bits: number; readonly p?: number },
): Augmentation {
  const bits = wholeIn("randomPosterize", "bits", options.bits, 0, 8);
  return changeStep("randomPosterize", "posterize", bits, options.p ?? 0.5, { bits });
}

/**
 * The negative of pixels at or above a threshold, with a probability. As torchvision's
 * RandomSolarize, with the threshold on [0, 1]; values up to 2^-16 below it count as at it, since
 * pixels are rounded.
 *
 * @param options `threshold` from 0 to 1; `p` from 0 to 1, default 0.5
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function randomSolarize(
  options: { readonly threshold: number; readonly p?: number },
): Augmentation {
  const threshold = numberIn("randomSolarize", "threshold", options.threshold, 0, 1);
  const name = "randomSolarize";
  return changeStep(name, "solarize", threshold - SLACK, options.p ?? 0.5, { threshold });
}

/**
 * Stretches each channel so that its extremes are 0 and 1, with a probability. As torchvision's
 * RandomAutocontrast.
 *
 * @param options `p` from 0 to 1. Default: 0.5
 * @returns a step
 * @throws {RangeError} if p is no probability
 */
export function randomAutocontrast(options: { readonly p?: number } = {}): Augmentation {
  return changeStep("randomAutocontrast", "autocontrast", 0, options.p ?? 0.5, {});
}

/**
 * Makes the histogram of each channel even, with a probability. As torchvision's RandomEqualize on
 * bytes: a value stands for the byte `⌊255·x + ½⌋`.
 *
 * @param options `p` from 0 to 1. Default: 0.5
 * @returns a step
 * @throws {RangeError} if p is no probability
 */
export function randomEqualize(options: { readonly p?: number } = {}): Augmentation {
  return changeStep("randomEqualize", "equalize", 0, options.p ?? 0.5, {});
}

/**
 * Moves each pixel away from the mean of its neighbourhood (factor above 1) or towards it (below 1),
 * with a probability: `f·x + (1 - f)·blurred`, clamped to [0, 1], where blurred weighs the pixel 5
 * and its eight neighbours 1; the outermost pixels stay. As torchvision's RandomAdjustSharpness.
 *
 * @param options `factor` of at least 0; `p` from 0 to 1, default 0.5
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function randomAdjustSharpness(
  options: { readonly factor: number; readonly p?: number },
): Augmentation {
  const name = "randomAdjustSharpness";
  const factor = numberIn(name, "factor", options.factor, 0);
  return changeStep(name, "sharpness", factor, options.p ?? 0.5, { factor });
}
