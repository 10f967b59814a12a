/**
 * What runs on a device, as data: the elementwise table, formulas, and the form of kernels and kernel calls. For people who
 * add ops or write backends; models need none of it.
 *
 * @example
 * ```ts
 * import { table } from "@legoml/legoml/kernels";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(table.relu.ref(-2, 0, 0), 0);
 * ```
 *
 * @module
 */

export { DTypeError, ShapeError } from "./errors.ts";
export { apply, cast, constant, type Expr, input, scalar } from "./expr.ts";
export type { Gradient, Row, RowKind, RowOf, Tolerance } from "./rows/row.ts";
export { type BinaryName, type OpName, table, type TernaryName, type UnaryName } from "./table.ts";
export type {
  DeviceTraits,
  DType,
  Kernel,
  KernelCall,
  Operand,
  ScalarType,
  Shape,
  WgslProgram,
} from "./types.ts";
