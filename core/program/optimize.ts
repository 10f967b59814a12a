/** The passes over a captured step, in their order. */

import { fuse } from "./fuse.ts";
import { hoist, type Hoisted } from "./hoist.ts";
import { reuseInputs } from "./in_place.ts";
import { mergeEqual, removeDead } from "./prune.ts";
import { schedule } from "./schedule.ts";
import type { StepCall } from "./recording.ts";

/**
 * Calls that leave the same bits in all observable memory, and are fewer; those that need to run only once apart.
 *
 * @param calls the step
 * @param observable virtual buffers whose content matters after the step; that of real buffers always does
 * @param maxBindings buffers that one call may bind
 */
export function optimize(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
  maxBindings?: number,
): Hoisted {
  const merged = mergeEqual(removeDead(calls, observable), observable);
  const fused = fuse(merged, observable, maxBindings);
  const hoisted = hoist(schedule(fused, observable), observable);
  const fixed = new Set([...observable, ...hoisted.values]);
  return { ...hoisted, calls: reuseInputs(hoisted.calls, fixed) };
}
