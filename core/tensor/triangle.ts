/** Triangles of matrices. */

import { apply, constant, type Expr, input, scalar } from "../../kernels/expr.ts";
import { ShapeError, showShape } from "../errors.ts";
import { arange } from "./create.ts";
import { map } from "./map.ts";
import type { Tensor } from "./tensor.ts";

/**
 * The upper triangle of matrices: `y[i][j] = x[i][j]` where `j - i ≥ diagonal`, 0 elsewhere.
 * Differentiable.
 *
 * @param t [..., M, N], any dtype
 * @param diagonal first diagonal that stays: 0 is the main one, above it they are positive
 * @returns a new tensor of the shape and dtype of `t`
 * @throws {ShapeError} if there are fewer than two axes
 * @throws {RangeError} if `diagonal` is not an integer
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor, triu } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]], { device: referenceDevice() });
 * assertEquals(await triu(x).array(), [[1, 2, 3], [0, 5, 6]]);
 * assertEquals(await triu(x, 1).array(), [[0, 2, 3], [0, 0, 6]]);
 * ```
 */
export function triu(t: Tensor, diagonal = 0): Tensor {
  return triangle("triu", "ge", t, diagonal);
}

/**
 * The lower triangle of matrices: `y[i][j] = x[i][j]` where `j - i ≤ diagonal`, 0 elsewhere.
 * Differentiable.
 *
 * @param t [..., M, N], any dtype
 * @param diagonal last diagonal that stays: 0 is the main one, below it they are negative
 * @returns a new tensor of the shape and dtype of `t`
 * @throws {ShapeError} if there are fewer than two axes
 * @throws {RangeError} if `diagonal` is not an integer
 */
export function tril(t: Tensor, diagonal = 0): Tensor {
  return triangle("tril", "le", t, diagonal);
}

function triangle(op: string, compare: "ge" | "le", t: Tensor, diagonal: number): Tensor {
  if (t.ndim < 2) {
    throw new ShapeError(`Cannot ${op} ${showShape(t.shape)}: expected at least two axes`);
  }
  if (!Number.isInteger(diagonal) || Math.abs(diagonal) >= 2 ** 31) {
    throw new RangeError(`Cannot ${op} from diagonal ${diagonal}: expected an integer`);
  }
  const [m, n] = t.shape.slice(-2);
  const rows = arange(0, m, 1, { device: t.device }).unsqueeze(1);
  const columns = arange(0, n, 1, { device: t.device });
  const place = apply("sub", input(2), input(1));
  const stays = apply(compare, place, scalar(0, "i32"));
  return map(op, part(t, stays), [t, rows, columns], {
    scalars: { values: [diagonal], types: ["i32"] },
  });
}

/** The values where the condition holds, the zero of their type elsewhere. */
function part(t: Tensor, stays: Expr): Expr {
  if (t.dtype === "bool") return apply("logicalAnd", input(0), stays);
  return apply("where", stays, input(0), constant(0, t.dtype === "f16" ? "f32" : t.dtype));
}
