/**
 * Trains a small convolutional network on handwritten digits.
 *
 *   deno run -A --unstable-webgpu examples/mnist.ts --help
 *
 * Without a network the built-in digits, drawn by code, take the place of MNIST; the program says so.
 */

import { parseArgs } from "@std/cli/parse-args";
import {
  AdamW,
  type ClassificationBatch,
  Context,
  crossEntropy,
  digits,
  DownloadError,
  Engine,
  EvalOnEpochEndCallback,
  fashionMnist,
  getDevice,
  type ImageDataset,
  ImageLoader,
  jit,
  MeanLoss,
  MetricsCallback,
  mnist,
  MultiClassAccuracy,
  noGrad,
  ProgressBarCallback,
  run,
  SupervisedStepOutput,
  TinyCNNNode,
  TrackingCallback,
} from "../mod.ts";

const HELP = `Trains a small convolutional network on 28×28 images.

  --epochs N        times to go through the training images (3)
  --batch-size N    images in a step (64)
  --lr X            learning rate of AdamW at the start; it falls evenly to 0 (1e-3)
  --seed N          seed of the weights and of the order (42)
  --dataset NAME    mnist, fashion or digits (mnist; digits where it cannot be downloaded)
  --data DIR        folder with the four IDX files, instead of a download
  --device KIND     auto, webgpu, cpu or reference (auto)
  --limit N         at most so many training images
  --runs DIR        where the run folder is made (runs)
  --json            the last line of stdout is one JSON object
  --help            this text`;

type Split = "train" | "test";

/** A number from a flag. */
function numberFlag(name: string, text: string, least: number, whole: boolean): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least) || (whole && !Number.isSafeInteger(value))) {
    throw new RangeError(
      `Cannot use --${name} ${text}: expected ${
        whole ? "a whole number" : "a number"
      } of at least ${least}`,
    );
  }
  return value;
}

function choiceFlag<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((c) => c === text);
  if (choice === undefined) {
    throw new RangeError(`Cannot use --${name} ${text}: expected ${choices.join(", ")}`);
  }
  return choice;
}

function readFlags() {
  const args = parseArgs(Deno.args, {
    string: ["epochs", "batch-size", "lr", "seed", "data", "dataset", "device", "limit", "runs"],
    boolean: ["json", "help"],
    default: {
      epochs: "3",
      "batch-size": "64",
      lr: "1e-3",
      seed: "42",
      device: "auto",
      runs: "runs",
    },
    unknown: (arg) => {
      throw new TypeError(`Cannot understand "${arg}": expected the flags that --help lists`);
    },
  });
  return {
    epochs: numberFlag("epochs", args.epochs, 1, true),
    batchSize: numberFlag("batch-size", args["batch-size"], 1, true),
    lr: numberFlag("lr", args.lr, 0, false),
    seed: numberFlag("seed", args.seed, 0, true),
    limit: args.limit === undefined ? undefined : numberFlag("limit", args.limit, 1, true),
    dataset: args.dataset === undefined
      ? undefined
      : choiceFlag("dataset", args.dataset, ["mnist", "fashion", "digits"]),
    device: choiceFlag("device", args.device, ["auto", "webgpu", "cpu", "reference"]),
    data: args.data,
    runs: args.runs,
    json: args.json,
    help: args.help,
  };
}

type Flags = ReturnType<typeof readFlags>;

/** The images of both splits; the built-in ones where nobody asked for others and none can be downloaded. */
async function loadData(flags: Flags): Promise<Record<Split, ImageDataset>> {
  const load = (split: Split) => {
    const limit = split === "train" ? flags.limit : undefined;
    if (flags.dataset === "digits") {
      return digits({
        split,
        count: split === "train" ? limit ?? 10_000 : 2_000,
        seed: flags.seed,
      });
    }
    const source = flags.dataset === "fashion" ? fashionMnist : mnist;
    return source({ split, dataDir: flags.data, limit });
  };
  try {
    return { train: await load("train"), test: await load("test") };
  } catch (error) {
    if (!(error instanceof DownloadError) || flags.dataset !== undefined) throw error;
    console.error(
      `MNIST cannot be downloaded here (${error.message}); using digits drawn by code.`,
    );
    return loadData({ ...flags, dataset: "digits" });
  }
}

async function main(flags: Flags): Promise<void> {
  const started = performance.now();
  const { train, test } = await loadData(flags);
  const device = await getDevice({ kind: flags.device });
  console.error(
    `${train.name}: ${train.count} training and ${test.count} test images; ${device.choice}`,
  );

  const model = new TinyCNNNode().build({ device, seed: flags.seed });
  const optimizer = new AdamW(model.parameters(), { lr: flags.lr });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const batches = { batchSize: flags.batchSize, device };
  const trainLoader = new ImageLoader(train, { ...batches, shuffle: true, seed: flags.seed });
  const testLoader = new ImageLoader(test, { ...batches, batchSize: 256 });
  const metrics = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);

  const evaluator = new Engine(
    jit((_: Engine, { inputs, targets }: ClassificationBatch, { model, lossFn }: typeof context) =>
      noGrad(() => {
        const predictions = model.forward(inputs);
        return new SupervisedStepOutput({
          loss: lossFn(predictions, targets),
          predictions,
          targets,
        });
      })
    ),
    context,
    { name: "evaluator", callbacks: [metrics()] },
  );

  await run({ name: "mnist", dir: flags.runs, config: { ...flags } }, async (session) => {
    const trainer = new Engine(
      jit(
        (
          engine: Engine,
          { inputs, targets }: ClassificationBatch,
          { model, optimizer, lossFn }: typeof context,
        ) => {
          const predictions = model.forward(inputs);
          const loss = lossFn(predictions, targets);
          optimizer.zeroGrad();
          engine.backward(loss);
          optimizer.step();
          return new SupervisedStepOutput({ loss, predictions, targets });
        },
      ),
      context,
      {
        name: "trainer",
        callbacks: [
          metrics(),
          new EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
          new TrackingCallback(session, { scalars: () => ({ lr: optimizer.lr }) }),
          new ProgressBarCallback(),
        ],
      },
    );
    const steps = flags.epochs * trainLoader.length;
    // Weights that still move fast at the end leave the batch statistics of evaluation behind.
    trainer.on("stepStart", ({ state }) => {
      optimizer.lr = flags.lr * (1 - state.globalStep / steps);
    }, { phase: "schedule" });
    const state = await trainer.loop(trainLoader, { maxEpochs: flags.epochs });
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
    if (flags.json) console.log(JSON.stringify(result));
    else console.table(Object.entries(result).map(([name, value]) => ({ name, value })));
  });
}

if (import.meta.main) {
  try {
    const flags = readFlags();
    if (flags.help) console.log(HELP);
    else await main(flags);
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    Deno.exitCode = 1;
  }
}
