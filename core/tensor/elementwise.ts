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

/** Applies a row to tensors and numbers, at least one of them a tensor. */
export function elementwise(op: OpName, ...operands: readonly TensorOrNumber[]): Tensor {
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

/** Methods of the rows with two arguments. */
export type BinaryMethods = { readonly [K in BinaryName]: (other: TensorOrNumber) => Tensor };

/** Methods of the rows with three arguments; for `where` the tensor is the condition. */
export type TernaryMethods = {
  readonly [K in TernaryName]: (second: TensorOrNumber, third: TensorOrNumber) => Tensor;
};
