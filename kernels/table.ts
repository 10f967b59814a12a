/** The elementwise vocabulary: every row in one table, complete by type. */

import { activations } from "./rows/activation.ts";
import { arithmetic } from "./rows/arithmetic.ts";
import { exponential } from "./rows/exponential.ts";
import { logic } from "./rows/logic.ts";
import type { Row } from "./rows/row.ts";
import { trigonometric } from "./rows/trigonometric.ts";

/** Rows of one argument. */
export type UnaryName = "neg" | "square" | "exp" | "log" | "sqrt" | "rsqrt" | "relu" | "logicalNot";

/** Rows of two arguments. */
export type BinaryName =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "maximum"
  | "eq"
  | "ne"
  | "gt"
  | "ge"
  | "lt"
  | "le";

/** Rows of three arguments. */
export type TernaryName = "where";

/** Name of an elementwise op. */
export type OpName = UnaryName | BinaryName | TernaryName;

/** Every elementwise op by name. */
export const table: { readonly [K in OpName]: Row } = {
  ...arithmetic,
  ...exponential,
  ...trigonometric,
  ...activations,
  ...logic,
};
