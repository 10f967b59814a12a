/** Sorting without a place on the tape, for the ops that need sorted lines. */

import type { OrderedType } from "../../kernels/order_key.ts";
import { cutLength, mergeRunsKernel, sortBlocksKernel } from "../../kernels/sort.ts";
import { sizeOf } from "../../kernels/types.ts";
import { axisLines, lineStrides, stridedOperand } from "./axis_lines.ts";
import { denseOperand, operandOf } from "./launch.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Lines up to this length are sorted in one go; longer ones start from blocks. */
const WHOLE = 64;
const BLOCK = 16;

/** Sorted lines and where their elements come from. */
export interface SortedLines {
  /** The dtype of what was sorted. */
  readonly values: Tensor;
  /** i32 positions along the axis. */
  readonly indices: Tensor;
}

/**
 * The first `keep` elements of each line in sorted order, stable.
 *
 * @param t not f16
 * @param axis which axis the lines run along
 */
export function sortLines(
  op: string,
  t: Tensor,
  axis: number,
  keep: number,
  descending: boolean,
): SortedLines {
  const length = t.shape[axis];
  const dtype = t.dtype as OrderedType;
  const lines = sizeOf(t.shape.filter((_, d) => d !== axis));
  const make = (n: number): SortedLines => {
    const shape = t.shape.map((size, d) => d === axis ? n : size);
    const strides = lineStrides(shape, axis);
    return {
      values: empty(t.device, shape, dtype, op, strides),
      indices: empty(t.device, shape, "i32", op, strides),
    };
  };
  if (lines * Math.min(length, keep) === 0) return make(keep);
  let run = length <= WHOLE ? length : Math.max(BLOCK, Math.min(WHOLE, keep));
  let left = cutLength(length, run, keep);
  let current = make(left);
  const { outer, strides: [strides] } = axisLines(t.shape, axis, [t.strides]);
  const input = stridedOperand(t, strides);
  t.device.record({
    kernel: sortBlocksKernel({ outer, length, input, block: run, keep, descending }),
    inputs: [operandOf(t)],
    outputs: [denseOperand(current.values), denseOperand(current.indices)],
    scalars: [],
  });
  run = Math.min(run, keep);
  while (run < left) {
    const merged = cutLength(left, 2 * run, keep);
    const next = make(merged);
    t.device.record({
      kernel: mergeRunsKernel({ lines, length: left, run, keep, dtype, descending }),
      inputs: [denseOperand(current.values), denseOperand(current.indices)],
      outputs: [denseOperand(next.values), denseOperand(next.indices)],
      scalars: [],
    });
    current.values.dispose();
    current.indices.dispose();
    current = next;
    run = Math.min(2 * run, keep);
    left = merged;
  }
  return current;
}
