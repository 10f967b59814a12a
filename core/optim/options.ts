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
  /** Updates so far; with a count of skipped ones on the device, those too. */
  steps: number;
  /** Parameters with equal history have taken and skipped the same steps. */
  history: number;
  /** Names of the slots that hold something. */
  readonly slots: Set<string>;
}

/** The range that an update covers, as kernels are told. */
export interface UpdateSpan {
  /** Elements, a multiple of 64. */
  readonly count: number;
  /** Type of parameters and gradients. */
  readonly dtype: DType;
  /** Whether gradients are multiplied by a factor that lies on the device. */
  readonly scaled?: boolean;
  /** Whether the device may skip the step, and knows how many steps there were. */
  readonly counted?: boolean;
  /** What moving average of the parameters is kept. */
  readonly averaged?: "constant" | "warming";
}

/** What an optimizer does beside its method; the same for all of its groups. */
export interface StepControls {
  /**
   * Largest norm of all gradients together; they count as if they had been scaled down to it.
   * @default {null, no limit}
   */
  readonly maxGradNorm?: number | null;
  /**
   * Whether a step with a NaN or infinite gradient changes nothing, slots and averages included, and
   * does not count. The device decides that by itself. @default {false}
   */
  readonly skipNonFinite?: boolean;
  /** Moving averages of the parameters. @default {null, none} */
  readonly ema?: EmaOptions | null;
}

/** How parameters are averaged. */
export interface EmaOptions {
  /** d in `average ← d · average + (1 − d) · parameter`, from 0 to below 1. */
  readonly decay: number;
  /** Whether step t takes `min(d, (1 + t) / (10 + t))` for d. @default {false} */
  readonly warmup?: boolean;
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
  /**
   * Its run-time numbers, with the steps of the update counted; in counted updates the device works
   * out what depends on the number of the step.
   */
  scalars(options: O, state: ParamState, counted: boolean): readonly number[];
}

/**
 * The options of all groups, with the defaults filled in, and those of the optimizer as a whole.
 *
 * @throws {RangeError} naming options that are neither
 */
export function splitOptions<O extends OptimizerOptions>(
  optimizer: string,
  defaults: O,
  options: Partial<O> & StepControls,
): [O, StepControls] {
  const { maxGradNorm = null, skipNonFinite = false, ema = null, ...own } = options;
  const unknown = Object.keys(own).filter((name) => !Object.hasOwn(defaults, name));
  if (unknown.length > 0) {
    throw new RangeError(
      `Cannot use ${optimizer} with unknown options ${unknown.join(", ")}: expected some of ` +
        [...Object.keys(defaults), "maxGradNorm", "skipNonFinite", "ema"].join(", "),
    );
  }
  if (maxGradNorm !== null) needLimit(optimizer, maxGradNorm);
  needFlag(optimizer, "skipNonFinite", skipNonFinite);
  if (ema !== null) {
    needFraction(optimizer, "ema.decay", ema.decay);
    needFlag(optimizer, "ema.warmup", ema.warmup ?? false);
  }
  return [{ ...defaults, ...own as Partial<O> }, { maxGradNorm, skipNonFinite, ema }];
}

/** Fails unless the largest norm is a number of at least 0. */
export function needLimit(optimizer: string, maxGradNorm: number): void {
  if (!(typeof maxGradNorm === "number" && maxGradNorm >= 0)) {
    throw new RangeError(
      `Cannot use ${optimizer} with maxGradNorm ${maxGradNorm}: expected a number of at least 0`,
    );
  }
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

/**
 * A group with the options filled in that it does not set.
 *
 * @throws {TypeError} if it has no list of parameters
 * @throws {RangeError} if an option is unknown or has no meaning
 */
export function groupOf<O extends OptimizerOptions>(
  rule: UpdateRule<O>,
  defaults: O,
  { params, ...own }: GroupOptions<O>,
): ParamGroup<O> {
  if (typeof params?.[Symbol.iterator] !== "function") {
    throw new TypeError(
      `Cannot make ${rule.name} of a group without params: expected tensors under "params"`,
    );
  }
  const unknown = Object.keys(own).filter((name) => !Object.hasOwn(defaults, name));
  if (unknown.length > 0) {
    throw new RangeError(
      `Cannot use ${rule.name} with unknown options ${unknown.join(", ")} in a group: expected ` +
        `some of ${Object.keys(defaults).join(", ")}`,
    );
  }
  const group = { ...defaults, ...own, params: [...params] };
  rule.check(group);
  return group;
}
