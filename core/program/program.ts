/** A planned step: kernel calls over fixed memory, replayed without making anything. */

import type { VirtualBuffer } from "../backend/capture.ts";
import type { Device, Storage } from "../backend/device.ts";
import { debugLine } from "../backend/debug.ts";
import { CaptureError } from "../errors.ts";
import type { KernelCall, Operand } from "../../kernels/types.ts";
import { optimize } from "./optimize.ts";
import { Placement } from "./placement.ts";
import type { Recording, ScalarCell, StepCall } from "./recording.ts";

/** Memory of a captured step. */
export interface ProgramMemory {
  /** Bytes of the intermediate values of a step, held between replays. */
  readonly plannedBytes: number;
  /** The most bytes of intermediate values that live at once: no plan can do with less. */
  readonly leastBytes: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface PlannedCall {
  readonly call: Mutable<KernelCall<unknown>>;
  /** Cells of the numbers; empty where they never change. */
  readonly live: readonly ScalarCell[];
}

/** A step that was captured for some shapes of its inputs. */
export class Program {
  /** Kernel calls of one replay. */
  readonly dispatches: number;
  /** Bytes of intermediate values. */
  readonly memory: ProgramMemory;
  /** Where the step works. */
  readonly device: Device;
  readonly #recording: Recording;
  readonly #calls: readonly PlannedCall[];
  readonly #results: readonly VirtualBuffer[];
  readonly #placement: Placement;
  readonly #written: readonly Storage[];
  /** Inputs that a replay changes. */
  readonly #changed: readonly number[];
  /** Memory that stays as long as the step may be replayed. */
  readonly #held: readonly Storage[];
  #fresh = true;

  /**
   * Plans a step, takes its memory, and runs what needs to run only once.
   *
   * @param recording what the step does
   * @param inputs virtual memory that stands for what comes with every replay
   * @param results virtual memory that stands for what every replay gives out
   */
  constructor(recording: Recording, inputs: readonly Storage[], results: readonly Storage[]) {
    const { device } = recording;
    this.device = device;
    this.#recording = recording;
    this.#results = results.map(({ buffer }) => buffer as VirtualBuffer);
    const kept = materialized(recording);
    const given = inputs.map(({ buffer }) => buffer);
    const observable = new Set<unknown>([...this.#results, ...kept.keys(), ...given]);
    const { maxBindings } = device.traits;
    const { once, values: fixed, calls } = optimize(recording.calls, observable, maxBindings);
    const step = { inputs, results: this.#results, kept, fixed, once, calls, observable };
    this.#placement = new Placement(device, step);
    const { plan, owned } = this.#placement;
    this.memory = { plannedBytes: plan.bytes, leastBytes: plan.least };
    for (const call of once) device.record(this.#planned(call).call);
    this.#calls = calls.map((call) => this.#planned(call));
    this.dispatches = calls.length;
    debugLine(
      1,
      () =>
        `captured a step: ${recording.calls.length} kernel calls became ${calls.length} and ${once.length} that ran once; ` +
        `${plan.bytes} bytes of values, of which ${plan.least} live at once`,
    );
    const written = new Set(calls.flatMap((call) => call.outputs.map((o) => o.buffer)));
    this.#written = [...recording.externals.values()].filter((s) => written.has(s.buffer));
    this.#changed = given.flatMap((buffer, index) => written.has(buffer) ? [index] : []);
    this.#held = [...owned, ...kept.values(), ...recording.externals.values()];
    abandoned.register(this, this.#held, this);
  }

  /** Whether a replay would do what the step would do now. */
  holds(): boolean {
    return this.#recording.holds();
  }

  /**
   * Fails if memory that comes as an argument is also used by the step itself, and one of both changes it.
   *
   * @throws {CaptureError} naming the argument
   */
  checkInputs(inputs: readonly { readonly storage: Storage }[]): void {
    inputs.forEach(({ storage }, i) => {
      const own = this.#recording.externals.has(storage.buffer);
      if (own && (this.#written.includes(storage) || this.#changed.includes(i))) {
        throw new CaptureError(
          `Cannot run a captured step whose argument tensor ${i} is memory that it also uses by itself, and changes: pass a copy`,
        );
      }
    });
  }

  /** All memory that a replay with these inputs changes, but its own. */
  changed(inputs: readonly { readonly storage: Storage }[]): Storage[] {
    return [...this.#written, ...this.#changed.map((index) => inputs[index].storage)];
  }

  /** Takes the host side effects of the last replay back. */
  undo(): void {
    this.#recording.undo();
  }

  /**
   * Does the step once more.
   *
   * @param inputs memory of each input, and the element that views are counted from
   * @returns new memory for each result
   */
  replay(inputs: readonly { readonly storage: Storage; readonly base: number }[]): Storage[] {
    // The capture itself has changed the host for the first run.
    if (!this.#fresh) this.#recording.advance();
    this.#fresh = false;
    const placement = this.#placement;
    inputs.forEach(({ storage, base }, i) => placement.setInput(i, storage, base));
    for (const [storage, { data }] of placement.renewed) this.device.write(storage, data!);
    const results = this.#results.map(({ count, dtype, data }, i) => {
      const storage = this.device.allocate(count, dtype, "result of a captured step");
      if (data !== null) this.device.write(storage, data);
      placement.setResult(i, storage);
      return storage;
    });
    for (const { call, live } of this.#calls) {
      if (live.length > 0) call.scalars = live.flatMap((cell) => cell.values);
      this.device.record(call);
    }
    for (const storage of this.#written) storage.version++;
    for (const index of this.#changed) inputs[index].storage.version++;
    return results;
  }

  /** Takes the capture itself back, where no replay has followed. */
  abandon(): void {
    this.#recording.undo();
    this.dispose();
  }

  /** Gives the memory of the step back. */
  dispose(): void {
    abandoned.unregister(this);
    release(this.#held);
  }

  #planned({ kernel, inputs, outputs, cells }: StepCall): PlannedCall {
    const place = (operand: Operand<unknown>) => this.#placement.place(operand);
    return {
      call: {
        kernel,
        inputs: inputs.map(place),
        outputs: outputs.map(place),
        scalars: cells.flatMap((cell) => cell.values),
      },
      live: cells.some((cell) => cell.live) ? cells : [],
    };
  }
}

function release(storages: readonly Storage[]): void {
  for (const storage of storages) storage.device.release(storage);
}

// The memory of a program that nobody can replay any more goes with it.
const abandoned = new FinalizationRegistry(release);

/** Gives memory to what lives on between replays; the virtual buffers that stood for it lead there. */
function materialized({ kept, device }: Recording): Map<VirtualBuffer, Storage> {
  const homes = new Map<VirtualBuffer, Storage>();
  for (const storage of kept) {
    // Its tensor may be forgotten between two replays.
    storage.handles++;
    homes.set(storage.buffer as VirtualBuffer, storage);
    device.materialize(storage);
  }
  return homes;
}
