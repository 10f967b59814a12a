/** What `new Engine` makes: keeps handlers and callbacks, and starts loops. */

import { currentCapture } from "../backend/capture.ts";
import { checkLoader, type Loader } from "./batches.ts";
import { type Callback, callbackName, checkCallback, type HandlerResult } from "./callback.ts";
import { EarlyStoppingCallback } from "./callbacks/early_stopping.ts";
import { type CheckpointChoice, checkpointerAmong } from "./checkpointer.ts";
import type { Context } from "./context.ts";
import type {
  EarlyStopOptions,
  Engine,
  EngineOptions,
  EngineSnapshot,
  StepFunction,
} from "./engine.ts";
import { type EmitArguments, type EmittedEvent, EventType } from "./event_type.ts";
import { EVENT_METHODS, EVENT_NAMES, type EventMap, type EventName } from "./events.ts";
import type { HandlerOptions } from "./filters.ts";
import { type AnyHandler, HandlerTable, Subscription } from "./handlers.ts";
import { checkLoopOptions, type LoopOptions } from "./limits.ts";
import { Loop } from "./loop.ts";
import { betterAmong, metricKeysOf } from "./metric_source.ts";
import { listenToSignals } from "./signals.ts";
import { EngineState } from "./state.ts";
import { describeValue, type TensorLike } from "./tensor_like.ts";

/** The engine behind the public constructor; it knows only the general types. */
export class EngineRuntime implements Engine {
  readonly name: string;
  readonly context: Context;
  readonly state: EngineState = new EngineState();
  #step: (batch: unknown) => unknown;
  #handlers = new HandlerTable(this.state);
  #callbacks: Callback[] = [];
  #loop: Loop | null = null;
  #runs = 0;
  #told = false;

  constructor(
    step: StepFunction,
    context: Context,
    options: EngineOptions = {},
  ) {
    if (typeof step !== "function") {
      throw new TypeError(`Cannot make an engine: expected a step function, found ${typeof step}`);
    }
    this.name = options.name ?? "engine";
    this.context = context;
    this.#step = (batch) => this.#choose(step)(this, batch, context);
    for (const callback of options.callbacks ?? []) this.add(callback);
  }

  get callbacks(): readonly Callback[] {
    return this.#callbacks;
  }

  get metricKeys(): readonly string[] {
    return metricKeysOf(this.#callbacks);
  }

  get running(): boolean {
    return this.#loop !== null;
  }

  betterOf(key: string): "up" | "down" | null {
    return betterAmong(this.#callbacks, key);
  }

  on<E extends EventName>(
    event: E,
    handler: (event: EventMap[E]) => HandlerResult,
    options?: HandlerOptions,
  ): Subscription;
  on<P>(
    event: EventType<P>,
    handler: (event: EmittedEvent<P>) => HandlerResult,
    options?: HandlerOptions,
  ): Subscription;
  on(
    event: unknown,
    handler: (event: never) => HandlerResult,
    options: HandlerOptions = {},
  ): Subscription {
    const call = handler as AnyHandler;
    return event instanceof EventType
      ? this.#handlers.addOwn(event.name, call, options)
      : this.#handlers.add(event as EventName, call, options);
  }

  emit<P>(event: EventType<P>, ...[payload]: EmitArguments<P>): HandlerResult {
    if (!(event instanceof EventType)) {
      throw new TypeError(
        `Cannot emit: expected an EventType, found ${describeValue(event)}; the loop fires its own`,
      );
    }
    currentCapture()?.refuse("emit an event", "a replay would not emit it again");
    const { state, context } = this;
    const count = (state.emitted[event.name] ?? 0) + 1;
    state.emitted[event.name] = count;
    if (!this.#handlers.has(event.name)) return;
    return this.#handlers.fire(event.name, { engine: this, state, context, payload }, count);
  }

  add(callback: Callback): Subscription {
    checkCallback(callback);
    const name = callbackName(callback);
    if (this.#callbacks.includes(callback)) {
      throw new Error(`Cannot add callback "${name}": expected a new one, found it added already`);
    }
    const { phase, runAfter, runBefore } = callback;
    const subscriptions: Subscription[] = [];
    try {
      for (const event of EVENT_NAMES) {
        if (callback[EVENT_METHODS[event]] === undefined) continue;
        const call: AnyHandler = (payload) => callback[EVENT_METHODS[event]]?.(payload as never);
        subscriptions.push(this.#handlers.add(event, call, { phase, name, runAfter, runBefore }));
      }
    } catch (error) {
      for (const subscription of subscriptions) subscription.remove();
      throw error;
    }
    this.#callbacks.push(callback);
    return new Subscription(() => {
      for (const subscription of subscriptions) subscription.remove();
      this.#callbacks = this.#callbacks.filter((other) => other !== callback);
    });
  }

  with(callback: Callback): Engine {
    this.add(callback);
    return this;
  }

  earlyStop(options: EarlyStopOptions): EarlyStoppingCallback {
    const callback = new EarlyStoppingCallback(options);
    this.add(callback);
    return callback;
  }

  async saveCheckpoint(): Promise<unknown> {
    const checkpointer = checkpointerAmong(this.#callbacks, `save a checkpoint of ${this.name}`);
    if (this.#loop?.inStep) {
      throw new Error(
        `Cannot save a checkpoint of ${this.name}: expected its step to be complete, found it running`,
      );
    }
    return await checkpointer.save(this);
  }

  async resume(which: CheckpointChoice = "last"): Promise<unknown> {
    const checkpointer = checkpointerAmong(this.#callbacks, `resume ${this.name}`);
    if (this.running) {
      throw new Error(`Cannot resume ${this.name}: expected it to be idle, found it running`);
    }
    return await checkpointer.resume(this, which);
  }

  backward(loss: TensorLike, take?: () => void): void {
    if (this.#loop === null) {
      throw new Error("Cannot run engine.backward: expected to be inside a step, found none");
    }
    this.#loop.backward(loss, take);
  }

  stop(why?: string): void {
    this.#loop?.stop(why);
  }

  async loop(
    loader: Loader<unknown>,
    options: LoopOptions = {},
  ): Promise<EngineState> {
    if (this.#loop !== null) {
      throw new Error(
        `Cannot start ${this.name}: expected it to be idle, found it running; use a second engine`,
      );
    }
    checkLoader(loader);
    checkLoopOptions(options);
    const { context, state } = this;
    const loop = new Loop(
      {
        engine: this,
        state,
        context,
        handlers: this.#handlers,
        run: ++this.#runs,
        step: this.#step,
      },
      loader,
      options,
    );
    using _ = listenToSignals(options.signals ?? true, (signal) => loop.interrupt(signal));
    this.#loop = loop;
    try {
      await loop.run();
    } finally {
      this.#loop = null;
    }
    return state;
  }

  explain(): string {
    return this.#handlers.explain();
  }

  async snapshot(): Promise<EngineSnapshot> {
    const callbacks: Record<string, unknown> = {};
    for (const [name, callback] of this.#named()) callbacks[name] = await callback.state?.();
    return { state: this.state.toJSON(), callbacks };
  }

  async restore(snapshot: EngineSnapshot): Promise<void> {
    if (this.running) throw new Error(`Cannot restore ${this.name}: expected it to be idle`);
    const named = this.#named();
    const here = [...named.keys()].sort().join(", ") || "none";
    const there = Object.keys(snapshot.callbacks).sort().join(", ") || "none";
    if (here !== there) {
      throw new Error(
        `Cannot restore ${this.name}: expected states of the callbacks ${here}, found ${there}`,
      );
    }
    this.state.restore(snapshot.state);
    for (const [name, callback] of named) await callback.load?.(snapshot.callbacks[name]);
  }

  /** A captured step fires no events while it is replayed, so it runs uncaptured where somebody listens to them. */
  #choose(step: StepFunction): StepFunction {
    const { eager } = step as { eager?: StepFunction };
    const heard = this.#handlers.has("backwardStart") || this.#handlers.has("backwardEnd");
    if (eager === undefined || !heard) return step;
    if (!this.#told) {
      this.#told = true;
      console.warn(
        `${this.name}: the step runs uncaptured, since a callback listens to its backward events`,
      );
    }
    return eager;
  }

  #named(): Map<string, Callback> {
    const named = new Map<string, Callback>();
    for (const callback of this.#callbacks) {
      if (callback.state === undefined) continue;
      const name = callbackName(callback);
      let key = name;
      for (let n = 2; named.has(key); n++) key = `${name} ${n}`;
      named.set(key, callback);
    }
    return named;
  }
}
