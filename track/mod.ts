/**
 * Runs as folders: settings, scalars as CSV, events, texts, artifacts and models of one training,
 * in files that a person can read.
 *
 * ```text
 * runs/20260131T235958Z-0f3a-mnist/
 *   meta.json            status, settings, machine, commit, error
 *   logs/scalars.csv     time,step,epoch,samples,key,value
 *   logs/events.jsonl    one JSON object a line
 *   logs/<name>.txt      free text
 *   artifacts/           whatever the program saves, models as safetensors
 *   checkpoints/         what a training continues from, and an index
 *   report.html          all of it on one page, where `writeReport` was called
 * ```
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
  type ChartSeries,
  heatmap,
  type HeatmapOptions,
  lineChart,
  type LineChartOptions,
} from "./charts.ts";
export {
  CheckpointCallback,
  type CheckpointedEngine,
  type CheckpointOptions,
} from "./checkpoint_callback.ts";
export type { CheckpointContent, CheckpointParts } from "./checkpoint_file.ts";
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
export type { GitState, RunEnvironment } from "./environment.ts";
export { denoFileOps, type FileOps, type FolderEntry, type OpenFile } from "./file_ops.ts";
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
export type { ConfusionArtifact } from "./report_files.ts";
export { run, type RunOptions } from "./run.ts";
export {
  captureTraining,
  restoreTraining,
  type ResumableEngine,
  type ResumableModel,
  type TrainingParts,
  type WithPosition,
  type WithState,
  type WithStateDict,
} from "./training_state.ts";
export type { Progress, ScalarRow } from "./scalars.ts";
export { RunSession, type ScalarOptions, type SessionParts } from "./session.ts";
export {
  encodeModel,
  type EncodeModelOptions,
  type ModelFormat,
  type SavableModel,
  type SavableTensor,
} from "./state_dict.ts";
