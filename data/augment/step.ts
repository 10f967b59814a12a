/** What a step of image augmentation is, and the checks that steps share. */

import type {
  AugmentMachine,
  DrawColumn,
  PlaceParts,
  RowsSpec,
} from "../../core/tensor/augment_images.ts";

/** Channels, height and width of an image. */
export type ImageShape = readonly [number, number, number];

/** A number for all channels, or one for each. */
export type PerChannel = number | readonly number[];

/** A value that JSON can hold. */
export type AugmentationValue =
  | null
  | boolean
  | number
  | string
  | readonly AugmentationValue[]
  | { readonly [key: string]: AugmentationValue | undefined };

/** A step as plain data: its name, and its options with all defaults filled in. */
export interface AugmentationJson {
  /** Name of the function that makes the step. */
  readonly name: string;
  /** What the function was given. */
  readonly [option: string]: AugmentationValue | undefined;
}

/** What a step does with images of one shape. */
export interface StepPlan {
  /** Random numbers that it needs for each image. */
  readonly columns: readonly DrawColumn[];
  /** Shape of the images that come out. */
  readonly shape: ImageShape;
  /** What it does if it only moves whole pixels and changes each by itself. */
  readonly parts?: PlaceParts;
  /** The boxes that its parts need. */
  readonly box?: RowsSpec;
  /** What it does otherwise. */
  readonly apply?: <T>(machine: AugmentMachine<T>, images: T, draws: T) => T;
}

/** One change of images, made by {@linkcode randomCrop} and the like. */
export interface Augmentation {
  /** Name of the function that makes it. */
  readonly name: string;
  /** Whether it draws random numbers; evaluation leaves such steps out. */
  readonly isRandom: boolean;
  /** Plain data for {@linkcode AugmentPipeline.fromJSON}. */
  toJSON(): AugmentationJson;
}

/** A step with what only pipelines ask for. */
export interface PlannedStep extends Augmentation {
  /**
   * What it does with images of one shape.
   *
   * @param shape channels, height, width
   * @param column number of its first random number
   * @returns its plan
   * @throws {RangeError} if it cannot change such images
   */
  plan(shape: ImageShape, column: number): StepPlan;
}

/** Whether a value is a step that a function of this library made. */
export function isStep(value: unknown): value is PlannedStep {
  return typeof (value as Partial<PlannedStep> | null | undefined)?.plan === "function";
}

/**
 * Makes a step.
 *
 * @param name its name
 * @param options plain data, defaults filled in
 * @param plan what it does
 * @param isRandom whether it draws random numbers
 * @returns the step
 */
export function makeStep(
  name: string,
  options: { readonly [key: string]: AugmentationValue | undefined },
  plan: (shape: ImageShape, column: number) => StepPlan,
  isRandom = true,
): Augmentation {
  const step: PlannedStep = { name, isRandom, plan, toJSON: () => ({ name, ...options }) };
  return step;
}

/** Fails: a step cannot have an option of this value. */
export function refuse(step: string, option: string, value: unknown, expected: string): never {
  throw new RangeError(
    `Cannot make ${step} with ${option} ${JSON.stringify(value) ?? value}: expected ${expected}`,
  );
}

/** Checks a probability. */
export function probability(step: string, p: number, option = "p"): number {
  if (typeof p === "number" && p >= 0 && p <= 1) return p;
  return refuse(step, option, p, "a probability from 0 to 1");
}

/** Checks a number of a range, its ends included. */
export function numberIn(
  step: string,
  option: string,
  value: number,
  low: number,
  high = Infinity,
): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= low && value <= high) {
    return value;
  }
  const range = high === Infinity ? `of at least ${low}` : `from ${low} to ${high}`;
  return refuse(step, option, value, `a finite number ${range}`);
}

/** Checks a whole number of a range. */
export function wholeIn(
  step: string,
  option: string,
  value: number,
  low: number,
  high: number,
): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  return refuse(step, option, value, `a whole number from ${low} to ${high}`);
}

/** Checks the ends of a range. */
export function rangeIn(
  step: string,
  option: string,
  value: readonly [number, number],
  low = -Infinity,
  high = Infinity,
): readonly [number, number] {
  const fits = Array.isArray(value) && value.length === 2 &&
    value.every((end) => typeof end === "number" && Number.isFinite(end)) &&
    value[0] <= value[1] && value[0] >= low && value[1] <= high;
  if (fits) return [value[0], value[1]];
  const inside = low === -Infinity && high === Infinity ? "" : ` from ${low} to ${high}`;
  return refuse(step, option, value, `two finite numbers${inside}, the first not above the second`);
}

/** Checks numbers for all channels or for each. */
export function perChannelNumbers(
  step: string,
  option: string,
  value: PerChannel,
): readonly number[] {
  const values = [value].flat() as number[];
  const fits = values.length > 0 &&
    values.every((x) => typeof x === "number" && Number.isFinite(Math.fround(x)));
  return fits ? values : refuse(step, option, value, "finite numbers, one or one for each channel");
}

/** Checks that numbers are for as many channels as there are. */
export function checkPerChannel(
  step: string,
  option: string,
  values: readonly number[],
  [channels]: ImageShape,
): void {
  if (values.length === 1 || values.length === channels) return;
  throw new RangeError(
    `Cannot apply ${step} to images of ${channels} channels: expected ${option} of one number or ` +
      `${channels}, found ${values.length}`,
  );
}

/** Checks that images are gray or coloured. */
export function checkColours(step: string, [channels]: ImageShape): void {
  if (channels === 1 || channels === 3) return;
  throw new RangeError(
    `Cannot apply ${step} to images of ${channels} channels: expected 1 or 3`,
  );
}
