/** Steps that move pixels: crop, mirror, turn, shear, erase. */

import { rowsOf, warp } from "../../core/tensor/augment_images.ts";
import {
  type Augmentation,
  checkPerChannel,
  type ImageShape,
  makeStep,
  numberIn,
  type PerChannel,
  perChannelNumbers,
  probability,
  rangeIn,
  refuse,
  type StepPlan,
  wholeIn,
} from "./step.ts";

/** The largest side of an image, and the most pixels of padding. */
const LARGEST = 16384;

/** Options of {@linkcode randomCrop}. */
export interface RandomCropOptions {
  /** Height and width of the window. Default: those of the image. */
  readonly size?: number | readonly [number, number];
  /**
   * Pixels around the image: all sides; or left and right, top and bottom; or left, top, right,
   * bottom. Default: 0.
   */
  readonly padding?: number | readonly number[];
  /** Value of constant padding, one for all channels or one for each. Default: 0. */
  readonly fill?: PerChannel;
  /** What the padding holds: `fill`, the image mirrored at its edge pixel, or the edge pixel. */
  readonly paddingMode?: "constant" | "reflect" | "edge";
}

/**
 * A window of the padded image, at a place drawn at random, all places alike. As torchvision's
 * RandomCrop.
 *
 * @param options size, padding, fill, padding mode (default "constant")
 * @returns a step
 * @throws {RangeError} if an option is out of range; when applied, also if the window is larger than
 * the padded image, or padding that reflects is not smaller than the image
 *
 * @example
 * ```ts
 * import { compose, randomCrop, randomHorizontalFlip } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const augment = compose([randomCrop({ padding: 4 }), randomHorizontalFlip()], { seed: 42 });
 * const image = new Uint8Array(3 * 32 * 32).fill(255);
 * const { shape } = augment.applyToImage(image, [3, 32, 32], { sample: 0, epoch: 0 });
 * assertEquals(shape, [3, 32, 32]);
 * ```
 */
export function randomCrop(options: RandomCropOptions = {}): Augmentation {
  const name = "randomCrop";
  const { size, padding = 0, fill = 0, paddingMode = "constant" } = options;
  const pads = paddingOf(name, padding);
  const sizes = size === undefined ? undefined : sizesOf(name, size);
  if (!["constant", "reflect", "edge"].includes(paddingMode)) {
    refuse(name, "paddingMode", paddingMode, '"constant", "reflect" or "edge"');
  }
  const fills = perChannelNumbers(name, "fill", fill);
  const plan = (shape: ImageShape, column: number): StepPlan => {
    const [channels, rows, columns] = shape;
    const [height, width] = sizes ?? [rows, columns];
    const [left, top, right, bottom] = pads;
    checkPerChannel(name, "fill", fills, shape);
    if (
      paddingMode === "reflect" &&
      (Math.max(left, right) >= columns || Math.max(top, bottom) >= rows)
    ) {
      throw new RangeError(
        `Cannot apply randomCrop to images of ${rows} × ${columns}: expected padding that reflects ` +
          `to be smaller than the image, found ${JSON.stringify(padding)}`,
      );
    }
    const spare = [rows + top + bottom - height, columns + left + right - width];
    if (Math.min(...spare) < 0) {
      throw new RangeError(
        `Cannot apply randomCrop to images of ${rows} × ${columns}: expected a window of at most ` +
          `${rows + top + bottom} × ${columns + left + right} with the padding, found ` +
          `${height} × ${width}`,
      );
    }
    const crop = { column, top, left, height, width, mode: paddingMode, fill: fills };
    return {
      columns: spare.map((count) => ({ kind: "integer", count: count + 1 })),
      shape: [channels, height, width],
      parts: { crop },
    };
  };
  return makeStep(name, { size, padding, fill, paddingMode }, plan);
}

function sizesOf(name: string, size: number | readonly [number, number]): readonly number[] {
  const sides = typeof size === "number" ? [size, size] : size;
  if (!Array.isArray(sides) || sides.length !== 2) {
    refuse(name, "size", size, "one number or two");
  }
  return sides.map((side) => wholeIn(name, "size", side, 1, LARGEST));
}

/** Left, top, right, bottom. */
function paddingOf(name: string, padding: number | readonly number[]): readonly number[] {
  const given = [padding].flat() as number[];
  if (![1, 2, 4].includes(given.length)) {
    refuse(name, "padding", padding, "one number, two or four");
  }
  const pads = given.map((pad) => wholeIn(name, "padding", pad, 0, LARGEST));
  return pads.length === 4 ? pads : [0, 1, 2, 3].map((side) => pads[side % pads.length]);
}

/**
 * The mirror image, left and right exchanged, with a probability. As torchvision's
 * RandomHorizontalFlip.
 *
 * @param options `p` from 0 to 1. Default: 0.5
 * @returns a step
 * @throws {RangeError} if p is no probability
 */
export function randomHorizontalFlip(options: { readonly p?: number } = {}): Augmentation {
  const p = probability("randomHorizontalFlip", options.p ?? 0.5);
  return makeStep("randomHorizontalFlip", { p }, (shape, column) => ({
    columns: [{ kind: "flag", p }],
    shape,
    parts: { flipX: column },
  }));
}

/**
 * The image upside down, with a probability. As torchvision's RandomVerticalFlip.
 *
 * @param options `p` from 0 to 1. Default: 0.5
 * @returns a step
 * @throws {RangeError} if p is no probability
 */
export function randomVerticalFlip(options: { readonly p?: number } = {}): Augmentation {
  const p = probability("randomVerticalFlip", options.p ?? 0.5);
  return makeStep("randomVerticalFlip", { p }, (shape, column) => ({
    columns: [{ kind: "flag", p }],
    shape,
    parts: { flipY: column },
  }));
}

/** How values between pixels are found. */
export type AugmentInterpolation = "nearest" | "bilinear";

/** Options that all turns and shears have. */
export interface WarpOptions {
  /** The nearest pixel, or the four around by distance. Default: "nearest". */
  readonly interpolation?: AugmentInterpolation;
  /** What lies round the image, one value for all channels or one for each. Default: 0. */
  readonly fill?: PerChannel;
  /** Probability that an image is changed. Default: 1. */
  readonly p?: number;
}

/** Options of {@linkcode randomAffine}. */
export interface RandomAffineOptions extends WarpOptions {
  /** Largest angle in degrees, or smallest and largest, clockwise. Default: 0. */
  readonly degrees?: number | readonly [number, number];
  /** Largest shift along x and y, as shares of width and height from 0 to 1. Default: none. */
  readonly translate?: readonly [number, number];
  /** Smallest and largest factor of size, above 0. Default: 1 and 1. */
  readonly scale?: readonly [number, number];
  /**
   * Largest shear along x in degrees; or smallest and largest along x; or both for x and y. Within
   * -89 and 89. Default: 0.
   */
  readonly shear?: number | readonly number[];
}

/** Checks what turns and shears have in common. */
export function warpOptions(name: string, options: WarpOptions): {
  readonly interpolation: AugmentInterpolation;
  readonly fill: PerChannel;
  readonly fills: readonly number[];
  readonly p: number;
} {
  const { interpolation = "nearest", fill = 0, p = 1 } = options;
  if (interpolation !== "nearest" && interpolation !== "bilinear") {
    refuse(name, "interpolation", interpolation, '"nearest" or "bilinear"');
  }
  const fills = perChannelNumbers(name, "fill", fill);
  return { interpolation, fill, fills, p: probability(name, p) };
}

function aroundZero(
  name: string,
  option: string,
  value: number | readonly [number, number],
  most: number,
): readonly [number, number] {
  if (typeof value !== "number") return rangeIn(name, option, value, -most, most);
  const end = numberIn(name, option, value, 0, most);
  return [-end, end];
}

/**
 * A turn, shift, change of size and shear round the image's centre, all drawn evenly. As
 * torchvision's RandomAffine, with its matrix and whole pixels of shift.
 *
 * Where it differs: with "bilinear", `fill` takes part in the four pixels like any other, as it does
 * in torchvision without a fill; torchvision with a fill weighs the edge twice.
 *
 * @param options degrees, translate, scale, shear, interpolation, fill, p
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function randomAffine(options: RandomAffineOptions = {}): Augmentation {
  const name = "randomAffine";
  const { degrees = 0, translate = [0, 0], scale = [1, 1], shear = 0 } = options;
  const { fills, ...warped } = warpOptions(name, options);
  const angles = aroundZero(name, "degrees", degrees, 3600);
  if (!Array.isArray(translate) || translate.length !== 2) {
    refuse(name, "translate", translate, "two shares from 0 to 1");
  }
  const shares = translate.map((share) => numberIn(name, "translate", share, 0, 1));
  const sizes = rangeIn(name, "scale", scale, 1e-3, 1e3);
  const lean = shearOf(name, shear);
  const plan = (shape: ImageShape, column: number): StepPlan => {
    const [, height, width] = shape;
    const [dx, dy] = [shares[0] * width, shares[1] * height];
    const ranges = [angles, [-dx, dx], [-dy, dy], sizes, lean.slice(0, 2), lean.slice(2)];
    return warpPlan({ name, shape, column, ranges, fills, ...warped });
  };
  return makeStep(name, { degrees, translate, scale, shear, ...warped }, plan);
}

/** Smallest and largest shear along x, then along y. */
function shearOf(name: string, shear: number | readonly number[]): readonly number[] {
  if (typeof shear === "number") return [...aroundZero(name, "shear", shear, 89), 0, 0];
  if (!Array.isArray(shear) || (shear.length !== 2 && shear.length !== 4)) {
    refuse(name, "shear", shear, "one number, two or four");
  }
  const [a, b, c = 0, d = 0] = shear;
  return [
    ...rangeIn(name, "shear", [a, b], -89, 89),
    ...rangeIn(name, "shear", [c, d], -89, 89),
  ];
}

interface WarpPlan {
  readonly name: string;
  readonly shape: ImageShape;
  readonly column: number;
  readonly p: number;
  /** Of angle, shifts, size and shears. */
  readonly ranges: readonly (readonly number[])[];
  readonly interpolation: AugmentInterpolation;
  readonly fills: readonly number[];
}

function warpPlan(plan: WarpPlan): StepPlan {
  const { name, shape, column, p, ranges, interpolation, fills } = plan;
  checkPerChannel(name, "fill", fills, shape);
  return {
    columns: [
      { kind: "flag", p },
      ...ranges.map(([low, high]) => ({ kind: "uniform", low, high } as const)),
    ],
    shape,
    apply(machine, images, draws) {
      const rows = rowsOf(machine, { kind: "affine", column }, draws);
      const out = warp(machine, images, rows, {
        bilinear: interpolation === "bilinear",
        fill: fills,
      });
      machine.drop(rows);
      return out;
    },
  };
}

/** Options of {@linkcode randomRotation}. */
export interface RandomRotationOptions extends WarpOptions {
  /** Largest angle in degrees, or smallest and largest, counterclockwise. */
  readonly degrees: number | readonly [number, number];
}

/**
 * A turn round the image's centre, counterclockwise, by an angle drawn evenly; the size stays. As
 * torchvision's RandomRotation.
 *
 * @param options degrees, interpolation, fill, p
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function randomRotation(options: RandomRotationOptions): Augmentation {
  const name = "randomRotation";
  const { fills, ...warped } = warpOptions(name, options);
  const [low, high] = aroundZero(name, "degrees", options.degrees, 3600);
  const ranges = [[-high, -low], [0, 0], [0, 0], [1, 1], [0, 0], [0, 0]];
  return makeStep(
    name,
    { degrees: options.degrees, ...warped },
    (shape, column) => warpPlan({ name, shape, column, ranges, fills, ...warped }),
  );
}

/** Options of {@linkcode randomErasing}. */
export interface RandomErasingOptions {
  /** Probability that an image is changed. Default: 0.5. */
  readonly p?: number;
  /** Smallest and largest share of the image's area. Default: 0.02 and 0.33. */
  readonly scale?: readonly [number, number];
  /** Smallest and largest height by width, drawn evenly by logarithm. Default: 0.3 and 3.3. */
  readonly ratio?: readonly [number, number];
  /** What the box is filled with; "random" for normally distributed numbers. Default: 0. */
  readonly value?: PerChannel | "random";
}

/** Attempts at a box that is smaller than the image, as in torchvision. */
const TRIES = 10;

/**
 * A rectangle of the image filled, with a probability; after normalising, as in torchvision's
 * RandomErasing (Zhong et al., "Random erasing data augmentation", 2017).
 *
 * @param options p, scale, ratio, value
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function randomErasing(options: RandomErasingOptions = {}): Augmentation {
  const name = "randomErasing";
  const { p = 0.5, scale = [0.02, 0.33], ratio = [0.3, 3.3], value = 0 } = options;
  probability(name, p);
  const shares = rangeIn(name, "scale", scale, 0, 1);
  const aspects = rangeIn(name, "ratio", ratio, 1e-3, 1e3);
  const values = value === "random" ? null : perChannelNumbers(name, "value", value);
  const tries = Array.from({ length: TRIES }, () => [
    { kind: "uniform", low: shares[0], high: shares[1] } as const,
    { kind: "logUniform", low: aspects[0], high: aspects[1] } as const,
  ]).flat();
  return makeStep(name, { p, scale, ratio, value }, (shape, column) => ({
    columns: [
      { kind: "flag", p },
      { kind: "uniform", low: 0, high: 1 },
      { kind: "uniform", low: 0, high: 1 },
      ...tries,
      ...noiseColumns(values),
    ],
    ...erasing(name, shape, values, column + 3 + 2 * TRIES),
    box: { kind: "erase", column, tries: TRIES, height: shape[1], width: shape[2] },
  }));
}

/** The key of normally distributed numbers, where they are needed. */
function noiseColumns(values: readonly number[] | null) {
  const half = { kind: "integer", count: 2 ** 16 } as const;
  return values === null ? [half, half] : [];
}

function erasing(
  name: string,
  shape: ImageShape,
  value: readonly number[] | null,
  column: number,
): Pick<StepPlan, "shape" | "parts"> {
  if (value !== null) checkPerChannel(name, "value", value, shape);
  return { shape, parts: { erase: { value, column } } };
}

/** Options of {@linkcode cutout}. */
export interface CutoutOptions {
  /** Side of the square in pixels. */
  readonly size: number;
  /** Probability that an image is changed. Default: 1. */
  readonly p?: number;
  /** What the square is filled with. Default: 0. */
  readonly value?: PerChannel;
}

/**
 * A square round a pixel drawn at random filled, as far as it is inside of the image (DeVries and
 * Taylor, "Improved regularization of convolutional neural networks with cutout", 2017).
 *
 * @param options size, p, value
 * @returns a step
 * @throws {RangeError} if an option is out of range
 */
export function cutout(options: CutoutOptions): Augmentation {
  const name = "cutout";
  const { size, p = 1, value = 0 } = options;
  wholeIn(name, "size", size, 1, LARGEST);
  probability(name, p);
  const values = perChannelNumbers(name, "value", value);
  return makeStep(name, { size, p, value }, (shape, column) => ({
    columns: [
      { kind: "flag", p },
      { kind: "integer", count: shape[1] },
      { kind: "integer", count: shape[2] },
    ],
    ...erasing(name, shape, values, 0),
    box: { kind: "cutout", column, size, height: shape[1], width: shape[2] },
  }));
}
