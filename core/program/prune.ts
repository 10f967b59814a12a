/** Removal of calls that nobody needs, and of calls that do again what was done. */

import { VirtualBuffer } from "../backend/capture.ts";
import type { Operand } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";
import { Step } from "./step.ts";

/** The calls that lead to observable memory. */
export function removeDead(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): StepCall[] {
  const needed = new Set<unknown>();
  const live = calls.toReversed().filter(({ inputs, outputs }) => {
    const wanted = outputs.some(({ buffer }) =>
      !(buffer instanceof VirtualBuffer) || observable.has(buffer) || needed.has(buffer)
    );
    if (wanted) { for (const { buffer } of inputs) needed.add(buffer); }
    return wanted;
  });
  return live.toReversed();
}

/** The calls without those that compute again what another one has left in a buffer of its own. */
export function mergeEqual(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): StepCall[] {
  const step = new Step(calls, observable);
  const ids = new Map<unknown, number>();
  const versions = new Map<unknown, number>();
  const same = new Map<unknown, unknown>();
  const seen = new Map<string, StepCall>();
  const number = (thing: unknown) => {
    if (!ids.has(thing)) ids.set(thing, ids.size);
    return ids.get(thing)!;
  };
  const own = ({ buffer }: Operand<unknown>) =>
    step.makerOf(buffer) >= 0 && !step.isObservable(buffer);
  const rename = (o: Operand<unknown>) =>
    same.has(o.buffer) ? { ...o, buffer: same.get(o.buffer) } : o;
  return calls.flatMap((call) => {
    const inputs = call.inputs.map(rename);
    const renamed = { ...call, inputs };
    if (call.outputs.every(own) && !call.cells.some((cell) => cell.live)) {
      const reads = inputs.map(({ buffer, offset, size }) =>
        `${number(buffer)}.${versions.get(buffer) ?? 0}:${offset}+${size}`
      );
      const ranges = call.outputs.map(({ offset, size }) => `${offset}+${size}`);
      const numbers = call.cells.flatMap((cell) => cell.values);
      const key = [number(call.kernel), ...reads, "to", ...ranges, "with", ...numbers].join(" ");
      const before = seen.get(key);
      if (before !== undefined) {
        call.outputs.forEach((o, i) => same.set(o.buffer, before.outputs[i].buffer));
        return [];
      }
      seen.set(key, renamed);
    }
    for (const { buffer } of call.outputs) versions.set(buffer, (versions.get(buffer) ?? 0) + 1);
    return [renamed];
  });
}
