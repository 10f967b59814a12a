/** Every metric with step outputs of plain numbers that suit it, for tests of what they have in common. */

import { type Device, type Tensor, tensor } from "../../core/mod.ts";
import { DictStepOutput } from "../../core/engine/mod.ts";
import {
  BinaryAccuracy,
  BinaryAveragePrecision,
  BinaryCalibrationError,
  BinaryF1,
  BinaryPrecision,
  BinaryRecall,
  BinaryRocAuc,
  CalibrationError,
  ClassificationReport,
  ConfusionMatrix,
  MacroF1,
  MeanAbsoluteError,
  MeanLoss,
  MeanSquaredError,
  type Metric,
  MetricCollection,
  MultiClassAccuracy,
  MultiClassAveragePrecision,
  MultiClassF1,
  MultiClassPrecision,
  MultiClassRecall,
  MultiClassRocAuc,
  PearsonCorrelation,
  Perplexity,
  R2Score,
  RootMeanSquaredError,
  RunningMean,
  SpearmanCorrelation,
  TokenAccuracy,
  TopKAccuracy,
  WindowedMean,
} from "../../metrics/mod.ts";
import { randomValues } from "../util.ts";

/** A step's output on a device: its number of samples, and a seed. */
export type MakeOutput = (device: Device, size: number, seed: number) => DictStepOutput<Fields>;

/** What the outputs hold. */
interface Fields {
  readonly predictions: Tensor;
  readonly targets: Tensor;
  readonly loss: Tensor;
}

/** A metric under test. */
export interface Subject {
  readonly title: string;
  readonly make: () => Metric;
  readonly output: MakeOutput;
  /** Whether values of f32 are added up, so that devices and orders differ by rounding. */
  readonly rounds: boolean;
}

const CLASSES = 5;

function output(
  device: Device,
  predictions: [number[], ArrayLike<number>],
  targets: [number[], ArrayLike<number>, "i32" | "f32"],
  seed: number,
): DictStepOutput<Fields> {
  return new DictStepOutput({
    predictions: tensor(Float64Array.from(predictions[1]), { device, shape: predictions[0] }),
    targets: tensor(Float64Array.from(targets[1]), {
      device,
      shape: targets[0],
      dtype: targets[2],
    }),
    loss: tensor(randomValues(1, seed + 3)[0], { device }),
  });
}

/** Whole numbers from 0 to `end` - 1. */
export function randomLabels(count: number, seed: number, end: number): number[] {
  return Array.from(randomValues(count, seed, 0, end), (x) => Math.min(end - 1, Math.floor(x)));
}

/** Logits in steps of 1/8, so that there are ties, with labels that they tell a little about. */
const classes: MakeOutput = (device, size, seed) => {
  const labels = randomLabels(size, seed, CLASSES);
  const scores = randomValues(size * CLASSES, seed + 1, -2, 2)
    .map((x, i) =>
      Math.round(8 * (x + (labels[Math.floor(i / CLASSES)] === i % CLASSES ? 1 : 0))) / 8
    );
  return output(device, [[size, CLASSES], scores], [[size], labels, "i32"], seed);
};

const binary: MakeOutput = (device, size, seed) => {
  const labels = randomLabels(size, seed, 2);
  const scores = randomValues(size, seed + 1, -2, 2).map((x, i) =>
    Math.round(8 * (x + labels[i])) / 8
  );
  return output(device, [[size], scores], [[size], labels, "i32"], seed);
};

const tokens: MakeOutput = (device, size, seed) => {
  const labels = randomLabels(size * 3, seed, CLASSES + 1).map((t) => t === CLASSES ? -100 : t);
  const scores = randomValues(size * 3 * CLASSES, seed + 1, -2, 2);
  return output(device, [[size, 3, CLASSES], scores], [[size, 3], labels, "i32"], seed);
};

const numbers: MakeOutput = (device, size, seed) => {
  const targets = randomValues(size, seed, 100, 102).map((x) => Math.round(64 * x) / 64);
  const predictions = randomValues(size, seed + 1).map((x, i) =>
    Math.round(16 * x) / 16 + targets[i]
  );
  return output(device, [[size, 1], predictions], [[size], targets, "f32"], seed);
};

function subject(make: () => Metric, output: MakeOutput, rounds = false, note = ""): Subject {
  return { title: `${make().constructor.name}${note}`, make, output, rounds };
}

const numClasses = CLASSES;

/** Every metric. */
export const everyMetric: readonly Subject[] = [
  subject(() => new MultiClassAccuracy(), classes),
  subject(() => new TopKAccuracy({ k: 2, ignoreIndex: 1 }), classes),
  subject(() => new BinaryAccuracy({ threshold: 0.3 }), binary),
  subject(() => new BinaryF1(), binary),
  subject(() => new BinaryPrecision(), binary),
  subject(() => new BinaryRecall(), binary),
  subject(() => new MacroF1({ numClasses }), classes),
  subject(() => new MultiClassPrecision({ numClasses, average: "weighted" }), classes),
  subject(() => new MultiClassRecall({ numClasses, average: "none" }), classes),
  subject(() => new MultiClassF1({ numClasses, average: "micro", ignoreIndex: 2 }), classes),
  subject(() => new ClassificationReport({ numClasses }), classes),
  subject(() => new ConfusionMatrix({ numClasses }), classes),
  subject(() => new BinaryRocAuc(), binary),
  subject(() => new BinaryRocAuc({ bins: 64 }), binary, false, " with bins"),
  subject(() => new BinaryAveragePrecision(), binary),
  subject(() => new BinaryAveragePrecision({ bins: 7 }), binary, false, " with bins"),
  subject(() => new MultiClassRocAuc({ numClasses }), classes),
  subject(() => new MultiClassRocAuc({ numClasses, bins: 37 }), classes, false, " with bins"),
  subject(() => new MultiClassAveragePrecision({ numClasses, average: "none" }), classes),
  subject(() => new CalibrationError(), classes, true),
  subject(() => new BinaryCalibrationError({ bins: 7 }), binary, true),
  subject(() => new TokenAccuracy(), tokens),
  subject(() => new Perplexity(), tokens, true),
  subject(() => new MeanAbsoluteError(), numbers, true),
  subject(() => new MeanSquaredError(), numbers, true),
  subject(() => new RootMeanSquaredError(), numbers, true),
  subject(() => new R2Score(), numbers, true),
  subject(() => new PearsonCorrelation(), numbers, true),
  subject(() => new SpearmanCorrelation(), numbers),
  subject(() => new MeanLoss(), numbers, true),
  subject(() => new RunningMean({ field: "loss", weighted: true }), numbers, true),
  subject(() => new WindowedMean({ field: "loss", window: 3, weighted: true }), numbers, true),
  subject(
    () =>
      new MetricCollection({
        a: new MultiClassAccuracy(),
        auc: new MultiClassRocAuc({ numClasses }),
      }),
    classes,
  ),
];
