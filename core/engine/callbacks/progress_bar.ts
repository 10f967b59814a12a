/** Shows how training goes. */

import type { Callback, Phase } from "../callback.ts";
import type { EngineEndEvent, EngineEvent, EpochEndEvent, StepEndEvent } from "../events.ts";
import type { EngineState } from "../state.ts";
import type { StepOutput } from "../step_output.ts";
import { progressLine } from "./progress_line.ts";

/** Options of `ProgressBarCallback`. */
export interface ProgressBarOptions {
  /** Takes the text; by default standard error, or the console where there is none. */
  write?: (text: string) => void;
  /** One line that is written over (true) or plain lines (false); by default what `write` is. */
  terminal?: boolean;
  /** Columns of the terminal; by default asked of it at each redraw. */
  width?: number;
  /** Least time between two lines, in milliseconds. @default {500 on a terminal, else 10,000} */
  intervalMs?: number;
  /** The time in milliseconds. */
  now?: () => number;
}

/** Weight of the past in the smoothed loss, per reading. */
const SMOOTHING = 0.8;

/**
 * Shows epoch, steps, smoothed loss, samples per second and remaining time: one line on a terminal,
 * plain lines otherwise, and the metrics at the end of each epoch.
 *
 * It reads the loss only when it draws, because a read waits for the device. The remaining time is
 * that of the whole run, and shown where the loader knows its length.
 *
 * @example Write plain lines into a list
 * ```ts
 * import { Context, Engine, ProgressBarCallback } from "@legoml/legoml/core";
 *
 * const lines: string[] = [];
 * const bar = new ProgressBarCallback({ write: (text) => lines.push(text), terminal: false });
 * const engine = new Engine(
 *   (_engine, batch: number[]) => ({ count: batch.length }),
 *   new Context({ model: null }),
 *   { callbacks: [bar] },
 * );
 * await engine.loop([[1, 2], [3]]);
 * console.assert(lines.length === 1 && lines[0].startsWith("epoch 1/1  100% 2/2"));
 * ```
 */
export class ProgressBarCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "ProgressBarCallback";
  /** Last, so that it shows what the others wrote. */
  readonly phase: Phase = "display";
  #write: (text: string) => void;
  #terminal: boolean;
  #width: number | undefined;
  #intervalMs: number;
  #now: () => number;
  #loss = new SmoothedValue();
  #run = { start: 0, steps: 0 };
  #epoch = { start: 0, samples: 0 };
  #lastDraw = 0;
  #open = false;

  /**
   * Makes the callback; it writes nothing before the first step.
   *
   * @param options where and how often to write
   * @throws {RangeError} if `intervalMs` is below 0 or `width` is no whole number from 1
   */
  constructor(options: ProgressBarOptions = {}) {
    const target = options.write === undefined ? standardError() : { terminal: false };
    this.#write = options.write ?? target.write ?? writeToConsole;
    this.#terminal = options.terminal ?? target.terminal;
    this.#width = options.width;
    this.#intervalMs = options.intervalMs ?? (this.#terminal ? 500 : 10_000);
    this.#now = options.now ?? (() => performance.now());
    const { width = 1 } = options;
    if (!(this.#intervalMs >= 0) || !Number.isSafeInteger(width) || width < 1) {
      throw new RangeError(
        "Cannot make a progress bar: expected intervalMs from 0 and a whole width from 1, found " +
          `intervalMs ${this.#intervalMs} and width ${options.width}`,
      );
    }
  }

  /** Starts the clocks. */
  onEngineStart({ state }: EngineEvent): void {
    const now = this.#now();
    this.#run = { start: now, steps: state.globalStep };
    this.#loss = new SmoothedValue();
    // A terminal shows the first step at once; a log waits for something to tell.
    this.#lastDraw = this.#terminal ? -Infinity : now;
  }

  /** Starts the epoch's clock. */
  onEpochStart({ state }: EngineEvent): void {
    this.#epoch = { start: this.#now(), samples: state.samples };
  }

  /** Draws when it is time. */
  onStepEnd({ state, output }: StepEndEvent): void | Promise<void> {
    if (this.#now() - this.#lastDraw >= this.#intervalMs) return this.#draw(state, output);
  }

  /** Writes the epoch's line with its metrics. */
  onEpochEnd({ state }: EpochEndEvent): void {
    this.#put(state, { ...this.#lossValues(), ...state.metrics }, null);
    this.#endLine();
  }

  /** Ends the line, and tells why the run ended if not by its limit. */
  onEngineEnd({ state, reason, detail }: EngineEndEvent): void {
    this.#endLine();
    if (reason !== "stopped" && reason !== "interrupted") return;
    const why = detail === undefined ? "" : `: ${detail}`;
    this.#write(`${reason} after ${state.globalStep} steps${why}\n`);
  }

  async #draw(state: EngineState, output: StepOutput): Promise<void> {
    const loss = await output.loss?.item();
    if (loss !== undefined) this.#loss.add(loss);
    this.#put(state, this.#lossValues(), this.#eta(state));
    this.#lastDraw = this.#now();
  }

  #lossValues(): Record<string, number> {
    const { value } = this.#loss;
    return value === null ? {} : { loss: value };
  }

  #put(state: EngineState, values: Record<string, number>, eta: number | null): void {
    const seconds = (this.#now() - this.#epoch.start) / 1000;
    const samples = state.samples - this.#epoch.samples;
    const progress = {
      epoch: state.current.epoch,
      epochs: state.maxEpochs,
      step: state.localStep,
      steps: state.stepsPerEpoch,
      values,
      rate: seconds > 0 ? samples / seconds : null,
      seconds,
      eta,
    };
    if (!this.#terminal) return this.#write(progressLine(progress, Infinity) + "\n");
    // One column stays free: some terminals wrap when the last one is written.
    const width = (this.#width ?? terminalWidth()) - 1;
    this.#write(`\r${progressLine(progress, width)}\x1b[K`);
    this.#open = true;
  }

  #endLine(): void {
    if (this.#open) this.#write("\n");
    this.#open = false;
  }

  /** Seconds until the limit, at the run's mean speed so far, evaluations included. */
  #eta(state: EngineState): number | null {
    const { stepsPerEpoch, maxEpochs, epoch, localStep, maxSteps, globalStep } = state;
    const toEpochs = stepsPerEpoch === null
      ? Infinity
      : (maxEpochs - epoch) * stepsPerEpoch - localStep;
    const left = Math.min(toEpochs, maxSteps - globalStep);
    const done = globalStep - this.#run.steps;
    if (!Number.isFinite(left) || done === 0) return null;
    return left * (this.#now() - this.#run.start) / 1000 / done;
  }
}

/** An exponential mean without the pull of its start; values that are not finite pass through. */
class SmoothedValue {
  #sum = 0;
  #weight = 0;
  #odd: number | null = null;

  add(value: number): void {
    this.#odd = Number.isFinite(value) ? null : value;
    if (this.#odd !== null) return;
    this.#sum = SMOOTHING * this.#sum + (1 - SMOOTHING) * value;
    this.#weight = SMOOTHING * this.#weight + (1 - SMOOTHING);
  }

  get value(): number | null {
    return this.#odd ?? (this.#weight === 0 ? null : this.#sum / this.#weight);
  }
}

interface Terminal {
  readonly stderr: { writeSync(bytes: Uint8Array): number; isTerminal(): boolean };
  consoleSize(): { columns: number };
}

// Browsers have no Deno; the framework must load there too.
function deno(): Terminal | undefined {
  return (globalThis as { Deno?: Terminal }).Deno;
}

function standardError(): { write?: (text: string) => void; terminal: boolean } {
  const stderr = deno()?.stderr;
  if (stderr === undefined) return { terminal: false };
  return { write: (text) => writeAll(stderr, text), terminal: stderr.isTerminal() };
}

function writeAll(stderr: Terminal["stderr"], text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(stderr.writeSync(bytes));
}

function writeToConsole(text: string): void {
  console.log(text.trimEnd());
}

function terminalWidth(): number {
  try {
    return deno()?.consoleSize().columns ?? 80;
  } catch {
    // A terminal that does not tell its size.
    return 80;
  }
}
