import { type Device, jit, Key, ones, type Tensor, tensor } from "../../core/mod.ts";
import { BatchNorm1d, Dropout, estimateBatchNorm, Linear, ReLU, Sequential } from "../../nn/mod.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { typedValues, values } from "../golden/load.ts";
import { updateBatchNormCases } from "../golden/load_schedules.ts";
import { assertClose, devices, randomValues, reference } from "../util.ts";
import type { GoldenTensor } from "../golden/load.ts";

function place(device: Device, golden: GoldenTensor): Tensor {
  return tensor(typedValues(golden), { device, shape: golden.shape, dtype: golden.dtype });
}

for (const device of devices) {
  for (const { name, params, before, batches, buffers } of updateBatchNormCases) {
    Deno.test(`estimateBatchNorm gives PyTorch's update_bn: ${name} (${device.kind})`, async () => {
      const model = new Sequential(
        new Linear(3, 4, { device }),
        new BatchNorm1d(4, { device }),
        new ReLU(),
        new Linear(4, 2, { device }),
        new BatchNorm1d(2, { device }),
      );
      const dict = Object.entries(params).map(([key, golden]) => [key, place(device, golden)]);
      model.loadStateDict(Object.fromEntries(dict), { strict: false });
      model.forward(place(device, before));
      model.children()[1].eval();
      const modes = model.modules().map((part) => part.training);
      const placed = batches.map((batch) => place(device, batch));
      assertEquals(await estimateBatchNorm(model, placed), batches.length);
      assertEquals(model.modules().map((part) => part.training), modes);
      const state = model.stateDict();
      const bound = device === reference ? 2e-8 : 1e-5;
      for (const [key, golden] of Object.entries(buffers)) {
        assertClose(await state[key].data(), values(golden), bound, key);
      }
      // The momentum is back: one more batch counts by a tenth.
      const layer = model.children()[4] as BatchNorm1d;
      layer.forward(ones([3, 2], { device }));
      const mean = values(buffers["4.running_mean"]).map((m) => 0.9 * m + 0.1);
      assertClose(await layer.running_mean!.data(), mean, bound);
    });
  }

  Deno.test(`estimateBatchNorm keeps dropout off, and takes batches in many forms (${device.kind})`, async () => {
    const model = new Sequential(
      new Dropout(0.5, { key: new Key(1) }),
      new BatchNorm1d(2, { device }),
    );
    const inputs = [0, 1].map((i) => tensor(randomValues(8, i), { device, shape: [4, 2] }));
    const want = await Promise.all(inputs.map((x) => x.mean(0).data()));
    const mean = Array.from(want[0], (v, i) => (v + want[1][i]) / 2);
    async function* stream() {
      yield* inputs.map((x) => [x, null]);
    }
    const forms = [
      () => estimateBatchNorm(model, stream()),
      () => estimateBatchNorm(model, inputs.map((x) => ({ inputs: x }))),
      () => {
        const forward = jit((x: Tensor) => model.forward(x));
        forward(inputs[0]);
        return estimateBatchNorm(model, [0, 1], { forward: (i) => forward.eager(inputs[i]) });
      },
      () => estimateBatchNorm(model, inputs, { forward: jit((x: Tensor) => model.forward(x)) }),
    ];
    const layer = model.children()[1] as BatchNorm1d;
    for (const form of forms) {
      assertEquals(await form(), 2);
      assertClose(await layer.running_mean!.data(), mean, device === reference ? 1e-12 : 1e-6);
      assertEquals([model.training, model.children()[0].training], [true, true]);
    }
  });
}

Deno.test("after an error the statistics are what they were", async () => {
  const device = reference;
  const model = new Sequential(new BatchNorm1d(2, { device })).eval();
  const layer = model.children()[0] as BatchNorm1d;
  layer.train().forward(tensor([[1, 2], [5, 9]], { device }));
  layer.eval();
  const read = () => Promise.all(Object.values(model.stateDict()).map((t) => t.array()));
  const before = await read();
  const bad: [unknown[], { forward?: (b: unknown) => unknown }, string][] = [
    [[], {}, "at least one batch"],
    [[tensor([[1, 1], [2, 2]], { device }), "text"], {}, "found string"],
    [[0], { forward: () => Promise.resolve() }, "found a promise"],
    [[tensor([[1, 1]], { device })], {}, "at least 2 values per channel"],
  ];
  for (const [batches, options, message] of bad) {
    await assertRejects(() => estimateBatchNorm(model, batches, options), Error, message);
    assertEquals([await read(), layer.momentum, layer.training], [before, 0.1, false]);
  }
  assertEquals(await estimateBatchNorm(new Sequential(new ReLU()), []), 0);
});
