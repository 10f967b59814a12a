/**
 * The tape: each recorded op leaves a node with its inputs and a rule that turns the gradient of its result into gradients
 * of its inputs. Rules are written in tensor ops, so they can be recorded and differentiated themselves.
 */

import { isFloat } from "../../kernels/types.ts";
import type { Tensor } from "./tensor.ts";

/** Gradients of the inputs of an op from the gradient of its result; null where none flows. */
export type BackwardRule = (gradOutput: Tensor) => readonly (Tensor | null)[];

/** One op on the tape. */
export interface TapeNode {
  /** Grows with every op. */
  readonly id: number;
  /** Name for messages. */
  readonly op: string;
  /** Where gradients flow to. */
  readonly inputs: readonly Tensor[];
  /** Tensors whose values the rule reads, with their versions when the op ran. */
  readonly saved: readonly (readonly [Tensor, number])[];
  /** Null after backward() released it. */
  rule: BackwardRule | null;
}

let enabled = true;
let nextId = 0;

/** True where ops are recorded. */
export function isGradEnabled(): boolean {
  return enabled;
}

/** Sets whether ops are recorded; disposing the result (`using`) restores what was before. */
export function setGradEnabled(value: boolean): Disposable {
  const previous = enabled;
  enabled = value;
  return {
    [Symbol.dispose]: () => {
      enabled = previous;
    },
  };
}

/** Stops recording until the result is disposed: `using _ = noGrad()`. */
export function noGrad(): Disposable;
/** Runs a synchronous function without recording. */
export function noGrad<T>(fn: () => T): T;
export function noGrad<T>(fn?: () => T): T | Disposable {
  const guard = setGradEnabled(false);
  if (fn === undefined) return guard;
  try {
    return fn();
  } finally {
    guard[Symbol.dispose]();
  }
}

/**
 * Puts an op on the tape, if recording is on, an input requires a gradient and the result is a float.
 *
 * @param op name for messages
 * @param output the result, fresh and not shared
 * @param inputs tensors that gradients flow to, in the order of the rule's results
 * @param rule the gradient rule
 * @param saved tensors whose values the rule reads
 * @returns the output
 */
export function record(
  op: string,
  output: Tensor,
  inputs: readonly Tensor[],
  rule: BackwardRule,
  saved: readonly Tensor[] = [],
): Tensor {
  // Comparisons and integers have no gradient, so the tape ends at them.
  if (enabled && isFloat(output.dtype) && inputs.some((t) => t.requiresGrad)) {
    const versions = saved.map((t) => [t, t.storage.version] as const);
    output.node = { id: nextId++, op, inputs, rule, saved: versions };
  }
  return output;
}
