/** Fusion. */
import type { DeviceTraits } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";
/** Same calls. */
export function fuse(
  calls: readonly StepCall[],
  _o: ReadonlySet<unknown>,
  _t: DeviceTraits,
): StepCall[] {
  return [...calls];
}
