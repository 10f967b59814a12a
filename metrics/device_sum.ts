/** Sums that stay on the device until somebody asks for them. */

import { uncaptured } from "../core/backend/capture.ts";
import { noGrad, type Tensor, zeros } from "../core/mod.ts";
import { addInto, fillInto } from "../core/tensor/in_place.ts";

/** The elements of a sum as JSON values: numbers, or words for NaN and infinities. */
export type SavedSum = readonly (number | string)[];

/**
 * A short vector that grows by one tensor per step, added up on the device.
 *
 * Adding never reads. i32 tensors count exactly up to 2³¹ − 1, f32 tensors round like any f32 sum.
 */
export class DeviceSum {
  #length: number;
  #base: number[];
  #sum: Tensor | null = null;

  /** @param length number of elements */
  constructor(length: number) {
    this.#length = length;
    this.#base = Array(length).fill(0);
  }

  /**
   * Adds what `part` computes: a new tensor with as many elements as this sum.
   *
   * Temporary tensors are released at once, gradients are not recorded.
   *
   * @param like a tensor of the device to compute on
   * @param part makes the tensor to add
   */
  add(like: Tensor, part: () => Tensor): void {
    using _scope = like.device.scope();
    using _quiet = noGrad();
    const flat = part().reshape([this.#length]);
    const { dtype, device } = flat;
    // One place for the whole time, so that captured steps find it again.
    this.#sum ??= uncaptured(() => zeros([this.#length], { dtype, device }).keep());
    addInto(this.#sum, flat);
  }

  /** Reads the sum. */
  async read(): Promise<number[]> {
    const sum = await this.#sum?.data();
    return this.#base.map((base, i) => base + (sum?.[i] ?? 0));
  }

  /** Sets the sum to zero. */
  reset(): void {
    this.#set(Array(this.#length).fill(0));
  }

  /** The sum as JSON values. */
  async save(): Promise<SavedSum> {
    return (await this.read()).map((value) => Number.isFinite(value) ? value : String(value));
  }

  /**
   * Sets the sum to what `save` gave.
   *
   * @param metric the name of the metric, for the error
   * @param values what `save` gave
   * @throws {TypeError} if these are not as many numbers as the sum has elements
   */
  load(metric: string, values: unknown): void {
    const numbers = Array.isArray(values) ? values.map(parseSaved) : [];
    if (numbers.length !== this.#length || numbers.includes(null)) {
      throw new TypeError(
        `Cannot load metric "${metric}": expected ${this.#length} numbers, found ${
          JSON.stringify(values)
        }`,
      );
    }
    this.#set(numbers as number[]);
  }

  #set(values: number[]): void {
    if (this.#sum !== null) fillInto(this.#sum, 0);
    this.#base = values;
  }
}

function parseSaved(value: unknown): number | null {
  if (typeof value === "number") return value;
  return ["NaN", "Infinity", "-Infinity"].includes(value as string) ? Number(value) : null;
}
