/** What the compiler must know and must refuse; the runtime part only proves that it runs. */

import { assertEquals, assertThrows } from "@std/assert";
import {
  type Callback,
  Context,
  EarlyStoppingCallback,
  Engine,
  EventType,
  type StepOutput,
  SupervisedStepOutput,
} from "../../../core/engine/mod.ts";
import { FakeDevice, type FakeTensor } from "./fakes.ts";

interface Batch {
  inputs: FakeTensor;
  size: number;
}

const device = new FakeDevice();
const context = new Context({ model: { weight: 1 }, optimizer: { lr: 0.5 }, device });

function step(engine: Engine, batch: Batch, { model, optimizer, device }: typeof context) {
  model.weight -= optimizer.lr;
  const loss = device.make(model.weight);
  engine.backward(loss);
  return new SupervisedStepOutput({ loss, predictions: batch.inputs });
}

function batches(): Batch[] {
  return [{ inputs: device.make(3, [2]), size: 2 }];
}

Deno.test("Engine types flow from step and context into handlers and callbacks", async () => {
  const seen: number[] = [];
  const general: Callback = {
    onStepEnd({ output, state }) {
      const loss: { shape: readonly number[] } | undefined = output.loss;
      seen.push(loss?.shape.length ?? -1, state.globalStep);
    },
  };
  const engine = new Engine(step, context, {
    callbacks: [general, {
      onStepEnd({ output, batch, context }) {
        const predictions: FakeTensor | undefined = output.predictions;
        seen.push(predictions?.value ?? -1, batch.size, context.model.weight);
      },
    }],
  });
  engine.on("stepEnd", ({ output, batch }) => {
    const loss: FakeTensor = output.loss;
    seen.push(loss.value + batch.size);
  });
  const state = await engine.loop(batches());
  assertEquals(seen, [0, 1, 3, 2, 0.5, 2.5]);
  assertEquals(state.output?.predictions, undefined);
  const plain: Engine = engine;
  const output: StepOutput | null = plain.state.output;
  assertEquals(output, null);
});

Deno.test("Engine types know plain objects, promises and nothing as step results", async () => {
  const dict = new Engine((engine, batch: number, { model }) => {
    if (batch > 9) engine.stop();
    return { twice: 2 * batch, weight: model.weight };
  }, new Context({ model: { weight: 0.25 } }));
  const seen: number[] = [];
  dict.on("stepEnd", ({ output }) => {
    const twice: number = output.get("twice");
    seen.push(twice + output.get("weight"));
  });
  await dict.loop([1]);
  const later = new Engine(async (_e, batch: number) => {
    await Promise.resolve();
    return new SupervisedStepOutput({ loss: device.make(batch) });
  }, new Context({ model: null }));
  later.on("stepEnd", ({ output }) => void seen.push(output.loss.value));
  await later.loop([4]);
  const nothing = new Engine((_e, _b: number) => {}, new Context({ model: null }));
  nothing.on("stepEnd", ({ output }) => void seen.push(output.names().length));
  await nothing.loop([0]);
  assertEquals(seen, [2.25, 4, 0]);
  const all: Engine[] = [dict, later, nothing];
  assertEquals(all.map((engine) => engine.state.globalStep), [1, 1, 1]);
});

const spike = new EventType<{ ratio: number }>("spike");
const plain = new EventType("plain");

Deno.test("Engine types flow into handlers of own events", () => {
  const engine = new Engine(step, context);
  const seen: number[] = [];
  engine.on(spike, ({ payload, context, state }) => {
    const weight: number = context.model.weight;
    const output: SupervisedStepOutput<FakeTensor> | null = state.output;
    seen.push(payload.ratio, weight, output === null ? 0 : 1);
  });
  engine.on(plain, async () => await Promise.resolve());
  engine.emit(spike, { ratio: 2 });
  engine.emit(plain);
  const general: Engine = engine;
  general.emit(spike, { ratio: 3 });
  assertEquals([seen[0], seen[2], seen[3], seen.length], [2, 0, 3, 6]);
});

Deno.test("Engine types refuse what cannot work", () => {
  const engine = new Engine(step, context);
  const misuses = [
    // @ts-expect-error the loader gives other batches than the step takes
    () => engine.loop([1, 2]),
    // @ts-expect-error there is no such event
    () => engine.on("stepStop", () => {}),
    // @ts-expect-error the step does not return reconstructions
    () => engine.on("stepEnd", ({ output }) => void output.reconstructions),
    // @ts-expect-error an epoch has no batch
    () => engine.on("epochEnd", ({ batch }) => void batch),
    // @ts-expect-error the model has no bias
    () => engine.on("stepEnd", ({ context }) => void context.model.bias),
    // @ts-expect-error the phase does not exist
    () => engine.on("stepEnd", () => {}, { phase: "later" }),
    // @ts-expect-error handlers return nothing or a promise of nothing
    () => engine.on("stepEnd", () => 5),
    // @ts-expect-error the context's model has no weight
    () => new Engine(step, new Context({ model: {}, optimizer: { lr: 1 }, device })),
    // @ts-expect-error a supervised output needs a loss
    () => new SupervisedStepOutput({ predictions: device.make() }),
    // @ts-expect-error the event carries a ratio
    () => engine.emit(spike),
    // @ts-expect-error the ratio is a number
    () => engine.emit(spike, { ratio: "2" }),
    // @ts-expect-error the event carries nothing
    () => engine.emit(plain, 5),
    // @ts-expect-error the payload has no loss
    () => engine.on(spike, ({ payload }) => void payload.loss),
    // @ts-expect-error events of the loop are fired by the loop
    () => engine.emit("stepEnd", {}),
    // @ts-expect-error an event is no event with another payload
    (): EventType<{ loss: number }> => spike,
    // @ts-expect-error intervals are counts, epochs or seconds
    () => engine.on("stepEnd", () => {}, { every: { minutes: 1 } }),
    // @ts-expect-error that signal cannot be listened to
    () => engine.loop(batches(), { signals: ["SIGKILL"] }),
    // @ts-expect-error counters of other names do not exist
    () => engine.state.steps,
  ];
  assertEquals(misuses.length, 18);
});

Deno.test("EarlyStoppingCallback types know the names of a metric that declares them", () => {
  const metric = { keys: ["accuracy", "top5"], better: "up" } as const;
  new EarlyStoppingCallback({ monitor: "accuracy", metric });
  new EarlyStoppingCallback({ monitor: "val/top5", metric });
  const general: { readonly keys: readonly string[]; readonly better: "up" } = metric;
  new EarlyStoppingCallback({ monitor: "val/accuracy", metric: general });
  new EarlyStoppingCallback({ monitor: "anything", mode: "min" });
  const misuses = [
    // @ts-expect-error a typo
    () => new EarlyStoppingCallback({ monitor: "acuracy", metric }),
    // @ts-expect-error a typo behind a prefix
    () => new EarlyStoppingCallback({ monitor: "val/top_5", metric }),
    // @ts-expect-error there is no such mode
    () => new EarlyStoppingCallback({ monitor: "loss", mode: "up" }),
    // @ts-expect-error something must be followed
    () => new EarlyStoppingCallback({ mode: "min" }),
  ];
  for (const misuse of misuses) assertThrows(misuse);
});
