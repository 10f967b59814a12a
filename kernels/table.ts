/** The elementwise vocabulary: every row in one table, complete by type. */

import { activations } from "./rows/activation.ts";
import { arithmetic } from "./rows/arithmetic.ts";
import { exponential } from "./rows/exponential.ts";
import { logic } from "./rows/logic.ts";
import { rounding } from "./rows/rounding.ts";
import type { RowOf } from "./rows/row.ts";
import { special } from "./rows/special.ts";
import { trigonometric } from "./rows/trigonometric.ts";

/** Rows of one argument. */
export type UnaryName =
  | "neg"
  | "square"
  | "reciprocal"
  | "abs"
  | "sign"
  | "floor"
  | "ceil"
  | "round"
  | "trunc"
  | "frac"
  | "exp"
  | "exp2"
  | "expm1"
  | "log"
  | "log2"
  | "log10"
  | "log1p"
  | "sqrt"
  | "rsqrt"
  | "sin"
  | "cos"
  | "tan"
  | "asin"
  | "acos"
  | "atan"
  | "sinh"
  | "cosh"
  | "tanh"
  | "asinh"
  | "acosh"
  | "atanh"
  | "erf"
  | "erfc"
  | "relu"
  | "relu6"
  | "selu"
  | "gelu"
  | "geluTanh"
  | "silu"
  | "mish"
  | "sigmoid"
  | "logSigmoid"
  | "softplus"
  | "softsign"
  | "hardtanh"
  | "hardsigmoid"
  | "hardswish"
  | "tanhshrink"
  | "logicalNot"
  | "isNan"
  | "isInf"
  | "isFinite";

/** Rows of two arguments. */
export type BinaryName =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "maximum"
  | "minimum"
  | "remainder"
  | "fmod"
  | "floorDivide"
  | "hypot"
  | "pow"
  | "logaddexp"
  | "xlogy"
  | "atan2"
  | "leakyRelu"
  | "elu"
  | "celu"
  | "hardshrink"
  | "softshrink"
  | "eq"
  | "ne"
  | "gt"
  | "ge"
  | "lt"
  | "le"
  | "logicalAnd"
  | "logicalOr"
  | "logicalXor";

/** Rows of three arguments. */
export type TernaryName = "lerp" | "clamp" | "where";

/** Name of an elementwise op. */
export type OpName = UnaryName | BinaryName | TernaryName;

/** Every elementwise op by name. */
export const table:
  & { readonly [K in UnaryName]: RowOf<1> }
  & { readonly [K in BinaryName]: RowOf<2> }
  & { readonly [K in TernaryName]: RowOf<3> } = {
    ...arithmetic,
    ...rounding,
    ...exponential,
    ...trigonometric,
    ...special,
    ...activations,
    ...logic,
  };
