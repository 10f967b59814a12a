/** How far a loop goes. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  Context,
  Engine,
  EvalOnEpochEndCallback,
  type Loader,
  type LoopOptions,
} from "../../../core/engine/mod.ts";
import { referenceDevice, type Tensor, tensor } from "../../../core/mod.ts";
import { DataLoader } from "../../../data/mod.ts";
import { FakeDevice, Transcript } from "./fakes.ts";

/** Four batches of 3 samples. */
const BATCHES = [[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]];

interface Course {
  /** The first number of each step's batch; "]" where an epoch was complete, "…" where it was not. */
  readonly steps: string;
  readonly counters: readonly number[];
  readonly reason: string;
}

async function course(
  options: LoopOptions,
  loader: Loader<readonly number[]> = BATCHES,
  step: () => void = () => {},
): Promise<Course> {
  const seen: unknown[] = [];
  let reason = "";
  const engine = new Engine((_engine, batch: readonly number[]) => {
    seen.push(batch[0]);
    step();
  }, new Context({ model: null }));
  engine.on("epochEnd", ({ complete }) => void seen.push(complete ? "]" : "…"));
  engine.on("engineEnd", (event) => void (reason = event.reason));
  const { epoch, globalStep, samples } = await engine.loop(loader, options);
  return { steps: seen.join(""), counters: [epoch, globalStep, samples], reason };
}

Deno.test("Engine.loop() ends at the first of its limits", async () => {
  const done = (steps: string, ...counters: number[]) => ({ steps, counters, reason: "done" });
  assertEquals(await course({}), done("1234]", 1, 4, 12));
  assertEquals(await course({ maxEpochs: 2, maxSteps: 5 }), done("1234]1…", 1, 5, 15));
  assertEquals(await course({ maxSamples: 12 }), done("1234]", 1, 4, 12));
  assertEquals(await course({ maxSamples: 13 }), done("1234]1…", 1, 5, 15));
  assertEquals(await course({ maxSamples: 5, maxSteps: 3 }), done("12…", 0, 2, 6));
  assertEquals(await course({ maxSamples: 0 }), done("", 0, 0, 0));
  assertEquals(await course({ maxSeconds: 0 }), done("", 0, 0, 0));
  assertEquals(await course({ maxEpochs: 1, maxSeconds: 1e6 }), done("1234]", 1, 4, 12));
});

Deno.test("Engine.loop() counts the limits of a second call from where the first one ended", async () => {
  const engine = new Engine(
    (_e, batch: number[]) => ({ count: batch.length }),
    new Context({ model: 0 }),
  );
  await engine.loop(BATCHES, { maxSamples: 6 });
  assertEquals([engine.state.samples, engine.state.maxSamples], [6, 6]);
  await engine.loop(BATCHES, { maxSamples: 6 });
  assertEquals([engine.state.samples, engine.state.maxSamples], [12, 12]);
  await engine.loop(BATCHES, { maxSteps: 1 });
  assertEquals([engine.state.samples, engine.state.maxSamples], [15, Infinity]);
});

Deno.test("Engine.loop() ends after the step in which maxSeconds have passed", async () => {
  const real = performance.now;
  let clock = 1000;
  performance.now = () => clock;
  try {
    const result = await course({ maxSeconds: 5 }, BATCHES, () => void (clock += 1000));
    assertEquals(result, { steps: "1234]1…", counters: [1, 5, 15], reason: "done" });
  } finally {
    performance.now = real;
  }
});

Deno.test("Engine.loop() with limitBatches ends epochs early, complete", async () => {
  const done = (steps: string, ...counters: number[]) => ({ steps, counters, reason: "done" });
  assertEquals(await course({ limitBatches: 2, maxEpochs: 3 }), done("12]12]12]", 3, 6, 18));
  assertEquals(await course({ limitBatches: 4, maxEpochs: 2 }), done("1234]1234]", 2, 8, 24));
  assertEquals(await course({ limitBatches: 9, maxEpochs: 2 }), done("1234]1234]", 2, 8, 24));
  assertEquals(await course({ limitBatches: 3, maxSteps: 4 }), done("123]1…", 1, 4, 12));
  assertEquals(await course({ limitBatches: 3, maxSteps: 3 }), done("123]", 1, 3, 9));
  assertEquals(await course({ limitBatches: 1 }, new Set(BATCHES)), done("1]", 1, 1, 3));
});

Deno.test("Engine.loop() with limitBatches tells the length, asks for no more and closes", async () => {
  let [asked, closed] = [0, 0];
  const loader = {
    length: 4,
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: ++asked }),
      return: () => ({ done: true as const, value: ++closed }),
    }),
  };
  const engine = new Engine((_e, _b: number) => {}, new Context({ model: null }));
  await engine.loop(loader, { limitBatches: 2 });
  assertEquals([asked, closed, engine.state.stepsPerEpoch], [2, 1, 2]);
  const endless: Loader<number> = { [Symbol.iterator]: loader[Symbol.iterator] };
  await engine.loop(endless, { limitBatches: 2 });
  assertEquals(engine.state.stepsPerEpoch, null);
});

Deno.test("Engine.loop() with limitBatches sends a loader on to its next order", async () => {
  const device = referenceDevice();
  const dataset = { length: 64, get: (index: number) => index };
  const loader = () =>
    new DataLoader(dataset, {
      batchSize: 8,
      shuffle: true,
      seed: 3,
      device,
      collate: (items: readonly number[]) => () => items.join(),
    });
  const firsts = async (options: LoopOptions) => {
    const seen: string[] = [];
    const engine = new Engine((engine, batch: string) => {
      if (engine.state.current.localStep === 1) seen.push(batch);
    }, new Context({ model: null }));
    await engine.loop(loader(), options);
    return seen;
  };
  const full = await firsts({ maxEpochs: 3 });
  assertEquals(new Set(full).size, 3);
  assertEquals(await firsts({ maxEpochs: 3, limitBatches: 1 }), full);
  assertEquals(await firsts({ maxEpochs: 3, limitBatches: 8 }), full);
});

Deno.test("Engine.loop() with dryRun runs one step of training and one of each evaluation", async () => {
  const evaluator = new Engine(
    (_e, batch: number[]) => ({ count: batch.length }),
    new Context({ model: null }),
  );
  evaluator.on("epochEnd", ({ state }) => void (state.metrics.seen = state.samples));
  const spy = new Transcript();
  const trainer = new Engine((_e, _b: number[]) => {}, new Context({ model: null }), {
    callbacks: [spy, new EvalOnEpochEndCallback(evaluator, BATCHES, { every: 10 })],
  });
  const state = await trainer.loop(BATCHES, { dryRun: true, maxEpochs: 50 });
  assertEquals(spy.lines, [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "stepStart done 0,0,0,0 at 1,1,1",
    "stepEnd done 0,1,1,3 at 1,1,1",
    "epochEnd done 1,1,1,3 at 1,1,1 complete=true",
    "engineEnd done 1,1,1,3 at 1,1,1 done",
  ]);
  assertEquals([state.dryRun, evaluator.state.globalStep, state.metrics], [true, 1, {
    "eval/seen": 3,
  }]);
  await trainer.loop(BATCHES);
  assertEquals([trainer.state.dryRun, trainer.state.epoch, evaluator.state.epoch], [false, 2, 1]);
});

Deno.test("Engine.loop() with overfitBatch reads one batch and repeats it", async () => {
  const done = (steps: string, ...counters: number[]) => ({ steps, counters, reason: "done" });
  let reads = 0;
  function* loader() {
    for (const batch of BATCHES) {
      reads++;
      yield batch;
    }
  }
  // A generator can be read only once, which is enough.
  assertEquals(
    await course({ overfitBatch: 3, maxEpochs: 2 }, loader()),
    done("111]111]", 2, 6, 18),
  );
  assertEquals(reads, 1);
  assertEquals(await course({ overfitBatch: 6 }), done("111111]", 1, 6, 18));
  assertEquals(await course({ overfitBatch: 6, maxSteps: 2 }), done("11…", 0, 2, 6));
  assertEquals(await course({ overfitBatch: 6, maxEpochs: 0 }), done("", 0, 0, 0));
  await assertRejects(
    () => course({ overfitBatch: 2 }, []),
    RangeError,
    "Cannot overfit one batch: expected batches, found an empty loader",
  );
});

Deno.test("Engine.loop() with overfitBatch keeps the batch's tensors until the loop ends", async () => {
  const device = new FakeDevice();
  function* loader() {
    yield [device.make(1), device.make(2)];
  }
  const seen: unknown[] = [];
  const engine = new Engine(
    (_e, batch: ReturnType<typeof device.make>[]) => {
      seen.push(batch.some((t) => t.released), device.live.size);
      device.make(3);
    },
    new Context({ model: null, device }),
  );
  await engine.loop(loader(), { overfitBatch: 3 });
  assertEquals(seen, [false, 2, false, 2, false, 2]);
  assertEquals([device.live.size, device.scopes.length], [0, 0]);
  engine.on("stepEnd", () => {
    throw new Error("later");
  });
  await assertRejects(() => engine.loop(loader(), { overfitBatch: 3 }), Error, "later");
  assertEquals([device.live.size, device.scopes.length], [0, 0]);
});

Deno.test("Engine.loop() with overfitBatch trains on a real device with one batch", async () => {
  const device = referenceDevice();
  const engine = new Engine(async (_e, x: Tensor) => {
    return { sum: await x.sum().item() };
  }, new Context({ model: null, device }));
  const sums: number[] = [];
  engine.on("stepEnd", ({ output }) => void sums.push(output.get("sum")));
  function* loader() {
    for (let i = 1;; i++) yield tensor([i, i + 1], { device });
  }
  await engine.loop(loader(), { overfitBatch: 2, maxEpochs: 2 });
  assertEquals(sums, [3, 3, 3, 3]);
  assertEquals(device.memory().liveBuffers, 0);
});

Deno.test("Engine.loop() refuses limits that are none or that contradict each other", async () => {
  const engine = new Engine((_e, _b: number[]) => {}, new Context({ model: null }));
  const bad: [LoopOptions, typeof RangeError | typeof TypeError, string][] = [
    [{ maxSamples: 1.5 }, RangeError, "maxSamples to be a whole number from 0, found 1.5"],
    [{ limitBatches: 0 }, RangeError, "limitBatches to be a whole number from 1, found 0"],
    [{ overfitBatch: Infinity }, RangeError, "overfitBatch to be a whole number from 1"],
    [{ maxSeconds: -1 }, RangeError, "maxSeconds to be at least 0, found -1"],
    [{ maxSeconds: NaN }, RangeError, "found NaN"],
    [{ overfitBatch: 2, dryRun: true }, TypeError, "one of overfitBatch and dryRun, found both"],
    [{ overfitBatch: 2, limitBatches: 2 }, TypeError, "one of overfitBatch and limitBatches"],
  ];
  for (const [options, type, message] of bad) {
    await assertRejects(() => engine.loop(BATCHES, options), type, message);
  }
  assert(engine.state.globalStep === 0 && !engine.running);
});
