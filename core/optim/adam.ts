/** Adam and AdamW. */

import { adamKernel } from "../../kernels/optimizer.ts";
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

/** Options of Adam and AdamW. */
export interface AdamOptions extends OptimizerOptions {
  /** Learning rate. @default {1e-3} */
  lr: number;
  /**
   * β₁ and β₂, how much of the averages of gradients and of their squares is kept.
   * @default {[0.9, 0.999]}
   */
  betas: readonly [number, number];
  /** ε, added to the root. @default {1e-8} */
  eps: number;
  /** λ, pulls parameters to 0. @default {0 for Adam, 0.01 for AdamW} */
  weightDecay: number;
}

const defaults: AdamOptions = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 };

function ruleOf(name: "Adam" | "AdamW"): UpdateRule<AdamOptions> {
  const decoupled = name === "AdamW";
  return {
    name,
    countsSteps: () => true,
    fixed: { amsgrad: false, maximize: false, decoupled_weight_decay: decoupled },
    check({ lr, betas, eps, weightDecay }) {
      needPositive(name, "lr", lr);
      needPositive(name, "eps", eps);
      needPositive(name, "weightDecay", weightDecay);
      needBetas(name, betas);
    },
    slots: () => ["exp_avg", "exp_avg_sq"],
    phase: (state) => state.steps,
    kernel({ weightDecay }, span) {
      const decay = weightDecay === 0 ? "none" : decoupled ? "decoupled" : "coupled";
      return adamKernel({ ...span, decay });
    },
    scalars({ lr, betas: [beta1, beta2], eps, weightDecay }, { steps }, counted) {
      const decay = decoupled ? 1 - lr * weightDecay : weightDecay;
      const fixed = [eps, beta1, 1 - beta1, beta2, 1 - beta2, decay];
      if (counted) return [lr, 0, ...fixed, finiteLog(beta1), finiteLog(beta2)];
      return [lr / (1 - beta1 ** steps), 1 / Math.sqrt(1 - beta2 ** steps), ...fixed];
    },
  };
}

const adam: UpdateRule<AdamOptions> = ruleOf("Adam");
/** The method of AdamW. */
export const adamW: UpdateRule<AdamOptions> = ruleOf("AdamW");

/**
 * Adam (Kingma and Ba, 2015): `m ← β₁m + (1 − β₁)g`, `v ← β₂v + (1 − β₂)g²`,
 * `p ← p − lr · m̂ / (√v̂ + ε)` with `m̂ = m / (1 − β₁ᵗ)` and `v̂ = v / (1 − β₂ᵗ)`; weight decay
 * adds λp to g.
 *
 * Formulas and defaults are those of `torch.optim.Adam`; one kernel call updates all parameters of
 * a group. An element whose m is 0 stays as it is, also with eps 0.
 *
 * @example
 * ```ts
 * import { Adam, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([1, -2], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new Adam([x], { lr: 0.1 });
 * x.square().sum().backward();
 * optimizer.step();
 * assertAlmostEquals((await x.data())[1], -1.9, 1e-6);
 * ```
 */
export class Adam extends Optimizer<AdamOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<AdamOptions>>,
    options: Partial<AdamOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("Adam", defaults, options);
    super(adam, params, own, controls);
  }
}

/**
 * AdamW (Loshchilov and Hutter, 2019): Adam whose weight decay is apart from the gradient,
 * `p ← p − lr·λ·p`.
 *
 * Formulas and defaults are those of `torch.optim.AdamW`.
 *
 * @example
 * ```ts
 * import { AdamW, referenceDevice, tensor } from "@legoml/legoml/core";
 *
 * const device = referenceDevice();
 * const weight = tensor([[1, 2]], { device, requiresGrad: true });
 * const bias = tensor([0], { device, requiresGrad: true });
 * const optimizer = new AdamW([
 *   { params: [weight] },
 *   { params: [bias], weightDecay: 0 },
 * ], { lr: 1e-3 });
 * optimizer.lr = 1e-4;
 * ```
 *
 * @example Clipping, averages, and no step with a NaN, all without a read
 * ```ts
 * import { AdamW, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([1, 2], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new AdamW([x], {
 *   maxGradNorm: 1,
 *   skipNonFinite: true,
 *   ema: { decay: 0.999, warmup: true },
 * });
 * x.mul(NaN).sum().backward();
 * optimizer.step();
 * assertEquals(await x.array(), [1, 2]);
 * assertEquals(await optimizer.skippedSteps!.item(), 1);
 * ```
 */
export class AdamW extends Optimizer<AdamOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<AdamOptions>>,
    options: Partial<AdamOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("AdamW", { ...defaults, weightDecay: 0.01 }, options);
    super(adamW, params, own, controls);
  }
}
