/** The written contract of the loop: which events come in which order, and the counters at each. */

import { assertEquals, assertRejects } from "@std/assert";
import { Context, Engine, type LoopOptions } from "../../../core/engine/mod.ts";
import { FakeDevice, Transcript } from "./fakes.ts";

/** Batches of 2 and 1 samples. */
const BATCHES = [[10, 11], [12]];

interface Run {
  loops?: LoopOptions[];
  loader?: Iterable<number[]>;
  hooks?: Transcript["hooks"];
  step?: (batch: number[], engine: Engine) => void;
}

async function transcript(run: Run): Promise<string[]> {
  const spy = new Transcript(run.hooks);
  const engine = new Engine(
    (engine, batch: number[]) => run.step?.(batch, engine),
    new Context({ model: null }),
    { callbacks: [spy] },
  );
  for (const options of run.loops ?? [{}]) {
    await engine.loop(run.loader ?? BATCHES, options).catch((error) => {
      spy.lines.push(`threw ${error}`);
    });
  }
  return spy.lines;
}

/** Columns: event, done epoch,localStep,globalStep,samples, at epoch,localStep,step. */
Deno.test("Engine.loop() fires events in the written order with completed counters", async () => {
  assertEquals(await transcript({ loops: [{ maxEpochs: 2 }] }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "stepStart done 0,0,0,0 at 1,1,1",
    "stepEnd done 0,1,1,2 at 1,1,1",
    "stepStart done 0,1,1,2 at 1,2,2",
    "stepEnd done 0,2,2,3 at 1,2,2",
    "epochEnd done 1,2,2,3 at 1,2,2 complete=true",
    "epochStart done 1,0,2,3 at 2,0,2",
    "stepStart done 1,0,2,3 at 2,1,3",
    "stepEnd done 1,1,3,5 at 2,1,3",
    "stepStart done 1,1,3,5 at 2,2,4",
    "stepEnd done 1,2,4,6 at 2,2,4",
    "epochEnd done 2,2,4,6 at 2,2,4 complete=true",
    "engineEnd done 2,2,4,6 at 2,2,4 done",
  ]);
});

Deno.test("Engine.backward() fires its events inside the step", async () => {
  const device = new FakeDevice();
  const step = (_batch: number[], engine: Engine) => engine.backward(device.make(1));
  assertEquals(await transcript({ step, loader: [[1]] }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "stepStart done 0,0,0,0 at 1,1,1",
    "backwardStart done 0,0,0,0 at 1,1,1",
    "backwardEnd done 0,0,0,0 at 1,1,1",
    "stepEnd done 0,1,1,1 at 1,1,1",
    "epochEnd done 1,1,1,1 at 1,1,1 complete=true",
    "engineEnd done 1,1,1,1 at 1,1,1 done",
  ]);
});

Deno.test("Engine.stop() in the first stepEnd ends with a partial epoch", async () => {
  const hooks = { stepEnd: (engine: Engine) => engine.stop("enough") };
  assertEquals(await transcript({ hooks, loops: [{ maxEpochs: 3 }] }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "stepStart done 0,0,0,0 at 1,1,1",
    "stepEnd done 0,1,1,2 at 1,1,1",
    "epochEnd done 0,1,1,2 at 1,1,1 complete=false",
    'engineEnd done 0,1,1,2 at 1,1,1 stopped "enough"',
  ]);
});

Deno.test("Engine.stop() after the last batch of a loader of known length completes the epoch", async () => {
  const hooks = {
    stepEnd: (engine: Engine) => void (engine.state.localStep === 2 && engine.stop()),
  };
  assertEquals((await transcript({ hooks, loops: [{ maxEpochs: 3 }] })).slice(-2), [
    "epochEnd done 1,2,2,3 at 1,2,2 complete=true",
    "engineEnd done 1,2,2,3 at 1,2,2 stopped",
  ]);
});

Deno.test('Engine.stop("interrupted") ends with that reason', async () => {
  const hooks = { stepStart: (engine: Engine) => engine.stop("interrupted") };
  assertEquals((await transcript({ hooks })).slice(-3), [
    "stepEnd done 0,1,1,2 at 1,1,1",
    "epochEnd done 0,1,1,2 at 1,1,1 complete=false",
    "engineEnd done 0,1,1,2 at 1,1,1 interrupted",
  ]);
});

Deno.test("Engine.stop() in engineStart runs nothing", async () => {
  const hooks = { engineStart: (engine: Engine) => engine.stop() };
  assertEquals(await transcript({ hooks }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "engineEnd done 0,0,0,0 at 0,0,0 stopped",
  ]);
});

Deno.test("Engine.stop() in epochStart runs no step", async () => {
  const hooks = { epochStart: (engine: Engine) => engine.stop() };
  assertEquals(await transcript({ hooks }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "epochEnd done 0,0,0,0 at 1,0,0 complete=false",
    "engineEnd done 0,0,0,0 at 1,0,0 stopped",
  ]);
});

Deno.test("Engine.loop() ends a failing step with exception, then engineEnd, then the error", async () => {
  const step = (batch: number[]) => {
    if (batch[0] === 12) throw new RangeError("bad batch");
  };
  assertEquals(await transcript({ step, loops: [{ maxEpochs: 2 }] }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "stepStart done 0,0,0,0 at 1,1,1",
    "stepEnd done 0,1,1,2 at 1,1,1",
    "stepStart done 0,1,1,2 at 1,2,2",
    "exception done 0,1,1,2 at 1,2,2 RangeError: bad batch",
    "engineEnd done 0,1,1,2 at 1,2,2 failed RangeError: bad batch",
    "threw RangeError: bad batch",
  ]);
});

Deno.test("Engine.loop() ends a failing handler like a failing step", async () => {
  const hooks = {
    epochStart: () => {
      throw new Error("handler");
    },
  };
  assertEquals(await transcript({ hooks }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "exception done 0,0,0,0 at 1,0,0 Error: handler",
    "engineEnd done 0,0,0,0 at 1,0,0 failed Error: handler",
    "threw Error: handler",
  ]);
});

Deno.test("Engine.loop() continues the counters in a second call and repeats nothing", async () => {
  const lines = await transcript({ loader: [[1]], loops: [{ maxEpochs: 1 }, { maxEpochs: 2 }] });
  assertEquals(lines.slice(5), [
    "engineEnd done 1,1,1,1 at 1,1,1 done",
    "engineStart done 1,1,1,1 at 1,1,1",
    "epochStart done 1,0,1,1 at 2,0,1",
    "stepStart done 1,0,1,1 at 2,1,2",
    "stepEnd done 1,1,2,2 at 2,1,2",
    "epochEnd done 2,1,2,2 at 2,1,2 complete=true",
    "epochStart done 2,0,2,2 at 3,0,2",
    "stepStart done 2,0,2,2 at 3,1,3",
    "stepEnd done 2,1,3,3 at 3,1,3",
    "epochEnd done 3,1,3,3 at 3,1,3 complete=true",
    "engineEnd done 3,1,3,3 at 3,1,3 done",
  ]);
});

Deno.test("Engine.loop() after a stop or a failure runs again", async () => {
  let fail = true;
  const step = (_batch: number[], engine: Engine) => {
    if (fail) throw new Error("once");
    if (engine.state.globalStep === 0) engine.stop();
  };
  const hooks = { engineEnd: () => void (fail = false) };
  const lines = await transcript({ step, hooks, loader: [[1], [2]], loops: [{}, {}, {}] });
  assertEquals(lines.filter((line) => /^(engineEnd|stepEnd)/.test(line)), [
    "engineEnd done 0,0,0,0 at 1,1,1 failed Error: once",
    "stepEnd done 0,1,1,1 at 1,1,1",
    "engineEnd done 0,1,1,1 at 1,1,1 stopped",
    "stepEnd done 0,1,2,2 at 1,1,2",
    "stepEnd done 0,2,3,3 at 1,2,3",
    "engineEnd done 1,2,3,3 at 1,2,3 done",
  ]);
});

Deno.test("Engine.loop() over a loader without batches fires the events around steps", async () => {
  assertEquals(await transcript({ loader: [], loops: [{ maxEpochs: 2 }] }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "epochEnd done 1,0,0,0 at 1,0,0 complete=true",
    "epochStart done 1,0,0,0 at 2,0,0",
    "epochEnd done 2,0,0,0 at 2,0,0 complete=true",
    "engineEnd done 2,0,0,0 at 2,0,0 done",
  ]);
});

Deno.test("Engine.loop() with maxSteps ends in the middle of an epoch with reason done", async () => {
  assertEquals(await transcript({ loops: [{ maxSteps: 3 }] }), [
    "engineStart done 0,0,0,0 at 0,0,0",
    "epochStart done 0,0,0,0 at 1,0,0",
    "stepStart done 0,0,0,0 at 1,1,1",
    "stepEnd done 0,1,1,2 at 1,1,1",
    "stepStart done 0,1,1,2 at 1,2,2",
    "stepEnd done 0,2,2,3 at 1,2,2",
    "epochEnd done 1,2,2,3 at 1,2,2 complete=true",
    "epochStart done 1,0,2,3 at 2,0,2",
    "stepStart done 1,0,2,3 at 2,1,3",
    "stepEnd done 1,1,3,5 at 2,1,3",
    "epochEnd done 1,1,3,5 at 2,1,3 complete=false",
    "engineEnd done 1,1,3,5 at 2,1,3 done",
  ]);
});

Deno.test("Engine.loop() with maxSteps at the end of an epoch of known length completes it", async () => {
  const lines = await transcript({ loops: [{ maxSteps: 2 }] });
  assertEquals(lines.slice(-2), [
    "epochEnd done 1,2,2,3 at 1,2,2 complete=true",
    "engineEnd done 1,2,2,3 at 1,2,2 done",
  ]);
});

Deno.test("Engine.loop() with maxSteps 0 or maxEpochs 0 runs no epoch", async () => {
  const nothing = [
    "engineStart done 0,0,0,0 at 0,0,0",
    "engineEnd done 0,0,0,0 at 0,0,0 done",
  ];
  assertEquals(await transcript({ loops: [{ maxEpochs: 0 }] }), nothing);
  assertEquals(await transcript({ loops: [{ maxSteps: 0 }] }), nothing);
});

Deno.test("Engine.loop() refuses an epoch that finds a spent generator", async () => {
  function* once() {
    yield [1];
  }
  const engine = new Engine((_e, _b: number[]) => {}, new Context({ model: null }));
  await assertRejects(
    () => engine.loop(once(), { maxEpochs: 2 }),
    RangeError,
    "Cannot run epoch 2: expected batches, found an empty loader; a generator can be read only once",
  );
  assertEquals(engine.state.epoch, 1);
  await assertRejects(
    () => engine.loop([], { maxSteps: 5 }),
    RangeError,
    "Cannot run epoch 2: expected batches, found an empty loader",
  );
});
