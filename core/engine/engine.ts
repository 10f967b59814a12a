/** The engine: runs a step function over batches and fires events on the way. */

import type { Loader } from "./batches.ts";
import type { AddedCallback, Callback, HandlerResult } from "./callback.ts";
import type { EarlyStoppingCallback, EarlyStoppingOptions } from "./callbacks/early_stopping.ts";
import type { CheckpointChoice } from "./checkpointer.ts";
import type { Context } from "./context.ts";
import type { EmitArguments, EmittedEvent, EventType } from "./event_type.ts";
import type { EventMap, EventName } from "./events.ts";
import type { HandlerOptions } from "./filters.ts";
import type { Subscription } from "./handlers.ts";
import type { LoopOptions } from "./limits.ts";
import type { MetricSource, MonitorName } from "./metric_source.ts";
import { EngineRuntime } from "./runtime.ts";
import type { EngineState, EngineStateJson } from "./state.ts";
import type { OutputOf, StepOutput } from "./step_output.ts";
import type { TensorLike } from "./tensor_like.ts";

/**
 * What an engine runs per batch.
 *
 * It returns a step output, a plain object, nothing, or a promise of one of these.
 */
export type StepFunction<B = unknown, R = unknown, C extends Context = Context> = (
  engine: Engine,
  batch: B,
  context: C,
) => R;

/** Options of an engine. */
export interface EngineOptions<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> {
  /** Objects whose methods the engine calls at its events. */
  callbacks?: readonly AddedCallback<B, O, C, K>[];
  /** How errors and logs call the engine. @default {"engine"} */
  name?: string;
}

/** What must be saved of an engine to continue later. */
export interface EngineSnapshot {
  /** Counters and metrics. */
  state: EngineStateJson;
  /** The state of each callback that has one, by name. */
  callbacks: Record<string, unknown>;
}

/**
 * Runs a step function over batches, fires events, and calls handlers in the order of their phase.
 *
 * One engine trains, another evaluates: what happens to a batch is the step function's business.
 * Each step runs in a scope of the context's device: what it makes is released at its end, except
 * its output, which lives until the next step's, and what was kept. Handlers see detached tensors.
 * Handlers of the other events run in a scope of their own.
 *
 * `B` is the type of a batch, `O` that of the step's output, `C` that of the context. `K` are the
 * names of the metrics: those of the callbacks in the options and of `with`, where they tell them
 * (`MetricSource`). The compiler then refuses any other name in `state.metrics` and in `earlyStop`;
 * where nobody tells names, or some are known only at run time, it takes all.
 */
export interface Engine<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends MetricSource<K> {
  /** How errors and logs call the engine. */
  readonly name: string;
  /** What the step function works with. */
  readonly context: C;
  /** Counters, latest output and metrics. */
  readonly state: EngineState<O, K>;
  /** The callbacks, in the order of registration. */
  readonly callbacks: readonly Callback[];
  /** The names of the metrics that its callbacks write, as far as they tell them. */
  readonly metricKeys: readonly K[];
  /** Whether a `loop` call is under way. */
  readonly running: boolean;

  /**
   * Calls a function at an event.
   *
   * @param event the event's name, e.g. "stepEnd"
   * @param handler receives the event's payload; the engine waits for a promise that it returns
   * @param options when to run: filters on the event's counter, and the phase
   * @returns removes the handler
   * @throws {TypeError} if the event or the phase is unknown
   * @throws {RangeError} if a filter is no number in its range
   * @throws {Error} if the order that it asks for cannot be had
   */
  on<E extends EventName>(
    event: E,
    handler: (event: EventMap<B, O, C, K>[E]) => HandlerResult,
    options?: HandlerOptions,
  ): Subscription;

  /**
   * Calls a function at an event of the program's own.
   *
   * @param event the event, which `emit` fires
   * @param handler receives what was emitted
   * @param options when to run: filters on the number of emissions, and the phase
   * @returns removes the handler
   * @throws {RangeError} if a filter is no number in its range
   * @throws {Error} if the order that it asks for cannot be had
   */
  on<P>(
    event: EventType<P>,
    handler: (event: EmittedEvent<P, O, C, K>) => HandlerResult,
    options?: HandlerOptions,
  ): Subscription;

  /**
   * Fires an event of the program's own: its handlers run by phase, one after the other, and the
   * first error ends that and is thrown here.
   *
   * @param event the event
   * @param payload what its handlers receive as `payload`
   * @returns a promise to wait for where a handler gave one, else nothing
   * @throws {CaptureError} in a step that is being captured, since a replay would not fire it
   */
  emit<P>(event: EventType<P>, ...payload: EmitArguments<P>): HandlerResult;

  /**
   * Adds a callback behind those that are there.
   *
   * @param callback the object whose methods are called
   * @returns removes the callback
   * @throws {TypeError} if it has no event method, a misspelt one, or an unknown phase
   * @throws {Error} if it was added before, or the order that it asks for cannot be had
   */
  add(callback: AddedCallback<B, O, C>): Subscription;

  /**
   * Adds a callback, as `add` does, whose metrics the engine's type knows from then on.
   *
   * @param callback the object whose methods are called
   * @returns this engine; its type has the names of the callback's metrics too
   * @throws {TypeError} if it has no event method, a misspelt one, or an unknown phase
   * @throws {Error} if it was added before, or the order that it asks for cannot be had
   *
   * @example
   * ```ts
   * import { Context, Engine } from "@legoml/legoml/core";
   * import { MetricsCallback, RunningMean } from "@legoml/legoml/metrics";
   * import { assertEquals } from "@std/assert";
   *
   * const engine = new Engine(
   *   (_engine, error: number) => ({ error }),
   *   new Context({ model: null }),
   * ).with(new MetricsCallback([new RunningMean({ field: "error", better: "down" })]));
   * engine.earlyStop({ monitor: "error", patience: 1 }); // any other name does not compile
   * const { epoch, metrics } = await engine.loop([1, 2], { maxEpochs: 5 });
   * assertEquals([epoch, metrics.error], [2, 1.5]);
   * ```
   */
  with<L extends string = never>(
    callback: AddedCallback<B, O, C, L>,
  ): Engine<B, O, C, K | L>;

  /**
   * Whether larger or smaller values of a metric are better, as the callback says that writes it.
   *
   * @param key the name in `state.metrics`
   * @returns "up" or "down", or null where neither is, or no callback tells
   */
  betterOf(key: string): "up" | "down" | null;

  /**
   * Ends loops that no longer get better: adds an `EarlyStoppingCallback`. Where neither `mode` nor
   * `metric` is given, the callback that writes the monitored metric says what is better.
   *
   * @param options the metric, patience and more; the compiler refuses names that no callback writes
   * @returns the callback, which knows the best value
   * @throws {TypeError} if both `mode` and `metric` are given
   * @throws {RangeError} if a number is out of its range
   */
  earlyStop(options: EarlyStopOptions<K>): EarlyStoppingCallback;

  /**
   * Saves a checkpoint now, through the engine's one `Checkpointer`, such as a
   * `CheckpointCallback`. In handlers of "stepEnd" and "epochEnd" it finds everything at rest.
   *
   * @returns what is known of the checkpoint
   * @throws {Error} inside a step, or if no callback is a checkpointer, or two are
   */
  saveCheckpoint(): Promise<unknown>;

  /**
   * Goes on from a checkpoint: puts everything back, so that the next `loop` continues.
   *
   * @param which the latest checkpoint, the best one, or that of a step
   * @returns what is known of the checkpoint, or null where there is none
   * @throws {Error} if the engine runs, or if no callback is a checkpointer, or two are
   */
  resume(which?: CheckpointChoice): Promise<unknown>;

  /**
   * Takes gradients: fires `backwardStart`, calls `loss.backward()`, fires `backwardEnd`.
   *
   * It works without waiting; promises of its handlers are waited for before `stepEnd`.
   *
   * @param loss the scalar to take gradients of
   * @param take how, such as through a `GradientAccumulator`; `loss.backward()` by default
   * @throws {Error} outside a step
   */
  backward(loss: TensorLike, take?: () => void): void;

  /**
   * Asks the running loop to end after the running step; without a running loop nothing happens. In
   * handlers of `exception` and `engineEnd` it comes too late for the reason of the end.
   *
   * @param why kept in `state.stopReason`; the word "interrupted" becomes the reason of the end
   */
  stop(why?: string): void;

  /**
   * Runs epochs over a loader. Counters continue from where they stand: a second call repeats
   * nothing and starts with the next epoch, after a partial epoch with the same number again.
   *
   * The first SIGINT (Ctrl-C) or SIGTERM ends it after the running step: no evaluation starts, and
   * one that runs ends after its step without metrics; `epochEnd` with `complete: false` and
   * `engineEnd` with reason "interrupted" fire, so that checkpoints are written, and the call
   * returns as ever, with `state.stopReason` "interrupted". The second signal ends the process at
   * once. Listeners are there only while the loop runs. A signal is seen between steps: a step that
   * never waits holds it up, and the second one as well.
   *
   * @param loader batches: an array, a data loader, or anything else iterable, also asynchronously
   * @param options how far this call goes, and which signals end it; one epoch where nothing is said
   * @returns the engine's state; its output is released and null by then
   * @throws {TypeError} if the loader cannot be iterated over, or options contradict each other
   * @throws {RangeError} if a limit is out of its range, or if an epoch finds a loader empty that had
   * batches before
   * @throws {Error} if the engine runs already, a handler asks to run beside one that is not there,
   * or signals are named that the platform does not have
   * @throws {AggregateError} if handlers of the ending events threw after a first error
   */
  loop(loader: Loader<B>, options?: LoopOptions): Promise<EngineState<O, K>>;

  /** The handlers of each event with phase and filters, one per line, in the order in which they run. */
  explain(): string;

  /**
   * The counters, the metrics and the callbacks' states, as JSON values.
   *
   * @returns what `restore` takes
   */
  snapshot(): Promise<EngineSnapshot>;

  /**
   * Takes over a snapshot of an engine with the same callbacks.
   *
   * @param snapshot what `snapshot` gave
   * @throws {Error} if the engine runs, or if the callbacks with a state are not the same
   * @throws {TypeError} if a counter is missing
   */
  restore(snapshot: EngineSnapshot): Promise<void>;
}

/** Options of `engine.earlyStop`: those of `EarlyStoppingCallback`, with a name that the engine has. */
export interface EarlyStopOptions<K extends string = string>
  extends Omit<EarlyStoppingOptions, "monitor"> {
  /** The metric in `state.metrics` that it follows, such as "val/accuracy". */
  monitor: MonitorName<K>;
}

/** How an engine is made; the output's type follows from what the step function returns. */
export interface EngineConstructor {
  /**
   * Makes an engine that waits for `loop`.
   *
   * @param step called with the engine, a batch and the context
   * @param context model, optimizer and whatever else the step needs
   * @param options callbacks and a name
   * @throws {TypeError} if `step` is no function or a callback cannot work
   */
  new <B, R, C extends Context, K extends string = never>(
    step: StepFunction<B, R, C>,
    context: C,
    options?: EngineOptions<NoInfer<B>, OutputOf<NoInfer<R>>, NoInfer<C>, K>,
  ): Engine<B, OutputOf<R>, C, K>;
  /** What all engines share. */
  readonly prototype: Engine;
}

/**
 * Makes an engine of a step function and a context.
 *
 * @example Train in three epochs and count the steps
 * ```ts
 * import { Context, Engine } from "@legoml/legoml/core";
 *
 * const context = new Context({ model: { weight: 0 } });
 * const trainer = new Engine((_engine, x: number, { model }) => {
 *   model.weight += 0.5 * (x - model.weight);
 *   return { error: x - model.weight };
 * }, context);
 * trainer.on("stepEnd", ({ output }) => console.assert(output.get("error") < 1));
 * const state = await trainer.loop([1, 1, 1], { maxEpochs: 3 });
 * console.assert(state.globalStep === 9 && state.epoch === 3);
 * ```
 */
// A class cannot infer the output's type from the result's, so constructor and type are apart.
export const Engine: EngineConstructor = EngineRuntime as unknown as EngineConstructor;
