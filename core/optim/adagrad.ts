/** Adagrad. */

import { adagradKernel } from "../../kernels/optimizer_adaptive.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  type GroupOptions,
  needPositive,
  type OptimizerOptions,
  splitOptions,
  type StepControls,
  type UpdateRule,
} from "./options.ts";

/** Options of Adagrad. */
export interface AdagradOptions extends OptimizerOptions {
  /** Learning rate. @default {1e-2} */
  lr: number;
  /** d, by which the rate of step t falls to `lr / (1 + (t − 1)·d)`. @default {0} */
  lrDecay: number;
  /** λ, pulls parameters to 0 through the gradient. @default {0} */
  weightDecay: number;
  /** What the sums of squares start with, at least 0; read when a parameter has its first step. @default {0} */
  initialAccumulatorValue: number;
  /** ε, added to the root. @default {1e-10} */
  eps: number;
}

const defaults: AdagradOptions = {
  lr: 1e-2,
  lrDecay: 0,
  weightDecay: 0,
  initialAccumulatorValue: 0,
  eps: 1e-10,
};

const rule: UpdateRule<AdagradOptions> = {
  name: "Adagrad",
  countsSteps: () => true,
  fixed: { maximize: false },
  check({ lr, lrDecay, weightDecay, initialAccumulatorValue, eps }) {
    needPositive("Adagrad", "lr", lr);
    needPositive("Adagrad", "lrDecay", lrDecay);
    needPositive("Adagrad", "weightDecay", weightDecay);
    needPositive("Adagrad", "initialAccumulatorValue", initialAccumulatorValue);
    needPositive("Adagrad", "eps", eps);
  },
  slots: () => ["sum"],
  initial: (_, { initialAccumulatorValue }) => initialAccumulatorValue,
  phase: (state) => state.steps,
  kernel: ({ weightDecay }, span) => adagradKernel({ ...span, weightDecay: weightDecay !== 0 }),
  scalars({ lr, lrDecay, weightDecay, eps }, { steps }, counted) {
    if (counted) return [lr, weightDecay, eps, lrDecay];
    return [lr / (1 + (steps - 1) * lrDecay), weightDecay, eps];
  },
};

/**
 * Adagrad (Duchi, Hazan and Singer, 2011): `s ← s + g²`, `p ← p − lrₜ · g / (√s + ε)` with
 * `lrₜ = lr / (1 + (t − 1)·lrDecay)`; weight decay adds λp to g.
 *
 * Formulas and defaults are those of `torch.optim.Adagrad`; one kernel call updates all parameters
 * of a group. An element without gradient stays as it is, also with eps 0. Here the state of a
 * parameter begins with its first step, in PyTorch with the optimizer.
 *
 * @example
 * ```ts
 * import { Adagrad, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new Adagrad([x], { lr: 0.5 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.item(), 2.5, 1e-6);
 * ```
 */
export class Adagrad extends Optimizer<AdagradOptions> {
  /**
   * Moves the parameters into flat memory.
   *
   * @param params leaves of dtype f32 or f16, or groups of them with options of their own
   * @param options options of all groups that do not set their own, and what the optimizer does
   * beside its method
   * @throws {RangeError} if an option has no meaning, or there are no parameters
   * @throws {TypeError} if a parameter cannot be optimized
   */
  constructor(
    params: Iterable<Tensor> | Iterable<GroupOptions<AdagradOptions>>,
    options: Partial<AdagradOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("Adagrad", defaults, options);
    super(rule, params, own, controls);
  }
}
