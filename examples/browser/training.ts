/** What the page trains: a small convolutional network on digits drawn by code. The same code runs in Deno. */

import {
  AdamW,
  Context,
  crossEntropy,
  type Device,
  Engine,
  evaluationStep,
  noGrad,
  supervisedStep,
} from "../../core/mod.ts";
import type { ClassificationBatch } from "../../data/batch.ts";
import { digits } from "../../data/digits.ts";
import { ImageLoader } from "../../data/image_loader.ts";
import { MetricsCallback, MultiClassAccuracy } from "../../metrics/mod.ts";
import { ConvBlockNode, MLPNode, type TensorModule, TinyCNNNode } from "../../nn/mod.ts";

/** The network, as data. */
export const network: TinyCNNNode = new TinyCNNNode({
  convBlocks: [
    new ConvBlockNode({ inChannels: 1, outChannels: 16 }),
    new ConvBlockNode({ inChannels: 16, outChannels: 32 }),
  ],
  mlp: new MLPNode({ dims: [64, 10] }),
});

/** How to train. */
export interface TrainingOptions {
  /** Where. */
  readonly device: Device;
  /** How many steps. */
  readonly steps: number;
  /** Of the weights, the images and their order. */
  readonly seed: number;
  /** Images in a step. @default {64} */
  readonly batchSize?: number;
  /** Images to train on. @default {4000} */
  readonly images?: number;
  /** Told of each loss, one after the other. */
  readonly onLoss?: (loss: number, step: number) => void;
  /** Ends the training early. */
  readonly signal?: AbortSignal;
}

/** A network that was trained. */
export interface Training {
  readonly model: TensorModule;
  /** Of each step. */
  readonly losses: readonly number[];
}

/**
 * Trains the network.
 *
 * @param options device, steps, seed, batchSize, images, onLoss, signal
 * @returns the network and the losses
 */
export async function trainDigits(options: TrainingOptions): Promise<Training> {
  const { device, steps, seed, batchSize = 64, images = 4000, onLoss, signal } = options;
  const model = network.build({ device, seed });
  const optimizer = new AdamW(model.parameters(), { lr: 2e-3 });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  using loader = new ImageLoader(digits({ split: "train", count: images, seed }), {
    batchSize,
    device,
    shuffle: true,
    seed,
    dropLast: true,
  });
  const trainer = new Engine(supervisedStep<ClassificationBatch>(), context);
  const losses: number[] = [];
  trainer.on("stepEnd", async ({ state, output }) => {
    const loss = await output.loss.item();
    losses.push(loss);
    onLoss?.(loss, state.globalStep);
    if (signal?.aborted) trainer.stop();
  });
  await trainer.loop(loader, { maxSteps: steps });
  return { model, losses };
}

/**
 * How many of the test digits a network recognises.
 *
 * @param model the network
 * @param device where it is
 * @returns a share from 0 to 1
 */
export async function testAccuracy(model: TensorModule, device: Device): Promise<number> {
  using loader = new ImageLoader(digits({ split: "test", count: 1000 }), {
    batchSize: 250,
    device,
  });
  const context = new Context({ model, lossFn: crossEntropy, device });
  const evaluator = new Engine(evaluationStep<ClassificationBatch>(), context, {
    callbacks: [new MetricsCallback([new MultiClassAccuracy()])],
  });
  model.eval();
  const { metrics } = await evaluator.loop(loader);
  return metrics.accuracy!;
}

/** A test digit, and what a network takes it for. */
export interface Guess {
  /** 28 × 28 bytes, row by row. */
  readonly image: Uint8Array;
  readonly label: number;
  readonly guess: number;
}

/**
 * What a network takes the first test digits for.
 *
 * @param model the network
 * @param device where it is
 * @param count of digits
 */
export async function guessDigits(
  model: TensorModule,
  device: Device,
  count: number,
): Promise<Guess[]> {
  const dataset = digits({ split: "test", count });
  using loader = new ImageLoader(dataset, { batchSize: count, device });
  model.eval();
  for await (const { inputs } of loader) {
    const guesses = await noGrad(() => model.forward(inputs).argmax(1)).data();
    return Array.from(guesses, (guess, i) => ({
      image: dataset.images.subarray(i * 784, (i + 1) * 784),
      label: dataset.labels[i],
      guess,
    }));
  }
  return [];
}
