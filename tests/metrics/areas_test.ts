import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DictStepOutput } from "../../core/engine/mod.ts";
import { type Device, tensor } from "../../core/mod.ts";
import {
  BinaryAveragePrecision,
  BinaryRocAuc,
  type Metric,
  MultiClassAveragePrecision,
  MultiClassRocAuc,
} from "../../metrics/mod.ts";
import { assertClose, devices, randomValues, reference, testOnDevices } from "../util.ts";
import { randomLabels } from "./every.ts";
import { outputOf } from "./outputs.ts";

/** A score and whether the sample is positive. */
type Scored = readonly [number, boolean];

function update(metric: Metric, samples: readonly Scored[], device: Device = reference): void {
  const predictions = samples.map(([score]) => score);
  metric.update(outputOf(device, { predictions, targets: samples.map(([, yes]) => Number(yes)) }));
}

async function valueOf(metric: Metric, samples: readonly Scored[]): Promise<number> {
  update(metric, samples);
  return Object.values(await metric.compute())[0];
}

/** Mann and Whitney's U over all pairs. */
function pairsInOrder(samples: readonly Scored[]): number {
  const of = (yes: boolean) => samples.filter(([, p]) => p === yes).map(([score]) => score);
  let sum = 0;
  for (const a of of(true)) for (const b of of(false)) sum += a > b ? 1 : a === b ? 0.5 : 0;
  return sum / (of(true).length * of(false).length);
}

/** The definition: for every different score, recall gained times precision. */
function precisionSum(samples: readonly Scored[]): number {
  const scores = [...new Set(samples.map(([score]) => score))].sort((a, b) => b - a);
  const positives = samples.filter(([, yes]) => yes).length;
  let [sum, before] = [0, 0];
  for (const threshold of scores) {
    const taken = samples.filter(([score]) => score >= threshold);
    const hits = taken.filter(([, yes]) => yes).length;
    sum += (hits - before) / positives * hits / taken.length;
    before = hits;
  }
  return sum;
}

const scored = fc.array(
  fc.tuple(fc.integer({ min: -6, max: 6 }), fc.boolean()),
  { minLength: 2, maxLength: 40 },
).filter((samples) => new Set(samples.map(([, yes]) => yes)).size === 2);

Deno.test("BinaryRocAuc counts pairs in order, and BinaryAveragePrecision sums precisions", async () => {
  await fc.assert(
    fc.asyncProperty(scored, async (samples) => {
      assertAlmostEquals(await valueOf(new BinaryRocAuc(), samples), pairsInOrder(samples), 1e-12);
      const average = await valueOf(new BinaryAveragePrecision(), samples);
      assertAlmostEquals(average, precisionSum(samples), 1e-12);
    }),
    { seed: 41, numRuns: 150 },
  );
});

Deno.test("areas depend on the order of the scores alone", async () => {
  await fc.assert(
    fc.asyncProperty(scored, async (samples) => {
      const rising = samples.map(([s, yes]) => [Math.atan(s) ** 3 + 7, yes] as const);
      const falling = samples.map(([s, yes]) => [-s, yes] as const);
      const auc = await valueOf(new BinaryRocAuc(), samples);
      assertEquals(await valueOf(new BinaryRocAuc(), rising), auc);
      assertAlmostEquals(await valueOf(new BinaryRocAuc(), falling), 1 - auc, 1e-12);
      const average = await valueOf(new BinaryAveragePrecision(), samples);
      assertEquals(await valueOf(new BinaryAveragePrecision(), rising), average);
    }),
    { seed: 42, numRuns: 80 },
  );
});

Deno.test("areas in bins are those of scores rounded to their bins, and near the exact ones", async () => {
  await fc.assert(
    fc.asyncProperty(scored, fc.integer({ min: 1, max: 9 }), async (samples, bins) => {
      // Probabilities away from the edges of bins, where f32 and f64 could differ.
      const shares = samples.map(([s, yes]) => [(s + 6.37) / 13, yes] as const);
      const rounded = shares.map(([p, yes]) => [Math.floor(p * bins) / bins, yes] as const);
      const options = { bins, applySigmoid: false };
      const auc = await valueOf(new BinaryRocAuc(options), shares);
      assertAlmostEquals(auc, pairsInOrder(rounded), 1e-12);
      const average = await valueOf(new BinaryAveragePrecision(options), shares);
      assertAlmostEquals(average, precisionSum(rounded), 1e-12);
      const count = (bin: number, wanted: boolean) =>
        rounded.filter(([p, yes]) => Math.round(p * bins) === bin && yes === wanted).length;
      let ties = 0;
      for (let bin = 0; bin < bins; bin++) ties += count(bin, true) * count(bin, false);
      const positives = shares.filter(([, yes]) => yes).length;
      const bound = ties / 2 / (positives * (shares.length - positives));
      assert(Math.abs(auc - pairsInOrder(shares)) <= bound + 1e-12, `${auc}, bound ${bound}`);
      let [above, wrong, most] = [0, 0, 0];
      for (let bin = bins - 1; bin >= 0; bin--) {
        const [p, n] = [count(bin, true), count(bin, false)];
        const least = (above + 1) / (above + 1 + wrong + n);
        if (p > 0) most += p / positives * ((above + p) / (above + p + wrong) - least);
        [above, wrong] = [above + p, wrong + n];
      }
      const off = Math.abs(average - precisionSum(shares));
      assert(off <= most + 1e-12, `${average}, bound ${most}`);
    }),
    { seed: 43, numRuns: 80 },
  );
});

Deno.test("curves have the points of scikit-learn's documentation", async () => {
  // roc_curve and precision_recall_curve of y = [0, 0, 1, 1] with scores [0.1, 0.4, 0.35, 0.8].
  const samples: Scored[] = [[0.1, false], [0.4, false], [0.35, true], [0.8, true]];
  const [auc, average] = [new BinaryRocAuc(), new BinaryAveragePrecision()];
  assertEquals(await valueOf(auc, samples), 0.75);
  assertAlmostEquals(await valueOf(average, samples), 0.8333333333333333, 1e-12);
  const roc = await auc.curve();
  assertEquals([...roc.thresholds], [Infinity, 0.8, 0.4, 0.35, 0.1]);
  assertEquals([...roc.falsePositiveRate], [0, 0, 0.5, 0.5, 1]);
  assertEquals([...roc.truePositiveRate], [0, 0.5, 0.5, 1, 1]);
  const pr = await average.curve();
  assertEquals([...pr.thresholds], [Infinity, 0.8, 0.4, 0.35, 0.1]);
  assertEquals([...pr.precision], [1, 1, 0.5, 2 / 3, 0.5]);
  assertEquals([...pr.recall], [0, 0.5, 0.5, 1, 1]);
});

Deno.test("the area under the points of the ROC curve is the value", async () => {
  await fc.assert(
    fc.asyncProperty(scored, async (samples) => {
      const metric = new BinaryRocAuc();
      const value = await valueOf(metric, samples);
      const { falsePositiveRate: x, truePositiveRate: y } = await metric.curve();
      let area = 0;
      for (let i = 1; i < x.length; i++) area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
      assertAlmostEquals(area, value, 1e-12);
      assertEquals([x.at(-1), y.at(-1)], [1, 1]);
    }),
    { seed: 44, numRuns: 40 },
  );
});

testOnDevices({
  name: "areas of several classes are means of each against the others",
  fn: async (device) => {
    const [n, classes] = [60, 4];
    // The last class has no sample.
    const targets = randomLabels(n, 3, classes - 1);
    const logits = randomValues(n * classes, 4, -2, 2);
    const row = (i: number) => [...logits.subarray(i * classes, (i + 1) * classes)];
    const probabilities = targets.map((_, i) => {
      const powers = row(i).map(Math.exp);
      return powers.map((p) => p / powers.reduce((a, b) => a + b, 0));
    });
    const against = (c: number) => targets.map((t, i): Scored => [probabilities[i][c], t === c]);
    const output = new DictStepOutput({
      predictions: tensor(logits, { device, shape: [n, classes] }),
      targets: tensor(targets, { device, dtype: "i32" }),
    });
    const weights = [0, 1, 2].map((c) => targets.filter((t) => t === c).length);
    const kinds = [[MultiClassRocAuc, pairsInOrder], [MultiClassAveragePrecision, precisionSum]];
    for (const [make, area] of kinds as [typeof MultiClassRocAuc, typeof pairsInOrder][]) {
      const areas = [0, 1, 2].map((c) => area(against(c)));
      const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
      const want = {
        none: [...areas, NaN],
        macro: [sum(areas) / 3],
        weighted: [sum(areas.map((a, c) => a * weights[c])) / n],
      };
      for (const average of ["none", "macro", "weighted"] as const) {
        const metric = new make({ numClasses: classes, average });
        metric.update(output);
        assertClose(Object.values(await metric.compute()), want[average], 1e-12, average);
        const binned = new make({ numClasses: classes, average, bins: 4096 });
        binned.update(output);
        assertClose(
          Object.values(await binned.compute()),
          want[average],
          5e-3,
          `${average} binned`,
        );
      }
      const curves = await (() => {
        const metric = new make({ numClasses: classes });
        metric.update(output);
        return metric.curves();
      })();
      assertEquals(curves.length, classes);
    }
  },
});

for (const device of devices) {
  Deno.test(`BinaryRocAuc reads many steps together, in the background (${device.kind})`, async () => {
    const metric = new BinaryRocAuc();
    const all: Scored[] = [];
    for (let step = 0; step < 600; step++) {
      const scores = randomValues(4, step + 1, -4, 4);
      const samples = [...scores].map((s, i): Scored => [s, (step + i) % 3 === 0]);
      all.push(...samples);
      using _scope = device.scope();
      update(metric, samples, device);
    }
    const [value, again] = await Promise.all([metric.compute(), metric.compute()]);
    assertAlmostEquals(value.auc, pairsInOrder(all), 1e-12);
    assertEquals(again, value);
    assertEquals((await metric.state()).length, 2 * all.length);
  });
}

Deno.test("areas have documented values without samples of a kind", async () => {
  assertEquals(await new BinaryRocAuc().compute(), { auc: NaN });
  assertEquals(await new BinaryRocAuc({ bins: 4 }).compute(), { auc: NaN });
  assertEquals(await valueOf(new BinaryRocAuc(), [[1, true], [2, true]]), NaN);
  assertEquals(await valueOf(new BinaryAveragePrecision(), [[1, false], [2, false]]), NaN);
  assertEquals(await valueOf(new BinaryAveragePrecision(), [[1, true], [2, true]]), 1);
  assertEquals(await new MultiClassRocAuc({ numClasses: 2 }).compute(), { auc_macro: NaN });
});

for (const device of devices) {
  Deno.test(`areas refuse scores that are none and labels that are no class (${device.kind})`, async () => {
    const computed = (metric: Metric, samples: Scored[]) => {
      update(metric, samples, device);
      return metric.compute();
    };
    const bad: Scored[] = [[NaN, true], [0.5, false], [NaN, false]];
    await assertRejects(
      async () => await computed(new BinaryRocAuc(), bad),
      RangeError,
      'Cannot compute metric "auc": expected scores that are numbers, found 2 NaN of 3',
    );
    await assertRejects(
      async () => await computed(new BinaryAveragePrecision({ bins: 8 }), bad),
      RangeError,
      "expected scores from 0 to 1, found 2 that are not",
    );
    await assertRejects(
      async () =>
        await computed(new BinaryRocAuc({ bins: 8, applySigmoid: false }), [[1.5, true], [
          -1,
          true,
        ]]),
      RangeError,
      "found 2 that are not",
    );
    // The edges are inside.
    const edges = new BinaryRocAuc({ bins: 8, applySigmoid: false });
    assertEquals(await computed(edges, [[1, true], [0, false]]), { auc: 1 });
    assertEquals(await computed(new BinaryRocAuc(), [[Infinity, true], [-Infinity, false]]), {
      auc: 1,
    });
    for (const bins of [undefined, 8]) {
      const metric = new MultiClassRocAuc({ numClasses: 2, bins });
      metric.update(
        outputOf(device, { predictions: [[1, 2], [3, 4], [0, 1]], targets: [0, 2, -1] }),
      );
      await assertRejects(
        async () => await metric.compute(),
        RangeError,
        "expected targets from 0 to 1, found 2 of 3 outside",
      );
    }
  });
}

Deno.test("areas keep no more samples than they may", async () => {
  const metric = new BinaryRocAuc({ maxSamples: 3 });
  const samples: Scored[] = [[1, true], [0, false]];
  update(metric, samples);
  assertThrows(
    () => update(metric, samples),
    RangeError,
    'Cannot update metric "auc": expected at most 3 samples, whose values it keeps, found 4; ' +
      "raise maxSamples, or count in bins",
  );
  assertEquals(await metric.compute(), { auc: 1 });
  assertThrows(() => metric.load(Array(8).fill(1)), TypeError, "expected rows of numbers");
  assertThrows(() => new BinaryRocAuc({ bins: 0 }), RangeError, "expected bins to be");
  assertThrows(() => new MultiClassRocAuc({ numClasses: 1 }), RangeError, "at least 2 classes");
});
