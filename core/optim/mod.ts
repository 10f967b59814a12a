/** Optimizers over flat arenas, and clipping of gradients. */

export { Adam, type AdamOptions, AdamW } from "./adam.ts";
export { clipGradNorm, type ClipGradNormOptions, clipGradValue } from "./clip.ts";
export { ParameterAverages } from "./ema.ts";
export type { GradientScale } from "./judge.ts";
export { LossScaler, type LossScalerOptions, type LossScalerStateDict } from "./loss_scaler.ts";
export { Optimizer, type StepOptions } from "./optimizer.ts";
export type {
  EmaOptions,
  GroupOptions,
  OptimizerOptions,
  ParamGroup,
  ParamState,
  StepControls,
  UpdateRule,
  UpdateSpan,
} from "./options.ts";
export { RMSprop, type RMSpropOptions } from "./rmsprop.ts";
export { SGD, type SGDOptions } from "./sgd.ts";
export { type OptimizerStateDict, OptimizerStateError } from "./state_dict.ts";
