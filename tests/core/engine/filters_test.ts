/** Filters by epochs and time, order by name, and events of the program's own. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  Engine,
  type EventName,
  EventType,
  type HandlerOptions,
} from "../../../core/engine/mod.ts";
import { CaptureError, jit, referenceDevice, type Tensor, tensor } from "../../../core/mod.ts";

function idle(step: () => void = () => {}): Engine {
  return new Engine((_engine, _batch: unknown): unknown => step(), new Context({ model: null }));
}

/** The epoch and the step of each call in 4 epochs of 3 steps, each a second long. */
async function calls(event: EventName, options: HandlerOptions): Promise<string[]> {
  const real = performance.now;
  let clock = 5000;
  performance.now = () => clock;
  try {
    const engine = idle(() => void (clock += 1000));
    const seen: string[] = [];
    engine.on(event, ({ state }) => {
      seen.push(`${state.current.epoch}.${state.current.localStep}`);
    }, options);
    await engine.loop([1, 2, 3], { maxEpochs: 4 });
    return seen;
  } finally {
    performance.now = real;
  }
}

Deno.test("Engine.on() filters by the running epoch", async () => {
  assertEquals(await calls("stepEnd", { every: { epochs: 3 } }), ["3.1", "3.2", "3.3"]);
  assertEquals(await calls("epochEnd", { every: { epochs: 2 } }), ["2.3", "4.3"]);
  assertEquals(await calls("stepEnd", { after: { epochs: 3 }, every: 2 }), ["4.1", "4.3"]);
  assertEquals(await calls("stepStart", { before: { epochs: 2 } }), ["1.1", "1.2", "1.3"]);
  assertEquals(await calls("stepEnd", { once: true, after: { epochs: 2 } }), ["3.1"]);
  assertEquals(await calls("engineStart", { every: { epochs: 1 } }), []);
});

Deno.test("Engine.on() filters by the time since it ran or the loop started", async () => {
  assertEquals(await calls("stepEnd", { every: { seconds: 5 } }), ["2.2", "4.1"]);
  assertEquals(await calls("stepEnd", { every: { seconds: 2.5 } }), ["1.3", "2.3", "3.3", "4.3"]);
  assertEquals(await calls("stepEnd", { after: { seconds: 10 } }), ["4.2", "4.3"]);
  assertEquals(await calls("stepEnd", { before: { seconds: 3 } }), ["1.1", "1.2"]);
  assertEquals(await calls("epochEnd", { every: { seconds: 4 }, after: 2 }), ["3.3"]);
});

Deno.test("Engine.on() starts the time anew with each loop", async () => {
  const engine = idle();
  let ran = 0;
  engine.on("stepEnd", () => void ran++, { every: { seconds: 3600 } });
  engine.on("stepEnd", () => void ran++, { after: { seconds: 3600 } });
  await engine.loop([1]);
  await engine.loop([1]);
  assertEquals(ran, 0);
});

Deno.test("Engine.on() refuses intervals that are none", () => {
  const engine = idle();
  const bad = (options: HandlerOptions) => () => engine.on("stepEnd", () => {}, options);
  const both = { epochs: 1, seconds: 1 } as unknown as { epochs: number };
  for (const every of [{ epochs: 0 }, { epochs: 1.5 }, { seconds: -1 }, { seconds: NaN }, both]) {
    assertThrows(bad({ every }), RangeError, "expected every to be { epochs } with a whole number");
  }
  assertThrows(bad({ once: { epochs: 2 } as unknown as number }), RangeError, "once to be a whole");
  assertThrows(bad({ runAfter: 3 as unknown as string }), TypeError, "expected runAfter to be");
});

function named(name: string, order: string[], rest: Partial<Callback> = {}): Callback {
  return { name, onStepEnd: () => void order.push(name), ...rest };
}

Deno.test("Engine orders handlers of a phase by name where they ask for it", async () => {
  const order: string[] = [];
  const engine = idle();
  engine.add(named("a", order, { runAfter: ["c", "d"] }));
  engine.add(named("b", order));
  engine.add(named("c", order));
  engine.add(named("d", order, { runBefore: "b" }));
  engine.on("stepEnd", function e() {
    order.push("e");
  }, { phase: "metrics", runBefore: "a" });
  await engine.loop([0]);
  assertEquals(order, ["e", "c", "d", "a", "b"]);
  assertEquals(
    engine.explain(),
    [
      "stepEnd",
      "  metrics  e (runBefore a)",
      "  log      c",
      "  log      d (runBefore b)",
      "  log      a (runAfter c and d)",
      "  log      b",
    ].join("\n"),
  );
});

Deno.test("Engine refuses an order that cannot be had, and leaves handlers as they were", async () => {
  const order: string[] = [];
  const engine = idle();
  engine.add(named("a", order, { runAfter: "b" }));
  assertThrows(
    () => engine.add(named("b", order, { runAfter: "a", onStepStart() {} })),
    Error,
    'Cannot order the handlers of stepEnd: expected an order that fits phases, runBefore and runAfter, found that "a" in log waits for "b" in log, "b" in log waits for "a" in log',
  );
  assertThrows(() => engine.add(named("b", order, { phase: "display" })), Error, '"b" in display');
  assertEquals(engine.explain(), "stepEnd\n  log      a (runAfter b)");
  await assertRejects(
    () => engine.loop([0]),
    Error,
    'Cannot order the handlers: "a" asks to run before or after "b", expected one of a',
  );
  assertEquals(engine.running, false);
  engine.add(named("b", order));
  await engine.loop([0]);
  assertEquals(order, ["b", "a"]);
});

Deno.test("Engine.emit() calls handlers by phase and filter, with the payload", async () => {
  const spike = new EventType<{ ratio: number }>("spike");
  const done = new EventType("done");
  const seen: unknown[] = [];
  const engine = new Engine((engine, batch: number) => {
    engine.emit(spike, { ratio: batch });
  }, new Context({ model: "m" }));
  engine.on(spike, ({ payload }) => void seen.push(`display ${payload.ratio}`), {
    phase: "display",
  });
  engine.on(spike, ({ payload, state, context, engine }) => {
    seen.push(`log ${payload.ratio} at ${state.current.step} of ${context.model}`);
    if (payload.ratio === 4) engine.emit(done);
  }, { every: 2, after: { epochs: 1 } });
  using _ = engine.on(done, ({ payload }) => void seen.push(payload), { name: "finish" });
  await engine.loop([2, 3, 4], { maxEpochs: 2 });
  assertEquals(seen, [
    ...["display 2", "display 3", "display 4"],
    ...["log 2 at 4 of m", "display 2", "display 3"],
    ...["log 4 at 6 of m", undefined, "display 4"],
  ]);
  assertEquals(engine.state.emitted, { spike: 6, done: 1 });
  assertEquals(
    engine.explain(),
    [
      "spike",
      "  log      handler (every 2, after 1 epoch)",
      "  display  handler",
      "done",
      "  log      finish",
    ].join("\n"),
  );
});

Deno.test("Engine.emit() gives the promises and the errors of its handlers to the caller", async () => {
  const event = new EventType<number>("event");
  const engine = idle();
  const order: unknown[] = [];
  engine.on(event, async ({ payload }) => {
    await Promise.resolve();
    order.push(payload);
  });
  engine.on(event, () => void order.push("next"));
  await engine.emit(event, 1);
  order.push("after");
  assertEquals(order, [1, "next", "after"]);
  engine.on(event, () => {
    throw new RangeError("handler");
  }, { phase: "metrics" });
  assertThrows(() => engine.emit(event, 2), RangeError, "handler");
});

Deno.test("Engine.snapshot() holds the counts of own events", async () => {
  const event = new EventType("event");
  const first = idle();
  for (let i = 0; i < 3; i++) first.emit(event);
  const second = idle();
  await second.restore(JSON.parse(JSON.stringify(await first.snapshot())));
  let ran = 0;
  second.on(event, () => void ran++, { once: 4 });
  second.emit(event);
  assertEquals(ran, 1);
  const broken = { state: { ...first.state.toJSON(), emitted: { event: -1 } }, callbacks: {} };
  await assertRejects(() => second.restore(broken), TypeError, '"emitted.event" to be a whole');
});

Deno.test("Engine.emit() and EventType refuse what cannot be an event, and captured steps", () => {
  assertThrows(() => new EventType("stepEnd"), TypeError, 'found "stepEnd"');
  assertThrows(() => new EventType(""), TypeError, "Cannot make an event");
  const engine = idle();
  const name = "stepEnd" as unknown as EventType;
  assertThrows(() => engine.emit(name), TypeError, "expected an EventType, found a string");
  const event = new EventType("event");
  const step = jit((x: Tensor) => {
    engine.emit(event);
    return x.add(1);
  });
  const x = tensor([1], { device: referenceDevice() });
  assertThrows(() => step(x), CaptureError, "emit an event");
  assertEquals(engine.state.emitted, {});
});
