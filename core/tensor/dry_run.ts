/** Runs a function with nothing executed: what kernels it would call, and what memory it would take. */

import type { Device, Storage } from "../backend/device.ts";
import { Recording, type StepCall } from "../program/recording.ts";

/** What a function would do; it grows while the function runs. */
export interface DryRun {
  /** The kernel calls, in order. */
  readonly calls: readonly StepCall[];
  /** The memory of what was made, in order. */
  readonly made: readonly Storage[];
}

/**
 * Runs a synchronous function whose device work is only noted: shapes and types are checked as ever, no kernel runs, no memory
 * is taken, and changes of host state such as counters of random numbers are taken back afterwards.
 *
 * @param device the device whose work is noted
 * @param fn what to run; its tensors have shapes and no values
 * @returns what the function gave
 * @throws {CaptureError} if it reads values
 */
export function dryRun<T>(device: Device, fn: (log: DryRun) => T): T {
  const recording = new Recording(device);
  const result = recording.run(() => fn(recording));
  recording.abandon();
  return result;
}
