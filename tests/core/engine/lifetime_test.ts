/** Who owns what a step made, and until when. */

import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { Context, Engine, SupervisedStepOutput } from "../../../core/engine/mod.ts";
import { FakeDevice, type FakeTensor } from "./fakes.ts";

Deno.test("Engine.loop() ends with the error of a scope that cannot close", async () => {
  const device = new FakeDevice();
  const broken = (result: "fine" | "bad") => {
    const engine = new Engine((_engine, _batch: number) => {
      if (result === "bad") throw new Error("step");
    }, new Context({ model: null, device }));
    const scope = device.scope.bind(device);
    device.scope = () =>
      Object.assign(scope(), {
        close() {
          throw new Error("close");
        },
      });
    return engine.loop([0]).then(() => null, (error) => error).finally(() => device.scope = scope);
  };
  // The scope of the ending events cannot close either.
  assertEquals((await broken("fine")).errors.map(String), ["Error: close", "Error: close"]);
  const errors = ["Error: step", "Error: close", "Error: close"];
  assertEquals((await broken("bad")).errors.map(String), errors);
});

Deno.test("Engine.loop() fires the ending events even if no scope can be opened any more", async () => {
  const device = new FakeDevice();
  device.scope = () => {
    throw new Error("lost");
  };
  const engine = new Engine((_e, _b: number) => {}, new Context({ model: null, device }));
  const seen: string[] = [];
  engine.on("exception", ({ error }) => void seen.push(String(error)));
  engine.on("engineEnd", ({ reason }) => void seen.push(reason));
  await assertRejects(() => engine.loop([0]), AggregateError, "lost (and 1 more error");
  assertEquals(seen, ["Error: lost", "failed"]);
});

Deno.test("Engine.loop() shows handlers detached tensors, each once", async () => {
  const device = new FakeDevice();
  const target = device.make(5, [3]);
  const logits = device.make(2, [3, 10], true);
  const loss = device.make(1, [], true);
  const step = (engine: Engine, _batch: number) => {
    engine.backward(loss);
    const metadata = { again: logits, list: [target] };
    return new SupervisedStepOutput({ loss, predictions: logits, targets: target, metadata });
  };
  const engine = new Engine(step, new Context({ model: null, device }));
  let checked = 0;
  engine.on("stepEnd", ({ output, state }) => {
    checked++;
    assertStrictEquals(state.output, output);
    assert(output.loss !== loss && !output.loss.requiresGrad);
    assertEquals(output.loss.value, 1);
    assert(output.predictions !== logits);
    assertStrictEquals(output.metadata.again, output.predictions);
    assertStrictEquals(output.targets, target);
    assertEquals(output.metadata.list, [target]);
    assertEquals([output.size, output.tensors().length], [3, 3]);
  });
  await engine.loop([0, 0]);
  assertEquals([checked, loss.backwards], [2, 2]);
});

Deno.test("Engine.loop() releases what a step made, its batch and the output before", async () => {
  const device = new FakeDevice();
  const weight = device.make(1, [], true);
  const kept: FakeTensor[] = [];
  function* loader() {
    for (let i = 0; i < 20; i++) yield device.make(i, [4]);
  }
  const step = (_engine: Engine, batch: FakeTensor) => {
    device.make(1, [64], true);
    const loss = device.make(batch.value, [], true);
    if (batch.value === 3) kept.push(device.make(9).keep());
    return { loss, batch, weight };
  };
  const engine = new Engine(step, new Context({ model: null, device }));
  const live: number[] = [];
  let before: FakeTensor | null = null;
  engine.on("stepEnd", ({ output }) => {
    const loss = output.get("loss");
    assertEquals([before?.released, loss.released], [
      before === null ? undefined : !kept.includes(before),
      false,
    ]);
    before = loss;
    if (loss.value === 7) kept.push(loss.keep());
  });
  engine.on("stepStart", () => void live.push(device.live.size));
  await engine.loop(loader());
  // weight, this batch, and of the output before: loss, batch and a second handle on the weight.
  assertEquals(live.slice(0, 4), [2, 5, 5, 5]);
  assertEquals(live.slice(10), Array(10).fill(7));
  assertEquals([...device.live], [weight, ...kept]);
  assertEquals([device.scopes.length, kept.map((t) => t.value)], [0, [9, 7]]);
  assertStrictEquals(engine.state.output, null);
});

Deno.test("Engine.loop() keeps a tensor that the next output hands on", async () => {
  const device = new FakeDevice();
  let best: FakeTensor | null = null;
  const engine = new Engine((_engine, batch: number) => {
    best ??= device.make(batch);
    return { best, loss: device.make(batch) };
  }, new Context({ model: null, device }));
  const seen: number[] = [];
  engine.on("stepEnd", async ({ output }) => void seen.push(await output.get("best").item()));
  await engine.loop([4, 5, 6]);
  assertEquals([seen, device.live.size], [[4, 4, 4], 0]);
});

Deno.test("Engine.loop() releases what a failing step and what handlers made", async () => {
  const device = new FakeDevice();
  const engine = new Engine((_engine, batch: number) => {
    const loss = device.make(1, [], true);
    if (batch === 2) throw new Error("x");
    return { loss };
  }, new Context({ model: null, device }));
  const kept: FakeTensor[] = [];
  for (const event of ["engineStart", "epochStart", "stepEnd", "engineEnd", "exception"] as const) {
    engine.on(event, () => void device.make(1));
  }
  engine.on("epochStart", () => void kept.push(device.make(4).keep()));
  await assertRejects(() => engine.loop([1, 2]), Error, "x");
  assertEquals([...device.live], kept);
  assertEquals(device.scopes.length, 0);
});

Deno.test("Engine.loop() keeps the output for the handlers of the events that follow", async () => {
  const device = new FakeDevice();
  const engine = new Engine((_engine, batch: number) => {
    if (batch === 2) throw new Error("x");
    return { loss: device.make(batch, [], true) };
  }, new Context({ model: null, device }));
  const seen: unknown[] = [];
  engine.on(
    "epochEnd",
    async ({ state }) => void seen.push(await state.output?.get("loss").item()),
  );
  engine.on(
    "exception",
    async ({ state }) => void seen.push(await state.output?.get("loss").item()),
  );
  engine.on(
    "engineEnd",
    async ({ state }) => void seen.push(await state.output?.get("loss").item()),
  );
  await engine.loop([5]);
  await engine.loop([6, 2]).catch(() => {});
  assertEquals(seen, [5, 5, 6, 6]);
  assertEquals(device.live.size, 0);
});
