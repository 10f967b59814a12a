/** Recording a training run from the engine's events. */

import type {
  Callback,
  Context,
  EngineEndEvent,
  EngineStartEvent,
  EpochEndEvent,
  ExceptionEvent,
  Phase,
  StepEndEvent,
  StepOutput,
  TensorLike,
} from "../core/engine/mod.ts";
import { stepScalarsOf } from "../core/engine/step_scalars.ts";
import { isTensorLike } from "../core/engine/tensor_like.ts";
import { reasonOf, TrackError } from "./errors.ts";
import { describeValue } from "./json_values.ts";
import type { Progress } from "./scalars.ts";
import type { RunSession } from "./session.ts";

/** Options of a `TrackingCallback`. */
export interface TrackingOptions {
  /**
   * Record the values of steps whose number is a multiple of this one.
   *
   * @default {10}
   */
  every?: number;
  /**
   * Least time between two reads of the recorded values from the device, in milliseconds.
   *
   * @default {1000}
   */
  readEveryMs?: number;
  /**
   * What the names of metrics without a slash start with, before a slash.
   *
   * @default {"train"}
   */
  split?: string;
  /** More values of a step, such as the learning rate; called for the steps that are recorded. */
  scalars?: (event: StepEndEvent) => Readonly<Record<string, number | TensorLike>>;
  /** The time in milliseconds, for the reads. */
  now?: () => number;
}

/** Values of one step that wait to be read together with those of others. */
interface StepRecord {
  readonly progress: Progress;
  readonly time: Date;
  readonly values: readonly (readonly [name: string, value: number | TensorLike])[];
}

/** What a checkpoint keeps of the tracking: how many rows of which run count. */
interface TrackingState {
  readonly run: string;
  readonly rows: number;
}

/**
 * Writes what an engine does into a run: settings and context at the start, values of steps as
 * `step/<name>`, metrics at the end of epochs as `train/<name>` (those with a slash, such as
 * `eval/accuracy`, as they are), and how the run ended.
 *
 * The values of a step are its loss, the numbers and scalar tensors of its output and of its
 * `metadata`, those of callbacks such as `GradNormCallback`, and what the option `scalars` adds. They
 * stay on the device until it is time to read all of them in one wait, so no step waits for its own.
 *
 * An error that ends the loop also becomes the error of the run, so that the run counts as failed; a
 * signal that ends it makes the run count as interrupted.
 *
 * A checkpoint of the engine keeps how many rows the run had by then. Where it is loaded into a run
 * that was reopened with `run({ resume })`, the rows behind it are superseded when the loop starts, and
 * the values of the run become those of one that never stopped. Rows cannot be told apart by engines,
 * so this is for runs with one engine whose state is loaded.
 *
 * @example Record the loss of every step and the metrics of every epoch
 * ```ts
 * import { Context, Engine } from "@legoml/legoml/core";
 * import { readRun, run, TrackingCallback } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const folder = await run({ dir: await Deno.makeTempDir() }, async (session) => {
 *   const engine = new Engine(
 *     (_engine, x: number) => ({ error: 1 / x }),
 *     new Context({ model: null, config: { lr: 0.1 } }),
 *     { callbacks: [new TrackingCallback(session, { every: 1 })] },
 *   );
 *   const measure = { phase: "metrics" } as const;
 *   engine.on("epochEnd", ({ state }) => void (state.metrics.accuracy = 0.9), measure);
 *   await engine.loop([1, 2], { maxEpochs: 1 });
 *   return session.dir;
 * });
 * const { meta, scalars } = readRun(folder);
 * assert(meta.params.lr === 0.1);
 * assert(scalars.map((row) => row.key).join() === "step/error,step/error,train/accuracy");
 * ```
 */
export class TrackingCallback implements Callback {
  /** How errors and plans call it. */
  readonly name: string = "TrackingCallback";
  /** After metrics and evaluation. */
  readonly phase: Phase = "log";
  #session: RunSession;
  #every: number;
  #readEveryMs: number;
  #split: string;
  #scalars: TrackingOptions["scalars"];
  #now: () => number;
  #records: StepRecord[] = [];
  #lastRead = 0;
  #start = 0;
  /** Rows before the metrics of an epoch that was cut short, which is not over for a resumed run. */
  #rowsOfCut: number | null = null;
  #loaded: TrackingState | null = null;

  /**
   * Makes a callback for one engine.
   *
   * @param session the run to write into; who opened it closes it
   * @param options how often to record and to read, names, more values
   * @throws {RangeError} if `every` is no whole number from 1, or `readEveryMs` is below 0
   */
  constructor(session: RunSession, options: TrackingOptions = {}) {
    const { every = 10, readEveryMs = 1000 } = options;
    if (!Number.isSafeInteger(every) || every < 1 || !(readEveryMs >= 0)) {
      throw new RangeError(
        "Cannot track steps: expected every to be a whole number from 1 and readEveryMs from 0, " +
          `found every ${every} and readEveryMs ${readEveryMs}`,
      );
    }
    this.#session = session;
    this.#every = every;
    this.#readEveryMs = readEveryMs;
    this.#split = options.split ?? "train";
    this.#scalars = options.scalars;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * What a checkpoint keeps: the number of rows so far, after those that wait have been written and
   * are on the device.
   *
   * @throws {TrackError} if they cannot be written
   */
  async state(): Promise<{ run: string; rows: number }> {
    await this.#flush();
    this.#session.sync();
    return { run: this.#session.id, rows: this.#rowsOfCut ?? this.#session.rows };
  }

  /**
   * Takes back what `state` gave; the run goes on from there when the loop starts.
   *
   * @param state what a checkpoint kept
   * @throws {TypeError} if it is something else
   */
  load(state: unknown): void {
    const { run, rows } = (state ?? {}) as Partial<TrackingState>;
    if (typeof run !== "string" || !Number.isSafeInteger(rows)) {
      throw new TypeError(
        `Cannot resume the tracking: expected a run and its rows, found ${describeValue(state)}`,
      );
    }
    this.#drop();
    this.#loaded = { run, rows: rows! };
  }

  /** Writes the settings, what the context holds, and the limits of the loop. */
  onEngineStart({ engine, state, context }: EngineStartEvent): void {
    this.#start = this.#lastRead = this.#now();
    this.#rowsOfCut = null;
    this.#goOn(state);
    const config = typeof context.config === "object" ? context.config : null;
    this.#session.logParams({ context: describeContext(context), ...config });
    this.#session.logEvent("engineStart", {
      engine: engine.name,
      epoch: state.epoch,
      globalStep: state.globalStep,
      maxEpochs: state.maxEpochs,
      maxSteps: state.maxSteps,
      stepsPerEpoch: state.stepsPerEpoch,
      ...this.#directions(engine),
    });
  }

  /** Takes the values of a step that is to be recorded, and reads them when it is time. */
  onStepEnd(event: StepEndEvent): void | Promise<void> {
    this.#session.heartbeat();
    if (event.state.globalStep % this.#every !== 0) return;
    this.#record(event);
    if (this.#now() - this.#lastRead >= this.#readEveryMs) return this.#flush();
  }

  /** Writes the metrics. */
  async onEpochEnd({ state, complete }: EpochEndEvent): Promise<void> {
    await this.#flush();
    this.#rowsOfCut = complete ? null : this.#session.rows;
    const named = Object.entries(state.metrics).map(([name, value]) => [this.#nameOf(name), value]);
    this.#session.logScalars(Object.fromEntries(named), progressOf(state));
  }

  /** Makes the error that of the run, and saves the values of the steps before it. */
  async onException({ error, state }: ExceptionEvent): Promise<void> {
    this.#session.fail(error);
    // what cannot be written has been said; a second attempt would only repeat it
    if (error instanceof TrackError) return this.#drop();
    const { name, message } = error instanceof Error
      ? error
      : { name: typeof error, message: String(error) };
    const lost = await this.#rescue();
    this.#session.logEvent("exception", { name, message, ...progressOf(state), ...lost });
  }

  /** Writes why the loop ended. */
  async onEngineEnd({ engine, state, reason, detail, error }: EngineEndEvent): Promise<void> {
    if (error instanceof TrackError) return this.#drop();
    if (reason === "interrupted") this.#session.interrupt(detail);
    await this.#flush();
    this.#session.logEvent("engineEnd", {
      engine: engine.name,
      reason,
      detail,
      ...progressOf(state),
      seconds: (this.#now() - this.#start) / 1000,
    });
  }

  /** Which values of the metrics are better, as their writers say; nothing where they do not. */
  #directions(engine: EngineStartEvent["engine"]): { better?: Record<string, "up" | "down"> } {
    const known = engine.metricKeys.flatMap((key) => {
      const better = engine.betterOf(key);
      return better === null ? [] : [[this.#nameOf(key), better] as const];
    });
    return known.length === 0 ? {} : { better: Object.fromEntries(known) };
  }

  #nameOf(metric: string): string {
    return metric.includes("/") ? metric : `${this.#split}/${metric}`;
  }

  /** Says where the run goes on, if a checkpoint was loaded; rows of another run stay as they are. */
  #goOn({ globalStep, epoch }: { globalStep: number; epoch: number }): void {
    const loaded = this.#loaded;
    if (loaded === null) return;
    this.#loaded = null;
    const cursor = { rows: loaded.rows, step: globalStep, epoch };
    if (loaded.run === this.#session.id) this.#session.resumeFrom(cursor);
    else this.#session.logEvent("resumeFromRun", { run: loaded.run, ...cursor });
  }

  #record(event: StepEndEvent): void {
    const more = Object.entries(this.#scalars?.(event) ?? {});
    const values = [...scalarsOf(event.output), ...stepScalarsOf(event), ...more];
    if (values.length === 0) return;
    this.#records.push({
      progress: progressOf(event.state),
      time: new Date(),
      values: values.map(([name, value]) => [name, isTensorLike(value) ? hold(value) : value]),
    });
  }

  /** Reads all waiting values in one wait and writes them, a line each. */
  async #flush(): Promise<void> {
    const records = this.#records;
    this.#records = [];
    try {
      const read = await Promise.all(records.map(({ values }) => readAll(values)));
      records.forEach(({ progress, time }, i) => {
        this.#session.logScalars(read[i], { ...progress, time, split: "step" });
      });
    } finally {
      records.forEach(release);
      this.#lastRead = this.#now();
    }
  }

  /** Flushes after an error, when the device may be unable to; tells what was lost. */
  async #rescue(): Promise<Record<string, unknown>> {
    const steps = this.#records.length;
    try {
      await this.#flush();
      return {};
    } catch (error) {
      if (error instanceof TrackError) throw error;
      return { lostSteps: steps, lostReason: reasonOf(error) };
    }
  }

  #drop(): void {
    this.#records.forEach(release);
    this.#records = [];
  }
}

function progressOf(
  { globalStep, epoch, samples }: { globalStep: number; epoch: number; samples: number },
): Progress {
  return { step: globalStep, epoch, samples: Math.round(samples) };
}

/** Loss, numbers and scalar tensors of an output and of its metadata. */
function scalarsOf(output: StepOutput): [string, number | TensorLike][] {
  const { metadata, count: _count, loss, ...values } = output.toDict();
  const more = typeof metadata === "object" && metadata !== null ? Object.entries(metadata) : [];
  const first = loss === undefined ? [] : [["loss", loss] as const];
  return [...first, ...Object.entries(values), ...more].filter(
    (pair): pair is [string, number | TensorLike] => isScalar(pair[0], pair[1]),
  );
}

function isScalar(name: string, value: unknown): boolean {
  if (typeof value === "number") return true;
  if (!isTensorLike(value)) return false;
  // a batch of one gives tensors with one element that are no scalars
  return value.shape.length === 0 || (name === "loss" && value.shape.every((size) => size === 1));
}

/** A handle of our own on a tensor's values, which outlives the step. */
function hold(tensor: TensorLike): TensorLike {
  const own = tensor.detach() as TensorLike & { keep?(): unknown };
  own.keep?.();
  return own;
}

async function readAll(values: StepRecord["values"]): Promise<Record<string, number>> {
  const pairs = values.map(async ([name, value]) =>
    [name, typeof value === "number" ? value : await value.item()] as const
  );
  return Object.fromEntries(await Promise.all(pairs));
}

function release({ values }: StepRecord): void {
  for (const [, value] of values) if (typeof value !== "number") value.dispose();
}

/** What a context holds, in words: classes or functions, the device's name, the model's size. */
function describeContext(context: Context): Record<string, unknown> {
  const { config: _config, ...parts } = context;
  const present = Object.entries(parts).filter(([, part]) => part !== undefined && part !== null);
  const words = present.map(([name, part]) => [name, describePart(name, part)]);
  return { ...Object.fromEntries(words), ...parameterCount(context.model) };
}

function describePart(name: string, part: unknown): string {
  if (typeof part !== "object" || part === null) {
    return typeof part === "function" && part.name !== "" ? part.name : typeof part;
  }
  const { kind, name: label } = part as { kind?: unknown; name?: unknown };
  if (name === "device" && label !== undefined) return [kind, label].filter(Boolean).join(" ");
  return Object.getPrototypeOf(part)?.constructor?.name ?? "Object";
}

function parameterCount(model: unknown): { parameters?: number } {
  const { parameters } = (model ?? {}) as { parameters?: unknown };
  const all: unknown = typeof parameters === "function" ? parameters.call(model) : null;
  if (typeof all !== "object" || all === null || !(Symbol.iterator in all)) return {};
  const tensors = [...all as Iterable<unknown>].filter(isTensorLike);
  const sizes = tensors.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return { parameters: sizes.reduce((a, b) => a + b, 0) };
}
