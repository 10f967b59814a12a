/** Adamax. */

import { adamaxKernel } from "../../kernels/optimizer_adaptive.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  finiteLog,
  type GroupOptions,
  needBetas,
  needPositive,
  type OptimizerOptions,
  splitOptions,
  type StepControls,
  type UpdateRule,
} from "./options.ts";

/** Options of Adamax. */
export interface AdamaxOptions extends OptimizerOptions {
  /** Learning rate. @default {2e-3} */
  lr: number;
  /**
   * β₁ and β₂, how much of the average of gradients and of their largest size is kept.
   * @default {[0.9, 0.999]}
   */
  betas: readonly [number, number];
  /** ε, added to the size of the gradient. @default {1e-8} */
  eps: number;
  /** λ, pulls parameters to 0 through the gradient. @default {0} */
  weightDecay: number;
}

const defaults: AdamaxOptions = { lr: 2e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 };

const rule: UpdateRule<AdamaxOptions> = {
  name: "Adamax",
  countsSteps: () => true,
  fixed: { maximize: false },
  check({ lr, betas, eps, weightDecay }) {
    needPositive("Adamax", "lr", lr);
    needPositive("Adamax", "eps", eps);
    needPositive("Adamax", "weightDecay", weightDecay);
    needBetas("Adamax", betas);
  },
  slots: () => ["exp_avg", "exp_inf"],
  phase: (state) => state.steps,
  kernel: ({ weightDecay }, span) => adamaxKernel({ ...span, weightDecay: weightDecay !== 0 }),
  scalars({ lr, betas: [beta1, beta2], eps, weightDecay }, { steps }, counted) {
    const fixed = [weightDecay, eps, beta1, 1 - beta1, beta2];
    return counted ? [lr, ...fixed, finiteLog(beta1)] : [lr / (1 - beta1 ** steps), ...fixed];
  },
};

/**
 * Adamax (Kingma and Ba, 2015, section 7.1): `m ← β₁m + (1 − β₁)g`, `w ← max(β₂w, |g| + ε)`,
 * `p ← p − lr / (1 − β₁ᵗ) · m / w`; weight decay adds λp to g.
 *
 * Formulas and defaults are those of `torch.optim.Adamax`; one kernel call updates all parameters of
 * a group. An element whose m is 0 stays as it is, also with eps 0; a NaN stays in w.
 *
 * @example
 * ```ts
 * import { Adamax, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new Adamax([x], { lr: 0.5 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.item(), 2.5, 1e-6);
 * ```
 */
export class Adamax extends Optimizer<AdamaxOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<AdamaxOptions>>,
    options: Partial<AdamaxOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("Adamax", defaults, options);
    super(rule, params, own, controls);
  }
}
