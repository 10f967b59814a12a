/** Where extremes lie: argmax and argmin. */

import { argReduceKernel, type ArgReduceParams } from "../../kernels/arg_reduce.ts";
import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import { sizeOf } from "../../kernels/types.ts";
import { ShapeError, showShape } from "../errors.ts";
import { axisLines, stridedOperand } from "./axis_lines.ts";
import { denseOperand, operandOf } from "./launch.ts";
import type { ReduceOptions } from "./reduce.ts";
import { axisOf } from "./shape.ts";
import { noGrad } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/**
 * Elements that one thread goes through at most, and results below which lines are cut into slices.
 */
const LONG = 512;
const FEW = 4096;

/**
 * Index of the largest element along an axis; the first of equals, and the first NaN where there is
 * one.
 *
 * @param t any dtype
 * @param dim the axis; without it the index counts through all elements in row-major order
 * @returns i32, without the axis, or with size 1 there if `keepdim`
 * @throws {ShapeError} if there is no such axis, or if the axis has no elements
 *
 * @example
 * ```ts
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = tensor([[0, 3, 1], [2, 1, 2]], { device: referenceDevice() });
 * assertEquals(await logits.argmax(1).array(), [1, 0]);
 * ```
 */
export function argmax(t: Tensor, dim?: number | null, options: ReduceOptions = {}): Tensor {
  return argReduce("argmax", "max", t, dim ?? null, options);
}

/**
 * Index of the smallest element along an axis; the first of equals, and the first NaN where there
 * is one.
 *
 * @param t any dtype
 * @param dim the axis; without it the index counts through all elements in row-major order
 * @returns i32, without the axis, or with size 1 there if `keepdim`
 * @throws {ShapeError} if there is no such axis, or if the axis has no elements
 */
export function argmin(t: Tensor, dim?: number | null, options: ReduceOptions = {}): Tensor {
  return argReduce("argmin", "min", t, dim ?? null, options);
}

function argReduce(
  op: string,
  fold: "max" | "min",
  t: Tensor,
  dim: number | null,
  { keepdim = false }: ReduceOptions,
): Tensor {
  const axis = dim === null ? 0 : axisOf(op, dim, t.ndim);
  if ((dim === null ? t.size : t.shape[axis]) === 0) {
    throw new ShapeError(`Cannot take the ${op} of ${showShape(t.shape)} over no elements`);
  }
  return noGrad(() => {
    const values = t.dtype === "f16" ? t.to("f32") : t;
    const out = search(op, fold, dim === null ? values.reshape([t.size]) : values, axis);
    if (!keepdim) return out;
    return out.reshape(t.shape.map((n, d) => dim === null || d === axis ? 1 : n));
  });
}

function search(op: string, fold: "max" | "min", t: Tensor, axis: number): Tensor {
  const { device } = t;
  const length = t.shape[axis];
  const shape = t.shape.filter((_, d) => d !== axis);
  const count = sizeOf(shape);
  const out = empty(device, shape, "i32", op);
  if (count === 0) return out;
  const { outer, strides: [strides] } = axisLines(t.shape, axis, [t.strides]);
  const some = length > LONG && count < FEW
    ? Math.min(Math.ceil(length / LONG * 4), Math.ceil(FEW / count))
    : 1;
  const slices = Math.max(some, Math.ceil(length / LOOP_LIMIT));
  const chunk = Math.ceil(length / slices);
  const params: ArgReduceParams = {
    fold,
    outer,
    length,
    input: stridedOperand(t, strides),
    chunk,
    merge: false,
  };
  const run = (kernel: ArgReduceParams, inputs: readonly Tensor[], into: Tensor) =>
    device.record({
      kernel: argReduceKernel(kernel),
      inputs: inputs.map(operandOf),
      outputs: [denseOperand(into)],
      scalars: [],
    });
  if (chunk === length) {
    run(params, [t], out);
    return out;
  }
  const places = empty(device, [Math.ceil(length / chunk), ...shape], "i32", op);
  run(params, [t], places);
  run({ ...params, merge: true }, [t, places], out);
  places.dispose();
  return out;
}
