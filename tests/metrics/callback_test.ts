import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Context,
  Engine,
  EvalOnEpochEndCallback,
  SupervisedStepOutput,
} from "../../core/engine/mod.ts";
import { type Device, referenceDevice, tensor } from "../../core/mod.ts";
import {
  BinaryAccuracy,
  BinaryF1,
  MacroF1,
  MeanLoss,
  MetricInputError,
  MetricsCallback,
  MultiClassAccuracy,
} from "../../metrics/mod.ts";
import { reference, testOnDevices } from "../util.ts";

/** A batch is [predicted labels, true labels, loss]. */
type Batch = [number[], number[], number];

const BATCHES: Batch[] = [[[0, 1, 2], [0, 1, 1], 0.5], [[2], [2], 2.5]];

function classifier(metrics: MetricsCallback[], device: Device = reference) {
  return new Engine(
    (_engine, [predicted, targets, loss]: Batch) =>
      new SupervisedStepOutput({
        loss: tensor(loss, { device, requiresGrad: true }).mul(1),
        predictions: tensor(predicted.map((p) => [0, 1, 2].map((c) => c === p ? 1 : 0)), {
          device,
        }),
        targets: tensor(targets, { device, dtype: "i32" }),
      }),
    new Context({ model: null, device }),
    { callbacks: metrics },
  );
}

Deno.test("MetricsCallback writes each epoch's values and keeps those of other writers", async () => {
  const engine = classifier([
    new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]),
    new MetricsCallback([new MacroF1({ numClasses: 3 })]),
  ]);
  engine.state.metrics.other = 7;
  const seen: unknown[] = [];
  engine.on("epochEnd", ({ state }) => void seen.push({ ...state.metrics }));
  await engine.loop(BATCHES);
  await engine.loop([BATCHES[1]]);
  const macro = (1 + 2 / 3 + 2 / 3) / 3;
  assertEquals(seen, [
    { other: 7, accuracy: 0.75, loss: 1, f1_macro: macro },
    { other: 7, accuracy: 1, loss: 2.5, f1_macro: 1 / 3 },
  ]);
});

Deno.test("MetricsCallback gives values of partial epochs and of epochs without steps", async () => {
  const engine = classifier([new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()])]);
  await engine.loop(BATCHES, { maxSteps: 1 });
  assertEquals(engine.state.metrics, { accuracy: 2 / 3, loss: 0.5 });
  await engine.loop([]);
  assertEquals(engine.state.metrics, { accuracy: 0, loss: NaN });
});

Deno.test("MetricsCallback refuses two values of one name", async () => {
  assertThrows(
    () => new MetricsCallback([new MultiClassAccuracy(), new BinaryAccuracy()]),
    Error,
    'expected one value of each name, found two of "accuracy"',
  );
  const engine = classifier([
    new MetricsCallback([new MeanLoss()]),
    new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]),
  ]);
  let steps = 0;
  engine.on("stepStart", () => void steps++);
  await assertRejects(() => engine.loop(BATCHES), Error, 'Cannot write metric "loss"');
  assertEquals(steps, 0);
});

Deno.test("MetricsCallback ends the run with a metric's error", async () => {
  const engine = new Engine(
    (_engine, _batch: number) => ({ loss: 1 }),
    new Context({ model: null }),
    // @ts-expect-error the compiler says so too
    { callbacks: [new MetricsCallback([new MultiClassAccuracy()])] },
  );
  await assertRejects(
    () => engine.loop([0]),
    MetricInputError,
    'Cannot update metric "accuracy": expected a tensor "predictions"',
  );
});

Deno.test("MetricsCallback in trainer and evaluator gives two sets of values", async () => {
  const evaluator = classifier([new MetricsCallback([new MultiClassAccuracy()])]);
  const trainer = classifier([new MetricsCallback([new MultiClassAccuracy()])]);
  trainer.add(new EvalOnEpochEndCallback(evaluator, [BATCHES[1]], { prefix: "test" }));
  const { metrics } = await trainer.loop(BATCHES);
  assertEquals(metrics, { "accuracy": 0.75, "test/accuracy": 1 });
});

Deno.test("MetricsCallback saves and loads the metrics by name", async () => {
  const make = () => new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()]);
  const old = make();
  await classifier([old]).loop(BATCHES);
  const saved = JSON.parse(JSON.stringify(await old.state()));
  // Wrong, right and impossible samples; weighted sum and weight.
  assertEquals(saved, { accuracy: [1, 3, 0], loss: [4, 4] });
  const next = make();
  next.load(saved);
  assertEquals(await next.metrics[0].compute(), { accuracy: 0.75 });
  assertEquals(await next.metrics[1].compute(), { loss: 1 });
  assertThrows(
    () => next.load({ accuracy: [1, 3, 0] }),
    TypeError,
    "Cannot load metrics: expected states of accuracy, loss, found accuracy",
  );
});

Deno.test("MetricsCallback leaves no memory behind but the counters", async () => {
  const device = referenceDevice();
  const metrics = [new MultiClassAccuracy(), new MeanLoss()];
  const engine = classifier([new MetricsCallback(metrics)], device);
  const live: number[] = [];
  engine.on("stepEnd", () => void live.push(device.memory().liveBuffers));
  await engine.loop(Array(40).fill(BATCHES[0]));
  assertEquals(new Set(live.slice(2)).size, 1, String(live));
  assertEquals(device.memory().liveBuffers, metrics.length);
});

testOnDevices({
  name: "metrics agree with those on the reference",
  fn: async (device) => {
    const all = () =>
      new MetricsCallback([
        new MultiClassAccuracy(),
        new MacroF1({ numClasses: 3 }),
        new MeanLoss(),
      ]);
    const binary = (device: Device) => {
      const metrics = [new BinaryAccuracy(), new BinaryF1()];
      const engine = new Engine(
        (_engine, logits: number[]) => ({
          predictions: tensor(logits, { device }),
          targets: tensor(logits.map((_, i) => i % 2), { device, dtype: "i32" }),
        }),
        new Context({ model: null, device }),
        { callbacks: [new MetricsCallback(metrics)] },
      );
      return engine.loop([[1, 2, -3, 0], [-1, 4, 0.5]]);
    };
    const [a, b] = await Promise.all(
      [device, reference].map((d) => classifier([all()], d).loop(BATCHES)),
    );
    assertEquals(a.metrics, b.metrics);
    const [c, d] = [await binary(device), await binary(reference)];
    assertEquals(c.metrics, d.metrics);
    assertEquals(c.metrics.accuracy, 5 / 7);
  },
});
