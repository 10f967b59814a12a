import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  EVENT_METHODS,
  EVENT_NAMES,
  type EventName,
  Events,
  type HandlerOptions,
  type Phase,
  PHASES,
} from "../../../core/engine/mod.ts";
import { FakeDevice } from "./fakes.ts";

function idle(): Engine {
  return new Engine((_engine, _batch: unknown): unknown => undefined, new Context({ model: null }));
}

async function countsSeen(event: EventName, options: HandlerOptions): Promise<number[]> {
  const engine = idle();
  const seen: number[] = [];
  const count = event.startsWith("step") ? "step" : "epoch";
  engine.on(event, ({ state }) => void seen.push(state.current[count]), options);
  await engine.loop(Array(10).fill(0), { maxEpochs: 3 });
  return seen;
}

Deno.test("Events names each event once, and each has its method", () => {
  assertEquals(Object.keys(Events), [...EVENT_NAMES]);
  assertEquals(EVENT_NAMES.map((event) => EVENT_METHODS[event]), [
    "onEngineStart",
    "onEpochStart",
    "onStepStart",
    "onBackwardStart",
    "onBackwardEnd",
    "onStepEnd",
    "onEpochEnd",
    "onEngineEnd",
    "onException",
  ]);
});

Deno.test("Engine.on() filters by the event's own counter and never shifts it", async () => {
  assertEquals(await countsSeen("stepEnd", { every: 10, after: 5 }), [10, 20, 30]);
  assertEquals(await countsSeen("stepStart", { every: 10, after: 10 }), [20, 30]);
  assertEquals(await countsSeen("stepEnd", { every: 7, before: 28 }), [7, 14, 21]);
  assertEquals(await countsSeen("stepEnd", { after: 12, before: 16 }), [13, 14, 15]);
  assertEquals(await countsSeen("stepEnd", { once: 12 }), [12]);
  assertEquals(await countsSeen("stepEnd", { once: true, after: 12 }), [13]);
  assertEquals(await countsSeen("epochStart", { every: 2 }), [2]);
  assertEquals(await countsSeen("epochEnd", { after: 1 }), [2, 3]);
});

Deno.test("Engine.on() counts calls of backward and of loop for their events", async () => {
  const device = new FakeDevice();
  const seen: string[] = [];
  const engine = new Engine((engine, _batch: number) => {
    engine.backward(device.make(1));
    engine.backward(device.make(2));
  }, new Context({ model: null }));
  const note = (text: string) => void seen.push(text);
  engine.on("backwardStart", ({ state }) => note(`start ${state.backwards}`), { once: 3 });
  engine.on("backwardEnd", ({ state }) => note(`end ${state.backwards}`), { every: 2 });
  engine.on("engineEnd", () => note("second loop"), { once: 2 });
  await engine.loop([1], { maxEpochs: 2 });
  await engine.loop([1]);
  assertEquals(seen, ["end 2", "start 2", "end 4", "end 6", "second loop"]);
});

Deno.test("Engine runs handlers by phase, then in the order of registration", async () => {
  const order: string[] = [];
  const engine = idle();
  const callback = (name: string, phase?: Phase): Callback => ({
    name,
    phase,
    onStepEnd: () => void order.push(name),
  });
  engine.add(callback("display", "display"));
  engine.add(callback("log 1"));
  engine.add(callback("metrics 1", "metrics"));
  engine.on("stepEnd", () => void order.push("log 2"));
  engine.on("stepEnd", () => void order.push("metrics 2"), { phase: "metrics" });
  for (const phase of PHASES.toReversed()) engine.add(callback(`last ${phase}`, phase));
  await engine.loop([0]);
  assertEquals(order, [
    ...["metrics 1", "metrics 2", "last metrics", "last schedule", "last evaluate"],
    ...["log 1", "log 2", "last log", "last decide", "last persist", "display", "last display"],
  ]);
});

Deno.test("Engine waits for a handler's promise before it calls the next handler", async () => {
  const order: string[] = [];
  const engine = idle();
  engine.on("stepEnd", async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    order.push("slow");
  });
  engine.on("stepEnd", () => void order.push("fast"));
  engine.on("stepStart", () => void order.push("start"));
  await engine.loop([0, 0]);
  assertEquals(order, ["start", "slow", "fast", "start", "slow", "fast"]);
});

Deno.test("Subscription removes a handler, also at the end of a using block", async () => {
  const seen: string[] = [];
  const engine = idle();
  const first = engine.on("stepEnd", () => {
    seen.push("first");
    first.remove();
    second.remove();
  });
  const second = engine.on("stepEnd", () => void seen.push("second"));
  {
    using _third = engine.on("stepEnd", () => void seen.push("third"));
    await engine.loop([0, 0]);
  }
  await engine.loop([0]);
  assertEquals(seen, ["first", "third", "third"]);
});

Deno.test("Engine.add() returns the hold on the whole callback", async () => {
  let calls = 0;
  const callback: Callback = { onStepStart: () => void calls++, onStepEnd: () => void calls++ };
  const engine = idle();
  const subscription = engine.add(callback);
  assertThrows(() => engine.add(callback), Error, "found it added already");
  await engine.loop([0]);
  subscription.remove();
  await engine.loop([0]);
  assertEquals(calls, 2);
  assertEquals(engine.callbacks, []);
});

Deno.test("Engine.add() refuses callbacks that would not be called as meant", () => {
  const engine = idle();
  class Misspelt {
    onEpochStop(): void {}
  }
  class Python {
    on_epoch_end(): void {}
  }
  assertThrows(() => engine.add(new Misspelt() as Callback), TypeError, 'found "onEpochStop"');
  assertThrows(() => engine.add(new Python() as Callback), TypeError, 'found "on_epoch_end"');
  assertThrows(() => engine.add({ name: "empty" }), TypeError, 'callback "empty"');
  assertThrows(() => engine.add(null as unknown as Callback), TypeError, "found null");
  assertThrows(
    () => engine.add({ phase: "later" as Phase, onStepEnd() {} }),
    TypeError,
    'found "later"',
  );
  assertThrows(() => engine.add({ onStepEnd() {}, state: () => 1 }), TypeError, "only state");
  assertEquals(engine.callbacks, []);
});

Deno.test("Engine.on() refuses unknown events, phases and filters", () => {
  const engine = idle();
  const none = () => {};
  assertThrows(() => engine.on("stepStop" as EventName, none), TypeError, 'found "stepStop"');
  assertThrows(() => engine.on("stepEnd", none, { every: 0 }), RangeError, "every to be a whole");
  assertThrows(() => engine.on("stepEnd", none, { once: 1.5 }), RangeError, "found 1.5");
  assertThrows(() => engine.on("stepEnd", none, { after: -1 }), RangeError, "found -1");
  assertThrows(
    () => engine.on("stepEnd", none, { phase: "x" as Phase }),
    TypeError,
    'expected a phase among metrics, schedule, evaluate, log, decide, persist, display, found "x"',
  );
});

Deno.test("Engine.explain() lists events, phases, names and filters in running order", () => {
  const engine = idle();
  engine.add({ name: "bar", phase: "display", onStepEnd() {}, onEpochEnd() {} });
  engine.on("stepEnd", function logLoss() {}, { every: 10, after: 5 });
  engine.on("stepEnd", () => {}, { phase: "metrics", once: true });
  assertEquals(
    engine.explain(),
    [
      "stepEnd",
      "  metrics  handler (once)",
      "  log      logLoss (every 10, after 5)",
      "  display  bar",
      "epochEnd",
      "  display  bar",
    ].join("\n"),
  );
});

Deno.test("Engine.loop() throws what an asynchronous handler rejects with", async () => {
  const engine = idle();
  engine.on("stepEnd", () => Promise.reject(new RangeError("later")));
  await assertRejects(() => engine.loop([0]), RangeError, "later");
});

Deno.test("Engine.loop() runs all ending handlers and collects their errors after the first", async () => {
  const seen: string[] = [];
  const engine = new Engine((): void => {
    throw new TypeError("step");
  }, new Context({ model: null }));
  const bad = (text: string) => () => {
    seen.push(text);
    throw new Error(text);
  };
  engine.on("exception", bad("exception 1"));
  engine.on("exception", () => void seen.push("exception 2"));
  engine.on("engineEnd", bad("end 1"));
  engine.on("engineEnd", ({ reason, error }) => void seen.push(`${reason} by ${error}`));
  const thrown = await engine.loop([0]).then(() => null, (error) => error);
  assertEquals(seen, ["exception 1", "exception 2", "end 1", "failed by TypeError: step"]);
  assertEquals(thrown instanceof AggregateError, true);
  assertEquals(thrown.message, "step (and 2 more errors while ending)");
  assertEquals(thrown.errors.map(String), [
    "TypeError: step",
    "Error: exception 1",
    "Error: end 1",
  ]);
  assertEquals(thrown.cause, thrown.errors[0]);
  assertEquals(engine.running, false);
});

Deno.test("Engine.loop() throws the error of an engineEnd handler of a good run", async () => {
  const seen: string[] = [];
  const engine = idle();
  engine.on("engineEnd", () => {
    throw new Error("end");
  });
  engine.on("engineEnd", ({ reason }) => void seen.push(reason));
  engine.on("exception", () => void seen.push("exception"));
  await assertRejects(() => engine.loop([0]), Error, "end");
  assertEquals(seen, ["done"]);
});

Deno.test("Engine.backward() stays synchronous and its handlers' promises end before stepEnd", async () => {
  const order: string[] = [];
  const device = new FakeDevice();
  const loss = device.make(1);
  const engine = new Engine((engine, _batch: number) => {
    order.push("step");
    engine.backward(loss);
    order.push(`gradients ${loss.backwards}`);
  }, new Context({ model: null }));
  const slow = (text: string) => async () => {
    order.push(text);
    await new Promise((resolve) => setTimeout(resolve, 2));
    order.push(`${text} waited`);
  };
  engine.on("backwardStart", slow("start"));
  engine.on("backwardEnd", slow("end"));
  engine.on("backwardEnd", ({ batch, loss }) => void order.push(`batch ${batch} ${loss.shape}`));
  engine.on("stepEnd", () => void order.push("stepEnd"));
  await engine.loop([7]);
  assertEquals(order, [
    ...["step", "start", "end", "batch 7 ", "gradients 1"],
    ...["start waited", "end waited", "stepEnd"],
  ]);
});

Deno.test("Engine.backward() errors of handlers end the run, thrown or rejected", async () => {
  const device = new FakeDevice();
  const make = () =>
    new Engine(
      (engine, _batch: number) => engine.backward(device.make(1)),
      new Context({ model: 0 }),
    );
  const thrower = make();
  thrower.on("backwardStart", () => {
    throw new RangeError("thrown");
  });
  await assertRejects(() => thrower.loop([0]), RangeError, "thrown");
  const rejecter = make();
  rejecter.on("backwardEnd", () => Promise.reject(new RangeError("rejected")));
  let ended = 0;
  rejecter.on("stepEnd", () => void ended++);
  await assertRejects(() => rejecter.loop([0]), RangeError, "rejected");
  assertEquals(ended, 0);
});

Deno.test("Engine.loop() keeps a rejection of backward when the step throws as well", async () => {
  const device = new FakeDevice();
  const engine = new Engine((engine, _batch: number) => {
    engine.backward(device.make(1));
    throw new Error("step");
  }, new Context({ model: null }));
  engine.on("backwardEnd", () => Promise.reject(new Error("handler")));
  const thrown = await engine.loop([0]).then(() => null, (error) => error);
  assertEquals(thrown.errors.map(String), ["Error: step", "Error: handler"]);
});

Deno.test("Engine.backward() outside a step is an error", async () => {
  const device = new FakeDevice();
  const engine = idle();
  const message = "Cannot run engine.backward: expected to be inside a step, found none";
  assertThrows(() => engine.backward(device.make(1)), Error, message);
  engine.on("epochEnd", () => engine.backward(device.make(1)));
  await assertRejects(() => engine.loop([0]), Error, message);
});
