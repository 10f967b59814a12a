/** The engine with real tensors: the only tests in this folder that need the tensor half of core. */

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { Context, Engine, SupervisedStepOutput } from "../../../core/engine/mod.ts";
import { noGrad, referenceDevice, type Tensor, tensor } from "../../../core/mod.ts";

/** Gradient descent on the mean of (w·x + b − y)², with y = 3x − 2. */
function regression() {
  const device = referenceDevice();
  const w = tensor([0, 0], { device, requiresGrad: true });
  const context = new Context({ model: { w, parameters: () => [w] }, config: { lr: 0.1 } });
  function* batches() {
    for (let i = 0; i < 100; i++) yield tensor([-1, -0.5, 0, 0.5, 1 + i % 3], { device });
  }
  const engine = new Engine((engine, x: Tensor, { model, config }) => {
    const predictions = x.mul(model.w.select(0, 0)).add(model.w.select(0, 1));
    const loss = predictions.sub(x.mul(3).sub(2)).square().mean();
    engine.backward(loss);
    noGrad(() => model.w.add_(model.w.grad!, -config.lr));
    model.w.grad = null;
    return new SupervisedStepOutput({ loss, predictions });
  }, context);
  return { device, w, engine, loader: { [Symbol.iterator]: batches } };
}

Deno.test("Engine trains a line on a real device, with the device of the parameters", async () => {
  const { w, engine, loader } = regression();
  const losses: number[] = [];
  engine.on("stepEnd", async ({ output }) => {
    assert(!output.loss.requiresGrad && output.size === 5);
    losses.push(await output.loss.item());
  }, { every: 100 });
  await engine.loop(loader, { maxEpochs: 3 });
  assertEquals([losses.length, engine.state.samples], [3, 1500]);
  assert(losses.every((loss) => loss < 1e-12), String(losses));
  const [slope, offset] = await w.data();
  assertAlmostEquals(slope, 3, 1e-4);
  assertAlmostEquals(offset, -2, 1e-4);
});

Deno.test("Engine keeps the number of live buffers flat over steps and epochs", async () => {
  const { device, w, engine, loader } = regression();
  const live: string[] = [];
  engine.on("stepEnd", () => {
    const { liveBuffers, liveBytes } = device.memory();
    live.push(`${liveBuffers} ${liveBytes}`);
  });
  await engine.loop(loader, { maxEpochs: 5 });
  assertEquals(live.length, 500);
  assertEquals(live[499], live[100]);
  assertEquals(new Set(live.slice(1)).size, 1);
  assertEquals(device.memory().liveBuffers, 1);
  assertEquals((await w.data()).length, 2);
});

Deno.test("Engine leaves a tensor usable after its step only where keep() was called", async () => {
  const { engine, loader } = regression();
  let kept: Tensor | null = null;
  let lost: Tensor | null = null;
  engine.on("stepEnd", ({ output }) => {
    kept = output.loss.keep();
  }, { once: 1 });
  engine.on("stepEnd", ({ output }) => void (lost = output.loss), { once: 2 });
  await engine.loop(loader, { maxSteps: 4 });
  // w = 0 at the start, so the first loss is the mean of (3x − 2)² over the first batch.
  const first = [-1, -0.5, 0, 0.5, 1].map((x) => (3 * x - 2) ** 2).reduce((a, b) => a + b) / 5;
  assertAlmostEquals(await kept!.item(), first, 1e-12);
  await assertRejects(() => lost!.item(), Error, "it was released");
});
