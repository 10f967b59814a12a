/**
 * Trains a variational autoencoder (Kingma and Welling, 2014): new images can be drawn from its codes.
 * The loss, in nats for an image, is how badly an image is drawn again from its code, and how far the
 * codes are from a normal distribution (KL); together they are the negative evidence lower bound.
 *
 *   deno run -A --unstable-webgpu examples/vae.ts --help
 */

import * as core from "../core/mod.ts";
import * as data from "../data/mod.ts";
import { MeanLoss, MetricsCallback } from "../metrics/mod.ts";
import * as nn from "../nn/mod.ts";
import * as track from "../track/mod.ts";
import { digitImages } from "./images.ts";
import { choiceFlag, countFlag, free, numberFlag, textFlag, type Values } from "./program.ts";
import { courses, display, goOn, training as trainingFlags, trainingProgram } from "./training.ts";

const flags = {
  latent: countFlag(1, 16, "numbers in a code"),
  beta: numberFlag(0, 1, "weight of KL; above 1 codes are simpler and images less sharp"),
  warmup: numberFlag(0, 2, "epochs in which the weight of KL grows from 0 to beta"),
  epochs: free(countFlag(1, 10, "times to go through the training images")),
  batchSize: countFlag(1, 128, "images in a step"),
  lr: numberFlag(0, 1e-3, "learning rate of Adam"),
  dataset: choiceFlag(["mnist", "digits"], null, "the images"),
  data: textFlag(null, "folder with the four IDX files of MNIST, instead of a download"),
  limit: countFlag(2, null, "at most so many images of each split"),
  ...trainingFlags,
};
type Flags = Values<typeof flags>;

type VaeContext = core.Context<nn.VAE, core.Adam>;

/** A step that learns. The weight of KL is a tensor: a captured step would keep a number for ever. */
const training = (beta: core.Tensor) =>
  core.jit((engine: core.Engine, { inputs }: data.ImageBatch, context: VaeContext) => {
    const loss = nn.vaeLoss(context.model.reconstruct(inputs), inputs, { beta });
    context.optimizer.zeroGrad();
    engine.backward(loss.total);
    context.optimizer.step();
    return loss;
  });

/** The bound itself, so beta is 1. It wants codes that are drawn; in evaluation a VAE gives their means. */
const evaluation = () =>
  core.jit((_engine: core.Engine, { inputs }: data.ImageBatch, { model }: VaeContext) => {
    using _ = core.noGrad();
    const { mu, logvar } = model.encode(inputs);
    const noise = core.normal(mu.shape, { device: mu.device }).mul(logvar.mul(0.5).exp());
    return nn.vaeLoss({ reconstruction: model.decode(mu.add(noise)), mu, logvar }, inputs);
  });

/** Rows of images that lead from one image to the next, in even steps between their codes. */
function walk(model: nn.VAE, images: core.Tensor, steps: number): core.Tensor {
  const { mu } = model.encode(images);
  const [from, to] = [0, 1].map((at) => mu.narrow(0, at, mu.shape[0] - 1).unsqueeze(1));
  const share = core.linspace(0, 1, steps, { device: mu.device }).unsqueeze(1);
  return model.decode(from.add(to.sub(from).mul(share)).flatten(0, 1)).sigmoid();
}

/** A picture of images, so many in a row. */
async function grid(images: core.Tensor, columns: number): Promise<Uint8Array> {
  const pixels = { data: await images.data() as Float32Array, shape: images.shape };
  return await data.imageGrid(pixels, { columns, scale: 2 });
}

async function main(values: Flags, opening: track.RunOptions) {
  const { batchSize, lr, seed } = values;
  const [train, test] = await digitImages({ ...values, testLimit: values.limit });
  const device = await core.getDevice({ kind: values.device });
  console.error(`${train.name}: ${train.count} and ${test.count} test images; ${device.choice}`);

  core.manualSeed(seed);
  const node = new nn.VAENode({ latentDim: values.latent });
  const model = node.build({ device, seed });
  const optimizer = new core.Adam(model.parameters(), { lr });
  const context = new core.Context({ model, optimizer, device });
  // Pixels from 0 to 1 are taken for probabilities of white.
  const pixels = { device, normalization: { mean: 0, std: 1 } };
  const trainLoader = new data.ImageLoader(train, { ...pixels, batchSize, shuffle: true, seed });
  const testLoader = new data.ImageLoader(test, { ...pixels, batchSize: 256 });
  const parts = ["total", "reconstruction", "kl"];
  const measure = () => new MetricsCallback(parts.map((p) => new MeanLoss({ name: p, field: p })));
  const evaluator = new core.Engine(evaluation(), context, { callbacks: [measure()] });

  return await track.run(opening, async (session) => {
    const store = new track.CheckpointStore(session.checkpointsDir);
    const rise = values.warmup * trainLoader.length;
    const weightAt = (step: number) => values.beta * (step < rise ? step / rise : 1);
    const scalars = ({ state }: core.StepEndEvent) => ({ beta: weightAt(state.globalStep - 1) });
    const beta = core.tensor(0, { device });
    const trainer = new core.Engine(training(beta), context, {
      callbacks: [
        measure(),
        new core.EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
        new track.TrackingCallback(session, { scalars }),
        new track.CheckpointCallback(store, {
          parts: { loader: trainLoader },
          best: { monitor: "test/total" },
        }),
        ...display(values, "total"),
      ],
    });
    trainer.on("stepStart", ({ state }) => void beta.fill_(weightAt(state.globalStep)));
    const maxEpochs = Math.max(values.epochs - (await goOn(trainer)).epoch, 0);
    const { metrics, globalStep } = await trainer.loop(trainLoader, { maxEpochs });

    model.eval();
    using _ = core.noGrad();
    const levels = Float32Array.from(test.take(16).images, (level) => level / 255);
    const images = core.tensor(levels, { shape: [levels.length / 784, 1, 28, 28], device });
    const again = core.concat([images, model.forward(images).sigmoid()]);
    session.saveArtifact("reconstructions.png", await grid(again, images.shape[0]));
    session.saveArtifact("walk.png", await grid(walk(model, images, 12), 12));
    session.saveArtifact("samples.png", await grid(model.sample(100).sigmoid(), 10));
    const names = ["train/reconstruction", "test/reconstruction", "train/kl", "test/kl"];
    const chart = {
      series: courses(session, names, "epoch"),
      xLabel: "epoch",
      yLabel: "nats for an image",
    };
    session.saveArtifact("loss.svg", track.lineChart(chart));
    session.saveArtifact("model.json", JSON.stringify(node, null, 2));
    await session.saveModel(model);
    return {
      dataset: train.name.replace(/ train$/, ""),
      parameters: model.parameterCount,
      steps: globalStep,
      trainLoss: metrics.total,
      testReconstruction: metrics["test/reconstruction"],
      testKl: metrics["test/kl"],
      testElbo: -metrics["test/total"],
      runDir: session.dir,
    };
  });
}

if (import.meta.main) {
  const purpose = "Trains a variational autoencoder on 28×28 images.";
  await trainingProgram("vae", purpose, flags, main);
}
