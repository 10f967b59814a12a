/** Tells where the time of a training loop goes. */

import { type Callback, callbackName, type Phase } from "../callback.ts";
import type { EngineEndEvent, EngineStartEvent } from "../events.ts";
import { EVENT_METHODS, EVENT_NAMES } from "../events.ts";
import type { Subscription } from "../handlers.ts";
import { isPromiseLike } from "../tensor_like.ts";

/** Options of `TimingCallback`. */
export interface TimingOptions {
  /** Takes the table when the loop ends; null for no table. @default {console.log} */
  readonly write?: ((table: string) => void) | null;
  /**
   * Takes the seconds by name when the loop ends, such as
   * `(seconds) => session.logEvent("timing", seconds)`. @default {none}
   */
  readonly log?: (seconds: Readonly<Record<string, number>>) => void;
  /** The time in milliseconds. */
  readonly now?: () => number;
}

/** How long a part of the loop took. */
export interface TimingRow {
  /** "waiting for data", "step", the name of a callback, or "other". */
  readonly name: string;
  /** Seconds of all calls. */
  readonly seconds: number;
  /** Share of the loop, from 0 to 1. */
  readonly share: number;
  /** How often it ran; 1 for "other". */
  readonly calls: number;
}

/** Where the time of a loop went. */
export interface TimingReport {
  /** Seconds of the loop. */
  readonly seconds: number;
  /** Steps for each second of the loop. */
  readonly stepsPerSecond: number;
  /** Samples for each second of the loop. */
  readonly samplesPerSecond: number;
  /** The parts, the longest first, and "other" last; their seconds add up to those of the loop. */
  readonly rows: readonly TimingRow[];
}

/** Seconds and calls of one part. */
interface Tally {
  seconds: number;
  calls: number;
}

const OTHER = "other";

/**
 * Measures on the host where the time of a loop goes: waiting for data, the step function, each
 * callback (evaluations and checkpoints are callbacks, so they have rows of their own), and the rest:
 * handlers of `engine.on`, waits for the device between steps, the engine itself.
 *
 * A device works while the host goes on, so the time of a step is that of handing its work over, and
 * the time in which the device catches up stands where somebody waits for it: at a callback that
 * reads, or under "other". For the time of each kernel there is `ProfilerCallback`.
 *
 * Nothing of it goes into the metrics, since checkpoints of equal runs shall be equal. Its cost is
 * two readings of the clock for each call of a callback.
 *
 * @example
 * ```ts
 * import { Context, Engine, TimingCallback } from "@legoml/legoml/core";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const timing = new TimingCallback({ write: null });
 * const wait = { name: "nap", onStepEnd: () => new Promise<void>((done) => setTimeout(done, 5)) };
 * const engine = new Engine(() => {}, new Context({ model: null }), { callbacks: [wait, timing] });
 * await engine.loop([1, 2, 3]);
 * const [longest] = timing.report!.rows;
 * assertEquals([longest.name, longest.calls], ["nap", 3]);
 * assert(longest.share > 0.5);
 * ```
 */
export class TimingCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "TimingCallback";
  /** After all others, so that it counts what they do. */
  readonly phase: Phase = "display";
  readonly #options: TimingOptions;
  readonly #now: () => number;
  #tallies = new Map<string, Tally>();
  #undo: (() => void)[] = [];
  #start = 0;
  #began = { steps: 0, samples: 0 };
  /** When the step began, and what callbacks had taken until then. */
  #step = { at: 0, callbacks: 0 };
  #callbackSeconds = 0;
  #depth = 0;
  #report: TimingReport | null = null;

  /**
   * Makes the callback.
   *
   * @param options where the table and the seconds go
   */
  constructor(options: TimingOptions = {}) {
    this.#options = { ...options };
    this.#now = options.now ?? (() => performance.now());
  }

  /** What the latest loop took; null before the end of the first one. */
  get report(): TimingReport | null {
    return this.#report;
  }

  /**
   * Starts the clocks.
   *
   * @throws {Error} if the engine has another one of its kind
   */
  onEngineStart({ engine, state }: EngineStartEvent): void {
    const others = engine.callbacks.filter((one) => one instanceof TimingCallback);
    if (others.length > 1) {
      throw new Error(
        `Cannot time the callbacks: expected one TimingCallback, found ${others.length}`,
      );
    }
    this.#start = this.#now();
    this.#began = { steps: state.globalStep, samples: state.samples };
    this.#tallies = new Map([["waiting for data", tally()], ["step", tally()]]);
    this.#callbackSeconds = 0;
    const restore = engine.callbacks.filter((one) => one !== this).map((one) => this.#watch(one));
    const marks: Subscription[] = [
      engine.on("stepStart", () => this.#beginStep(), { phase: "display", name: this.name }),
      engine.on("stepEnd", () => this.#endStep(), { phase: "metrics", name: this.name }),
    ];
    this.#undo = [...restore, ...marks.map((mark) => () => mark.remove())];
  }

  /** Sums up, and hands out the table and the seconds. */
  onEngineEnd({ state }: EngineEndEvent): void {
    for (const undo of this.#undo.splice(0)) undo();
    const seconds = (this.#now() - this.#start) / 1000;
    const steps = state.globalStep - this.#began.steps;
    Object.assign(this.#tallies.get("waiting for data")!, {
      seconds: state.waitSeconds,
      calls: steps,
    });
    this.#report = {
      seconds,
      stepsPerSecond: steps / seconds,
      samplesPerSecond: (state.samples - this.#began.samples) / seconds,
      rows: rowsOf(this.#tallies, seconds),
    };
    const { write = console.log, log } = this.#options;
    write?.(tableOf(this.#report, steps));
    log?.({ ...Object.fromEntries(this.#report.rows.map((row) => [row.name, row.seconds])) });
  }

  #beginStep(): void {
    this.#step = { at: this.#now(), callbacks: this.#callbackSeconds };
  }

  #endStep(): void {
    // Other handlers of both events, and those of backward events, may have run in between.
    const callbacks = this.#callbackSeconds - this.#step.callbacks;
    add(this.#tallies.get("step")!, (this.#now() - this.#step.at) / 1000 - callbacks);
  }

  /** Times the methods of a callback until the returned function is called. */
  #watch(callback: Callback): () => void {
    const methods = EVENT_NAMES.map((event) => EVENT_METHODS[event]);
    const undo = methods.flatMap((method) => {
      const call = callback[method] as ((payload: unknown) => unknown) | undefined;
      const own = Object.getOwnPropertyDescriptor(callback, method);
      const open = own === undefined ? Object.isExtensible(callback) : own.configurable;
      if (call === undefined || !open) return [];
      const name = callbackName(callback);
      const value = (payload: unknown) => this.#time(name, () => call.call(callback, payload));
      Object.defineProperty(callback, method, { value, configurable: true, enumerable: false });
      return [() => {
        if (own === undefined) delete callback[method];
        else Object.defineProperty(callback, method, own);
      }];
    });
    return () => undo.forEach((one) => one());
  }

  #time(name: string, call: () => unknown): unknown {
    const from = this.#now();
    const end = () => {
      this.#depth--;
      const seconds = (this.#now() - from) / 1000;
      const own = this.#tallies.get(name) ?? tally();
      this.#tallies.set(name, own);
      add(own, seconds);
      if (this.#depth === 0) this.#callbackSeconds += seconds;
    };
    this.#depth++;
    let result: unknown;
    try {
      result = call();
    } catch (error) {
      end();
      throw error;
    }
    if (!isPromiseLike(result)) end();
    else return Promise.resolve(result).finally(end);
    return result;
  }
}

function tally(): Tally {
  return { seconds: 0, calls: 0 };
}

function add(to: Tally, seconds: number): void {
  to.seconds += seconds;
  to.calls++;
}

function rowsOf(tallies: ReadonlyMap<string, Tally>, total: number): TimingRow[] {
  const rows = [...tallies].map(([name, { seconds, calls }]) => ({
    name,
    seconds,
    share: seconds / total,
    calls,
  })).sort((a, b) => b.seconds - a.seconds);
  const rest = total - rows.reduce((sum, { seconds }) => sum + seconds, 0);
  return [...rows, { name: OTHER, seconds: rest, share: rest / total, calls: 1 }];
}

function tableOf({ seconds, stepsPerSecond, samplesPerSecond, rows }: TimingReport, steps: number) {
  const lines = [
    ["part", "seconds", "share", "calls", "ms/call"],
    ...rows.map((row) => [
      row.name,
      row.seconds.toFixed(3),
      `${(100 * row.share).toFixed(1)}%`,
      row.name === OTHER ? "" : `${row.calls}`,
      row.name === OTHER || row.calls === 0 ? "" : (1000 * row.seconds / row.calls).toFixed(3),
    ]),
  ];
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  const table = lines.map((line) =>
    line.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ")
      .trimEnd()
  );
  return [
    ...table,
    `${steps} steps in ${seconds.toFixed(3)} s: ${stepsPerSecond.toPrecision(4)} steps/s, ` +
    `${samplesPerSecond.toPrecision(4)} samples/s`,
  ].join("\n");
}
