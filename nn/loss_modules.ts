/** Losses as modules: the functions with their options fixed. */

import type { Tensor } from "../core/mod.ts";
import {
  crossEntropy,
  type CrossEntropyOptions,
  nllLoss,
  type NllLossOptions,
} from "../core/tensor/cross_entropy.ts";
import {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropyWithLogits,
  huberLoss,
  type HuberLossOptions,
  klDiv,
  type KlDivOptions,
  l1Loss,
  type LossOptions,
  mseLoss,
  smoothL1Loss,
  type SmoothL1LossOptions,
} from "./losses.ts";
import { Module } from "./module.ts";

/**
 * Cross-entropy between logits and class numbers, as `crossEntropy`.
 *
 * Buffer: `weight` [C], where class weights are given.
 *
 * @example
 * ```ts
 * import { CrossEntropyLoss } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const lossFn = new CrossEntropyLoss({ ignoreIndex: -1 });
 * const logits = tensor([[0, 0], [5, 9]], { device });
 * const targets = tensor([1, -1], { dtype: "i32", device });
 * assertAlmostEquals(await lossFn.forward(logits, targets).item(), Math.LN2, 1e-7);
 * ```
 */
export class CrossEntropyLoss extends Module {
  /** Weights of the classes [C], or null */
  readonly weight: Tensor | null;
  readonly #options: CrossEntropyOptions;

  /**
   * Takes the options.
   *
   * @param options weight, ignoreIndex, labelSmoothing, reduction
   */
  constructor(options: CrossEntropyOptions = {}) {
    super();
    this.#options = { ...options };
    this.weight = options.weight ? this.registerBuffer("weight", options.weight) : null;
  }

  /**
   * Takes the loss.
   *
   * @param logits [N, C], [N, C, d1, …] or [C], f32 or f16
   * @param targets class numbers from 0 to C − 1 in i32: [N], [N, d1, …] or []
   * @returns an f32 scalar, or the shape of the targets where nothing is reduced
   * @throws {ShapeError} if the shapes do not fit
   * @throws {DTypeError} if the operands have the wrong dtype
   */
  forward(logits: Tensor, targets: Tensor): Tensor {
    return crossEntropy(logits, targets, { ...this.#options, weight: this.weight ?? undefined });
  }
}

/**
 * Negative log-likelihood of class numbers, as `nllLoss`.
 *
 * Buffer: `weight` [C], where class weights are given.
 */
export class NLLLoss extends Module {
  /** Weights of the classes [C], or null */
  readonly weight: Tensor | null;
  readonly #options: NllLossOptions;

  /**
   * Takes the options.
   *
   * @param options weight, ignoreIndex, reduction
   */
  constructor(options: NllLossOptions = {}) {
    super();
    this.#options = { ...options };
    this.weight = options.weight ? this.registerBuffer("weight", options.weight) : null;
  }

  /**
   * Takes the loss.
   *
   * @param logProbabilities [N, C], [N, C, d1, …] or [C], f32 or f16
   * @param targets class numbers from 0 to C − 1 in i32: [N], [N, d1, …] or []
   * @returns an f32 scalar, or the shape of the targets where nothing is reduced
   * @throws {ShapeError} if the shapes do not fit
   * @throws {DTypeError} if the operands have the wrong dtype
   */
  forward(logProbabilities: Tensor, targets: Tensor): Tensor {
    const options = { ...this.#options, weight: this.weight ?? undefined };
    return nllLoss(logProbabilities, targets, options);
  }
}

/**
 * Binary cross-entropy of the sigmoid of logits, as `binaryCrossEntropyWithLogits`.
 *
 * Buffers: `weight` and `pos_weight`, where they are given.
 */
export class BCEWithLogitsLoss extends Module {
  /** Factor of each element's loss, or null */
  readonly weight: Tensor | null;
  /** Factor of the loss of positives, or null */
  readonly pos_weight: Tensor | null;
  readonly #options: BinaryCrossEntropyOptions;

  /**
   * Takes the options.
   *
   * @param options weight, posWeight, reduction
   */
  constructor(options: BinaryCrossEntropyOptions = {}) {
    super();
    const { weight, posWeight } = options;
    this.#options = { ...options };
    this.weight = weight ? this.registerBuffer("weight", weight) : null;
    this.pos_weight = posWeight ? this.registerBuffer("pos_weight", posWeight) : null;
  }

  /**
   * Takes the loss.
   *
   * @param logits any shape, f32 or f16
   * @param target the same shape, probabilities from 0 to 1
   * @returns an f32 scalar, or the shape of the logits where nothing is reduced
   * @throws {ShapeError} if the shapes differ, or a weight does not broadcast to them
   */
  forward(logits: Tensor, target: Tensor): Tensor {
    return binaryCrossEntropyWithLogits(logits, target, {
      ...this.#options,
      weight: this.weight ?? undefined,
      posWeight: this.pos_weight ?? undefined,
    });
  }
}

/** Squared error, as `mseLoss`. */
export class MSELoss extends Module {
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
   * Takes the loss.
   *
   * @param prediction any shape, f32 or f16
   * @param target the same shape
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(prediction: Tensor, target: Tensor): Tensor {
    return mseLoss(prediction, target, this.#options);
  }
}

/** Absolute error, as `l1Loss`. */
export class L1Loss extends Module {
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
   * Takes the loss.
   *
   * @param prediction any shape, f32 or f16
   * @param target the same shape
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(prediction: Tensor, target: Tensor): Tensor {
    return l1Loss(prediction, target, this.#options);
  }
}

/** Huber's loss, as `huberLoss`. */
export class HuberLoss extends Module {
  readonly #options: HuberLossOptions;

  /**
   * Takes the options.
   *
   * @param options delta, reduction
   */
  constructor(options: HuberLossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Takes the loss.
   *
   * @param prediction any shape, f32 or f16
   * @param target the same shape
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(prediction: Tensor, target: Tensor): Tensor {
    return huberLoss(prediction, target, this.#options);
  }
}

/** Smooth absolute error, as `smoothL1Loss`. */
export class SmoothL1Loss extends Module {
  readonly #options: SmoothL1LossOptions;

  /**
   * Takes the options.
   *
   * @param options beta, reduction
   */
  constructor(options: SmoothL1LossOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Takes the loss.
   *
   * @param prediction any shape, f32 or f16
   * @param target the same shape
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(prediction: Tensor, target: Tensor): Tensor {
    return smoothL1Loss(prediction, target, this.#options);
  }
}

/** Kullback-Leibler divergence, as `klDiv`. */
export class KLDivLoss extends Module {
  readonly #options: KlDivOptions;

  /**
   * Takes the options.
   *
   * @param options logTarget, reduction
   */
  constructor(options: KlDivOptions = {}) {
    super();
    this.#options = { ...options };
  }

  /**
   * Takes the loss.
   *
   * @param logProbabilities logarithms of probabilities, any shape, f32 or f16
   * @param target probabilities, or their logarithms, of the same shape
   * @returns an f32 scalar, or the shape of the input where nothing is reduced
   * @throws {ShapeError} if the shapes differ
   */
  forward(logProbabilities: Tensor, target: Tensor): Tensor {
    return klDiv(logProbabilities, target, this.#options);
  }
}
