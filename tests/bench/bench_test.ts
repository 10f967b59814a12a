import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { crossEntropy, referenceDevice, setDefaultDevice, tensor, TinyCNNNode } from "../../mod.ts";
import { countOf, valuesOf } from "./flags.ts";
import { CLASSES, makeBatches, modelOf, models, oneHotRows, startWeights } from "./models.ts";
import { openOurs } from "./ours.ts";
import { digits, textTable } from "./text_table.ts";
import { measure, median } from "./trainer.ts";
import { countsOfStep } from "./webgpu_counts.ts";

function parameterCount(name: string): number {
  return startWeights(modelOf(name)).reduce((n, { values }) => n + values.length, 0);
}

Deno.test("startWeights() has the parameters of the models' layers", () => {
  assertEquals(parameterCount("mlp"), 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10);
  assertEquals(parameterCount("small"), 784 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10);
  assertEquals(
    parameterCount("convnet"),
    24 * 25 + 24 + 32 * 24 * 9 + 32 + 800 * 128 + 128 + 128 * 10 + 10,
  );
  assertEquals(parameterCount("tinycnn"), 241_994);
});

Deno.test("startWeights() and makeBatches() give the same numbers again", () => {
  const model = modelOf("small", 4);
  assertEquals(startWeights(model), startWeights(model));
  assertEquals(makeBatches(model), makeBatches(model));
  const bound = 1 / Math.sqrt(784);
  const [{ values }] = startWeights(model);
  assertEquals(values.every((v) => Math.abs(v) <= bound), true);
  assertAlmostEquals(Math.max(...values), bound, bound * 1e-3);
});

Deno.test("models.tinycnn is the network of TinyCNNNode", async () => {
  const model = modelOf("tinycnn", 3);
  const device = referenceDevice();
  const module = new TinyCNNNode().build({ device, seed: 1 });
  const weights = startWeights(model);
  const entries = module.namedParameters().map(([name], i) => {
    const { values, shape } = weights[i];
    return [name, tensor(values, { device, shape: [...shape] })] as const;
  });
  module.loadStateDict(Object.fromEntries(entries), { strict: false });
  const [{ inputs, targets }] = makeBatches(model);
  const x = tensor(inputs, { device, shape: [3, 1, 28, 28] });
  const expected = await crossEntropy(module.forward(x), tensor(targets, { device })).item();
  const trainer = await openOurs(model, { kind: "reference", eager: true });
  trainer.step();
  assertAlmostEquals(await trainer.loss(), expected, 1e-6);
  trainer.close();
  setDefaultDevice(null);
});

Deno.test("openOurs() trains alike with and without capture", async () => {
  const model = modelOf("small", 4);
  const losses: number[][] = [];
  for (const eager of [true, false]) {
    const trainer = await openOurs(model, { kind: "reference", eager });
    const seen: number[] = [];
    for (let i = 0; i < 6; i++) {
      trainer.step();
      seen.push(await trainer.loss());
    }
    losses.push(seen);
    trainer.close();
  }
  setDefaultDevice(null);
  assertEquals(losses[0], losses[1]);
  assertEquals(losses[0][4] < losses[0][0], true);
});

Deno.test("measure() reads once per run of steps and keeps the first losses", async () => {
  const log: string[] = [];
  let steps = 0;
  const measurement = await measure({
    library: "fake",
    step: () => {
      steps++;
      log.push("step");
    },
    loss: () => {
      log.push("read");
      return Promise.resolve(steps);
    },
    close: () => {},
  }, { stepsPerRead: 3, repeats: 2 });
  assertEquals(measurement.losses, [1, 2, 3, 4, 5]);
  assertEquals(log.slice(-8), ["step", "step", "step", "read", "step", "step", "step", "read"]);
  assertEquals(measurement.repeats.length, 2);
});

Deno.test({
  name: "countsOfStep() counts a step's calls without those of the read",
  ignore: (await navigator.gpu?.requestAdapter() ?? null) === null,
  fn: async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter!.requestDevice();
    const run = async (steps: number) => {
      for (let i = 0; i < steps; i++) {
        const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
        device.queue.writeBuffer(buffer, 0, new Uint32Array(4));
        device.queue.submit([]);
        device.queue.submit([]);
        buffer.destroy();
      }
      device.queue.submit([]);
      await device.queue.onSubmittedWorkDone();
    };
    const counts = await countsOfStep(run);
    assertEquals(counts, {
      dispatches: 0,
      submits: 2,
      bindGroups: 0,
      buffers: 1,
      pipelines: 0,
      writes: 1,
    });
    await assertRejects(() => countsOfStep(() => Promise.reject(new Error("broken"))));
    assertEquals(GPUQueue.prototype.submit.name, "submit");
    device.destroy();
  },
});

Deno.test("modelOf() refuses unknown models and batch sizes", () => {
  assertEquals(modelOf("mlp").batch, models.mlp.batch);
  assertThrows(() => modelOf("large"), RangeError, "expected mlp, convnet, tinycnn, small");
  assertThrows(() => modelOf("mlp", 0), RangeError, "batch size 0");
});

Deno.test("oneHotRows() has a single one in each row", () => {
  const rows = oneHotRows(Int32Array.of(2, 0));
  const expected = new Float32Array(2 * CLASSES);
  expected[2] = expected[CLASSES] = 1;
  assertEquals(rows, expected);
});

Deno.test("median() takes the middle of odd counts and the mean of the two in even ones", () => {
  assertEquals([median([3, 1, 2]), median([4, 1, 3, 2])], [2, 2.5]);
});

Deno.test("valuesOf() and countOf() read repeated options and counts", () => {
  const args = ["--model", "mlp", "--rounds=2", "--model=small"];
  assertEquals(valuesOf(args, "model"), ["mlp", "small"]);
  assertEquals(countOf("rounds", "2"), 2);
  assertThrows(() => countOf("rounds", "1.5"), RangeError, "positive integer");
});

Deno.test("textTable() aligns its columns", () => {
  assertEquals(
    textTable(["model", "ms"], [["mlp", digits(1234.5)], ["small", digits(2.345)]]),
    ["| model |   ms |", "| ----- | ---: |", "| mlp   | 1235 |", "| small | 2.35 |"].join("\n"),
  );
  assertEquals([digits(12.34), digits(Infinity)], ["12.3", "–"]);
});
