/** From the values of a captured step to memory: what stays where it is, and what comes with every replay. */

import { VirtualBuffer } from "../backend/capture.ts";
import type { Device, Storage } from "../backend/device.ts";
import { bytesPerElement, type Operand } from "../../kernels/types.ts";
import { type ElementSize, type MemoryPlan, planMemory } from "./memory.ts";
import type { StepCall } from "./recording.ts";

/** An operand of a call whose place changes from replay to replay. */
interface MovingOperand {
  readonly operand: { buffer: unknown; offset: number };
  readonly offset: number;
}

/** The parts of a step that need memory. */
export interface StepMemory {
  /** Virtual memory that stands for what comes with every replay. */
  readonly inputs: readonly Storage[];
  /** What every replay gives out. */
  readonly results: readonly VirtualBuffer[];
  /** Memory that lives on, by the virtual buffer that stood for it. */
  readonly kept: ReadonlyMap<VirtualBuffer, Storage>;
  /** Values that calls make once. */
  readonly fixed: readonly VirtualBuffer[];
  /** Those calls. */
  readonly once: readonly StepCall[];
  /** Calls of every replay. */
  readonly calls: readonly StepCall[];
  /** Virtual buffers whose content matters after the step. */
  readonly observable: ReadonlySet<unknown>;
}

/** Memory of a step, and the operands that must be set for every replay. */
export class Placement {
  /** Where intermediate values lie. */
  readonly plan: MemoryPlan;
  /** Memory that belongs to the step. */
  readonly owned: readonly Storage[];
  /** Numbers of the host that the step overwrites, so that every replay needs them again. */
  readonly renewed: readonly (readonly [Storage, VirtualBuffer])[];
  readonly #homes: ReadonlyMap<unknown, Storage>;
  readonly #slots: readonly Storage[];
  readonly #sizeOf: ElementSize;
  readonly #moving = new Map<unknown, MovingOperand[]>();
  readonly #inputs: readonly MovingOperand[][];
  readonly #results: readonly MovingOperand[][];

  /**
   * Takes the memory.
   *
   * @param device where it is
   * @param step what needs it
   */
  constructor(device: Device, step: StepMemory) {
    const { inputs, results, kept, fixed, once, calls, observable } = step;
    const all = [...once, ...calls];
    // The reference keeps one double for each element, whatever its type.
    this.#sizeOf = device.kind === "reference" ? () => 4 : bytesPerElement;
    this.plan = planMemory(calls, new Set([...observable, ...fixed]), this.#sizeOf);
    this.#slots = this.plan.slots.map((count) => device.allocate(count, "f32", "captured step"));
    const constants = constantsOf(device, all, observable);
    const made = fixed.map(({ count, dtype, label }) => device.allocate(count, dtype, label));
    this.#homes = new Map<unknown, Storage>([
      ...kept,
      ...constants,
      ...fixed.map((value, i) => [value, made[i]] as const),
    ]);
    this.owned = [...this.#slots, ...constants.values(), ...made];
    const written = new Set(all.flatMap((call) => call.outputs.map((o) => o.buffer)));
    this.renewed = [...constants, ...kept].flatMap(([buffer, storage]) =>
      buffer.data !== null && written.has(buffer) ? [[storage, buffer] as const] : []
    );
    const movingOf = (buffer: unknown) => {
      const operands: MovingOperand[] = [];
      this.#moving.set(buffer, operands);
      return operands;
    };
    this.#inputs = inputs.map(({ buffer }) => movingOf(buffer));
    this.#results = results.map(movingOf);
  }

  /** An operand over real memory; those of inputs and results are set by every replay. */
  place(operand: Operand<unknown>): Operand<unknown> {
    const { buffer, offset, size } = operand;
    const moving = this.#moving.get(buffer);
    if (moving !== undefined) {
      const own = { buffer, offset, size };
      moving.push({ operand: own, offset });
      return own;
    }
    if (!(buffer instanceof VirtualBuffer)) return operand;
    const home = this.#homes.get(buffer);
    if (home !== undefined) return { buffer: home.buffer, offset, size };
    const { slot, offset: words } = this.plan.placeOf.get(buffer)!;
    // Operands count in their own elements, and f16 has two to a word.
    const start = words * 4 / this.#sizeOf(buffer.dtype);
    return { buffer: this.#slots[slot].buffer, offset: start + offset, size };
  }

  /** Sets the operands of an input to memory that is counted from `base`. */
  setInput(index: number, storage: Storage, base: number): void {
    for (const { operand, offset } of this.#inputs[index]) {
      operand.buffer = storage.buffer;
      operand.offset = offset + base;
    }
  }

  /** Sets the operands of a result to its memory. */
  setResult(index: number, storage: Storage): void {
    for (const { operand } of this.#results[index]) operand.buffer = storage.buffer;
  }
}

/** Memory with the numbers that the host wrote while the step was captured. */
function constantsOf(
  device: Device,
  calls: readonly StepCall[],
  observable: ReadonlySet<unknown>,
): Map<VirtualBuffer, Storage> {
  const constants = new Map<VirtualBuffer, Storage>();
  for (const { buffer } of calls.flatMap((call) => [...call.inputs, ...call.outputs])) {
    if (!(buffer instanceof VirtualBuffer) || buffer.data === null) continue;
    if (constants.has(buffer) || observable.has(buffer)) continue;
    const storage = device.allocate(buffer.count, buffer.dtype, buffer.label);
    device.write(storage, buffer.data);
    constants.set(buffer, storage);
  }
  return constants;
}
