/** Similarities and distances of vectors, and losses of them. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { map, sumOf } from "../core/tensor/map.ts";
import { axisOf, broadcastShapes } from "../core/tensor/shape.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { atLeastZero, checkAlike, checkFloats, checkOption, reduced } from "./loss_parts.ts";
import type { LossOptions } from "./losses.ts";

/** How the angle of two vectors is measured. */
export interface CosineSimilarityOptions {
  /** The axis of the vectors; negative ones count from the end. @default {1} */
  readonly dim?: number;
  /** Least length of a vector in the divisor, at least 0. @default {1e-8} */
  readonly eps?: number;
}

/** How the distance of two vectors is measured. */
export interface PairwiseDistanceOptions {
  /** Exponent of the norm, at least 1. @default {2} */
  readonly p?: number;
  /** Added to each difference. @default {1e-6} */
  readonly eps?: number;
  /** Whether the last axis stays with size 1. @default {false} */
  readonly keepdim?: boolean;
}

/** How far apart vectors of different kind must point. */
export interface CosineEmbeddingLossOptions extends LossOptions {
  /** Similarity up to which different vectors cost nothing, from −1 to 1. @default {0} */
  readonly margin?: number;
}

/** How triplets are compared. */
export interface TripletMarginLossOptions extends LossOptions {
  /** What the negative must be farther away by. @default {1} */
  readonly margin?: number;
  /** Exponent of the norm, at least 1. @default {2} */
  readonly p?: number;
  /** Added to each difference. @default {1e-6} */
  readonly eps?: number;
  /** Whether the negative is compared with the positive, too, if that is nearer. @default {false} */
  readonly swap?: boolean;
}

const [a, b] = [input(0), input(1)];
const add = (x: Expr, y: Expr): Expr => apply("add", x, y);
const sub = (x: Expr, y: Expr): Expr => apply("sub", x, y);
const mul = (x: Expr, y: Expr): Expr => apply("mul", x, y);
const square = (x: Expr): Expr => apply("square", x);

/** Sums over an axis of products, and of both squares. */
function products(op: string, x1: Tensor, x2: Tensor, axis: number): Tensor[] {
  return [
    sumOf(op, mul(a, b), [x1, x2], [axis]),
    ...[x1, x2].map((t) => sumOf(op, square(a), [t], [axis])),
  ];
}

/** Two shapes that broadcast, both written out. */
function alike(op: string, x1: Tensor, x2: Tensor): [Tensor, Tensor] {
  checkFloats(op, [x1, x2]);
  const shape = broadcastShapes(op, [x1.shape, x2.shape]);
  return [x1.expand(shape), x2.expand(shape)];
}

/**
 * Cosine of the angle between vectors: `x1·x2 / (max(‖x1‖, eps)·max(‖x2‖, eps))`. As
 * torch.nn.functional.cosine_similarity; of vectors shorter than eps, too, the gradient is that of
 * this formula, while PyTorch's takes their length as if it had not been held.
 *
 * @param x1 any shape with the axis, f32 or f16
 * @param x2 a shape that broadcasts with that of x1
 * @param options dim, eps
 * @returns f32 of the broadcast shape without the axis
 * @throws {ShapeError} if the shapes do not broadcast, or there is no such axis
 * @throws {RangeError} if eps is below 0
 *
 * @example
 * ```ts
 * import { cosineSimilarity } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([[3, 4], [0, 2]], { device });
 * assertEquals(await cosineSimilarity(x, tensor([[0, 1]], { device })).array(), [0.8, 1]);
 * ```
 */
export function cosineSimilarity(
  x1: Tensor,
  x2: Tensor,
  options: CosineSimilarityOptions = {},
): Tensor {
  const op = "cosineSimilarity";
  const { dim = 1, eps = 1e-8 } = options;
  checkOption(op, "eps", eps, [0, Infinity]);
  const pair = alike(op, x1, x2);
  const axis = axisOf(`compute the ${op}`, dim, pair[0].ndim);
  // Of squares, so that the root has a derivative at 0.
  const least = constant(eps * eps);
  const [one, other] = [input(1), input(2)].map((n) => apply("rsqrt", apply("maximum", n, least)));
  return map(op, mul(a, mul(one, other)), products(op, ...pair, axis));
}

/**
 * Distance of vectors along the last axis: `(Σ |x1 − x2 + eps|^p)^(1/p)`. As
 * torch.nn.functional.pairwise_distance.
 *
 * @param x1 [..., D], f32 or f16
 * @param x2 a shape that broadcasts with that of x1
 * @param options p, eps, keepdim
 * @returns f32 of the broadcast shape without the last axis, or with 1 there
 * @throws {ShapeError} if the shapes do not broadcast, or there is no axis
 * @throws {RangeError} if p is not from 1 to below infinity
 *
 * @example
 * ```ts
 * import { pairwiseDistance } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x, y] = [tensor([[0, 0]], { device }), tensor([[3, 4]], { device })];
 * assertEquals(await pairwiseDistance(x, y, { eps: 0 }).array(), [5]);
 * ```
 */
export function pairwiseDistance(
  x1: Tensor,
  x2: Tensor,
  options: PairwiseDistanceOptions = {},
): Tensor {
  const { p = 2, eps = 1e-6, keepdim = false } = options;
  const op = "pairwiseDistance";
  const distance = norm(op, x1, x2, checkNorm(op, p), checkOption(op, "eps", eps));
  return keepdim ? distance.unsqueeze(-1) : distance;
}

function checkNorm(op: string, p: number): number {
  return checkOption(op, "p", p, [1, Number.MAX_VALUE]);
}

/** The norm of differences along the last axis. */
function norm(op: string, x1: Tensor, x2: Tensor, p: number, eps: number): Tensor {
  const pair = alike(op, x1, x2);
  if (pair[0].ndim === 0) {
    throw new ShapeError(`Cannot compute the ${op} of [] and []: expected vectors`);
  }
  const difference = add(sub(a, b), constant(eps));
  const size = apply("abs", difference);
  const axes = [pair[0].ndim - 1];
  if (p === 1) return sumOf(op, size, pair, axes);
  if (p === 2) return map(op, root(a), [sumOf(op, square(difference), pair, axes)]);
  const sum = sumOf(op, apply("pow", size, constant(p)), pair, axes);
  return map(op, apply("pow", a, constant(1 / p)), [sum]);
}

/** A square root whose derivative at 0 is 0. */
function root(x: Expr): Expr {
  const some = apply("gt", x, constant(0));
  const positive = apply("where", some, x, constant(1));
  return apply("where", some, apply("sqrt", positive), constant(0));
}

/**
 * Loss of pairs of vectors: `1 − cos` for targets of 1, `max(0, cos − margin)` for those of −1. As
 * torch.nn.functional.cosine_embedding_loss, with its 1e-12 added to the squared lengths.
 *
 * @param x1 [N, D] or [D], f32 or f16
 * @param x2 the same shape
 * @param target [N] or [], 1 or −1, f32 or f16
 * @param options margin, reduction
 * @returns an f32 scalar, or the shape of the targets where nothing is reduced
 * @throws {ShapeError} if the shapes do not fit
 * @throws {RangeError} if the margin is not from −1 to 1
 *
 * @example
 * ```ts
 * import { cosineEmbeddingLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const [x1, x2] = [tensor([[3, 4]], { device }), tensor([[0, 1]], { device })];
 * const loss = cosineEmbeddingLoss(x1, x2, tensor([1], { device }));
 * assertAlmostEquals(await loss.item(), 1 - 0.8, 1e-9);
 * ```
 */
export function cosineEmbeddingLoss(
  x1: Tensor,
  x2: Tensor,
  target: Tensor,
  options: CosineEmbeddingLossOptions = {},
): Tensor {
  const op = "cosineEmbeddingLoss";
  const { margin = 0, reduction } = options;
  checkOption(op, "margin", margin, [-1, 1]);
  checkAlike(op, { x1, x2 });
  checkFloats(op, [target]);
  if (
    (x1.ndim !== 1 && x1.ndim !== 2) || String(target.shape) !== String(x1.shape.slice(0, -1))
  ) {
    throw new ShapeError(
      `Cannot compute the ${op} of ${showShape(x1.shape)} with targets ${
        showShape(target.shape)
      }: expected vectors [N, D] with targets [N], or [D] with []`,
    );
  }
  const sums = products(op, x1, x2, x1.ndim - 1);
  const tiny = constant(1e-12);
  const lengths = mul(add(input(1), tiny), add(input(2), tiny));
  const cosine = mul(a, apply("rsqrt", lengths));
  const [same, different] = [1, -1].map((n) => apply("eq", input(3), constant(n)));
  const zero = constant(0);
  const loss = add(
    apply("where", same, sub(constant(1), cosine), zero),
    apply("where", different, atLeastZero(sub(cosine, constant(margin))), zero),
  );
  return reduced(op, loss, [...sums, target], reduction);
}

/**
 * Loss of triplets whose negative is not farther away than the positive:
 * `max(0, d(anchor, positive) − d(anchor, negative) + margin)`. As
 * torch.nn.functional.triplet_margin_loss.
 *
 * @param anchor [..., D], f32 or f16
 * @param positive a shape that broadcasts with that of the anchor
 * @param negative likewise
 * @param options margin, p, eps, swap, reduction
 * @returns an f32 scalar, or [...] where nothing is reduced
 * @throws {ShapeError} if the shapes do not broadcast, or there is no axis
 * @throws {RangeError} if an option is out of its range
 *
 * @example
 * ```ts
 * import { tripletMarginLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const rows = [[[0, 0]], [[3, 4]], [[0, 5.5]]];
 * const [anchor, positive, negative] = rows.map((row) => tensor(row, { device }));
 * const loss = tripletMarginLoss(anchor, positive, negative, { eps: 0 });
 * assertEquals(await loss.item(), 0.5);
 * ```
 */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: TripletMarginLossOptions = {},
): Tensor {
  const op = "tripletMarginLoss";
  const { margin = 1, p = 2, eps = 1e-6, swap = false, reduction } = options;
  checkOption(op, "margin", margin, [0, Infinity]);
  checkNorm(op, p);
  checkOption(op, "eps", eps);
  const distance = (x1: Tensor, x2: Tensor) => norm(op, x1, x2, p, eps);
  const near = distance(anchor, positive);
  const far = [distance(anchor, negative), ...(swap ? [distance(positive, negative)] : [])];
  const farther = swap ? apply("minimum", input(1), input(2)) : input(1);
  const missing = add(sub(a, farther), constant(margin));
  return reduced(op, atLeastZero(missing), [near, ...far], reduction);
}
