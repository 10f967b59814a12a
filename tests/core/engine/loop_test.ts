import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { Context, DictStepOutput, Engine, type Loader } from "../../../core/engine/mod.ts";
import { FakeDevice } from "./fakes.ts";

function idle(device?: FakeDevice): Engine {
  const context = new Context({ model: null, device });
  return new Engine((_engine, _batch: unknown): unknown => undefined, context);
}

async function seenBatches(loader: Loader<number>): Promise<number[]> {
  const seen: number[] = [];
  const engine = new Engine(
    (_e, batch: number) => void seen.push(batch),
    new Context({ model: 0 }),
  );
  await engine.loop(loader);
  return seen;
}

Deno.test("Engine.loop() reads arrays, sets, generators and asynchronous iterables", async () => {
  function* sync() {
    yield* [1, 2, 3];
  }
  async function* slow() {
    for (const n of [1, 2, 3]) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      yield n;
    }
  }
  assertEquals(await seenBatches([1, 2, 3]), [1, 2, 3]);
  assertEquals(await seenBatches(new Set([1, 2, 3])), [1, 2, 3]);
  assertEquals(await seenBatches(new Float32Array([1, 2, 3])), [1, 2, 3]);
  assertEquals(await seenBatches(sync()), [1, 2, 3]);
  assertEquals(await seenBatches(slow()), [1, 2, 3]);
});

Deno.test("Engine.loop() prefers an asynchronous iterator", async () => {
  const both = {
    *[Symbol.iterator]() {
      yield 1;
    },
    async *[Symbol.asyncIterator]() {
      yield await Promise.resolve(2);
    },
  };
  assertEquals(await seenBatches(both), [2]);
});

Deno.test("Engine.loop() closes the iterator when it stops early or fails, not at its end", async () => {
  for (const [until, closed] of [["stop", 1], ["fail", 1], ["end", 0]] as const) {
    let returns = 0;
    const loader: Loader<number> = {
      [Symbol.iterator]() {
        let n = 0;
        return {
          next: () => n < 3 ? { done: false, value: n++ } : { done: true, value: undefined },
          return: () => {
            returns++;
            return { done: true, value: undefined };
          },
        };
      },
    };
    const engine = new Engine((engine, _batch: number) => {
      if (until === "stop") engine.stop();
      if (until === "fail") throw new Error("x");
    }, new Context({ model: null }));
    await engine.loop(loader).catch(() => {});
    assertEquals(returns, closed, until);
  }
});

Deno.test("Engine.loop() ends with the loader's error", async () => {
  async function* broken() {
    yield await Promise.resolve(1);
    throw new SyntaxError("row 2");
  }
  const engine = idle();
  let reason = "";
  engine.on("engineEnd", (event) => void (reason = event.reason));
  await assertRejects(() => engine.loop(broken()), SyntaxError, "row 2");
  assertEquals([reason, engine.state.globalStep], ["failed", 1]);
});

Deno.test("Engine.loop() lets epochStart handlers prepare the loader of that epoch", async () => {
  const loader = {
    epoch: 0,
    *[Symbol.iterator]() {
      yield this.epoch;
    },
  };
  const seen: number[] = [];
  const engine = new Engine(
    (_e, batch: number) => void seen.push(batch),
    new Context({ model: 0 }),
  );
  engine.on("epochStart", ({ state }) => void (loader.epoch = state.current.epoch));
  await engine.loop(loader, { maxEpochs: 3 });
  assertEquals(seen, [1, 2, 3]);
});

Deno.test("Engine.loop() tells handlers the limits and the loader's length", async () => {
  const seen: unknown[] = [];
  const engine = idle();
  engine.on("engineStart", ({ state, loader }) => {
    seen.push([state.maxEpochs, state.maxSteps, state.stepsPerEpoch, loader]);
  });
  await engine.loop([1, 2], { maxEpochs: 2 });
  await engine.loop(new Set([1]), { maxEpochs: 3, maxSteps: 1 });
  assertEquals(seen, [[2, Infinity, 2, [1, 2]], [5, 5, null, new Set([1])]]);
});

Deno.test("Engine.loop() refuses bad loaders and limits before any event", async () => {
  const engine = idle();
  let starts = 0;
  engine.on("engineStart", () => void starts++);
  const bad = (value: unknown) => engine.loop(value as Loader<unknown>);
  await assertRejects(() => bad(5), TypeError, "found a number");
  await assertRejects(() => bad(undefined), TypeError, "found nothing");
  await assertRejects(() => bad({}), TypeError, "found a plain object");
  for (const maxEpochs of [-1, 1.5, NaN]) {
    await assertRejects(() => engine.loop([], { maxEpochs }), RangeError, `found ${maxEpochs}`);
  }
  await assertRejects(() => engine.loop([], { maxSteps: -2 }), RangeError, "maxSteps");
  assertEquals(starts, 0);
});

Deno.test("Engine.loop() refuses to run twice at once", async () => {
  const engine = new Engine((_e, _b: number) => {}, new Context({ model: 0 }), { name: "trainer" });
  engine.on("stepEnd", async () => {
    await engine.loop([1]);
  });
  await assertRejects(
    () => engine.loop([1]),
    Error,
    "Cannot start trainer: expected it to be idle",
  );
  assertEquals(engine.running, false);
});

Deno.test("Engine.loop() refuses step results that are no output", async () => {
  const run = (result: unknown) =>
    new Engine((_e, _b: number): unknown => result, new Context({ model: null })).loop([0]);
  await assertRejects(
    () => run(new Float32Array(2)),
    TypeError,
    "expected a step output, a plain object or nothing, found a Float32Array",
  );
  await assertRejects(() => run(3), TypeError, "found a number");
  await assertRejects(() => run(null), TypeError, "found null");
  await assertRejects(() => run(new FakeDevice().make(1)), TypeError, "return { loss } to return");
});

Deno.test("new Engine() refuses a step that is no function", () => {
  const step = 3 as unknown as () => void;
  assertThrows(() => new Engine(step, new Context({ model: 0 })), TypeError, "found number");
});

Deno.test("Engine.loop() does not wait between steps when nothing returns a promise", async () => {
  let ticks = 0;
  let counting = true;
  (async () => {
    while (counting) {
      await null;
      ticks++;
    }
  })();
  const atStep: number[] = [];
  const engine = new Engine((_e, _b: number) => void atStep.push(ticks), new Context({ model: 0 }));
  engine.on("stepStart", () => {});
  engine.on("stepEnd", () => {});
  // A clock that stands still: on a slow machine the loop would give way by time, and find no way.
  await withClock(async () => void await engine.loop(Array(500).fill(0)));
  counting = false;
  assertEquals(atStep.length, 500);
  assertEquals(new Set(atStep).size, 1);
});

/** Runs `work` with a clock that only the callee moves. */
async function withClock(work: (advance: (ms: number) => void) => Promise<void>): Promise<void> {
  const real = performance.now;
  let clock = 1000;
  performance.now = () => clock;
  try {
    await work((ms) => void (clock += ms));
  } finally {
    performance.now = real;
  }
}

Deno.test("Engine.loop() gives the event loop a turn every 50 ms", async () => {
  await withClock(async (advance) => {
    let turns = 0;
    const seen: number[] = [];
    const count = () => {
      turns++;
      pending = setImmediate(count);
    };
    let pending = setImmediate(count);
    const engine = new Engine((_e, _b: number) => {
      seen.push(turns);
      advance(10);
    }, new Context({ model: null }));
    await engine.loop(Array(15).fill(0));
    clearImmediate(pending);
    assertEquals(seen.slice(0, 5), Array(5).fill(0));
    // One turn at least after steps 5 and 10; two immediates may run in the order of queueing.
    assert(seen[5] > 0 && seen[10] > seen[9], String(seen));
    assertStrictEquals(seen[6], seen[9]);
  });
});

Deno.test("Engine.loop() waits for the device every 250 ms and at the end", async () => {
  await withClock(async (advance) => {
    const device = new FakeDevice();
    const seen: number[] = [];
    const engine = new Engine((_e, _b: number) => {
      seen.push(device.syncs);
      advance(100);
    }, new Context({ model: null, device }));
    await engine.loop(Array(7).fill(0));
    assertEquals(seen, [0, 0, 0, 1, 1, 1, 2]);
    assertEquals([device.syncs, device.flushes], [3, 7]);
  });
});

Deno.test("Engine.loop() surfaces a device fault before it says done", async () => {
  const device = new FakeDevice();
  device.sync = () => Promise.reject(new Error("device lost"));
  const engine = idle(device);
  let reason = "";
  engine.on("engineEnd", (event) => void (reason = event.reason));
  await assertRejects(() => engine.loop([0]), Error, "device lost");
  assertEquals(reason, "failed");
});

Deno.test("Engine.loop() counts samples by the output, else by the batch, else one", async () => {
  const device = new FakeDevice();
  const samples = async (batch: unknown, result: object) => {
    const engine = new Engine((_e, _b: unknown): object => result, new Context({ model: null }));
    return (await engine.loop([batch])).samples;
  };
  const rows = (n: number) => device.make(0, [n, 2]);
  assertEquals(await samples({ size: 7 }, { count: 3 }), 3);
  assertEquals(await samples({ size: 7 }, { targets: rows(4), predictions: rows(5) }), 4);
  assertEquals(await samples({ size: 7 }, { predictions: rows(5) }), 5);
  assertEquals(await samples({ size: 7 }, {}), 7);
  assertEquals(await samples({ inputs: rows(6) }, {}), 6);
  assertEquals(await samples([rows(6), rows(6)], {}), 6);
  assertEquals(await samples(rows(8), {}), 8);
  assertEquals(await samples(new Float32Array(9), {}), 9);
  assertEquals(await samples("text", {}), 1);
});

Deno.test("Engine.loop() accepts asynchronous steps", async () => {
  const engine = new Engine(async (_engine, batch: number) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return { double: 2 * batch };
  }, new Context({ model: null }));
  const seen: number[] = [];
  engine.on("stepEnd", ({ output }) => {
    assert(output instanceof DictStepOutput);
    seen.push(output.get("double"));
  });
  await engine.loop([1, 2]);
  assertEquals(seen, [2, 4]);
});
