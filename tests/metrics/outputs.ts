/** Step outputs of plain numbers, for tests of metrics. */

import { type Device, tensor } from "../../core/mod.ts";
import { DictStepOutput, type StepOutput } from "../../core/engine/mod.ts";

/** Predictions, targets and loss as tensors of a device. */
export interface Numbers {
  predictions?: number[] | number[][];
  targets?: number[];
  loss?: number;
  count?: number;
}

/** An output with i32 targets. */
export function outputOf(device: Device, numbers: Numbers): StepOutput {
  const { predictions, targets, loss, count } = numbers;
  return new DictStepOutput({
    predictions: predictions && tensor(predictions, { device }),
    targets: targets && tensor(targets, { device, dtype: "i32" }),
    loss: loss === undefined ? undefined : tensor(loss, { device }),
    count,
  });
}

/** Numbers between 0 and 1 that only depend on the seed. */
export function numbersFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
