import { assertEquals } from "@std/assert";
import { openCpu } from "../../../../core/backend/cpu/open.ts";
import { Adam, Device, jit, type Tensor, tensor } from "../../../../core/mod.ts";
import { TinyCNNNode } from "../../../../nn/mod.ts";
import { randomValues } from "../../../util.ts";

/** Enough for many kernels to be shared out, once they have been timed. */
const BATCH = 16;

/** Trains some steps; gives all parameters at the end. */
async function train(device: Device): Promise<Float32Array[]> {
  const model = new TinyCNNNode().build({ device, seed: 3 });
  const optimizer = new Adam(model.parameters(), { lr: 1e-3 });
  const step = jit((inputs: Tensor, targets: Tensor) => {
    const loss = model.forward(inputs).sub(targets).square().mean();
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  });
  for (let turn = 0; turn < 12; turn++) {
    const inputs = tensor(randomValues(BATCH * 784, turn), { device, shape: [BATCH, 1, 28, 28] });
    const targets = tensor(randomValues(BATCH * 10, 50 + turn), { device, shape: [BATCH, 10] });
    await step(inputs, targets).item();
  }
  return await Promise.all(
    model.parameters().map(async (p) => Float32Array.from(await p.data())),
  );
}

Deno.test("a network trains to the same bits with 1, 2 and 4 threads", async () => {
  const results: Float32Array[][] = [];
  for (const threads of [1, 2, 4]) {
    const backend = openCpu({ memoryBudget: 2 ** 30, threads });
    assertEquals(await backend.ready(), threads);
    results.push(await train(new Device(backend)));
    backend.close();
  }
  for (const other of results.slice(1)) assertEquals(other, results[0]);
});
