import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Context, Engine, SupervisedStepOutput } from "../../core/engine/mod.ts";
import { type Device, tensor } from "../../core/mod.ts";
import {
  betterOf,
  BinaryF1,
  BinaryRocAuc,
  ConfusionMatrix,
  MacroF1,
  MeanLoss,
  type Metric,
  MetricCollection,
  MetricsCallback,
  MultiClassAccuracy,
} from "../../metrics/mod.ts";
import { devices } from "../util.ts";

function stepOf(device: Device, predicted: number[], targets: number[], loss: number) {
  return new SupervisedStepOutput({
    loss: tensor(loss, { device }),
    predictions: tensor(predicted.map((p) => [0, 1, 2].map((c) => +(c === p))), { device }),
    targets: tensor(targets, { device, dtype: "i32" }),
  });
}

const make = (prefix?: string) =>
  new MetricCollection(
    {
      mean: new MeanLoss(),
      top1: new MultiClassAccuracy(),
      confusion: new ConfusionMatrix({ numClasses: 3 }),
    },
    { prefix },
  );

Deno.test("MetricCollection names values after what it was given", async () => {
  assertEquals([...make().keys], [
    "mean",
    "top1",
    "confusion/accuracy",
    "confusion/balanced_accuracy",
  ]);
  const named = new MetricCollection({
    spam: new BinaryF1(),
    c: new ConfusionMatrix({ numClasses: 3, name: "m" }),
  });
  assertEquals([...named.keys], [
    "spam",
    "spam/precision",
    "spam/recall",
    "c/accuracy",
    "c/balanced_accuracy",
  ]);
  const listed = new MetricCollection([new MeanLoss(), new MacroF1({ numClasses: 3 })], {
    prefix: "val",
  });
  assertEquals([listed.name, ...listed.keys], ["val", "val/loss", "val/f1_macro"]);
  const odd: Metric = {
    name: "odd",
    keys: ["other"],
    better: null,
    reset() {},
    update() {},
    compute: () => ({ other: 1 }),
    state: () => 0,
    load() {},
  };
  const strange = new MetricCollection({ given: odd });
  assertEquals(await strange.compute(), { "given/other": 1 });
});

for (const device of devices) {
  Deno.test(`MetricCollection is computed, saved and merged like its metrics (${device.kind})`, async () => {
    const [whole, here, there] = [make("t"), make("t"), make("t")];
    const steps = [stepOf(device, [0, 1], [0, 2], 1), stepOf(device, [2], [2], 4)];
    steps.forEach((step, i) => {
      whole.update(step);
      (i === 0 ? here : there).update(step);
    });
    const want = {
      "t/mean": 2,
      "t/top1": 2 / 3,
      "t/confusion/accuracy": 2 / 3,
      "t/confusion/balanced_accuracy": 3 / 4,
    };
    assertEquals(await whole.compute(), want);
    const sent = make("t");
    sent.load(JSON.parse(JSON.stringify(await there.state())));
    await here.merge(sent);
    assertEquals(await here.compute(), want);
    here.reset();
    here.update(steps[1]);
    assertEquals(await here.compute(), await there.compute());
  });

  Deno.test(`MetricsCallback captures what can be captured in a collection (${device.kind})`, async () => {
    const run = async (metrics: Metric[]) => {
      const callback = new MetricsCallback(metrics);
      const engine = new Engine(
        (_engine, label: number) => ({
          predictions: tensor([label - 0.5, 0.25], { device }),
          targets: tensor([label, 1], { device, dtype: "i32" }),
        }),
        new Context({ model: null, device }),
        { callbacks: [callback] },
      );
      const { metrics: values } = await engine.loop([0, 1, 1, 0, 1]);
      return { values: { ...values }, saved: JSON.parse(JSON.stringify(await callback.state())) };
    };
    const inner = () => new MetricCollection([new BinaryF1()], { prefix: "in" });
    const mixed = new MetricCollection({ auc: new BinaryRocAuc(), inner: inner() });
    assertEquals([mixed.capturable, inner().capturable], [false, true]);
    const together = await run([mixed]);
    const apart = await run([new BinaryRocAuc(), inner()]);
    assertEquals(Object.values(together.values), Object.values(apart.values));
    // A collection is saved under the name of its first value.
    assertEquals(Object.keys(together.saved), ["auc"]);
    assertEquals(Object.values(together.saved.auc), Object.values(apart.saved));
    const next = new MetricCollection({ auc: new BinaryRocAuc(), inner: inner() });
    new MetricsCallback([next]).load(together.saved);
    assertEquals(await next.compute(), together.values);
  });
}

Deno.test("MetricCollection tells which values are better", () => {
  const all = make("t");
  assertEquals(all.better, null);
  assertEquals(all.keys.map((key) => betterOf(all, key)), ["down", "up", "up", "up"]);
  assertEquals(new MetricCollection([new MeanLoss()]).better, "down");
  assertThrows(() => all.betterOf("mean"), RangeError, "expected one of t/mean");
});

Deno.test("MetricCollection refuses none, equal names, and states and partners of others", async () => {
  assertThrows(() => new MetricCollection([]), RangeError, "expected at least one metric");
  assertThrows(
    () => new MetricCollection([new MeanLoss(), new MeanLoss()]),
    Error,
    'Cannot make metric "metrics": expected one value of each name, found two of "loss"',
  );
  assertThrows(
    () => make().load({ mean: [1, 1] }),
    TypeError,
    'Cannot load metric "metrics": expected states of mean, top1, confusion, found mean',
  );
  await assertRejects(
    () => make().merge(new MetricCollection([new MeanLoss()])),
    TypeError,
    "expected a collection of mean, top1, confusion",
  );
  const plain = () => {
    const loss = new MeanLoss();
    return new MetricCollection([{
      name: "plain",
      keys: ["plain"],
      better: null,
      reset: () => loss.reset(),
      update: (output) => loss.update(output),
      compute: () => loss.compute(),
      state: () => loss.state(),
      load: (state) => loss.load(state),
    }]);
  };
  await assertRejects(() => plain().merge(plain()), TypeError, 'found "plain" without');
  assertEquals(await make().compute().then((values) => Object.keys(values).length), 4);
});
