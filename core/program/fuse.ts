/**
 * Fusion: elementwise kernels go into the elementwise kernels and reductions that read them, and into the stores of matrix
 * products, convolutions and reductions; copies go into the kernel that makes what they copy.
 */

import { elideCopy, fuseStores } from "./fuse_stores.ts";
import { fuseBoth, fuseLoads, isCheap } from "./fuse_loads.ts";
import type { StepCall } from "./recording.ts";
import { Step } from "./step.ts";

/** Fuses until nothing more fits, or binds more buffers than may be; the result does the same with the same bits. */
export function fuse(
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
  maxBindings?: number,
): StepCall[] {
  const step = new Step(calls, observable, maxBindings);
  everywhere(step, intoReader);
  spreadCheap(step);
  everywhere(step, withReader);
  everywhere(step, elideCopy);
  everywhere(step, intoWriter);
  return step.calls;
}

/** Rewrites a step around the call at `at`, which reads what the call at `from` makes; gives where it went on, or null. */
type Rewrite = (step: Step, from: number, at: number) => number | null;

/** Tries a rewrite for every call with each call that it reads from; again where it worked. */
function everywhere(step: Step, rewrite: Rewrite): void {
  for (let at = 0; at < step.calls.length; at++) {
    let next: number | null = at;
    while (next !== null) {
      at = next;
      next = rewriteAt(step, at, rewrite);
    }
  }
}

function rewriteAt(step: Step, at: number, rewrite: Rewrite): number | null {
  for (const { buffer } of step.calls[at].inputs) {
    const from = step.makerOf(buffer);
    if (from < 0 || from >= at) continue;
    const next = rewrite(step, from, at);
    if (next !== null) return next;
  }
  return null;
}

function intoReader(step: Step, from: number, at: number): number | null {
  const [writer, reader] = [step.calls[from], step.calls[at]];
  if (step.hasOthers(writer, at) || !step.canSink(writer, from, at)) return null;
  const fused = fuseLoads(writer, reader, step.maxBindings);
  if (fused === null) return null;
  step.calls[at] = fused;
  step.calls.splice(from, 1);
  return at - 1;
}

/** A value that others read too is stored beside what its first reader makes of it. */
function withReader(step: Step, from: number, at: number): number | null {
  const [writer, reader] = [step.calls[from], step.calls[at]];
  if (writer.kernel.op !== "map" || !step.canRise(reader, at, from)) return null;
  const fused = fuseBoth(writer, reader, step.maxBindings);
  if (fused === null) return null;
  step.calls[from] = fused;
  step.calls.splice(at, 1);
  return at - 1;
}

/** As early as possible, since what a store needs no more can then make room. */
function intoWriter(step: Step, from: number, at: number): number | null {
  const [writer, reader] = [step.calls[from], step.calls[at]];
  const rises = step.canRise(reader, at, from);
  if (!rises && !step.canSink(writer, from, at)) return null;
  const fused = fuseStores(writer, reader, step.hasOthers(writer, at), step.maxBindings);
  if (fused === null) return null;
  step.calls[rises ? from : at] = fused;
  step.calls.splice(rises ? at : from, 1);
  return at - 1;
}

/** Computes cheap values again wherever they are read, where that spares storing them. */
function spreadCheap(step: Step): void {
  for (let from = 0; from < step.calls.length; from++) {
    const writer = step.calls[from];
    const { buffer } = writer.outputs[0];
    if (!isCheap(writer) || step.isObservable(buffer) || step.makerOf(buffer) !== from) continue;
    const readers = step.readersOf(buffer);
    if (readers.length < 2 || readers.some((at) => !step.canRepeat(writer, from, at))) continue;
    const fused = readers.map((at) => fuseLoads(writer, step.calls[at], step.maxBindings));
    if (fused.some((call) => call === null)) continue;
    readers.forEach((at, i) => step.calls[at] = fused[i]!);
    step.calls.splice(from--, 1);
  }
}
