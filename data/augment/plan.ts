/** What a pipeline does with images of one shape: its random numbers, and stages of few kernels. */

import type { DrawColumn, PlaceParts, RowsSpec } from "../../core/tensor/augment_images.ts";
import type { ImageShape, PlannedStep, StepPlan } from "./step.ts";

/** Steps that share kernels. */
export type Stage = Pick<StepPlan, "parts" | "box" | "apply">;

/** All of a pipeline. */
export interface PipelinePlan {
  readonly columns: readonly DrawColumn[];
  readonly stages: readonly Stage[];
  readonly shape: ImageShape;
}

/** Most pixels of an image: its histogram is taken in parts that one thread can count. */
const MOST_PIXELS = 3_000_000;

/** In which order the shared kernel does its parts; mirrors may change places. */
const RANKS: Readonly<Record<keyof PlaceParts, number>> = {
  crop: 0,
  flipX: 1,
  flipY: 1,
  normalize: 2,
  erase: 3,
};

/**
 * Plans steps.
 *
 * @param steps what happens
 * @param shape channels, height, width
 * @returns columns and stages
 * @throws {RangeError} if a step cannot change such images
 */
export function planSteps(steps: readonly PlannedStep[], shape: ImageShape): PipelinePlan {
  checkShape(shape);
  const columns: DrawColumn[] = [];
  const stages: Stage[] = [];
  let now = shape;
  for (const step of steps) {
    const plan = step.plan(now, columns.length);
    columns.push(...plan.columns);
    now = plan.shape;
    checkShape(now);
    const last = stages.at(-1);
    const joined = last === undefined ? null : join(last, plan);
    if (joined === null) stages.push({ parts: plan.parts, box: plan.box, apply: plan.apply });
    else stages[stages.length - 1] = joined;
  }
  return { columns, stages, shape: now };
}

function checkShape(shape: ImageShape): void {
  const whole = shape.length === 3 && shape.every((n) => Number.isInteger(n) && n >= 1);
  if (whole && shape[1] * shape[2] <= MOST_PIXELS) return;
  throw new RangeError(
    `Cannot augment images of shape [${
      shape.join(", ")
    }]: expected channels, height and width of ` +
      `at least 1, and at most ${MOST_PIXELS} pixels`,
  );
}

/** Two stages in one kernel, or null where their order forbids it. */
function join(first: Stage, second: StepPlan): Stage | null {
  if (first.parts === undefined || second.parts === undefined) return null;
  const ranks = (parts: PlaceParts) =>
    (Object.keys(parts) as (keyof PlaceParts)[]).map((part) => RANKS[part]);
  const twice = Object.keys(second.parts).some((part) => part in first.parts!);
  if (twice || Math.max(...ranks(first.parts)) > Math.min(...ranks(second.parts))) return null;
  const box: RowsSpec | undefined = first.box ?? second.box;
  return { parts: { ...first.parts, ...second.parts }, box };
}
