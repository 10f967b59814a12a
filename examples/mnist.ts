/**
 * Trains a small convolutional network on handwritten digits.
 *
 *   deno run -A --unstable-webgpu examples/mnist.ts --help
 *
 * Without a network the built-in digits, drawn by code, take the place of MNIST; the program says so.
 */

import {
  AdamW,
  type ClassificationBatch,
  Context,
  crossEntropy,
  digits,
  DownloadError,
  Engine,
  EvalOnEpochEndCallback,
  evaluationStep,
  fashionMnist,
  getDevice,
  type ImageDataset,
  ImageLoader,
  LrScheduleCallback,
  MeanLoss,
  MetricsCallback,
  mnist,
  MultiClassAccuracy,
  ProgressBarCallback,
  run,
  schedule,
  supervisedStep,
  TinyCNNNode,
  TrackingCallback,
} from "../mod.ts";
import {
  choiceFlag,
  common,
  countFlag,
  numberFlag,
  program,
  textFlag,
  type Values,
} from "./program.ts";

const flags = {
  epochs: countFlag(1, 3, "times to go through the training images"),
  batchSize: countFlag(1, 64, "images in a step"),
  lr: numberFlag(0, 1e-3, "learning rate of AdamW at the start; it falls evenly to 0"),
  dataset: choiceFlag(["mnist", "fashion", "digits"], null, "the images"),
  data: textFlag(null, "folder with the four IDX files, instead of a download"),
  limit: countFlag(1, null, "at most so many training images"),
  ...common,
};

type Split = "train" | "test";

/** The images of both splits; the built-in ones where nobody asked for others and none can be downloaded. */
async function loadData(
  { dataset, data, limit, seed }: Pick<Values<typeof flags>, "dataset" | "data" | "limit" | "seed">,
): Promise<Record<Split, ImageDataset>> {
  const load = (split: Split) => {
    const count = split === "train" ? limit : undefined;
    if (dataset === "digits") {
      return digits({ split, count: count ?? (split === "train" ? 10_000 : 2_000), seed });
    }
    const source = dataset === "fashion" ? fashionMnist : mnist;
    return source({ split, dataDir: data, limit: count });
  };
  try {
    return { train: await load("train"), test: await load("test") };
  } catch (error) {
    if (!(error instanceof DownloadError) || dataset !== undefined) throw error;
    console.error(
      `MNIST cannot be downloaded here (${error.message}); using digits drawn by code.`,
    );
    return loadData({ dataset: "digits", data, limit, seed });
  }
}

async function main(values: Values<typeof flags>): Promise<Record<string, unknown>> {
  const started = performance.now();
  const { epochs, batchSize, lr, seed } = values;
  const { train, test } = await loadData(values);
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

  return await run({ name: "mnist", dir: values.runs, config: { ...values } }, async (session) => {
    const trainer = new Engine(supervisedStep<ClassificationBatch>(), context, {
      name: "trainer",
      callbacks: [
        metrics(),
        // Weights that still move fast at the end leave the batch statistics of evaluation behind.
        new LrScheduleCallback(schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null })),
        new EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
        new TrackingCallback(session),
        new ProgressBarCallback(),
      ],
    });
    const state = await trainer.loop(trainLoader, { maxEpochs: epochs });
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
  await program("Trains a small convolutional network on 28×28 images.", flags, main);
}
