/** Optimizers over flat arenas, and clipping of gradients. */

export { Adam, type AdamOptions, AdamW } from "./adam.ts";
export { clipGradNorm, type ClipGradNormOptions, clipGradValue } from "./clip.ts";
export { Optimizer } from "./optimizer.ts";
export type {
  GroupOptions,
  OptimizerOptions,
  ParamGroup,
  ParamState,
  UpdateRule,
  UpdateSpan,
} from "./options.ts";
export { RMSprop, type RMSpropOptions } from "./rmsprop.ts";
export { SGD, type SGDOptions } from "./sgd.ts";
export { type OptimizerStateDict, OptimizerStateError } from "./state_dict.ts";
