/**
 * Devices, tensors, autograd, random keys, optimizers and the training engine.
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([1, 2, 3], { device, requiresGrad: true });
 * x.mul(x).sum().backward();
 * assertEquals(await x.grad!.array(), [2, 4, 6]);
 * ```
 *
 * @module
 */

import "./tensor/methods.ts";

export * from "./errors.ts";
export type {
  DeviceTraits,
  DType,
  Kernel,
  KernelCall,
  Operand,
  ScalarType,
  Shape,
  WgslProgram,
} from "../kernels/types.ts";
export type { BinaryName, OpName, TernaryName, UnaryName } from "../kernels/table.ts";
export type { Backend, HostArray, MemoryStats, WorkStats } from "./backend/backend.ts";
export type { DeviceKind } from "./backend/choose.ts";
export {
  Device,
  type DeviceOptions,
  getDevice,
  type Recorder,
  referenceDevice,
  type Releasable,
  setDefaultDevice,
  StepScope,
  type Storage,
} from "./backend/device.ts";
export { setDebug } from "./backend/debug.ts";
export {
  type HostTime,
  profile,
  type ProfileOptions,
  ProfileSession,
  startProfile,
} from "./profile.ts";
export { type ProfileData, ProfileReport, type ProfileRow } from "./profile_report.ts";
export type { DispatchRecord, HostSpan } from "./backend/profiler.ts";
export { backward, type BackwardOptions, grad, type GradOptions } from "./tensor/autograd.ts";
export {
  type BackwardRule,
  isGradEnabled,
  noGrad,
  setGradEnabled,
  type TapeNode,
} from "./tensor/tape.ts";
export {
  arange,
  type DataOptions,
  eye,
  full,
  linspace,
  type NestedData,
  oneHot,
  ones,
  onesLike,
  tensor,
  type TensorData,
  type TensorOptions,
  zeros,
  zerosLike,
} from "./tensor/create.ts";
export {
  getRngState,
  Key,
  manualSeed,
  nextKey,
  type RngState,
  seedScope,
  setRngState,
  threefry2x32,
} from "./tensor/random.ts";
export { type NestedArray, Tensor, type ViewSpec } from "./tensor/tensor.ts";
export { concat, type SliceRange, stack } from "./tensor/view.ts";
export {
  type BinaryMethods,
  type DefaultedName,
  elementwise,
  type TensorOrNumber,
  type TernaryMethods,
  type UnaryMethods,
} from "./tensor/elementwise.ts";
export type { TensorMethods } from "./tensor/methods.ts";
export type { Dim, ReduceOptions, VarianceOptions } from "./tensor/reduce.ts";
export {
  autocast,
  type AutocastDType,
  autocastDType,
  conv2d,
  convTranspose2d,
  linear,
  matmul,
} from "./tensor/autocast.ts";
export type { ConvOptions, ConvTransposeOptions, Pair } from "./tensor/conv2d.ts";
export {
  type CustomBackward,
  type CustomContext,
  type CustomForward,
  customFunction,
  type CustomOutput,
} from "./tensor/custom.ts";
export { scaleShift, standardize, type Standardized } from "./tensor/norm.ts";
export { embedding, type EmbeddingOptions } from "./tensor/gather.ts";
export {
  augmentationDraw,
  gatherImages,
  type GatherImagesOptions,
  type ImageAugmentation,
  type ImageDraw,
} from "./tensor/gather_images.ts";
export {
  bernoulli,
  type DrawOptions,
  dropoutMask,
  normal,
  type NormalOptions,
  permutation,
  randint,
  type RandomOptions,
  truncatedNormal,
  type TruncatedNormalOptions,
  uniform,
  type UniformOptions,
} from "./tensor/random_tensors.ts";
export type { SortOptions, TopkOptions } from "./tensor/sort.ts";
export type { SortedLines } from "./tensor/sort_lines.ts";
export {
  crossEntropy,
  type CrossEntropyOptions,
  nllLoss,
  type NllLossOptions,
  type Reduction,
} from "./tensor/cross_entropy.ts";
export {
  adaptiveAvgPool2d,
  avgPool2d,
  type AvgPool2dOptions,
  globalAvgPool2d,
  maxPool2d,
  type MaxPool2dOptions,
} from "./tensor/pool2d.ts";
export { interpolate, type InterpolateMode, type InterpolateOptions } from "./tensor/resize2d.ts";
export { tril, triu } from "./tensor/triangle.ts";
export {
  type AttentionDropout,
  type AttentionOptions,
  scaledDotProductAttention,
} from "./tensor/attention.ts";
export * from "./optim/mod.ts";
export * from "./schedule/mod.ts";
export * from "./engine/mod.ts";
export { jit, type JitOptions, type JitStats, type Jitted } from "./tensor/jit.ts";
export {
  GradNormCallback,
  type GradNormOptimizer,
  type GradNormOptions,
} from "./grad_norm_callback.ts";
export { MAP_TENSORS } from "./leaves.ts";
export {
  autoencoderStep,
  type CaptureOptions,
  type EvaluationContext,
  evaluationStep,
  type ForwardModel,
  type LossFunction,
  type StepOptimizer,
  type SupervisedBatch,
  supervisedStep,
  type TrainingContext,
  type TrainingStepOptions,
  type UnsupervisedBatch,
} from "./steps.ts";
