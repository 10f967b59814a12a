import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  Context,
  Engine,
  jit,
  SGD,
  SupervisedStepOutput,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import { MeanLoss, MetricsCallback, MultiClassAccuracy } from "../../../metrics/mod.ts";
import { devices } from "../devices.ts";

/** Runs a function and returns what it said as warnings. */
async function warningsOf(run: () => Promise<unknown>): Promise<string[]> {
  const said: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => void said.push(text);
  try {
    await run();
  } finally {
    console.warn = warn;
  }
  return said;
}

for (const device of devices) {
  const batches = [0, 1, 2, 3].map((k) => ({
    inputs: tensor([[1, k], [2, -k]], { device }),
    targets: tensor([k % 2, 1], { device, dtype: "i32" }),
  }));

  const setUp = () => {
    const weight = tensor([[0.5, -0.25], [1, 2]], { device, requiresGrad: true });
    const optimizer = new SGD([weight], { lr: 0.1, momentum: 0.9 });
    const context = new Context({ model: { weight }, optimizer, device });
    const step = jit((
      engine: Engine,
      { inputs, targets }: { inputs: Tensor; targets: Tensor },
      { model, optimizer }: typeof context,
    ) => {
      const predictions = inputs.matmul(model.weight);
      const loss = predictions.sub(targets.to("f32").unsqueeze(1)).square().mean();
      optimizer.zeroGrad();
      engine.backward(loss);
      optimizer.step();
      return new SupervisedStepOutput({ loss, predictions, targets });
    });
    return { weight, optimizer, context, step };
  };

  Deno.test(`Engine runs a captured step, its counts and its metrics as without capture (${device.kind})`, async () => {
    const results = [];
    for (const captured of [true, false]) {
      const { weight, optimizer, context, step } = setUp();
      const engine = new Engine(captured ? step : step.eager, context, {
        callbacks: [new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()])],
      });
      engine.on("stepStart", ({ state }) => {
        optimizer.lr = 0.1 / (1 + state.globalStep);
      });
      const { metrics, backwards, globalStep, samples } = await engine.loop(batches, {
        maxEpochs: 3,
      });
      results.push({ metrics, backwards, globalStep, samples, weight: [...await weight.data()] });
      if (captured) assertEquals([step.stats().captures, step.stats().replays], [1, 12]);
    }
    assertEquals(results[0], results[1]);
    assertEquals([results[0].backwards, results[0].globalStep, results[0].samples], [12, 12, 24]);
  });

  Deno.test(`Engine keeps the outputs of captured steps apart (${device.kind})`, async () => {
    const { context, step } = setUp();
    const engine = new Engine(step, context);
    const losses: Tensor[] = [];
    engine.on("stepEnd", ({ output }) => void losses.push((output.loss as Tensor).alias().keep()));
    await engine.loop(batches);
    const values = await Promise.all(losses.map((loss) => loss.item()));
    assertEquals(new Set(values).size, 4);
  });

  Deno.test(`Engine runs the step uncaptured where somebody hears its backward events, and says so once (${device.kind})`, async () => {
    const { context, step } = setUp();
    const engine = new Engine(step, context, { name: "trainer" });
    let heard = 0;
    engine.on("backwardEnd", () => void heard++);
    const said = await warningsOf(() => engine.loop(batches, { maxEpochs: 2 }));
    assertEquals([heard, step.stats().captures, said.length], [8, 0, 1]);
    assertStringIncludes(said[0], "trainer: the step runs uncaptured");
  });
}
