/** The usual steps: what a trainer and an evaluator do with a batch. */

import type { Context } from "./engine/context.ts";
import type { Engine, StepFunction } from "./engine/engine.ts";
import { SupervisedStepOutput, UnsupervisedStepOutput } from "./engine/step_output.ts";
import type { GradientAccumulator } from "./optim/accumulator.ts";
import { jit } from "./tensor/jit.ts";
import { noGrad } from "./tensor/tape.ts";
import type { Tensor } from "./tensor/tensor.ts";

/** A batch with what the model shall give for it. */
export interface SupervisedBatch {
  /** What the model takes, samples along axis 0. */
  readonly inputs: Tensor;
  /** What the loss compares with, samples along axis 0. */
  readonly targets: Tensor;
}

/** A batch without labels. */
export interface UnsupervisedBatch {
  /** What the model takes, samples along axis 0. */
  readonly inputs: Tensor;
}

/** The part of a model that the steps call. */
export interface ForwardModel {
  /** Predictions for inputs. */
  forward(inputs: Tensor): Tensor;
}

/** The part of an optimizer that the steps call. */
export interface StepOptimizer {
  /** Forgets the gradients. */
  zeroGrad(): void;
  /** Changes the parameters by their gradients. */
  step(): void;
}

/** One number for predictions and targets: the mean over the batch. */
export type LossFunction = (predictions: Tensor, targets: Tensor) => Tensor;

/** What training steps work with. */
export type TrainingContext = Context<ForwardModel, StepOptimizer, LossFunction>;

/** What evaluation steps work with. */
export type EvaluationContext = Context<ForwardModel, unknown, LossFunction>;

/** How a step is made. */
export interface CaptureOptions {
  /** Whether the step is captured and replayed by `jit`. @default {true} */
  readonly capture?: boolean;
}

/** How a training step is made. */
export interface TrainingStepOptions extends CaptureOptions {
  /**
   * Adds up the gradients of several batches, and steps in the place of the context's optimizer. Call
   * its `flush()` at the end of an epoch. @default {null, each batch is a step}
   */
  readonly accumulator?: Pick<GradientAccumulator, "backward" | "step"> | null;
}

/** Takes gradients and changes the parameters. */
function learn(
  engine: Engine,
  { optimizer }: TrainingContext,
  loss: Tensor,
  samples: number,
  { accumulator = null }: TrainingStepOptions,
): void {
  if (accumulator === null) {
    optimizer.zeroGrad();
    engine.backward(loss);
    optimizer.step();
  } else {
    engine.backward(loss, () => accumulator.backward(loss, samples));
    accumulator.step();
  }
}

function captured<B, R, C extends Context>(
  step: StepFunction<B, R, C>,
  { capture = true }: CaptureOptions,
): StepFunction<B, R, C> {
  return capture ? jit(step) : step;
}

/**
 * The step of supervised training: predictions, loss, gradients, update.
 *
 * `loss = lossFn(model.forward(inputs), targets)`. Norms of gradients are limited by the optimizer's
 * `maxGradNorm`.
 *
 * @param options capture, accumulator
 * @returns a step for `Engine`; its output holds loss, predictions and targets
 *
 * @example A line through three points
 * ```ts
 * import { Context, Engine, referenceDevice, SGD, supervisedStep, tensor } from "@legoml/legoml/core";
 * import { Linear, mseLoss } from "@legoml/legoml/nn";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Linear(1, 1, { device });
 * const optimizer = new SGD(model.parameters(), { lr: 0.2 });
 * const trainer = new Engine(
 *   supervisedStep(),
 *   new Context({ model, optimizer, lossFn: mseLoss, device }),
 * );
 * const batch = {
 *   inputs: tensor([[0], [1], [2]], { device }),
 *   targets: tensor([[1], [3], [5]], { device }),
 * };
 * await trainer.loop([batch], { maxEpochs: 200 });
 * assertAlmostEquals(await model.bias!.item(), 1, 1e-3);
 * ```
 */
export function supervisedStep<B extends SupervisedBatch = SupervisedBatch>(
  options: TrainingStepOptions = {},
): StepFunction<B, SupervisedStepOutput<Tensor>, TrainingContext> {
  return captured((engine, { inputs, targets }: B, context: TrainingContext) => {
    const predictions = context.model.forward(inputs);
    const loss = context.lossFn(predictions, targets);
    learn(engine, context, loss, inputs.shape[0] ?? 1, options);
    return new SupervisedStepOutput({ loss, predictions, targets });
  }, options);
}

/**
 * The step of supervised evaluation: predictions and loss, without gradients.
 *
 * `EvalOnEpochEndCallback` puts the model into evaluation mode; elsewhere, call `model.eval()` first.
 *
 * @param options capture
 * @returns a step for `Engine`; its output holds loss, predictions and targets
 *
 * @example
 * ```ts
 * import { Context, Engine, evaluationStep, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { MeanLoss, MetricsCallback } from "@legoml/legoml/metrics";
 * import { Identity, mseLoss } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const context = new Context({ model: new Identity(), lossFn: mseLoss, device });
 * const evaluator = new Engine(evaluationStep(), context, {
 *   callbacks: [new MetricsCallback([new MeanLoss()])],
 * });
 * const batch = { inputs: tensor([1, 2], { device }), targets: tensor([1, 4], { device }) };
 * assertEquals((await evaluator.loop([batch])).metrics.loss, 2);
 * ```
 */
export function evaluationStep<B extends SupervisedBatch = SupervisedBatch>(
  options: CaptureOptions = {},
): StepFunction<B, SupervisedStepOutput<Tensor>, EvaluationContext> {
  return captured(
    (_engine, { inputs, targets }: B, { model, lossFn }: EvaluationContext) =>
      noGrad(() => {
        const predictions = model.forward(inputs);
        return new SupervisedStepOutput({
          loss: lossFn(predictions, targets),
          predictions,
          targets,
        });
      }),
    options,
  );
}

/**
 * The step of an autoencoder's training: its own inputs are the targets.
 *
 * `loss = lossFn(model.forward(inputs), inputs)`.
 *
 * @param options capture, accumulator
 * @returns a step for `Engine`; its output holds loss and reconstructions
 *
 * @example
 * ```ts
 * import { autoencoderStep, Context, Engine, referenceDevice, SGD, tensor } from "@legoml/legoml/core";
 * import { Linear, mseLoss } from "@legoml/legoml/nn";
 * import { assert } from "@std/assert";
 *
 * const device = referenceDevice();
 * const model = new Linear(2, 2, { device });
 * const optimizer = new SGD(model.parameters(), { lr: 0.5 });
 * const context = new Context({ model, optimizer, lossFn: mseLoss, device });
 * const trainer = new Engine(autoencoderStep(), context);
 * const inputs = tensor([[1, 0], [0, 1]], { device });
 * await trainer.loop([{ inputs }], { maxEpochs: 300 });
 * assert(await mseLoss(model.forward(inputs), inputs).item() < 1e-3);
 * ```
 */
export function autoencoderStep<B extends UnsupervisedBatch = UnsupervisedBatch>(
  options: TrainingStepOptions = {},
): StepFunction<B, UnsupervisedStepOutput<Tensor>, TrainingContext> {
  return captured((engine, { inputs }: B, context: TrainingContext) => {
    const reconstructions = context.model.forward(inputs);
    const loss = context.lossFn(reconstructions, inputs);
    learn(engine, context, loss, inputs.shape[0] ?? 1, options);
    return new UnsupervisedStepOutput({ loss, reconstructions });
  }, options);
}
