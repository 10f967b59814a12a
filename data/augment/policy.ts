/** Steps that choose among many changes: RandAugment and TrivialAugment. */

import {
  changeColours,
  type ChangeName,
  CODES,
  type DrawColumn,
  type PolicyChange,
  rowsOf,
  warp,
} from "../../core/tensor/augment_images.ts";
import { type WarpOptions, warpOptions } from "./geometry.ts";
import {
  type Augmentation,
  type AugmentationValue,
  checkColours,
  checkPerChannel,
  type ImageShape,
  makeStep,
  refuse,
  wholeIn,
} from "./step.ts";

/** Names of the changes, as torchvision spells them. */
export const AUGMENT_OPS = [
  "Identity",
  "ShearX",
  "ShearY",
  "TranslateX",
  "TranslateY",
  "Rotate",
  "Brightness",
  "Color",
  "Contrast",
  "Sharpness",
  "Posterize",
  "Solarize",
  "AutoContrast",
  "Equalize",
] as const;

/** A change that {@linkcode randAugment} and {@linkcode trivialAugmentWide} choose from. */
export type AugmentOp = typeof AUGMENT_OPS[number];

const changes: Readonly<Record<AugmentOp, ChangeName>> = {
  Identity: "identity",
  ShearX: "shearX",
  ShearY: "shearY",
  TranslateX: "translateX",
  TranslateY: "translateY",
  Rotate: "rotate",
  Brightness: "brightness",
  Color: "saturation",
  Contrast: "contrast",
  Sharpness: "sharpness",
  Posterize: "posterize",
  Solarize: "solarize",
  AutoContrast: "autocontrast",
  Equalize: "equalize",
};

/** Strength of the first and the last bin, and whether the opposite is as likely. */
type Strength = readonly [first: number, last: number, signed: boolean];

type Strengths = (op: AugmentOp, shape: ImageShape) => Strength;

/** Strengths of RandAugment in torchvision; shifts grow with the image. */
const randStrengths: Strengths = (op, [, height, width]) => {
  switch (op) {
    case "ShearX":
    case "ShearY":
      return [0, 0.3, true];
    case "TranslateX":
      return [0, 150 / 331 * width, true];
    case "TranslateY":
      return [0, 150 / 331 * height, true];
    case "Rotate":
      return [0, 30, true];
    case "Posterize":
      return [8, 4, false];
    default:
      return rest(op, 0.9);
  }
};

/** Strengths of the wide space of TrivialAugment in torchvision. */
const trivialStrengths: Strengths = (op) => {
  switch (op) {
    case "ShearX":
    case "ShearY":
      return [0, 0.99, true];
    case "TranslateX":
    case "TranslateY":
      return [0, 32, true];
    case "Rotate":
      return [0, 135, true];
    case "Posterize":
      return [8, 2, false];
    default:
      return rest(op, 0.99);
  }
};

function rest(op: AugmentOp, factor: number): Strength {
  if (op === "Solarize") return [255, 0, false];
  const enhances = ["Brightness", "Color", "Contrast", "Sharpness"].includes(op);
  return enhances ? [0, factor, true] : [0, 0, false];
}

/** What both policies have in common. */
export interface PolicyOptions extends WarpOptions {
  /** Number of strengths, 2 to 1024. Default: 31. */
  readonly numMagnitudeBins?: number;
  /** The changes to choose from. Default: all 14 of {@linkcode AUGMENT_OPS}. */
  readonly ops?: readonly AugmentOp[];
}

/** Options of {@linkcode randAugment}. */
export interface RandAugmentOptions extends PolicyOptions {
  /** Changes of each image, one after the other, 1 to 16. Default: 2. */
  readonly numOps?: number;
  /** Number of the strength, from 0 to `numMagnitudeBins - 1`. Default: 9. */
  readonly magnitude?: number;
}

/**
 * A few changes of each image, drawn from 14, all at one strength; half of the signed ones the
 * opposite way. As torchvision's RandAugment (Cubuk et al., "RandAugment", 2020), on float images.
 *
 * Where it differs from torchvision on bytes: colours are not rounded to bytes after each change.
 * The mean of a change of contrast is not rounded, either.
 *
 * @param options numOps, magnitude, numMagnitudeBins, interpolation, fill, ops, p for each change
 * @returns a step
 * @throws {RangeError} if an option is out of range or an op has no such name; when applied, also if
 * there are not 1 or 3 channels
 *
 * @example
 * ```ts
 * import { compose, normalizeImages, randAugment } from "@legoml/legoml/data";
 * import { Key, referenceDevice, uniform } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const augment = compose([
 *   randAugment({ numOps: 2, magnitude: 9 }),
 *   normalizeImages({ mean: 0.5, std: 0.25 }),
 * ], { seed: 42 });
 * const images = uniform([8, 3, 16, 16], { key: new Key(0), device });
 * assertEquals(augment.apply(images).shape, [8, 3, 16, 16]);
 * ```
 */
export function randAugment(options: RandAugmentOptions = {}): Augmentation {
  const { numOps = 2, magnitude = 9, numMagnitudeBins = 31 } = options;
  const name = "randAugment";
  wholeIn(name, "numOps", numOps, 1, 16);
  wholeIn(name, "numMagnitudeBins", numMagnitudeBins, 2, 1024);
  wholeIn(name, "magnitude", magnitude, 0, numMagnitudeBins - 1);
  const bin = { kind: "uniform", low: magnitude, high: magnitude } as const;
  const policy = { name, options, bins: numMagnitudeBins, bin, strengths: randStrengths };
  return policyStep({ ...policy, slots: numOps }, { numOps, magnitude, numMagnitudeBins });
}

/**
 * One change of each image, drawn from 14, at a strength drawn for each image. As torchvision's
 * TrivialAugmentWide (Müller and Hutter, "TrivialAugment", 2021), on float images; it differs from
 * it as {@linkcode randAugment} does.
 *
 * @param options numMagnitudeBins, interpolation, fill, ops, p
 * @returns a step
 * @throws {RangeError} if an option is out of range or an op has no such name; when applied, also if
 * there are not 1 or 3 channels
 */
export function trivialAugmentWide(options: PolicyOptions = {}): Augmentation {
  const { numMagnitudeBins = 31 } = options;
  const name = "trivialAugmentWide";
  wholeIn(name, "numMagnitudeBins", numMagnitudeBins, 2, 1024);
  const bin = { kind: "integer", count: numMagnitudeBins } as const;
  const policy = { name, options, bins: numMagnitudeBins, bin, strengths: trivialStrengths };
  return policyStep({ ...policy, slots: 1 }, { numMagnitudeBins });
}

interface Policy {
  readonly name: string;
  readonly options: PolicyOptions;
  readonly slots: number;
  readonly bins: number;
  /** The column of the strength. */
  readonly bin: DrawColumn;
  readonly strengths: Strengths;
}

/** Columns of one change: which, its sign, its strength. */
const WIDTH = 3;

function policyStep(
  policy: Policy,
  own: { readonly [key: string]: AugmentationValue },
): Augmentation {
  const { name, options, slots, bins, bin, strengths } = policy;
  const { fills, ...warped } = warpOptions(name, options);
  const { interpolation, p } = warped;
  const ops = opsOf(name, options.ops ?? AUGMENT_OPS);
  // An image that is left as it is takes a change that does nothing.
  const listed: readonly AugmentOp[] = p < 1 ? [...ops, "Identity"] : ops;
  const codes = ops.map((op) => CODES[changes[op]]).filter((code) => code < 16);
  return makeStep(name, { ...own, ...warped, ops: [...ops] }, (shape, column) => {
    checkColours(name, shape);
    checkPerChannel(name, "fill", fills, shape);
    const [, height, width] = shape;
    const list = listed.map((op): PolicyChange => {
      const [first, last, signed] = strengths(op, shape);
      return { code: CODES[changes[op]], first, last, signed };
    });
    const which: DrawColumn = { kind: "integer", count: ops.length, p };
    return {
      columns: Array.from({ length: slots }, () => [which, { kind: "flag", p: 0.5 } as const, bin])
        .flat(),
      shape,
      apply(machine, images, draws) {
        let now = images;
        for (let slot = 0; slot < slots; slot++) {
          const spec = {
            kind: "policy",
            column: column + WIDTH * slot,
            changes: list,
            bins,
            height,
            width,
          } as const;
          const rows = rowsOf(machine, spec, draws);
          const bilinear = interpolation === "bilinear";
          const moved = warp(machine, now, rows, { bilinear, fill: fills });
          if (now !== images) machine.drop(now);
          now = changeColours(machine, moved, rows, { codes, slots: 1, column: 6 });
          machine.drop(moved);
          machine.drop(rows);
        }
        return now;
      },
    };
  });
}

function opsOf(name: string, ops: readonly AugmentOp[]): readonly AugmentOp[] {
  if (!Array.isArray(ops) || ops.length === 0) refuse(name, "ops", ops, "a list of names");
  const unknown = ops.find((op) => !AUGMENT_OPS.includes(op));
  if (unknown !== undefined) refuse(name, "op", unknown, `one of ${AUGMENT_OPS.join(", ")}`);
  return ops;
}
