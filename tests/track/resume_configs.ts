/** Twelve small trainings, each with something that goes wrong when a run is not resumed exactly. */

import {
  Adam,
  AdamW,
  type Callback,
  Context,
  type Device,
  EarlyStoppingCallback,
  Engine,
  EvalOnEpochEndCallback,
  evaluationStep,
  GradientAccumulator,
  jit,
  keepIn,
  LAMB,
  Lion,
  LossScaler,
  LrScheduleCallback,
  manualSeed,
  Muon,
  noGrad,
  type Optimizer,
  Plateau,
  RMSprop,
  schedule,
  SGD,
  type StepFunction,
  type SupervisedBatch,
  supervisedStep,
  SupervisedStepOutput,
  type TrainingContext,
  uniform,
} from "../../core/mod.ts";
import {
  AugmentLoader,
  type AugmentPipeline,
  compose,
  DataLoader,
  digits,
  randomAffine,
  randomErasing,
  StreamLoader,
} from "../../data/mod.ts";
import {
  MeanLoss,
  MetricsCallback,
  MultiClassAccuracy,
  MultiClassRocAuc,
  RunningMean,
} from "../../metrics/mod.ts";
import {
  BatchNorm1d,
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Dropout,
  EmaCallback,
  Flatten,
  GlobalAvgPool2d,
  Linear,
  ModelEma,
  ReLU,
  ResidualAdd,
  Sequential,
} from "../../nn/mod.ts";
import type { TrainingPart } from "../../track/mod.ts";

/** Steps of each run. */
export const STEPS = 40;

/** Batches of 8 of so many images: the last of an epoch is ragged. */
const FIVE_AN_EPOCH = 36;
const EIGHT_AN_EPOCH = 60;

type Loader = AsyncIterable<SupervisedBatch> & TrainingPart;

/** What differs between configurations; `build` fills in the rest. */
export interface Setup {
  readonly images?: number;
  readonly model?: (device: Device) => Sequential;
  readonly optimizer?: (model: Sequential) => Optimizer;
  readonly loader?: (count: number, device: Device) => Loader;
  /** Makes the step, and names the parts that it moves on. */
  readonly step?: (run: Started) => {
    readonly step: StepFunction<SupervisedBatch, unknown, TrainingContext>;
    readonly parts?: Record<string, TrainingPart>;
    readonly listen?: (trainer: Engine) => void;
  };
  readonly callbacks?: (run: Started) => Callback[];
  /** Save at the ends of epochs too, so that some resumptions begin with an epoch. */
  readonly everyEpochs?: boolean;
}

/** What the later parts of a configuration are made of. */
export interface Started {
  readonly device: Device;
  readonly model: Sequential;
  readonly optimizer: Optimizer;
  readonly config: Setup;
}

/** A training, made anew. */
export interface Training extends Started {
  readonly trainer: Engine;
  readonly loader: Loader;
  readonly parts: Record<string, TrainingPart>;
  readonly epochs: number;
}

function mlp(device: Device): Sequential {
  return new Sequential(
    new Flatten(),
    new Linear(784, 12, { device }),
    new ReLU(),
    new Linear(12, 10, { device }),
  );
}

function withDraws(device: Device): Sequential {
  const block = new Sequential(new Linear(12, 12, { device }), new ReLU());
  return new Sequential(
    new Flatten(),
    new Linear(784, 12, { device }),
    new BatchNorm1d(12, { device }),
    new Dropout(0.25),
    new ResidualAdd({ block, dropPath: 0.3 }),
    new Linear(12, 10, { device }),
  );
}

function convolutions(device: Device): Sequential {
  return new Sequential(
    new Conv2d(1, 4, { kernelSize: 3, stride: 2, device }),
    new BatchNorm2d(4, { device }),
    new ReLU(),
    new Conv2d(4, 8, { kernelSize: 3, stride: 2, device }),
    new ReLU(),
    new GlobalAvgPool2d(),
    new Linear(8, 10, { device }),
  );
}

function images(split: "train" | "test", count: number) {
  return digits({ split, count, seed: 1 });
}

function shuffled(count: number, device: Device): Loader {
  return new DataLoader(images("train", count), { batchSize: 8, shuffle: true, seed: 3, device });
}

function streamed(count: number, device: Device): Loader {
  const all = images("train", count);
  async function* source() {
    for (let i = 0; i < all.length; i++) yield await Promise.resolve(all.get(i));
  }
  return new StreamLoader(source, { batchSize: 8, shuffleBuffer: 16, seed: 5, device });
}

function augmented(count: number, device: Device): Loader {
  const augment = compose([randomAffine({ degrees: 15, translate: [0.1, 0.1] })], { seed: 9 });
  const options = { batchSize: 8, shuffle: true, seed: 3, device, augment };
  return new AugmentLoader(images("train", count), options);
}

/** Evaluates on shuffled images, so that the order of sums depends on where the loader is. */
function evaluation(
  { device, model }: Started,
  options: { every?: number; prefix?: string; noisy?: boolean } = {},
): Callback {
  const { noisy = false, ...rest } = options;
  return new EvalOnEpochEndCallback(evaluatorOf(device, model, noisy), testLoader(device), rest);
}

function testLoader(device: Device): DataLoader {
  return new DataLoader(images("test", 20), { batchSize: 8, shuffle: true, seed: 4, device });
}

function evaluatorOf(device: Device, model: Sequential, noisy: boolean) {
  // Noise from the default stream, which training draws from as well
  const step = (_engine: unknown, { inputs, targets }: SupervisedBatch) =>
    noGrad(() => {
      const noise = uniform(inputs.shape, { device }).mul(0.1);
      const predictions = model.forward(inputs.add(noise));
      return new SupervisedStepOutput({
        loss: crossEntropy(predictions, targets),
        predictions,
        targets,
      });
    });
  const context = new Context({ model, lossFn: crossEntropy, device });
  const metrics = new MetricsCallback([
    new MultiClassAccuracy(),
    new MeanLoss(),
    new MultiClassRocAuc({ numClasses: 10 }),
  ]);
  return new Engine(
    (noisy ? jit(step) : evaluationStep()) as StepFunction<SupervisedBatch, unknown>,
    context as Context,
    { callbacks: [metrics], name: "evaluator" },
  );
}

/** Adds up batches; the rest of an epoch is stepped at its end. */
function accumulating(every: number, scaled = false): Setup["step"] {
  return ({ device, optimizer }) => {
    const scaler = scaled
      ? new LossScaler({ initScale: 2 ** 127, growthInterval: 3, device })
      : null;
    const accumulator = new GradientAccumulator(optimizer, { every, scaler });
    const step = supervisedStep({ accumulator });
    return {
      step,
      parts: { accumulator, ...(scaler && { scaler }) },
      // Whether the epoch is complete or not: a checkpoint of one that is cut short is from before.
      listen: (trainer) => void trainer.on("epochEnd", () => void accumulator.flush()),
    };
  };
}

/** Changes images on the device; the pipeline counts its draws. */
function augmenting(): ReturnType<NonNullable<Setup["step"]>> {
  const augment: AugmentPipeline = compose([
    randomAffine({ degrees: 10, scale: [0.9, 1.1] }),
    randomErasing({ p: 0.5 }),
  ], { seed: 8 });
  const step = jit((engine: Engine, { inputs, targets }: SupervisedBatch, context) => {
    const { model, optimizer, lossFn } = context as TrainingContext;
    const predictions = model.forward(augment.apply(inputs));
    const loss = lossFn(predictions, targets);
    optimizer.zeroGrad();
    engine.backward(loss);
    optimizer.step();
    return new SupervisedStepOutput({ loss, predictions, targets });
  });
  return {
    step: step as StepFunction<SupervisedBatch, unknown, TrainingContext>,
    parts: { augment },
  };
}

function averages(
  { device, model, optimizer }: Started,
  { every = 1, estimate = false } = {},
): Callback {
  const ema = new ModelEma(model, optimizer);
  const evaluator = evaluatorOf(device, model, false);
  const few = { batchSize: 8, shuffle: true, seed: 6, device };
  const batchNorm = new DataLoader(images("train", 16), few);
  return new EmaCallback(ema, {
    evaluator,
    loader: testLoader(device),
    every,
    ...(estimate && { batchNorm }),
  }) as Callback;
}

/** Ends a run that has stopped getting better, with its best weights. */
function stopping({ device, model, config }: Started, patience: number, monitor: string): Callback {
  const twin = (config.model ?? mlp)(device);
  return new EarlyStoppingCallback({
    monitor,
    mode: "min",
    patience,
    minDelta: 0.02,
    missing: "skip",
    restoreBest: keepIn(model, twin),
  });
}

const control = { maxGradNorm: 1, skipNonFinite: true };

/** The configurations by name. */
export const CONFIGS: Readonly<Record<string, Setup>> = {
  "shuffle": { everyEpochs: true },
  "dropout": {
    model: withDraws,
    optimizer: (model) => new AdamW(model.parameters(), { lr: 0.02, weightDecay: 0.1, ...control }),
    images: EIGHT_AN_EPOCH,
  },
  "augmentation on the host": {
    model: convolutions,
    loader: augmented,
    optimizer: (model) => new RMSprop(model.parameters(), { lr: 0.005, momentum: 0.5 }),
    images: EIGHT_AN_EPOCH,
  },
  "augmentation on the device": {
    step: augmenting,
    optimizer: (model) => new Lion(model.parameters(), { lr: 0.003 }),
    everyEpochs: true,
  },
  "averages": {
    model: withDraws,
    optimizer: (model) =>
      new AdamW(model.parameters(), { lr: 0.02, ema: { decay: 0.9, warmup: true } }),
    callbacks: (run) => [averages(run)],
  },
  "cosine": {
    optimizer: (model) => new LAMB(model.parameters(), { lr: 0.05 }),
    callbacks:
      () => [new LrScheduleCallback(schedule.warmup(6).then(schedule.cosine({ tMax: 34 })))],
    images: EIGHT_AN_EPOCH,
  },
  "plateau": {
    optimizer: (model) => new Adam(model.parameters(), { lr: 0.05 }),
    callbacks: (run) => [
      evaluation(run),
      new LrScheduleCallback(
        new Plateau({ mode: "min", patience: 0, factor: 0.5, threshold: 0.5, cooldown: 1 }),
        { monitor: "eval/loss" },
      ),
    ],
  },
  "early stopping": {
    optimizer: (model) => new SGD(model.parameters(), { lr: 1.2, momentum: 0.9 }),
    callbacks: (run) => [evaluation(run), stopping(run, 5, "eval/loss")],
  },
  "loss scaler": {
    model: withDraws,
    step: accumulating(1, true),
    optimizer: (model) => new Adam(model.parameters(), { lr: 0.02 }),
    images: EIGHT_AN_EPOCH,
    everyEpochs: true,
  },
  "accumulation": {
    model: withDraws,
    step: accumulating(3),
    optimizer: (model) => {
      const of = (matrix: boolean) => model.parameters().filter((p) => (p.ndim > 1) === matrix);
      return new Muon([{ params: of(true) }, { params: of(false), method: "adamw" }], { lr: 0.02 });
    },
  },
  "stream": {
    model: withDraws,
    loader: streamed,
    optimizer: (model) => new SGD(model.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true }),
  },
  "everything, evaluated every two epochs": {
    model: withDraws,
    everyEpochs: true,
    loader: augmented,
    step: accumulating(2, true),
    optimizer: (model) =>
      new AdamW(model.parameters(), { lr: 0.02, ...control, ema: { decay: 0.8 } }),
    callbacks: (run) => [
      evaluation(run, { every: 2, noisy: true, prefix: "noisy" }),
      averages(run, { every: 2, estimate: true }),
      new LrScheduleCallback(
        schedule.warmup(4).then(schedule.oneCycle({ maxLr: 0.05, totalSteps: STEPS })),
      ),
      stopping(run, 8, "noisy/loss"),
    ],
  },
};

/** Makes a training; `more` are callbacks for tracking and checkpoints. */
export function build(
  name: string,
  device: Device,
  more: (training: Omit<Training, "trainer">) => Callback[],
): Training {
  const config = CONFIGS[name];
  manualSeed(7);
  const model = (config.model ?? mlp)(device);
  const optimizer = (config.optimizer ?? ((model) =>
    new SGD(model.parameters(), {
      lr: 0.1,
      momentum: 0.9,
    })))(model);
  const count = config.images ?? FIVE_AN_EPOCH;
  const loader = (config.loader ?? shuffled)(count, device);
  const started: Started = { device, model, optimizer, config };
  const { step = supervisedStep(), parts = {}, listen } = config.step?.(started) ?? {};
  const training = {
    ...started,
    loader,
    parts: { loader, ...parts },
    epochs: STEPS / Math.ceil(count / 8),
  };
  const metrics = new MetricsCallback([
    new MultiClassAccuracy(),
    new MeanLoss(),
    new RunningMean({ field: "loss", name: "mean" }),
  ]);
  const trainer = new Engine(
    step as StepFunction<SupervisedBatch, unknown>,
    new Context({ model, optimizer, lossFn: crossEntropy, device }) as Context,
    { callbacks: [metrics, ...(config.callbacks?.(started) ?? []), ...more(training)] },
  );
  listen?.(trainer as Engine);
  return { ...training, trainer: trainer as Engine };
}
