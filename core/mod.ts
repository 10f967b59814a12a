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
export type { HostArray, MemoryStats, WorkStats } from "./backend/backend.ts";
export {
  Device,
  type DeviceOptions,
  getDevice,
  referenceDevice,
  setDefaultDevice,
  StepScope,
} from "./backend/device.ts";
export { backward, type BackwardOptions, grad, type GradOptions } from "./tensor/autograd.ts";
export { isGradEnabled, noGrad, setGradEnabled } from "./tensor/tape.ts";
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
export { Key, manualSeed, nextKey, seedScope, threefry2x32 } from "./tensor/random.ts";
export { type NestedArray, Tensor, type ViewSpec } from "./tensor/tensor.ts";
export { concat, stack } from "./tensor/view.ts";
export { linear } from "./tensor/matmul.ts";
export {
  conv2d,
  type ConvOptions,
  convTranspose2d,
  type ConvTransposeOptions,
  type Pair,
} from "./tensor/conv2d.ts";
export { scaleShift, standardize, type Standardized } from "./tensor/norm.ts";
export * from "./engine/mod.ts";
