/** How the tasks of a kernel are shared out between threads, by the time that it takes. */

import type { CpuPhase } from "../../../kernels/wasm/program.ts";
import type { Share } from "./threads.ts";

/** Kernels that take less than this on one thread, in ns, stay on the calling thread: sharing out costs about 6 µs. */
const ALONE_NS = 25_000;
/** Those that take less than this are shared with workers that are awake; waking one takes 10 to 50 µs. */
const WAKE_NS = 60_000;
/** Phases of longer kernels that take less than this stay on the calling thread. */
const SHORT_NS = 15_000;
/** Every so many ns of work are worth a worker more. */
const HELPER_NS = 30_000;
/** Taking tasks costs about 0.1 µs, so a worker takes tasks for so many ns at once. */
const CHUNK_NS = 3_000;
/** How often a thread comes for tasks, so that slow threads leave more to fast ones. */
const CHUNKS = 6;

/** Kernels whose estimate is below this, in ns, are timed before they are shared out; longer ones are worth it anyway. */
const SURE_NS = 5_000_000;
/** How often they are timed. */
const TRIALS = 8;
/** The first of these runs do not count: code is optimised while it runs. */
const WARM_UP = 2;

/** The time that a kernel takes on one thread: what its program estimates, until it has been timed. */
export class Timing {
  /** In ns. */
  ns: number;
  #runs: number;
  #best = Infinity;

  /** @param phases of the kernel, with their estimates */
  constructor(phases: readonly CpuPhase[]) {
    this.ns = phases.reduce((sum, { tasks, taskNs }) => sum + tasks * taskNs, 0);
    this.#runs = this.ns < SURE_NS ? 0 : TRIALS;
  }

  /** Whether the next run is to be timed, on the calling thread alone. */
  get onTrial(): boolean {
    return this.#runs < TRIALS;
  }

  /** Notes such a run. @returns true for the last one: from then on the time is known */
  note(ns: number): boolean {
    if (this.#runs++ >= WARM_UP) this.#best = Math.min(this.#best, ns);
    if (this.onTrial) return false;
    this.ns = this.#best;
    return true;
  }
}

/**
 * How the phases of a kernel are shared out; null for those that the calling thread does alone.
 *
 * @param phases of the kernel
 * @param ns the time that they take together on one thread
 * @param workers threads beside the calling one
 */
export function sharesOf(
  phases: readonly CpuPhase[],
  ns: number,
  workers: number,
): (Share | null)[] {
  if (workers === 0 || ns < ALONE_NS) return phases.map(() => null);
  const scale = ns / phases.reduce((sum, { tasks, taskNs }) => sum + tasks * taskNs, 0);
  return phases.map(({ tasks, taskNs }, phase) => {
    const each = taskNs * scale;
    const whole = tasks * each;
    if (tasks < 2 || whole < SHORT_NS) return null;
    const helpers = Math.min(workers, tasks - 1, Math.max(1, Math.floor(whole / HELPER_NS) - 1));
    const even = tasks / (CHUNKS * (1 + helpers));
    const least = Math.min(CHUNK_NS / each, tasks / (1 + helpers));
    const chunk = Math.max(1, Math.ceil(Math.max(even, least)));
    return { phase, tasks, chunk, helpers: ns < WAKE_NS ? 0 : helpers };
  });
}
