/** Losses that are zero from a margin on, and losses of several labels. */

import { arange, DTypeError, ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { sumOf } from "../core/tensor/map.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import {
  atLeastZero,
  checkAlike,
  checkFloats,
  checkOption,
  itself,
  reduced,
} from "./loss_parts.ts";
import type { LossOptions } from "./losses.ts";

/** How far two values must lie apart. */
export interface MarginRankingLossOptions extends LossOptions {
  /** What the first value must be larger by. @default {0} */
  readonly margin?: number;
}

/** How large negatives must be. */
export interface HingeEmbeddingLossOptions extends LossOptions {
  /** What negatives must be at least. @default {1} */
  readonly margin?: number;
}

/** How several labels are weighted. */
export interface MultiLabelSoftMarginLossOptions extends LossOptions {
  /** Factor of each class [C]. @default {1} */
  readonly weight?: Tensor;
}

/** How far the right class must lie above the others. */
export interface MultiMarginLossOptions extends LossOptions {
  /** Power of the distances that are missing. @default {1} */
  readonly p?: 1 | 2;
  /** What the right class must be larger by. @default {1} */
  readonly margin?: number;
  /** Factor of each class [C]. @default {1} */
  readonly weight?: Tensor;
}

const [x, t] = [input(0), input(1)];
const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
const sub = (a: Expr, b: Expr): Expr => apply("sub", a, b);
const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);
const choose = (condition: Expr, yes: Expr, no: Expr): Expr => apply("where", condition, yes, no);

/**
 * Loss of a wrong order: `max(0, −t·(x1 − x2) + margin)`. As
 * torch.nn.functional.margin_ranking_loss.
 *
 * @param x1 any shape, f32 or f16
 * @param x2 the same shape
 * @param target the same shape: 1 where x1 shall be the larger one, −1 where x2 shall
 * @param options margin, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 *
 * @example
 * ```ts
 * import { marginRankingLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [a, b, t] = [[3, 1], [1, 2], [1, 1]].map((row) => tensor(row, { device }));
 * assertEquals(await marginRankingLoss(a, b, t, { reduction: "none" }).array(), [0, 1]);
 * ```
 */
export function marginRankingLoss(
  x1: Tensor,
  x2: Tensor,
  target: Tensor,
  options: MarginRankingLossOptions = {},
): Tensor {
  const op = "marginRankingLoss";
  const { margin = 0, reduction } = options;
  checkAlike(op, { x1, x2, target });
  checkOption(op, "margin", margin);
  const missing = sub(constant(margin), mul(input(2), sub(x, t)));
  return reduced(op, atLeastZero(missing), [x1, x2, target], reduction);
}

/**
 * Loss of distances: x itself for targets of 1, `max(0, margin − x)` for those of −1. As
 * torch.nn.functional.hinge_embedding_loss.
 *
 * @param distances any shape, f32 or f16
 * @param target the same shape, 1 or −1
 * @param options margin, reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 *
 * @example
 * ```ts
 * import { hingeEmbeddingLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, t] = [tensor([2, 0.25, 3], { device }), tensor([1, -1, -1], { device })];
 * assertEquals(await hingeEmbeddingLoss(x, t, { reduction: "none" }).array(), [2, 0.75, 0]);
 * ```
 */
export function hingeEmbeddingLoss(
  distances: Tensor,
  target: Tensor,
  options: HingeEmbeddingLossOptions = {},
): Tensor {
  const op = "hingeEmbeddingLoss";
  const { margin = 1, reduction } = options;
  checkAlike(op, { input: distances, target });
  checkOption(op, "margin", margin);
  const near = choose(apply("ne", t, constant(-1)), x, constant(0));
  const far = atLeastZero(sub(constant(margin), x));
  const loss = add(near, choose(apply("ne", t, constant(1)), far, constant(0)));
  return reduced(op, loss, [distances, target], reduction);
}

/**
 * Logistic loss `log(1 + e^(−t·x))`, without overflow. As torch.nn.functional.soft_margin_loss.
 *
 * @param scores any shape, f32 or f16
 * @param target the same shape, 1 or −1
 * @param options reduction
 * @returns an f32 scalar, or the shape of the input where nothing is reduced
 * @throws {ShapeError} if the shapes differ
 *
 * @example
 * ```ts
 * import { softMarginLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const loss = softMarginLoss(tensor([0, 0], { device }), tensor([1, -1], { device }));
 * assertAlmostEquals(await loss.item(), Math.LN2, 1e-12);
 * ```
 */
export function softMarginLoss(
  scores: Tensor,
  target: Tensor,
  options: LossOptions = {},
): Tensor {
  const op = "softMarginLoss";
  checkAlike(op, { input: scores, target });
  const loss = apply("softplus", apply("neg", mul(t, x)));
  return reduced(op, loss, [scores, target], options.reduction);
}

/**
 * Mean over the classes of binary cross-entropies of logits:
 * `weight·(t·softplus(−x) + (1 − t)·softplus(x))`. As
 * torch.nn.functional.multilabel_soft_margin_loss.
 *
 * @param logits [..., C], f32 or f16
 * @param target the same shape, from 0 to 1: which classes are present
 * @param options weight, reduction over the samples
 * @returns an f32 scalar, or [...] where nothing is reduced
 * @throws {ShapeError} if the shapes differ, there is no axis, or the weight is not [C]
 *
 * @example
 * ```ts
 * import { multilabelSoftMarginLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, t] = [tensor([[0, 0, 0]], { device }), tensor([[1, 0, 1]], { device })];
 * assertAlmostEquals(await multilabelSoftMarginLoss(x, t).item(), Math.LN2, 1e-12);
 * ```
 */
export function multilabelSoftMarginLoss(
  logits: Tensor,
  target: Tensor,
  options: MultiLabelSoftMarginLossOptions = {},
): Tensor {
  const op = "multilabelSoftMarginLoss";
  const { weight, reduction } = options;
  checkAlike(op, { input: logits, target });
  const classes = classesOf(op, logits, [1, Infinity]);
  if (weight !== undefined) checkClassWeight(op, weight, classes);
  const absent = mul(sub(constant(1), t), apply("softplus", x));
  const loss = add(mul(t, apply("softplus", apply("neg", x))), absent);
  const inputs = [logits, target, ...(weight ? [weight] : [])];
  const expr = weight ? mul(loss, input(2)) : loss;
  const share = apply("div", input(0), constant(classes));
  const samples = sumOf(op, expr, inputs, [logits.ndim - 1], share);
  return reduced(op, itself, [samples], reduction);
}

/**
 * Loss of classes that come too near the right one y:
 * `Σ_{j ≠ y} weight[y] · max(0, margin − x[y] + x[j])^p / C`. As
 * torch.nn.functional.multi_margin_loss.
 *
 * A target outside of the classes gives NaN, since refusing it would have to wait for the device.
 *
 * @param scores [N, C] or [C], f32 or f16
 * @param targets class numbers from 0 to C − 1 in i32: [N] or []
 * @param options p, margin, weight, reduction
 * @returns an f32 scalar, or the shape of the targets where nothing is reduced
 * @throws {ShapeError} if the shapes do not fit
 * @throws {DTypeError} if the targets are no i32
 * @throws {RangeError} if p is neither 1 nor 2
 *
 * @example
 * ```ts
 * import { multiMarginLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([[0.5, 1, 0.25, 0]], { device });
 * const y = tensor([1], { dtype: "i32", device });
 * assertEquals(await multiMarginLoss(x, y).item(), (0.5 + 0.25 + 0) / 4);
 * ```
 */
export function multiMarginLoss(
  scores: Tensor,
  targets: Tensor,
  options: MultiMarginLossOptions = {},
): Tensor {
  const op = "multiMarginLoss";
  const { p = 1, margin = 1, weight, reduction } = options;
  checkFloats(op, [scores]);
  if (targets.dtype !== "i32") {
    throw new DTypeError(`Cannot compute the ${op} with targets of ${targets.dtype}: expected i32`);
  }
  if (p !== 1 && p !== 2) {
    throw new RangeError(`Cannot compute the ${op} with p ${p}: expected 1 or 2`);
  }
  checkOption(op, "margin", margin);
  const classes = classesOf(op, scores, [1, 2]);
  if (String(targets.shape) !== String(scores.shape.slice(0, -1))) {
    throw new ShapeError(
      `Cannot compute the ${op} of ${showShape(scores.shape)} with targets ${
        showShape(targets.shape)
      }: expected ${showShape(scores.shape.slice(0, -1))}`,
    );
  }
  if (weight !== undefined) checkClassWeight(op, weight, classes);
  const places = targets.unsqueeze(-1);
  const numbers = arange(0, classes, 1, { dtype: "i32", device: scores.device });
  const right = scores.gather(-1, places);
  const inputs = [scores, right, numbers, places];
  if (weight) inputs.push(weight.indexSelect(0, targets.reshape([-1])).reshape(places.shape));
  const missing = apply("relu", add(sub(constant(margin), t), x));
  const powered = p === 1 ? missing : apply("square", missing);
  const others = choose(apply("ne", input(2), input(3)), powered, constant(0));
  const expr = weight ? mul(others, input(4)) : others;
  const share = apply("div", input(0), constant(classes));
  const samples = sumOf(op, expr, inputs, [scores.ndim - 1], share);
  return reduced(op, itself, [samples], reduction);
}

/** Number of classes along the last axis. */
function classesOf(op: string, t: Tensor, [low, high]: readonly [number, number]): number {
  const classes = t.shape.at(-1);
  if (classes !== undefined && classes > 0 && t.ndim >= low && t.ndim <= high) return classes;
  throw new ShapeError(
    `Cannot compute the ${op} of ${showShape(t.shape)}: expected ${
      high === 2 ? "[N, C] or [C]" : "[..., C]"
    } with at least one class`,
  );
}

function checkClassWeight(op: string, weight: Tensor, classes: number): void {
  checkFloats(op, [weight]);
  if (String(weight.shape) === String([classes])) return;
  throw new ShapeError(
    `Cannot compute the ${op} with a weight of shape ${
      showShape(weight.shape)
    }: expected [${classes}]`,
  );
}
