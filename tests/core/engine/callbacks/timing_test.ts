import { assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type Callback, Context, Engine, TimingCallback } from "../../../../core/engine/mod.ts";
import { HandClock } from "../clock.ts";

const bare = () => new Context({ model: null });

class Saver implements Callback {
  readonly phase = "persist" as const;
  readonly #clock: HandClock;
  #count = 0;
  constructor(clock: HandClock) {
    this.#clock = clock;
  }
  async onStepEnd() {
    await Promise.resolve();
    this.#clock.pass(2);
    this.#count++; // a private field, so the method must run on the callback itself
  }
  get count() {
    return this.#count;
  }
}

Deno.test("TimingCallback splits a loop into waiting, step, callbacks and the rest", async () => {
  using clock = new HandClock();
  const saver = new Saver(clock);
  const measure: Callback = {
    name: "measure",
    phase: "metrics",
    onStepStart: () => clock.pass(0.25),
    onStepEnd: () => clock.pass(0.5),
    onEpochEnd: () => clock.pass(1),
    onBackwardEnd: () => clock.pass(0.125),
  };
  const tables: string[] = [];
  const logged: Readonly<Record<string, number>>[] = [];
  const timing = new TimingCallback({ write: (t) => tables.push(t), log: (s) => logged.push(s) });
  const loss = { backward() {} };
  const engine = new Engine(
    (engine, batch: number[]) => {
      clock.pass(3);
      engine.backward(loss as never);
      return { count: batch.length };
    },
    bare(),
    { callbacks: [measure, saver, timing] },
  );
  engine.on("stepEnd", () => clock.pass(8), { phase: "log" });
  const loader = {
    *[Symbol.iterator]() {
      for (let i = 0; i < 2; i++) {
        clock.pass(4);
        yield [1, 2, 3];
      }
    },
  };
  const methods = () => Object.getOwnPropertyNames(measure).join();
  const before = [methods(), measure.onStepEnd, Object.hasOwn(saver, "onStepEnd")];
  await engine.loop(loader);
  assertEquals([methods(), measure.onStepEnd, Object.hasOwn(saver, "onStepEnd")], before);
  assertEquals(saver.count, 2);
  const rows = timing.report!.rows.map(({ name, seconds, calls }) => [name, seconds, calls]);
  assertEquals(rows, [
    ["waiting for data", 8, 2],
    ["step", 6, 2],
    ["Saver", 4, 2],
    ["measure", 2 * (0.25 + 0.5 + 0.125) + 1, 7],
    ["other", 16, 1],
  ]);
  assertEquals(logged, [Object.fromEntries(rows.map(([name, seconds]) => [name, seconds]))]);
  const { seconds, stepsPerSecond, samplesPerSecond } = timing.report!;
  assertAlmostEquals(seconds, 36.75, 1e-12);
  assertEquals([stepsPerSecond, samplesPerSecond], [2 / seconds, 6 / seconds]);
  assertMatch(tables[0], /^waiting for data +8\.000 +21\.8% +2 +4000\.000$/m);
  assertMatch(tables[0], /^other +16\.000 +43\.5%$/m);
  await engine.loop(loader);
  assertEquals(timing.report!.rows[0].seconds, 8); // each loop counts anew
});

Deno.test("a callback that throws is counted, and its method given back", async () => {
  using clock = new HandClock();
  const broken: Callback = {
    name: "broken",
    onStepEnd() {
      clock.pass(1);
      throw new Error("no");
    },
  };
  const frozen: Callback = Object.freeze({ name: "frozen", onStepEnd: () => clock.pass(5) });
  const timing = new TimingCallback({ write: null });
  const engine = new Engine(() => {}, bare(), { callbacks: [frozen, broken, timing] });
  const before = broken.onStepEnd;
  await assertRejects(() => engine.loop([0]), Error, "no");
  const names = timing.report!.rows.map(({ name, seconds }) => `${name} ${seconds}`);
  assertEquals(broken.onStepEnd, before);
  // One that cannot be changed is not timed by itself.
  assertEquals(names, ["broken 1", "waiting for data 0", "step 0", "other 5"]);
});

Deno.test("an engine has one TimingCallback", async () => {
  const engine = new Engine(() => {}, bare(), {
    callbacks: [new TimingCallback({ write: null }), new TimingCallback({ write: null })],
  });
  await assertRejects(
    () => engine.loop([0]),
    Error,
    "Cannot time the callbacks: expected one TimingCallback, found 2",
  );
});
