/** The calls of a step with who writes and reads what; what every rewriting of a step asks. */

import { VirtualBuffer } from "../backend/capture.ts";
import type { Operand } from "../../kernels/types.ts";
import type { StepCall } from "./recording.ts";

/** Whether two operands have elements in common. */
export function overlap(a: Operand<unknown>, b: Operand<unknown>): boolean {
  return a.buffer === b.buffer && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

/** Buffers that one kernel may bind on every device. */
const DEFAULT_BINDINGS = 8;

/** A list of calls that is being rewritten. */
export class Step {
  readonly calls: StepCall[];
  readonly #observable: ReadonlySet<unknown>;

  /**
   * @param calls the calls in order
   * @param observable virtual buffers whose content matters after the step
   * @param maxBindings buffers that one call may bind
   */
  constructor(
    calls: readonly StepCall[],
    observable: ReadonlySet<unknown>,
    readonly maxBindings: number = DEFAULT_BINDINGS,
  ) {
    this.calls = [...calls];
    this.#observable = observable;
  }

  /** Whether a value belongs to the step alone, and one call makes all of it; then the number of that call, else -1. */
  makerOf(buffer: unknown): number {
    if (!(buffer instanceof VirtualBuffer) || buffer.data !== null) return -1;
    const writes = (call: StepCall) => call.outputs.some((o) => o.buffer === buffer);
    const first = this.calls.findIndex(writes);
    return first >= 0 && this.calls.findLastIndex(writes) === first ? first : -1;
  }

  /** Whether the content of a buffer matters after the step. */
  isObservable(buffer: unknown): boolean {
    return !(buffer instanceof VirtualBuffer) || this.#observable.has(buffer);
  }

  /** The calls that read a buffer. */
  readersOf(buffer: unknown): number[] {
    return this.calls.flatMap((call, at) =>
      call.inputs.some((o) => o.buffer === buffer) ? [at] : []
    );
  }

  /** Whether anybody but the call at `at` needs what a call writes. */
  hasOthers(call: StepCall, at: number): boolean {
    return call.outputs.some(({ buffer }) =>
      this.isObservable(buffer) || this.readersOf(buffer).some((index) => index !== at)
    );
  }

  /** Whether a call could as well run at a later place: nobody between changes what it reads or uses what it writes. */
  canSink(call: StepCall, from: number, to: number): boolean {
    return this.#isFree(call, from + 1, to);
  }

  /** Whether a call would make the same values again at a later place. */
  canRepeat({ inputs }: StepCall, from: number, to: number): boolean {
    return this.calls.slice(from + 1, to).every(({ outputs }) =>
      !outputs.some((o) => inputs.some((i) => overlap(i, o)))
    );
  }

  /** Whether a call could as well run right after an earlier one, whose results it may read. */
  canRise(call: StepCall, from: number, to: number): boolean {
    return this.#isFree(call, to + 1, from);
  }

  #isFree({ inputs, outputs }: StepCall, low: number, high: number): boolean {
    for (let at = low; at < high; at++) {
      const other = this.calls[at];
      for (const o of other.outputs) {
        if (inputs.some((i) => overlap(i, o)) || outputs.some((i) => overlap(i, o))) return false;
      }
      for (const i of other.inputs) if (outputs.some((o) => overlap(i, o))) return false;
    }
    return true;
  }
}
