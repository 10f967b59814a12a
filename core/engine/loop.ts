/** One call of `Engine.loop`: the order of events, the counters, lifetimes, and how it ends. */

import { effect } from "../backend/capture.ts";
import {
  BatchReader,
  leaveEpoch,
  type Loader,
  loaderEpoch,
  loaderLength,
  repeated,
  restartEpoch,
} from "./batches.ts";
import type { Context } from "./context.ts";
import type { Engine } from "./engine.ts";
import type { EndReason, EventName } from "./events.ts";
import type { HandlerTable } from "./handlers.ts";
import { LoopLimits, type LoopOptions } from "./limits.ts";
import { OutputLifetime } from "./output_lifetime.ts";
import { Pacer } from "./pacer.ts";
import type { SignalName } from "./signals.ts";
import type { EngineState } from "./state.ts";
import { batchSize, type StepOutput, toStepOutput } from "./step_output.ts";
import { isPromiseLike, type ScopeLike, type TensorLike } from "./tensor_like.ts";

/** What a loop needs of its engine. */
export interface LoopHost {
  readonly engine: Engine;
  readonly state: EngineState;
  readonly context: Context;
  readonly handlers: HandlerTable;
  /** Number of this `loop` call, from 1. */
  readonly run: number;
  step(batch: unknown): unknown;
}

/** How the steps of an epoch ended: the loader had no more, its limit was reached, or the loop was cut short. */
type EpochCourse = "exhausted" | "limited" | "cut";

/** One run over a loader. */
export class Loop {
  #host: LoopHost;
  #loader: Loader<unknown>;
  #limits: LoopLimits;
  #pacer: Pacer;
  #outputs = new OutputLifetime();
  #stop: { interrupted: boolean; detail?: string } | null = null;
  #step: { batch: unknown } | null = null;
  #pending: Promise<void>[] = [];
  #late: unknown[] = [];
  #sawBatches = false;
  #batchScope: ScopeLike | undefined;

  constructor(host: LoopHost, loader: Loader<unknown>, options: LoopOptions) {
    this.#host = host;
    this.#loader = loader;
    this.#limits = new LoopLimits(options, host.state, loaderLength(loader));
    this.#pacer = new Pacer(host.context.device);
    host.handlers.begin();
    host.state.stopReason = null;
    host.state.startClock();
    host.state.releaseMetrics();
  }

  /** Runs to the end and throws what went wrong, after the ending events. */
  async run(): Promise<void> {
    const errors: unknown[] = [];
    try {
      await this.#fire("engineStart", { loader: this.#loader }, this.#host.run);
      if (this.#limits.firstBatchOnly && !this.#isOver()) await this.#takeFirstBatch();
      while (!this.#isOver()) await this.#epoch();
      await this.#pacer.finish();
    } catch (error) {
      errors.push(error);
    }
    await Promise.all(this.#pending);
    errors.push(...this.#late.splice(0));
    await this.#end(errors);
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw combine(errors);
  }

  /** Asks for the end after the running step. */
  stop(why: string | undefined): void {
    const interrupted = why === "interrupted" || this.#stop?.interrupted === true;
    const detail = this.#stop?.detail ?? (why === "interrupted" ? undefined : why);
    this.#stop = { interrupted, detail };
    this.#host.state.stopReason = interrupted ? "interrupted" : detail ?? "stopped";
  }

  /** Asks for the end after the running step because a signal came. */
  interrupt(signal: SignalName): void {
    this.stop("interrupted");
    this.#stop = { interrupted: true, detail: this.#stop?.detail ?? signal };
  }

  /** Whether a step is under way that is not counted yet. */
  get inStep(): boolean {
    return this.#step !== null;
  }

  /** Takes gradients between the two backward events. */
  backward(loss: TensorLike, take: () => void = () => loss.backward()): void {
    if (this.#step === null) {
      throw new Error("Cannot run engine.backward: expected to be inside a step, found none");
    }
    const { state } = this.#host;
    this.#fireWithoutWaiting("backwardStart", loss, state.backwards + 1);
    take();
    effect(() => void state.backwards++, () => void state.backwards--);
    this.#fireWithoutWaiting("backwardEnd", loss, state.backwards);
  }

  #isOver(): boolean {
    return this.#stop !== null || this.#limits.endsLoop(this.#host.state);
  }

  /** Reads the loader's first batch, which every step gets; what it holds lives as long as the loop. */
  async #takeFirstBatch(): Promise<void> {
    this.#batchScope = this.#openScope();
    // A loader that was resumed stands behind it.
    restartEpoch(this.#loader);
    const reader = new BatchReader(this.#loader);
    const asked = performance.now();
    const first = await reader.next();
    this.#host.state.waitSeconds += (performance.now() - asked) / 1000;
    if (first.done) {
      throw new RangeError("Cannot overfit one batch: expected batches, found an empty loader");
    }
    await reader.close();
    const { value } = first;
    this.#loader = { [Symbol.iterator]: () => repeated(value) };
  }

  async #epoch(): Promise<void> {
    const { state } = this.#host;
    const resumption = state.takeResumption();
    if (resumption === null) {
      state.localStep = 0;
      state.current = { epoch: state.epoch + 1, step: state.globalStep, localStep: 0 };
      await this.#fire("epochStart", {}, state.current.epoch);
    }
    const complete = resumption === "end" || await this.#readEpoch();
    if (complete) this.#checkNotEmpty();
    if (complete) state.epoch++;
    // A handler may take the end back, see `repeatEpochEnd`.
    const isComplete = () => state.epoch === state.current.epoch;
    const end = {
      get complete() {
        return isComplete();
      },
    };
    await this.#fire("epochEnd", end, state.current.epoch);
  }

  /** Steps through the loader; false when the loop was cut short before its end or its limit. */
  async #readEpoch(): Promise<boolean> {
    const epoch = loaderEpoch(this.#loader);
    const reader = new BatchReader(this.#loader);
    let course: EpochCourse = "cut";
    try {
      course = await this.#steps(reader);
    } catch (error) {
      await reader.close().catch((late) => this.#fail(late));
      throw error;
    }
    if (course !== "exhausted") await reader.close();
    if (course === "limited") leaveEpoch(this.#loader, epoch);
    // A stream that was cut short behind its last batch finds that out, and moves on.
    return course !== "cut" || loaderEpoch(this.#loader) !== epoch;
  }

  async #steps(reader: BatchReader<unknown>): Promise<EpochCourse> {
    const host = this.#host;
    const { state } = host;
    const { batches } = this.#limits;
    let asked = performance.now();
    // Waits are conditional: a loop without promises must not even cost microtasks.
    while (state.localStep < batches && this.#stop === null && !this.#limits.endsEpoch(state)) {
      const scope = this.#openScope();
      let output: StepOutput | null = null;
      let failed = true;
      try {
        const reading = reader.next();
        const item = isPromiseLike(reading) ? await reading : reading;
        state.waitSeconds += (performance.now() - asked) / 1000;
        failed = false;
        if (item.done) return "exhausted";
        failed = true;
        const batch = this.#begin(item.value);
        const starting = this.#fireInStep("stepStart", { batch }, state.current.step);
        if (isPromiseLike(starting)) await starting;
        const result = host.step(batch);
        const value = isPromiseLike(result) ? await result : result;
        if (this.#pending.length > 0) await this.#settle();
        output = this.#accept(value, batch);
        const ending = this.#fireInStep("stepEnd", { batch, output }, state.globalStep);
        if (isPromiseLike(ending)) await ending;
        failed = false;
      } finally {
        this.#step = null;
        this.#release(scope, output, failed);
      }
      const pause = this.#pacer.pause();
      if (pause !== undefined) await pause;
      asked = pause === undefined ? this.#pacer.now : performance.now();
    }
    if (state.localStep === batches) return "limited";
    const atEnd = state.localStep === state.stepsPerEpoch && await this.#isExhausted(reader);
    return atEnd ? "exhausted" : "cut";
  }

  #begin(batch: unknown): unknown {
    const { state } = this.#host;
    const { epoch } = state.current;
    state.current = { epoch, step: state.globalStep + 1, localStep: state.localStep + 1 };
    this.#step = { batch };
    this.#sawBatches = true;
    return batch;
  }

  /** Counts the step and detaches what it returned, so that handlers hold no graph. */
  #accept(value: unknown, batch: unknown): StepOutput {
    const { state } = this.#host;
    const output = toStepOutput(value, batchSize(batch));
    const detached = new Map<TensorLike, TensorLike>();
    output.replaceTensors((tensor) => {
      if (tensor.requiresGrad === false) return tensor;
      const known = detached.get(tensor) ?? tensor.detach();
      detached.set(tensor, known);
      return known;
    });
    this.#step = null;
    this.#outputs.replace(output);
    state.output = output;
    state.localStep++;
    state.globalStep++;
    state.samples += output.size;
    return output;
  }

  /** Whether a loader that has given as many batches as it announced is at its end. */
  async #isExhausted(reader: BatchReader<unknown>): Promise<boolean> {
    const scope = this.#openScope();
    const asked = performance.now();
    try {
      return (await reader.next()).done === true;
    } finally {
      this.#host.state.waitSeconds += (performance.now() - asked) / 1000;
      this.#release(scope, null, false);
    }
  }

  #checkNotEmpty(): void {
    const { state } = this.#host;
    if (state.localStep > 0 || !(this.#sawBatches || state.maxEpochs === Infinity)) return;
    const hint = this.#sawBatches
      ? "; a generator can be read only once, so pass an array, a loader or an iterable object"
      : "";
    throw new RangeError(
      `Cannot run epoch ${state.current.epoch}: expected batches, found an empty loader${hint}`,
    );
  }

  /** Waits for the promises of backward handlers; throws the first of their errors. */
  async #settle(): Promise<void> {
    await Promise.all(this.#pending.splice(0));
    if (this.#late.length > 0) throw this.#late.shift();
  }

  #fireInStep(event: EventName, extra: object, count: number): void | Promise<void> {
    const { handlers } = this.#host;
    if (handlers.has(event)) return handlers.fire(event, this.#payload(extra), count);
  }

  #fireWithoutWaiting(event: EventName, loss: TensorLike, count: number): void {
    const { handlers } = this.#host;
    if (!handlers.has(event)) return;
    const payload = this.#payload({ batch: this.#step?.batch, loss });
    for (const result of handlers.fireWithoutWaiting(event, payload, count)) {
      // Caught at once: a rejection that nobody waits for yet would end the process.
      this.#pending.push(Promise.resolve(result).then(() => {}, (late) => this.#fail(late)));
    }
  }

  #fail(error: unknown): void {
    this.#late.push(error);
  }

  /** Fires an event outside steps, in a scope of its own. */
  async #fire(event: EventName, extra: object, count: number): Promise<void> {
    if (!this.#host.handlers.has(event)) return;
    const scope = this.#openScope();
    let failed = true;
    try {
      await this.#host.handlers.fire(event, this.#payload(extra), count);
      failed = false;
    } finally {
      this.#release(scope, null, failed);
    }
  }

  /** Adds to an object of one's own, whose getters stay what they are. */
  #payload(extra: object): object {
    const { engine, state, context } = this.#host;
    return Object.assign(extra, { engine, state, context });
  }

  #openScope(): ScopeLike | undefined {
    return this.#host.context.device?.scope?.();
  }

  /** Closes a scope; after a failure a second error must not hide the first. */
  #release(scope: ScopeLike | undefined, output: StepOutput | null, failed: boolean): void {
    try {
      if (scope !== undefined && output !== null) this.#outputs.take(output, scope);
      scope?.close();
    } catch (error) {
      if (!failed) throw error;
      this.#fail(error);
    }
  }

  /** Fires the ending events, each handler whatever the others do. */
  async #end(errors: unknown[]): Promise<void> {
    const { state, handlers, run } = this.#host;
    const failed = errors.length > 0;
    const error = errors[0];
    const detail = this.#stop?.detail;
    const end = { reason: this.#reason(failed), detail, ...(failed ? { error } : {}) };
    const scope = this.#attempt(() => this.#openScope());
    if (failed) await handlers.fireAll("exception", this.#payload({ error }), run, errors);
    await handlers.fireAll("engineEnd", this.#payload(end), run, errors);
    this.#attempt(() => this.#outputs.release());
    this.#attempt(() => scope?.close());
    this.#attempt(() => this.#batchScope?.close());
    errors.push(...this.#late.splice(0));
    state.output = null;
    state.stopClock();
  }

  /** Runs what must not keep the ending events from firing. */
  #attempt<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #reason(failed: boolean): EndReason {
    if (failed) return "failed";
    if (this.#stop === null) return "done";
    return this.#stop.interrupted ? "interrupted" : "stopped";
  }
}

function combine(errors: readonly unknown[]): AggregateError {
  const first = errors[0] instanceof Error ? errors[0].message : String(errors[0]);
  const more = errors.length === 2 ? "1 more error" : `${errors.length - 1} more errors`;
  return new AggregateError(errors, `${first} (and ${more} while ending)`, { cause: errors[0] });
}
