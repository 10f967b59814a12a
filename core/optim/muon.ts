/** Muon. */

import {
  alongKernel,
  blockSquaresKernel,
  muonMomentumKernel,
  normFactorKernel,
} from "../../kernels/optimizer_norms.ts";
import { currentCapture } from "../backend/capture.ts";
import { ShapeError, showShape } from "../errors.ts";
import { copyInto } from "../tensor/in_place.ts";
import { denseOperand } from "../tensor/launch.ts";
import { matmul } from "../tensor/matmul.ts";
import { Tensor } from "../tensor/tensor.ts";
import { adamW } from "./adam.ts";
import { BLOCK } from "./arena.ts";
import { Optimizer } from "./optimizer.ts";
import {
  type GroupOptions,
  needBetas,
  needFlag,
  needFraction,
  needPositive,
  type OptimizerOptions,
  type PreparedUpdate,
  splitOptions,
  type StepControls,
  type UpdatePass,
  type UpdateRule,
} from "./options.ts";

/** Options of Muon. */
export interface MuonOptions extends OptimizerOptions {
  /** What updates a group: Muon its matrices, AdamW everything else. @default {"muon"} */
  method: "muon" | "adamw";
  /** Learning rate. @default {0.02, or 3e-4 for adamw} */
  lr: number;
  /** λ, pulls parameters to 0, apart from the gradient. @default {0} */
  weightDecay: number;
  /** μ, how much of the average of gradients is kept; only muon. @default {0.95} */
  momentum: number;
  /** Look ahead along the momentum; only muon. @default {true} */
  nesterov: boolean;
  /** Newton–Schulz iterations, at least 1; only muon. @default {5} */
  nsSteps: number;
  /** ε, added to the norm of a matrix, or to AdamW's root. @default {1e-7, or 1e-10 for adamw} */
  eps: number;
  /** β₁ and β₂ of AdamW; only adamw. @default {[0.9, 0.95]} */
  betas: readonly [number, number];
}

const defaults: MuonOptions = {
  method: "muon",
  lr: 0.02,
  weightDecay: 0,
  momentum: 0.95,
  nesterov: true,
  nsSteps: 5,
  eps: 1e-7,
  betas: [0.9, 0.95],
};

/** What groups of AdamW have where they say nothing. */
const adamDefaults = { lr: 3e-4, eps: 1e-10 };

/** The polynomial `ax + bx³ + cx⁵` that brings singular values near 1. */
const [A, B, C] = [3.4445, -4.775, 2.0315];

const rule: UpdateRule<MuonOptions> = {
  name: "Muon",
  countsSteps: ({ method }) => method === "adamw",
  fixed: {},
  check: checkOptions,
  accepts({ method, params }) {
    const at = params.findIndex((p) => p instanceof Tensor && p.ndim < 2);
    if (method === "adamw" || at < 0) return;
    throw new ShapeError(
      `Cannot make Muon of parameter ${at} of shape ${showShape(params[at].shape)}: expected a ` +
        'matrix or more axes; put other parameters into a group with method "adamw"',
    );
  },
  slots: (options) => options.method === "adamw" ? adamW.slots(options) : ["momentum_buffer"],
  phase: (state) => state.steps,
  prepare: (pass) =>
    pass.group.method === "adamw"
      ? { inputs: [pass.gradients], slots: adamW.slots(pass.group) }
      : orthogonalized(pass),
  kernel(options, span) {
    if (options.method === "adamw") return adamW.kernel(options, span);
    return alongKernel({ ...span, factors: false, weightDecay: options.weightDecay !== 0 });
  },
  scalars(options, state, counted) {
    if (options.method === "adamw") return adamW.scalars(options, state, counted);
    return [options.lr, 1 - options.lr * options.weightDecay];
  },
};

function checkOptions(options: MuonOptions): void {
  const { method, lr, weightDecay, momentum, nesterov, nsSteps, eps, betas } = options;
  if (method !== "muon" && method !== "adamw") {
    throw new RangeError(`Cannot use Muon with method ${method}: expected "muon" or "adamw"`);
  }
  needPositive("Muon", "lr", lr);
  needPositive("Muon", "weightDecay", weightDecay);
  needFraction("Muon", "momentum", momentum);
  needFlag("Muon", "nesterov", nesterov);
  needPositive("Muon", "eps", eps);
  needBetas("Muon", betas);
  if (!Number.isInteger(nsSteps) || nsSteps < 1) {
    throw new RangeError(
      `Cannot use Muon with nsSteps ${nsSteps}: expected an integer of at least 1`,
    );
  }
}

/** Renews the momenta, and makes their matrices orthogonal, nearly. */
function orthogonalized(pass: UpdatePass<MuonOptions>): PreparedUpdate {
  const { group, params } = pass;
  const { count, dtype } = pass.span;
  const directions = pass.scratch(count);
  pass.run({
    kernel() {
      const { scaled = false, counted = false } = pass.span;
      return muonMomentumKernel({ count, dtype, scaled, counted, nesterov: group.nesterov });
    },
    inputs: [pass.gradients, pass.verdict],
    outputs: [pass.slot("momentum_buffer"), denseOperand(directions)],
    scalars: () => [group.momentum, 1 - group.momentum],
  });
  const factors = inverseNorms(pass, directions);
  const { nsSteps } = group;
  currentCapture()?.guard(() => group.nsSteps === nsSteps && group.method === "muon");
  params.forEach((parameter, k) => {
    if (parameter.size === 0) return;
    const view = pass.view(directions, k);
    const factor = factors.alias({ shape: [], strides: [], offset: pass.blockOf(k) });
    const matrix = view.reshape([parameter.shape[0], -1]);
    copyInto(matrix, orthogonal(matrix.mul(factor), nsSteps));
  });
  return { inputs: [denseOperand(directions)], slots: [] };
}

/** `1 / (‖d‖ + ε)` of each parameter, in all of its blocks. */
function inverseNorms(pass: UpdatePass<MuonOptions>, directions: Tensor): Tensor {
  const { group, params, first } = pass;
  const blocks = pass.span.count / BLOCK;
  const [sums, factors] = [pass.scratch(blocks), pass.scratch(blocks)];
  pass.run({
    kernel: () => blockSquaresKernel(directions.size, ["f32"]),
    inputs: [denseOperand(directions)],
    outputs: [denseOperand(sums)],
  });
  pass.run({
    kernel: () => normFactorKernel("inverse", blocks, params.length),
    inputs: [denseOperand(sums), pass.blocks],
    outputs: [denseOperand(factors)],
    scalars: () => [first, group.eps],
  });
  return factors;
}

/** Newton–Schulz iterations on a matrix of norm 1 at most, times `max(1, rows / columns)^½`. */
function orthogonal(matrix: Tensor, steps: number): Tensor {
  const [rows, columns] = matrix.shape;
  // The product of the shorter side with itself is the smaller one.
  let x = rows > columns ? matrix.t() : matrix;
  for (let step = 0; step < steps; step++) {
    const square = matmul(x, x.t());
    const both = square.mul(B).add(matmul(square, square).mul(C));
    x = x.mul(A).add(matmul(both, x));
  }
  const whole = rows > columns ? x.t() : x;
  return whole.mul(Math.sqrt(Math.max(1, rows / columns)));
}

/** Groups with the defaults of their method filled in. */
function filled<T extends Tensor | GroupOptions<MuonOptions>>(group: T): T {
  if (group instanceof Tensor || group.method !== "adamw") return group;
  return { ...adamDefaults, ...group };
}

/**
 * Muon (Jordan et al., 2024): momentum whose matrices are made orthogonal by Newton–Schulz
 * iterations, `b ← μb + (1 − μ)g`, `d = NS(μb + (1 − μ)g)`,
 * `p ← p − lr·λ·p − lr · max(1, rows / columns)^½ · d`.
 *
 * An iteration is `X ← 3.4445·X − 4.775·(XXᵀ)X + 2.0315·(XXᵀ)²X`, from `X / (‖X‖ + ε)` on; it leaves
 * singular values between about 0.7 and 1.2. Parameters of more than two axes, such as weights of
 * convolutions, are taken as `[first, rest]`. Parameters of fewer axes are refused: they go into a
 * group with `method: "adamw"`, and so should embeddings, the first and the last layer. Such groups
 * are updated by AdamW in the same optimizer, so that clipping, loss scale and schedules see one.
 *
 * Formulas and defaults are those of its author's code, and the slot that of `torch.optim.Muon`
 * (`momentum_buffer`); iterations run in f32, not bf16.
 *
 * @example
 * ```ts
 * import { Muon, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assert } from "@std/assert";
 *
 * const device = referenceDevice();
 * const weight = tensor([[1, 0], [0, 2]], { device, requiresGrad: true });
 * const bias = tensor([0, 0], { device, requiresGrad: true });
 * const optimizer = new Muon([
 *   { params: [weight] },
 *   { params: [bias], method: "adamw", lr: 3e-4 },
 * ], { lr: 0.1 });
 * weight.mul(tensor([[5, 0], [0, 3]], { device })).sum().add(bias.sum()).backward();
 * optimizer.step();
 * const [moved] = await weight.data();
 * assert(moved < 1 - 0.1 * 0.6 && moved > 1 - 0.1 * 1.3);
 * ```
 */
export class Muon extends Optimizer<MuonOptions> {
  /**
   * Moves the parameters into flat memory.
   *
   * @param params leaves of dtype f32 or f16 with at least two axes, or groups with options of their
   * own, of which those with method "adamw" take any shape
   * @param options options of all groups that do not set their own, and what the optimizer does
   * beside its method
   * @throws {RangeError} if an option has no meaning, or there are no parameters
   * @throws {ShapeError} if a parameter of method "muon" has fewer than two axes
   * @throws {TypeError} if a parameter cannot be optimized
   */
  constructor(
    params: Iterable<Tensor> | Iterable<GroupOptions<MuonOptions>>,
    options: Partial<MuonOptions> & StepControls = {},
  ) {
    const [own, controls] = splitOptions("Muon", defaults, options);
    const list = Array.from<Tensor | GroupOptions<MuonOptions>>(params).map(filled);
    super(rule, list as Tensor[] | GroupOptions<MuonOptions>[], own, controls);
  }

  /**
   * Adds parameters with options of their own.
   *
   * @param group parameters that no optimizer holds yet
   * @throws {RangeError} if an option has no meaning
   * @throws {ShapeError} if a parameter of method "muon" has fewer than two axes
   * @throws {TypeError} if a parameter cannot be optimized
   */
  override addParamGroup(group: GroupOptions<MuonOptions>): void {
    super.addParamGroup(filled(group));
  }
}
