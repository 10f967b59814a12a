/** Numbers in one place on the device, where captured steps find them again. */

import { uncaptured } from "../core/backend/capture.ts";
import { type Device, noGrad, type Tensor, tensor } from "../core/mod.ts";
import { copyInto } from "../core/tensor/in_place.ts";

/** A vector that lives on the device from the first step on; before, the host keeps it. */
export class DeviceVector {
  readonly #length: number;
  readonly #dtype: "f32" | "i32";
  /** What is there while no device is known; null stands for zeros. */
  #host: ArrayLike<number> | null = null;
  #tensor: Tensor | null = null;

  /** @param length elements, all 0 at first */
  constructor(length: number, dtype: "f32" | "i32") {
    this.#length = length;
    this.#dtype = dtype;
  }

  /** The vector itself, to be changed in place. */
  on(device: Device): Tensor {
    return this.#tensor ??= uncaptured(() => this.#upload(this.#host, device).keep());
  }

  /** Its elements. */
  async read(): Promise<ArrayLike<number>> {
    if (this.#tensor !== null) return await this.#tensor.data();
    return this.#host ?? new Float64Array(this.#length);
  }

  /** Sets all elements; null stands for zeros. */
  write(values: ArrayLike<number> | null): void {
    const there = this.#tensor;
    if (there === null) {
      this.#host = values;
      return;
    }
    using _scope = there.device.scope();
    using _quiet = noGrad();
    copyInto(there, this.#upload(values, there.device));
  }

  #upload(values: ArrayLike<number> | null, device: Device): Tensor {
    const content = values === null ? new Float64Array(this.#length) : Float64Array.from(values);
    return tensor(content, { device, dtype: this.#dtype, shape: [this.#length] });
  }
}
