/** Making tensors from host data and from rules. */

import type { HostArray } from "../backend/backend.ts";
import { type Device, deviceOr } from "../backend/device.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { type DType, isFloat, type Shape, sizeOf } from "../../kernels/types.ts";
import { fullOn } from "./fill.ts";
import { empty, type Tensor } from "./tensor.ts";

/** How a new tensor is made. */
export interface TensorOptions {
  /** Element type. @default {f32; that of the array for typed arrays; bool for booleans} */
  readonly dtype?: DType;
  /** Where it lives. @default {the default device} */
  readonly device?: Device;
  /** Whether backward() shall reach it. @default {false} */
  readonly requiresGrad?: boolean;
}

/** How a tensor is made from host data. */
export interface DataOptions extends TensorOptions {
  /** Sizes of the axes, for typed and flat arrays. @default {that of the nesting} */
  readonly shape?: Shape;
}

/** Host data of a tensor: a number, nested arrays of numbers or booleans, or a typed array. */
export type TensorData = number | boolean | HostArray | readonly NestedData[];

/** Numbers or booleans nested in arrays. */
export type NestedData = number | boolean | readonly NestedData[];

/**
 * A tensor from host data.
 *
 * @param data a number, nested arrays of equal length, or a typed array with a shape
 * @param options dtype, shape, device, requiresGrad
 * @returns a tensor of the shape of the nesting, or of the shape given
 * @throws {ShapeError} if the nesting is ragged or the shape does not fit
 * @throws {TypeError} if the data hold something that is no number or boolean
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[1, 2], [3, 4]], { device: referenceDevice() });
 * assertEquals(await x.mul(10).sum(0).array(), [40, 60]);
 * ```
 */
export function tensor(data: TensorData, options: DataOptions = {}): Tensor {
  const device = deviceOr(options.device);
  const host = flatten(data);
  const shape = checkShape("tensor", options.shape ?? host.shape);
  if (sizeOf(shape) !== host.values.length) {
    throw new ShapeError(
      `Cannot make a tensor of shape ${showShape(shape)}: expected ${
        sizeOf(shape)
      } values, found ${host.values.length}`,
    );
  }
  const dtype = options.dtype ?? host.dtype;
  const out = fromHost(device, host.values, shape, dtype);
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

function fromHost(device: Device, values: ArrayLike<number>, shape: Shape, dtype: DType): Tensor {
  if (dtype === "f16") {
    const full = fromHost(device, values, shape, "f32");
    const half = full.to("f16");
    full.dispose();
    return half;
  }
  const out = empty(device, shape, dtype, "tensor");
  if (out.size > 0) {
    device.write(out.storage, hostArray(values, dtype, device));
  }
  return out;
}

/** The values in the array type that backends take for a dtype. */
function hostArray(values: ArrayLike<number>, dtype: DType, device: Device): HostArray {
  switch (dtype) {
    case "i32":
      return values instanceof Int32Array ? values : Int32Array.from(values);
    case "u32":
      return values instanceof Uint32Array ? values : Uint32Array.from(values);
    case "bool":
      return Uint8Array.from(values, (v) => v ? 1 : 0);
    default:
      if (device.kind === "reference") {
        return values instanceof Float64Array ? values : Float64Array.from(values);
      }
      return values instanceof Float32Array ? values : Float32Array.from(values);
  }
}

function flatten(data: TensorData): { values: ArrayLike<number>; shape: number[]; dtype: DType } {
  if (data instanceof Int32Array) return { values: data, shape: [data.length], dtype: "i32" };
  if (data instanceof Uint32Array) return { values: data, shape: [data.length], dtype: "u32" };
  if (data instanceof Uint8Array) return { values: data, shape: [data.length], dtype: "u32" };
  if (data instanceof Float32Array || data instanceof Float64Array) {
    return { values: data, shape: [data.length], dtype: "f32" };
  }
  const shape: number[] = [];
  for (let at: unknown = data; Array.isArray(at); at = at[0]) shape.push(at.length);
  const values: number[] = [];
  let booleans = true;
  const visit = (value: unknown, d: number): void => {
    if (d < shape.length) {
      if (!Array.isArray(value) || value.length !== shape[d]) {
        throw new ShapeError(
          `Cannot make a tensor of ragged arrays: expected ${
            shape[d]
          } elements along axis ${d}, found ${Array.isArray(value) ? value.length : "a number"}`,
        );
      }
      for (const inner of value) visit(inner, d + 1);
    } else if (typeof value === "number" || typeof value === "boolean") {
      booleans &&= typeof value === "boolean";
      values.push(Number(value));
    } else {
      throw new TypeError(
        `Cannot make a tensor of ${typeof value}: expected numbers, booleans, arrays of them, or a typed array`,
      );
    }
  };
  visit(data, 0);
  return { values, shape, dtype: booleans && values.length > 0 ? "bool" : "f32" };
}

/** The shape, if it is one. @throws {ShapeError} otherwise */
export function checkShape(op: string, shape: Shape): Shape {
  if (!Array.isArray(shape) || shape.some((n) => !Number.isInteger(n) || n < 0)) {
    throw new ShapeError(
      `Cannot make a ${op} of shape ${
        JSON.stringify(shape)
      }: expected an array of integers of at least 0`,
    );
  }
  return [...shape];
}

/** A tensor with one value everywhere. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const dtype = options.dtype ?? "f32";
  const out = fullOn(deviceOr(options.device), checkShape("tensor", shape), dtype, value);
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

/** A tensor of ones. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** Zeros of the shape, dtype and device of another tensor. */
export function zerosLike(like: Tensor): Tensor {
  return fullOn(like.device, like.shape, like.dtype, 0);
}

/** Ones of the shape, dtype and device of another tensor. */
export function onesLike(like: Tensor): Tensor {
  return fullOn(like.device, like.shape, like.dtype, 1);
}

/**
 * The numbers from `start` to before `stop` in steps.
 *
 * @throws {RangeError} if the step is 0 or leads away from `stop`
 */
export function arange(start: number, stop: number, step = 1, options: TensorOptions = {}): Tensor {
  const count = Math.ceil((stop - start) / step);
  if (!Number.isFinite(count) || count < 0) {
    throw new RangeError(`Cannot make a range from ${start} to ${stop} in steps of ${step}`);
  }
  const values = Float64Array.from({ length: count }, (_, i) => start + i * step);
  const whole = [start, step].every(Number.isInteger);
  return tensor(values, { ...options, dtype: options.dtype ?? (whole ? "i32" : "f32") });
}

/** `count` numbers from `start` to `stop`, both included, evenly spaced. */
export function linspace(
  start: number,
  stop: number,
  count: number,
  options: TensorOptions = {},
): Tensor {
  if (!Number.isInteger(count) || count < 0) {
    throw new RangeError(`Cannot make ${count} numbers: expected an integer of at least 0`);
  }
  const step = count > 1 ? (stop - start) / (count - 1) : 0;
  return tensor(Float64Array.from({ length: count }, (_, i) => start + i * step), {
    ...options,
    dtype: options.dtype ?? "f32",
  });
}

/** The identity matrix: `n` rows and, by default, as many columns. */
export function eye(n: number, m: number = n, options: TensorOptions = {}): Tensor {
  checkShape("matrix", [n, m]);
  const values = new Float64Array(n * m);
  for (let i = 0; i < Math.min(n, m); i++) values[i * m + i] = 1;
  return tensor(values, { ...options, shape: [n, m], dtype: options.dtype ?? "f32" });
}

/**
 * Rows with a one at the place of each class: [...] integers give [..., classes] i32.
 *
 * @param labels i32 or u32, from 0 to `classes - 1`; others give a row of zeros
 * @throws {DTypeError} if the labels are no integers
 */
export function oneHot(labels: Tensor, classes: number): Tensor {
  if (isFloat(labels.dtype) || labels.dtype === "bool") {
    throw new DTypeError(`Cannot encode labels of dtype ${labels.dtype}: expected i32 or u32`);
  }
  const places = arange(0, classes, 1, { device: labels.device, dtype: labels.dtype });
  return labels.unsqueeze(-1).eq(places).to("i32");
}
