/**
 * The training loop: engine, context, state, events, step outputs and callbacks.
 *
 * It needs no device: whatever has the methods of a tensor will do.
 *
 * @module
 */

export type { Loader } from "./batches.ts";
export {
  type AddedCallback,
  type Callback,
  type HandlerResult,
  type Phase,
  PHASES,
} from "./callback.ts";
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
export { LrMonitorCallback, type LrMonitorOptions } from "./callbacks/lr_monitor.ts";
export {
  LrScheduleCallback,
  type LrScheduleOptions,
  type Schedulable,
} from "./callbacks/lr_schedule.ts";
export type {
  ProgressEnd,
  ProgressEpoch,
  ProgressRecord,
  ProgressStart,
  ProgressStep,
  RecordNumber,
} from "./callbacks/live_json.ts";
export {
  ProgressBarCallback,
  type ProgressBarOptions,
  type ProgressMode,
} from "./callbacks/progress_bar.ts";
export {
  TimingCallback,
  type TimingOptions,
  type TimingReport,
  type TimingRow,
} from "./callbacks/timing.ts";
export type { CheckpointChoice, Checkpointer } from "./checkpointer.ts";
export { Context, type ContextOptions } from "./context.ts";
export {
  type EarlyStopOptions,
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
export type {
  KnownMetrics,
  MetricSource,
  MetricValues,
  MonitorName,
  PrefixedName,
} from "./metric_source.ts";
export type { FieldOf, KnownFields, ObjectField, OutputReader } from "./output_fields.ts";
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
export type { StepScalars } from "./step_scalars.ts";
export type { DeviceLike, ScopeLike, TensorLike } from "./tensor_like.ts";
