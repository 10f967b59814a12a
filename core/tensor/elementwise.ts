/** The rows of the elementwise table as ops on tensors and numbers. */

import { apply, cast, type Expr, input, scalar } from "../../kernels/expr.ts";
import {
  type BinaryName,
  type OpName,
  table,
  type TernaryName,
  type UnaryName,
} from "../../kernels/table.ts";
import { isFloat, type ScalarType } from "../../kernels/types.ts";
import { DTypeError } from "../errors.ts";
import { checkDevices } from "./launch.ts";
import { map } from "./map.ts";
import type { Tensor } from "./tensor.ts";

/** An operand of an elementwise op; a number stands for a tensor of one value. */
export type TensorOrNumber = Tensor | number;

/** Operands that may be left out, from the second on, as in PyTorch. */
const defaults: { readonly [K in OpName]?: readonly number[] } = {
  leakyRelu: [0.01],
  elu: [1],
  celu: [1],
  hardshrink: [0.5],
  softshrink: [0.5],
};

/** A row as a method: with PyTorch's defaults for operands that are left out. */
export function elementwiseMethod(op: OpName, t: Tensor, ...rest: TensorOrNumber[]): Tensor {
  const filled = defaults[op]?.map((value, i) => rest[i] ?? value) ?? rest;
  return elementwise(op, t, ...filled);
}

/**
 * The values held between two bounds, of which one may be left out; gradients pass at the bounds, as in PyTorch.
 *
 * @param min lower bound, or null
 * @param max upper bound, or null
 * @throws {TypeError} if both are left out
 */
export function clamp(t: Tensor, min?: TensorOrNumber | null, max?: TensorOrNumber | null): Tensor {
  if (min === undefined && max === undefined) {
    throw new TypeError("Cannot clamp without bounds: expected min, max or both");
  }
  const whole = !isFloat(t.dtype);
  if (whole && (min ?? null) === null) return elementwise("minimum", t, max!);
  if (whole && (max ?? null) === null) return elementwise("maximum", t, min!);
  return elementwise("clamp", t, min ?? -Infinity, max ?? Infinity);
}

/** Applies a row to tensors and numbers, at least one of them a tensor. */
export function elementwise(op: OpName, ...operands: readonly TensorOrNumber[]): Tensor {
  const { arity } = table[op];
  if (operands.length !== arity) {
    throw new TypeError(`Cannot ${op} ${operands.length} operands: expected ${arity}`);
  }
  const tensors = operands.filter((o) => typeof o !== "number");
  if (tensors.length === 0) {
    throw new TypeError(`Cannot ${op} numbers only: expected at least one tensor`);
  }
  if (operands.length !== table[op].arity) {
    throw new TypeError(
      `Cannot ${op} ${operands.length} operands: expected ${table[op].arity}`,
    );
  }
  checkOperands(op, tensors);
  const values: number[] = [];
  const types: ScalarType[] = [];
  let next = 0;
  const args = operands.map((o): Expr => {
    if (typeof o !== "number") return input(next++);
    const type = numberType(o, tensors);
    values.push(o);
    types.push(type);
    return scalar(values.length - 1, type);
  });
  if (table[op].kind === "select" && typeof operands[0] === "number") {
    args[0] = cast(args[0], "bool");
  }
  return map(op, apply(op, ...args), tensors, { scalars: { values, types } });
}

function checkOperands(op: OpName, tensors: readonly Tensor[]): void {
  for (const t of tensors) {
    if (typeof t?.storage !== "object") {
      throw new TypeError(`Cannot ${op} a value of type ${typeof t}: expected tensors and numbers`);
    }
  }
  checkDevices(op, tensors);
}

/** A number takes the integer type of the tensors beside it where it fits, f32 otherwise. */
function numberType(value: number, tensors: readonly Tensor[]): ScalarType {
  if (typeof value !== "number") throw new DTypeError(`Expected a number, found ${typeof value}`);
  if (!Number.isInteger(value) || tensors.some((t) => isFloat(t.dtype))) return "f32";
  const unsigned = tensors.some((t) => t.dtype === "u32") && value >= 0;
  const fits = unsigned ? value < 2 ** 32 : value >= -(2 ** 31) && value < 2 ** 31;
  return !fits ? "f32" : unsigned ? "u32" : "i32";
}

/** Methods of the rows with one argument. */
export type UnaryMethods = { readonly [K in UnaryName]: () => Tensor };

/** Rows whose second operand may be left out. */
export type DefaultedName = "leakyRelu" | "elu" | "celu" | "hardshrink" | "softshrink";

/** Methods of the rows with two arguments. */
export type BinaryMethods =
  & { readonly [K in Exclude<BinaryName, DefaultedName>]: (other: TensorOrNumber) => Tensor }
  & { readonly [K in DefaultedName]: (other?: TensorOrNumber) => Tensor };

/** Methods of the rows with three arguments; for `where` the tensor is the condition. */
export type TernaryMethods = {
  readonly [K in Exclude<TernaryName, "clamp">]: (
    second: TensorOrNumber,
    third: TensorOrNumber,
  ) => Tensor;
};
