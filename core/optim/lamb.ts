/** LAMB. */

import {
  alongKernel,
  blockSquaresKernel,
  lambDirectionKernel,
  normFactorKernel,
} from "../../kernels/optimizer_norms.ts";
import { denseOperand as operandOf } from "../tensor/launch.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { BLOCK } from "./arena.ts";
import { Optimizer } from "./optimizer.ts";
import {
  finiteLog,
  type GroupOptions,
  needBetas,
  needFlag,
  needPositive,
  type OptimizerOptions,
  type PreparedUpdate,
  splitOptions,
  type StepControls,
  type UpdatePass,
  type UpdateRule,
} from "./options.ts";

/** Options of LAMB. */
export interface LAMBOptions extends OptimizerOptions {
  /** Learning rate. @default {1e-3} */
  lr: number;
  /**
   * β₁ and β₂, how much of the averages of gradients and of their squares is kept.
   * @default {[0.9, 0.999]}
   */
  betas: readonly [number, number];
  /** ε, added to the root. @default {1e-6} */
  eps: number;
  /** λ; λp is part of the direction, whose norm the ratio divides by. @default {0.01} */
  weightDecay: number;
  /** Whether the averages are divided by `1 − βᵗ`. @default {true} */
  biasCorrection: boolean;
  /** Whether the ratio is 1 at most, as in LAMBC. @default {false} */
  trustClip: boolean;
  /**
   * Whether groups without weight decay have a ratio, too; the paper says so, apex and timm leave
   * them plain Adam by default. @default {false}
   */
  alwaysAdapt: boolean;
}

const defaults: LAMBOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-6,
  weightDecay: 0.01,
  biasCorrection: true,
  trustClip: false,
  alwaysAdapt: false,
};

const rule: UpdateRule<LAMBOptions> = {
  name: "LAMB",
  countsSteps: () => true,
  fixed: { grad_averaging: true },
  check({ lr, betas, eps, weightDecay, biasCorrection, trustClip, alwaysAdapt }) {
    needPositive("LAMB", "lr", lr);
    needPositive("LAMB", "eps", eps);
    needPositive("LAMB", "weightDecay", weightDecay);
    needBetas("LAMB", betas);
    needFlag("LAMB", "biasCorrection", biasCorrection);
    needFlag("LAMB", "trustClip", trustClip);
    needFlag("LAMB", "alwaysAdapt", alwaysAdapt);
  },
  slots: () => ["exp_avg", "exp_avg_sq"],
  phase: (state) => state.steps,
  prepare: directionOf,
  kernel: (options, span) => alongKernel({ ...span, factors: adapts(options), weightDecay: false }),
  scalars: ({ lr }) => [lr, 1],
};

/** Whether the parameters of a group have ratios of their own. */
function adapts({ weightDecay, alwaysAdapt }: LAMBOptions): boolean {
  return weightDecay !== 0 || alwaysAdapt;
}

/** Renews the averages, and finds directions and ratios. */
function directionOf(pass: UpdatePass<LAMBOptions>): PreparedUpdate {
  const { group, verdict, skips, values } = pass;
  const { count, dtype } = pass.span;
  const direction = operandOf(pass.scratch(count));
  pass.run({
    kernel() {
      const { scaled = false, counted = false } = pass.span;
      const weightDecay = group.weightDecay !== 0;
      return lambDirectionKernel({ count, dtype, scaled, counted, weightDecay });
    },
    inputs: [pass.gradients, values, verdict, skips],
    outputs: [pass.slot("exp_avg"), pass.slot("exp_avg_sq"), direction],
    scalars: () => directionScalars(pass),
  });
  if (!adapts(group)) return { inputs: [direction], slots: [] };
  const blocks = count / BLOCK;
  const [sums, factors] = [2 * blocks, blocks].map((n) => operandOf(pass.scratch(n)));
  pass.run({
    kernel: () => blockSquaresKernel(count, [dtype, "f32"]),
    inputs: [values, direction],
    outputs: [sums],
  });
  pass.run({
    kernel: () => {
      const kind = group.trustClip ? "clippedTrust" : "trust";
      return normFactorKernel(kind, blocks, pass.params.length);
    },
    inputs: [sums, pass.blocks],
    outputs: [factors],
    scalars: () => [pass.first, 0],
  });
  return { inputs: [direction, factors], slots: [] };
}

function directionScalars({ group, state, skips, first }: UpdatePass<LAMBOptions>): number[] {
  const { betas: [beta1, beta2], eps, weightDecay, biasCorrection } = group;
  const fixed = [eps, beta1, 1 - beta1, beta2, 1 - beta2, weightDecay];
  // Without corrections both powers of β count as 0.
  const [b1, b2] = biasCorrection ? [beta1, beta2] : [0, 0];
  if (skips !== null) return [finiteLog(b1), finiteLog(b2), ...fixed, state.steps, first];
  const { steps } = state;
  return [1 / (1 - b1 ** steps), 1 / Math.sqrt(1 - b2 ** steps), ...fixed];
}

/**
 * LAMB (You et al., 2020): Adam's direction, with weight decay in it, made as long as the parameter:
 * `d = m̂ / (√v̂ + ε) + λp`, `p ← p − lr · r · d` with `r = ‖p‖ / ‖d‖`, 1 where a norm is 0.
 *
 * The ratio is one for each parameter tensor, also in flat memory; its sums run in a fixed order.
 * This is the paper's second version, as apex and timm have it: with bias correction, no limit φ of
 * the norms, no clipping unless asked for (`maxGradNorm: 1` clips as theirs do), and groups without
 * weight decay are not adapted. PyTorch has no LAMB; slots are named as Adam's. Four kernel calls
 * update all parameters of a group.
 *
 * @example The first step of a tensor is lr times its norm
 * ```ts
 * import { LAMB, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([3, 4], { device: referenceDevice(), requiresGrad: true });
 * const optimizer = new LAMB([x], { lr: 0.1, weightDecay: 0, alwaysAdapt: true });
 * x.sum().backward();
 * optimizer.step();
 * assertAlmostEquals((await x.data())[0], 3 - 0.1 * 5 / Math.SQRT2, 1e-6);
 * ```
 */
export class LAMB extends Optimizer<LAMBOptions> {
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
    params: Iterable<Tensor> | Iterable<GroupOptions<LAMBOptions>>,
    options: Partial<LAMBOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("LAMB", defaults, options);
    super(rule, params, own, controls);
  }
}
