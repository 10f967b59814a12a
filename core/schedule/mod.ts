/** Learning rates as functions of progress. */

export * as schedule from "./functions.ts";
export type {
  CosineOptions,
  CosineWarmRestartsOptions,
  CyclicOptions,
  MomentumCycle,
  OneCycleOptions,
} from "./cycle.ts";
export type {
  ConstantOptions,
  ExponentialOptions,
  FactorFunction,
  LinearScheduleOptions,
  MultiStepOptions,
  PolynomialOptions,
  StepScheduleOptions,
  WarmupOptions,
} from "./decay.ts";
export {
  createCyclicSchedule,
  createExponentialSchedule,
  createLinearSchedule,
  KeyframeLR,
  type KeyframeOptions,
} from "./keyframe.ts";
export type {
  Keyframe,
  KeyframeItem,
  PlateauTransition,
  Transition,
  TransitionFunction,
  TransitionPlace,
} from "./keyframe_frames.ts";
export {
  type LrRange,
  type LrRangeModel,
  type LrRangeOptimizer,
  type LrRangeOptions,
  type LrRangeRow,
  lrRangeTest,
} from "./lr_finder.ts";
export {
  Plateau,
  type PlateauOptions,
  WarmupThenPlateau,
  type WarmupThenPlateauOptions,
} from "./plateau.ts";
export type { PlateauMeterOptions } from "./plateau_meter.ts";
export {
  type PreviewOptions,
  type PreviewRow,
  previewSchedule,
  type PreviewSeries,
  type SchedulePreview,
} from "./preview.ts";
export { Schedule, type ScheduleJson, SequentialSchedule } from "./schedule.ts";
export type { ScheduleAt, ScheduleGroup, ScheduleTime } from "./time.ts";
