/**
 * A wall between formulas that become one kernel: compilers may contract a product and a sum into one rounding, or combine
 * constants, and a fused step shall have the bits of its parts.
 */

import { apply, constant, type Expr, scalar } from "../../kernels/expr.ts";
import type { DType } from "../../kernels/types.ts";
import type { ScalarCell } from "./recording.ts";

/** Rows whose results no later operation can be combined with: they choose or round. */
const walls = new Set(
  "where relu relu6 maximum minimum clamp floor ceil round trunc eq ne gt ge lt le logicalAnd logicalOr logicalNot isNan"
    .split(" "),
);

/** Whether what comes after a formula may be combined with it. */
export function isOpen(expr: Expr): boolean {
  // A conversion there and back would become a cut, which keeps the sign of a zero.
  if (expr.kind === "cast") return expr.to !== "bool";
  // Signs are part of the operation that reads them.
  if (expr.kind === "op" && (expr.op === "neg" || expr.op === "abs")) return isOpen(expr.args[0]);
  return expr.kind === "op" && !walls.has(expr.op);
}

/** Whether a formula combines an input with others before it chooses or rounds. */
export function combines(expr: Expr, index: number): boolean {
  if (expr.kind !== "op" && expr.kind !== "cast") return false;
  const direct = expr.args.some((e) => e.kind === "input" && e.index === index);
  const open = expr.kind === "cast" || !walls.has(expr.op);
  return (direct && open) || expr.args.some((e) => combines(e, index));
}

/** The number that walls are made of: compilers cannot know that it is 0. */
export const zeroCell: ScalarCell = { values: [0] };

/** The same value, behind a choice that nobody can see through; `index` is the number of a u32 scalar that is 0. */
export function opaque(expr: Expr, index: number, type: DType = "f32"): Expr {
  const zero = apply("eq", scalar(index, "u32"), constant(0, "u32"));
  return apply("where", zero, expr, constant(0, type));
}
