/**
 * Trains a multi-layer perceptron on a table: writes a CSV file of three spirals, reads it back, and learns which spiral a point
 * lies on.
 *
 *   deno run -A --unstable-webgpu examples/csv_classifier.ts --help
 */

import { parseArgs } from "@std/cli/parse-args";
import { stringify } from "@std/csv";
import {
  AdamW,
  type ClassificationBatch,
  Context,
  crossEntropy,
  CsvDataset,
  DataLoader,
  Engine,
  EvalOnEpochEndCallback,
  getDevice,
  jit,
  Key,
  MeanLoss,
  MetricsCallback,
  MLPNode,
  MultiClassAccuracy,
  noGrad,
  ProgressBarCallback,
  randomSplit,
  run,
  SupervisedStepOutput,
  TanhNode,
  threefry2x32,
  TrackingCallback,
} from "../mod.ts";

const HELP = `Trains a multi-layer perceptron on a CSV file that it writes itself.

  --file PATH     where the CSV file is written (spirals.csv in a temporary folder)
  --epochs N      times to go through the table (30)
  --lr X          learning rate of AdamW (1e-2)
  --seed N        seed of the table, the weights and the order (42)
  --device KIND   auto, webgpu, cpu or reference (auto)
  --runs DIR      where the run folder is made (runs)
  --json          the last line of stdout is one JSON object
  --help          this text`;

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

function numberFlag(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least)) {
    throw new RangeError(`Cannot use --${name} ${text}: expected a number of at least ${least}`);
  }
  return value;
}

function readFlags() {
  const args = parseArgs(Deno.args, {
    string: ["file", "epochs", "lr", "seed", "device", "runs"],
    boolean: ["json", "help"],
    default: { epochs: "30", lr: "1e-2", seed: "42", device: "auto", runs: "runs" },
    unknown: (arg) => {
      throw new TypeError(`Cannot understand "${arg}": expected the flags that --help lists`);
    },
  });
  return {
    ...args,
    epochs: numberFlag("epochs", args.epochs, 1),
    lr: numberFlag("lr", args.lr, 0),
    seed: numberFlag("seed", args.seed, 0),
  };
}

async function main(flags: ReturnType<typeof readFlags>): Promise<void> {
  const file = flags.file ?? `${await Deno.makeTempDir()}/spirals.csv`;
  await Deno.writeTextFile(file, spirals(flags.seed));
  const table = await CsvDataset.fromFile(file, { target: "color", classes: CLASSES });
  const [train, test] = randomSplit(table, [0.8, 0.2], { seed: flags.seed });
  const device = await getDevice({ kind: flags.device as "auto" });
  console.error(`${file}: ${train.length} training and ${test.length} test rows; ${device.choice}`);

  const node = new MLPNode({ inFeatures: 2, dims: [32, 32, 3], activation: new TanhNode() });
  const model = node.build({ device, seed: flags.seed });
  const optimizer = new AdamW(model.parameters(), { lr: flags.lr });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
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
  await run({ name: "csv", dir: flags.runs, config: { ...flags } }, async (session) => {
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
        callbacks: [
          metrics(),
          new EvalOnEpochEndCallback(evaluator, new DataLoader(test, { batchSize: 64, device }), {
            prefix: "test",
          }),
          new TrackingCallback(session),
          new ProgressBarCallback(),
        ],
      },
    );
    const loader = new DataLoader(train, {
      batchSize: 32,
      shuffle: true,
      seed: flags.seed,
      device,
    });
    const { epoch, metrics: values } = await trainer.loop(loader, { maxEpochs: flags.epochs });
    await session.saveModel(model);
    const result = {
      file,
      device: device.name,
      parameters: model.parameterCount,
      epochs: epoch,
      trainLoss: values.loss,
      testAccuracy: values["test/accuracy"],
      runDir: session.dir,
    };
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
