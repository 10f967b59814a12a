/** Elementwise kernels that write over an input which nobody needs afterwards. */

import type { VirtualBuffer } from "../backend/capture.ts";
import { type Expr, input, substitute } from "../../kernels/expr.ts";
import { mapKernel, type MapParams } from "../../kernels/map.ts";
import type { Operand } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";
import { Step } from "./step.ts";

/** The same step with fewer values: results of elementwise kernels take the place of an input that ends there. */
export function reuseInputs(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): StepCall[] {
  const step = new Step(calls, observable);
  const moved = new Map<unknown, unknown>();
  const rename = (o: Operand<unknown>) =>
    moved.has(o.buffer) ? { ...o, buffer: moved.get(o.buffer) } : o;
  return step.calls.map((call, at) => {
    const over = inPlace(step, call, at);
    const { inputs, outputs } = over?.call ?? call;
    if (over !== null) {
      const { from, to } = over;
      moved.set(from, moved.get(to) ?? to);
    }
    return { ...(over?.call ?? call), inputs: inputs.map(rename), outputs: outputs.map(rename) };
  });
}

/** A call that writes over one of its inputs, and which value then lies in the place of which. */
function inPlace(
  step: Step,
  call: StepCall,
  at: number,
): { call: StepCall; from: unknown; to: unknown } | null {
  if (call.kernel.op !== "map") return null;
  const params = call.kernel.params as MapParams;
  const [result] = call.outputs;
  const out = result.buffer;
  if (params.inPlace || step.isObservable(out) || step.makerOf(out) !== at) return null;
  const { output, inputs } = params;
  const index = inputs.findIndex((o, n) => {
    const operand = call.inputs[n];
    const { buffer } = operand;
    return o.dtype === output.dtype && operand.offset === result.offset &&
      o.offset === output.offset && String(o.strides) === String(output.strides) &&
      !step.isObservable(buffer) && step.makerOf(buffer) >= 0 &&
      Math.max(...step.readersOf(buffer)) === at && isLarge(buffer, out) &&
      call.inputs.every((other, m) => m === n || other.buffer !== buffer);
  });
  if (index < 0) return null;
  const place = (n: number) => n === index ? 0 : n < index ? n + 1 : n;
  const renumbered = (expr: Expr) =>
    substitute(expr, (e) => e.kind === "input" ? input(place(e.index)) : undefined);
  const expr = renumbered(params.expr);
  const also = params.also?.map((o) => ({ ...o, expr: renumbered(o.expr) }));
  const rest = <T>(list: readonly T[]) => list.filter((_, n) => n !== index);
  const kernel = mapKernel({ ...params, expr, also, inputs: rest(inputs), inPlace: true });
  const over = { ...call, kernel, inputs: rest(call.inputs) };
  return { call: over, from: out, to: call.inputs[index].buffer };
}

function isLarge(buffer: unknown, out: unknown): boolean {
  return (buffer as VirtualBuffer).count >= (out as VirtualBuffer).count;
}
