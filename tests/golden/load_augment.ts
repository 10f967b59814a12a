/** Typed reader of `augment.json`. */

import augmentFile from "./augment.json" with { type: "json" };
import type { GoldenTensor } from "./load.ts";

/** An image seen through a matrix: angle, shifts, scale, shears; degrees and pixels. */
export interface WarpCase {
  readonly name: string;
  readonly numbers: readonly number[];
  readonly bilinear: boolean;
  readonly fill: readonly number[];
  readonly output: GoldenTensor;
}

/** One change of colour; thresholds are levels of bytes. */
export interface ChangeCase {
  readonly name: string;
  readonly change: string;
  readonly strength: number;
  readonly input: "colours" | "gray";
  readonly output: GoldenTensor;
}

/** All four changes of colour in an order: brightness, contrast, saturation, hue. */
export interface JitterCase {
  readonly name: string;
  /** Number of the order, of 24 in the order of the alphabet. */
  readonly order: number;
  readonly factors: readonly number[];
  readonly output: GoldenTensor;
}

/** One op of a policy at the strength of a bin. */
export interface PolicyCase {
  readonly name: string;
  readonly policy: "randAugment" | "trivialAugmentWide";
  readonly op: string;
  readonly number: number;
  readonly bin: number;
  readonly negative: boolean;
  readonly output: GoldenTensor;
}

/** Bytes of the images that the cases start from. */
export const augmentImages = augmentFile.images as Readonly<
  Record<"policy" | "colours" | "gray", GoldenTensor>
>;
/** Turns, shifts, scales and shears. */
export const warpCases = augmentFile.warp as readonly WarpCase[];
/** Single changes of colour. */
export const changeCases = augmentFile.change as readonly ChangeCase[];
/** Orders of four changes. */
export const jitterCases = augmentFile.jitter as readonly JitterCase[];
/** Ops of RandAugment and TrivialAugment. */
export const policyCases = augmentFile.policy as readonly PolicyCase[];
