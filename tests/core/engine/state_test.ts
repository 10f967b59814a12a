import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  type EngineSnapshot,
  EngineState,
  type EngineStateJson,
} from "../../../core/engine/mod.ts";

function idle(callbacks: Callback[] = []): Engine {
  return new Engine((_e, _b: unknown) => ({ count: 2 }), new Context({ model: null }), {
    callbacks,
  });
}

Deno.test("EngineState.toJSON() survives JSON text, also metrics that are not finite", async () => {
  const engine = idle();
  engine.on("epochEnd", ({ state }) => {
    Object.assign(state.metrics, { a: 0.5, b: NaN, c: Infinity, d: -Infinity });
  });
  await engine.loop([0, 0, 0], { maxEpochs: 2 });
  const text = JSON.stringify(engine.state);
  assertEquals(
    text,
    '{"epoch":2,"globalStep":6,"localStep":3,"samples":12,"backwards":0,' +
      '"metrics":{"a":0.5,"b":"NaN","c":"Infinity","d":"-Infinity"}}',
  );
  const state = new EngineState();
  state.restore(JSON.parse(text));
  assertEquals(state.metrics, { a: 0.5, b: NaN, c: Infinity, d: -Infinity });
  assertEquals(state.current, { epoch: 2, step: 6, localStep: 3 });
  assertEquals(state.toJSON(), engine.state.toJSON());
});

Deno.test("EngineState.restore() refuses broken counters and metrics and changes nothing", () => {
  const good = new EngineState().toJSON();
  const restore = (change: object) => () => {
    const state = new EngineState();
    state.globalStep = 7;
    try {
      state.restore({ ...good, ...change } as EngineStateJson);
    } finally {
      assertEquals(state.globalStep, 7);
    }
  };
  assertThrows(restore({ epoch: -1 }), TypeError, '"epoch" to be a whole number from 0, found -1');
  assertThrows(restore({ samples: undefined }), TypeError, "found undefined");
  assertThrows(restore({ metrics: { a: "high" } }), TypeError, 'metric "a"');
});

Deno.test("EngineState.claimMetrics() allows one owner per name until the next loop", async () => {
  const engine = idle();
  const first = { name: "first" };
  const second = { name: "second" };
  engine.state.claimMetrics(first, ["loss", "accuracy"]);
  engine.state.claimMetrics(first, ["loss"]);
  assertThrows(
    () => engine.state.claimMetrics(second, ["f1", "loss"]),
    Error,
    'Cannot write metric "loss": expected one writer per name, found two (first and second)',
  );
  engine.on("engineStart", ({ state }) => state.claimMetrics(second, ["loss"]));
  await engine.loop([]);
});

/** Sums the batches that it saw. */
class Sum implements Callback {
  total = 0;
  constructor(readonly name: string) {}
  onStepEnd({ batch }: { batch: unknown }): void {
    this.total += batch as number;
  }
  state(): Promise<number> {
    return Promise.resolve(this.total);
  }
  load(state: unknown): void {
    this.total = state as number;
  }
}

Deno.test("Engine.snapshot() and restore() carry counters and callback states over", async () => {
  const engine = idle([new Sum("sum"), new Sum("sum"), { onStepEnd() {} }]);
  await engine.loop([1, 2], { maxEpochs: 2 });
  const text = JSON.stringify(await engine.snapshot());
  assertEquals(JSON.parse(text).callbacks, { "sum": 6, "sum 2": 6 });

  const sums = [new Sum("sum"), new Sum("sum")];
  const next = idle(sums);
  const seen: number[] = [];
  next.on("epochStart", ({ state }) => void seen.push(state.current.epoch, state.globalStep));
  await next.restore(JSON.parse(text));
  await next.loop([10], { maxEpochs: 1 });
  assertEquals(seen, [3, 4]);
  assertEquals(sums.map((sum) => sum.total), [16, 16]);
  assertEquals([next.state.epoch, next.state.globalStep, next.state.samples], [3, 5, 10]);
});

Deno.test("Engine.restore() refuses a snapshot with other callbacks", async () => {
  const engine = idle([new Sum("sum")]);
  const snapshot: EngineSnapshot = { state: new EngineState().toJSON(), callbacks: { other: 1 } };
  await assertRejects(
    () => engine.restore(snapshot),
    Error,
    "Cannot restore engine: expected states of the callbacks sum, found other",
  );
  await assertRejects(
    () => idle().restore(snapshot),
    Error,
    "expected states of the callbacks none, found other",
  );
});
