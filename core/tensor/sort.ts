/** Sorting and the largest or smallest elements, along an axis. */

import { ShapeError, showShape } from "../errors.ts";
import { placeOnto } from "./picks.ts";
import { axisOf } from "./shape.ts";
import { type SortedLines, sortLines } from "./sort_lines.ts";
import { noGrad, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** How to sort. */
export interface SortOptions {
  /** Largest first. @default {false} */
  readonly descending?: boolean;
}

/** Which elements are wanted. */
export interface TopkOptions {
  /** The largest, largest first; else the smallest, smallest first. @default {true} */
  readonly largest?: boolean;
}

/**
 * Sorts along an axis. Equal elements keep their order, NaN counts as the largest. The values are
 * differentiable.
 *
 * @param t any dtype
 * @param dim the axis
 * @returns `values` in the dtype of `t` and `indices` (i32) along the axis: `values[i] =
 * t[indices[i]]`
 * @throws {ShapeError} if there is no such axis
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const { values, indices } = tensor([3, 1, 2], { device: referenceDevice() }).sort();
 * assertEquals(await values.array(), [1, 2, 3]);
 * assertEquals(await indices.array(), [1, 2, 0]);
 * ```
 */
export function sort(t: Tensor, dim = -1, { descending = false }: SortOptions = {}): SortedLines {
  const axis = axisOf("sort", dim, t.ndim);
  return ordered("sort", t, axis, t.shape[axis], descending);
}

/**
 * The `k` largest elements along an axis, in order. The first of equals wins, NaN counts as the
 * largest. The values are differentiable.
 *
 * @param t any dtype
 * @param k from 0 to the size of the axis
 * @param dim the axis
 * @returns `values` in the dtype of `t` and `indices` (i32) along the axis, both with `k` elements
 * there
 * @throws {ShapeError} if there is no such axis
 * @throws {RangeError} if the axis has no `k` elements
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const { values, indices } = tensor([3, 1, 4, 2], { device: referenceDevice() }).topk(2);
 * assertEquals(await values.array(), [4, 3]);
 * assertEquals(await indices.array(), [2, 0]);
 * ```
 */
export function topk(
  t: Tensor,
  k: number,
  dim = -1,
  { largest = true }: TopkOptions = {},
): SortedLines {
  const axis = axisOf("topk", dim, t.ndim);
  if (!Number.isInteger(k) || k < 0 || k > t.shape[axis]) {
    throw new ShapeError(
      `Cannot take the ${k} ${largest ? "largest" : "smallest"} elements along axis ${axis} of ${
        showShape(t.shape)
      }: expected an integer from 0 to ${t.shape[axis]}`,
    );
  }
  return ordered("topk", t, axis, k, largest);
}

function ordered(
  op: string,
  t: Tensor,
  axis: number,
  keep: number,
  descending: boolean,
): SortedLines {
  const narrow = t.dtype === "f16";
  const wide = noGrad(() => narrow ? t.to("f32") : t);
  const { values, indices } = sortLines(op, wide, axis, keep, descending);
  const result = noGrad(() => narrow ? values.to("f16") : values);
  record(op, result, [t], (g) => [placeOnto(g, t.shape, axis, indices)], [indices]);
  return { values: result, indices };
}
