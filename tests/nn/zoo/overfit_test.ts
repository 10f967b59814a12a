import { assert } from "@std/assert";
import { Adam, jit, type Tensor, tensor } from "../../../core/mod.ts";
import { crossEntropy, zoo } from "../../../nn/mod.ts";
import { cpu, randomValues, reference } from "../../util.ts";
import { zooCases } from "./cases.ts";

const STEPS = 40;

// Small images are enough for every model but cost a quarter of those of 32 × 32.
for (const { name, loss: limit } of zooCases) {
  Deno.test(`${name} overfits one batch of 16 images`, async () => {
    const device = cpu ?? reference;
    const images = tensor(randomValues(16 * 3 * 256, 3), { device, shape: [16, 3, 16, 16] });
    const labels = Array.from({ length: 16 }, (_, i) => i % 10);
    const targets = tensor(labels, { device, dtype: "i32" });
    const model = zoo(name).build({ device, seed: 1, inputShape: [3, 16, 16] });
    const optimizer = new Adam(model.parameters(), { lr: 2e-3 });
    const step = jit((x: Tensor, y: Tensor) => {
      const loss = crossEntropy(model.forward(x), y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss;
    });
    let loss = await step(images, targets).item();
    // Ten classes by chance: ln 10.
    assert(loss > 1.5, `${name} starts at ${loss}`);
    for (let i = 0; i < STEPS && !(loss < limit); i++) {
      const result = step(images, targets);
      if (i % 4 === 3) loss = await result.item();
    }
    assert(loss < limit, `${name} ends at ${loss}`);
    step.reset();
  });
}
