import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DictStepOutput } from "../../core/engine/mod.ts";
import { type Device, ShapeError, tensor } from "../../core/mod.ts";
import {
  MeanAbsoluteError,
  MeanSquaredError,
  type Metric,
  PearsonCorrelation,
  R2Score,
  RootMeanSquaredError,
  SpearmanCorrelation,
} from "../../metrics/mod.ts";
import { averageRanks } from "../../metrics/ranks.ts";
import { assertClose, devices, randomValues, reference } from "../util.ts";

type Pair = readonly [prediction: number, target: number];

function update(metric: Metric, pairs: readonly Pair[], device: Device = reference): void {
  const column = (at: 0 | 1) => tensor(Float64Array.from(pairs, (pair) => pair[at]), { device });
  metric.update(new DictStepOutput({ predictions: column(0), targets: column(1) }));
}

async function valueOf(
  metric: Metric,
  pairs: readonly Pair[],
  device: Device = reference,
  sizes: readonly number[] = [pairs.length],
): Promise<number> {
  let at = 0;
  for (const size of sizes) update(metric, pairs.slice(at, at += size), device);
  return Object.values(await metric.compute())[0];
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** By the definitions, in two passes of f64. */
function expected(pairs: readonly Pair[]) {
  const [p, t] = [pairs.map(([x]) => x), pairs.map(([, y]) => y)];
  const differences = pairs.map(([x, y]) => x - y);
  const mse = mean(differences.map((d) => d * d));
  const deviations = (values: readonly number[]) => values.map((v) => v - mean(values));
  const [dp, dt] = [deviations(p), deviations(t)];
  const dot = (a: readonly number[], b: readonly number[]) => mean(a.map((x, i) => x * b[i]));
  return {
    mae: mean(differences.map(Math.abs)),
    mse,
    rmse: Math.sqrt(mse),
    r2: 1 - mse / dot(dt, dt),
    pearson: dot(dp, dt) / Math.sqrt(dot(dp, dp) * dot(dt, dt)),
  };
}

/** Rank by counting: smaller ones, and half of the equal ones. */
function ranksByCounting(values: readonly number[]): number[] {
  return values.map((v) =>
    values.filter((x) => x < v).length + (values.filter((x) => x === v).length + 1) / 2
  );
}

const makers = {
  mae: () => new MeanAbsoluteError(),
  mse: () => new MeanSquaredError(),
  rmse: () => new RootMeanSquaredError(),
  r2: () => new R2Score(),
  pearson: () => new PearsonCorrelation(),
};

/** Pairs that f32 holds exactly, around a mean. */
function pairsAround(center: number, spread: number, count: number): Pair[] {
  const [a, b] = [randomValues(count, 51), randomValues(count, 52)];
  return [...a].map((x, i): Pair => {
    const target = Math.fround(center + spread * x);
    return [Math.fround(target + 0.5 * spread * b[i]), target];
  });
}

for (const device of devices) {
  Deno.test(`errors and correlations agree with their definitions, batches of any size (${device.kind})`, async () => {
    const pairs = pairsAround(0, 3, 200);
    const want = expected(pairs);
    for (const sizes of [[200], [64, 64, 64, 8], [1, 1, 150, 48], [0, 199, 1]]) {
      for (const [key, make] of Object.entries(makers)) {
        const metric = make();
        const value = await valueOf(metric, pairs, device, sizes);
        assertEquals([...metric.keys], [key]);
        const bound = device.kind === "reference" ? 1e-12 : 3e-6;
        assertClose([value], [want[key as keyof typeof want]], bound, `${key} of ${sizes}`);
      }
    }
  });

  Deno.test(`R2Score and PearsonCorrelation keep their digits where the mean is large (${device.kind})`, async () => {
    // In f32 squares of numbers near 10000 are rounded to 8: sums of squares would tell nothing of a spread of 1.
    const pairs = pairsAround(10_000, 1, 2000);
    const want = expected(pairs);
    const sizes = [...Array(62).fill(32), 16];
    for (const key of ["r2", "pearson"] as const) {
      const value = await valueOf(makers[key](), pairs, device, sizes);
      const bound = device.kind === "reference" ? 1e-11 : 2e-5;
      assertClose([value], [want[key]], bound, key);
    }
  });

  Deno.test(`R2Score and PearsonCorrelation know columns of equal numbers (${device.kind})`, async () => {
    const constant = 0.1;
    const same: Pair[] = [...Array(30).keys()].map((i) => [i, constant]);
    const sizes = [7, 11, 12];
    assertEquals(await valueOf(new R2Score(), same, device, sizes), 0);
    assertEquals(await valueOf(new PearsonCorrelation(), same, device, sizes), NaN);
    const right: Pair[] = same.map(() => [constant, constant]);
    assertEquals(await valueOf(new R2Score(), right, device, sizes), 1);
    assertEquals(await valueOf(new SpearmanCorrelation(), same, device, sizes), NaN);
  });

  Deno.test(`regression metrics give NaN where there is NaN, and recover (${device.kind})`, async () => {
    for (const make of [...Object.values(makers), () => new SpearmanCorrelation()]) {
      const metric = make();
      const bad: Pair[] = [[1, 2], [NaN, 3], [4, 4]];
      assertEquals(await valueOf(metric, bad, device), NaN, metric.name);
      metric.reset();
      assert(Number.isFinite(await valueOf(metric, [[1, 2], [2, 3], [4, 4]], device)), metric.name);
    }
  });
}

Deno.test("SpearmanCorrelation is Pearson's correlation of ranks, ties included", async () => {
  const small = fc.integer({ min: -4, max: 4 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(small, small), { minLength: 2, maxLength: 30 }),
      async (pairs) => {
        const ranks = [0, 1].map((at) => ranksByCounting(pairs.map((pair) => pair[at])));
        const want = expected(ranks[0].map((r, i): Pair => [r, ranks[1][i]])).pearson;
        const value = await valueOf(new SpearmanCorrelation(), pairs);
        assertClose([value], [want], 1e-12, "spearman");
        // Ranks only: any rising function keeps it.
        const curved = pairs.map(([a, b]): Pair => [Math.exp(a), b ** 3]);
        assertEquals(await valueOf(new SpearmanCorrelation(), curved), value);
      },
    ),
    { seed: 51, numRuns: 100 },
  );
});

Deno.test("PearsonCorrelation and R2Score have their symmetries", async () => {
  const pair = fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -9, max: 9 }));
  await fc.assert(
    fc.asyncProperty(fc.array(pair, { minLength: 3, maxLength: 20 }), async (pairs) => {
      const value = await valueOf(new PearsonCorrelation(), pairs);
      if (Number.isNaN(value)) return;
      const swapped = pairs.map(([a, b]): Pair => [b, a]);
      const scaled = pairs.map(([a, b]): Pair => [-2 * a + 5, b]);
      assertAlmostEquals(await valueOf(new PearsonCorrelation(), swapped), value, 1e-12);
      assertAlmostEquals(await valueOf(new PearsonCorrelation(), scaled), -value, 1e-12);
      // The best straight line explains the square of the correlation.
      const [mx, my] = [mean(pairs.map(([a]) => a)), mean(pairs.map(([, b]) => b))];
      const slope = mean(pairs.map(([a, b]) => (a - mx) * (b - my))) /
        mean(pairs.map(([a]) => (a - mx) ** 2));
      const line = pairs.map(([a, b]): Pair => [my + slope * (a - mx), b]);
      assertAlmostEquals(await valueOf(new R2Score(), line), value ** 2, 1e-9);
    }),
    { seed: 52, numRuns: 60 },
  );
});

Deno.test("averageRanks() shares ranks among equals", () => {
  const values = [3, -Infinity, 3, Infinity, 0, -0, Infinity, 3];
  assertEquals([...averageRanks(Float64Array.from(values))], ranksByCounting(values));
});

Deno.test("regression metrics are NaN without values, correlations also with one", async () => {
  for (const make of [...Object.values(makers), () => new SpearmanCorrelation()]) {
    const values = Object.values(await make().compute());
    assertEquals(values, [NaN], make().name);
  }
  for (const metric of [new R2Score(), new PearsonCorrelation(), new SpearmanCorrelation()]) {
    assertEquals(await valueOf(metric, [[1, 2]]), NaN);
  }
});

Deno.test("regression metrics take columns, integers and images, and refuse other shapes", async () => {
  const device = reference;
  const error = new MeanAbsoluteError();
  error.update(
    new DictStepOutput({
      predictions: tensor([[1.5], [3]], { device }),
      targets: tensor([1, 2], { device, dtype: "i32" }),
    }),
  );
  assertEquals(await error.compute(), { mae: 0.75 });
  error.update(
    new DictStepOutput({
      predictions: tensor([[[1, 2], [3, 4]]], { device }),
      targets: tensor([[[1, 2], [3, 8]]], { device }),
    }),
  );
  assertAlmostEquals((await error.compute()).mae, 5.5 / 6, 1e-12);
  const wrong = new DictStepOutput({
    predictions: tensor([[1, 2]], { device }),
    targets: tensor([1, 2, 3], { device }),
  });
  for (const make of [...Object.values(makers), () => new SpearmanCorrelation()]) {
    assertThrows(() => make().update(wrong), ShapeError, "found [1, 2] and [3]");
  }
});
