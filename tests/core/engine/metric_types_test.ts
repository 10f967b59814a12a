/** What the compiler must know of metrics, monitored names and fields of outputs, and must refuse. */

import { assertEquals } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  EvalOnEpochEndCallback,
  EventType,
  LrScheduleCallback,
  type MetricSource,
  Plateau,
  referenceDevice,
  schedule,
  StepOutput,
  SupervisedStepOutput,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import {
  ConfusionMatrix,
  MeanLoss,
  type Metric,
  MetricCollection,
  MetricsCallback,
  MultiClassAccuracy,
  MultiClassF1,
  RunningMean,
} from "../../../metrics/mod.ts";
import { EmaCallback, Linear, type ModelEma } from "../../../nn/mod.ts";

/** True where two types are one and the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

/** Compiles only for types that are the same. */
function same<A, B>(_yes: Same<A, B>): void {}

const device = referenceDevice();
const context = new Context({ model: { weight: 1 }, device });

interface Batch {
  readonly inputs: Tensor;
}

/** A step with predictions and targets. */
function classify(_engine: Engine, { inputs }: Batch): SupervisedStepOutput<Tensor> {
  const targets = tensor([0, 1], { dtype: "i32", device });
  return new SupervisedStepOutput({ loss: inputs.sum(), predictions: inputs, targets });
}

/** A step without. */
const measure = (_engine: Engine, batch: Batch) => ({ loss: batch.inputs.sum() });

const batches: readonly Batch[] = [{ inputs: tensor([[2, 1], [0, 1]], { device }) }];

function evaluatorOf() {
  return new Engine(classify, context, {
    callbacks: [
      new MetricsCallback([
        new MultiClassAccuracy(),
        new MeanLoss(),
        new ConfusionMatrix({ numClasses: 2 }),
      ]),
    ],
  });
}

function trainerOf() {
  return new Engine(classify, context, {
    callbacks: [
      new EvalOnEpochEndCallback(evaluatorOf(), batches, { prefix: "val" }),
      { onEpochEnd: ({ state }) => void state.epoch },
      new MetricsCallback([new MeanLoss()]),
    ],
  });
}

type Validated = "accuracy" | "loss" | "confusion/accuracy" | "confusion/balanced_accuracy";

Deno.test("Engine types know the metrics of callbacks, evaluators and with()", async () => {
  const trainer = trainerOf();
  same<typeof trainer, Engine<Batch, SupervisedStepOutput<Tensor>, typeof context, Names>>(true);
  type Names = "loss" | `val/${Validated}`;
  const seen: (number | undefined)[] = [];
  trainer.on("epochEnd", ({ state }) => {
    same<typeof state.metrics.loss, number | undefined>(true);
    seen.push(state.metrics["val/accuracy"], state.metrics.loss);
  }, { phase: "log" });
  const { metrics } = await trainer.loop(batches);
  assertEquals(seen, [1, 4]);
  assertEquals(metrics["val/confusion/accuracy"], 1);
  assertEquals([...trainer.metricKeys].sort(), Object.keys(metrics).sort());

  const wider = trainer.with(new LrScheduleCallback(schedule.constant(), { metric: "rate" }));
  same<typeof wider.metricKeys, readonly (Names | "rate")[]>(true);
  assertEquals(wider === trainer as unknown, true);
  const silent = trainer.with(new LrScheduleCallback(schedule.constant(), { metric: null }));
  same<typeof silent.metricKeys, readonly Names[]>(true);
});

Deno.test("Engine types take every name where nobody tells names, or some come at run time", () => {
  const nobody = new Engine(classify, context);
  same<typeof nobody.state.metrics, Record<string, number>>(true);
  nobody.earlyStop({ monitor: "anything", mode: "min" });
  const general: Metric = new MeanLoss();
  const some = new Engine(classify, context, {
    callbacks: [new MetricsCallback([general]), new LrScheduleCallback(schedule.constant())],
  });
  same<typeof some.state.metrics, Record<string, number>>(true);
  const open = nobody.with(new EvalOnEpochEndCallback(nobody, batches));
  same<typeof open.state.metrics, Record<string, number>>(true);
  open.earlyStop({ monitor: "eval/anything", mode: "min" });
  const classes = new MultiClassF1({ numClasses: 2, average: "none" });
  const each = new Engine(classify, context, { callbacks: [new MetricsCallback([classes])] });
  each.earlyStop({ monitor: "f1/1" });
  same<typeof each.state.metrics, Record<string, number>>(true);
  const plain: Engine = trainerOf();
  same<typeof plain.state.metrics, Record<string, number>>(true);
  // @ts-expect-error behind a prefix, all names have it
  const misuse = () => open.earlyStop({ monitor: "anything", mode: "min" });
  assertEquals(typeof misuse, "function");
});

Deno.test("Engine types know the averages' metrics, which an EmaCallback without evaluator has not", () => {
  const model = new Linear(1, 1, { device });
  const ema = (): ModelEma => {
    throw new Error("only a type");
  };
  const make = () => {
    const evaluator = new Engine(classify, new Context({ model }), {
      callbacks: [new MetricsCallback([new MeanLoss()])],
    });
    const both = new Engine(classify, context, {
      callbacks: [new EmaCallback(ema(), { evaluator, loader: batches })],
    }).with(new EmaCallback(ema(), { evaluator, loader: batches, prefix: "mean" }));
    same<typeof both.metricKeys, readonly ("ema/loss" | "mean/loss")[]>(true);
    const none = new Engine(classify, context, {
      callbacks: [new EmaCallback(ema()), new MetricsCallback([new MeanLoss()])],
    });
    same<typeof none.metricKeys, readonly "loss"[]>(true);
    // @ts-expect-error the evaluator takes other batches
    new EmaCallback(ema(), { evaluator, loader: [1] });
  };
  assertEquals(typeof make, "function");
});

/** A callback that writes a metric of its own, and says so. */
const speed: Callback & MetricSource<"speed"> = {
  metricKeys: ["speed"],
  betterOf: () => "up",
  onEpochEnd: ({ state }) => void (state.metrics.speed = 1),
};
const renamed = new MetricCollection(
  { top1: new MultiClassAccuracy(), matrix: new ConfusionMatrix({ numClasses: 2 }) },
  { prefix: "train" },
);
const finished = new EventType<{ count: number }>("finished");

Deno.test("Engine types refuse metrics and monitored names that nobody writes", () => {
  const trainer = trainerOf().with(speed).with(new MetricsCallback([renamed]));
  trainer.earlyStop({ monitor: "val/loss" });
  trainer.earlyStop({ monitor: "speed", patience: 1 });
  trainer.earlyStop({ monitor: "train/top1" });
  trainer.earlyStop({ monitor: "train/matrix/accuracy" });
  const misuses = [
    // @ts-expect-error a typo
    () => trainer.earlyStop({ monitor: "val/accuacy" }),
    // @ts-expect-error a matrix is no number
    () => trainer.earlyStop({ monitor: "val/confusion" }),
    // @ts-expect-error only the evaluator has it, and it has a prefix here
    () => trainer.earlyStop({ monitor: "accuracy" }),
    // @ts-expect-error another prefix
    () => trainer.earlyStop({ monitor: "eval/loss" }),
    // @ts-expect-error the collection gives the accuracy another name
    () => trainer.earlyStop({ monitor: "train/accuracy" }),
    // @ts-expect-error an option that does not exist
    () => trainer.earlyStop({ monitor: "loss", patiense: 3 }),
    // @ts-expect-error something must be followed
    () => trainer.earlyStop({ patience: 3 }),
    // @ts-expect-error no such metric
    () => trainer.state.metrics.acuracy,
    // @ts-expect-error it may be absent
    (): number => trainer.state.metrics.loss,
    // @ts-expect-error metrics are numbers
    () => void (trainer.state.metrics.loss = "0.5"),
    // @ts-expect-error nobody writes it
    () => trainer.on("epochEnd", ({ state }) => void (state.metrics.extra = 1)),
    // @ts-expect-error own events know the same metrics
    () => trainer.on(finished, ({ state }) => void state.metrics.extra),
    // @ts-expect-error what the loop returns, too
    async () => (await trainer.loop(batches)).metrics.extra,
    // @ts-expect-error an engine of fewer metrics
    (): Engine<Batch, SupervisedStepOutput<Tensor>, typeof context, "loss"> => trainer,
    // @ts-expect-error sources of names tell directions too
    (): MetricSource => ({ metricKeys: ["a"] }),
    // @ts-expect-error there is no such direction
    () => trainer.with({ metricKeys: ["a"], betterOf: () => "higher", onEpochEnd() {} }),
    // @ts-expect-error a value of a metric by another name
    async () => (await new MeanLoss({ name: "nll" }).compute()).loss,
    // @ts-expect-error evaluations need batches that the evaluator takes
    () => new EvalOnEpochEndCallback(evaluatorOf(), [1, 2]),
    // @ts-expect-error checkpoints are the last, the best, or that of a step
    () => trainer.resume("first"),
    // @ts-expect-error schedules follow one metric
    () => new LrScheduleCallback(new Plateau({ mode: "min" }), { monitor: ["loss"] }),
  ];
  assertEquals(misuses.length, 20);
});

/** A step output of a program's own. */
class Own extends StepOutput {
  constructor(readonly score: number) {
    super({ score });
  }
}

Deno.test("Engine types refuse metrics that read what steps do not return", async () => {
  const supervised = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
  const loss = () => new MetricsCallback([new MeanLoss()]);
  const score = () => new MetricsCallback([new RunningMean({ field: "score" })]);
  const field: string = "loss";
  const byName = new MetricsCallback([new MeanLoss({ field })]);
  const good = [
    new Engine(measure, context, { callbacks: [loss(), byName] }),
    new Engine(classify, context, { callbacks: [supervised()] }),
    new Engine((_e, n: number) => new Own(n), context).with(score()),
    new Engine((_e, _n: number) => ({ score: 1, loss: 2 }), context).with(score()),
    new Engine((_e, n: number): unknown => ({ score: n }), context).with(score()),
  ];
  const misuses = [
    // @ts-expect-error the step returns no predictions
    () => new Engine(measure, context, { callbacks: [supervised()] }),
    // @ts-expect-error nor a score
    () => new Engine(measure, context).with(score()),
    // @ts-expect-error nor does a step with a supervised output
    () => new Engine(classify, context).add(score()),
    // @ts-expect-error a step that returns nothing
    () => new Engine(() => {}, context, { callbacks: [loss()] }),
    // @ts-expect-error a metric of several reads what they read
    () => new Engine(measure, context).with(new MetricsCallback([renamed])),
    // @ts-expect-error also in a promise
    () => new Engine(async (e, b: Batch) => await measure(e, b), context).with(supervised()),
  ];
  assertEquals([good.length, misuses.length], [5, 6]);
  const engine = new Engine((_e, n: number) => ({ score: n, loss: n }), context).with(score());
  const { metrics } = await engine.loop([2, 4]);
  assertEquals(metrics.score, 3);
});
