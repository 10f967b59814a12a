/** Keeps a loop of synchronous steps polite: signals get through, the device's queue stays short. */

import { nextTurn } from "../turn.ts";
import type { DeviceLike } from "./tensor_like.ts";

/** Longest time between two turns of the event loop, in milliseconds. */
export const YIELD_MS = 50;
/** Longest time between two waits for the device, in milliseconds. */
export const SYNC_MS = 250;

/** Decides by time when a loop must wait for the event loop or for the device. */
export class Pacer {
  /** When `pause` was called last, in milliseconds of `performance.now()`. */
  now: number;
  #device: DeviceLike | undefined;
  #lastYield: number;
  #lastSync: number;
  #idle = true;

  /** @param device what to wait for, if anything */
  constructor(device: DeviceLike | undefined) {
    this.#device = device;
    this.now = this.#lastYield = this.#lastSync = performance.now();
  }

  /** Called after each step: starts its work, and gives a promise to wait for when it is time. */
  pause(): Promise<void> | undefined {
    this.#device?.flush?.();
    this.#idle = false;
    const now = this.now = performance.now();
    const sync = now - this.#lastSync >= SYNC_MS && this.#device?.sync !== undefined;
    const turn = now - this.#lastYield >= YIELD_MS;
    return sync || turn ? this.#pause(sync, turn) : undefined;
  }

  /** Waits until the device has done the work of all steps, so that its errors surface. */
  async finish(): Promise<void> {
    if (!this.#idle) await this.#sync();
  }

  async #sync(): Promise<void> {
    await this.#device?.sync?.();
    this.#lastSync = performance.now();
    this.#idle = true;
  }

  async #pause(sync: boolean, turn: boolean): Promise<void> {
    if (sync) await this.#sync();
    if (turn) {
      await nextTurn();
      this.#lastYield = performance.now();
    }
  }
}
