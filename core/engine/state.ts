/** The counters of a training loop, its latest output and its metrics. */

import type { MetricValues } from "./metric_source.ts";
import type { StepOutput } from "./step_output.ts";

/** The numbers of the epoch and step that run now, counted from 1. */
export interface CurrentIndex {
  /** Number of the running epoch, over all `loop` calls. */
  readonly epoch: number;
  /** Number of the running step, over all epochs. */
  readonly step: number;
  /** Number of the running step within its epoch. */
  readonly localStep: number;
}

/** The saved form of an `EngineState`. */
export interface EngineStateJson {
  /** Completed epochs. */
  epoch: number;
  /** Completed steps. */
  globalStep: number;
  /** Completed steps of the latest epoch. */
  localStep: number;
  /** Whether that epoch has not ended; absent where it has. */
  inEpoch?: boolean;
  /** Whether it has no more batches, but its end must be repeated; absent where not. */
  ended?: boolean;
  /** Samples of all completed steps. */
  samples: number;
  /** Completed calls of `engine.backward`. */
  backwards: number;
  /** The latest metrics; NaN and infinities as the words "NaN", "Infinity", "-Infinity". */
  metrics: Record<string, number | string>;
  /** How often each of the program's own events was emitted; absent where there are none. */
  emitted?: Record<string, number>;
}

const COUNTERS = ["epoch", "globalStep", "localStep", "samples", "backwards"] as const;

/**
 * Where an engine stands. Counters are completed counts: they hold what is finished, so at
 * `stepStart` of the first step `globalStep` is 0 and at its `stepEnd` it is 1.
 *
 * At start events `current` tells the number (from 1) of what begins; it keeps that number until the
 * next one begins, so at `epochEnd` it is the epoch that has just ended, complete or not.
 */
export class EngineState<O extends StepOutput = StepOutput, K extends string = string> {
  /** Completed epochs. */
  epoch: number = 0;
  /** Completed steps. */
  globalStep: number = 0;
  /** Completed steps of the latest epoch; set to 0 when an epoch starts. */
  localStep: number = 0;
  /** Samples of all completed steps. */
  samples: number = 0;
  /** Completed calls of `engine.backward`. */
  backwards: number = 0;
  /** The numbers (from 1) of what runs now or ran last; all 0 before the first epoch. */
  current: CurrentIndex = { epoch: 0, step: 0, localStep: 0 };
  /** The value of `epoch` at which the running loop ends; Infinity without a limit. */
  maxEpochs: number = 0;
  /** The value of `globalStep` at which the running loop ends; Infinity without a limit. */
  maxSteps: number = Infinity;
  /** The value of `samples` at which the running loop ends; Infinity without a limit. */
  maxSamples: number = Infinity;
  /** Whether the running loop only tries every part once, see `LoopOptions.dryRun`. */
  dryRun: boolean = false;
  /** Batches in an epoch where the loader knows its length, else null. */
  stepsPerEpoch: number | null = null;
  /** What the latest step returned; its tensors live until the next step replaces them. */
  output: O | null = null;
  /** The latest value of each metric. */
  metrics: MetricValues<K> = {} as MetricValues<K>;
  /** How often each of the program's own events was emitted, by name. */
  emitted: Record<string, number> = {};
  /** The text given to `engine.stop`, "interrupted" where a signal came, or null while nobody asked to stop. */
  stopReason: string | null = null;
  /** Seconds for which the running loop, or the latest one, has waited for its loader; not saved. */
  waitSeconds: number = 0;
  #started: number | null = null;
  #seconds = 0;
  #owners = new Map<string, object>();
  #resumes: "rest" | "end" | null = null;

  /**
   * Reserves names in `metrics`, so that two writers cannot overwrite each other.
   *
   * The engine forgets all reservations when a loop starts; claiming one's own names again is fine.
   *
   * @param owner the writer
   * @param keys the names
   * @throws {Error} if another owner has one of the names
   */
  claimMetrics(owner: object, keys: readonly string[]): void {
    for (const key of keys) {
      const other = this.#owners.get(key);
      if (other !== undefined && other !== owner) {
        throw new Error(
          `Cannot write metric "${key}": expected one writer per name, found two (${
            ownerName(other)
          } and ${ownerName(owner)})`,
        );
      }
      this.#owners.set(key, owner);
    }
  }

  /** Seconds since the running loop started, or how long the latest one took; 0 before the first. */
  get loopSeconds(): number {
    return this.#started === null ? this.#seconds : (performance.now() - this.#started) / 1000;
  }

  /** Starts to count the seconds of a loop; the engine calls it when a loop starts. */
  startClock(): void {
    this.waitSeconds = 0;
    this.#started = performance.now();
  }

  /** Keeps the seconds that the loop took; the engine calls it when a loop has ended. */
  stopClock(): void {
    this.#seconds = this.loopSeconds;
    this.#started = null;
  }

  /**
   * Whether the next epoch is the rest of one that was saved before it ended, or only its end; tells
   * it once.
   */
  takeResumption(): "rest" | "end" | null {
    const resumes = this.#resumes;
    this.#resumes = null;
    return resumes;
  }

  /**
   * Takes the end of a complete epoch back, in a handler of "epochEnd": something that belongs to it
   * was interrupted, such as an evaluation. Handlers that follow see a partial epoch, and the next
   * loop fires "epochEnd" once more before it goes on. Nothing happens where the epoch is partial.
   */
  repeatEpochEnd(): void {
    if (this.current.epoch > this.epoch) return;
    this.epoch--;
    this.#resumes = "end";
  }

  /** Forgets who writes which metric; the engine calls it when a loop starts. */
  releaseMetrics(): void {
    this.#owners.clear();
  }

  /**
   * The counters and metrics as JSON values, to continue from later.
   *
   * @returns a fresh object; the output is not part of it
   */
  toJSON(): EngineStateJson {
    const { epoch, globalStep, localStep, samples, backwards } = this;
    const metrics = Object.fromEntries(
      Object.entries(this.metrics as Record<string, number>).map((
        [k, v],
      ) => [k, Number.isFinite(v) ? v : String(v)]),
    );
    const inEpoch = this.current.epoch > epoch && localStep > 0 ? { inEpoch: true } : {};
    const ended = this.#resumes === "end" ? { ended: true } : {};
    const json = {
      epoch,
      globalStep,
      localStep,
      ...inEpoch,
      ...ended,
      samples,
      backwards,
      metrics,
    };
    return Object.keys(this.emitted).length === 0
      ? json
      : { ...json, emitted: { ...this.emitted } };
  }

  /**
   * Takes over saved counters and metrics. Where they were saved in the middle of an epoch, the next
   * loop goes on in it: without `epochStart`, and with `localStep` as it was.
   *
   * @param json what `toJSON` gave
   * @throws {TypeError} if a counter is missing or no count, or a metric is no number
   */
  restore(json: EngineStateJson): void {
    for (const name of COUNTERS) checkCount(name, json?.[name]);
    const emitted = { ...json.emitted };
    for (const [name, count] of Object.entries(emitted)) checkCount(`emitted.${name}`, count);
    const metrics = Object.entries(json.metrics ?? {}).map(([k, v]) => [k, parseMetric(k, v)]);
    for (const name of COUNTERS) this[name] = json[name];
    this.metrics = Object.fromEntries(metrics) as MetricValues<K>;
    this.emitted = emitted;
    this.#resumes = json.inEpoch !== true ? null : json.ended === true ? "end" : "rest";
    this.current = {
      epoch: this.epoch + (this.#resumes === null ? 0 : 1),
      step: this.globalStep,
      localStep: this.localStep,
    };
    this.output = null;
  }
}

function checkCount(name: string, count: unknown): void {
  if (Number.isSafeInteger(count) && (count as number) >= 0) return;
  throw new TypeError(
    `Cannot restore the engine state: expected "${name}" to be a whole number from 0, found ${
      JSON.stringify(count)
    }`,
  );
}

function parseMetric(key: string, value: number | string): number {
  if (typeof value === "number") return value;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  throw new TypeError(
    `Cannot restore metric "${key}": expected a number, NaN or ±Infinity, found ${
      JSON.stringify(value)
    }`,
  );
}

function ownerName(owner: object): string {
  const own = (owner as { name?: unknown }).name;
  return typeof own === "string" ? own : owner.constructor.name;
}
