/**
 * Elements and rows by index. An index outside of its axis cannot be refused without waiting for
 * the device: reading there gives NaN (0 for integers, false for bool), adding there does nothing.
 */

import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { checkDevices } from "./launch.ts";
import { readAt, sumAt } from "./picks.ts";
import { axisOf } from "./shape.ts";
import { noGrad, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

function checkIndex(op: string, t: Tensor, index: Tensor): void {
  if (index.dtype !== "i32" && index.dtype !== "u32") {
    throw new DTypeError(
      `Cannot ${op} by an index of dtype ${index.dtype}: expected i32 or u32`,
    );
  }
  checkDevices(op, [t, index]);
}

/** Index and tensor must have the same axes, and the index may be larger along `axis` only. */
function checkFits(op: string, t: Tensor, axis: number, index: Tensor): void {
  const fits = index.ndim === t.ndim &&
    index.shape.every((n, d) => d === axis || n <= t.shape[d]);
  if (!fits) {
    throw new ShapeError(
      `Cannot ${op} ${showShape(t.shape)} along axis ${axis} by an index of shape ${
        showShape(index.shape)
      }: expected ${t.ndim} axes, and sizes that are not larger along the other axes`,
    );
  }
}

/**
 * Elements by index along an axis: `y[i][j] = t[index[i][j]][j]` for `dim` 0 of two axes.
 * Differentiable.
 *
 * @param t any dtype
 * @param dim the axis
 * @param index i32 or u32, with as many axes as `t`, along the others not larger; outside of the
 * axis it gives NaN (0 for integers)
 * @returns the shape of the index, the dtype of `t`
 * @throws {ShapeError} if there is no such axis or the index does not fit
 * @throws {DTypeError} if the index holds no integers
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([[1, 2], [3, 4]], { device });
 * const index = tensor([[1], [0]], { device, dtype: "i32" });
 * assertEquals(await x.gather(1, index).array(), [[2], [3]]);
 * ```
 */
export function gather(t: Tensor, dim: number, index: Tensor): Tensor {
  const axis = axisOf("gather", dim, t.ndim);
  checkIndex("gather", t, index);
  checkFits("gather", t, axis, index);
  return readAt("gather", t, { axis, index, shared: false }, "nan");
}

/**
 * Slices by index along an axis. Differentiable.
 *
 * @param t any dtype
 * @param dim the axis
 * @param index [N] i32 or u32; outside of the axis it gives NaN (0 for integers)
 * @returns the shape of `t` with N elements along the axis
 * @throws {ShapeError} if there is no such axis, or the index has not one axis
 * @throws {DTypeError} if the index holds no integers
 */
export function indexSelect(t: Tensor, dim: number, index: Tensor): Tensor {
  const axis = axisOf("indexSelect", dim, t.ndim);
  checkIndex("indexSelect", t, index);
  if (index.ndim !== 1) {
    throw new ShapeError(
      `Cannot indexSelect ${showShape(t.shape)} by an index of shape ${
        showShape(index.shape)
      }: expected one axis`,
    );
  }
  return readAt("indexSelect", t, { axis, index, shared: true }, "nan");
}

/**
 * Adds elements at an index along an axis: `y = t; y[index[i][j]][j] += source[i][j]` for `dim` 0
 * of two axes. Contributions are added in a fixed order, so the same device gives the same bits.
 * Differentiable.
 *
 * @param t f32, f16, i32 or u32
 * @param dim the axis
 * @param index i32 or u32, with as many axes as `t`, along the others not larger; what lies outside
 * of the axis is dropped
 * @param source the dtype of `t`; along no axis smaller than the index, and only as much of it is
 * used
 * @returns a new tensor of the shape of `t`
 * @throws {ShapeError} if there is no such axis, or index or source do not fit
 * @throws {DTypeError} if the index holds no integers, or the dtypes differ
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const index = tensor([0, 2, 0], { device, dtype: "i32" });
 * const counts = zeros([3], { device }).scatterAdd(0, index, tensor([1, 1, 1], { device }));
 * assertEquals(await counts.array(), [2, 0, 1]);
 * ```
 */
export function scatterAdd(t: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const axis = axisOf("scatterAdd", dim, t.ndim);
  checkIndex("scatterAdd", t, index);
  checkFits("scatterAdd", t, axis, index);
  if (t.dtype !== source.dtype || t.dtype === "bool") {
    throw new DTypeError(
      `Cannot scatterAdd ${source.dtype} to ${t.dtype}: expected the same dtype, and no bool`,
    );
  }
  checkDevices("scatterAdd", [t, source]);
  if (source.ndim !== t.ndim || source.shape.some((n, d) => n < index.shape[d])) {
    throw new ShapeError(
      `Cannot scatterAdd a source of shape ${showShape(source.shape)} by an index of shape ${
        showShape(index.shape)
      }: expected ${t.ndim} axes, and no size that is smaller`,
    );
  }
  const whole = source.shape.every((n, d) => n === index.shape[d]);
  const part = whole ? source : source.slice(...index.shape.map((stop) => ({ stop })));
  return sumAt("scatterAdd", t, t.shape, { axis, index, shared: false }, part);
}

/**
 * Rows by index: slices along the first axis, for an index of any shape. Differentiable.
 *
 * @param t [R, ...], any dtype
 * @param index i32 or u32, any shape; outside of [0, R) it gives NaN (0 for integers)
 * @returns [...index.shape, ...]
 * @throws {ShapeError} if `t` has no axis
 * @throws {DTypeError} if the index holds no integers
 */
export function takeRows(t: Tensor, index: Tensor): Tensor {
  const axis = axisOf("takeRows", 0, t.ndim);
  checkIndex("takeRows", t, index);
  const rows = readAt("takeRows", t, { axis, index: flat(index), shared: true }, "nan");
  return rows.reshape([...index.shape, ...t.shape.slice(1)]);
}

/** How an embedding treats its rows. */
export interface EmbeddingOptions {
  /** A row that receives no gradient; negative ones count from the end. */
  readonly paddingIdx?: number;
}

/**
 * Rows of a table by index. Differentiable with respect to the table; the gradient is summed in a
 * fixed order.
 *
 * @param weight [V, D] f32 or f16
 * @param index i32 or u32, any shape; outside of [0, V) it gives NaN
 * @returns [...index.shape, D]
 * @throws {ShapeError} if the table has not two axes
 * @throws {DTypeError} if the table holds no floats, or the index no integers
 * @throws {RangeError} if there is no row `paddingIdx`
 *
 * @example
 * ```ts
 * import { embedding, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const weight = tensor([[0, 0], [1, 2], [3, 4]], { device });
 * const tokens = tensor([2, 1, 2], { device, dtype: "i32" });
 * assertEquals(await embedding(weight, tokens).array(), [[3, 4], [1, 2], [3, 4]]);
 * ```
 */
export function embedding(
  weight: Tensor,
  index: Tensor,
  { paddingIdx }: EmbeddingOptions = {},
): Tensor {
  checkTable(weight, paddingIdx);
  checkIndex("embedding", weight, index);
  const shape = [...index.shape, weight.shape[1]];
  const rows = flat(index);
  const picks = { axis: 0, index: rows, shared: true };
  if (paddingIdx === undefined) return readAt("embedding", weight, picks, "nan").reshape(shape);
  const row = paddingIdx < 0 ? paddingIdx + weight.shape[0] : paddingIdx;
  const out = noGrad(() => readAt("embedding", weight, picks, "nan"));
  return record("embedding", out, [weight], (g) => {
    // Adding to row -1 does nothing.
    const counted = rows.eq(row).where(-1, rows.to("i32"));
    const masked = { ...picks, index: counted };
    return [sumAt("embedding backward", null, weight.shape, masked, g)];
  }, [rows]).reshape(shape);
}

function checkTable(weight: Tensor, paddingIdx: number | undefined): void {
  if (weight.ndim !== 2) {
    throw new ShapeError(
      `Cannot take an embedding from a table of shape ${
        showShape(weight.shape)
      }: expected two axes`,
    );
  }
  if (weight.dtype !== "f32" && weight.dtype !== "f16") {
    throw new DTypeError(
      `Cannot take an embedding from a table of dtype ${weight.dtype}: expected f32 or f16`,
    );
  }
  const rows = weight.shape[0];
  const valid = paddingIdx === undefined ||
    (Number.isInteger(paddingIdx) && paddingIdx >= -rows && paddingIdx < rows);
  if (!valid) {
    throw new RangeError(
      `Cannot take an embedding with paddingIdx ${paddingIdx}: expected an integer from ` +
        `${-rows} to ${rows - 1}`,
    );
  }
}

function flat(index: Tensor): Tensor {
  return index.ndim === 1 ? index : index.reshape([index.size]);
}
