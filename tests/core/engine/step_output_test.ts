import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  Context,
  DictStepOutput,
  StepOutput,
  SupervisedStepOutput,
  toStepOutput,
  UnsupervisedStepOutput,
} from "../../../core/engine/mod.ts";
import { FakeDevice, type FakeTensor } from "./fakes.ts";

const device = new FakeDevice();

Deno.test("SupervisedStepOutput gives its fields, its size and a dict", () => {
  const loss = device.make(0.5);
  const predictions = device.make(0, [4, 10]);
  const targets = device.make(0, [3]);
  const output = new SupervisedStepOutput({ loss, predictions, targets, metadata: { lr: 0.1 } });
  assertStrictEquals(output.loss, loss);
  assertStrictEquals(output.predictions, predictions);
  assertStrictEquals(output.targets, targets);
  assertEquals(output.metadata, { lr: 0.1 });
  assertEquals(output.size, 3);
  assertEquals(output.names(), ["loss", "predictions", "targets", "metadata"]);
  assertEquals(output.toDict(), { loss, predictions, targets, metadata: { lr: 0.1 } });
  assertEquals(output.has("targets"), true);
  assertStrictEquals(output.get("targets"), targets);
  const bare = new SupervisedStepOutput({ loss, count: 9 });
  assertEquals([bare.size, bare.predictions, bare.metadata], [9, undefined, {}]);
  assertEquals(bare.toDict(), { loss });
  assertEquals([bare.has("targets"), bare.has("constructor"), bare.get("toString")], [
    false,
    false,
    undefined,
  ]);
});

Deno.test("UnsupervisedStepOutput gives its fields, its size and a dict", () => {
  const loss = device.make(0.5, [1, 1]);
  const reconstructions = device.make(0, [4, 10]);
  const embeddings = device.make(0, [4, 2]);
  const output = new UnsupervisedStepOutput({ loss, reconstructions, embeddings });
  assertStrictEquals(output.loss, loss);
  assertStrictEquals(output.reconstructions, reconstructions);
  assertStrictEquals(output.embeddings, embeddings);
  assertEquals([output.size, output.metadata], [4, {}]);
  assertEquals(output.toDict(), { loss, reconstructions, embeddings });
  assertEquals(new UnsupervisedStepOutput({ loss, embeddings: device.make(0, [6]) }).size, 6);
});

Deno.test("Step outputs refuse a loss that is no scalar tensor, and a bad count", () => {
  const bad = 0.5 as unknown as FakeTensor;
  assertThrows(
    () => new SupervisedStepOutput({ loss: bad }),
    TypeError,
    "Cannot make a SupervisedStepOutput: expected the loss to be a tensor, found a number",
  );
  assertThrows(
    () => new UnsupervisedStepOutput({ loss: device.make(0, [64]) }),
    RangeError,
    "expected a loss with one element, found shape [64]",
  );
  assertThrows(
    () => new SupervisedStepOutput({ loss: device.make(), count: -1 }),
    RangeError,
    "expected count to be a whole number from 0, found -1",
  );
  assertThrows(() => new DictStepOutput({ count: NaN }), RangeError, "found NaN");
  assertThrows(() => new DictStepOutput({ count: 1.5 }), RangeError, "found 1.5");
});

Deno.test("toStepOutput() keeps outputs, wraps plain objects and nothing", () => {
  const output = new SupervisedStepOutput({ loss: device.make() });
  assertStrictEquals(toStepOutput(output), output);
  const loss = device.make(2);
  const dict = toStepOutput({ loss, note: "x", absent: undefined });
  assertEquals(dict instanceof DictStepOutput, true);
  assertStrictEquals(dict.loss, loss);
  assertEquals(dict.toDict(), { loss, note: "x" });
  assertEquals(toStepOutput(undefined).toDict(), {});
  assertEquals(toStepOutput(Object.assign(Object.create(null), { a: 1 })).get("a"), 1);
  assertEquals(toStepOutput({ loss: 0.5 }).loss, undefined);
  assertEquals([toStepOutput({}).size, toStepOutput({}, 5).size], [1, 5]);
  assertEquals(toStepOutput({ count: 2 }, 5).size, 2);
  assertThrows(() => toStepOutput([1]), TypeError, "found an Array");
});

Deno.test("StepOutput can be extended, and its tensors are found and replaced at any depth", () => {
  class Pair extends StepOutput {
    constructor(a: FakeTensor, b: FakeTensor) {
      super({ a, rest: { list: [b, a], text: "x" } });
    }
  }
  const [a, b, c] = [device.make(1), device.make(2), device.make(3)];
  const output = toStepOutput(new Pair(a, b));
  assertEquals(output.tensors().map((t) => t === a ? "a" : "b"), ["a", "b"]);
  output.replaceTensors((t) => t === a ? c : t);
  assertStrictEquals(output.get("a"), c);
  const { list } = output.get("rest") as { list: FakeTensor[] };
  assertEquals(list.map((t) => t.value), [2, 3]);
});

Deno.test("Context takes the device given, or that of the first parameter", () => {
  const other = new FakeDevice();
  const model = {
    *parameters() {
      yield { device };
    },
  };
  assertStrictEquals(new Context({ model }).device, device);
  assertStrictEquals(new Context({ model, device: other }).device, other);
  assertStrictEquals(new Context({ model: { parameters: () => [] } }).device, undefined);
  assertStrictEquals(new Context({ model: null }).device, undefined);
  const context = new Context({ model, optimizer: 1, lossFn: 2, scheduler: 3, config: { lr: 4 } });
  assertEquals(
    [context.optimizer, context.lossFn, context.scheduler, context.config.lr],
    [1, 2, 3, 4],
  );
});
