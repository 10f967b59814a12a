/** Device errors come late and silently; this keeps the first one until somebody can be told. */

import { DeviceLostError, GpuFaultError } from "../errors.ts";

const REMEMBERED = 20;

/** Latches the first error of a device; every submit and read asks it first. */
export class FaultLatch {
  #fault: Error | null = null;
  #closed = false;
  readonly #recent: string[] = [];

  constructor(device: GPUDevice) {
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      this.latch(new GpuFaultError(`The device reported: ${error.message}; ${this.#trail()}`));
      event.preventDefault();
    });
    device.lost.then((info) => {
      if (this.#closed) return;
      this.latch(
        new DeviceLostError(
          `The device was lost (${info.reason}): ${info.message}; ${this.#trail()}`,
        ),
      );
    });
  }

  /** Notes that a kernel was encoded, for messages. */
  note(kernel: string): void {
    this.#recent.push(kernel);
    if (this.#recent.length > 2 * REMEMBERED) this.#recent.splice(0, REMEMBERED);
  }

  /** Keeps the first fault. */
  latch(error: Error): void {
    this.#fault ??= error;
  }

  /** Throws the fault, if there is one. */
  check(): void {
    if (this.#closed) throw new DeviceLostError("Cannot use the device: it was closed");
    if (this.#fault !== null) throw this.#fault;
  }

  /** From now on the loss of the device is expected. */
  close(): void {
    this.#closed = true;
  }

  #trail(): string {
    const names = this.#recent.slice(-REMEMBERED);
    return names.length === 0 ? "no kernel had run" : `last kernels: ${names.join(", ")}`;
  }
}
