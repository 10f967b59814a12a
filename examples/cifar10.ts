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
import { choiceFlag, common, countFlag, numberFlag, textFlag } from "./program.ts";
import { program, type Values } from "./program.ts";

const flags = {
  model: choiceFlag(nn.zooNames, "CNN__MLP_tiny_32x32", "the network"),
  dataset: choiceFlag(["cifar10", "shapes"], null, "the images"),
  data: textFlag(null, "folder with CIFAR-10's binary files, instead of a download"),
  limit: countFlag(1, null, "at most so many training images"),
  testLimit: countFlag(1, null, "at most so many test images"),
  augment: choiceFlag(["none", "light", "randaugment"], "light", "how training images are changed"),
  epochs: countFlag(1, 20, "times to go through the training images"),
  batchSize: countFlag(1, 128, "images in a step"),
  lr: numberFlag(1e-9, 0.1, "largest learning rate of SGD, after a tenth of the steps"),
  ema: numberFlag(0, 0, "decay of averages of the weights, which are kept then; 0 for none"),
  summary: countFlag(0, null, "list the parts of the network first, so many levels of them"),
  ...common,
};
type Flags = Values<typeof flags>;

/** Training and test images; shapes where nobody asked for others and none can be downloaded. */
async function loadData(values: Flags): Promise<data.ImageDataset[]> {
  const { dataset, data: dataDir, seed } = values;
  const load = (split: "train" | "test", limit?: number) =>
    dataset === "shapes"
      ? data.shapes({ split, count: limit, seed })
      : data.cifar10({ split, dataDir, limit });
  try {
    return [await load("train", values.limit), await load("test", values.testLimit)];
  } catch (error) {
    if (!(error instanceof data.DownloadError) || dataset !== undefined) throw error;
    console.error(`CIFAR-10 cannot be downloaded here (${error.message}); using shapes.`);
    return loadData({ ...values, dataset: "shapes" });
  }
}

/** A step that changes the images on the device, in another way each time, before it learns them. */
function trainingStep({ augment, seed }: Flags, { normalization }: data.ImageDataset) {
  const light = [data.randomCrop({ padding: 4 }), data.randomHorizontalFlip()];
  const moves = { none: [], light, randaugment: [...light, data.randAugment()] }[augment];
  const holes = augment === "none" ? [] : [data.cutout({ size: 8 })];
  const change = data.compose([...moves, data.normalizeImages(normalization), ...holes], { seed });
  const learn = core.supervisedStep({ capture: false });
  return core.jit((engine: core.Engine, batch: data.ImageBatch, context: core.TrainingContext) => {
    const inputs = change.apply(batch.inputs, { samples: batch.indices });
    return learn(engine, { inputs, targets: batch.targets }, context);
  });
}

/** The course of a metric over the epochs, a line for each set of images. */
function curves(rows: readonly track.ScalarRow[], metric: string): string {
  const series = ["train", "test", "ema"].map((set) => {
    const own = rows.filter(({ key }) => key === `${set}/${metric}`);
    return { name: set, x: own.map(({ epoch }) => epoch!), y: own.map(({ value }) => value!) };
  }).filter(({ x }) => x.length > 0);
  return track.lineChart({ series, title: metric, xLabel: "epoch" });
}

async function main(values: Flags): Promise<Record<string, unknown>> {
  const { batchSize, lr, ema: decay, seed, summary: depth } = values;
  const [train, test] = await loadData(values);
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

  return await track.run({ name: "cifar10", dir: values.runs, config: values }, async (session) => {
    const trainer = new core.Engine(trainingStep(values, train), context, {
      callbacks: [
        new metrics.MetricsCallback(usual()),
        new core.LrScheduleCallback(rates),
        new core.EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
        ...averages ? [new nn.EmaCallback(averages, { evaluator, loader: testLoader })] : [],
        new track.TrackingCallback(session),
        new core.ProgressBarCallback(),
      ],
    });
    const state = await trainer.loop(trainLoader, { maxEpochs: values.epochs });
    using _ = averages?.applied();
    model.eval();
    const confusion = new metrics.ConfusionMatrix({ numClasses: classes.length });
    const found: number[] = [];
    evaluator.add(new metrics.MetricsCallback([confusion]));
    evaluator.on("stepEnd", async ({ output }) => {
      found.push(...await output.predictions!.argmax(1).data());
    });
    const { metrics: last } = await evaluator.loop(testLoader);
    const bad = found.flatMap((label, i) => label === test.labels[i] ? [] : [i]).slice(0, 64);
    const pixels = Uint8Array.from(bad.flatMap((i) => [...test.get(i).input]));
    const grid = { data: pixels, shape: [bad.length, ...shape] };

    const rows = track.readScalars(`${session.dir}/logs/scalars.csv`);
    for (const key of ["loss", "accuracy"]) session.saveArtifact(`${key}.svg`, curves(rows, key));
    const axes = { rowLabels: classes, columnLabels: classes, xLabel: "found", yLabel: "true" };
    const counts = await confusion.matrix();
    session.saveArtifact("confusion.svg", track.heatmap({ values: counts, ...axes }));
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
  await program("Trains a network of the zoo on 32×32 colour images.", flags, main);
}
