/**
 * Flat memory for parameters, gradients and optimizer slots, so that one kernel call reaches all of
 * them.
 */

import { input } from "../../kernels/expr.ts";
import type { DType, Operand, Shape } from "../../kernels/types.ts";
import { uncaptured } from "../backend/capture.ts";
import { showShape } from "../errors.ts";
import { tensor } from "../tensor/create.ts";
import { fullOn } from "../tensor/fill.ts";
import { launchMapInto, noScalars } from "../tensor/launch.ts";
import { contiguousStrides } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Elements of an arena at most, unless one parameter has more: 128 MiB of f32, which every device
 * can bind.
 */
const MAX_ELEMENTS = 2 ** 25;

/** Elements of which every parameter takes whole ones. */
export const BLOCK = 64;

/**
 * A range of elements that lies alike in the parameters, the gradients and the slots of an arena.
 */
export interface ArenaRange {
  /** First parameter of the range. */
  readonly first: number;
  /** The parameter after the last one of the range. */
  readonly end: number;
  /** First element. */
  readonly start: number;
  /** Number of elements, with the padding; a multiple of 64. */
  readonly count: number;
}

/** Where a parameter lies. */
export interface ArenaPlace {
  readonly arena: Arena;
  /** Number of the parameter in the arena. */
  readonly index: number;
}

const places = new WeakMap<Tensor, ArenaPlace>();

/** Where an optimizer put a parameter; null for tensors that no optimizer in use holds. */
export function placeOf(parameter: Tensor): ArenaPlace | null {
  const place = places.get(parameter);
  return place === undefined || place.arena.isReleased ? null : place;
}

/**
 * Elements that a parameter takes, with padding, so that the next one can be bound: 256 bytes of
 * its type.
 */
function extentOf(parameter: Tensor): number {
  const unit = parameter.dtype === "f16" ? 128 : 64;
  return Math.ceil(parameter.size / unit) * unit;
}

/**
 * Splits parameters by dtype, and into as many arenas as their sizes ask for; their order stays.
 */
export function planArenas(parameters: readonly Tensor[], most: number = MAX_ELEMENTS): Tensor[][] {
  const plans: Tensor[][] = [];
  const open = new Map<DType, { tensors: Tensor[]; elements: number }>();
  for (const parameter of parameters) {
    const extent = extentOf(parameter);
    let plan = open.get(parameter.dtype);
    if (plan === undefined || (plan.elements > 0 && plan.elements + extent > most)) {
      plan = { tensors: [], elements: 0 };
      open.set(parameter.dtype, plan);
      plans.push(plan.tensors);
    }
    plan.tensors.push(parameter);
    plan.elements += extent;
  }
  return plans;
}

/**
 * Parameters of one dtype behind each other, each padded to a bindable start, with gradients and
 * slots laid out alike.
 *
 * The padding is zero and stays zero, so kernels may run over it.
 */
export class Arena {
  /** The parameters, in their order. */
  readonly tensors: readonly Tensor[];
  readonly #starts: readonly number[];
  readonly #values: Tensor;
  readonly #gradients: Tensor;
  readonly #slots = new Map<string, Tensor>();
  readonly #numbers = new Map<string, Tensor>();
  #blocks: Tensor | null = null;
  #released = false;

  /**
   * Moves the parameters into new memory; their gradients are forgotten.
   *
   * @param parameters leaves of one dtype and device, none of them in another arena
   */
  constructor(parameters: readonly Tensor[]) {
    this.tensors = [...parameters];
    const starts = [0];
    for (const parameter of parameters) starts.push(starts.at(-1)! + extentOf(parameter));
    this.#starts = starts;
    const { device, dtype } = parameters[0];
    this.#values = fullOn(device, [starts.at(-1)!], dtype, 0).keep();
    this.#gradients = fullOn(device, [starts.at(-1)!], dtype, 0).keep();
    this.#values.storage.describe = (element) => this.#describe("parameter", element);
    this.#gradients.storage.describe = (element) => this.#describe("gradient", element);
    parameters.forEach((parameter, index) => this.#adopt(parameter, index));
  }

  /** Type of the parameters and their gradients. */
  get dtype(): DType {
    return this.#values.dtype;
  }

  /** The flat parameters. */
  get values(): Tensor {
    return this.#values;
  }

  /** The flat gradients. */
  get gradients(): Tensor {
    return this.#gradients;
  }

  /** True once the optimizer has let the parameters go. */
  get isReleased(): boolean {
    return this.#released;
  }

  /** A flat slot in f32; `initial` everywhere where it is new. */
  slot(name: string, initial = 0): Tensor {
    return this.#made(this.#slots, name, this.#values.shape, initial);
  }

  /** One f32 for each parameter; `initial` where they are new. */
  numbers(name: string, initial = 0): Tensor {
    return this.#made(this.#numbers, name, [this.tensors.length], initial);
  }

  /** Where each parameter starts, and where the last one ends, in blocks of 64 elements: u32. */
  get blocks(): Tensor {
    const starts = Uint32Array.from(this.#starts, (start) => start / BLOCK);
    const { device } = this.#values;
    return this.#blocks ??= uncaptured(() => tensor(starts, { device, dtype: "u32" }).keep());
  }

  /** The first block of a parameter. */
  blockOf(index: number): number {
    return this.#starts[index] / BLOCK;
  }

  /** True where the slot has memory. */
  hasSlot(name: string): boolean {
    return this.#slots.has(name);
  }

  /** The part of flat memory that belongs to a parameter, in its shape. */
  view(flat: Tensor, index: number): Tensor {
    const shape: Shape = this.tensors[index].shape;
    return flat.alias({ shape, strides: contiguousStrides(shape), offset: this.#starts[index] });
  }

  /** The number in `numbers` that belongs to a parameter, a scalar. */
  numberOf(numbers: Tensor, index: number): Tensor {
    return numbers.alias({ shape: [], strides: [], offset: index });
  }

  /** The part of memory for a range, such as a result of that size, that belongs to a parameter. */
  viewIn(flat: Tensor, range: ArenaRange, index: number): Tensor {
    const shape: Shape = this.tensors[index].shape;
    const offset = this.#starts[index] - range.start;
    return flat.alias({ shape, strides: contiguousStrides(shape), offset });
  }

  /**
   * The parameters in ranges: neighbours with an equal key are one range.
   *
   * @param keyOf the key of a parameter, or null where it is left out
   */
  ranges(keyOf: (index: number) => number | null): ArenaRange[] {
    const ranges: ArenaRange[] = [];
    let first = 0;
    let key: number | null = null;
    for (let index = 0; index <= this.tensors.length; index++) {
      const next = index < this.tensors.length ? keyOf(index) : null;
      if (next === key && next !== null) continue;
      if (key !== null) {
        const start = this.#starts[first];
        ranges.push({ first, end: index, start, count: this.#starts[index] - start });
      }
      first = index;
      key = next;
    }
    return ranges;
  }

  /** Frees the slots and lets other optimizers take the parameters, which keep their memory. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#values.dispose();
    this.#gradients.dispose();
    for (const slots of [this.#slots, this.#numbers]) {
      for (const slot of slots.values()) slot.dispose();
      slots.clear();
    }
    this.#blocks?.dispose();
    this.#blocks = null;
  }

  #made(slots: Map<string, Tensor>, name: string, shape: Shape, initial: number): Tensor {
    let slot = slots.get(name);
    if (slot === undefined) {
      const { device } = this.#values;
      slot = uncaptured(() => fullOn(device, shape, "f32", initial).keep());
      slots.set(name, slot);
    }
    return slot;
  }

  #describe(what: string, element: number): string {
    const index = this.#starts.findLastIndex((start) => start <= element);
    return `${what} ${index} (shape ${showShape(this.tensors[index].shape)}), element ${
      element - this.#starts[index]
    },`;
  }

  #adopt(parameter: Tensor, index: number): void {
    const target = this.view(this.#values, index);
    launchMapInto(input(0), [parameter], target, noScalars);
    const offset = target.offset;
    target.dispose();
    parameter.moveTo(this.#values.storage, offset, this.view(this.#gradients, index).keep());
    places.set(parameter, { arena: this, index });
  }
}

/** A range of flat memory as the operand of a kernel. */
export function rangeOperand(flat: Tensor, range: ArenaRange): Operand<unknown> {
  return { buffer: flat.storage.buffer, offset: range.start, size: range.count };
}
