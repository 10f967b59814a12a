/** RMSprop. */

import { rmspropKernel } from "../../kernels/optimizer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  type GroupOptions,
  needFlag,
  needPositive,
  type OptimizerOptions,
  splitOptions,
  type StepControls,
  type UpdateRule,
} from "./options.ts";

/** Options of RMSprop. */
export interface RMSpropOptions extends OptimizerOptions {
  /** Learning rate. @default {1e-2} */
  lr: number;
  /** α, how much of the averages is kept. @default {0.99} */
  alpha: number;
  /** ε, added to the root. @default {1e-8} */
  eps: number;
  /** λ, pulls parameters to 0 through the gradient. @default {0} */
  weightDecay: number;
  /** μ, how much of the last step is kept. @default {0} */
  momentum: number;
  /**
   * Divide by the standard deviation of the gradient instead of its root mean square.
   * @default {false}
   */
  centered: boolean;
}

const defaults: RMSpropOptions = {
  lr: 1e-2,
  alpha: 0.99,
  eps: 1e-8,
  weightDecay: 0,
  momentum: 0,
  centered: false,
};

const rule: UpdateRule<RMSpropOptions> = {
  name: "RMSprop",
  countsSteps: () => true,
  fixed: { maximize: false },
  check({ lr, alpha, eps, weightDecay, momentum, centered }) {
    needPositive("RMSprop", "lr", lr);
    needPositive("RMSprop", "alpha", alpha);
    needPositive("RMSprop", "eps", eps);
    needPositive("RMSprop", "weightDecay", weightDecay);
    needPositive("RMSprop", "momentum", momentum);
    needFlag("RMSprop", "centered", centered);
  },
  slots: ({ momentum, centered }) => [
    "square_avg",
    ...(momentum > 0 ? ["momentum_buffer"] : []),
    ...(centered ? ["grad_avg"] : []),
  ],
  phase: () => 0,
  kernel({ weightDecay, momentum, centered }, span) {
    const decays = weightDecay !== 0;
    return rmspropKernel({ ...span, weightDecay: decays, momentum: momentum > 0, centered });
  },
  scalars: ({ lr, alpha, eps, weightDecay, momentum }) => [
    lr,
    weightDecay,
    alpha,
    1 - alpha,
    eps,
    momentum,
  ],
};

/**
 * RMSprop (Hinton, 2012): `s ← αs + (1 − α)g²`, `p ← p − lr · g / (√s + ε)`, with the variance of g
 * in place of s where centered, and with momentum over the quotients.
 *
 * Formulas and defaults are those of `torch.optim.RMSprop`; one kernel call updates all parameters
 * of a group. An element without gradient stays as it is, also with eps 0, and a variance that
 * rounding made negative counts as 0.
 *
 * @example
 * ```ts
 * import { referenceDevice, RMSprop, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new RMSprop([x], { lr: 0.1, alpha: 0.75 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.item(), 2.8, 1e-6);
 * ```
 */
export class RMSprop extends Optimizer<RMSpropOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<RMSpropOptions>>,
    options: Partial<RMSpropOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("RMSprop", defaults, options);
    super(rule, params, own, controls);
  }
}
