/**
 * Fusion: elementwise kernels go into the elementwise kernels and reductions that read them, and into the stores of matrix
 * products and convolutions; copies go into the kernel that makes what they copy.
 */

import { VirtualBuffer } from "../backend/capture.ts";
import type { StepCall } from "./recording.ts";
import { fuseCopy, fuseEpilogue } from "./fuse_stores.ts";
import { fuseLoads, isCheap } from "./fuse_loads.ts";

/** Attempts to put the call at `at` and the call that reads it together. */
type Fusion = (writer: StepCall, reader: StepCall, others: boolean) => StepCall | null;

/** Fuses until nothing more fits; the result does the same with the same bits. */
export function fuse(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): StepCall[] {
  const step = new Step([...calls], observable);
  step.sweep((writer, reader, others) => others ? null : fuseLoads(writer, reader));
  step.spreadCheap();
  step.sweep((writer, reader, others) => others ? null : fuseCopy(writer, reader));
  step.sweep(fuseEpilogue);
  return step.calls;
}

/** The calls of a step with who writes and reads what. */
class Step {
  readonly calls: StepCall[];
  readonly #observable: ReadonlySet<unknown>;

  constructor(calls: StepCall[], observable: ReadonlySet<unknown>) {
    this.calls = calls;
    this.#observable = observable;
  }

  /** Tries a fusion for every call with each call that it reads from; again where it worked. */
  sweep(fusion: Fusion): void {
    for (let at = 0; at < this.calls.length; at++) {
      while (true) {
        const next = this.#fuseInto(at, fusion);
        if (next === null) break;
        at = next;
      }
    }
  }

  /** Computes cheap values again wherever they are read, where that spares storing them. */
  spreadCheap(): void {
    for (let from = 0; from < this.calls.length; from++) {
      const writer = this.calls[from];
      const buffer = writer.outputs[0]?.buffer;
      if (!isCheap(writer) || !this.#isOwn(buffer) || this.#writer(buffer) !== from) continue;
      const readers = this.#readers(buffer);
      if (readers.length < 2 || readers.some((at) => !this.#canMove(writer, from, at))) continue;
      const fused = readers.map((at) => fuseLoads(writer, this.calls[at]));
      if (fused.some((call) => call === null)) continue;
      readers.forEach((at, i) => this.calls[at] = fused[i]!);
      this.calls.splice(from--, 1);
    }
  }

  /** Fuses one of the calls that the call at `at` reads from into it; returns where the fused call is, or null. */
  #fuseInto(at: number, fusion: Fusion): number | null {
    const reader = this.calls[at];
    for (const { buffer } of reader.inputs) {
      if (!this.#isOwn(buffer)) continue;
      const from = this.#writer(buffer);
      if (from < 0 || from >= at) continue;
      const writer = this.calls[from];
      if (!this.#canMove(writer, from, at)) continue;
      const others = writer.outputs.some((o) =>
        this.#observable.has(o.buffer) || this.#readers(o.buffer).some((index) => index !== at)
      );
      const fused = fusion(writer, reader, others);
      if (fused === null) continue;
      this.calls[at] = fused;
      this.calls.splice(from, 1);
      return at - 1;
    }
    return null;
  }

  /** Whether a value belongs to the step alone. */
  #isOwn(buffer: unknown): buffer is VirtualBuffer {
    return buffer instanceof VirtualBuffer && buffer.data === null;
  }

  /** The only call that writes a buffer, or -1. */
  #writer(buffer: unknown): number {
    const writes = (call: StepCall) => call.outputs.some((o) => o.buffer === buffer);
    const first = this.calls.findIndex(writes);
    return first >= 0 && this.calls.findLastIndex(writes) === first ? first : -1;
  }

  /** The calls that read a buffer. */
  #readers(buffer: unknown): number[] {
    return this.calls.flatMap((call, at) =>
      call.inputs.some((o) => o.buffer === buffer) ? [at] : []
    );
  }

  /** Whether a call could as well run later: nobody between changes what it reads or uses what it writes. */
  #canMove(call: StepCall, from: number, to: number): boolean {
    const reads = new Set(call.inputs.map((o) => o.buffer));
    const writes = new Set(call.outputs.map((o) => o.buffer));
    for (let at = from + 1; at < to; at++) {
      const { inputs, outputs } = this.calls[at];
      if (outputs.some(({ buffer }) => reads.has(buffer) || writes.has(buffer))) return false;
      if (inputs.some(({ buffer }) => writes.has(buffer))) return false;
    }
    return true;
  }
}
