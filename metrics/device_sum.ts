/** Sums that stay on the device until somebody asks for them. */

import { effect } from "../core/backend/capture.ts";
import { noGrad, type Tensor } from "../core/mod.ts";
import { addInto } from "../core/tensor/in_place.ts";
import type { Accumulator } from "./accumulator.ts";
import { DeviceVector } from "./device_vector.ts";

const MOST = 2 ** 31 - 1;

/**
 * A vector that grows by one tensor per step, added up on the device.
 *
 * Adding never reads. i32 sums count exactly up to 2³¹ − 1 since they were reset or loaded; f32
 * sums round like any f32 sum: over n steps the relative error of a sum of numbers of one sign is
 * about √n · 6e-8. What is merged is added on the host, in f64.
 */
export class DeviceSum implements Accumulator {
  /** Number of elements. */
  readonly length: number;
  readonly #dtype: "f32" | "i32";
  /** What does not fit the device, or came by merging. */
  #base: number[];
  readonly #sum: DeviceVector;
  /** What no element can have passed. */
  #bound = 0;

  /**
   * A sum of nothing.
   *
   * @param length number of elements
   * @param dtype i32 for counts, f32 for other numbers
   */
  constructor(length: number, dtype: "f32" | "i32" = "i32") {
    this.length = length;
    this.#dtype = dtype;
    this.#base = Array(length).fill(0);
    this.#sum = new DeviceVector(length, dtype);
  }

  /**
   * Adds what `part` computes: a new tensor with as many elements as this sum.
   *
   * Temporary tensors are released at once, gradients are not recorded.
   *
   * @param like a tensor of the device to compute on
   * @param part makes the tensor to add
   * @param most what no element of it passes, for counts
   */
  add(like: Tensor, part: () => Tensor, most = 0): void {
    const { device } = like;
    using _scope = device.scope();
    using _quiet = noGrad();
    const flat = part().reshape([this.length]).to(this.#dtype);
    addInto(this.#sum.on(device), flat);
    effect(() => void (this.#bound += most), () => void (this.#bound -= most));
  }

  /**
   * Reads the sum.
   *
   * @throws {RangeError} if counts may have passed 2³¹ − 1
   */
  async read(): Promise<number[]> {
    const [base, bound] = [this.#base, this.#bound];
    const sum = await this.#sum.read();
    if (this.#dtype === "i32" && bound > MOST) {
      throw new RangeError(
        `Cannot read counts: expected at most ${MOST} since the metric was reset, found up to ${bound}`,
      );
    }
    return base.map((value, i) => value + sum[i]);
  }

  /** Sets the sum to zero. */
  reset(): void {
    this.#base = Array(this.length).fill(0);
    this.#sum.write(null);
    this.#bound = 0;
  }

  /** Whether these are as many numbers; for counts, whole ones from 0. */
  accepts(values: readonly number[]): boolean {
    const counts = (value: number) => Number.isSafeInteger(value) && value >= 0;
    return values.length === this.length && (this.#dtype === "f32" || values.every(counts));
  }

  /** Sets the sum, on the device where its elements fit there. */
  load(values: ArrayLike<number>): void {
    const all = Array.from(values);
    // Half of the range is left for what comes.
    const fits = (value: number) => this.#dtype === "f32" || value < 2 ** 30;
    this.#base = all.map((value) => fits(value) ? 0 : value);
    const there = all.map((value) => fits(value) ? value : 0);
    this.#sum.write(there);
    this.#bound = there.reduce((most, value) => Math.max(most, value), 0);
  }

  /** Adds another sum. */
  absorb(values: ArrayLike<number>): void {
    this.#base = this.#base.map((base, i) => base + values[i]);
  }
}
