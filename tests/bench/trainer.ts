/** What every library under test offers, and how it is timed: the same for all. */

import { type Counts, countsOfStep } from "./webgpu_counts.ts";

/** A model with its optimizer and resident batches, ready to train. */
export interface Trainer {
  /** Name and version. */
  readonly library: string;
  /** Issues a training step on the next batch, without a wait. */
  step(): void;
  /** Reads the loss of the last step. */
  loss(): Promise<number>;
  /** Gives the device back. */
  close(): void;
}

/** How much is timed. */
export interface Plan {
  /** Steps before each read of the loss. */
  readonly stepsPerRead: number;
  /** Runs of so many steps; the median counts. */
  readonly repeats: number;
}

/** What was seen; times in milliseconds. */
export interface Measurement {
  /** Median over the repeats of (steps and one read) / steps. */
  readonly msPerStep: number;
  readonly repeats: readonly number[];
  /** From the call of the first step until its loss is read: tracing and shader compilation. */
  readonly firstStepMs: number;
  /** Loss of each of the first steps. */
  readonly losses: readonly number[];
  readonly counts: Counts;
}

/** Time for steps that do not count. */
export const WARM_UP_MS = 1500;
/** Steps whose losses are compared between libraries. */
export const CHECKED_STEPS = 5;

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Runs the steps and reads the last loss. */
async function run(trainer: Trainer, steps: number): Promise<number> {
  for (let i = 0; i < steps; i++) trainer.step();
  return await trainer.loss();
}

/** Milliseconds of some steps with one read. */
async function timed(trainer: Trainer, steps: number): Promise<number> {
  const start = performance.now();
  await run(trainer, steps);
  return performance.now() - start;
}

/** Trains a few steps with a look at each loss, counts device work, then times. */
export async function measure(trainer: Trainer, plan: Plan): Promise<Measurement> {
  const start = performance.now();
  const losses = [await run(trainer, 1)];
  const firstStepMs = performance.now() - start;
  while (losses.length < CHECKED_STEPS) losses.push(await run(trainer, 1));
  const counts = await countsOfStep((steps) => run(trainer, steps));
  // Engines compile code that runs often a second time, and threads come while the first steps run.
  const warm = performance.now() + WARM_UP_MS;
  do await run(trainer, plan.stepsPerRead); while (performance.now() < warm);
  const repeats: number[] = [];
  for (let i = 0; i < plan.repeats; i++) {
    repeats.push(await timed(trainer, plan.stepsPerRead) / plan.stepsPerRead);
  }
  return { msPerStep: median(repeats), repeats, firstStepMs, losses, counts };
}
