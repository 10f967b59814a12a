/**
 * Trains a convolutional autoencoder: a network that squeezes an image into a few numbers, and draws
 * it again from these alone. Nobody tells it what the images show.
 *
 *   deno run -A --unstable-webgpu examples/autoencoder.ts --help
 *
 * Without a network connection the built-in digits, drawn by code, take the place of MNIST.
 */

import * as core from "../core/mod.ts";
import * as data from "../data/mod.ts";
import { MeanLoss, MetricsCallback } from "../metrics/mod.ts";
import * as nn from "../nn/mod.ts";
import * as track from "../track/mod.ts";
import { digitImages } from "./images.ts";
import { choiceFlag, countFlag, free, numberFlag, textFlag, type Values } from "./program.ts";
import { courses, display, goOn, training, trainingProgram } from "./training.ts";

const flags = {
  code: countFlag(1, 2, "channels of the code: an image becomes so many times 7×7 numbers"),
  epochs: free(countFlag(1, 3, "times to go through the training images")),
  batchSize: countFlag(1, 128, "images in a step"),
  lr: numberFlag(0, 2e-3, "learning rate of AdamW at the start; it falls evenly to 0"),
  dataset: choiceFlag(["mnist", "digits"], null, "the images"),
  data: textFlag(null, "folder with the four IDX files of MNIST, instead of a download"),
  limit: countFlag(1, null, "at most so many images of each split"),
  ...training,
};
type Flags = Values<typeof flags>;

/** Two convolutions that halve the size, and one of 1×1 to the code; the decoder is the usual one. */
const autoencoder = (outChannels: number) =>
  new nn.AutoencoderNode({
    sizes: [1, 28, 28],
    encoder: new nn.SequentialNode({
      parts: [
        new nn.Conv3x3NormActNode({ outChannels: 32, stride: 2 }),
        new nn.Conv3x3NormActNode({ outChannels: 64, stride: 2 }),
        new nn.Conv2dNode({ outChannels, kernelSize: 1 }),
      ],
    }),
  });

/** Images in a row, and below each of them what the model makes of it. */
async function comparison(model: nn.TensorModule, images: core.Tensor): Promise<Uint8Array> {
  model.eval();
  const both = core.noGrad(() => core.concat([images, model.forward(images)]));
  model.train();
  const pixels = { data: await both.data() as Float32Array, shape: both.shape };
  return await data.imageGrid(pixels, { columns: images.shape[0], scale: 2 });
}

async function main(values: Flags, opening: track.RunOptions) {
  const started = performance.now();
  const { batchSize, lr, seed } = values;
  const [train, test] = await digitImages({ ...values, testLimit: values.limit });
  const device = await core.getDevice({ kind: values.device });
  console.error(`${train.name}: ${train.count} and ${test.count} test images; ${device.choice}`);

  const node = autoencoder(values.code);
  const model = node.build({ device, seed });
  const optimizer = new core.AdamW(model.parameters(), { lr });
  const context = new core.Context({ model, optimizer, lossFn: nn.mseLoss, device });
  // Batches whose targets are their inputs: pixels from 0 to 1
  const loader = (images: data.ImageDataset, batchSize: number, shuffle: boolean) =>
    new data.DataLoader<data.LabelledItem, data.AutoencoderBatch>(images, {
      collate: data.autoencoderCollate(),
      ...{ batchSize, shuffle, seed, device },
    });
  const trainLoader = loader(train, batchSize, true);
  const evaluator = new core.Engine(core.evaluationStep<data.AutoencoderBatch>(), context, {
    callbacks: [new MetricsCallback([new MeanLoss()])],
  });

  const levels = Float32Array.from(test.images, (level) => level / 255);
  const images = core.tensor(levels, { shape: [test.count, 1, 28, 28], device });
  // The error of the mean image: what can be had without any code
  const variance = await images.var(0, { correction: 0 }).mean().item();

  return await track.run(opening, async (session) => {
    const store = new track.CheckpointStore(session.checkpointsDir);
    const rates = core.schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null });
    const trainer = new core.Engine(core.autoencoderStep<data.AutoencoderBatch>(), context, {
      callbacks: [
        new MetricsCallback([new MeanLoss()]),
        new core.LrScheduleCallback(rates),
        new core.EvalOnEpochEndCallback(evaluator, loader(test, 256, false), { prefix: "test" }),
        new track.TrackingCallback(session),
        new track.CheckpointCallback(store, {
          parts: { loader: trainLoader },
          best: { monitor: "test/loss" },
        }),
        ...display(values),
      ],
    });
    trainer.on("epochEnd", async ({ state, complete }) => {
      if (!complete) return;
      const picture = await comparison(model, images.narrow(0, 0, Math.min(16, test.count)));
      session.saveArtifact(`epoch-${`${state.epoch}`.padStart(3, "0")}.png`, picture);
    });
    const maxEpochs = Math.max(values.epochs - (await goOn(trainer)).epoch, 0);
    const state = await trainer.loop(trainLoader, { maxEpochs });

    const series = courses(session, ["train/loss", "test/loss"], "epoch");
    const text = { title: "mean squared error of a pixel", xLabel: "epoch" };
    session.saveArtifact("loss.svg", track.lineChart({ series, ...text, yScale: "log" }));
    session.saveArtifact("model.json", JSON.stringify(node, null, 2));
    await session.saveModel(model);
    const result = {
      dataset: train.name.replace(/ train$/, ""),
      device: device.name,
      parameters: model.parameterCount,
      steps: state.globalStep,
      trainLoss: state.metrics.loss,
      testLoss: state.metrics["test/loss"],
      testVariance: variance,
      seconds: Math.round((performance.now() - started) / 10) / 100,
      runDir: session.dir,
    };
    session.logEvent("result", result);
    return result;
  });
}

if (import.meta.main) {
  const purpose = "Trains a convolutional autoencoder on 28×28 images.";
  await trainingProgram("autoencoder", purpose, flags, main);
}
