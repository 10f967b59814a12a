/** How a run stands, told from its record alone: also whether one that says "running" still does. */

import { processLives } from "./environment.ts";
import type { RunMeta, RunStatus } from "./meta.ts";

/** How a run stands; a crashed one says "running", but its process is gone, or silent for long. */
export type RunState = RunStatus | "crashed";

/**
 * Silence, in milliseconds, after which a run that says "running" counts as crashed: ten minutes.
 *
 * A run notes that it lives with every call that logs, and with every step that a
 * `TrackingCallback` sees, at most each ten seconds. What takes longer between two of these, such
 * as a long evaluation, may look crashed to another machine until the next one.
 */
export const CRASHED_AFTER_MS: number = 10 * 60_000;

/**
 * How a run stands.
 *
 * One that says "running" has crashed if its process is known to be gone, which only a program with all
 * permissions can find out, on Linux and on the machine of the run; or if it has written nothing for
 * `CRASHED_AFTER_MS`, ten minutes.
 *
 * @param meta the content of its `meta.json`
 * @param now the present time
 * @returns "running", "crashed", or the status of a run that has ended
 *
 * @example A run whose process is gone
 * ```ts
 * import { readRun, run, runState } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const session = await run({ dir: await Deno.makeTempDir() });
 * const { meta } = readRun(session.dir);
 * assertEquals(runState(meta), "running");
 * const later = new Date(Date.parse(meta.heartbeatAt) + 11 * 60_000);
 * assertEquals(runState(meta, later), "crashed");
 * await session.close();
 * assertEquals(runState(readRun(session.dir).meta, later), "completed");
 * ```
 */
export function runState(meta: RunMeta, now: Date = new Date()): RunState {
  if (meta.status !== "running") return meta.status;
  const last = meta.segments[meta.segments.length - 1];
  if (processLives(last, last.startedAt) === false) return "crashed";
  return silenceOf(meta, now) > CRASHED_AFTER_MS ? "crashed" : "running";
}

/** Milliseconds since the run last said that it lives. */
export function silenceOf({ heartbeatAt }: RunMeta, now: Date): number {
  return now.getTime() - Date.parse(heartbeatAt);
}
