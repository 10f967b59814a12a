/**
 * Looks for a learning rate: a few steps with ever larger rates, until the loss runs away.
 *
 *   deno run -A --unstable-webgpu examples/lr_finder.ts --help
 *
 * The model is as before afterwards; the run folder has the course of the loss as SVG and as CSV.
 */

import { stringify } from "@std/csv/stringify";
import {
  AdamW,
  type ClassificationBatch,
  Context,
  crossEntropy,
  digits,
  getDevice,
  ImageLoader,
  lineChart,
  type LrRange,
  lrRangeTest,
  run,
  SGD,
  shapes,
  supervisedStep,
  zoo,
  zooNames,
} from "../mod.ts";
import { choiceFlag, common, countFlag, numberFlag, program, type Values } from "./program.ts";

const flags = {
  dataset: choiceFlag(["digits", "shapes"], "digits", "images that are drawn by code"),
  limit: countFlag(1, 6_400, "training images that are drawn"),
  model: choiceFlag(zooNames, "CNN__MLP_tiny_32x32", "the network"),
  optimizer: choiceFlag(["sgd", "adamw"], "sgd", "what takes the steps"),
  batchSize: countFlag(1, 64, "images in a step"),
  min: numberFlag(0, 1e-5, "learning rate of the first step"),
  max: numberFlag(0, 10, "learning rate of the last step"),
  steps: countFlag(10, 100, "steps from one to the other"),
  smoothing: numberFlag(0, 0.8, "weight of a neighbour in the smoothed loss, from 0 to below 1"),
  ...common,
};

/** The losses over the logarithm of the rate, and upright lines at the suggested rates. */
function chart({ rows, steepest, minimumTenth }: LrRange): string {
  const x = rows.map(({ lr }) => Math.log10(lr));
  const heights = rows.map(({ smoothed }) => smoothed).filter(Number.isFinite);
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  // Single losses above all smoothed ones would press the others together.
  const shown = (height: number) => height <= high ? height : NaN;
  const upright = (name: string, lr: number | null) =>
    lr === null ? [] : [{ name, x: [Math.log10(lr), Math.log10(lr)], y: [low, high] }];
  return lineChart({
    series: [
      { name: "smoothed loss", x, y: rows.map(({ smoothed }) => smoothed) },
      { name: "loss", x, y: rows.map(({ loss }) => shown(loss)) },
      ...upright("steepest descent", steepest),
      ...upright("a tenth of the minimum", minimumTenth),
    ],
    title: "Learning rate range test",
    xLabel: "learning rate, as a power of ten",
    yLabel: "loss",
  });
}

/** A rate as people write it. */
const brief = (lr: number | null) => lr === null ? "none" : lr.toPrecision(2);

async function main(values: Values<typeof flags>): Promise<Record<string, unknown>> {
  const { dataset, limit, batchSize, seed, min, max, steps, smoothing } = values;
  const source = dataset === "digits" ? digits : shapes;
  const images = source({ split: "train", count: limit, seed });
  const device = await getDevice({ kind: values.device });
  console.error(`${images.name}: ${images.count} images; ${device.choice}`);

  const [inChannels] = images.shape;
  const node = zoo(values.model, { inChannels, classes: images.classes.length });
  const model = node.build({ device, seed, inputShape: images.shape });
  const optimizer = values.optimizer === "sgd"
    ? new SGD(model.parameters(), { lr: min, momentum: 0.9, nesterov: true })
    : new AdamW(model.parameters(), { lr: min });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const loader = new ImageLoader(images, { batchSize, device, shuffle: true, seed });

  const started = performance.now();
  const step = supervisedStep<ClassificationBatch>();
  const options = { minLr: min, maxLr: max, steps, smoothing };
  const found = await lrRangeTest(step, context, loader, options);
  const { rows, diverged, steepest, minimum, minimumTenth } = found;
  console.error(
    steepest === null
      ? `The loss never fell; try smaller rates than --min ${min}, or more steps than ${steps}.`
      : `Try a learning rate of ${brief(steepest)}, where the loss falls most, or of ` +
        `${brief(minimumTenth)}, a tenth of the rate where it is least.`,
  );
  // Ctrl-C ends the test early, too; what it found until then is shown all the same.
  const interrupted = !diverged && rows.length < steps;
  if (interrupted) Deno.exitCode = 130;
  else if (!diverged) {
    console.error(`The loss did not run away up to --max ${max}; try a larger one.`);
  }

  return await run({ name: "lr_finder", dir: values.runs, config: values }, (session) => {
    const columns = ["lr", "loss", "smoothed"];
    session.saveArtifact("lr_range.csv", stringify(rows.map((row) => ({ ...row })), { columns }));
    session.saveArtifact("lr_range.svg", chart(found));
    const result = {
      dataset,
      model: values.model,
      device: device.name,
      steps: rows.length,
      diverged,
      steepest,
      minimum,
      minimumTenth,
      seconds: Math.round((performance.now() - started) / 10) / 100,
      runDir: session.dir,
    };
    session.logEvent("result", result);
    return result;
  });
}

if (import.meta.main) {
  await program("Looks for a learning rate by a range test.", flags, main);
}
