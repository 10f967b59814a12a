/** One run of a step with nothing executed: its kernel calls, its host side effects, and what must hold to repeat them. */

import type { Capture } from "../backend/capture.ts";
import { VirtualBuffer, withCapture } from "../backend/capture.ts";
import type { Device, Storage } from "../backend/device.ts";
import { CaptureError } from "../errors.ts";
import type { Kernel, KernelCall, Operand } from "../../kernels/types.ts";
import { callerOutside } from "./caller.ts";

/** Run-time numbers of one call, renewed by every replay where they are live. */
export interface ScalarCell {
  values: readonly number[];
  readonly live?: () => readonly number[];
}

/** A kernel call of a step, over virtual buffers and real ones. */
export interface StepCall {
  readonly kernel: Kernel;
  readonly inputs: readonly Operand<unknown>[];
  readonly outputs: readonly Operand<unknown>[];
  /** Cells whose numbers, one after the other, are those of the kernel. */
  readonly cells: readonly ScalarCell[];
}

const NO_VALUES = "it has no values while it is captured; return the tensor and read it outside, " +
  "or run the step without jit()";

/** A change of host state that every replay repeats. */
interface Effect {
  readonly run: () => void;
  readonly undo: () => void;
}

/** What a step does. */
export class Recording implements Capture {
  readonly calls: StepCall[] = [];
  /** Memory of others that the step uses, by buffer. */
  readonly externals = new Map<unknown, Storage>();
  /** Memory that the step made. */
  readonly made: Storage[] = [];
  /** Memory that lives on between replays. */
  readonly kept = new Set<Storage>();
  readonly #guards: (() => boolean)[] = [];
  /** What the step was not allowed to do; a rejected promise may have hidden it. */
  #refused: CaptureError | null = null;
  readonly #prologue: (Effect | ScalarCell)[] = [];

  /** @param device the device whose work is kept */
  constructor(readonly device: Device) {
    const { moves } = device;
    this.guard(() => device.moves === moves);
  }

  /** Runs the step; what it did stays undone on the host if it fails. */
  run<T>(step: () => T): T {
    try {
      const result = withCapture(this, step);
      // An asynchronous step fails here; what is left of it has nobody to tell.
      if (result instanceof Promise) result.catch(() => {});
      if (this.#refused !== null) throw this.#refused;
      return result;
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** Takes the host side effects back, and forgets memory of others. */
  abandon(): void {
    this.undo();
    for (const storage of this.externals.values()) this.device.release(storage);
    this.externals.clear();
  }

  /** Keeps memory alive that a replay hands out. */
  hold(storage: Storage): void {
    if (storage.buffer instanceof VirtualBuffer || this.externals.has(storage.buffer)) return;
    storage.handles++;
    this.externals.set(storage.buffer, storage);
  }

  record(call: KernelCall<unknown>): void {
    const { kernel, scalars, live } = call;
    for (const operand of [...call.inputs, ...call.outputs]) this.#hold(operand.buffer);
    const cell: ScalarCell = { values: scalars, live };
    if (live) this.#prologue.push(cell);
    // Tensors may be moved later; the operands of a recorded call stay what they were.
    const cells = scalars.length > 0 ? [cell] : [];
    this.calls.push({ kernel, inputs: call.inputs, outputs: call.outputs, cells });
  }

  allocated(storage: Storage): void {
    this.made.push(storage);
  }

  effect(run: () => void, undo: () => void): void {
    run();
    this.#prologue.push({ run, undo });
  }

  guard(holds: () => boolean): void {
    this.#guards.push(holds);
  }

  persist(storage: Storage): void {
    if (storage.buffer instanceof VirtualBuffer) this.kept.add(storage);
  }

  refuse(action: string, reason: string = NO_VALUES): never {
    const error = new CaptureError(
      `Cannot ${action} inside a captured step (${callerOutside()}): ${reason}`,
    );
    this.#refused ??= error;
    throw error;
  }

  /** Whether a replay would do what the step would do. */
  holds(): boolean {
    for (const guard of this.#guards) if (!guard()) return false;
    return true;
  }

  /** Repeats the host side effects and renews the live numbers, in the order of the step. */
  advance(): void {
    for (const item of this.#prologue) {
      if ("run" in item) item.run();
      else item.values = item.live!();
    }
  }

  /** Takes the host side effects of one run back. */
  undo(): void {
    for (const item of this.#prologue.toReversed()) if ("undo" in item) item.undo();
  }

  /** Keeps real memory alive as long as the step may be replayed. */
  #hold(buffer: unknown): void {
    if (!(buffer instanceof VirtualBuffer) && !this.externals.has(buffer)) {
      this.hold(this.device.storageOf(buffer));
    }
  }
}
