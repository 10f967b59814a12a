/** Profiling: runs steps with a time for every kernel call. */

import { type Device, deviceOr } from "./backend/device.ts";
import { type ProfileRecording, startProfile as record, waitedMs } from "./backend/profiler.ts";
import { ProfileReport } from "./profile_report.ts";

/** How to profile a function. */
export interface ProfileOptions {
  /** The device that is watched; by default the default device. */
  readonly device?: Device;
  /** Calls of the function that are profiled. @default {10} */
  readonly steps?: number;
  /** Calls before them, which compile kernels; the fastest of them times the host. @default {3} */
  readonly warmup?: number;
}

/** How long the host needed for some kernel calls. */
export interface HostTime {
  /** Milliseconds, without waits for the device. */
  readonly ms: number;
  /** Kernel calls. */
  readonly dispatches: number;
}

/** Times the host while nothing else is measured. */
export class HostClock {
  readonly #device: Device;
  readonly #start = performance.now();
  readonly #waited: number;
  readonly #dispatches: number;

  /** @param device whose kernel calls are counted from now on */
  constructor(device: Device) {
    this.#device = device;
    this.#waited = waitedMs(device.backend);
    this.#dispatches = device.work().dispatches;
  }

  /** The time and the kernel calls so far, after handing them to the device. */
  read(): HostTime {
    this.#device.flush();
    const waited = waitedMs(this.#device.backend) - this.#waited;
    return {
      ms: performance.now() - this.#start - waited,
      dispatches: this.#device.work().dispatches - this.#dispatches,
    };
  }
}

/** A profile that is being taken; `startProfile` opens one. */
export class ProfileSession {
  readonly #device: Device;
  readonly #recording: ProfileRecording;
  readonly #host: HostTime | null;
  readonly #clock: HostClock;
  readonly #start = performance.now();

  /**
   * Opened by `startProfile`.
   *
   * @param device the device that is watched
   * @param host how long the host needed before, where that is known
   */
  constructor(device: Device, host: HostTime | null) {
    this.#device = device;
    this.#host = host;
    this.#recording = record(device.backend);
    this.#clock = new HostClock(device);
  }

  /**
   * Waits for the device and ends the profile.
   *
   * @param steps how many steps ran meanwhile
   * @returns where the time went
   * @throws {Error} if it was stopped before
   */
  async stop(steps = 1): Promise<ProfileReport> {
    const host = this.#clock.read();
    // The recording ends whatever the device says.
    const [synced, recorded] = await Promise.allSettled([
      this.#device.sync().then(() => performance.now()),
      this.#recording.stop(),
    ]);
    if (recorded.status === "rejected") throw recorded.reason;
    if (synced.status === "rejected") throw synced.reason;
    const { ms, dispatches } = this.#host ?? host;
    return new ProfileReport({
      device: this.#device.name,
      steps,
      wallMs: synced.value - this.#start,
      hostUsPerDispatch: dispatches === 0 ? 0 : ms * 1000 / dispatches,
      hostWhileProfiling: this.#host === null,
      ...recorded.value,
    });
  }
}

/**
 * Starts to time every kernel call of a device, each in a pass of its own, until the session is stopped.
 *
 * @param options the device, by default the default one, and what the host needed before for some kernel calls, which tells
 * more than what it needs while it is profiled
 * @returns the session
 * @throws {Error} if a profile of the device is running
 */
export function startProfile(
  options: { readonly device?: Device; readonly host?: HostTime } = {},
): ProfileSession {
  return new ProfileSession(deviceOr(options.device), options.host ?? null);
}

/**
 * Runs a step some times and tells where the time went: per kernel the time on the device, its share, GFLOP/s and GB/s; the
 * host's time per kernel call; all calls as a trace.
 *
 * Times come from timestamp queries and are read once at the end. Each kernel call gets a pass of its own, so that steps
 * take longer than usual; what the host needs is therefore taken from the warm-up. On an adapter without
 * timestamp queries the calls are counted and the report says that they have no times. On the CPU a kernel runs while it is
 * called, and the host's clock times it.
 *
 * @param fn the step; called `warmup + steps` times with the number of the call, from 0; awaited
 * @param options device, number of calls
 * @returns the report
 * @throws {RangeError} if a number of calls is no whole number, or `steps` below 1
 * @throws {Error} if a profile of the device is running
 *
 * @example
 * ```ts
 * import { profile, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const w = tensor([[1, 2], [3, 4]], { device });
 * const report = await profile(() => w.matmul(w).dispose(), { device, steps: 5 });
 * assertEquals(report.rows.map((row) => [row.kernel, row.calls]), [["matmul 2×2×2", 5]]);
 * assert(report.table().includes("GFLOP/s"));
 * ```
 */
export async function profile(
  fn: (step: number) => unknown,
  options: ProfileOptions = {},
): Promise<ProfileReport> {
  const { steps = 10, warmup = 3 } = options;
  if (!Number.isSafeInteger(steps) || !Number.isSafeInteger(warmup) || steps < 1 || warmup < 0) {
    throw new RangeError(
      "Cannot profile: expected steps to be a whole number from 1 and warmup from 0, " +
        `found steps ${steps} and warmup ${warmup}`,
    );
  }
  const device = deviceOr(options.device);
  let host: HostTime | undefined;
  for (let call = 0; call < warmup; call++) {
    await device.sync();
    const clock = new HostClock(device);
    await fn(call);
    host = faster(clock.read(), host);
  }
  await device.sync();
  const session = startProfile({ device, host });
  try {
    for (let call = 0; call < steps; call++) {
      await fn(warmup + call);
      device.flush();
    }
  } catch (error) {
    // The error of the step is what its caller wants to know.
    await session.stop(steps).catch(() => {});
    throw error;
  }
  return await session.stop(steps);
}

/** The one with less time for each kernel call. */
function faster(a: HostTime, b: HostTime | undefined): HostTime {
  return b === undefined || a.ms * b.dispatches < b.ms * a.dispatches ? a : b;
}
