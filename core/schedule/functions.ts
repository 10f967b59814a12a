/** Makers of schedules, as the namespace `schedule` offers them. */

export {
  constant,
  exponential,
  lambda,
  linear,
  multiStep,
  polynomial,
  step,
  warmup,
} from "./decay.ts";
export { cosine, cosineWarmRestarts, cyclic, oneCycle } from "./cycle.ts";
export { chained, fromJSON, sequential } from "./json.ts";
