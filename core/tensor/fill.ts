/** Tensors of one value. */

import type { Device } from "../backend/device.ts";
import { scalar } from "../../kernels/expr.ts";
import type { DType, ScalarType, Shape } from "../../kernels/types.ts";
import { launchMap } from "./launch.ts";
import type { Tensor } from "./tensor.ts";

/** The type in which numbers for a tensor of this dtype are handed to kernels. */
export function scalarType(dtype: DType): ScalarType {
  return dtype === "i32" ? "i32" : dtype === "u32" || dtype === "bool" ? "u32" : "f32";
}

/** A new tensor with one value everywhere. */
export function fullOn(device: Device, shape: Shape, dtype: DType, value: number): Tensor {
  const type = scalarType(dtype);
  const expr = scalar(0, type);
  const number = dtype === "bool" ? Number(Boolean(value)) : value;
  return launchMap("full", expr, [], dtype, { values: [number], types: [type] }, device, {
    shape,
  });
}
