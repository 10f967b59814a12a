import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { DictStepOutput } from "../../core/engine/mod.ts";
import { type Device, referenceDevice, ShapeError, tensor } from "../../core/mod.ts";
import {
  BinaryAccuracy,
  BinaryF1,
  MacroF1,
  type Metric,
  MetricInputError,
  MultiClassAccuracy,
} from "../../metrics/mod.ts";
import { type Numbers, numbersFrom, outputOf } from "./outputs.ts";

const device = referenceDevice();

async function valuesOf(metric: Metric, batches: Numbers[], on: Device = device) {
  metric.reset();
  for (const numbers of batches) metric.update(outputOf(on, numbers));
  return await metric.compute();
}

/** Score rows whose largest value lies at the label. */
function scores(labels: number[], classes: number): number[][] {
  return labels.map((label) => Array.from({ length: classes }, (_, c) => c === label ? 3 : -c));
}

Deno.test("MultiClassAccuracy counts over batches of different sizes", async () => {
  const batches = [
    { predictions: scores([0, 1, 2, 2], 3), targets: [0, 1, 1, 2] },
    { predictions: scores([1], 3), targets: [0] },
  ];
  // Three of five: the mean of the batches' accuracies would be 3/8.
  assertEquals(await valuesOf(new MultiClassAccuracy(), batches), { accuracy: 3 / 5 });
  assertEquals(await valuesOf(new MultiClassAccuracy({ name: "top1" }), batches), { top1: 3 / 5 });
});

Deno.test("MultiClassAccuracy takes the first of equal scores", async () => {
  const batch = { predictions: [[1, 1], [1, 1]], targets: [0, 1] };
  assertEquals(await valuesOf(new MultiClassAccuracy(), [batch]), { accuracy: 0.5 });
});

Deno.test("MultiClassAccuracy takes spatial predictions", async () => {
  const metric = new MultiClassAccuracy();
  metric.update(
    new DictStepOutput({
      // [N, C, W] = [1, 2, 3]: class 1 wins at the second place only.
      predictions: tensor([[[5, 1, 2], [0, 4, 1]]], { device }),
      targets: tensor([[0, 1, 1]], { device, dtype: "u32" }),
    }),
  );
  assertEquals(await metric.compute(), { accuracy: 2 / 3 });
});

Deno.test("BinaryAccuracy of logits [2, -1] and targets [1, 1] is 0.5", async () => {
  const batch = { predictions: [2, -1], targets: [1, 1] };
  assertEquals(await valuesOf(new BinaryAccuracy(), [batch]), { accuracy: 0.5 });
});

Deno.test("BinaryAccuracy compares probabilities or sigmoids with the threshold", async () => {
  const logits = [-3, -0.5, 0, 0.4, 2.5];
  const targets = [0, 1, 1, 0, 1];
  const sigmoids = logits.map((x) => 1 / (1 + Math.exp(-x)));
  for (const threshold of [0.1, 0.5, 0.61, 0.9]) {
    const right = sigmoids.filter((p, i) => (p >= threshold ? 1 : 0) === targets[i]).length / 5;
    const from = (predictions: number[], applySigmoid: boolean) =>
      valuesOf(new BinaryAccuracy({ threshold, applySigmoid }), [{ predictions, targets }]);
    assertEquals(await from(logits, true), { accuracy: right });
    assertEquals(await from(sigmoids, false), { accuracy: right });
  }
});

Deno.test("BinaryAccuracy takes columns, and bool and float targets", async () => {
  const metric = new BinaryAccuracy();
  const predictions = tensor([[2], [-1], [3], [-4]], { device });
  for (const dtype of ["f32", "i32", "u32", "bool"] as const) {
    metric.update(
      new DictStepOutput({ predictions, targets: tensor([1, 0, 0, 0], { device, dtype }) }),
    );
    assertEquals(await metric.compute(), { accuracy: 0.75 });
  }
});

Deno.test("BinaryF1 of logits [2, -1, 3] and targets [1, 1, 0] is 0.5 in all parts", async () => {
  const batch = { predictions: [2, -1, 3], targets: [1, 1, 0] };
  assertEquals(await valuesOf(new BinaryF1(), [batch]), {
    "f1": 0.5,
    "f1/precision": 0.5,
    "f1/recall": 0.5,
  });
});

Deno.test("BinaryF1 agrees with counts over batches", async () => {
  const batches = [
    { predictions: [1, 1, 1, -1], targets: [1, 1, 0, 1] },
    { predictions: [1, -1, -1], targets: [0, 0, 1] },
  ];
  // Two hits of four predicted and four true.
  assertEquals(await valuesOf(new BinaryF1({ name: "spam" }), batches), {
    "spam": 0.5,
    "spam/precision": 2 / 4,
    "spam/recall": 2 / 4,
  });
  const uneven = [{ predictions: [1, 1, 1, 1, -1], targets: [1, 1, 1, 0, 1] }];
  assertEquals(await valuesOf(new BinaryF1(), uneven), {
    "f1": 0.75,
    "f1/precision": 3 / 4,
    "f1/recall": 3 / 4,
  });
  const rare = [{ predictions: [1, 1, 1, -1], targets: [1, 0, 0, 0] }];
  assertEquals(await valuesOf(new BinaryF1(), rare), {
    "f1": 0.5,
    "f1/precision": 1 / 3,
    "f1/recall": 1,
  });
});

Deno.test("BinaryF1 is 0 where it is undefined", async () => {
  const zeros = { "f1": 0, "f1/precision": 0, "f1/recall": 0 };
  assertEquals(await valuesOf(new BinaryF1(), []), zeros);
  assertEquals(await valuesOf(new BinaryF1(), [{ predictions: [-1, -1], targets: [0, 0] }]), zeros);
});

Deno.test("MacroF1 is the mean of the classes' scores, absent classes as 0", async () => {
  const batch = { predictions: scores([0, 0, 1, 2, 2, 2], 4), targets: [0, 1, 1, 2, 2, 0] };
  // Class 0: 1 hit of 2 predicted, 2 true; class 1: 1 of 1, 2; class 2: 2 of 3, 2; class 3: none.
  const expected = (2 / 4 + 2 / 3 + 4 / 5 + 0) / 4;
  const { f1_macro } = await valuesOf(new MacroF1({ numClasses: 4 }), [batch]);
  assertAlmostEquals(f1_macro, expected, 1e-12);
});

Deno.test("MacroF1 agrees with a confusion matrix of 300 samples in 7 batches", async () => {
  const next = numbersFrom(7);
  const classes = 5;
  const matrix = Array.from({ length: classes }, () => Array(classes).fill(0));
  const batches = [64, 64, 64, 64, 32, 11, 1].map((size) => {
    const targets = Array.from({ length: size }, () => Math.floor(next() * classes));
    const predictions = targets.map((label) =>
      Array.from({ length: classes }, (_, c) => next() + (c === label ? 0.3 : 0))
    );
    targets.forEach((label, i) => {
      matrix[label][predictions[i].indexOf(Math.max(...predictions[i]))]++;
    });
    return { predictions, targets };
  });
  const f1 = matrix.map((row, c) => {
    const [recall, precision] = [row, matrix.map((r) => r[c])].map((all) =>
      row[c] / all.reduce((a, b) => a + b, 0)
    );
    return 2 * precision * recall / (precision + recall);
  });
  const right = matrix.reduce((sum, row, c) => sum + row[c], 0);
  const macro = await valuesOf(new MacroF1({ numClasses: classes }), batches);
  assertAlmostEquals(macro.f1_macro, f1.reduce((a, b) => a + b, 0) / classes, 1e-12);
  assertEquals(await valuesOf(new MultiClassAccuracy(), batches), { accuracy: right / 300 });
});

Deno.test("MacroF1 and the accuracies are 0 without samples", async () => {
  assertEquals(await valuesOf(new MacroF1({ numClasses: 3 }), []), { f1_macro: 0 });
  assertEquals(await valuesOf(new MultiClassAccuracy(), []), { accuracy: 0 });
  assertEquals(await valuesOf(new BinaryAccuracy(), []), { accuracy: 0 });
});

Deno.test("MacroF1 refuses labels outside the classes when it computes", async () => {
  const batch = { predictions: scores([0, 1, 1], 2), targets: [0, 2, -1] };
  const error = await valuesOf(new MacroF1({ numClasses: 2 }), [batch]).then(() => null, (e) => e);
  assertEquals(
    String(error),
    'RangeError: Cannot compute metric "f1_macro": expected targets from 0 to 1, found 2 of 3 outside',
  );
});

Deno.test("Classification metrics name the metric and the field that is missing", () => {
  const without = (numbers: Numbers) => outputOf(device, numbers);
  assertThrows(
    () => new MultiClassAccuracy().update(without({ targets: [1] })),
    MetricInputError,
    'Cannot update metric "accuracy": expected a tensor "predictions" in the step output, found ' +
      "only targets",
  );
  assertThrows(
    () => new BinaryF1({ name: "spam" }).update(without({ predictions: [1] })),
    MetricInputError,
    'metric "spam": expected a tensor "targets"',
  );
  assertThrows(
    () => new BinaryAccuracy().update(new DictStepOutput({})),
    MetricInputError,
    "found only an empty output",
  );
  assertThrows(
    () => new MacroF1({ numClasses: 2 }).update(new DictStepOutput({ predictions: 3 })),
    MetricInputError,
    "found a value of type number",
  );
});

Deno.test("Classification metrics refuse shapes that do not fit", () => {
  const shaped = (predictions: number[] | number[][], targets: number[]) =>
    outputOf(device, { predictions, targets });
  const [accuracy, binary] = [new MultiClassAccuracy(), new BinaryAccuracy()];
  assertThrows(
    () => accuracy.update(shaped([[1, 2], [3, 4]], [1])),
    ShapeError,
    "found [2, 2] and [1]",
  );
  assertThrows(() => accuracy.update(shaped([1, 2], [1, 0])), ShapeError, "found [2] and [2]");
  assertThrows(() => binary.update(shaped([1, 2, 3], [1, 0])), ShapeError, "found [3] and [2]");
  assertThrows(
    () => new MacroF1({ numClasses: 3 }).update(shaped([[1, 2]], [1])),
    ShapeError,
    "expected predictions of 3 classes along axis 1, found shape [1, 2]",
  );
});

Deno.test("Classification metrics refuse bad options", () => {
  assertThrows(() => new BinaryAccuracy({ threshold: 1 }), RangeError, "found 1");
  assertThrows(() => new BinaryF1({ threshold: NaN }), RangeError, 'metric "f1"');
  assertThrows(() => new MacroF1({ numClasses: 0 }), RangeError, "found 0");
});

Deno.test("Classification metrics update without reading and hold a few bytes only", async () => {
  const next = numbersFrom(1);
  const lonely = referenceDevice();
  let reads = 0;
  const { read } = lonely.backend;
  lonely.backend.read = (...args) => {
    reads++;
    return read.apply(lonely.backend, args);
  };
  const metrics = [
    new MultiClassAccuracy(),
    new MacroF1({ numClasses: 4 }),
    new BinaryAccuracy({ name: "binary" }),
    new BinaryF1(),
  ];
  const before = lonely.memory();
  const live: number[] = [];
  for (let i = 0; i < 50; i++) {
    using _scope = lonely.scope();
    const targets = [0, 1, 2, 3].map(() => Math.floor(4 * next()));
    const output = outputOf(lonely, { predictions: scores([3, 2, 1, 0], 4), targets });
    const flat = outputOf(lonely, { predictions: [1, -1, 1, -1], targets });
    metrics.forEach((metric, k) => metric.update(k < 2 ? output : flat));
    live.push(lonely.memory().liveBuffers);
  }
  assertEquals(reads, 0);
  assertEquals(new Set(live.slice(1)).size, 1);
  assertEquals(lonely.memory().liveBuffers - before.liveBuffers, metrics.length);
  await Promise.all(metrics.map((metric) => metric.compute()));
  assertEquals(reads, metrics.length);
  for (const metric of metrics) metric.reset();
  assertEquals(lonely.memory().liveBuffers - before.liveBuffers, metrics.length);
});

Deno.test("Classification metrics continue from a saved state like without a break", async () => {
  const batches = [
    { predictions: scores([0, 1, 2, 2], 3), targets: [0, 1, 1, 2] },
    { predictions: scores([1, 0], 3), targets: [0, 0] },
  ];
  const flat = [{ predictions: [1, -1, 1], targets: [1, 1, 0] }, {
    predictions: [1],
    targets: [1],
  }];
  const makers: [() => Metric, Numbers[]][] = [
    [() => new MultiClassAccuracy(), batches],
    [() => new MacroF1({ numClasses: 3 }), batches],
    [() => new BinaryAccuracy(), flat],
    [() => new BinaryF1(), flat],
  ];
  for (const [make, [first, second]] of makers) {
    const old = make();
    old.update(outputOf(device, first));
    const next = make();
    next.load(JSON.parse(JSON.stringify(await old.state())));
    next.update(outputOf(device, second));
    assertEquals(await next.compute(), await valuesOf(make(), [first, second]));
    for (const bad of [null, [1], ["x", 2], { right: 1 }]) {
      assertThrows(() => make().load(bad), TypeError, `Cannot load metric "${next.name}"`);
    }
  }
});
