import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Callback,
  type CheckpointChoice,
  type Checkpointer,
  Context,
  Engine,
  type EngineSnapshot,
} from "../../../core/engine/mod.ts";

/** Keeps snapshots of an engine in memory, by step. */
class InMemory implements Callback, Checkpointer {
  readonly name = "InMemory";
  readonly saved = new Map<number, string>();
  readonly asked: CheckpointChoice[] = [];

  constructor(saved: ReadonlyMap<number, string> = new Map()) {
    this.saved = new Map(saved);
  }

  onEngineStart(): void {}

  async save(engine: Engine): Promise<{ step: number }> {
    const step = engine.state.globalStep;
    this.saved.set(step, JSON.stringify(await engine.snapshot()));
    return { step };
  }

  async resume(engine: Engine, which: CheckpointChoice = "last"): Promise<{ step: number } | null> {
    this.asked.push(which);
    const steps = [...this.saved.keys()];
    const step = typeof which === "number" ? which : Math.max(...steps);
    const text = this.saved.get(step);
    if (text === undefined) return null;
    await engine.restore(JSON.parse(text) as EngineSnapshot);
    return { step };
  }
}

const make = (...callbacks: Callback[]) =>
  new Engine((_engine, _batch: number) => {}, new Context({ model: null }), {
    callbacks,
    name: "trainer",
  });

Deno.test("Engine.saveCheckpoint() and resume() go through its one checkpointer", async () => {
  const first = new InMemory();
  const engine = make({ onEpochEnd() {} }, first);
  await engine.loop([1, 2, 3], { maxEpochs: 2 });
  assertEquals(await engine.saveCheckpoint(), { step: 6 });
  await engine.loop([1, 2, 3]);
  assertEquals(await engine.saveCheckpoint(), { step: 9 });

  const second = new InMemory(first.saved);
  const other = make(second);
  assertEquals(await other.resume(), { step: 9 });
  assertEquals(other.state.epoch, 3);
  assertEquals(await other.resume(6), { step: 6 });
  assertEquals([other.state.epoch, other.state.globalStep], [2, 6]);
  assertEquals(await other.resume(7), null);
  assertEquals(await other.resume("best"), { step: 9 });
  assertEquals(second.asked, ["last", 6, 7, "best"]);
  assertEquals((await other.loop([1, 2, 3])).globalStep, 12);
});

Deno.test("Engine.saveCheckpoint() works in handlers, and such a checkpoint goes on mid-epoch", async () => {
  const keeper = new InMemory();
  const engine = make(keeper);
  const saved: unknown[] = [];
  engine.on("stepEnd", async ({ engine }) => void saved.push(await engine.saveCheckpoint()), {
    once: 2,
  });
  await engine.loop([1, 2, 3]);
  assertEquals(saved, [{ step: 2 }]);
  const other = make(new InMemory(keeper.saved));
  await other.resume();
  const seen: number[] = [];
  other.on("stepEnd", ({ state }) => void seen.push(state.localStep));
  await other.loop([1, 2, 3], { maxSteps: 1 });
  assertEquals(seen, [3]);
});

Deno.test("Engine.saveCheckpoint() and resume() refuse no checkpointer, and two", async () => {
  const half: Callback & { save(): void } = { onEpochEnd() {}, save() {} };
  for (
    const [engine, found] of [[make(half), "none"], [make(new InMemory(), new InMemory()), "2"]]
  ) {
    const { saveCheckpoint, resume } = engine as Engine;
    const expected = "expected one callback with save and resume, such as a CheckpointCallback";
    for (const call of [saveCheckpoint, resume]) {
      const error = await assertRejects(() => call.call(engine as Engine), Error, expected);
      assert(error.message.endsWith(`found ${found}`), error.message);
      assert(error.message.includes("trainer"), error.message);
    }
  }
  const engine = make();
  using _ = engine.add(new InMemory());
  assertEquals(await engine.saveCheckpoint(), { step: 0 });
});

Deno.test("Engine refuses to save inside a step, and to resume while it runs", async () => {
  const keeper = new InMemory();
  const errors: unknown[] = [];
  const attempt = async (call: () => Promise<unknown>) => {
    await call().catch((error: Error) => errors.push(error.message));
  };
  const engine = new Engine(
    async (engine) => await attempt(() => engine.saveCheckpoint()),
    new Context({ model: null }),
    { callbacks: [keeper], name: "trainer" },
  );
  engine.on("stepStart", ({ engine }) => attempt(() => engine.saveCheckpoint()));
  engine.on("stepEnd", ({ engine }) => attempt(() => engine.resume()));
  await engine.loop([1]);
  const inside =
    "Cannot save a checkpoint of trainer: expected its step to be complete, found it running";
  assertEquals(errors, [
    inside,
    inside,
    "Cannot resume trainer: expected it to be idle, found it running",
  ]);
  assertEquals([keeper.saved.size, keeper.asked.length], [0, 0]);
});
