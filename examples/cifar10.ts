/**
 * Trains a network of the zoo on CIFAR-10, and leaves pictures of what it learnt in the run folder.
 *
 *   deno run -A --unstable-webgpu examples/cifar10.ts --help
 *
 * Without a network the built-in shapes, drawn by code, take the place of CIFAR-10; it says so.
 */

import * as core from "../core/mod.ts";
import * as data from "../data/mod.ts";
import * as metrics from "../metrics/mod.ts";
import * as nn from "../nn/mod.ts";
import * as track from "../track/mod.ts";
import { colorImages } from "./images.ts";
import { choiceFlag, countFlag, free, numberFlag, textFlag, type Values } from "./program.ts";
import { courses, display, goOn, training, trainingProgram } from "./training.ts";

const flags = {
  model: choiceFlag(nn.zooNames, "CNN__MLP_tiny_32x32", "the network"),
  dataset: choiceFlag(["cifar10", "shapes"], null, "the images"),
  data: textFlag(null, "folder with CIFAR-10's binary files, instead of a download"),
  limit: countFlag(1, null, "at most so many training images"),
  testLimit: countFlag(1, null, "at most so many test images"),
  augment: choiceFlag(["none", "light", "randaugment"], "light", "how training images are changed"),
  epochs: free(countFlag(1, 20, "times to go through the training images")),
  batchSize: countFlag(1, 128, "images in a step"),
  lr: numberFlag(1e-9, 0.1, "largest learning rate of SGD, after a tenth of the steps"),
  ema: numberFlag(0, 0, "decay of averages of the weights, which are kept then; 0 for none"),
  summary: countFlag(0, null, "list the parts of the network first, so many levels of them"),
  ...training,
};
type Flags = Values<typeof flags>;

/** How images are changed on the device, in another way each time. */
function augmentation({ augment, seed }: Flags, { normalization }: data.ImageDataset) {
  const light = [data.randomCrop({ padding: 4 }), data.randomHorizontalFlip()];
  const moves = { none: [], light, randaugment: [...light, data.randAugment()] }[augment];
  const holes = augment === "none" ? [] : [data.cutout({ size: 8 })];
  return data.compose([...moves, data.normalizeImages(normalization), ...holes], { seed });
}

/** A step that changes the images before it learns them. */
function trainingStep(change: ReturnType<typeof augmentation>) {
  const learn = core.supervisedStep({ capture: false });
  return core.jit((engine: core.Engine, batch: data.ImageBatch, context: core.TrainingContext) => {
    const inputs = change.apply(batch.inputs, { samples: batch.indices });
    return learn(engine, { inputs, targets: batch.targets }, context);
  });
}

/** The course of a metric over the epochs, a line for each set of images. */
function curves(session: track.RunSession, metric: string): string {
  const keys = ["train", "test", "ema"].map((set) => `${set}/${metric}`);
  const series = courses(session, keys, "epoch", (key) => key.split("/")[0]);
  return track.lineChart({ series, title: metric, xLabel: "epoch" });
}

async function main(values: Flags, opening: track.RunOptions) {
  const { batchSize, lr, ema: decay, seed, summary: depth } = values;
  const [train, test] = await colorImages(values);
  const { shape, classes } = train;
  const device = await core.getDevice({ kind: values.device });
  console.error(`${train.name}: ${train.count} images, ${test.count} for tests; ${device.choice}`);

  const node = nn.zoo(values.model, { inChannels: shape[0], classes: classes.length });
  if (depth !== undefined) console.error(`${nn.summarize(node, [1, ...shape], { depth })}`);
  const model = node.build({ device, seed, inputShape: shape });
  const ema = decay === 0 ? null : { decay, warmup: true };
  const rule = { momentum: 0.9, nesterov: true, maxGradNorm: 1, ema };
  const optimizer = new core.SGD(nn.defaultGroups(model, { lr, weightDecay: 5e-4 }), rule);
  const lossFn: core.LossFunction = (x, y) => core.crossEntropy(x, y, { labelSmoothing: 0.1 });
  const context = new core.Context({ model, optimizer, lossFn, device });

  // Pixels of training images stay between 0 and 1 here: the step normalises what it has changed.
  const order = { shuffle: true, seed, normalization: { mean: 0, std: 1 } };
  const trainLoader = new data.ImageLoader(train, { batchSize, device, ...order });
  const testLoader = new data.ImageLoader(test, { batchSize: 256, device });
  const usual = () => [new metrics.MultiClassAccuracy(), new metrics.MeanLoss()];
  const evaluator = new core.Engine(core.evaluationStep<data.ImageBatch>(), context, {
    callbacks: [new metrics.MetricsCallback([...usual(), new metrics.TopKAccuracy()])],
  });
  using averages = ema && new nn.ModelEma(model, optimizer);
  const rates = core.schedule.oneCycle({ maxLr: lr, pctStart: 0.1, cycleMomentum: false });

  const change = augmentation(values, train);

  return await track.run(opening, async (session) => {
    const store = new track.CheckpointStore(session.checkpointsDir);
    const trainer = new core.Engine(trainingStep(change), context, {
      callbacks: [
        new metrics.MetricsCallback(usual()),
        new core.LrScheduleCallback(rates),
        new core.EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
        ...averages ? [new nn.EmaCallback(averages, { evaluator, loader: testLoader })] : [],
        new track.TrackingCallback(session),
        new track.CheckpointCallback(store, {
          parts: { loader: trainLoader, augmentation: change },
          best: { monitor: averages ? "ema/accuracy" : "test/accuracy" },
        }),
        new core.TimingCallback({ write: null, log: (s) => session.logEvent("timing", s) }),
        ...display(values),
      ],
    });
    const maxEpochs = Math.max(values.epochs - (await goOn(trainer)).epoch, 0);
    const state = await trainer.loop(trainLoader, { maxEpochs });
    if (state.stopReason === "interrupted") return { steps: state.globalStep, runDir: session.dir };
    using _ = averages?.applied();
    model.eval();
    const confusion = new metrics.ConfusionMatrix({ numClasses: classes.length });
    const sureness = new metrics.CalibrationError();
    const found: number[] = [];
    evaluator.add(new metrics.MetricsCallback([confusion, sureness]));
    evaluator.on("stepEnd", async ({ output }) => {
      found.push(...await output.predictions!.argmax(1).data());
    });
    const { metrics: last } = await evaluator.loop(testLoader);
    const bad = found.flatMap((label, i) => label === test.labels[i] ? [] : [i]).slice(0, 64);
    const pixels = Uint8Array.from(bad.flatMap((i) => [...test.get(i).input]));
    const grid = { data: pixels, shape: [bad.length, ...shape] };

    for (const name of ["loss", "accuracy"]) {
      session.saveArtifact(`${name}.svg`, curves(session, name));
    }
    const axes = { rowLabels: classes, columnLabels: classes, xLabel: "found", yLabel: "true" };
    const counts = await confusion.matrix();
    session.saveArtifact("confusion.svg", track.heatmap({ values: counts, ...axes }));
    session.saveArtifact("calibration.json", track.calibrationArtifact(await sureness.curve()));
    if (bad.length > 0) session.saveArtifact("wrong.png", await data.imageGrid(grid, { scale: 3 }));
    session.saveArtifact("model.json", JSON.stringify(node, null, 2));
    await session.saveModel(model);
    return {
      dataset: train.name.replace(/ train$/, ""),
      model: values.model,
      device: device.name,
      parameters: model.parameterCount,
      steps: state.globalStep,
      trainLoss: state.metrics.loss,
      testLoss: last.loss,
      testAccuracy: last.accuracy,
      testTop5: last.top5_accuracy,
      seconds: Math.round(performance.now() / 10) / 100,
      runDir: session.dir,
    };
  });
}

if (import.meta.main) {
  const purpose = "Trains a network of the zoo on 32×32 colour images.";
  await trainingProgram("cifar10", purpose, flags, main);
}
