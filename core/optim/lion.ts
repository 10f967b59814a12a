/** Lion. */

import { lionKernel } from "../../kernels/optimizer_adaptive.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  type GroupOptions,
  needBetas,
  needPositive,
  type OptimizerOptions,
  splitOptions,
  type StepControls,
  type UpdateRule,
} from "./options.ts";

/** Options of Lion. */
export interface LionOptions extends OptimizerOptions {
  /** Learning rate; a third to a tenth of that of AdamW. @default {1e-4} */
  lr: number;
  /**
   * β₁, how much of the average counts beside the gradient, and β₂, how much of it is kept.
   * @default {[0.9, 0.99]}
   */
  betas: readonly [number, number];
  /** λ, pulls parameters to 0, apart from the gradient. @default {0} */
  weightDecay: number;
}

const defaults: LionOptions = { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0 };

const rule: UpdateRule<LionOptions> = {
  name: "Lion",
  countsSteps: () => false,
  fixed: {},
  check({ lr, betas, weightDecay }) {
    needPositive("Lion", "lr", lr);
    needPositive("Lion", "weightDecay", weightDecay);
    needBetas("Lion", betas);
  },
  slots: () => ["exp_avg"],
  phase: () => 0,
  kernel: ({ weightDecay }, span) => lionKernel({ ...span, weightDecay: weightDecay !== 0 }),
  scalars({ lr, betas: [beta1, beta2], weightDecay }) {
    return [lr, 1 - lr * weightDecay, beta1, 1 - beta1, beta2, 1 - beta2];
  },
};

/**
 * Lion (Chen et al., 2023): every element moves by lr,
 * `p ← p − lr·λ·p − lr · sign(β₁m + (1 − β₁)g)`, then `m ← β₂m + (1 − β₂)g`.
 *
 * Formulas and defaults are those of the paper's program 1 and of its authors' PyTorch code, whose
 * slot is `exp_avg` too; one kernel call updates all parameters of a group. The sign of 0 is 0, and
 * so is that of a NaN, which stays in m: use `skipNonFinite`.
 *
 * @example
 * ```ts
 * import { Lion, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new Lion([x], { lr: 0.5 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.item(), 2.5, 1e-6);
 * ```
 */
export class Lion extends Optimizer<LionOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<LionOptions>>,
    options: Partial<LionOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("Lion", defaults, options);
    super(rule, params, own, controls);
  }
}
