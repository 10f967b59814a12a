/** What a guard found, in numbers and in words. */

import { getConfig, getLogger } from "@logtape/logtape";
import type { FaultOrigin } from "./guard_origin.ts";
import type { BadValues } from "./guard_values.ts";

/** What a `NumericGuardCallback` found. */
export interface NumericFault {
  /**
   * What was noticed: a loss that is no finite number, gradients or weights with such values, or a
   * loss far above those before it.
   */
  readonly kind: "loss" | "gradient" | "weights" | "spike";
  /** The number of the step, from 1; 0 where it was so before the first one. */
  readonly step: number;
  /** The number of its epoch. */
  readonly epoch: number;
  /** The loss of the step; null where it had none. */
  readonly loss: number | null;
  /** Where it came from; null where that was not looked for, or not found. */
  readonly origin: FaultOrigin | null;
  /**
   * Whether the origin was found with the weights that the step had; else with those after it, which
   * the step itself may have spoilt.
   */
  readonly reproduced: boolean;
  /** What the batch says of its samples by `indices`: the numbers of those with bad values. */
  readonly sampleIds: readonly number[];
  /** All of it as one sentence. */
  readonly message: string;
}

/** Thrown by a guard: the numbers of a training went bad. */
export class NumericFaultError extends Error {
  /** The name of the class. */
  override readonly name = "NumericFaultError";
  /** What was found. */
  readonly fault: NumericFault;

  /**
   * Made by the guard.
   *
   * @param message what happened
   * @param fault what was found
   */
  constructor(message: string, fault: NumericFault) {
    super(message);
    this.fault = fault;
  }
}

const MOST_SAMPLES = 8;

/** What was noticed, such as "Loss is NaN at step 12 (epoch 2)". */
export function noticed({ kind, step, epoch, loss }: Omit<NumericFault, "message">): string {
  const what = kind === "loss"
    ? `Loss is ${loss}`
    : kind === "gradient"
    ? "Gradients are not finite"
    : "Weights are not finite";
  return `${what} ${step === 0 ? "before the first step" : `at step ${step} (epoch ${epoch})`}`;
}

/** Where it came from, as the rest of the sentence. */
export function originWords(
  { origin, reproduced, sampleIds }: Omit<NumericFault, "message">,
): string {
  if (origin === null) return "";
  const { where, parameter, samples } = origin;
  const part = origin.name === "" ? `the model itself (${origin.type})` : `"${origin.name}"`;
  const place = origin.type === null || origin.name === "" ? part : `${part} (${origin.type})`;
  const first = {
    data: `the batch itself is bad: in ${place} ${amount(origin)}`,
    output: `the output of ${place} is the first that is bad: ${amount(origin)}`,
    loss: `the outputs of all layers are finite, so it is the loss function: ${amount(origin)}`,
    gradient: origin.name === null
      ? `all outputs and the loss are finite, its gradient is not: ${amount(origin)}`
      : `all outputs are finite, the gradient at ${place} is the first that is not${
        parameter === null ? `: ${amount(origin)}` : ""
      }`,
  }[where];
  const own = where === "gradient" ? "the gradient of its parameter" : "its parameter";
  const details = [
    first,
    parameter === null ? "" : `${own} "${parameter.name}": ${amount(parameter)}`,
    samples.length === 0 ? "" : `samples of the batch: ${listed(samples)}`,
    sampleIds.length === 0 ? "" : `their indices: ${listed(sampleIds)}`,
    reproduced
      ? ""
      : "found with the weights after the step, as those before it gave finite numbers",
  ];
  return `: ${details.filter((detail) => detail !== "").join("; ")}`;
}

/** How much is bad, and how the rest is. */
function amount({ bad, count, min, max }: BadValues): string {
  const share = `${bad} of ${count} values are NaN or infinite (${percent(bad / count)})`;
  return min === null ? share : `${share}, the others from ${brief(min)} to ${brief(max!)}`;
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(3))}%`;
}

function brief(value: number): string {
  return `${Number(value.toPrecision(4))}`;
}

function listed(numbers: readonly number[]): string {
  const more = numbers.length - MOST_SAMPLES;
  return `${numbers.slice(0, MOST_SAMPLES).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** Warns through LogTape, or on the console where the program has not configured it. */
export function warn(message: string): void {
  if (getConfig() === null) console.warn(`legoml: ${message}`);
  else getLogger(["legoml", "track"]).warn("{message}", { message });
}
