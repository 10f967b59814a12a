/** The order of calls: what ends values early comes first. */

import { VirtualBuffer } from "../backend/capture.ts";
import { bytesPerElement } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";
import { Step } from "./step.ts";

/** Calls that store much less than they read run as soon as they can, so that what they read can make room. */
export function schedule(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): StepCall[] {
  const step = new Step(calls, observable);
  for (let at = 0; at < step.calls.length; at++) {
    const call = step.calls[at];
    if (4 * bytesMade(call) > bytesRead(call)) continue;
    let to = at;
    while (to > 0 && step.canRise(call, to, to - 2)) to--;
    if (to === at) continue;
    step.calls.splice(at, 1);
    step.calls.splice(to, 0, call);
  }
  return step.calls;
}

/** Bytes of new values; memory of others is there anyway. */
function bytesMade({ outputs, kernel }: StepCall): number {
  return outputs.reduce(
    (sum, { buffer, size }, n) =>
      buffer instanceof VirtualBuffer ? sum + size * bytesPerElement(kernel.outputs[n]) : sum,
    0,
  );
}

function bytesRead({ inputs, kernel }: StepCall): number {
  return inputs.reduce(
    (sum, { buffer, size }, n) =>
      buffer instanceof VirtualBuffer ? sum + size * bytesPerElement(kernel.inputs[n]) : sum,
    0,
  );
}
