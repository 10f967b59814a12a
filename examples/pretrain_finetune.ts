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
import { choiceFlag, countFlag, numberFlag, textFlag, type Values } from "./program.ts";
import { display, goOn, training, trainingProgram } from "./training.ts";

const flags = {
  labels: countFlag(20, 200, "training images whose labels are used, the first ones"),
  pretrain: countFlag(1, 15, "epochs of the autoencoder, on all training images"),
  epochs: countFlag(1, 40, "epochs of each classifier, on the labelled images"),
  unfreeze: countFlag(0, 0, "epochs that the encoder learns from labels afterwards, too"),
  lr: numberFlag(0, 2e-3, "learning rate of AdamW at the start; it falls evenly to 0"),
  dataset: choiceFlag(["mnist", "digits"], null, "the images"),
  data: textFlag(null, "folder with the four IDX files of MNIST, instead of a download"),
  limit: countFlag(128, null, "at most so many images of each split"),
  ...training,
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

/** The same classifier, whose encoder learns, too. */
const unfrozen = ({ encoder, head }: nn.EncoderForClassification) =>
  new nn.EncoderForClassification(encoder, head, { freezeEncoder: false });

/** Each layer learns half as fast as the one behind it; the last one is the second of the head. */
const slower = nn.layerwiseLrDecay(({ name }) => {
  const [part, index] = name.split(".");
  return part === "head" ? 1 - Number(index) : 5 - Number(index);
}, 0.5);

async function main(values: Flags, opening: track.RunOptions) {
  const { seed, labels, lr } = values;
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

  return await track.run(opening, async (session) => {
    const falling = core.schedule.linear({ startFactor: 1, endFactor: 0, totalIters: null });
    const storeOf = (part: string) =>
      new track.CheckpointStore(`${session.checkpointsDir}/${part}`, { last: 1 });
    /** What each part of the run has: its own names in the logs, its own checkpoints. */
    const common = (part: string, loader: data.ImageLoader) => [
      new core.LrScheduleCallback(falling),
      // Epochs only: steps of several engines would share their names.
      new track.TrackingCallback(session, { split: part, every: Number.MAX_SAFE_INTEGER }),
      new track.CheckpointCallback(storeOf(part), { parts: { loader } }),
      ...display(values),
    ];
    const autoencoder = whole.build({ device, seed }) as nn.Sequential;
    const optimizer = new core.AdamW(autoencoder.parameters(), { lr });
    const pretrainer = new core.Engine(
      core.autoencoderStep<data.ImageBatch>(),
      new core.Context({ model: autoencoder, optimizer, lossFn: nn.mseLoss, device }),
      { callbacks: [new MetricsCallback([new MeanLoss()]), ...common("pretrain", all)] },
    );
    const { state } = pretrainer;
    // A part that was done before the run was stopped is not looped over again, which would log it.
    const left = values.pretrain - (await goOn(pretrainer)).epoch;
    if (left > 0) await pretrainer.loop(all, { maxEpochs: left });
    if (state.stopReason === "interrupted") return { labels, runDir: session.dir };
    autoencoder.eval();
    for await (const { inputs } of shown) {
      const both = core.noGrad(() => core.concat([inputs, autoencoder.forward(inputs)]));
      const pixels = { data: await both.data() as Float32Array, shape: both.shape };
      const picture = await data.imageGrid(pixels, { columns: inputs.shape[0], scale: 2 });
      session.saveArtifact("reconstructions.png", picture);
    }

    /** Trains a classifier on the labelled images; gives its accuracy on the test images, null if stopped. */
    const fit = async (name: string, model: nn.EncoderForClassification, epochs: number) => {
      const rules = name === "unfrozen" ? [slower] : [];
      using optimizer = new core.AdamW(nn.paramGroups(model, { lr }, rules));
      const context = new core.Context({ model, optimizer, lossFn: nn.crossEntropy, device });
      const measure = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
      const evaluator = new core.Engine(core.evaluationStep<data.ImageBatch>(), context, {
        callbacks: [measure()],
      });
      const prefix = `${name}/test`;
      const trainer = new core.Engine(core.supervisedStep<data.ImageBatch>(), context, {
        callbacks: [
          measure(),
          new core.EvalOnEpochEndCallback(evaluator, others, { every: epochs, prefix }),
          ...common(name, labelled),
        ],
      });
      model.train();
      const left = epochs - (await goOn(trainer)).epoch;
      if (left > 0) await trainer.loop(labelled, { maxEpochs: left });
      const { metrics, stopReason } = trainer.state;
      return stopReason === "interrupted" ? null : metrics[`${prefix}/accuracy`]!;
    };

    const make = (freezeEncoder: boolean) =>
      new nn.EncoderForClassificationNode({ encoder: whole.encoder, head, freezeEncoder })
        .build({ device, seed, inputShape: sizes });
    const model = make(true);
    model.encoder.loadStateDict(autoencoder.at(0)!.stateDict());
    const accuracies: Record<string, number> = {};
    for (const name of ["scratch", "frozen", ...values.unfreeze > 0 ? ["unfrozen"] : []]) {
      const epochs = name === "unfrozen" ? values.unfreeze : values.epochs;
      const one = { scratch: () => make(false), unfrozen: () => unfrozen(model) }[name];
      const accuracy = await fit(name, one?.() ?? model, epochs);
      if (accuracy === null) return { labels, ...accuracies, runDir: session.dir };
      accuracies[name] = accuracy;
    }
    await session.saveModel(model);
    const bars = Object.entries(accuracies).map(([label, value]) => ({ label, value }));
    session.saveArtifact("accuracy.svg", track.barChart({ bars, xLabel: "accuracy" }));
    return { labels, pretrainLoss: state.metrics.loss, ...accuracies, runDir: session.dir };
  });
}

if (import.meta.main) {
  const purpose = "Trains a classifier on few labels, after an autoencoder on none.";
  await trainingProgram("pretrain", purpose, flags, main);
}
