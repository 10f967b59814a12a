/** Adadelta. */

import { adadeltaKernel } from "../../kernels/optimizer_adaptive.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer } from "./optimizer.ts";
import {
  type GroupOptions,
  needFraction,
  needPositive,
  type OptimizerOptions,
  splitOptions,
  type StepControls,
  type UpdateRule,
} from "./options.ts";

/** Options of Adadelta. */
export interface AdadeltaOptions extends OptimizerOptions {
  /** A factor of all steps. @default {1} */
  lr: number;
  /** ρ, how much of the averages is kept, from 0 to below 1. @default {0.9} */
  rho: number;
  /** ε, added under both roots. @default {1e-6} */
  eps: number;
  /** λ, pulls parameters to 0 through the gradient. @default {0} */
  weightDecay: number;
}

const defaults: AdadeltaOptions = { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0 };

const rule: UpdateRule<AdadeltaOptions> = {
  name: "Adadelta",
  countsSteps: () => true,
  fixed: { maximize: false },
  check({ lr, rho, eps, weightDecay }) {
    needPositive("Adadelta", "lr", lr);
    needFraction("Adadelta", "rho", rho);
    needPositive("Adadelta", "eps", eps);
    needPositive("Adadelta", "weightDecay", weightDecay);
  },
  slots: () => ["square_avg", "acc_delta"],
  phase: () => 0,
  kernel: ({ weightDecay }, span) => adadeltaKernel({ ...span, weightDecay: weightDecay !== 0 }),
  scalars: ({ lr, rho, eps, weightDecay }) => [lr, weightDecay, rho, 1 - rho, eps],
};

/**
 * Adadelta (Zeiler, 2012): `v ← ρv + (1 − ρ)g²`, `d = g · √(a + ε) / √(v + ε)`,
 * `a ← ρa + (1 − ρ)d²`, `p ← p − lr · d`; weight decay adds λp to g.
 *
 * Formulas and defaults are those of `torch.optim.Adadelta`, which allows ρ = 1, too. One kernel
 * call updates all parameters of a group. An element without gradient stays as it is, also with
 * eps 0.
 *
 * @example
 * ```ts
 * import { Adadelta, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new Adadelta([x], { lr: 1, eps: 0.4 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals(await x.item(), 3 - 6 * Math.sqrt(0.4 / 4), 1e-6);
 * ```
 */
export class Adadelta extends Optimizer<AdadeltaOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<AdadeltaOptions>>,
    options: Partial<AdadeltaOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("Adadelta", defaults, options);
    super(rule, params, own, controls);
  }
}
