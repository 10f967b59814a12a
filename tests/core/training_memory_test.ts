import { assert, assertEquals } from "@std/assert";
import { AdamW, Context, Engine, Key, normal, SupervisedStepOutput } from "../../core/mod.ts";
import { MeanLoss, MetricsCallback, MultiClassAccuracy } from "../../metrics/mod.ts";
import { crossEntropy, MLPNode } from "../../nn/mod.ts";
import { testOnDevices } from "../util.ts";

testOnDevices({
  name: "a training loop of 2,000 steps ends with the buffers and bytes that it had at step 100",
  fn: async (device) => {
    // Nothing may be left to the collector, which comes when it likes.
    const building = device.scope();
    const model = new MLPNode({ inFeatures: 8, dims: [16, 4] }).build({ device, seed: 1 });
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
    building.close();
    const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
    const key = new Key(5);
    const trainer = new Engine(
      (engine, position: number, { model, optimizer, lossFn }) => {
        const inputs = normal([32, 8], { key: key.fold(position), device });
        const targets = inputs.narrow(1, 0, 4).argmax(1);
        const predictions = model.forward(inputs);
        const loss = lossFn(predictions, targets);
        optimizer.zeroGrad();
        engine.backward(loss);
        optimizer.step();
        return new SupervisedStepOutput({ loss, predictions, targets });
      },
      context,
      { callbacks: [new MetricsCallback([new MultiClassAccuracy(), new MeanLoss()])] },
    );
    const counts: { liveBuffers: number; liveBytes: number; buffers: number }[] = [];
    trainer.on("stepEnd", ({ state }) => {
      if (state.globalStep !== 100 && state.globalStep !== 2000) return;
      const { liveBuffers, liveBytes } = device.memory();
      counts.push({ liveBuffers, liveBytes, buffers: device.work().buffers });
    });
    const positions = Array.from({ length: 2000 }, (_, i) => i);
    const { metrics } = await trainer.loop(positions, { maxEpochs: 1 });
    assertEquals(counts.length, 2);
    assertEquals(counts[1], counts[0]);
    assert(metrics.accuracy! > 0.8, `it learned meanwhile: ${metrics.accuracy}`);
  },
});
