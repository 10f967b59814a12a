/** Which checkpoints are the last and the best, and which are kept. */

import type { CheckpointEntry } from "./checkpoint_record.ts";
import { describeValue } from "./json_values.ts";

/** What the best checkpoint is. */
export interface BestRule {
  /** Name of the metric, as `save` is given it. */
  readonly metric: string;
  /** Whether less or more of it is better. */
  readonly mode: "min" | "max";
}

/** How many checkpoints to keep. */
export interface RetentionRule {
  /** How many of the last ones. */
  readonly last: number;
  /** What the best one is, and how many of the best; null where nobody said. */
  readonly best: (BestRule & { readonly keep: number }) | null;
  /** Those whose step is a multiple of this, for ever; null for none. */
  readonly every: number | null;
}

/** How a store is told what to keep. */
export interface RetentionOptions {
  /**
   * How many of the last checkpoints to keep, at least 1; Infinity keeps all.
   *
   * @default {3}
   */
  readonly last?: number;
  /** The metric by which checkpoints are compared, the better direction, how many to keep (1). */
  readonly best?: BestRule & { readonly keep?: number };
  /** Checkpoints whose step is a multiple of this are kept for ever. */
  readonly every?: number;
}

/**
 * The rule that some options describe.
 *
 * @throws {TypeError} if the metric or the direction is none
 * @throws {RangeError} if a number is no count from 1
 */
export function retentionRule(options: RetentionOptions): RetentionRule {
  const { last = 3, best, every = null } = options;
  checkNumber("last", last);
  if (every !== null) checkNumber("every", every);
  if (best === undefined) return { last, best: null, every };
  const { metric, mode, keep = 1 } = best;
  if (typeof metric !== "string" || metric === "") {
    throw new TypeError(
      `CheckpointStore: expected best.metric to be a name, found ${describeValue(metric)}`,
    );
  }
  if (mode !== "min" && mode !== "max") {
    throw new TypeError(
      `CheckpointStore: expected best.mode to be "min" or "max", found ${describeValue(mode)}`,
    );
  }
  checkNumber("best.keep", keep);
  return { last, best: { metric, mode, keep }, every };
}

/** Checkpoints from the last saved to the first. */
export function newestFirst(entries: readonly CheckpointEntry[]): CheckpointEntry[] {
  return entries.toSorted((a, b) =>
    b.sequence - a.sequence || (a.createdAt < b.createdAt ? 1 : -1)
  );
}

/** Checkpoints from the best on; of equal ones the earlier, and none without a finite value. */
export function bestFirst(entries: readonly CheckpointEntry[], rule: BestRule): CheckpointEntry[] {
  const { metric, mode } = rule;
  const sign = mode === "min" ? 1 : -1;
  const value = ({ metrics }: CheckpointEntry) =>
    Object.hasOwn(metrics, metric) ? metrics[metric] : NaN;
  return entries
    .filter((entry) => Number.isFinite(value(entry)))
    .sort((a, b) => sign * (value(a) - value(b)) || a.sequence - b.sequence);
}

/**
 * The files to keep.
 *
 * @param entries all checkpoints
 * @param rule how many
 * @param resumed the file that this run was resumed from, or null
 * @param isSound whether a checkpoint may count as one of the last or best
 */
export function keptFiles(
  entries: readonly CheckpointEntry[],
  rule: RetentionRule,
  resumed: string | null,
  isSound: (entry: CheckpointEntry) => boolean,
): Set<string> {
  const { last, best, every } = rule;
  const sound = entries.filter(isSound);
  const kept = [
    ...newestFirst(sound).slice(0, last),
    ...(best === null ? [] : bestFirst(sound, best).slice(0, best.keep)),
    ...sound.filter(({ step }) => every !== null && step % every === 0),
    ...entries.filter(({ keep, file }) => keep || file === resumed),
  ];
  return new Set(kept.map(({ file }) => file));
}

function checkNumber(name: string, value: number): void {
  if (value === Infinity || Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(
    `CheckpointStore: expected ${name} to be a count from 1, found ${describeValue(value)}`,
  );
}
