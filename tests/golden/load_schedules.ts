/** Typed reader of `schedules.json`. */

import type { ScheduleJson } from "../../core/schedule/mod.ts";
import type { GoldenTensor, GoldenTensors } from "./load.ts";
import schedulesFile from "./schedules.json" with { type: "json" };

/** Rates of each step in each group; momentum of the first group where it moves. */
export interface ScheduleCase {
  readonly name: string;
  readonly schedule: ScheduleJson;
  readonly bases: readonly number[];
  readonly lrs: readonly (readonly number[])[];
  readonly momentum?: readonly number[];
}

/** Rates of each group after each value of a metric; "NaN" and "Infinity" are strings. */
export interface PlateauCase {
  readonly name: string;
  readonly schedule: ScheduleJson;
  readonly bases: readonly number[];
  readonly metrics: readonly (number | string)[];
  readonly lrs: readonly (readonly number[])[];
}

/** Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d: a training step on `before`, then update_bn(). */
export interface UpdateBatchNormCase {
  readonly name: string;
  readonly params: GoldenTensors;
  readonly before: GoldenTensor;
  readonly batches: readonly GoldenTensor[];
  readonly buffers: GoldenTensors;
}

/** Schedules as functions of the step. */
export const scheduleCases = schedulesFile.schedules as unknown as readonly ScheduleCase[];

/** Schedules that follow a metric. */
export const plateauCases = schedulesFile.plateaus as unknown as readonly PlateauCase[];

/** Re-estimated running statistics. */
export const updateBatchNormCases = schedulesFile
  .updateBn as unknown as readonly UpdateBatchNormCase[];
