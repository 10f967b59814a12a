/** The passes over a captured step, in their order. */

import type { DeviceTraits } from "../../kernels/types.ts";
import { fuse } from "./fuse.ts";
import { mergeEqual, removeDead } from "./prune.ts";
import type { StepCall } from "./recording.ts";

/**
 * Calls that leave the same bits in all observable memory, and are fewer.
 *
 * @param calls the step
 * @param observable virtual buffers whose content matters after the step; that of real buffers always does
 * @param traits what kernels may rely on
 */
export function optimize(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
  traits: DeviceTraits,
): StepCall[] {
  const merged = mergeEqual(removeDead(calls, observable), observable);
  return fuse(merged, observable, traits);
}
