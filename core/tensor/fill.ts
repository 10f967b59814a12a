/** Tensors of one value. */

import type { Device } from "../backend/device.ts";
import { cast, type Expr, scalar } from "../../kernels/expr.ts";
import type { DType, ScalarType, Shape } from "../../kernels/types.ts";
import { launchMap, type Scalars } from "./launch.ts";
import type { Tensor } from "./tensor.ts";

/** The type in which numbers for a tensor of this dtype are handed to kernels. */
function scalarType(dtype: DType): ScalarType {
  return dtype === "i32" ? "i32" : dtype === "u32" || dtype === "bool" ? "u32" : "f32";
}

/** The formula of one value everywhere, with that value for tensors of this dtype. */
export function fillFormula(dtype: DType, value: number): { expr: Expr; scalars: Scalars } {
  const type = scalarType(dtype);
  const number = scalar(0, type);
  return dtype === "bool"
    ? { expr: cast(number, "bool"), scalars: { values: [Number(Boolean(value))], types: [type] } }
    : { expr: number, scalars: { values: [value], types: [type] } };
}

/** A new tensor with one value everywhere. */
export function fullOn(device: Device, shape: Shape, dtype: DType, value: number): Tensor {
  const { expr, scalars } = fillFormula(dtype, value);
  return launchMap("full", expr, [], dtype, scalars, device, { shape });
}
