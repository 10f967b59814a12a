/** Options of optimizers: what each group may set, and what is checked. */

import type { DType, Kernel, Operand } from "../../kernels/types.ts";
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

/** What comes before the kernel of an update has to work with: a range of parameters. */
export interface UpdatePass<O extends OptimizerOptions> {
  /** The options, and all parameters of the group. */
  readonly group: ParamGroup<O>;
  /** The parameters of the range. */
  readonly params: readonly Tensor[];
  /** The range as kernels are told; the pass itself keeps no average. */
  readonly span: UpdateSpan;
  /** The verdict on the step: norm, factor, and 0 where it is skipped; null where there is none. */
  readonly verdict: Operand<unknown> | null;
  /** The number of the first parameter in its memory. */
  readonly first: number;
  /** Where each parameter starts in its memory, in blocks of 64 elements, u32. */
  readonly blocks: Operand<unknown>;
  /** Counts of skipped steps, i32 for each parameter of the memory; null where none may be. */
  readonly skips: Operand<unknown> | null;
  /** The gradients of the range, flat. */
  readonly gradients: Operand<unknown>;
  /** The values of the range, flat. */
  readonly values: Operand<unknown>;
  /** What is known of the first parameter, as of all of them. */
  readonly state: ParamState;
  /** A slot of the range; a slot of single numbers whole. */
  slot(name: string): Operand<unknown>;
  /** New f32 memory that ends with the update. */
  scratch(count: number): Tensor;
  /** The part of scratch memory of the size of the range that belongs to parameter `k` of `params`. */
  view(flat: Tensor, k: number): Tensor;
  /** The first block of parameter `k` of `params`, counted from the start of the range. */
  blockOf(k: number): number;
  /** Runs a kernel; a captured step asks for its numbers anew, and whether it is still the same. */
  run(call: PassCall): void;
}

/** A kernel that runs before that of an update. */
export interface PassCall {
  /** What runs. */
  readonly kernel: () => Kernel;
  /** What it reads; null ones are left out. */
  readonly inputs: readonly (Operand<unknown> | null)[];
  /** What it writes. */
  readonly outputs: readonly Operand<unknown>[];
  /** Its run-time numbers. @default {none} */
  readonly scalars?: () => readonly number[];
}

/** What the kernel of an update takes after what came before it. */
export interface PreparedUpdate {
  /** Its inputs before the verdict. */
  readonly inputs: readonly Operand<unknown>[];
  /** Its slots. */
  readonly slots: readonly string[];
}

/** The method of an optimizer, free of parameters and memory. */
export interface UpdateRule<O extends OptimizerOptions> {
  /** The name, for messages. */
  readonly name: string;
  /** Whether a state dict holds the number of steps. */
  countsSteps(options: O): boolean;
  /** Slots that hold one number for a parameter, and not one for each of its elements. @default {[]} */
  readonly single?: readonly string[];
  /** PyTorch's options that have one meaning here, by their names in a state dict. */
  readonly fixed: Readonly<Record<string, unknown>>;
  /** Checks the options of a group. @throws {RangeError} if one has no meaning */
  check(options: O): void;
  /** Checks the parameters of a group. @throws {ShapeError} if the method has no meaning for one */
  accepts?(group: ParamGroup<O>): void;
  /** What a new slot holds. @default {0} */
  initial?(slot: string, options: O): number;
  /** Names of the slots, in the order in which the kernel takes them. */
  slots(options: O): readonly string[];
  /** Parameters of a group with equal phase are updated alike. */
  phase(state: ParamState): number;
  /**
   * Does what comes before the kernel of an update, such as norms of whole parameters, and says
   * what that kernel reads of it.
   */
  prepare?(pass: UpdatePass<O>): PreparedUpdate;
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

/** Fails unless β₁ and β₂ are two numbers from 0 to below 1. */
export function needBetas(optimizer: string, betas: readonly [number, number]): void {
  if (!Array.isArray(betas) || betas.length !== 2) {
    throw new RangeError(`Cannot use ${optimizer} with betas ${betas}: expected two numbers`);
  }
  betas.forEach((beta, i) => needFraction(optimizer, `betas[${i}]`, beta));
}

/** The logarithm of a β as counted updates take it; for 0 a number that is far enough below. */
export function finiteLog(beta: number): number {
  return Math.max(-1e30, Math.log(beta));
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
  rule.accepts?.(group);
  return group;
}
