/** Margin losses, similarities and distances as modules: the functions with their options fixed. */

import type { Tensor } from "../core/mod.ts";
import {
  cosineEmbeddingLoss,
  type CosineEmbeddingLossOptions,
  cosineSimilarity,
  type CosineSimilarityOptions,
  pairwiseDistance,
  type PairwiseDistanceOptions,
  tripletMarginLoss,
  type TripletMarginLossOptions,
} from "./losses_distance.ts";
import {
  hingeEmbeddingLoss,
  type HingeEmbeddingLossOptions,
  marginRankingLoss,
  type MarginRankingLossOptions,
  multilabelSoftMarginLoss,
  type MultiLabelSoftMarginLossOptions,
  multiMarginLoss,
  type MultiMarginLossOptions,
  softMarginLoss,
} from "./losses_margin.ts";
import type { LossOptions } from "./losses.ts";
import { Module } from "./module.ts";

/**
 * Loss of a wrong order, as `marginRankingLoss`.
 */
export class MarginRankingLoss extends Module {
  readonly #options: MarginRankingLossOptions;

  /**
   * Takes the options.
   *
   * @param options margin, reduction
   */
  constructor(options: MarginRankingLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param x1 any shape, f32 or f16
   * @param x2 the same shape
   * @param target the same shape, 1 or −1
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(x1: Tensor, x2: Tensor, target: Tensor): Tensor {
    return marginRankingLoss(x1, x2, target, this.#options);
  }
}

/**
 * Loss of distances, as `hingeEmbeddingLoss`.
 */
export class HingeEmbeddingLoss extends Module {
  readonly #options: HingeEmbeddingLossOptions;

  /**
   * Takes the options.
   *
   * @param options margin, reduction
   */
  constructor(options: HingeEmbeddingLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param distances any shape, f32 or f16
   * @param target the same shape, 1 or −1
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(distances: Tensor, target: Tensor): Tensor {
    return hingeEmbeddingLoss(distances, target, this.#options);
  }
}

/**
 * Logistic loss, as `softMarginLoss`.
 */
export class SoftMarginLoss extends Module {
  readonly #options: LossOptions;

  /**
   * Takes the options.
   *
   * @param options reduction
   */
  constructor(options: LossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param scores any shape, f32 or f16
   * @param target the same shape, 1 or −1
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(scores: Tensor, target: Tensor): Tensor {
    return softMarginLoss(scores, target, this.#options);
  }
}

/**
 * Loss of several labels for each sample, as `multilabelSoftMarginLoss`.
 *
 * Buffer: `weight` [C], where class weights are given.
 */
export class MultiLabelSoftMarginLoss extends Module {
  /** Factor of each class [C], or null */
  readonly weight: Tensor | null;
  readonly #options: MultiLabelSoftMarginLossOptions;

  /**
   * Takes the options.
   *
   * @param options weight, reduction
   */
  constructor(options: MultiLabelSoftMarginLossOptions = {}) {
    super();
    this.#options = { ...options };
    this.weight = options.weight ? this.registerBuffer("weight", options.weight) : null;
  }

  /**
   * Computes the value.
   *
   * @param logits [..., C], f32 or f16
   * @param target the same shape, from 0 to 1
   * @returns an f32 scalar, or one value for each sample where nothing is reduced
   * @throws {ShapeError} if the shapes do not fit
   */
  forward(logits: Tensor, target: Tensor): Tensor {
    return multilabelSoftMarginLoss(logits, target, {
      ...this.#options,
      weight: this.weight ?? undefined,
    });
  }
}

/**
 * Loss of classes that come too near the right one, as `multiMarginLoss`.
 *
 * Buffer: `weight` [C], where class weights are given.
 */
export class MultiMarginLoss extends Module {
  /** Factor of each class [C], or null */
  readonly weight: Tensor | null;
  readonly #options: MultiMarginLossOptions;

  /**
   * Takes the options.
   *
   * @param options p, margin, weight, reduction
   */
  constructor(options: MultiMarginLossOptions = {}) {
    super();
    this.#options = { ...options };
    this.weight = options.weight ? this.registerBuffer("weight", options.weight) : null;
  }

  /**
   * Computes the value.
   *
   * @param scores [N, C] or [C], f32 or f16
   * @param targets class numbers from 0 to C − 1 in i32: [N] or []
   * @returns an f32 scalar, or one value for each sample where nothing is reduced
   * @throws {ShapeError} if the shapes do not fit
   */
  forward(scores: Tensor, targets: Tensor): Tensor {
    return multiMarginLoss(scores, targets, { ...this.#options, weight: this.weight ?? undefined });
  }
}

/**
 * Cosine of the angle between vectors, as `cosineSimilarity`.
 */
export class CosineSimilarity extends Module {
  readonly #options: CosineSimilarityOptions;

  /**
   * Takes the options.
   *
   * @param options dim, eps
   */
  constructor(options: CosineSimilarityOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param x1 any shape with the axis, f32 or f16
   * @param x2 a shape that broadcasts with that of x1
   * @returns f32 of the broadcast shape without the axis
   * @throws {ShapeError} if the shapes do not broadcast, or there is no such axis
   */
  forward(x1: Tensor, x2: Tensor): Tensor {
    return cosineSimilarity(x1, x2, this.#options);
  }
}

/**
 * Distance of vectors along the last axis, as `pairwiseDistance`.
 */
export class PairwiseDistance extends Module {
  readonly #options: PairwiseDistanceOptions;

  /**
   * Takes the options.
   *
   * @param options p, eps, keepdim
   */
  constructor(options: PairwiseDistanceOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param x1 [..., D], f32 or f16
   * @param x2 a shape that broadcasts with that of x1
   * @returns f32 of the broadcast shape without the last axis, or with 1 there
   * @throws {ShapeError} if the shapes do not broadcast, or there is no axis
   */
  forward(x1: Tensor, x2: Tensor): Tensor {
    return pairwiseDistance(x1, x2, this.#options);
  }
}

/**
 * Loss of pairs of vectors, as `cosineEmbeddingLoss`.
 */
export class CosineEmbeddingLoss extends Module {
  readonly #options: CosineEmbeddingLossOptions;

  /**
   * Takes the options.
   *
   * @param options margin, reduction
   */
  constructor(options: CosineEmbeddingLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param x1 [N, D] or [D], f32 or f16
   * @param x2 the same shape
   * @param target [N] or [], 1 or −1, f32 or f16
   * @returns an f32 scalar, or one value for each sample where nothing is reduced
   * @throws {ShapeError} if the shapes do not fit
   */
  forward(x1: Tensor, x2: Tensor, target: Tensor): Tensor {
    return cosineEmbeddingLoss(x1, x2, target, this.#options);
  }
}

/**
 * Loss of triplets, as `tripletMarginLoss`.
 */
export class TripletMarginLoss extends Module {
  readonly #options: TripletMarginLossOptions;

  /**
   * Takes the options.
   *
   * @param options margin, p, eps, swap, reduction
   */
  constructor(options: TripletMarginLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Computes the value.
   *
   * @param anchor [..., D], f32 or f16
   * @param positive a shape that broadcasts with that of the anchor
   * @param negative likewise
   * @returns an f32 scalar, or one value for each sample where nothing is reduced
   * @throws {ShapeError} if the shapes do not broadcast, or there is no axis
   */
  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    return tripletMarginLoss(anchor, positive, negative, this.#options);
  }
}
