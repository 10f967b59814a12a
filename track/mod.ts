/**
 * Runs as folders: settings, scalars as CSV, events, texts, artifacts and models of one training,
 * in files that a person can read.
 *
 * ```text
 * runs/20260131T235958Z-0f3a-mnist/
 *   meta.json            status, settings, machine, commit, error, segments
 *   logs/scalars.csv     time,segment,step,epoch,samples,key,value
 *   logs/events.jsonl    one JSON object a line
 *   logs/<name>.txt      free text
 *   artifacts/           whatever the program saves, models as safetensors
 *   checkpoints/         what a training continues from, and an index
 *   report.html          all of it on one page, with the option `report` or by `writeReport`
 *   tensorboard/         event files, where `tensorBoardSink` is among the sinks
 * ```
 *
 * `run({ resume })` goes on in the folder of an earlier run, as a further segment of it. Nothing is
 * deleted: where the run goes back to a checkpoint, the rows behind it are superseded, and
 * `currentScalars` gives those of a run that never stopped.
 *
 * @example Record a run and read it back
 * ```ts
 * import { readRun, run } from "@legoml/legoml/track";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const folder = await run({ dir, name: "demo", config: { lr: 0.1 } }, (session) => {
 *   for (let step = 1; step <= 3; step++) {
 *     session.logScalars({ loss: 1 / step }, { step, split: "train" });
 *   }
 *   session.saveArtifact("confusion.json", [[5, 1], [0, 4]]);
 *   return session.dir;
 * });
 * const { meta, scalars } = readRun(folder);
 * assert(meta.status === "completed");
 * assert(scalars.map((row) => row.step).join() === "1,2,3");
 * ```
 *
 * @module
 */

export { TrackingCallback, type TrackingOptions } from "./callback.ts";
export {
  barChart,
  type BarChartOptions,
  type ChartCurve,
  type ChartMark,
  type ChartSeries,
  heatmap,
  type HeatmapOptions,
  lineChart,
  type LineChartOptions,
} from "./charts.ts";
export { CheckpointCallback } from "./checkpoint_callback.ts";
export type { CheckpointContent, CheckpointParts } from "./checkpoint_file.ts";
export type { BestOptions, CheckpointedEngine, CheckpointOptions } from "./checkpoint_options.ts";
export type { CheckpointEntry, CheckpointRecord } from "./checkpoint_record.ts";
export type { BestRule, RetentionOptions } from "./checkpoint_retention.ts";
export {
  type Checkpoint,
  CheckpointStore,
  type CheckpointStoreOptions,
  type SaveOptions,
  type WhichCheckpoint,
} from "./checkpoint_store.ts";
export type { CheckpointArray, CheckpointDType, CheckpointTensor } from "./checkpoint_tensors.ts";
export {
  CheckpointError,
  type CheckpointErrorOptions,
  type CheckpointFault,
  TrackError,
  type TrackErrorOptions,
} from "./errors.ts";
export type { GitState, ProcessOfRun, RunEnvironment } from "./environment.ts";
export { denoFileOps, type FileOps, type FolderEntry, type OpenFile } from "./file_ops.ts";
export { NumericGuardCallback } from "./guard_callback.ts";
export { type NumericFault, NumericFaultError } from "./guard_fault.ts";
export type { GuardPolicy, NumericGuardOptions } from "./guard_options.ts";
export type { FaultOrigin } from "./guard_origin.ts";
export type { GuardForward } from "./guard_replay.ts";
export type { SpikeOptions } from "./guard_spike.ts";
export type { BadValues } from "./guard_values.ts";
export type { JsonValue } from "./json_values.ts";
export { type KeyRename, renameKeys } from "./key_names.ts";
export { configureLogging, type LoggingOptions } from "./log.ts";
export type { RunError, RunMeta, RunStatus } from "./meta.ts";
export {
  type LoadableModel,
  loadModel,
  type LoadModelOptions,
  saveModel,
  type SaveModelOptions,
} from "./model_file.ts";
export { ProfilerCallback, type ProfilerOptions } from "./profiler_callback.ts";
export {
  type EventRow,
  listRuns,
  type ReadOptions,
  readRun,
  readScalars,
  type RunListing,
  type RunRecord,
} from "./read.ts";
export { reportHtml, type ReportOptions, writeReport } from "./report.ts";
export {
  type CalibrationArtifact,
  calibrationArtifact,
  type CalibrationBin,
  type ConfusionArtifact,
  type PredictionSample,
  type PredictionsArtifact,
} from "./report_artifacts.ts";
export { run, type RunOptions } from "./run.ts";
export type { LogLengths } from "./run_logs.ts";
export { CRASHED_AFTER_MS, type RunState, runState } from "./run_state.ts";
export { currentScalars, type Progress, type ScalarRow } from "./scalars.ts";
export type { RunCursor, RunSegment } from "./segments.ts";
export { RunSession } from "./session.ts";
export type { EndStatus, ScalarOptions, SessionParts } from "./session_parts.ts";
export type { RunSink, SinkPlace, SinkRun } from "./sink.ts";
export { type TensorBoardOptions, tensorBoardSink } from "./tensorboard.ts";
export {
  captureTraining,
  restoreTraining,
  type ResumableEngine,
  type ResumableModel,
  type TrainingParts,
} from "./training_state.ts";
export type { TrainingPart, WithPosition, WithState, WithStateDict } from "./training_parts.ts";
export {
  encodeModel,
  type EncodeModelOptions,
  type ModelFormat,
  type SavableModel,
  type SavableTensor,
} from "./state_dict.ts";
