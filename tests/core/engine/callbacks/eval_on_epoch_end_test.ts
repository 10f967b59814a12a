import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  EvalOnEpochEndCallback,
} from "../../../../core/engine/mod.ts";

/** A module with parts, as far as modes go. */
class FakeModule {
  training = true;
  constructor(readonly parts: FakeModule[] = []) {}
  *modules(): Generator<FakeModule> {
    yield this;
    for (const part of this.parts) yield* part.modules();
  }
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode;
    return this;
  }
  eval(): this {
    return this.train(false);
  }
}

function evaluatorOf<M>(model: M, step: (batch: number) => void = () => {}) {
  let sum = 0;
  const evaluator = new Engine(
    (_e, batch: number) => {
      step(batch);
      sum += batch;
    },
    new Context({ model }),
    { name: "evaluator" },
  );
  evaluator.on("epochStart", () => void (sum = 0));
  evaluator.on("epochEnd", ({ state }) => void (state.metrics.sum = sum), { phase: "metrics" });
  return evaluator;
}

function trainerWith(callbacks: Callback[]): Engine {
  return new Engine((_e, _b: unknown): unknown => undefined, new Context({ model: null }), {
    callbacks,
  });
}

Deno.test("EvalOnEpochEndCallback merges prefixed metrics before handlers of later phases", async () => {
  const evaluator = evaluatorOf(null);
  const trainer = trainerWith([new EvalOnEpochEndCallback(evaluator, [1, 2, 3])]);
  const seen: unknown[] = [];
  trainer.on("epochEnd", ({ state }) => void (state.metrics.own = state.epoch), {
    phase: "metrics",
  });
  trainer.on("epochEnd", ({ state }) => void seen.push({ ...state.metrics }));
  await trainer.loop([0], { maxEpochs: 2 });
  assertEquals(seen, [{ own: 1, "eval/sum": 6 }, { own: 2, "eval/sum": 6 }]);
  assertEquals([evaluator.state.epoch, evaluator.state.globalStep], [2, 6]);
  assertEquals([trainer.state.epoch, trainer.state.globalStep], [2, 2]);
});

Deno.test("EvalOnEpochEndCallback runs at multiples of every, under its prefix", async () => {
  const evaluator = evaluatorOf(null);
  const callback = new EvalOnEpochEndCallback(evaluator, [5], { every: 2, prefix: "test" });
  const trainer = trainerWith([callback]);
  const seen: number[] = [];
  evaluator.on("engineStart", () => void seen.push(trainer.state.epoch));
  const state = await trainer.loop([0], { maxEpochs: 4 });
  assertEquals(seen, [2, 4]);
  assertEquals(state.metrics, { "test/sum": 5 });
  await trainer.loop([0], { maxEpochs: 1 });
  assertEquals([seen, state.metrics], [[2, 4], {}]);
  assertThrows(
    () => new EvalOnEpochEndCallback(evaluator, [], { every: 0 }),
    RangeError,
    "found 0",
  );
});

Deno.test("EvalOnEpochEndCallback evaluates partial epochs unless they were interrupted", async () => {
  for (const [why, runs] of [["enough", 1], ["interrupted", 0]] as const) {
    const evaluator = evaluatorOf(null);
    const trainer = trainerWith([new EvalOnEpochEndCallback(evaluator, [5])]);
    trainer.on("stepEnd", ({ engine }) => engine.stop(why));
    await trainer.loop([0, 0]);
    assertEquals(evaluator.state.epoch, runs, why);
  }
});

Deno.test("EvalOnEpochEndCallback evaluates in evaluation mode and restores every part's mode", async () => {
  const frozen = new FakeModule();
  const model = new FakeModule([frozen, new FakeModule()]);
  frozen.training = false;
  const modes = () => [...model.modules()].map((part) => part.training);
  const seen: boolean[][] = [];
  const evaluator = evaluatorOf(model, () => void seen.push(modes()));
  await trainerWith([new EvalOnEpochEndCallback(evaluator, [1])]).loop([0]);
  assertEquals(seen, [[false, false, false]]);
  assertEquals(modes(), [true, false, true]);
});

Deno.test("EvalOnEpochEndCallback restores the mode when the evaluation fails", async () => {
  const model = new FakeModule();
  const evaluator = evaluatorOf(model, () => {
    throw new RangeError("bad");
  });
  const trainer = trainerWith([new EvalOnEpochEndCallback(evaluator, [1])]);
  await assertRejects(() => trainer.loop([0]), RangeError, "bad");
  assertEquals(model.training, true);
});

Deno.test("EvalOnEpochEndCallback leaves a model in evaluation mode that was in it", async () => {
  const model = new FakeModule().eval();
  await trainerWith([new EvalOnEpochEndCallback(evaluatorOf(model), [1])]).loop([0]);
  assertEquals(model.training, false);
});

Deno.test("EvalOnEpochEndCallback switches every model of a record, and models without parts", async () => {
  const calls: string[] = [];
  const simple = (name: string, training: boolean) => ({
    training,
    eval: () => void calls.push(`${name} eval`),
    train: (mode?: boolean) => void calls.push(`${name} train ${mode}`),
  });
  const model = { a: simple("a", true), b: simple("b", false), scale: 3 };
  await trainerWith([new EvalOnEpochEndCallback(evaluatorOf(model), [1])]).loop([0]);
  assertEquals(calls, ["a eval", "b eval", "a train true", "b train false"]);
});

Deno.test("EvalOnEpochEndCallback refuses two evaluators with one prefix", async () => {
  const trainer = trainerWith([
    new EvalOnEpochEndCallback(evaluatorOf(null), [1]),
    new EvalOnEpochEndCallback(evaluatorOf(null), [2]),
  ]);
  await assertRejects(() => trainer.loop([0]), Error, 'Cannot write metric "eval/sum"');
});

Deno.test("EvalOnEpochEndCallback saves the evaluator with the trainer", async () => {
  const make = () => {
    const evaluator = evaluatorOf(null);
    return { evaluator, trainer: trainerWith([new EvalOnEpochEndCallback(evaluator, [4])]) };
  };
  const old = make();
  await old.trainer.loop([0], { maxEpochs: 2 });
  const next = make();
  await next.trainer.restore(JSON.parse(JSON.stringify(await old.trainer.snapshot())));
  assertEquals(next.evaluator.state.toJSON(), old.evaluator.state.toJSON());
});

Deno.test("EvalOnEpochEndCallback leaves no metrics of an earlier epoch where it did not run", async () => {
  const callback = new EvalOnEpochEndCallback(evaluatorOf(null), [1, 2, 3], { every: 2 });
  const trainer = trainerWith([callback]);
  const seen: unknown[] = [];
  trainer.on("epochEnd", ({ state }) => void seen.push(state.metrics["eval/sum"]));
  await trainer.loop([0], { maxEpochs: 4 });
  assertEquals(seen, [undefined, 6, undefined, 6]);
});

Deno.test("EvalOnEpochEndCallback ends an evaluation whose trainer is interrupted, without metrics", async () => {
  const evaluator = evaluatorOf(null, (batch) => void (batch === 2 && trainer.stop("interrupted")));
  const trainer = trainerWith([new EvalOnEpochEndCallback(evaluator, [1, 2, 3])]);
  let reason = "";
  evaluator.on("engineEnd", (event) => void (reason = event.reason));
  const { metrics, stopReason } = await trainer.loop([0], { maxEpochs: 2 });
  assertEquals([metrics, stopReason, reason], [{}, "interrupted", "interrupted"]);
  assertEquals([evaluator.state.globalStep, evaluator.state.epoch, trainer.state.epoch], [2, 0, 0]);
  assertEquals(evaluator.explain().includes("interruption"), false);
});

Deno.test("EvalOnEpochEndCallback finishes an evaluation whose trainer is stopped", async () => {
  const evaluator = evaluatorOf(null, (batch) => void (batch === 2 && trainer.stop("enough")));
  const trainer = trainerWith([new EvalOnEpochEndCallback(evaluator, [1, 2, 3])]);
  const { metrics } = await trainer.loop([0], { maxEpochs: 2 });
  assertEquals([metrics, trainer.state.epoch], [{ "eval/sum": 6 }, 1]);
});
