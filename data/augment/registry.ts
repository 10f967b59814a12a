/** Steps by name, for pipelines that are read from plain data. */

import {
  colorJitter,
  normalizeImages,
  randomAdjustSharpness,
  randomAutocontrast,
  randomEqualize,
  randomGrayscale,
  randomInvert,
  randomPosterize,
  randomSolarize,
} from "./colour.ts";
import {
  cutout,
  randomAffine,
  randomCrop,
  randomErasing,
  randomHorizontalFlip,
  randomRotation,
  randomVerticalFlip,
} from "./geometry.ts";
import { randAugment, trivialAugmentWide } from "./policy.ts";
import type { Augmentation } from "./step.ts";

interface Maker {
  /** Names of its options. */
  readonly options: readonly string[];
  // deno-lint-ignore no-explicit-any -- each checks its own options
  readonly make: (options: any) => Augmentation;
}

const warped = ["interpolation", "fill", "p"];

const makers: Readonly<Record<string, Maker>> = {
  randomCrop: { options: ["size", "padding", "fill", "paddingMode"], make: randomCrop },
  randomHorizontalFlip: { options: ["p"], make: randomHorizontalFlip },
  randomVerticalFlip: { options: ["p"], make: randomVerticalFlip },
  randomAffine: {
    options: ["degrees", "translate", "scale", "shear", ...warped],
    make: randomAffine,
  },
  randomRotation: { options: ["degrees", ...warped], make: randomRotation },
  randomErasing: { options: ["p", "scale", "ratio", "value"], make: randomErasing },
  cutout: { options: ["size", "p", "value"], make: cutout },
  normalizeImages: { options: ["mean", "std"], make: normalizeImages },
  colorJitter: {
    options: ["brightness", "contrast", "saturation", "hue", "p"],
    make: colorJitter,
  },
  randomGrayscale: { options: ["p"], make: randomGrayscale },
  randomInvert: { options: ["p"], make: randomInvert },
  randomPosterize: { options: ["bits", "p"], make: randomPosterize },
  randomSolarize: { options: ["threshold", "p"], make: randomSolarize },
  randomAutocontrast: { options: ["p"], make: randomAutocontrast },
  randomEqualize: { options: ["p"], make: randomEqualize },
  randomAdjustSharpness: { options: ["factor", "p"], make: randomAdjustSharpness },
  randAugment: {
    options: ["numOps", "magnitude", "numMagnitudeBins", "ops", ...warped],
    make: randAugment,
  },
  trivialAugmentWide: {
    options: ["numMagnitudeBins", "ops", ...warped],
    make: trivialAugmentWide,
  },
};

function fail(reason: string): never {
  throw new TypeError(`Cannot make an AugmentPipeline from JSON: ${reason}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads a pipeline.
 *
 * @param json plain data
 * @returns its steps and seed
 * @throws {TypeError} if it is no such data, or a name is unknown
 * @throws {RangeError} if an option is out of range
 */
export function parsePipeline(json: unknown): { steps: Augmentation[]; seed?: number } {
  if (!isObject(json) || !Array.isArray(json.steps)) {
    fail("expected an object with a list of steps");
  }
  const { steps, seed } = json;
  const unknown = Object.keys(json).find((key) => key !== "steps" && key !== "seed");
  if (unknown !== undefined) fail(`expected seed and steps, found ${unknown}`);
  if (seed !== undefined && typeof seed !== "number") {
    fail(`expected a number as seed, found ${typeof seed}`);
  }
  return { steps: (steps as unknown[]).map(parseStep), seed };
}

function parseStep(json: unknown, at: number): Augmentation {
  if (!isObject(json) || typeof json.name !== "string") {
    fail(`expected an object with a name as step ${at}`);
  }
  const { name, ...options } = json;
  if (!Object.hasOwn(makers, name as string)) {
    fail(`expected step ${at} to be one of ${Object.keys(makers).join(", ")}, found ${name}`);
  }
  const maker = makers[name as string];
  const unknown = Object.keys(options).find((option) => !maker.options.includes(option));
  if (unknown !== undefined) {
    fail(`expected options of ${name} among ${maker.options.join(", ")}, found ${unknown}`);
  }
  return maker.make(options);
}
