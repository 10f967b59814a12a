import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DictStepOutput } from "../../core/engine/mod.ts";
import { ShapeError, tensor } from "../../core/mod.ts";
import {
  BinaryF1,
  BinaryPrecision,
  BinaryRecall,
  ClassificationReport,
  ConfusionMatrix,
  MacroF1,
  type Metric,
  MultiClassAccuracy,
  MultiClassF1,
  MultiClassPrecision,
  MultiClassRecall,
  TopKAccuracy,
} from "../../metrics/mod.ts";
import { devices, randomValues, reference } from "../util.ts";
import { randomLabels } from "./every.ts";
import { type Numbers, outputOf } from "./outputs.ts";

async function valuesOf(metric: Metric, batches: Numbers[]): Promise<Record<string, number>> {
  for (const batch of batches) metric.update(outputOf(reference, batch));
  return await metric.compute();
}

async function valueOf(metric: Metric, batch: Numbers): Promise<number> {
  return Object.values(await valuesOf(metric, [batch]))[0];
}

/** One-hot scores of the predicted labels. */
function batchOf(predicted: number[], targets: number[], classes: number): Numbers {
  const predictions = predicted.map((p) => Array.from({ length: classes }, (_, c) => +(c === p)));
  return { predictions, targets };
}

// The example of scikit-learn's user guide for multiclass targets: y_true and y_pred, and what it prints there.
const guide = batchOf([0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2], 3);

Deno.test("precision, recall and F1 have the values of scikit-learn's documentation", async () => {
  const make = { p: MultiClassPrecision, r: MultiClassRecall, f: MultiClassF1 };
  const values = async (average: "macro" | "micro" | "weighted") => {
    const of = (kind: keyof typeof make) =>
      valueOf(new make[kind]({ numClasses: 3, average }), guide);
    return [await of("p"), await of("r"), await of("f")];
  };
  const [macro, micro, weighted] = [
    await values("macro"),
    await values("micro"),
    await values("weighted"),
  ];
  const expected = [[2 / 9, 1 / 3, 4 / 15], [1 / 3, 1 / 3, 1 / 3], [2 / 9, 1 / 3, 4 / 15]];
  [macro, micro, weighted].forEach((found, i) =>
    found.forEach((value, k) => assertAlmostEquals(value, expected[i][k], 1e-12))
  );
  const each = await valuesOf(new MultiClassF1({ numClasses: 3, average: "none" }), [guide]);
  assertEquals(Object.keys(each), ["f1/0", "f1/1", "f1/2"]);
  assertAlmostEquals(each["f1/0"], 0.8, 1e-12);
  assertEquals([each["f1/1"], each["f1/2"]], [0, 0]);
});

Deno.test("averages follow zeroDivision, and leave out classes that do not occur", async () => {
  // Class 0: found once of two; class 1: never predicted, once true; class 2: predicted, never true; class 3: nothing.
  const batch = batchOf([0, 2, 2], [0, 0, 1], 4);
  const at = (zeroDivision: 0 | 1, average: "macro" | "weighted" | "none" = "macro") => ({
    numClasses: 4,
    zeroDivision,
    average,
  });
  assertAlmostEquals(await valueOf(new MultiClassPrecision(at(0)), batch), 1 / 3, 1e-12);
  assertAlmostEquals(await valueOf(new MultiClassPrecision(at(1)), batch), 2 / 3, 1e-12);
  assertAlmostEquals(await valueOf(new MultiClassRecall(at(0)), batch), 0.5 / 3, 1e-12);
  assertAlmostEquals(await valueOf(new MultiClassRecall(at(1)), batch), 1.5 / 3, 1e-12);
  // Weighted: two targets of class 0, one of class 1.
  assertAlmostEquals(await valueOf(new MultiClassPrecision(at(1, "weighted")), batch), 1, 1e-12);
  assertAlmostEquals(await valueOf(new MultiClassRecall(at(1, "weighted")), batch), 1 / 3, 1e-12);
  // F1 of a class is undefined only where it neither occurs nor is predicted.
  const each = await valuesOf(new MultiClassF1(at(1, "none")), [batch]);
  assertEquals(Object.values(each), [2 / 3, 0, 0, 1]);
  assertAlmostEquals(await valueOf(new MultiClassF1(at(1)), batch), 2 / 9, 1e-12);
  assertAlmostEquals(await valueOf(new MacroF1({ numClasses: 4 }), batch), 2 / 12, 1e-12);
  for (const zeroDivision of [0, 1] as const) {
    assertEquals(await valuesOf(new MultiClassF1(at(zeroDivision)), []), {
      f1_macro: zeroDivision,
    });
    assertEquals(await valuesOf(new BinaryF1({ zeroDivision }), []), {
      "f1": zeroDivision,
      "f1/precision": zeroDivision,
      "f1/recall": zeroDivision,
    });
  }
});

Deno.test("BinaryPrecision and BinaryRecall are the parts of BinaryF1", async () => {
  const batch = { predictions: [1, 1, 1, -1, -1], targets: [1, 0, 0, 1, 0] };
  assertEquals(await valuesOf(new BinaryPrecision(), [batch]), { precision: 1 / 3 });
  assertEquals(await valuesOf(new BinaryRecall({ name: "found" }), [batch]), { found: 1 / 2 });
  assertEquals(await valuesOf(new BinaryF1(), [batch]), {
    "f1": 2 / 5,
    "f1/precision": 1 / 3,
    "f1/recall": 1 / 2,
  });
});

const labelled = fc.integer({ min: 2, max: 6 }).chain((classes) => {
  const label = fc.integer({ min: 0, max: classes - 1 });
  return fc.record({
    classes: fc.constant(classes),
    pairs: fc.array(fc.tuple(label, label), { minLength: 1, maxLength: 40 }),
  });
});

Deno.test("scores agree with the confusion matrix, and micro averages with the accuracy", async () => {
  await fc.assert(
    fc.asyncProperty(labelled, async ({ classes, pairs }) => {
      const batch = batchOf(pairs.map(([p]) => p), pairs.map(([, t]) => t), classes);
      const matrix = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
      for (const [p, t] of pairs) matrix[t][p]++;
      const confusion = new ConfusionMatrix({ numClasses: classes });
      const { "confusion/accuracy": accuracy, "confusion/balanced_accuracy": balanced } =
        await valuesOf(confusion, [batch]);
      assertEquals(await confusion.matrix(), matrix);

      const right = pairs.filter(([p, t]) => p === t).length / pairs.length;
      const micro = { numClasses: classes, average: "micro" } as const;
      for (const make of [MultiClassPrecision, MultiClassRecall, MultiClassF1]) {
        assertAlmostEquals(await valueOf(new make(micro), batch), right, 1e-12);
      }
      assertAlmostEquals(await valueOf(new MultiClassAccuracy(), batch), right, 1e-12);
      assertAlmostEquals(accuracy, right, 1e-12);

      const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
      const supports = matrix.map(sum);
      const recalls = matrix.map((row, c) => supports[c] ? row[c] / supports[c] : 0);
      const targets = supports.filter((n) => n > 0).length;
      assertAlmostEquals(balanced, sum(recalls) / targets, 1e-12);
      // Weighted by targets the recall is the accuracy, too.
      const weighted = new MultiClassRecall({ numClasses: classes, average: "weighted" });
      assertAlmostEquals(await valueOf(weighted, batch), right, 1e-12);
      const precisions = matrix.map((_, c) => {
        const predicted = sum(matrix.map((row) => row[c]));
        return predicted ? matrix[c][c] / predicted : 0;
      });
      const occurs = matrix.map((row, c) => sum(row) + sum(matrix.map((r) => r[c])) > 0);
      const macro = sum(precisions.filter((_, c) => occurs[c])) / occurs.filter(Boolean).length;
      const metric = new MultiClassPrecision({ numClasses: classes });
      assertAlmostEquals(await valueOf(metric, batch), macro, 1e-12);
    }),
    { seed: 31, numRuns: 60 },
  );
});

Deno.test("TopKAccuracy agrees with sorting, ties included", async () => {
  const classes = 6;
  const score = fc.integer({ min: -2, max: 2 });
  const sample = fc.tuple(
    fc.array(score, { minLength: classes, maxLength: classes }),
    fc.integer({ min: 0, max: classes - 1 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(sample, { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: classes }),
      async (samples, k) => {
        const right = samples.filter(([scores, target]) => {
          const order = scores.map((_, c) => c).sort((a, b) => scores[b] - scores[a] || a - b);
          return order.slice(0, k).includes(target);
        });
        const batch = { predictions: samples.map(([s]) => s), targets: samples.map(([, t]) => t) };
        const value = await valueOf(new TopKAccuracy({ k }), batch);
        assertAlmostEquals(value, right.length / samples.length, 1e-12);
        if (k === 1) assertEquals(value, await valueOf(new MultiClassAccuracy(), batch));
        if (k === classes) assertEquals(value, 1);
      },
    ),
    { seed: 32, numRuns: 60 },
  );
});

for (const device of devices) {
  Deno.test(`classes of spatial predictions are counted element by element (${device.kind})`, async () => {
    const [n, classes, h, w] = [2, 3, 4, 5];
    const scores = randomValues(n * classes * h * w, 5);
    const targets = randomLabels(n * h * w, 6, classes + 1).map((t) => t === classes ? 255 : t);
    const matrix = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
    let [second, counted] = [0, 0];
    targets.forEach((t, i) => {
      if (t === 255) return;
      const [image, place] = [Math.floor(i / (h * w)), i % (h * w)];
      const own = [...Array(classes).keys()].map((c) =>
        scores[(image * classes + c) * h * w + place]
      );
      const order = [0, 1, 2].sort((a, b) => own[b] - own[a]);
      matrix[t][order[0]]++;
      counted++;
      if (order.indexOf(t) < 2) second++;
    });
    const output = new DictStepOutput({
      predictions: tensor(scores, { device, shape: [n, classes, h, w] }),
      targets: tensor(targets, { device, dtype: "i32" }).reshape([n, h, w]),
    });
    const confusion = new ConfusionMatrix({ numClasses: classes, ignoreIndex: 255 });
    const top = new TopKAccuracy({ k: 2, ignoreIndex: 255 });
    for (const metric of [confusion, top]) metric.update(output);
    assertEquals(await confusion.matrix(), matrix);
    assertEquals(await top.compute(), { top2_accuracy: second / counted });
  });

  Deno.test(`ConfusionMatrix counts many classes, and many samples of few (${device.kind})`, async () => {
    for (const [classes, count] of [[300, 2000], [2, 30_000]]) {
      const [targets, predicted] = [8, 9].map((seed) => randomLabels(count, seed, classes));
      const scores = new Float64Array(count * classes);
      predicted.forEach((p, i) => scores[i * classes + p] = 1);
      const expected = new Float64Array(classes ** 2);
      targets.forEach((t, i) => expected[t * classes + predicted[i]]++);
      const confusion = new ConfusionMatrix({ numClasses: classes });
      confusion.update(
        new DictStepOutput({
          predictions: tensor(scores, { device, shape: [count, classes] }),
          targets: tensor(targets, { device, dtype: "i32" }),
        }),
      );
      assertEquals((await confusion.matrix()).flat(), [...expected]);
    }
  });
}

Deno.test("ConfusionMatrix gives shares and a table", async () => {
  const confusion = new ConfusionMatrix({ numClasses: 3, classNames: ["cat", "dog", "cow"] });
  confusion.update(outputOf(reference, batchOf([0, 0, 1, 1], [0, 1, 1, 1], 3)));
  assertEquals(await confusion.matrix(), [[1, 0, 0], [1, 2, 0], [0, 0, 0]]);
  assertEquals(await confusion.matrix("targets"), [[1, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0]]);
  assertEquals(await confusion.matrix("predictions"), [[0.5, 0, 0], [0.5, 1, 0], [0, 0, 0]]);
  assertEquals(await confusion.matrix("all"), [[0.25, 0, 0], [0.25, 0.5, 0], [0, 0, 0]]);
  assertEquals(
    await confusion.table(),
    [
      "target \\ prediction  cat  dog  cow",
      "cat                    1    0    0",
      "dog                    1    2    0",
      "cow                    0    0    0",
    ].join("\n"),
  );
  assertEquals((await confusion.table("targets")).split("\n")[2].split(/ +/), [
    "dog",
    "0.333",
    "0.667",
    "0.000",
  ]);
});

Deno.test("ClassificationReport gives the table of scikit-learn's documentation", async () => {
  const names = ["class 0", "class 1", "class 2"];
  const report = new ClassificationReport({ numClasses: 3, classNames: names });
  report.update(outputOf(reference, batchOf([0, 0, 2, 1, 0], [0, 1, 2, 2, 0], 3)));
  assertEquals(
    await report.table(2),
    [
      "class         precision  recall    f1  support",
      "class 0            0.67    1.00  0.80        2",
      "class 1            0.00    0.00  0.00        1",
      "class 2            1.00    0.50  0.67        2",
      "accuracy                         0.60        5",
      "macro avg          0.56    0.50  0.49        5",
      "weighted avg       0.67    0.60  0.59        5",
    ].join("\n"),
  );
  const rows = await report.rows();
  assertEquals(rows.map(({ label, support }) => [label, support]), [
    ["class 0", 2],
    ["class 1", 1],
    ["class 2", 2],
  ]);
  assertAlmostEquals(rows[0].precision, 2 / 3, 1e-12);
  const values = await report.compute();
  assertEquals(values["report/accuracy"], 0.6);
  assertAlmostEquals(values["report/f1"], (0.8 + 2 / 3) / 3, 1e-12);
});

Deno.test("metrics of classes refuse labels outside of the classes when they compute", async () => {
  const batch = { ...batchOf([0, 1, 1, 0], [0, 2, -1, 7], 2) };
  const metrics = [
    new MultiClassAccuracy(),
    new TopKAccuracy({ k: 1 }),
    new ConfusionMatrix({ numClasses: 2 }),
    new ClassificationReport({ numClasses: 2 }),
    new MultiClassF1({ numClasses: 2 }),
  ];
  for (const metric of metrics) {
    const expected = "expected targets from 0 to 1, found 3 of 4 outside";
    await assertRejects(() => valuesOf(metric, [batch]), RangeError, expected);
  }
  const ignoring = new MultiClassAccuracy({ ignoreIndex: 7 });
  await assertRejects(() => valuesOf(ignoring, [batch]), RangeError, "found 2 of 3 outside");
});

Deno.test("metrics of classes refuse bad options and shapes", () => {
  const wrong: [() => unknown, string][] = [
    [() => new TopKAccuracy({ k: 0 }), "expected k to be a whole number from 1, found 0"],
    [() => new ConfusionMatrix({ numClasses: 5000 }), "a whole number from 1 to 4096, found 5000"],
    [() => new MultiClassF1({ numClasses: 2.5 }), "expected numClasses to be a whole number"],
    [() => new MultiClassF1({ numClasses: 2, average: "mean" as "macro" }), 'found "mean"'],
    [() => new BinaryF1({ zeroDivision: 2 as 1 }), "expected zeroDivision to be 0 or 1, found 2"],
    [() => new MultiClassAccuracy({ ignoreIndex: 0.5 }), "expected ignoreIndex to be an i32"],
    [
      () => new ClassificationReport({ numClasses: 2, classNames: ["a", "a"] }),
      "expected 2 different classNames, found 2, some of them equal",
    ],
    [
      () => new ConfusionMatrix({ numClasses: 2, classNames: ["a"] }),
      "2 different classNames, found 1",
    ],
  ];
  for (const [make, message] of wrong) assertThrows(make, RangeError, message);
  const batch = outputOf(reference, guide);
  assertThrows(
    () => new TopKAccuracy({ k: 4 }).update(batch),
    ShapeError,
    "expected predictions of at least 4 classes along axis 1, found shape [6, 3]",
  );
  assertThrows(() => new ConfusionMatrix({ numClasses: 4 }).update(batch), ShapeError, "4 classes");
});
