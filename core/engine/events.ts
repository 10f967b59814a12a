/** The moments of a training loop that handlers can attach to, and what each handler receives. */

import type { Context } from "./context.ts";
import type { Engine } from "./engine.ts";
import type { EngineState } from "./state.ts";
import type { StepOutput } from "./step_output.ts";
import type { TensorLike } from "./tensor_like.ts";

/** The name of a moment in the training loop. */
export type EventName =
  | "engineStart"
  | "epochStart"
  | "stepStart"
  | "backwardStart"
  | "backwardEnd"
  | "stepEnd"
  | "epochEnd"
  | "engineEnd"
  | "exception";

/** The method of a callback that an event calls, e.g. `onStepEnd`. */
export type EventMethod = `on${Capitalize<EventName>}`;

/**
 * The events of an engine, in the order in which a run fires them.
 *
 * When something throws, `exception` comes next, then `engineEnd`; `epochEnd` is left out. Both call
 * every handler, whatever the others do; `loop` throws the first error, or, where there are more, an
 * AggregateError of all of them with the first one as its cause. An error of an `engineEnd` handler
 * comes too late for `exception` and for the reason; `loop` throws it all the same.
 *
 * @example Attach to an event by name
 * ```ts
 * import { Context, Engine, Events } from "@legoml/legoml/core";
 *
 * const engine = new Engine((_engine, batch: number) => ({ batch }), new Context({ model: null }));
 * const seen: number[] = [];
 * engine.on(Events.stepEnd, ({ batch }) => void seen.push(batch));
 * await engine.loop([1, 2], { maxEpochs: 2 });
 * console.assert(seen.join() === "1,2,1,2");
 * ```
 */
export const Events: { readonly [K in EventName]: K } = {
  engineStart: "engineStart",
  epochStart: "epochStart",
  stepStart: "stepStart",
  backwardStart: "backwardStart",
  backwardEnd: "backwardEnd",
  stepEnd: "stepEnd",
  epochEnd: "epochEnd",
  engineEnd: "engineEnd",
  exception: "exception",
};

/** Every event name, in the order in which a run fires them. */
export const EVENT_NAMES: readonly EventName[] = Object.values(Events);

/** The callback method of each event. */
export const EVENT_METHODS: { readonly [K in EventName]: `on${Capitalize<K>}` } = {
  engineStart: "onEngineStart",
  epochStart: "onEpochStart",
  stepStart: "onStepStart",
  backwardStart: "onBackwardStart",
  backwardEnd: "onBackwardEnd",
  stepEnd: "onStepEnd",
  epochEnd: "onEpochEnd",
  engineEnd: "onEngineEnd",
  exception: "onException",
};

/** Why a loop ended: its limit, a call of `stop`, a signal, or an error. */
export type EndReason = "done" | "stopped" | "interrupted" | "failed";

/** What every handler receives. */
export interface EngineEvent<
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> {
  /** The engine that fired the event. */
  readonly engine: Engine;
  /** Counters, latest output and metrics of the engine. */
  readonly state: EngineState<O, K>;
  /** The context that the engine was made with. */
  readonly context: C;
}

/** A handler's argument at `engineStart`. */
export interface EngineStartEvent<
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** What the loop iterates over. */
  readonly loader: unknown;
}

/** A handler's argument at `stepStart`. */
export interface StepStartEvent<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** The batch that the step is about to receive. */
  readonly batch: B;
}

/** A handler's argument at `backwardStart` and `backwardEnd`. */
export interface BackwardEvent<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** The batch of the running step. */
  readonly batch: B;
  /** The scalar that gradients are taken of, still part of its graph. */
  readonly loss: TensorLike;
}

/** A handler's argument at `stepEnd`. */
export interface StepEndEvent<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** The batch that the step received. */
  readonly batch: B;
  /** What the step returned, its tensors detached. */
  readonly output: O;
}

/** A handler's argument at `epochEnd`. */
export interface EpochEndEvent<
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** False when the epoch was cut short by `stop`, a signal, or a limit of steps, samples or time. */
  readonly complete: boolean;
}

/** A handler's argument at `engineEnd`. */
export interface EngineEndEvent<
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** Why the loop ended. */
  readonly reason: EndReason;
  /** The text given to `stop`, or the name of the signal, if any. */
  readonly detail?: string;
  /** The error that ended the loop, when `reason` is "failed". */
  readonly error?: unknown;
}

/** A handler's argument at `exception`. */
export interface ExceptionEvent<
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> extends EngineEvent<O, C, K> {
  /** What was thrown. */
  readonly error: unknown;
}

/** The payload of each event, for the types of batch, output and context, and the names of metrics. */
export interface EventMap<
  B = unknown,
  O extends StepOutput = StepOutput,
  C extends Context = Context,
  K extends string = string,
> {
  /** Once, before the first epoch of a `loop` call. */
  readonly engineStart: EngineStartEvent<O, C, K>;
  /** Before the first batch of an epoch; `state.current.epoch` is its number. */
  readonly epochStart: EngineEvent<O, C, K>;
  /** Before the step function; `state.current` holds the step's numbers. */
  readonly stepStart: StepStartEvent<B, O, C, K>;
  /** Inside `engine.backward(loss)`, before the gradients. */
  readonly backwardStart: BackwardEvent<B, O, C, K>;
  /** Inside `engine.backward(loss)`, after the gradients. */
  readonly backwardEnd: BackwardEvent<B, O, C, K>;
  /** After the step function; the step is counted already. */
  readonly stepEnd: StepEndEvent<B, O, C, K>;
  /** After the last batch of an epoch; a complete epoch is counted already. */
  readonly epochEnd: EpochEndEvent<O, C, K>;
  /** Exactly once, whatever happened. */
  readonly engineEnd: EngineEndEvent<O, C, K>;
  /** When the step, the loader or a handler threw. */
  readonly exception: ExceptionEvent<O, C, K>;
}
