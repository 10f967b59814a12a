import { assert, assertEquals, assertThrows } from "@std/assert";
import { Key, ShapeError, type zeros } from "../../core/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  Dropout,
  Linear,
  MLPNode,
  Module,
  ReLU,
  Sequential,
  summarize,
  TinyCNNNode,
} from "../../nn/mod.ts";
import { devices, reference } from "../util.ts";

Deno.test("summarize() counts TinyCNN's parameters, shapes and operations", () => {
  const { rows, stateBytes } = summarize(new TinyCNNNode(), [64, 1, 28, 28]);
  const byName = Object.fromEntries(rows.map((row) => [row.name, row]));
  assertEquals(byName[""].parameters, 241_994);
  assertEquals(byName[""].outputs, [[64, 10]]);
  assertEquals(byName["2.3"].outputs, [[64, 128, 3, 3]]);
  // Two operations for each tap of each output pixel, and of each weight of the head.
  const conv = (side: number, inputs: number, outputs: number) =>
    2 * 64 * side ** 2 * 9 * inputs * outputs;
  assertEquals(byName["1.0"].flops, conv(14, 32, 64));
  const head = 2 * 64 * (1152 * 128 + 128 * 10);
  assertEquals(byName["4"].flops, head);
  assertEquals(byName[""].flops, conv(28, 1, 32) + conv(14, 32, 64) + conv(7, 64, 128) + head);
  // Parameters and both statistics of three BatchNorms in f32, and their three counts in i32.
  assertEquals(stateBytes, 4 * (241_994 + 2 * (32 + 64 + 128) + 3));
});

Deno.test("summarize() counts what the tape holds between forward and backward", () => {
  const model = new Sequential(
    new Linear(8, 16, { device: reference }),
    new ReLU(),
    new Linear(16, 4, { device: reference }),
  );
  // The hidden layer's ReLU keeps its result, which the second layer needs, too.
  assertEquals(summarize(model, [32, 8]).rows[0].activationBytes, 4 * 32 * 16);
  model.requiresGrad_(false);
  const frozen = summarize(model, [32, 8]).rows[0];
  assertEquals([frozen.activationBytes, frozen.trainable, frozen.parameters], [0, 0, 212]);
});

Deno.test("summarize() changes nothing: statistics, masks, memory and work stay as they were", async () => {
  for (const device of devices) {
    const dropout = new Dropout(0.5, { key: new Key(1) });
    const norm = new BatchNorm2d(4, { device });
    const model = new Sequential(new Conv2d(3, 4, { kernelSize: 3, device }), norm, dropout);
    await norm.running_mean!.data();
    const before = [device.memory().liveBuffers, device.backend.work().dispatches];
    summarize(model, [2, 3, 8, 8]);
    assertEquals([device.memory().liveBuffers, device.backend.work().dispatches], before);
    assertEquals([...await norm.running_mean!.data()], [0, 0, 0, 0]);
    assertEquals(dropout.position, 0);
    assert(!Object.hasOwn(model, "forward"));
  }
});

Deno.test("summarize() lists as many levels as asked for, and parts that are not called", () => {
  class Spare extends Module {
    readonly used = new Linear(2, 2, { device: reference });
    readonly spare = new Linear(2, 2, { device: reference });
    forward(x: ReturnType<typeof zeros>) {
      return this.used.forward(this.used.forward(x));
    }
  }
  const { rows } = summarize(new Spare(), [3, 2]);
  assertEquals(rows.map((row) => row.name), ["", "used", "spare"]);
  assertEquals(rows[2].outputs, null);
  assertEquals(rows[1].flops, 2 * (2 * 3 * 2 * 2));
  const names = (depth: number) =>
    summarize(new TinyCNNNode(), [2, 1, 28, 28], { depth }).rows.map((row) => row.name);
  assertEquals(names(0), [""]);
  assertEquals(names(1), ["", "0", "1", "2", "3", "4"]);
  assertThrows(() => names(-1), RangeError, "depth -1");
});

Deno.test("summarize() names the part that does not take its input", () => {
  const model = new Sequential({
    body: new Sequential(new Linear(4, 8, { device: reference }), new ReLU()),
    head: new Linear(9, 2, { device: reference }),
  });
  assertThrows(
    () => summarize(model, [5, 4]),
    ShapeError,
    "Cannot place Sequential.head (Linear): Cannot apply a linear map with weight [2, 9]",
  );
  assertThrows(
    () => summarize(new MLPNode({ inFeatures: 3, dims: [2] }), [5, 4]),
    ShapeError,
    "expected an input of shape [..., 3], found [4]",
  );
});

Deno.test("a summary as text has a line for each part, and totals", () => {
  const text = String(summarize(new MLPNode({ inFeatures: 4, dims: [8, 3] }), [5, 4]));
  const lines = text.split("\n");
  assertEquals(lines.length, 1 + 5 + 1);
  assert(/^ {2}0 +Linear +40 +\[5, 4\] +\[5, 8\] +320 /.test(lines[2]), lines[2]);
  assert(lines[6].startsWith("parameters: 67 (trainable 67, fixed 0)"), lines[6]);
});
