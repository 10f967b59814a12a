/** Calls that would do the same at every replay: they run once. */

import { VirtualBuffer } from "../backend/capture.ts";
import { bytesPerElement } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";
import { Step } from "./step.ts";

/** Larger values are not held between replays. */
const MOST_BYTES = 2 ** 16;

/** A step in two parts. */
export interface Hoisted {
  /** Calls to run once; what they make stays. */
  readonly once: readonly StepCall[];
  /** Values that those calls make. */
  readonly values: readonly VirtualBuffer[];
  /** Calls to run at every replay. */
  readonly calls: readonly StepCall[];
}

/** Takes out the calls that depend on nothing that changes. */
export function hoist(calls: readonly StepCall[], observable: ReadonlySet<unknown>): Hoisted {
  const step = new Step(calls, observable);
  const fixed = new Set<unknown>();
  const written = new Set(calls.flatMap((call) => call.outputs.map((o) => o.buffer)));
  const isFixed = (buffer: unknown) =>
    fixed.has(buffer) ||
    (buffer instanceof VirtualBuffer && buffer.data !== null && !written.has(buffer) &&
      !observable.has(buffer));
  const once = calls.filter((call, at) => {
    const small = call.outputs.every(({ size }, n) =>
      size * bytesPerElement(call.kernel.outputs[n]) <= MOST_BYTES
    );
    const alone = call.outputs.every(({ buffer }) =>
      !step.isObservable(buffer) && step.makerOf(buffer) === at
    );
    const same = call.inputs.every((o) => isFixed(o.buffer)) &&
      !call.cells.some((cell) => cell.live);
    if (!small || !alone || !same) return false;
    for (const { buffer } of call.outputs) fixed.add(buffer);
    return true;
  });
  return {
    once,
    values: [...fixed] as VirtualBuffer[],
    calls: calls.filter((call) => !once.includes(call)),
  };
}
