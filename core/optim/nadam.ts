/** NAdam. */

import { nadamKernel, nadamRatesKernel } from "../../kernels/optimizer_adaptive.ts";
import { denseOperand } from "../tensor/launch.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  finiteLog,
  type GroupOptions,
  needBetas,
  needPositive,
  type OptimizerOptions,
  type PreparedUpdate,
  splitOptions,
  type StepControls,
  type UpdatePass,
  type UpdateRule,
} from "./options.ts";

/** Options of NAdam. */
export interface NAdamOptions extends OptimizerOptions {
  /** Learning rate. @default {2e-3} */
  lr: number;
  /**
   * β₁ and β₂, how much of the averages of gradients and of their squares is kept.
   * @default {[0.9, 0.999]}
   */
  betas: readonly [number, number];
  /** ε, added to the root. @default {1e-8} */
  eps: number;
  /** λ, pulls parameters to 0 through the gradient. @default {0} */
  weightDecay: number;
  /** ψ, how fast the momentum of a step reaches β₁, at least 0. @default {4e-3} */
  momentumDecay: number;
}

const defaults: NAdamOptions = {
  lr: 2e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  momentumDecay: 4e-3,
};

const rule: UpdateRule<NAdamOptions> = {
  name: "NAdam",
  countsSteps: () => true,
  single: ["mu_product"],
  fixed: { maximize: false, decoupled_weight_decay: false },
  check({ lr, betas, eps, weightDecay, momentumDecay }) {
    needPositive("NAdam", "lr", lr);
    needPositive("NAdam", "eps", eps);
    needPositive("NAdam", "weightDecay", weightDecay);
    needPositive("NAdam", "momentumDecay", momentumDecay);
    needBetas("NAdam", betas);
  },
  slots: () => ["exp_avg", "exp_avg_sq", "mu_product"],
  initial: (slot) => slot === "mu_product" ? 1 : 0,
  phase: (state) => state.steps,
  prepare: ratesOf,
  kernel: ({ weightDecay }, span) => nadamKernel({ ...span, weightDecay: weightDecay !== 0 }),
  scalars({ betas: [beta1, beta2], eps, weightDecay }, { steps }, counted) {
    const root = counted ? finiteLog(beta2) : 1 / Math.sqrt(1 - beta2 ** steps);
    return [root, weightDecay, eps, beta1, 1 - beta1, beta2, 1 - beta2];
  },
};

/** Finds the two rates of the step, and renews the products of momenta. */
function ratesOf(pass: UpdatePass<NAdamOptions>): PreparedUpdate {
  const { group, span, state, verdict, skips, first, params } = pass;
  const counted = skips !== null;
  const out = denseOperand(pass.scratch(2));
  pass.run({
    kernel: () => nadamRatesKernel({ scaled: verdict !== null, counted: span.counted ?? false }),
    inputs: [verdict, skips],
    outputs: [pass.slot("mu_product"), out],
    scalars() {
      const { lr, betas: [beta1], momentumDecay } = group;
      const head = [lr, first, params.length];
      if (counted) return [...head, beta1, momentumDecay * Math.log(0.96), state.steps];
      const mu = (t: number) => beta1 * (1 - 0.5 * 0.96 ** (t * momentumDecay));
      return [...head, mu(state.steps), mu(state.steps + 1)];
    },
  });
  return { inputs: [pass.gradients, out], slots: ["exp_avg", "exp_avg_sq"] };
}

/**
 * NAdam (Dozat, 2016): Adam with Nesterov's look ahead, `p ← p − lr · m̂ / (√v̂ + ε)` with
 * `m̂ = μₜ₊₁·m / (1 − μ₁…μₜ₊₁) + (1 − μₜ)·g / (1 − μ₁…μₜ)` and `μₜ = β₁ · (1 − ½ · 0.96^(tψ))`;
 * weight decay adds λp to g.
 *
 * Formulas, defaults and state (`mu_product` is `μ₁…μₜ`) are those of `torch.optim.NAdam` since 2.0,
 * with decoupled_weight_decay off; PyTorch 1.13 has one μₜ too many in the first divisor. One small
 * kernel call finds the rates, another one updates all parameters of a group.
 *
 * @example
 * ```ts
 * import { NAdam, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new NAdam([x], { lr: 0.1, momentumDecay: 0 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.item(), 3 - 0.1 * (0.55 / 0.55 + 0.45 * 0.1 / (1 - 0.45 * 0.45)), 1e-6);
 * ```
 */
export class NAdam extends Optimizer<NAdamOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<NAdamOptions>>,
    options: Partial<NAdamOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("NAdam", defaults, options);
    super(rule, params, own, controls);
  }
}
