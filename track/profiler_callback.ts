/** Profiling some steps of a training from the engine's events. */

import type {
  Callback,
  EngineEndEvent,
  Phase,
  StepEndEvent,
  StepStartEvent,
} from "../core/engine/mod.ts";
import { Device, deviceOr } from "../core/backend/device.ts";
import { HostClock, type HostTime, type ProfileSession, startProfile } from "../core/profile.ts";
import type { ProfileReport } from "../core/profile_report.ts";
import { denoFileOps, type FileOps } from "./file_ops.ts";
import { writeWhole } from "./writing.ts";

/** Options of a `ProfilerCallback`. */
export interface ProfilerOptions {
  /**
   * The number of the first profiled step, from 1, and how many there are. Steps before the first one compile kernels; the one
   * right before it times the host.
   *
   * @default {[5, 10]}
   */
  readonly steps?: readonly [from: number, count: number];
  /** Where the trace goes, for chrome://tracing or ui.perfetto.dev; no file where it is absent. */
  readonly traceFile?: string;
  /** The device; by default that of the context, or else the default device. */
  readonly device?: Device;
  /** Takes the table; by default the terminal. */
  readonly write?: (table: string) => void;
  /** How to write the file; by default on the real file system. */
  readonly files?: FileOps;
}

/**
 * Times every kernel of some steps of a training, prints a table of them and writes a trace.
 *
 * The steps that are profiled take longer than usual, and the training waits for the device before and after them.
 *
 * @example Profile steps 3 and 4
 * ```ts
 * import { Context, Engine, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { ProfilerCallback } from "@legoml/legoml/track";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const w = tensor([1, 2], { device });
 * const profiler = new ProfilerCallback({ steps: [3, 2], write: () => {} });
 * const engine = new Engine(
 *   (_engine, x: number) => ({ loss: w.mul(x).sum() }),
 *   new Context({ model: null, device }),
 *   { callbacks: [profiler] },
 * );
 * await engine.loop([1, 2, 3, 4, 5]);
 * assertEquals(profiler.report?.dispatches, 4);
 * ```
 */
export class ProfilerCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "ProfilerCallback";
  /** After all others, so that the steps are profiled with what they do. */
  readonly phase: Phase = "display";
  readonly #from: number;
  readonly #count: number;
  readonly #options: ProfilerOptions;
  #host: HostTime | undefined;
  #clock: HostClock | null = null;
  #session: ProfileSession | null = null;
  #done = 0;
  #report: ProfileReport | null = null;

  /**
   * Makes a callback for one engine.
   *
   * @param options which steps, where the table and the trace go
   * @throws {RangeError} if the steps are no whole numbers from 1
   */
  constructor(options: ProfilerOptions = {}) {
    const [from, count] = options.steps ?? [5, 10];
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(count) || from < 1 || count < 1) {
      throw new RangeError(
        `Cannot profile steps: expected two whole numbers from 1, found [${from}, ${count}]`,
      );
    }
    [this.#from, this.#count] = [from, count];
    this.#options = options;
  }

  /** What was found; null before the last of the steps. */
  get report(): ProfileReport | null {
    return this.#report;
  }

  /** Starts at the first of the steps, counted over the engine's life. */
  async onStepStart({ state, context }: StepStartEvent): Promise<void> {
    const step = state.globalStep + 1;
    if (step !== this.#from && step !== this.#from - 1) return;
    const device = this.#deviceOf(context.device);
    await device.sync();
    if (step < this.#from) this.#clock = new HostClock(device);
    else this.#session = startProfile({ device, host: this.#host });
  }

  /** Prints and writes what was found after the last of the steps. */
  async onStepEnd({ state }: StepEndEvent): Promise<void> {
    if (this.#clock !== null) {
      this.#host = this.#clock.read();
      this.#clock = null;
    }
    if (this.#session === null) return;
    this.#done++;
    if (state.globalStep >= this.#from + this.#count - 1) await this.#finish();
  }

  /** Ends a profile whose last step never came. */
  async onEngineEnd({ reason }: EngineEndEvent): Promise<void> {
    this.#clock = null;
    if (this.#session === null) return;
    if (reason !== "failed") return await this.#finish();
    // The error that ended the loop is what matters; the device may be gone with it.
    await this.#session.stop(this.#done).catch(() => {});
    this.#session = null;
  }

  async #finish(): Promise<void> {
    const session = this.#session!;
    this.#session = null;
    this.#report = await session.stop(this.#done);
    const { write = console.log, traceFile, files = denoFileOps } = this.#options;
    write(this.#report.table());
    if (traceFile === undefined) return;
    writeWhole(files, traceFile, new TextEncoder().encode(this.#report.chromeTrace()));
  }

  #deviceOf(fromContext: unknown): Device {
    const device = this.#options.device ??
      (fromContext instanceof Device ? fromContext : undefined);
    return deviceOr(device);
  }
}
