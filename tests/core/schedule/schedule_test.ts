import {
  KeyframeLR,
  Plateau,
  previewSchedule,
  type Schedule,
  schedule,
  type ScheduleJson,
  WarmupThenPlateau,
} from "../../../core/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertClose } from "../../util.ts";

function rates(made: Schedule, steps: number, base = 1): number[] {
  return Array.from({ length: steps }, (_, step) => made.lr(step, base));
}

Deno.test("then() starts the next schedule from its own step 0", () => {
  const made = schedule.warmup(2).then(schedule.cosine({ tMax: 4 })).then(
    schedule.constant({ factor: 0.5, totalIters: 2 }),
  );
  const cosine = (t: number) => (1 + Math.cos(Math.PI * t / 4)) / 2;
  const want = [1 / 3, 2 / 3, 1, cosine(1), cosine(2), cosine(3), 0.5, 0.5, 1, 1];
  assertClose(rates(made, 10), want, 1e-15);
  assertEquals(made.length, 8);
  assertThrows(
    () => schedule.exponential({ gamma: 1 }).then(made),
    RangeError,
    "without an end",
  );
});

Deno.test("a schedule without a length takes that of the run, less what was before it", () => {
  const made = schedule.warmup(4).then(schedule.cosine());
  const at = (step: number) => made.lr({ step, total: 24 }, 1);
  assertClose([at(4), at(14), at(24)], [1, 0.5, 0], 1e-15);
  const middle = schedule.sequential([schedule.linear({ endFactor: 0, totalIters: null }), made], [
    3,
  ]);
  assertClose([0, 3, 7].map((step) => middle.lr({ step, total: 27 }, 1)), [1 / 3, 0.2, 1], 1e-15);
  assertThrows(() => made.lr(4, 1), RangeError, "without tMax");
  assertThrows(() => made.lr(-1, 1), RangeError, "step -1");
  assertThrows(() => made.lr(NaN, 1), RangeError, "step NaN");
});

Deno.test("times() multiplies factors, and rates among the options stay rates", () => {
  const half = schedule.constant({ factor: 0.5, totalIters: 9 });
  const made = half.times(schedule.step({ stepSize: 1, gamma: 0.5 }));
  assertEquals(rates(made, 3, 8), [4, 2, 1]);
  assertEquals(made.factor(2), 0.125);
  const absolute = schedule.oneCycle({ maxLr: 1, totalSteps: 11 }).times(half);
  assertClose(
    [absolute.lr(3, 0.1)],
    [schedule.oneCycle({ maxLr: 1, totalSteps: 11 }).lr(3, 7) / 2],
    1e-15,
  );
  assertEquals(absolute.momentum(10), 0.95);
  assertThrows(() => schedule.cosine({ tMax: 2 }).factor(1, 0), RangeError, "base rate of 0");
  assertEquals(schedule.step({ stepSize: 2 }).factor(0, 0), 1);
});

Deno.test("proportions of groups are kept by every schedule", () => {
  const all = [
    schedule.step({ stepSize: 3 }),
    schedule.cosine({ tMax: 10, etaMin: 0.01 }),
    schedule.cosineWarmRestarts({ t0: 4, etaMin: 0.01 }),
    schedule.oneCycle({ maxLr: 0.5, totalSteps: 12 }),
    schedule.cyclic({ baseLr: 0.1, maxLr: 0.7, stepSizeUp: 3 }),
    new KeyframeLR({ frames: [{ position: 0, lr: 0.3 }, { position: 9, lr: 0.1 }] }),
    schedule.warmup(3).then(schedule.polynomial({ totalIters: 20 })),
  ];
  for (const made of all) {
    for (let step = 0; step < 12; step++) {
      const [a, b] = [0.1, 0.2].map((base, index) => made.lr(step, { base, first: 0.1, index }));
      assertClose([b], [2 * a], 1e-14, made.toJSON().type);
    }
  }
});

Deno.test("fractional steps lie between whole ones", () => {
  const made = schedule.warmup(4, { startFactor: 0 });
  assertEquals([made.lr(0.5, 8), made.lr(3.5, 8)], [1, 7]);
  assertClose(
    [schedule.cosineWarmRestarts({ t0: 2 }).lr(2.5, 1)],
    [(1 + Math.cos(Math.PI / 4)) / 2],
    1e-15,
  );
  const smooth = schedule.warmup(4, { startFactor: 0.2, shape: "cosine" });
  assertClose([smooth.lr(2, 1), smooth.lr(4, 1)], [0.6, 1], 1e-15);
});

Deno.test("lambda takes a function for all groups or one for each", () => {
  const each = schedule.lambda([(t) => t, () => 3]);
  assertEquals([each.lr(2, 1), each.lr(2, { base: 1, index: 1 })], [2, 3]);
  assertThrows(() => each.lr(2, { base: 1, index: 2 }), RangeError, "found 2");
  assertThrows(() => each.toJSON(), TypeError, "its factor is a function");
  assertThrows(() => each.times(each).toJSON(), TypeError, "is a function");
  assertThrows(() => schedule.lambda([]), TypeError, "expected a function");
});

Deno.test("Plateau: 0 is a metric like any other, NaN is bad, and mode has no default", () => {
  const made = new Plateau({ mode: "min", patience: 0, factor: 0.5 });
  made.observe(0);
  assertEquals([made.best, made.lr(0, 1)], [0, 1]);
  made.observe(NaN);
  assertEquals([made.best, made.reductions, made.lr(0, 1)], [0, 1, 0.5]);
  assertThrows(() => made.observe("0" as unknown as number), TypeError, 'found "0"');
  assertThrows(() => new Plateau({} as { mode: "min" }), RangeError, "mode undefined");
  assertThrows(() => new Plateau({ mode: "max", factor: 1 }), RangeError, "below 1");
  assertThrows(() => new Plateau({ mode: "max", patience: 1.5 }), RangeError, "whole number");
  const worst = new Plateau({ mode: "max", patience: 0 });
  worst.observe(-Infinity);
  assertEquals([worst.best, worst.reductions], [null, 1]);
  worst.observe(Infinity);
  const copy = new Plateau({ mode: "max", patience: 0 });
  copy.load(JSON.parse(JSON.stringify(worst.state())));
  assertEquals([copy.best, copy.reductions], [Infinity, 1]);
});

Deno.test("WarmupThenPlateau warms up, then follows what comes after", () => {
  const made = new WarmupThenPlateau({
    warmup: 3,
    startFactor: 0.1,
    mode: "max",
    patience: 0,
    factor: 0.5,
  });
  for (const [epoch, metric] of [9, 8, 0, 0, 0.5].entries()) made.observe(metric, epoch + 1);
  // Values after epochs 1 and 2 do not count; 0 after epoch 3 is the first, 0 again is bad.
  assertEquals([made.plateau.best, made.plateau.reductions], [0.5, 1]);
  assertClose(rates(made, 4, 2), [0.2, 0.8, 1.4, 1], 1e-15);
  const copy = schedule.fromJSON(JSON.parse(JSON.stringify(made)));
  copy.load(JSON.parse(JSON.stringify(made.state())));
  assertEquals(rates(copy, 6), rates(made, 6));
  assert(copy.watches);
  const before = JSON.stringify(copy.state());
  assertThrows(() => copy.load([null, {}]), TypeError, "best, bad");
  assertThrows(() => copy.load([]), TypeError, "a list of 2");
  assertEquals(JSON.stringify(copy.state()), before);
  assertThrows(() => schedule.warmup(1).load({}), TypeError, "follows no metric");
});

const refused: readonly [ScheduleJson | null, new () => Error, string][] = [
  [null, TypeError, "found null"],
  [{ type: "stepp" }, RangeError, "expected one of step, multiStep"],
  [{ type: "toString" }, RangeError, "expected one of"],
  [{ type: "step", stepSize: 2, gama: 1 }, RangeError, "unknown options gama"],
  [{ type: "step", stepSize: "2" }, TypeError, 'stepSize "2"'],
  [{ type: "step", stepSize: 0 }, RangeError, "whole number from 1"],
  [{ type: "multiStep", milestones: [3, 1] }, RangeError, "rising order"],
  [{ type: "linear", startFactor: 0 }, RangeError, "above 0"],
  [{ type: "cosine", tMax: 1.5 }, RangeError, "whole number"],
  [{ type: "cosine", etaMin: [] }, RangeError, "empty list"],
  [{ type: "oneCycle", maxLr: 1, annealStrategy: "sin" }, RangeError, "cos, linear"],
  [{ type: "oneCycle", maxLr: 1, maxMomentum: 1 }, RangeError, "below 1"],
  [{ type: "cyclic", maxLr: 1 }, TypeError, "baseLr undefined"],
  [{ type: "sequential" }, RangeError, 'list under "schedules"'],
  [
    { type: "sequential", schedules: [{ type: "constant" }], milestones: [1] },
    RangeError,
    "0 rising",
  ],
  [{ type: "chained", schedules: [] }, RangeError, "at least one schedule"],
  [{ type: "warmup", steps: 2, shape: "round" }, RangeError, "linear, cosine"],
];

for (const [json, kind, message] of refused) {
  Deno.test(`JSON is refused: ${JSON.stringify(json)}`, () => {
    assertThrows(() => schedule.fromJSON(json!), kind, message);
  });
}

Deno.test("a preview spreads its rows, and gives a line for each group", () => {
  const made = schedule.oneCycle({ maxLr: 0.4 });
  const { rows, series, table } = previewSchedule(made, {
    steps: 101,
    points: 5,
    base: [0.1, 0.2],
  });
  assertEquals(rows.map((row) => row.step), [0, 25, 50, 75, 100]);
  assertEquals(
    rows[4].lrs,
    [0, 1].map((index) =>
      made.lr({ step: 100, total: 101 }, { base: 0.1 * (index + 1), first: 0.1, index })
    ),
  );
  assertEquals(series.map((s) => [s.name, s.x.length, s.y.length]), [
    ["lr of group 0", 101, 101],
    ["lr of group 1", 101, 101],
  ]);
  assertClose([series[1].y[40]], [2 * series[0].y[40]], 1e-15);
  const lines = table.split("\n");
  assertEquals(lines[0].trim().split(/ {2,}/), [
    "step",
    "lr of group 0",
    "lr of group 1",
    "momentum",
  ]);
  assert(lines.every((line) => line.length === lines[0].length));
  assertEquals(previewSchedule(schedule.warmup(1), { steps: 1 }).rows.length, 1);
  assertEquals(previewSchedule(schedule.warmup(1), { steps: 3, points: 9 }).rows.length, 3);
  assertThrows(() => previewSchedule(made, { steps: 0 }), RangeError, "steps 0");
});
