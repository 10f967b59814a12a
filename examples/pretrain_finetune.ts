/**
 * Learns from many images without labels, so that few labels go further. A denoising autoencoder
 * (Vincent et al., 2008) learns codes from which it can draw whole images though half of their pixels
 * are hidden; a classifier learns from these codes. To compare, another one learns from labels alone.
 *
 *   deno run -A --unstable-webgpu examples/pretrain_finetune.ts --help
 */

import * as core from "../core/mod.ts";
import * as data from "../data/mod.ts";
import { MeanLoss, MetricsCallback, MultiClassAccuracy } from "../metrics/mod.ts";
import * as nn from "../nn/mod.ts";
import * as track from "../track/mod.ts";
import { digitImages } from "./images.ts";
import { choiceFlag, common, countFlag, numberFlag, textFlag } from "./program.ts";
import { program, type Values } from "./program.ts";

const flags = {
  labels: countFlag(20, 200, "training images whose labels are used, the first ones"),
  pretrain: countFlag(1, 15, "epochs of the autoencoder, on all training images"),
  epochs: countFlag(1, 40, "epochs of each classifier, on the labelled images"),
  unfreeze: countFlag(0, 0, "epochs that the encoder learns from labels afterwards, too"),
  lr: numberFlag(0, 2e-3, "learning rate of AdamW at the start; it falls evenly to 0"),
  dataset: choiceFlag(["mnist", "digits"], null, "the images"),
  data: textFlag(null, "folder with the four IDX files of MNIST, instead of a download"),
  limit: countFlag(128, null, "at most so many images of each split"),
  ...common,
};
type Flags = Values<typeof flags>;

const layers = (...parts: nn.Node[]) => new nn.SequentialNode({ parts });
const linear = (outFeatures: number) => new nn.LinearNode({ outFeatures });
const hidden = (outFeatures: number) => new nn.FCNormActNode({ outFeatures });
const sizes = [1, 28, 28];
const whole = new nn.AutoencoderNode({
  sizes,
  encoder: layers(new nn.DropoutNode({ p: 0.5 }), new nn.FlattenNode(), hidden(256), linear(16)),
  decoder: layers(hidden(256), linear(784), new nn.UnflattenNode({ sizes })),
});
const head = layers(hidden(128), linear(10));

/** Each layer learns half as fast as the one behind it; the last one is the second of the head. */
const slower = nn.layerwiseLrDecay(({ name }) => {
  const [part, index] = name.split(".");
  return part === "head" ? 1 - Number(index) : 5 - Number(index);
}, 0.5);

async function main(values: Flags): Promise<Record<string, unknown>> {
  const { seed, labels, lr, runs: dir } = values;
  const [train, test] = await digitImages({ ...values, testLimit: values.limit });
  const least = Math.max(labels, 128);
  if (train.count < least) {
    throw new RangeError(`Cannot train on ${train.count} images: expected at least ${least}`);
  }
  const device = await core.getDevice({ kind: values.device });
  console.error(`${train.name}: ${train.count} and ${test.count} test images; ${device.choice}`);

  const pixels = { device, normalization: { mean: 0, std: 1 } };
  // A batch of one image has no statistics for batch normalisation.
  const shuffled = { ...pixels, seed, shuffle: true, dropLast: true };
  const all = new data.ImageLoader(train, { ...shuffled, batchSize: 128 });
  const labelled = new data.ImageLoader(train.take(labels), { ...shuffled, batchSize: 20 });
  const others = new data.ImageLoader(test, { ...pixels, batchSize: 256 });
  const shown = new data.ImageLoader(test.take(16), { ...pixels, batchSize: 16 });

  return await track.run({ name: "pretrain", dir, config: values }, async (session) => {
    const tracked = (split: string): core.Callback => ({
      name: split,
      onEpochEnd({ state: { epoch, globalStep: step, metrics } }) {
        session.logScalars(metrics, { split, epoch, step });
      },
    });
    const falling = core.schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null });
    const bar = new core.ProgressBarCallback();
    const rates = () => new core.LrScheduleCallback(falling);

    const autoencoder = whole.build({ device, seed }) as nn.Sequential;
    const optimizer = new core.AdamW(autoencoder.parameters(), { lr });
    const pretrainer = new core.Engine(
      core.autoencoderStep<data.ImageBatch>(),
      new core.Context({ model: autoencoder, optimizer, lossFn: nn.mseLoss, device }),
      { callbacks: [new MetricsCallback([new MeanLoss()]), rates(), tracked("pretrain"), bar] },
    );
    await pretrainer.loop(all, { maxEpochs: values.pretrain });
    autoencoder.eval();
    for await (const { inputs } of shown) {
      const both = core.noGrad(() => core.concat([inputs, autoencoder.forward(inputs)]));
      const pixels = { data: await both.data() as Float32Array, shape: both.shape };
      const picture = await data.imageGrid(pixels, { columns: inputs.shape[0], scale: 2 });
      session.saveArtifact("reconstructions.png", picture);
    }

    /** Trains a classifier on the labelled images, and gives its accuracy on the test images. */
    const fit = async (name: string, model: nn.EncoderForClassification, epochs: number) => {
      const rules = name === "unfrozen" ? [slower] : [];
      using optimizer = new core.AdamW(nn.paramGroups(model, { lr }, rules));
      const context = new core.Context({ model, optimizer, lossFn: nn.crossEntropy, device });
      const measure = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
      const trainer = new core.Engine(core.supervisedStep<data.ImageBatch>(), context, {
        callbacks: [measure(), rates(), tracked(name)],
      });
      const evaluator = new core.Engine(core.evaluationStep<data.ImageBatch>(), context, {
        callbacks: [measure(), tracked(`${name}/test`)],
      });
      model.train();
      await trainer.loop(labelled, { maxEpochs: epochs });
      model.eval();
      return (await evaluator.loop(others)).metrics.accuracy;
    };

    const make = (freezeEncoder: boolean) =>
      new nn.EncoderForClassificationNode({ encoder: whole.encoder, head, freezeEncoder })
        .build({ device, seed, inputShape: sizes });
    const model = make(true);
    model.encoder.loadStateDict(autoencoder.at(0)!.stateDict());
    const accuracies: Record<string, number> = {
      scratch: await fit("scratch", make(false), values.epochs),
      frozen: await fit("frozen", model, values.epochs),
    };
    if (values.unfreeze > 0) {
      const { encoder, head } = model;
      const open = new nn.EncoderForClassification(encoder, head, { freezeEncoder: false });
      accuracies.unfrozen = await fit("unfrozen", open, values.unfreeze);
    }
    await session.saveModel(model);
    const { loss } = pretrainer.state.metrics;
    const bars = Object.entries(accuracies).map(([label, value]) => ({ label, value }));
    session.saveArtifact("accuracy.svg", track.barChart({ bars, xLabel: "accuracy" }));
    return { labels, pretrainLoss: loss, ...accuracies, runDir: session.dir };
  });
}

if (import.meta.main) {
  await program("Trains a classifier on few labels, after an autoencoder on none.", flags, main);
}
