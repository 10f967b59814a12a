import { assert, assertEquals } from "@std/assert";
import { jit, type Tensor, tensor } from "../../../core/mod.ts";
import { openOurs } from "../../bench/ours.ts";
import { modelOf } from "../../bench/models.ts";
import { gpu, testOnDevices } from "../../util.ts";

type Counts = Record<string, number>;
type Methods = Record<string, (...args: unknown[]) => unknown>;

const watched: readonly (readonly [() => unknown, readonly string[]])[] = [
  [() => GPUDevice.prototype, [
    "createBuffer",
    "createBindGroup",
    "createBindGroupLayout",
    "createPipelineLayout",
    "createComputePipeline",
    "createComputePipelineAsync",
    "createShaderModule",
    "createQuerySet",
    "createCommandEncoder",
  ]],
  [() => GPUQueue.prototype, ["submit", "writeBuffer"]],
  [() => GPUComputePassEncoder.prototype, ["dispatchWorkgroups", "dispatchWorkgroupsIndirect"]],
];

/** How often each method of WebGPU is called while a function runs. */
function countCalls(run: () => void): Counts {
  const counts: Counts = {};
  const restore: (() => void)[] = [];
  for (const [prototypeOf, names] of watched) {
    const methods = prototypeOf() as Methods;
    for (const name of names) {
      const original = methods[name];
      counts[name] = 0;
      if (typeof original !== "function") continue;
      methods[name] = function (this: unknown, ...args: unknown[]): unknown {
        counts[name]++;
        return original.apply(this, args);
      };
      restore.push(() => methods[name] = original);
    }
  }
  try {
    run();
  } finally {
    for (const undo of restore) undo();
  }
  return counts;
}

Deno.test({
  name: "jit() replays the small step with at most 16 dispatches, one submit and nothing made",
  ignore: gpu === null,
  fn: async () => {
    const trainer = await openOurs(modelOf("small"), { kind: "webgpu" });
    for (let step = 0; step < 20; step++) trainer.step();
    await trainer.loss();
    // Kernels are measured in the waits of early reads.
    for (let read = 0; read < 6; read++) {
      trainer.step();
      await trainer.loss();
    }
    const kernels: string[] = [];
    const { device } = trainer;
    const stop = device.intercept({
      record: (call) => {
        kernels.push(call.kernel.key.slice(0, 160));
        device.backend.run(call);
      },
    });
    for (let step = 0; step < 5; step++) {
      kernels.length = 0;
      const { dispatchWorkgroups, writeBuffer, submit, createCommandEncoder, ...made } = countCalls(
        () => trainer.step(),
      );
      const list = kernels.join("\n");
      assert(dispatchWorkgroups <= 16, `${dispatchWorkgroups} dispatches, of them:\n${list}`);
      // One more for each submission proves that it ran.
      assertEquals(dispatchWorkgroups, kernels.length + submit);
      assertEquals([submit, createCommandEncoder], [1, 1]);
      assert(writeBuffer <= 1, `${writeBuffer} writes`);
      assertEquals(Object.entries(made).filter(([, n]) => n > 0), []);
    }
    stop();
    assert(Number.isFinite(await trainer.loss()));
  },
});

testOnDevices({
  name: "jit() replays as many kernel calls as its statistics say",
  fn: (device) => {
    const step = jit((x: Tensor) => x.mul(2).cumsum(0).add(1).sum());
    const x = tensor([1, 2, 3, 4], { device });
    step(x);
    const before = device.work().dispatches;
    step(x);
    assertEquals(device.work().dispatches - before, step.stats().dispatches);
    // The product, its sums, and the sum that adds as it reads.
    assertEquals(step.stats().dispatches, 3);
  },
});
