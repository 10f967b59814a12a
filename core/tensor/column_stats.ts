/** Statistics and sums of columns: tensors folded over all axes but some, two results at once. */

import { columnSlices } from "../../kernels/columns.ts";
import { columnSumsKernel, sliceSumsKernel } from "../../kernels/column_sums.ts";
import type { Expr } from "../../kernels/expr.ts";
import {
  type FinishParams,
  joinMomentsKernel,
  momentsKernel,
  type RunningParams,
} from "../../kernels/moments.ts";
import { type Shape, sizeOf } from "../../kernels/types.ts";
import { stridedOperand } from "./axis_lines.ts";
import { denseOperand, mergeAxes, operandOf } from "./launch.ts";
import { broadcastStrides, contiguousStrides, memoryOrder } from "./shape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Statistics that move with every batch. */
export interface RunningStatistics {
  /** Mean of the batches [C]; moved in place. */
  readonly mean: Tensor;
  /** Unbiased variance of the batches [C]; moved in place. */
  readonly variance: Tensor;
  /** Number of batches, i32; counted in place, unless the momentum is null. */
  readonly count: Tensor;
  /**
   * Share of a batch; null where each weighs one over their number, which is then counted before.
   */
  readonly momentum: number | null;
}

/** Mean and scale of columns. */
export interface Moments {
  /** Mean [columns]. */
  readonly mean: Tensor;
  /** `1 / √(variance + eps)` with the biased variance [columns]. */
  readonly scale: Tensor;
}

/** Axes that are folded and axes that stay, merged where all operands step alike. */
interface Columns {
  readonly outer: number[];
  readonly reduced: number[];
  /** Strides over `[...outer, ...reduced]`, one list for each operand. */
  readonly strides: number[][];
}

function columnsOf(shape: Shape, kept: readonly number[], inputs: readonly Tensor[]): Columns {
  const all = inputs.map((t) => broadcastStrides(t.shape, t.strides, shape));
  const folded = memoryOrder(shape, all[0]).filter((d) => !kept.includes(d));
  const pick = (dims: readonly number[]) =>
    mergeAxes(
      dims.map((d) => shape[d]),
      all.map((strides) => dims.map((d) => strides[d])),
    );
  const [outer, reduced] = [pick(kept), pick(folded)];
  if (reduced.shape.length === 0) {
    reduced.shape.push(1);
    reduced.operands.forEach((strides) => strides.push(0));
  }
  return {
    outer: outer.shape,
    reduced: reduced.shape,
    strides: all.map((_, n) => [...outer.operands[n], ...reduced.operands[n]]),
  };
}

/**
 * Sums two formulas over all axes but some, in one or two kernels.
 *
 * @param exprs formulas over the inputs
 * @param inputs tensors that broadcast to the shape; not empty
 * @param kept axes that stay
 * @returns the sums in f32, with the folded axes of size 1
 */
export function columnSums(
  op: string,
  exprs: readonly [Expr, Expr],
  inputs: readonly Tensor[],
  shape: Shape,
  kept: readonly number[],
): [Tensor, Tensor] {
  const { device } = inputs[0];
  const { outer, reduced, strides } = columnsOf(shape, kept, inputs);
  const operands = inputs.map((t, n) => stridedOperand(t, strides[n]));
  const params = { outer, reduced, inputs: operands };
  const slices = columnSlices(params, device.traits);
  const result = shape.map((n, d) => kept.includes(d) ? n : 1);
  const pair = (sizes: Shape): [Tensor, Tensor] => [
    empty(device, sizes, "f32", op),
    empty(device, sizes, "f32", op),
  ];
  const sums = pair(slices > 1 ? [slices, sizeOf(outer)] : result);
  device.record({
    kernel: columnSumsKernel({ ...params, slices, exprs }),
    inputs: inputs.map(operandOf),
    outputs: sums.map(denseOperand),
    scalars: [],
  });
  if (slices === 1) return sums;
  const totals = pair(result);
  device.record({
    kernel: sliceSumsKernel(sizeOf(outer), slices),
    inputs: sums.map(denseOperand),
    outputs: totals.map(denseOperand),
    scalars: [],
  });
  sums.forEach((t) => t.dispose());
  return totals;
}

/**
 * Mean and scale over all axes but one, and the running statistics moved towards them, in one or
 * two kernels.
 *
 * @param x f32 or f16, not empty
 * @param axis the axis that stays
 * @param eps added to the variance
 * @param running what to move, or null
 */
export function columnMoments(
  op: string,
  x: Tensor,
  axis: number,
  eps: number,
  running: RunningStatistics | null,
): Moments {
  const { device } = x;
  const { outer, reduced, strides } = columnsOf(x.shape, [axis], [x]);
  const params = { outer, reduced, inputs: [stridedOperand(x, strides[0])] };
  const slices = columnSlices(params, device.traits);
  const finish: FinishParams = {
    count: sizeOf(reduced),
    running: running && runningParams(running),
  };
  const channels = x.shape[axis];
  const mean = empty(device, [channels], "f32", op);
  const scale = empty(device, [channels], "f32", op);
  const moved = running === null ? [] : [running.mean, running.variance];
  const counts = running === null ? [] : [operandOf(running.count)];
  const average = running?.momentum === null;
  const last = {
    outputs: [
      ...[mean, scale].map(denseOperand),
      ...moved.map(operandOf),
      ...(average ? [] : counts),
    ],
    scalars: [eps, running?.momentum ?? 0],
  };
  const read = average ? counts : [];
  if (slices === 1) {
    const kernel = momentsKernel({ ...params, slices, finish });
    device.record({ kernel, inputs: [operandOf(x), ...read], ...last });
  } else {
    const parts = [0, 1].map(() => empty(device, [slices, channels], "f32", op));
    device.record({
      kernel: momentsKernel({ ...params, slices, finish: null }),
      inputs: [operandOf(x)],
      outputs: parts.map(denseOperand),
      scalars: [],
    });
    const kernel = joinMomentsKernel({ outer: [channels], reduced: [slices], finish });
    device.record({ kernel, inputs: [...parts.map(denseOperand), ...read], ...last });
    parts.forEach((t) => t.dispose());
  }
  if (running !== null) {
    for (const t of [...moved, ...(average ? [] : [running.count])]) t.storage.version++;
  }
  return { mean, scale };
}

function runningParams({ mean, variance, count, momentum }: RunningStatistics): RunningParams {
  return {
    mean: stridedOperand(mean, mean.strides),
    variance: stridedOperand(variance, variance.strides),
    count: stridedOperand(count, []),
    average: momentum === null,
  };
}

/** A vector along one axis of a tensor with so many axes behind it; a view without a history. */
export function alongAxis(vector: Tensor, behind: number): Tensor {
  const shape = [...vector.shape, ...new Array<number>(behind).fill(1)];
  return vector.alias({ shape, strides: contiguousStrides(shape), offset: vector.offset });
}
