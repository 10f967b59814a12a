import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Context, Engine } from "../../../core/engine/mod.ts";
import { HandClock } from "./clock.ts";

const bare = () => new Context({ model: null });

Deno.test("state.waitSeconds is the time in the loader, state.loopSeconds all of it", async () => {
  using clock = new HandClock();
  const engine = new Engine((_e, _b: number) => clock.pass(10), bare());
  const seen: number[][] = [];
  engine.on("stepStart", () => clock.pass(0.5));
  engine.on("stepEnd", ({ state }) => void seen.push([state.waitSeconds, state.loopSeconds]));
  engine.on("engineEnd", () => clock.pass(7));
  function* loader() {
    for (let i = 1; i <= 3; i++) {
      clock.pass(i);
      yield i;
    }
    clock.pass(4); // the end has to be found as well
  }
  assertEquals([engine.state.waitSeconds, engine.state.loopSeconds], [0, 0]);
  const state = await engine.loop(loader());
  assertEquals(seen, [[1, 11.5], [3, 24], [6, 37.5]]);
  assertEquals([state.waitSeconds, state.loopSeconds], [10, 3 * 10.5 + 10 + 7]);
  clock.pass(100);
  assertAlmostEquals(state.loopSeconds, 48.5, 1e-9); // the loop has ended
});

Deno.test("waits for promises of the loader count, and each loop counts anew", async () => {
  using clock = new HandClock();
  const engine = new Engine((_e, _b: number) => clock.pass(1), bare());
  const loader = {
    length: 2,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < 2; i++) {
        await Promise.resolve();
        clock.pass(3);
        yield i;
      }
    },
  };
  await engine.loop(loader, { maxEpochs: 2 });
  assertEquals([engine.state.waitSeconds, engine.state.loopSeconds], [12, 16]);
  await engine.loop(loader, { maxSteps: 1 });
  assertEquals(engine.state.waitSeconds, 3);
  await engine.loop(loader, { overfitBatch: 5 });
  assertEquals([engine.state.waitSeconds, engine.state.loopSeconds], [3, 8]);
});

Deno.test("the waits are no part of what is saved", async () => {
  using clock = new HandClock();
  const engine = new Engine((_e, _b: number) => clock.pass(1), bare());
  await engine.loop([1, 2]);
  const { state } = await engine.snapshot();
  assertEquals(Object.keys(state).filter((key) => /seconds/i.test(key)), []);
});
