/** The numbers of the last steps. */

import { effect } from "../core/backend/capture.ts";
import { concat, full, noGrad, type Tensor } from "../core/mod.ts";
import { copyInto } from "../core/tensor/in_place.ts";
import type { Accumulator } from "./accumulator.ts";
import { DeviceVector } from "./device_vector.ts";

/** Where the numbers of a window come from; none before the first one. */
const SOURCES = ["none", "host", "device"] as const;

/**
 * A window of numbers with weights, the oldest first; places that no step has reached weigh 0. On
 * the device it moves along by one copy a step, so that captured steps need no position.
 */
export class Window implements Accumulator {
  /**
   * Numbers, weights, weighted sum and weight of what was merged, and where the numbers come from.
   */
  readonly length: number;
  readonly #size: number;
  readonly #there: DeviceVector;
  #here: number[];
  #merged: readonly [number, number] = [0, 0];
  #source: typeof SOURCES[number] = "none";

  /** @param size number of steps */
  constructor(size: number) {
    this.#size = size;
    this.length = 2 * size + 3;
    this.#there = new DeviceVector(2 * size, "f32");
    this.#here = Array(2 * size).fill(0);
  }

  /** Takes in a number and forgets the oldest. @throws {TypeError} if host and device take turns */
  push(metric: string, value: number | Tensor, weight: number): void {
    const source = typeof value === "number" ? "host" : "device";
    if (this.#source !== "none" && this.#source !== source) {
      const kinds = { host: "numbers of the host", device: "tensors" };
      throw new TypeError(
        `Cannot update metric "${metric}": expected ${kinds[this.#source]} as before, found ` +
          `${kinds[source]}`,
      );
    }
    const before = this.#source;
    effect(() => void (this.#source = source), () => void (this.#source = before));
    if (typeof value === "number") {
      const [size, old] = [this.#size, this.#here];
      this.#here = [...old.slice(1, size), value, ...old.slice(size + 1), weight];
    } else this.#pushTensor(value, weight);
  }

  #pushTensor(value: Tensor, weight: number): void {
    const { device } = value;
    using _scope = device.scope();
    using _quiet = noGrad();
    const [size, before] = [this.#size, this.#there.on(device)];
    copyInto(
      before,
      concat([
        before.narrow(0, 1, size - 1),
        value.to("f32").reshape([1]),
        before.narrow(0, size + 1, size - 1),
        full([1], weight, { device }),
      ]),
    );
  }

  /** The mean of numbers of `read`. */
  mean(values: ArrayLike<number>): number {
    const [sum, weight] = this.#sums(values);
    return sum / weight;
  }

  /** Everything. */
  async read(): Promise<number[]> {
    const [merged, source] = [this.#merged, SOURCES.indexOf(this.#source)];
    const numbers = this.#source === "device" ? await this.#there.read() : this.#here;
    return [...Array.from(numbers), ...merged, source];
  }

  /** Forgets all steps. */
  reset(): void {
    this.#there.write(null);
    this.#here = Array(2 * this.#size).fill(0);
    this.#merged = [0, 0];
    this.#source = "none";
  }

  /** Whether these are as many numbers, with weights from 0. */
  accepts(values: readonly number[]): boolean {
    const weights = values.slice(this.#size, 2 * this.#size);
    return values.length === this.length && weights.every((weight) => weight >= 0) &&
      SOURCES[values[this.length - 1]] !== undefined;
  }

  /** Sets everything. */
  load(values: ArrayLike<number>): void {
    const all = Array.from(values);
    const [sum, weight, source] = all.slice(2 * this.#size);
    this.reset();
    this.#merged = [sum, weight];
    this.#source = SOURCES[source];
    const numbers = all.slice(0, 2 * this.#size);
    if (this.#source === "device") this.#there.write(numbers);
    else this.#here = numbers;
  }

  /** Adds all of another one to what was merged. */
  absorb(values: ArrayLike<number>): void {
    const [sum, weight] = this.#sums(values);
    this.#merged = [this.#merged[0] + sum, this.#merged[1] + weight];
  }

  /** Weighted sum and weight of everything in numbers of `read`. */
  #sums(values: ArrayLike<number>): [number, number] {
    let [sum, total] = [values[2 * this.#size], values[2 * this.#size + 1]];
    for (let i = 0; i < this.#size; i++) {
      const weight = values[this.#size + i];
      // What has no weight may be NaN.
      if (weight === 0) continue;
      sum += values[i] * weight;
      total += weight;
    }
    return [sum, total];
  }
}
