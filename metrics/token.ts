/** Metrics of models that predict the next token. */

import type { StepOutput } from "../core/engine/mod.ts";
import { crossEntropy } from "../core/mod.ts";
import { countRight, shareOfRight } from "./accuracy.ts";
import { DeviceMetric } from "./device_metric.ts";
import { DeviceSum } from "./device_sum.ts";
import { checkIgnored, checkOutside, classLabels, countCodes } from "./labels.ts";
import type { LabelFields, ValuesByName } from "./metric.ts";

/** Options of the metrics of tokens. */
export interface TokenOptions<N extends string = string> {
  /** The target of tokens that do not count. @default {-100} */
  ignoreIndex?: number;
  /**
   * The axis of the predictions that goes through the vocabulary; negative ones count from the end.
   * @default {-1}
   */
  classDim?: number;
  /** The name of the value. @default {"token_accuracy" or "perplexity"} */
  name?: N;
}

/**
 * Share of tokens whose largest score is that of the target; 0 without tokens that count.
 *
 * Step outputs need `predictions` [N, T, V], scores along the last axis (or `classDim`), and
 * `targets` [N, T], integer tokens from 0 to V − 1 or `ignoreIndex`. Each token weighs the same,
 * however many of a batch are ignored.
 *
 * @example The padding does not count
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { TokenAccuracy } from "@legoml/legoml/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const accuracy = new TokenAccuracy();
 * accuracy.update(
 *   new DictStepOutput({
 *     predictions: tensor([[[2, 0], [0, 1], [3, 1]]], { device }),
 *     targets: tensor([[0, 0, -100]], { dtype: "i32", device }),
 *   }),
 * );
 * assertEquals((await accuracy.compute()).token_accuracy, 0.5);
 * ```
 */
export class TokenAccuracy<N extends string = "token_accuracy">
  extends DeviceMetric<N, N, LabelFields> {
  readonly #counts: DeviceSum;
  readonly #options: { readonly ignoreIndex: number; readonly classDim: number };
  #classes: number | null = null;

  /**
   * Makes the metric, without tokens.
   *
   * @param options the target to ignore, the axis of the vocabulary, and name
   * @throws {RangeError} if `ignoreIndex` is no i32
   */
  constructor(options: TokenOptions<N> = {}) {
    const { ignoreIndex = -100, classDim = -1, name = "token_accuracy" as N } = options;
    checkIgnored(name, ignoreIndex);
    const counts = new DeviceSum(3);
    super(name, { parts: [counts], options: { ignoreIndex } });
    this.#counts = counts;
    this.#options = { ignoreIndex, classDim };
  }

  /**
   * Counts the tokens of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name, this.#options);
    this.#classes = labels.classes;
    countRight(this.#counts, labels);
  }

  /**
   * The share of right tokens.
   *
   * @throws {RangeError} if targets were neither tokens from 0 to V − 1 nor to be ignored
   */
  async compute(): Promise<ValuesByName<N>> {
    const [counts] = await this.read();
    return this.values(shareOfRight(this.name, counts, this.#classes));
  }
}

/** Codes of tokens: those that count, and those that are none. */
const CODES = 2;

/**
 * Perplexity, the exponential of the mean negative log-likelihood of all tokens that count:
 * `exp(−1/n · Σ log softmax(z)_t)`; NaN without tokens.
 *
 * Step outputs need what `TokenAccuracy` needs, with logits as predictions. The mean goes over
 * tokens, so batches of which much is ignored weigh less: it is not the mean of the steps'
 * perplexities. The sum is an f32 on the device: over n steps the relative error of the mean is
 * about √n · 6e-8, which the exponential multiplies by that mean.
 *
 * @example Two equally likely tokens
 * ```ts
 * import { DictStepOutput, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { Perplexity } from "@legoml/legoml/metrics";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const perplexity = new Perplexity();
 * perplexity.update(
 *   new DictStepOutput({
 *     predictions: tensor([[[1, 1], [3, 3]]], { device }),
 *     targets: tensor([[0, 1]], { dtype: "i32", device }),
 *   }),
 * );
 * assertAlmostEquals((await perplexity.compute()).perplexity, 2, 1e-6);
 * ```
 */
export class Perplexity<N extends string = "perplexity"> extends DeviceMetric<N, N, LabelFields> {
  readonly #loss: DeviceSum;
  readonly #counts: DeviceSum;
  readonly #options: { readonly ignoreIndex: number; readonly classDim: number };
  #classes: number | null = null;

  /**
   * Makes the metric, without tokens.
   *
   * @param options the target to ignore, the axis of the vocabulary, and name
   * @throws {RangeError} if `ignoreIndex` is no i32
   */
  constructor(options: TokenOptions<N> = {}) {
    const { ignoreIndex = -100, classDim = -1, name = "perplexity" as N } = options;
    checkIgnored(name, ignoreIndex);
    const [loss, counts] = [new DeviceSum(1, "f32"), new DeviceSum(CODES)];
    super(name, { parts: [loss, counts], better: "down", options: { ignoreIndex } });
    this.#loss = loss;
    this.#counts = counts;
    this.#options = { ignoreIndex, classDim };
  }

  /**
   * Adds the log-likelihoods of a step.
   *
   * @throws {MetricInputError} if `predictions` or `targets` is missing
   * @throws {ShapeError} if their shapes do not fit
   * @throws {DTypeError} if the predictions are no floats
   */
  update(output: StepOutput): void {
    const labels = classLabels(output, this.name, this.#options);
    this.#classes = labels.classes;
    const { ignoreIndex } = this.#options;
    this.#loss.add(
      labels.like,
      () => crossEntropy(labels.scores(), labels.actual(), { ignoreIndex, reduction: "sum" }),
    );
    this.#counts.add(labels.like, () => {
      const counted = labels.actual().mul(0);
      return countCodes(labels.coded(counted, 1), CODES);
    }, labels.count);
  }

  /**
   * The perplexity.
   *
   * @throws {RangeError} if targets were neither tokens from 0 to V − 1 nor to be ignored
   */
  async compute(): Promise<ValuesByName<N>> {
    const [[loss], [tokens, outside]] = (await this.read()).map((part) => Array.from(part));
    checkOutside(this.name, outside, tokens + outside, this.#classes);
    return this.values(Math.exp(loss / tokens));
  }
}
