/**
 * Trains a multi-layer perceptron on a CSV file that it writes itself: points on three spirals.
 *
 *   deno run -A --unstable-webgpu examples/csv_classifier.ts --help
 */

import { stringify } from "@std/csv/stringify";
import {
  AdamW,
  CheckpointCallback,
  CheckpointStore,
  type ClassificationBatch,
  Context,
  crossEntropy,
  CsvDataset,
  DataLoader,
  Engine,
  EvalOnEpochEndCallback,
  evaluationStep,
  getDevice,
  Key,
  MeanLoss,
  MetricsCallback,
  MLPNode,
  MultiClassAccuracy,
  randomSplit,
  run,
  type RunOptions,
  supervisedStep,
  TanhNode,
  threefry2x32,
  TrackingCallback,
} from "../mod.ts";
import { countFlag, free, numberFlag, textFlag, type Values } from "./program.ts";
import { display, goOn, training, trainingProgram } from "./training.ts";

const flags = {
  file: free(textFlag(null, "where the CSV file is written, instead of a temporary folder")),
  epochs: free(countFlag(1, 30, "times to go through the table")),
  lr: numberFlag(0, 1e-2, "learning rate of AdamW"),
  ...training,
};

const CLASSES = ["red", "green", "blue"];
const POINTS = 200;

/** A CSV text with the columns x, y and color: three spiral arms with noise. */
function spirals(seed: number): string {
  const key = new Key(seed).fold("spirals");
  const noise = (i: number) => threefry2x32(key.k0, key.k1, i, 0)[0] / 2 ** 32 - 0.5;
  const rows = CLASSES.flatMap((color, arm) =>
    Array.from({ length: POINTS }, (_, i) => {
      const radius = (i + 1) / POINTS;
      const angle = (arm * 2 * Math.PI) / 3 + 4 * radius + 0.4 * noise(arm * POINTS + i);
      return {
        x: (radius * Math.cos(angle)).toFixed(5),
        y: (radius * Math.sin(angle)).toFixed(5),
        color,
      };
    })
  );
  return stringify(rows, { columns: ["x", "y", "color"] });
}

async function main(values: Values<typeof flags>, opening: RunOptions) {
  const { epochs, lr, seed } = values;
  const file = values.file ?? `${await Deno.makeTempDir()}/spirals.csv`;
  await Deno.writeTextFile(file, spirals(seed));
  const table = await CsvDataset.fromFile(file, { target: "color", classes: CLASSES });
  const [train, test] = randomSplit(table, [0.8, 0.2], { seed });
  const device = await getDevice({ kind: values.device });
  console.error(`${file}: ${train.length} training and ${test.length} test rows; ${device.choice}`);

  const node = new MLPNode({ inFeatures: 2, dims: [32, 32, 3], activation: new TanhNode() });
  const model = node.build({ device, seed });
  const optimizer = new AdamW(model.parameters(), { lr });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const metrics = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
  const evaluator = new Engine(evaluationStep<ClassificationBatch>(), context, {
    name: "evaluator",
    callbacks: [metrics()],
  });
  const testLoader = new DataLoader(test, { batchSize: 64, device });
  const trainLoader = new DataLoader(train, { batchSize: 32, shuffle: true, seed, device });

  return await run(opening, async (session) => {
    const trainer = new Engine(supervisedStep<ClassificationBatch>(), context, {
      callbacks: [
        metrics(),
        new EvalOnEpochEndCallback(evaluator, testLoader, { prefix: "test" }),
        new TrackingCallback(session),
        new CheckpointCallback(new CheckpointStore(session.checkpointsDir), {
          parts: { loader: trainLoader },
          best: { monitor: "test/accuracy" },
        }),
        ...display(values),
      ],
    });
    const { epoch: done } = await goOn(trainer);
    const state = await trainer.loop(trainLoader, { maxEpochs: Math.max(epochs - done, 0) });
    await session.saveModel(model);
    return {
      file,
      device: device.name,
      parameters: model.parameterCount,
      epochs: state.epoch,
      trainLoss: state.metrics.loss,
      testAccuracy: state.metrics["test/accuracy"],
      runDir: session.dir,
    };
  });
}

if (import.meta.main) {
  const purpose = "Trains a multi-layer perceptron on a CSV file that it writes itself.";
  await trainingProgram("csv", purpose, flags, main);
}
