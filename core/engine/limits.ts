/** How far a loop goes: what its options say, and when it is there. */

import { checkSignals, type SignalName } from "./signals.ts";
import type { EngineState } from "./state.ts";

/**
 * How far one call of `loop` goes, and what ends it early. The first limit that is reached ends it,
 * with reason "done"; limits are those of this call, whatever was counted before.
 *
 * @example Train for an hour at most, and tell the shell of a Ctrl-C
 * ```ts
 * import { Context, Engine } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const engine = new Engine((_engine, batch: number[]) => ({ count: batch.length }), new Context({
 *   model: null,
 * }));
 * const batches = [[1, 2, 3], [4, 5, 6], [7]];
 * const state = await engine.loop(batches, { maxSeconds: 3600, maxSamples: 10 });
 * if (state.stopReason === "interrupted") Deno.exitCode = 130;
 * assertEquals([state.epoch, state.globalStep, state.samples], [1, 4, 10]);
 * ```
 *
 * @example Before a long run: does every part work, and can the model learn one batch by heart?
 * ```ts
 * import { Context, Engine } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const seen: number[] = [];
 * const make = () => new Engine((_engine, x: number) => void seen.push(x), new Context({ model: null }));
 * await make().loop([1, 2, 3], { dryRun: true, maxEpochs: 20 });
 * await make().loop([1, 2, 3], { overfitBatch: 4 });
 * assertEquals(seen, [1, 1, 1, 1, 1]);
 * ```
 */
export interface LoopOptions {
  /** Epochs that this call runs; 1 where no other limit (`max…`) is given, else no limit. */
  maxEpochs?: number;
  /** Steps that this call runs at most. */
  maxSteps?: number;
  /** Ends after the step in which this call has seen so many samples. */
  maxSamples?: number;
  /** Ends after the step, or the epoch with its evaluations, in which so much time has passed. */
  maxSeconds?: number;
  /** Batches of an epoch at most; an epoch that ends there is complete. */
  limitBatches?: number;
  /**
   * One step, then the end of its epoch with one step of each evaluation, to see that all parts
   * work; no other limit matters. It trains, counts and calls callbacks like any step, so the long
   * run should start from a fresh engine and model. @default {false}
   */
  dryRun?: boolean;
  /**
   * Each epoch is so many steps over the loader's first batch, which is read once; a model that
   * cannot learn one batch by heart has a bug.
   */
  overfitBatch?: number;
  /**
   * Signals that end the loop after the running step with reason "interrupted"; `true` for SIGINT
   * (Ctrl-C) and SIGTERM where the platform has them, `false` for none. Only the first one does
   * that: the second ends the process, as it would without an engine. @default {true}
   */
  signals?: boolean | readonly SignalName[];
}

/** Throws where an option is out of its range, or two of them contradict each other. */
export function checkLoopOptions(options: LoopOptions): void {
  const counts = { maxEpochs: 0, maxSteps: 0, maxSamples: 0, limitBatches: 1, overfitBatch: 1 };
  for (const [name, least] of Object.entries(counts)) {
    const value = options[name as keyof typeof counts];
    const endless = value === Infinity && name !== "overfitBatch";
    if (value === undefined || endless || (Number.isSafeInteger(value) && value >= least)) continue;
    throw new RangeError(
      `Cannot loop: expected ${name} to be a whole number from ${least}, found ${value}`,
    );
  }
  const { maxSeconds = 0, dryRun = false, overfitBatch, limitBatches, signals = true } = options;
  if (!(maxSeconds >= 0)) {
    throw new RangeError(`Cannot loop: expected maxSeconds to be at least 0, found ${maxSeconds}`);
  }
  if (overfitBatch !== undefined && (dryRun || limitBatches !== undefined)) {
    throw new TypeError(
      `Cannot loop: expected one of overfitBatch and ${
        dryRun ? "dryRun" : "limitBatches"
      }, found both`,
    );
  }
  checkSignals(signals);
}

/** The limits of one call of `loop`, as values that the state's counters reach. */
export class LoopLimits {
  /** Batches of an epoch at most. */
  readonly batches: number;
  /** Whether every step gets the loader's first batch. */
  readonly firstBatchOnly: boolean;
  #deadline: number;

  /**
   * Takes the limits from checked options and tells them to the state.
   *
   * @param options what `loop` was called with
   * @param state its counters are where this call starts
   * @param length batches of the loader, null where it does not tell
   */
  constructor(options: LoopOptions, state: EngineState, length: number | null) {
    const { dryRun = false, overfitBatch } = options;
    const { maxSteps, maxSamples, maxSeconds }: LoopOptions = dryRun ? { maxSteps: 1 } : options;
    const open = maxSteps === undefined && maxSamples === undefined && maxSeconds === undefined;
    const maxEpochs = dryRun ? 1 : options.maxEpochs ?? (open ? 1 : Infinity);
    this.firstBatchOnly = overfitBatch !== undefined;
    this.batches = dryRun ? 1 : overfitBatch ?? options.limitBatches ?? Infinity;
    this.#deadline = performance.now() + 1000 * (maxSeconds ?? Infinity);
    state.maxEpochs = state.epoch + maxEpochs;
    state.maxSteps = state.globalStep + (maxSteps ?? Infinity);
    state.maxSamples = state.samples + (maxSamples ?? Infinity);
    state.stepsPerEpoch = overfitBatch ?? (length === null ? null : Math.min(length, this.batches));
    state.dryRun = dryRun;
  }

  /** Whether no further epoch may start. */
  endsLoop(state: EngineState): boolean {
    return state.epoch >= state.maxEpochs || this.endsEpoch(state);
  }

  /** Whether no further step may start. */
  endsEpoch(state: EngineState): boolean {
    return state.globalStep >= state.maxSteps || state.samples >= state.maxSamples ||
      (this.#deadline < Infinity && performance.now() >= this.#deadline);
  }
}
