/**
 * The training loop: engine, context, state, events, step outputs and callbacks.
 *
 * It needs no device: whatever has the methods of a tensor will do.
 *
 * @module
 */

export type { Loader } from "./batches.ts";
export { type Callback, type HandlerResult, type Phase, PHASES } from "./callback.ts";
export {
  EvalOnEpochEndCallback,
  type EvalOnEpochEndOptions,
} from "./callbacks/eval_on_epoch_end.ts";
export {
  type DirectedMetric,
  EarlyStoppingCallback,
  type EarlyStoppingOptions,
  keepIn,
  type ModelKeeper,
  type Restorable,
} from "./callbacks/early_stopping.ts";
export {
  LrScheduleCallback,
  type LrScheduleOptions,
  type Schedulable,
} from "./callbacks/lr_schedule.ts";
export { ProgressBarCallback, type ProgressBarOptions } from "./callbacks/progress_bar.ts";
export { Context, type ContextOptions } from "./context.ts";
export {
  Engine,
  type EngineConstructor,
  type EngineOptions,
  type EngineSnapshot,
  type StepFunction,
} from "./engine.ts";
export { type EmitArguments, type EmittedEvent, EventType } from "./event_type.ts";
export {
  type BackwardEvent,
  type EndReason,
  type EngineEndEvent,
  type EngineEvent,
  type EngineStartEvent,
  type EpochEndEvent,
  EVENT_METHODS,
  EVENT_NAMES,
  type EventMap,
  type EventMethod,
  type EventName,
  Events,
  type ExceptionEvent,
  type StepEndEvent,
  type StepStartEvent,
} from "./events.ts";
export type { HandlerOptions, Interval } from "./filters.ts";
export { Subscription } from "./handlers.ts";
export type { LoopOptions } from "./limits.ts";
export type { SignalName } from "./signals.ts";
export { type CurrentIndex, EngineState, type EngineStateJson } from "./state.ts";
export {
  DictStepOutput,
  type OutputOf,
  StepOutput,
  type SupervisedFields,
  SupervisedStepOutput,
  toStepOutput,
  type UnsupervisedFields,
  UnsupervisedStepOutput,
} from "./step_output.ts";
export type { DeviceLike, ScopeLike, TensorLike } from "./tensor_like.ts";
