/** Losses of predicted probabilities, rates and variances. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { map } from "../core/tensor/map.ts";
import { noGrad, record } from "../core/tensor/tape.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import {
  checkAlike,
  checkFloats,
  checkOption,
  checkWeight,
  itself,
  reduced,
} from "./loss_parts.ts";
import type { LossOptions } from "./losses.ts";
import { Module } from "./module.ts";

/** How the binary cross-entropy of probabilities is weighted. */
export interface BCELossOptions extends LossOptions {
  /** Factor of each element's loss; its shape broadcasts to that of the input. @default {1} */
  readonly weight?: Tensor;
}

/** What the inputs of a Poisson loss are, and which terms it has. */
export interface PoissonNLLLossOptions extends LossOptions {
  /** Whether the inputs are logarithms of the rates. @default {true} */
  readonly logInput?: boolean;
  /** Whether Stirling's approximation of log(t!) is added for targets above 1. @default {false} */
  readonly full?: boolean;
  /** Added to rates before their logarithm, at least 0. @default {1e-8} */
  readonly eps?: number;
}

/** Which terms a Gaussian loss has. */
export interface GaussianNLLLossOptions extends LossOptions {
  /** Whether the constant log(2π) / 2 is added. @default {false} */
  readonly full?: boolean;
  /** Least variance, above 0. @default {1e-6} */
  readonly eps?: number;
}

const [x, t] = [input(0), input(1)];
const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
const sub = (a: Expr, b: Expr): Expr => apply("sub", a, b);
const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);
const one = constant(1);
const log = (a: Expr): Expr => apply("maximum", apply("log", a), constant(-100));
const [logYes, logNo] = [log(x), apply("maximum", apply("log1p", apply("neg", x)), constant(-100))];
const entropy = apply("neg", add(mul(t, logYes), mul(sub(one, t), logNo)));
/** Over x, t and the gradient; PyTorch's bound keeps it finite at 0 and 1. */
const byInput = mul(
  input(2),
  apply("div", sub(x, t), apply("maximum", mul(sub(one, x), x), constant(1e-12))),
);
const byTarget = mul(input(2), sub(logNo, logYes));

/**
 * Binary cross-entropy of probabilities: `−weight·(t·log x + (1 − t)·log(1 − x))`, with logarithms
 * of at least −100. As torch.nn.functional.binary_cross_entropy.
 *
 * The gradient by the input is bounded as in PyTorch; that by the target is `log(1 − x) − log x` with
 * the bounded logarithms, where PyTorch's is infinite at 0 and 1. `binaryCrossEntropyWithLogits`
 * keeps more digits where probabilities are near 0 or 1.
 *
 * @param probabilities any shape, f32 or f16, from 0 to 1; elsewhere the loss is NaN
 * @param target the same shape, probabilities from 0 to 1
 * @param options weight, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ, or the weight does not broadcast to them
 *
 * @example
 * ```ts
 * import { binaryCrossEntropy } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, t] = [tensor([0.5, 0.25], { device }), tensor([1, 0], { device })];
 * const loss = await binaryCrossEntropy(x, t).item();
 * assertAlmostEquals(loss, (Math.log(2) + Math.log(4 / 3)) / 2, 1e-12);
 * ```
 */
export function binaryCrossEntropy(
  probabilities: Tensor,
  target: Tensor,
  options: BCELossOptions = {},
): Tensor {
  const op = "binaryCrossEntropy";
  const { weight, reduction } = options;
  checkAlike(op, { input: probabilities, target });
  if (weight !== undefined) checkWeight(op, weight, probabilities);
  const inputs = [probabilities, target];
  const losses = noGrad(() => map(op, entropy, inputs, { dtype: "f32" }));
  record(
    op,
    losses,
    inputs,
    (g) =>
      [byInput, byTarget].map((expr, i) =>
        inputs[i].requiresGrad
          ? map(`${op} backward`, expr, [...inputs, g], { dtype: inputs[i].dtype })
          : null
      ),
    inputs,
  );
  return weight === undefined
    ? reduced(op, itself, [losses], reduction)
    : reduced(op, mul(x, t), [losses, weight], reduction);
}

const correction = apply(
  "where",
  apply("gt", t, one),
  // The logarithm of a target that does not count shall not be infinite.
  stirlingOf(apply("maximum", t, one)),
  constant(0),
);

function stirlingOf(count: Expr): Expr {
  return add(
    sub(mul(count, apply("log", count)), count),
    mul(constant(0.5), apply("log", mul(constant(2 * Math.PI), count))),
  );
}

/**
 * Negative log-likelihood of counts under Poisson's distribution: `e^x − t·x`, or
 * `x − t·log(x + eps)` for rates; without log(t!), of which `full` adds an approximation. As
 * torch.nn.functional.poisson_nll_loss.
 *
 * @param prediction logarithms of rates, or rates; any shape, f32 or f16
 * @param target the same shape, counts of at least 0
 * @param options logInput, full, eps, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 * @throws {RangeError} if eps is below 0
 *
 * @example
 * ```ts
 * import { poissonNllLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, t] = [tensor([0, 0], { device }), tensor([3, 5], { device })];
 * assertEquals(await poissonNllLoss(x, t).item(), 1);
 * ```
 */
export function poissonNllLoss(
  prediction: Tensor,
  target: Tensor,
  options: PoissonNLLLossOptions = {},
): Tensor {
  const op = "poissonNllLoss";
  const { logInput = true, full = false, eps = 1e-8, reduction } = options;
  checkAlike(op, { input: prediction, target });
  checkOption(op, "eps", eps, [0, Infinity]);
  const loss = logInput
    ? sub(apply("exp", x), mul(t, x))
    : sub(x, mul(t, apply("log", add(x, constant(eps)))));
  return reduced(op, full ? add(loss, correction) : loss, [prediction, target], reduction);
}

/**
 * Negative log-likelihood under normal distributions: `(log v + (x − t)² / v) / 2` with the variance
 * v held above eps. As torch.nn.functional.gaussian_nll_loss; also its gradient by a variance below
 * eps is that at eps.
 *
 * Differs from PyTorch for negative variances, which count as eps: refusing them would have to wait
 * for the device.
 *
 * @param mean predicted means; any shape, f32 or f16
 * @param target the same shape
 * @param variance predicted variances: the same shape, or with 1 for the last size, or without the
 * last axis
 * @param options full, eps, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes do not fit
 * @throws {RangeError} if eps is not above 0
 *
 * @example
 * ```ts
 * import { gaussianNllLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, t, v] = [[1, 2], [3, 2], [1, 1]].map((row) => tensor(row, { device }));
 * assertEquals(await gaussianNllLoss(x, t, v).item(), 1);
 * ```
 */
export function gaussianNllLoss(
  mean: Tensor,
  target: Tensor,
  variance: Tensor,
  options: GaussianNLLLossOptions = {},
): Tensor {
  const op = "gaussianNllLoss";
  const { full = false, eps = 1e-6, reduction } = options;
  checkAlike(op, { input: mean, target });
  checkFloats(op, [variance]);
  checkOption(op, "eps", eps, [Number.MIN_VALUE, Infinity]);
  const shared = String([...variance.shape, mean.shape.at(-1)]) === String(mean.shape);
  const spread = shared ? variance.unsqueeze(-1) : variance;
  const fits = spread.ndim === mean.ndim &&
    spread.shape.every((n, d) => n === mean.shape[d] || (d === mean.ndim - 1 && n === 1));
  if (!fits) {
    throw new ShapeError(
      `Cannot compute the ${op} of ${showShape(mean.shape)} with a variance of shape ${
        showShape(variance.shape)
      }: expected the same shape, 1 for the last size, or no last axis`,
    );
  }
  // Holding it is no part of the derivative.
  const held = noGrad(() => spread.detach().clamp(eps, null));
  const safe = spread.sub(spread.detach()).add(held);
  const v = input(2);
  const both = add(apply("log", v), apply("div", apply("square", sub(x, t)), v));
  const half = mul(constant(0.5), both);
  const loss = full ? add(half, constant(0.5 * Math.log(2 * Math.PI))) : half;
  return reduced(op, loss, [mean, target, safe], reduction);
}

/**
 * Binary cross-entropy of probabilities, as `binaryCrossEntropy`.
 *
 * Buffer: `weight`, where it is given.
 */
export class BCELoss extends Module {
  /** Factor of each element's loss, or null */
  readonly weight: Tensor | null;
  readonly #options: BCELossOptions;

  /**
   * Takes the options.
   *
   * @param options weight, reduction
   */
  constructor(options: BCELossOptions = {}) {
    super();
    this.#options = { ...options };
    this.weight = options.weight ? this.registerBuffer("weight", options.weight) : null;
  }

  /**
   * Takes the loss.
   *
   * @param probabilities any shape, f32 or f16, from 0 to 1
   * @param target the same shape, probabilities from 0 to 1
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ, or the weight does not broadcast to them
   */
  forward(probabilities: Tensor, target: Tensor): Tensor {
    const options = { ...this.#options, weight: this.weight ?? undefined };
    return binaryCrossEntropy(probabilities, target, options);
  }
}

/**
 * Negative log-likelihood of counts, as `poissonNllLoss`.
 */
export class PoissonNLLLoss extends Module {
  readonly #options: PoissonNLLLossOptions;

  /**
   * Takes the options.
   *
   * @param options logInput, full, eps, reduction
   */
  constructor(options: PoissonNLLLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Takes the loss.
   *
   * @param prediction logarithms of rates, or rates; any shape, f32 or f16
   * @param target the same shape, counts of at least 0
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(prediction: Tensor, target: Tensor): Tensor {
    return poissonNllLoss(prediction, target, this.#options);
  }
}

/**
 * Negative log-likelihood under normal distributions, as `gaussianNllLoss`.
 */
export class GaussianNLLLoss extends Module {
  readonly #options: GaussianNLLLossOptions;

  /**
   * Takes the options.
   *
   * @param options full, eps, reduction
   */
  constructor(options: GaussianNLLLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Takes the loss.
   *
   * @param mean predicted means; any shape, f32 or f16
   * @param target the same shape
   * @param variance predicted variances: the same shape, or with 1 for the last size, or without
   * the last axis
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes do not fit
   */
  forward(mean: Tensor, target: Tensor, variance: Tensor): Tensor {
    return gaussianNllLoss(mean, target, variance, this.#options);
  }
}
