/** Optimizers over flat arenas, and clipping of gradients. */

export {
  GradientAccumulator,
  type GradientAccumulatorOptions,
  type GradientAccumulatorStateDict,
} from "./accumulator.ts";
export { Adadelta, type AdadeltaOptions } from "./adadelta.ts";
export { Adagrad, type AdagradOptions } from "./adagrad.ts";
export { Adam, type AdamOptions, AdamW } from "./adam.ts";
export { Adamax, type AdamaxOptions } from "./adamax.ts";
export { clipGradNorm, type ClipGradNormOptions, clipGradValue } from "./clip.ts";
export { ParameterAverages } from "./ema.ts";
export type { GradientScale } from "./judge.ts";
export { LAMB, type LAMBOptions } from "./lamb.ts";
export { Lion, type LionOptions } from "./lion.ts";
export { LossScaler, type LossScalerOptions, type LossScalerStateDict } from "./loss_scaler.ts";
export { Muon, type MuonOptions } from "./muon.ts";
export { NAdam, type NAdamOptions } from "./nadam.ts";
export { Optimizer, type StepOptions } from "./optimizer.ts";
export type {
  EmaOptions,
  GroupOptions,
  OptimizerOptions,
  ParamGroup,
  ParamState,
  PassCall,
  PreparedUpdate,
  StepControls,
  UpdatePass,
  UpdateRule,
  UpdateSpan,
} from "./options.ts";
export { RMSprop, type RMSpropOptions } from "./rmsprop.ts";
export { SGD, type SGDOptions } from "./sgd.ts";
export { type OptimizerStateDict, OptimizerStateError } from "./state_dict.ts";
