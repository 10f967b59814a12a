/** Options of optimizers: what each group may set, and what is checked. */

import type { DType, Kernel } from "../../kernels/types.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What every optimizer is told. */
export interface OptimizerOptions {
  /** Learning rate, at least 0. */
  lr: number;
}

/** Parameters with options of their own; what is left out is taken from the optimizer. */
export type GroupOptions<O extends OptimizerOptions> = Partial<O> & {
  readonly params: Iterable<Tensor>;
};

/** A group of an optimizer; its options may be changed between steps. */
export type ParamGroup<O extends OptimizerOptions> = O & { readonly params: readonly Tensor[] };

/** What an optimizer knows of one parameter beside its slots. */
export interface ParamState {
  /** Updates so far. */
  steps: number;
  /** Names of the slots that hold something. */
  readonly slots: Set<string>;
}

/** The range that an update covers, as kernels are told. */
export interface UpdateSpan {
  /** Elements, a multiple of 64. */
  readonly count: number;
  /** Type of parameters and gradients. */
  readonly dtype: DType;
}

/** The method of an optimizer, free of parameters and memory. */
export interface UpdateRule<O extends OptimizerOptions> {
  /** The name, for messages. */
  readonly name: string;
  /** Whether a state dict holds the number of steps. */
  readonly countsSteps: boolean;
  /** PyTorch's options that have one meaning here, by their names in a state dict. */
  readonly fixed: Readonly<Record<string, unknown>>;
  /** Checks the options of a group. @throws {RangeError} if one has no meaning */
  check(options: O): void;
  /** Names of the slots, in the order in which the kernel takes them. */
  slots(options: O): readonly string[];
  /** Parameters of a group with equal phase are updated alike. */
  phase(state: ParamState): number;
  /** The kernel of an update. */
  kernel(options: O, span: UpdateSpan): Kernel;
  /** Its run-time numbers, with the steps of the update counted. */
  scalars(options: O, state: ParamState): readonly number[];
}

/** Fails unless an option is a finite number of at least 0. */
export function needPositive(optimizer: string, name: string, value: number): void {
  if (!(typeof value === "number" && value >= 0 && value < Infinity)) {
    throw new RangeError(
      `Cannot use ${optimizer} with ${name} ${value}: expected a finite number of at least 0`,
    );
  }
}

/** Fails unless an option is a finite number. */
export function needFinite(optimizer: string, name: string, value: number): void {
  if (!Number.isFinite(value)) {
    throw new RangeError(`Cannot use ${optimizer} with ${name} ${value}: expected a finite number`);
  }
}

/** Fails unless an option is a number from 0 to below 1. */
export function needFraction(optimizer: string, name: string, value: number): void {
  if (!(typeof value === "number" && value >= 0 && value < 1)) {
    throw new RangeError(
      `Cannot use ${optimizer} with ${name} ${value}: expected a number from 0 to below 1`,
    );
  }
}

/** Fails unless an option is true or false. */
export function needFlag(optimizer: string, name: string, value: boolean): void {
  if (typeof value !== "boolean") {
    throw new RangeError(`Cannot use ${optimizer} with ${name} ${value}: expected true or false`);
  }
}
