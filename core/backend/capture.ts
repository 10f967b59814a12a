/**
 * The seam between ops and captured steps: while a step is captured, buffers are only names, kernel calls are kept instead of
 * run, and host side effects are noted so that a replay can repeat them.
 */

import type { DType, KernelCall } from "../../kernels/types.ts";
import type { HostArray } from "./backend.ts";
import type { Device, Storage } from "./device.ts";

/** A buffer of a step that is being captured; it gets memory when the step is planned. */
export class VirtualBuffer {
  /** Content that the host wrote, for constants. */
  data: HostArray | null = null;

  /**
   * @param count elements
   * @param dtype their type
   * @param label what it is for
   */
  constructor(readonly count: number, readonly dtype: DType, readonly label: string) {}
}

/** What a capture is told by ops, layers and optimizers. */
export interface Capture {
  /** The device whose work is captured. */
  readonly device: Device;
  /** Keeps a kernel call. */
  record(call: KernelCall<unknown>): void;
  /** Notes memory that a tensor of the step takes. */
  allocated(storage: Storage): void;
  /**
   * Runs a change of host state, such as counting a step, now and at every replay.
   *
   * @param undo takes the change back, for runs that compare
   */
  effect(run: () => void, undo: () => void): void;
  /** Says what must hold for a replay: where it does not, the step is captured again. */
  guard(holds: () => boolean): void;
  /** Says that a tensor of the step shall live on after it, since an effect hands it out again. */
  persist(storage: Storage): void;
  /**
   * Fails, since a step that is captured cannot do that.
   *
   * @param action what cannot be done
   * @param reason why; by default that the step has no values yet
   * @throws {CaptureError} naming the line of the caller
   */
  refuse(action: string, reason?: string): never;
}

let current: Capture | null = null;

/** The capture under way, or null. */
export function currentCapture(): Capture | null {
  return current;
}

/** Runs a function with another capture, or with none. */
export function withCapture<T>(capture: Capture | null, fn: () => T): T {
  const previous = current;
  current = capture;
  try {
    return fn();
  } finally {
    current = previous;
  }
}

/** Runs device work at once although a step is being captured; for memory that outlives the step. */
export function uncaptured<T>(fn: () => T): T {
  return current === null ? fn() : withCapture(null, fn);
}

/** Runs a change of host state; a captured step repeats it at every replay. */
export function effect(run: () => void, undo: () => void): void {
  if (current === null) run();
  else current.effect(run, undo);
}
