/** Shows how training goes. */

import type { Callback, Phase } from "../callback.ts";
import type { Context } from "../context.ts";
import type {
  EngineEndEvent,
  EngineEvent,
  EngineStartEvent,
  EpochEndEvent,
  StepEndEvent,
} from "../events.ts";
import type { EngineState } from "../state.ts";
import type { StepOutput } from "../step_output.ts";
import { stepScalarsOf } from "../step_scalars.ts";
import { isTensorLike } from "../tensor_like.ts";
import { type Curves, liveBlock } from "./live_block.ts";
import { Course } from "./live_curve.ts";
import {
  type ProgressRecord,
  recordLine,
  type RecordNumber,
  standing,
  startRecord,
} from "./live_json.ts";
import { BestSoFar, type BetterOf, Clocks, SmoothedValue } from "./live_meter.ts";
import {
  isLively,
  LiveScreen,
  terminalSize,
  wantsColor,
  type Write,
  writerTo,
} from "./live_screen.ts";
import { type Progress, progressLine } from "./progress_line.ts";

/** How `ProgressBarCallback` shows progress. */
export type ProgressMode = "live" | "plain" | "json";

/** Options of `ProgressBarCallback`. */
export interface ProgressBarOptions {
  /**
   * "live" draws a block of lines in place, "plain" writes a line now and then, "json" writes a JSON
   * object a line.
   *
   * @default {"live" where standard error is a terminal that can, and `CI` is not set; else "plain"}
   */
  mode?: ProgressMode;
  /**
   * Takes the text; by default standard error, standard output in the mode "json", or the console
   * where there are none.
   */
  write?: (text: string) => void;
  /** Columns and rows of the terminal; by default asked of it at each drawing. */
  size?: { readonly columns: number; readonly rows: number };
  /** Whether the block has colours; by default unless `NO_COLOR` is set. */
  color?: boolean;
  /** Least time between two lines or drawings, in milliseconds. @default {500 live, 1000 for JSON, 10,000 plain} */
  intervalMs?: number;
  /** The name of the loss in the step's output, and, behind a prefix, in the metrics. @default {"loss"} */
  loss?: string;
  /**
   * The metric whose best value is shown.
   * @default {the first one whose direction is known, of evaluations before that of training}
   */
  monitor?: string;
  /** The time in milliseconds. */
  now?: () => number;
}

const INTERVALS: { readonly [mode in ProgressMode]: number } = {
  live: 500,
  json: 1000,
  plain: 10_000,
};

/** What is read of a step when its line is due. */
interface Reading {
  /** Completed steps. */
  readonly step: number;
  readonly loss: number | null;
  readonly gradNorm: number | null;
}

/**
 * Shows how training goes, on a terminal, in a log, or to a program.
 *
 * On a terminal it is a block of a few lines that is drawn again in its place and stays when the loop
 * ends: epoch, bar and remaining time; the loss as a curve, with an "o" for each evaluation; the smoothed
 * loss, learning rate, norm of the gradients where there is one, metrics, the best value and how many
 * epochs ago it was, samples per second, and the share of time in which the loop waited for data.
 * Lines that go through `console` meanwhile appear above it. Lines that are written past the console, or
 * by another process, are never overwritten, but from the second one between two drawings on the rest of
 * a line of the block may stand behind them. One loop has the terminal at a time: another one that starts
 * meanwhile writes plain lines.
 *
 * Elsewhere it is a plain line now and then and at the end of each epoch, or one {@linkcode
 * ProgressRecord} a line for programs.
 *
 * It reads the loss only when it is due, because a read waits for the device. The remaining time is
 * that of the whole run, and shown where the loader knows its length. Nothing is saved: in a run that
 * is resumed, speed and remaining time are those since then, and so is the best value.
 *
 * @example Write plain lines into a list
 * ```ts
 * import { Context, Engine, ProgressBarCallback } from "@legoml/legoml/core";
 *
 * const lines: string[] = [];
 * const bar = new ProgressBarCallback({ mode: "plain", write: (text) => lines.push(text) });
 * const engine = new Engine(
 *   (_engine, batch: number[]) => ({ count: batch.length }),
 *   new Context({ model: null }),
 *   { callbacks: [bar] },
 * );
 * await engine.loop([[1, 2], [3]]);
 * console.assert(lines.length === 1 && lines[0].startsWith("epoch 1/1  100% 2/2"));
 * ```
 *
 * @example Tell another program
 * ```ts
 * import { Context, Engine, ProgressBarCallback, type ProgressRecord } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const records: ProgressRecord[] = [];
 * const write = (line: string) => void records.push(JSON.parse(line));
 * const engine = new Engine(
 *   (_engine, loss: number) => ({ loss }),
 *   new Context({ model: null }),
 *   { callbacks: [new ProgressBarCallback({ mode: "json", intervalMs: 0, write })] },
 * );
 * await engine.loop([0.5, NaN]);
 * assertEquals(records.map(({ event }) => event), ["start", "step", "step", "epoch", "end"]);
 * assertEquals(records.map((record) => record.event === "step" ? record.loss : 0), [0, 0.5, "NaN", 0, 0]);
 * ```
 */
export class ProgressBarCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "ProgressBarCallback";
  /** Last, so that it shows what the others wrote. */
  readonly phase: Phase = "display";
  readonly #options: ProgressBarOptions;
  readonly #mode: ProgressMode;
  readonly #write: Write;
  readonly #now: () => number;
  readonly #clocks: Clocks;
  #loss = new SmoothedValue();
  #last: Reading = { step: -1, loss: null, gradNorm: null };
  #best = new BestSoFar(undefined, 0);
  #metrics: Readonly<Record<string, number>> = {};
  #curves: Curves = noCurves();
  #lastDraw = 0;
  #screen: LiveScreen | null = null;

  /**
   * Makes the callback; it writes nothing before the loop starts.
   *
   * @param options where, how and how often to write, and what to follow
   * @throws {TypeError} if there is no such mode
   * @throws {RangeError} if `intervalMs` is below 0, or `size` has no whole numbers from 1
   */
  constructor(options: ProgressBarOptions = {}) {
    checkOptions(options);
    this.#options = options;
    this.#mode = options.mode ?? (options.write === undefined && isLively() ? "live" : "plain");
    this.#write = options.write ?? writerTo(this.#mode === "json" ? "stdout" : "stderr");
    this.#now = options.now ?? (() => performance.now());
    this.#clocks = new Clocks(this.#now);
  }

  /** Starts the clocks. */
  onEngineStart({ engine, state }: EngineStartEvent): void {
    this.#clocks.startLoop(state);
    this.#loss = new SmoothedValue();
    this.#last = { step: -1, loss: null, gradNorm: null };
    this.#best = new BestSoFar(this.#options.monitor, state.globalStep);
    this.#metrics = { ...state.metrics };
    this.#curves = noCurves();
    if (this.#mode === "live") this.#screen = LiveScreen.open(this.#write);
    // A terminal shows the first step at once, and so do programs; a log waits for something to tell.
    this.#lastDraw = this.#mode === "plain" ? this.#now() : -Infinity;
    if (this.#mode === "json") this.#writeRecord(startRecord(engine.name, state));
  }

  /** Starts the epoch's clock. */
  onEpochStart({ state }: EngineEvent): void {
    this.#clocks.startEpoch(state);
  }

  /** Reads the loss and writes when it is time. */
  onStepEnd(event: StepEndEvent): void | Promise<void> {
    const { intervalMs = INTERVALS[this.#mode] } = this.#options;
    if (this.#clocks.step() - this.#lastDraw >= intervalMs) return this.#step(event);
  }

  /** Writes the epoch with its metrics. */
  async onEpochEnd({ engine, state, context, complete }: EpochEndEvent): Promise<void> {
    if (state.output !== null && this.#mode !== "json") {
      await this.#read(state, state.output, context);
    }
    const betterOf: BetterOf = (key) => engine.betterOf(key);
    this.#best.observe(state.current.epoch, state.metrics, betterOf);
    // Evaluations take their metrics away when the next epoch starts.
    this.#metrics = { ...state.metrics };
    this.#markEvaluations(state);
    const { best } = this.#best;
    if (this.#mode !== "json") return this.#show(state, context, true);
    this.#writeRecord({
      event: "epoch",
      epoch: state.current.epoch,
      complete,
      ...standing(state),
      metrics: state.metrics as Record<string, RecordNumber>,
      best: best && { metric: best.metric, value: best.value, epoch: best.epoch },
      seconds: this.#clocks.loopSeconds,
    });
  }

  /** Leaves the block on the terminal, and tells why the loop ended if not by its limit. */
  onEngineEnd({ state, context, reason, detail, error }: EngineEndEvent): void {
    if (this.#screen !== null && state.current.epoch > 0) this.#show(state, context, true);
    this.#screen?.close();
    this.#screen = null;
    if (this.#mode === "json") {
      const message = error instanceof Error ? error.message : String(error);
      return this.#writeRecord({
        event: "end",
        reason,
        detail: detail ?? null,
        error: error === undefined ? null : message,
        epoch: state.epoch,
        ...standing(state),
        seconds: this.#clocks.loopSeconds,
      });
    }
    if (reason !== "stopped" && reason !== "interrupted") return;
    const why = detail === undefined ? "" : `: ${detail}`;
    this.#write(`${reason} after ${state.globalStep} steps${why}\n`);
  }

  async #step(event: StepEndEvent): Promise<void> {
    const { state, output, context } = event;
    await this.#read(state, output, gradNormOf(event));
    if (this.#mode === "json") this.#writeStep(state, context);
    else this.#show(state, context, false);
    this.#lastDraw = this.#now();
  }

  /** Reads what the latest step gave in one wait for the device, unless that was done. */
  async #read(state: EngineState, output: StepOutput, norm?: unknown): Promise<void> {
    if (this.#last.step === state.globalStep) return;
    const [loss, gradNorm] = await Promise.all([
      numberOf(output.get(this.#options.loss ?? "loss")),
      norm === undefined ? this.#last.gradNorm : numberOf(norm),
    ]);
    this.#last = { step: state.globalStep, loss, gradNorm };
    if (loss === null) return;
    this.#loss.add(loss);
    this.#curves.line.add(state.globalStep, loss);
  }

  #writeStep(state: EngineState, context: Context): void {
    this.#writeRecord({
      event: "step",
      epoch: state.current.epoch,
      step: state.globalStep,
      localStep: state.localStep,
      samples: state.samples,
      loss: this.#last.loss as RecordNumber | null,
      lr: lrOf(context) as RecordNumber | null,
      gradNorm: this.#last.gradNorm as RecordNumber | null,
      samplesPerSecond: this.#clocks.rate(state),
      dataWait: waitOf(state),
      seconds: this.#clocks.loopSeconds,
      eta: this.#clocks.eta(state),
    });
  }

  #writeRecord(record: ProgressRecord): void {
    this.#write(recordLine(record));
  }

  /** Notes where evaluations stand on the axis of the training loss. */
  #markEvaluations({ metrics, globalStep }: EngineState): void {
    const name = this.#options.loss ?? "loss";
    const keys = Object.keys(metrics).filter((key) => key.endsWith(`/${name}`));
    const marked = new Set([...this.#curves.marked, ...keys]);
    for (const key of keys) this.#curves.marks.add(globalStep, metrics[key]);
    this.#curves = { ...this.#curves, marked };
  }

  #show(state: EngineState, context: Context, epochEnds: boolean): void {
    const progress = this.#progress(state, context, epochEnds);
    if (this.#screen === null) {
      this.#write(`${progressLine(progress)}\n`);
      return;
    }
    const { size = terminalSize(), color = wantsColor() } = this.#options;
    // One column stays free, since some terminals wrap when the last one is written; one row is the
    // cursor's.
    const room = {
      columns: Math.max(1, size.columns - 1),
      rows: Math.max(1, size.rows - 1),
      color,
    };
    this.#screen.draw(liveBlock(progress, this.#curves, room));
  }

  #progress(state: EngineState, context: Context, epochEnds: boolean): Progress {
    const eta = this.#clocks.eta(state);
    return {
      epoch: state.current.epoch,
      epochs: state.maxEpochs,
      step: state.localStep,
      steps: state.stepsPerEpoch,
      values: this.#values(context, epochEnds),
      best: this.#best.best,
      rate: this.#clocks.rate(state),
      wait: waitOf(state),
      seconds: this.#clocks.epochSeconds,
      total: this.#clocks.loopSeconds,
      // What is left is no news in the line of an epoch that has ended.
      eta: eta === 0 || (epochEnds && this.#screen === null) ? null : eta,
    };
  }

  /** The loss and what goes with it, then metrics; those of an epoch that has ended in place of readings. */
  #values(context: Context, epochEnds: boolean): Record<string, number> {
    const readings = {
      [this.#options.loss ?? "loss"]: this.#loss.value,
      lr: lrOf(context),
      "grad norm": this.#last.gradNorm,
    };
    const own = Object.fromEntries(
      Object.entries(readings).filter((pair): pair is [string, number] => pair[1] !== null),
    );
    if (epochEnds) return { ...own, ...this.#metrics };
    return this.#screen === null ? own : { ...own, ...this.#metrics, ...own };
  }
}

function noCurves(): Curves {
  return { line: new Course(), marks: new Course(), marked: new Set() };
}

function checkOptions({ mode, intervalMs = 0, size }: ProgressBarOptions): void {
  if (mode !== undefined && !Object.hasOwn(INTERVALS, mode)) {
    throw new TypeError(
      `Cannot show progress: expected mode to be one of ${
        Object.keys(INTERVALS).join(", ")
      }, found ${JSON.stringify(mode)}`,
    );
  }
  const { columns, rows } = size ?? { columns: 1, rows: 1 };
  const fits = [columns, rows].every((n) => Number.isSafeInteger(n) && n >= 1);
  if (intervalMs >= 0 && fits) return;
  throw new RangeError(
    "Cannot show progress: expected intervalMs from 0 and a size of whole numbers from 1, found " +
      `intervalMs ${intervalMs} and ${columns} columns by ${rows} rows`,
  );
}

/** The number in a tensor with one element, or the number itself; null for anything else. */
async function numberOf(value: unknown): Promise<number | null> {
  if (typeof value === "number") return value;
  const isScalar = isTensorLike(value) && value.shape.every((size) => size === 1);
  return isScalar ? await value.item() : null;
}

/** The norm of the gradients, where a callback, the step or the optimizer has it; not read yet. */
function gradNormOf(event: StepEndEvent): unknown {
  const { output, context } = event;
  const found = Object.fromEntries(stepScalarsOf(event)).gradNorm ?? output.get("gradNorm");
  if (found !== undefined) return found;
  return (context.optimizer as { gradNorm?: unknown } | null | undefined)?.gradNorm ?? undefined;
}

/** The learning rate of an optimizer's first group, where the context has one. */
function lrOf({ optimizer }: Context): number | null {
  const { groups } = (optimizer ?? {}) as { groups?: readonly { lr?: unknown }[] };
  const lr = groups?.[0]?.lr;
  return typeof lr === "number" ? lr : null;
}

function waitOf({ waitSeconds, loopSeconds }: EngineState): number | null {
  return loopSeconds > 0 ? Math.min(1, waitSeconds / loopSeconds) : null;
}
