/** Augmentation of images by keyed random numbers, on the host and on devices. */

export {
  colorJitter,
  type ColorJitterOptions,
  type JitterRange,
  normalizeImages,
  randomAdjustSharpness,
  randomAutocontrast,
  randomEqualize,
  randomGrayscale,
  randomInvert,
  randomPosterize,
  randomSolarize,
} from "./colour.ts";
export {
  type AugmentInterpolation,
  cutout,
  type CutoutOptions,
  randomAffine,
  type RandomAffineOptions,
  randomCrop,
  type RandomCropOptions,
  randomErasing,
  type RandomErasingOptions,
  randomHorizontalFlip,
  randomRotation,
  type RandomRotationOptions,
  randomVerticalFlip,
  type WarpOptions,
} from "./geometry.ts";
export { AugmentLoader, type AugmentLoaderOptions } from "./loader.ts";
export { BatchMixer, type BatchMixerOptions, type MixedBatch, softTargets } from "./mix.ts";
export {
  type AugmentedImage,
  AugmentPipeline,
  type AugmentPipelineJson,
  compose,
} from "./pipeline.ts";
export {
  AUGMENT_OPS,
  type AugmentOp,
  type PolicyOptions,
  randAugment,
  type RandAugmentOptions,
  trivialAugmentWide,
} from "./policy.ts";
export type { AugmentPosition, RandomSource } from "./position.ts";
export type {
  Augmentation,
  AugmentationJson,
  AugmentationValue,
  ImageShape,
  PerChannel,
} from "./step.ts";
