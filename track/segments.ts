/** Segments of a run: one for each time that it was started or resumed. */

import type { ProcessOfRun } from "./environment.ts";
import { describeValue } from "./json_values.ts";

/** Where a segment goes on: what was complete when the checkpoint was saved. */
export interface RunCursor {
  /** Rows of `scalars.csv` that still count; those of earlier segments behind them are superseded. */
  rows: number;
  /** Completed steps. */
  step: number;
  /** Completed epochs. */
  epoch: number;
}

/** One start of a run, and the process that made it. */
export interface RunSegment extends ProcessOfRun {
  /** Its number, from 1. */
  segment: number;
  /** When it began, in ISO 8601, UTC. */
  startedAt: string;
  /** Where it goes on; null where it began anew, or behind all that was there. */
  from: RunCursor | null;
}

/**
 * Refuses a cursor that is none.
 *
 * @param cursor what was given
 * @param rows how many rows there are
 * @throws {RangeError} if a number is no count, or there are fewer rows
 */
export function checkCursor(cursor: RunCursor, rows: number): void {
  for (const name of ["rows", "step", "epoch"] as const) {
    const count: unknown = cursor?.[name];
    if (Number.isSafeInteger(count) && (count as number) >= 0) continue;
    throw new RangeError(
      `Cannot resume from a cursor: expected ${name} to be a whole number from 0, found ${
        describeValue(count)
      }`,
    );
  }
  if (cursor.rows <= rows) return;
  throw new RangeError(
    `Cannot resume from row ${cursor.rows} of scalars.csv: expected at least as many rows, ` +
      `found ${rows}`,
  );
}

/**
 * For each segment how many rows of the file count at most: the least cursor of all later ones.
 *
 * @param segments the segments of a run
 * @returns the number of rows by segment; Infinity where all of them count
 */
export function countingRows(segments: readonly RunSegment[]): Map<number, number> {
  const limits = new Map<number, number>();
  let least = Infinity;
  for (const { segment, from } of [...segments].sort((a, b) => b.segment - a.segment)) {
    limits.set(segment, least);
    least = Math.min(least, from?.rows ?? Infinity);
  }
  return limits;
}
