import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { VirtualBuffer } from "../../../core/backend/capture.ts";
import { planMemory } from "../../../core/program/memory.ts";
import type { StepCall } from "../../../core/program/recording.ts";
import {
  Adam,
  crossEntropy,
  type Device,
  jit,
  setDefaultDevice,
  type Tensor,
  tensor,
} from "../../../core/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  Flatten,
  Linear,
  MaxPool2d,
  ReLU,
  Sequential,
  type TensorModule,
} from "../../../nn/mod.ts";
import { input } from "../../../kernels/expr.ts";
import { mapKernel } from "../../../kernels/map.ts";
import { bytesPerElement, type DType } from "../../../kernels/types.ts";
import { ownDevice } from "../devices.ts";
import { reference, testOnDevices } from "../../util.ts";
import { type Layer, makeBatches, type Model, modelOf } from "../../bench/models.ts";

/** A call over whole buffers; what it computes does not matter to a plan. */
function callOf(inputs: readonly VirtualBuffer[], outputs: readonly VirtualBuffer[]): StepCall {
  const operand = (buffer: VirtualBuffer) => ({ buffer, offset: 0, size: buffer.count });
  const kernel = mapKernel({
    expr: input(0),
    shape: [1],
    inputs: [{ dtype: "f32", strides: [1], offset: 0 }],
    output: { dtype: "f32", strides: [1], offset: 0 },
    scalars: [],
  });
  return { kernel, inputs: inputs.map(operand), outputs: outputs.map(operand), cells: [] };
}

const types: readonly DType[] = ["f32", "f16", "i32", "bool"];

/** Steps whose calls read up to three earlier values and write one or two new ones, or one again. */
const steps = fc.array(
  fc.record({
    reads: fc.array(fc.nat({ max: 40 }), { maxLength: 3 }),
    counts: fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 2 }),
    type: fc.nat({ max: 3 }),
    again: fc.boolean(),
  }),
  { minLength: 1, maxLength: 25, size: "max" },
).map((list) => {
  const values: VirtualBuffer[] = [];
  const calls = list.map(({ reads, counts, type, again }) => {
    const inputs = values.length === 0 ? [] : reads.map((n) => values[n % values.length]);
    const fresh = counts.map((n) => new VirtualBuffer(n, types[type], "value"));
    const old = values[(reads[0] ?? 0) % Math.max(1, values.length)];
    const outputs = again && old !== undefined && !inputs.includes(old) ? [...fresh, old] : fresh;
    values.push(...fresh);
    return callOf(inputs, outputs);
  });
  return { values, calls };
});

const bytesOf = ({ count, dtype }: VirtualBuffer) => count * bytesPerElement(dtype);

Deno.test("planMemory() lets no two values overlap that live at once", () => {
  fc.assert(
    fc.property(steps, ({ values, calls }) => {
      const plan = planMemory(calls, new Set());
      const lives = values.map((value) => {
        const users = calls.flatMap((call, at) =>
          [...call.inputs, ...call.outputs].some((o) => o.buffer === value) ? [at] : []
        );
        return { value, from: users[0], until: users.at(-1)!, place: plan.placeOf.get(value)! };
      });
      for (const { value, place } of lives) {
        assertEquals(place.offset % 64, 0);
        assert(place.offset * 4 + bytesOf(value) <= plan.slots[place.slot] * 4);
      }
      for (const [i, a] of lives.entries()) {
        for (const b of lives.slice(i + 1)) {
          if (a.place.slot !== b.place.slot || a.from > b.until || b.from > a.until) continue;
          const [low, high] = a.place.offset <= b.place.offset ? [a, b] : [b, a];
          assert(low.place.offset * 4 + bytesOf(low.value) <= high.place.offset * 4);
        }
      }
    }),
    { numRuns: 200, seed: 5 },
  );
});

Deno.test("planMemory() never lets a dispatch read and write one buffer", () => {
  fc.assert(
    fc.property(steps, ({ calls }) => {
      const { placeOf } = planMemory(calls, new Set());
      for (const { inputs, outputs } of calls) {
        const written = new Set(outputs.map((o) => placeOf.get(o.buffer)!.slot));
        for (const o of inputs) assert(!written.has(placeOf.get(o.buffer)!.slot));
      }
    }),
    { numRuns: 200, seed: 6 },
  );
});

Deno.test("planMemory() counts what lives at once, and takes no less", () => {
  fc.assert(
    fc.property(steps, ({ values, calls }) => {
      const plan = planMemory(calls, new Set());
      const padded = (value: VirtualBuffer) => Math.ceil(bytesOf(value) / 256) * 256;
      const most = calls.map((_, at) =>
        values.reduce((sum, value) => {
          const users = calls.flatMap((call, i) =>
            [...call.inputs, ...call.outputs].some((o) => o.buffer === value) ? [i] : []
          );
          return users[0] <= at && at <= users.at(-1)! ? sum + padded(value) : sum;
        }, 0)
      );
      assertEquals(plan.least, Math.max(...most));
      assertEquals(plan.bytes, plan.slots.reduce((a, b) => a + b * 4, 0));
      assert(plan.bytes >= plan.least);
    }),
    { numRuns: 100, seed: 7 },
  );
});

Deno.test("planMemory() gives no place to what matters after the step, or comes from the host", () => {
  const [result, constant, value] = [8, 8, 8].map((n) => new VirtualBuffer(n, "f32", "value"));
  constant.data = new Float32Array(8);
  const plan = planMemory(
    [callOf([constant], [value]), callOf([value], [result])],
    new Set([result]),
  );
  assertEquals([...plan.placeOf.keys()], [value]);
  assertEquals([plan.bytes, plan.least, [...plan.slots]], [256, 256, [64]]);
});

function moduleOf(layer: Layer): TensorModule {
  switch (layer.kind) {
    case "conv":
      return new Conv2d(layer.from, layer.to, { kernelSize: layer.size, padding: layer.padding });
    case "norm":
      return new BatchNorm2d(layer.channels);
    case "linear":
      return new Linear(layer.from, layer.to);
    case "pool":
      return new MaxPool2d({ kernelSize: 2 });
    case "relu":
      return new ReLU();
    case "flatten":
      return new Flatten();
  }
}

/** The training step of a benchmarked model. */
function stepOf(model: Model): (inputs: Tensor, targets: Tensor) => Tensor {
  const network = new Sequential(...model.layers.map(moduleOf));
  const optimizer = new Adam(network.parameters());
  return (inputs, targets) => {
    const loss = crossEntropy(network.forward(inputs), targets);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  };
}

function defaultDevice(device: Device): Disposable {
  const previous = setDefaultDevice(device);
  return { [Symbol.dispose]: () => void setDefaultDevice(previous) };
}

for (
  const [name, batch] of [["tinycnn", 64], ["convnet", 250], ["mlp", 1000], ["small", 16]] as const
) {
  testOnDevices({
    name: `jit() holds at most 1.3 times the bytes that live at once, ${name} of batch ${batch}`,
    fn: async (device) => {
      using _ = device.scope();
      using _device = defaultDevice(device);
      const model = modelOf(name, batch);
      const step = jit(stepOf(model));
      const { inputs, targets } = makeBatches(model)[0];
      const x = tensor(inputs, { device, shape: [batch, ...model.input] });
      const loss = step(x, tensor(targets, { device }));
      assert(Number.isFinite(await loss.item()));
      const { plannedBytes, leastBytes } = step.stats();
      assert(leastBytes > 0);
      assert(plannedBytes <= 1.3 * leastBytes, `${plannedBytes} bytes for ${leastBytes}`);
    },
  });
}

async function flat(device: Device, steps: number): Promise<void> {
  const w = tensor([1, 2, 3, 4], { device });
  const step = jit((x: Tensor) => {
    w.add_(x.mul(w).cumsum(0), 1e-9);
    return w.mul(x).cumsum(0).sum();
  });
  const x = tensor([1, -1, 1, -1], { device });
  const settle = 50;
  let before = { ...device.memory(), ...device.work() };
  for (let i = 0; i < steps; i++) {
    if (i === settle) before = { ...device.memory(), ...device.work() };
    using _ = step(x);
    device.flush();
    if (i % 500 === 0) await device.sync();
  }
  await device.sync();
  const after = { ...device.memory(), ...device.work() };
  for (
    const key of [
      "liveBuffers",
      "liveBytes",
      "pooledBytes",
      "peakBytes",
      "bindGroups",
      "buffers",
      "pipelines",
    ] as const
  ) {
    assertEquals(after[key], before[key], key);
  }
  step.reset();
}

Deno.test("jit() keeps memory flat over 10,000 replays on the reference", () =>
  flat(reference, 10_000));

testOnDevices({
  name: "jit() keeps memory flat over 10,000 replays",
  fn: async ({ kind }) => {
    // A device of its own, on which nobody measures kernels and nothing is collected.
    const device = await ownDevice({ kind });
    await flat(device, 10_000);
    device.close();
  },
});
