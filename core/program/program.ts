/** A planned step: kernel calls over fixed memory, replayed without making anything. */

import { VirtualBuffer } from "../backend/capture.ts";
import type { Device, Storage } from "../backend/device.ts";
import { CaptureError } from "../errors.ts";
import { bytesPerElement, type KernelCall, type Operand } from "../../kernels/types.ts";
import { hoist } from "./hoist.ts";
import { planMemory } from "./memory.ts";
import { optimize } from "./optimize.ts";
import type { Recording, ScalarCell, StepCall } from "./recording.ts";

/** Memory of a captured step. */
export interface ProgramMemory {
  /** Bytes of the intermediate values of a step, held between replays. */
  readonly plannedBytes: number;
  /** The most bytes of intermediate values that live at once: no plan can do with less. */
  readonly leastBytes: number;
}

/** An operand of a call whose place changes from replay to replay. */
interface MovingOperand {
  readonly operand: { buffer: unknown; offset: number };
  readonly offset: number;
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
  readonly #device: Device;
  readonly #recording: Recording;
  readonly #calls: PlannedCall[];
  readonly #inputs: MovingOperand[][];
  readonly #outputs: MovingOperand[][];
  readonly #results: readonly VirtualBuffer[];
  /** Numbers of the host that the step overwrites, so that every replay needs them again. */
  readonly #renewed: [Storage, VirtualBuffer][] = [];
  readonly #written: Storage[];
  readonly #owned: Storage[];
  /** Inputs that a replay changes. */
  readonly #changed = new Set<number>();
  #fresh = true;

  /**
   * @param recording what the step does
   * @param inputs virtual memory that stands for what comes with every replay
   * @param results virtual memory that stands for what every replay gives out
   */
  constructor(recording: Recording, inputs: readonly Storage[], results: readonly Storage[]) {
    const { device } = recording;
    this.#device = device;
    this.#recording = recording;
    this.#results = results.map(({ buffer }) => buffer as VirtualBuffer);
    const kept = new Map<unknown, Storage>();
    for (const storage of recording.kept) {
      kept.set(storage.buffer, storage);
      device.materialize(storage);
    }
    const inputIndex = new Map<unknown, number>(inputs.map(({ buffer }, i) => [buffer, i]));
    const observable = new Set<unknown>([...this.#results, ...kept.keys(), ...inputIndex.keys()]);
    const { once, values, calls } = hoist(optimize(recording.calls, observable), observable);
    const plan = planMemory(calls, new Set([...observable, ...values]));
    this.memory = { plannedBytes: plan.bytes, leastBytes: plan.least };
    const slots = plan.slots.map((count) => device.allocate(count, "f32", "captured step"));
    const constants = this.#constants([...once, ...calls], observable);
    for (const value of values) {
      constants.set(value, device.allocate(value.count, value.dtype, value.label));
    }
    this.#owned = [...slots, ...constants.values()];
    const resultIndex = new Map<unknown, number>(this.#results.map((buffer, i) => [buffer, i]));
    this.#inputs = inputs.map(() => []);
    this.#outputs = results.map(() => []);
    const place = (operand: Operand<unknown>): Operand<unknown> => {
      const { buffer, offset, size } = operand;
      const moving = this.#inputs[inputIndex.get(buffer)!] ??
        this.#outputs[resultIndex.get(buffer)!];
      if (moving !== undefined) {
        const own = { buffer, offset, size };
        moving.push({ operand: own, offset });
        return own;
      }
      if (!(buffer instanceof VirtualBuffer)) return operand;
      const home = kept.get(buffer) ?? constants.get(buffer);
      if (home !== undefined) return { buffer: home.buffer, offset, size };
      const at = plan.placeOf.get(buffer)!;
      // Operands count in their own elements, and f16 has two to a word.
      const start = at.offset * 4 / bytesPerElement(buffer.dtype);
      return { buffer: slots[at.slot].buffer, offset: start + offset, size };
    };
    const planned = ({ kernel, inputs, outputs, cells }: StepCall): PlannedCall => ({
      call: {
        kernel,
        inputs: inputs.map(place),
        outputs: outputs.map(place),
        scalars: cells.flatMap((cell) => cell.values),
      },
      live: cells.some((cell) => cell.live) ? cells : [],
    });
    for (const call of once) device.record(planned(call).call);
    this.#calls = plan.calls.map(planned);
    this.dispatches = this.#calls.length;
    this.#written = writtenExternals(calls, recording);
    for (const { buffer } of calls.flatMap((call) => call.outputs)) {
      const index = inputIndex.get(buffer);
      if (index !== undefined) this.#changed.add(index);
    }
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
      if (own && (this.#written.includes(storage) || this.#changed.has(i))) {
        throw new CaptureError(
          `Cannot run a captured step whose argument tensor ${i} is memory that it also uses by itself, and changes: pass a clone()`,
        );
      }
    });
  }

  /** All memory that a replay with these inputs changes, but its own. */
  changed(inputs: readonly { readonly storage: Storage }[]): Storage[] {
    return [...this.#written, ...[...this.#changed].map((index) => inputs[index].storage)];
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
    this.#inputs.forEach((moving, i) => {
      const { storage, base } = inputs[i];
      for (const { operand, offset } of moving) {
        operand.buffer = storage.buffer;
        operand.offset = offset + base;
      }
    });
    for (const [storage, { data }] of this.#renewed) this.#device.write(storage, data!);
    const results = this.#results.map(({ count, dtype, data }) => {
      const storage = this.#device.allocate(count, dtype, "result of a captured step");
      if (data !== null) this.#device.write(storage, data);
      return storage;
    });
    this.#outputs.forEach((moving, i) => {
      for (const { operand } of moving) operand.buffer = results[i].buffer;
    });
    for (const { call, live } of this.#calls) {
      if (live.length > 0) call.scalars = live.flatMap((cell) => cell.values);
      this.#device.record(call);
    }
    for (const storage of this.#written) storage.version++;
    for (const index of this.#changed) inputs[index].storage.version++;
    return results;
  }

  /** Gives the memory of the step back. */
  dispose(): void {
    for (const storage of this.#owned) this.#device.release(storage);
    for (const storage of this.#recording.externals.values()) this.#device.release(storage);
  }

  /** Memory with the numbers that the host wrote while the step was captured. */
  #constants(calls: readonly StepCall[], observable: ReadonlySet<unknown>): Map<unknown, Storage> {
    const constants = new Map<unknown, Storage>();
    const written = new Set(calls.flatMap((call) => call.outputs.map((o) => o.buffer)));
    for (const { buffer } of calls.flatMap((call) => [...call.inputs, ...call.outputs])) {
      if (!(buffer instanceof VirtualBuffer) || buffer.data === null) continue;
      if (constants.has(buffer) || observable.has(buffer)) continue;
      const storage = this.#device.allocate(buffer.count, buffer.dtype, buffer.label);
      this.#device.write(storage, buffer.data);
      if (written.has(buffer)) this.#renewed.push([storage, buffer]);
      constants.set(buffer, storage);
    }
    return constants;
  }
}

function writtenExternals(calls: readonly StepCall[], { externals }: Recording): Storage[] {
  const written = new Set<Storage>();
  for (const { outputs } of calls) {
    for (const { buffer } of outputs) {
      const storage = externals.get(buffer);
      if (storage !== undefined) written.add(storage);
    }
  }
  return [...written];
}
