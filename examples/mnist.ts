/**
 * Trains a small convolutional network on handwritten digits.
 *
 *   deno run -A --unstable-webgpu examples/mnist.ts --help
 *
 * Without a network the built-in digits, drawn by code, take the place of MNIST; the program says so.
 */

import {
  AdamW,
  CheckpointCallback,
  CheckpointStore,
  type ClassificationBatch,
  Context,
  crossEntropy,
  Engine,
  EvalOnEpochEndCallback,
  evaluationStep,
  getDevice,
  ImageLoader,
  LrScheduleCallback,
  MeanLoss,
  MetricsCallback,
  MultiClassAccuracy,
  run,
  type RunOptions,
  schedule,
  supervisedStep,
  TinyCNNNode,
  TrackingCallback,
} from "../mod.ts";
import { digitImages } from "./images.ts";
import { choiceFlag, countFlag, free, numberFlag, textFlag, type Values } from "./program.ts";
import { display, goOn, training, trainingProgram } from "./training.ts";

const flags = {
  epochs: free(countFlag(1, 3, "times to go through the training images")),
  batchSize: countFlag(1, 64, "images in a step"),
  lr: numberFlag(0, 1e-3, "learning rate of AdamW at the start; it falls evenly to 0"),
  dataset: choiceFlag(["mnist", "fashion", "digits"], null, "the images"),
  data: textFlag(null, "folder with the four IDX files, instead of a download"),
  limit: countFlag(1, null, "at most so many training images"),
  ...training,
};

/** Trains, and evaluates after each epoch; `opening` says in which folder, a new one or that of a run. */
async function main(values: Values<typeof flags>, opening: RunOptions) {
  const started = performance.now();
  const { epochs, batchSize, lr, seed } = values;
  const [train, test] = await digitImages(values);
  const device = await getDevice({ kind: values.device });
  console.error(
    `${train.name}: ${train.count} training and ${test.count} test images; ${device.choice}`,
  );

  const model = new TinyCNNNode().build({ device, seed });
  const optimizer = new AdamW(model.parameters(), { lr });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const metrics = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
  const evaluator = new Engine(evaluationStep<ClassificationBatch>(), context, {
    name: "evaluator",
    callbacks: [metrics()],
  });
  const testLoader = new ImageLoader(test, { batchSize: 256, device });
  const trainLoader = new ImageLoader(train, { batchSize, device, shuffle: true, seed });

  return await run(opening, async (session) => {
    const checkpoints = new CheckpointCallback(new CheckpointStore(session.checkpointsDir), {
      parts: { loader: trainLoader },
      best: { monitor: "test/accuracy" },
    });
    const trainer = new Engine(supervisedStep<ClassificationBatch>(), context, {
      name: "trainer",
      callbacks: [
        metrics(),
        // Weights that still move fast at the end leave the batch statistics of evaluation behind.
        new LrScheduleCallback(schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null })),
        new EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
        new TrackingCallback(session),
        checkpoints,
        ...display(values),
      ],
    });
    const { epoch: done } = await goOn(trainer);
    const state = await trainer.loop(trainLoader, { maxEpochs: Math.max(epochs - done, 0) });
    await session.saveModel(model);
    const result = {
      dataset: train.name.replace(/ train$/, ""),
      device: device.name,
      parameters: model.parameterCount,
      epochs: state.epoch,
      steps: state.globalStep,
      trainLoss: state.metrics.loss,
      testLoss: state.metrics["test/loss"],
      testAccuracy: state.metrics["test/accuracy"],
      seconds: Math.round((performance.now() - started) / 10) / 100,
      runDir: session.dir,
    };
    session.logEvent("result", result);
    return result;
  });
}

if (import.meta.main) {
  const purpose = "Trains a small convolutional network on 28×28 images.";
  await trainingProgram("mnist", purpose, flags, main);
}
