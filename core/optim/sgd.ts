/** Stochastic gradient descent. */

import { sgdKernel } from "../../kernels/optimizer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  type GroupOptions,
  needFinite,
  needFlag,
  needPositive,
  type OptimizerOptions,
  splitOptions,
  type StepControls,
  type UpdateRule,
} from "./options.ts";

/** Options of SGD. */
export interface SGDOptions extends OptimizerOptions {
  /** Learning rate. @default {1e-3} */
  lr: number;
  /** μ, how much of the last step is kept. @default {0} */
  momentum: number;
  /**
   * τ, how much of the gradient does not enter the momentum; not at the first step.
   * @default {0}
   */
  dampening: number;
  /** Look ahead along the momentum; needs momentum, and dampening 0. @default {false} */
  nesterov: boolean;
  /** λ, pulls parameters to 0 through the gradient. @default {0} */
  weightDecay: number;
}

const defaults: SGDOptions = {
  lr: 1e-3,
  momentum: 0,
  dampening: 0,
  nesterov: false,
  weightDecay: 0,
};

const rule: UpdateRule<SGDOptions> = {
  name: "SGD",
  countsSteps: () => false,
  fixed: { maximize: false },
  check({ lr, momentum, dampening, nesterov, weightDecay }) {
    needPositive("SGD", "lr", lr);
    needPositive("SGD", "momentum", momentum);
    needFinite("SGD", "dampening", dampening);
    needPositive("SGD", "weightDecay", weightDecay);
    needFlag("SGD", "nesterov", nesterov);
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new RangeError(
        `Cannot use SGD with nesterov, momentum ${momentum} and dampening ${dampening}: expected ` +
          "a momentum above 0 and dampening 0",
      );
    }
  },
  slots: ({ momentum }) => momentum > 0 ? ["momentum_buffer"] : [],
  phase: (state) => Number(state.slots.has("momentum_buffer")),
  kernel: ({ momentum, nesterov, weightDecay }, span) =>
    sgdKernel({ ...span, weightDecay: weightDecay !== 0, momentum: momentum > 0, nesterov }),
  scalars({ lr, momentum, dampening, weightDecay }, state, counted) {
    // The first gradient of a parameter becomes its momentum as it is.
    const begun = counted || state.slots.has("momentum_buffer");
    return [lr, weightDecay, begun ? momentum : 0, begun ? 1 - dampening : 1, momentum];
  },
};

/**
 * Stochastic gradient descent with momentum and weight decay:
 * `g ← g + λp`, `b ← μb + (1 − τ)g`, `p ← p − lr·b`, with nesterov `p ← p − lr·(g + μb)`.
 *
 * Formulas and defaults are those of `torch.optim.SGD`; one kernel call updates all parameters of a
 * group.
 *
 * @example
 * ```ts
 * import { referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([1, -2], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new SGD([x], { lr: 0.25 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.sum().item(), -0.5);
 * ```
 */
export class SGD extends Optimizer<SGDOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<SGDOptions>>,
    options: Partial<SGDOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("SGD", defaults, options);
    super(rule, params, own, controls);
  }
}
