import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  EarlyStoppingCallback,
  Engine,
  EvalOnEpochEndCallback,
  KeyframeLR,
  type LoopOptions,
  LrScheduleCallback,
  type MetricSource,
  Plateau,
  referenceDevice,
  type Schedule,
  schedule,
  SGD,
  WarmupThenPlateau,
} from "../../../core/mod.ts";
import {
  MeanLoss,
  MetricsCallback,
  MultiClassAccuracy,
  RunningMean,
} from "../../../metrics/mod.ts";
import { EmaCallback, Linear, ModelEma } from "../../../nn/mod.ts";

type Better = "up" | "down" | null;

/** A callback that writes given values of "score", epoch by epoch, and tells a direction. */
function scores(values: readonly number[], better: Better): Callback & MetricSource<"score"> {
  return {
    name: "scores",
    phase: "metrics",
    metricKeys: ["score"],
    betterOf: (key) => key === "score" ? better : null,
    onEpochEnd: ({ state }) => void (state.metrics.score = values[state.current.epoch - 1]),
  };
}

function engineOf(values: readonly number[], better: Better) {
  const context = new Context({ model: null, optimizer: { groups: [{ lr: 8 }] } });
  return new Engine(() => {}, context, { callbacks: [scores(values, better)] });
}

const loop: LoopOptions = { maxEpochs: 9 };

Deno.test("Engine.betterOf() asks the callback that writes the metric", () => {
  const measure = () =>
    new MetricsCallback([
      new MeanLoss(),
      new MultiClassAccuracy(),
      new RunningMean({ field: "lr" }),
    ]);
  const step = () => ({ loss: 1, lr: 1, predictions: 1, targets: 1 });
  const context = new Context({ model: null });
  const evaluator = new Engine(step, context, { callbacks: [measure()] });
  const engine = new Engine(step, context, {
    callbacks: [
      measure(),
      { onEpochEnd() {} },
      new EvalOnEpochEndCallback(evaluator, [0], { prefix: "val/ema" }),
      new LrScheduleCallback(schedule.constant(), { metric: "rate" }),
      new LrScheduleCallback(schedule.constant(), { metric: null }),
    ],
  });
  const directions = engine.metricKeys.map((key) => [key, engine.betterOf(key)]);
  assertEquals(directions, [
    ["loss", "down"],
    ["accuracy", "up"],
    ["lr", null],
    ["val/ema/loss", "down"],
    ["val/ema/accuracy", "up"],
    ["val/ema/lr", null],
    ["rate", null],
  ]);
  for (const key of ["accurac", "val/accuracy", "val/ema/", "ema/accuracy", "", "val/ema"]) {
    assertEquals(engine.betterOf(key), null, key);
  }
  // names come from where the metrics are, whenever they were added
  evaluator.add(scores([], "down"));
  assertEquals(engine.betterOf("val/ema/score"), "down");
  assert(engine.metricKeys.some((key) => key as string === "val/ema/score"));
});

Deno.test("EmaCallback tells the evaluator's metrics behind its prefix, and none without one", () => {
  const device = referenceDevice();
  const model = new Linear(1, 1, { device });
  using optimizer = new SGD(model.parameters(), { lr: 0.1, ema: { decay: 0.9 } });
  using ema = new ModelEma(model, optimizer);
  const evaluator = new Engine(() => ({ loss: 1 }), new Context({ model }), {
    callbacks: [new MetricsCallback([new MeanLoss()])],
  });
  const callback = new EmaCallback(ema, { evaluator, loader: [0], prefix: "mean" });
  assertEquals(callback.metricKeys, ["mean/loss"]);
  assertEquals([callback.betterOf("mean/loss"), callback.betterOf("loss")], ["down", null]);
  const alone = new EmaCallback(ema);
  assertEquals([alone.metricKeys, alone.betterOf("ema/loss")], [[], null]);
});

Deno.test("Engine.earlyStop() takes the direction of the metric", async () => {
  const values = [1, 2, 3, 2, 1, 0, 1, 2, 3];
  const cases = [
    ["up", values, [5, 3, 3]],
    ["down", values, [3, 1, 1]],
    ["down", values.map((v) => -v), [5, -3, 3]],
    ["up", values.map((v) => -v), [3, -1, 1]],
  ] as const;
  for (const [better, list, expected] of cases) {
    const engine = engineOf(list, better);
    const stopping = engine.earlyStop({ monitor: "score", patience: 2 });
    const { epoch } = await engine.loop([0], loop);
    assertEquals([epoch, stopping.best, stopping.bestEpoch], [...expected], better);
    assert(engine.callbacks.includes(stopping));
  }
});

Deno.test("Engine.earlyStop() finds the direction behind an evaluator's prefix", async () => {
  const evaluator = engineOf([5, 6, 7, 8], "down");
  const trainer = new Engine(() => {}, new Context({ model: null }), {
    callbacks: [new EvalOnEpochEndCallback(evaluator, [0], { prefix: "val" })],
  });
  const stopping = trainer.earlyStop({ monitor: "val/score", patience: 2 });
  const { epoch } = await trainer.loop([0], loop);
  assertEquals([epoch, stopping.best], [3, 5]);
});

Deno.test("EarlyStoppingCallback keeps its direction over loops, and restored counts", async () => {
  const values = [3, 4, 5, 4, 6, 5, 4, 3, 2];
  const make = () => {
    const engine = engineOf(values, "up");
    return { engine, stopping: engine.earlyStop({ monitor: "score", patience: 3 }) };
  };
  const whole = make();
  await whole.engine.loop([0], loop);
  const first = make();
  await first.engine.loop([0], { maxEpochs: 4 });
  const second = make();
  await second.engine.restore(JSON.parse(JSON.stringify(await first.engine.snapshot())));
  await second.engine.loop([0], { maxEpochs: 5 });
  for (const { engine, stopping } of [whole, second]) {
    assertEquals([engine.state.epoch, stopping.best, stopping.bestEpoch], [8, 6, 5]);
  }
});

Deno.test("EarlyStoppingCallback refuses at the start a metric without a direction", async () => {
  const unknown = "expected a callback of the engine to say which values of";
  for (const better of ["up", null] as const) {
    const engine = engineOf([1], better);
    engine.add(new EarlyStoppingCallback({ monitor: better === null ? "score" : "other" }));
    const found = better === null ? "only of no metric; mode" : "only of score; mode";
    const error = await assertRejects(() => engine.loop([0]), RangeError, unknown);
    assert(error.message.includes(found), error.message);
    assertEquals(engine.state.globalStep, 0);
  }
  const told = engineOf([1, 2, 3, 4], null);
  told.earlyStop({ monitor: "score", mode: "min", patience: 2 });
  assertEquals((await told.loop([0], loop)).epoch, 3);
});

Deno.test("EarlyStoppingCallback refuses a mode that the metric contradicts", async () => {
  const engine = engineOf([1], "down");
  engine.earlyStop({ monitor: "score", mode: "max" });
  await assertRejects(
    () => engine.loop([0]),
    RangeError,
    'Cannot follow "score": expected mode "min", since its smaller values are better, found "max"',
  );
});

Deno.test("LrScheduleCallback refuses a plateau that the metric contradicts, wherever it is", async () => {
  const plateaus = (mode: "min" | "max"): Schedule[] => [
    new Plateau({ mode }),
    new WarmupThenPlateau({ warmup: 2, mode }),
    schedule.constant().times(new Plateau({ mode })),
    new KeyframeLR({
      frames: [{ position: 0, lr: 1 }, { type: "plateau", mode }, { position: 9 }],
    }),
  ];
  for (const mode of ["min", "max"] as const) {
    for (const better of ["up", "down", null] as const) {
      for (const [i, made] of plateaus(mode).entries()) {
        const engine = engineOf([1, 1], better).with(
          new LrScheduleCallback(made, { monitor: "score" }),
        );
        const fits = better === null || (better === "up") === (mode === "max");
        const run = () => engine.loop([0], { maxEpochs: 2 });
        if (fits) await run();
        else await assertRejects(run, RangeError, `expected mode "`, `${i} ${mode} ${better}`);
      }
    }
  }
});

Deno.test("Engine refuses a source without directions, and with() adds as add() does", () => {
  const engine = new Engine(() => {}, new Context({ model: null }));
  assertThrows(
    () => engine.add({ onEpochEnd() {}, metricKeys: ["a"] }),
    TypeError,
    "expected both metricKeys and betterOf or neither, found only metricKeys",
  );
  const source = scores([], "up");
  assertEquals(engine.with(source) as unknown, engine);
  assertThrows(() => engine.with(source), Error, "found it added already");
  assertEquals(engine.callbacks, [source]);
});
