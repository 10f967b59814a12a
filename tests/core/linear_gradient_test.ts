import { assert, assertEquals } from "@std/assert";
import {
  Adam,
  crossEntropy,
  type Device,
  grad,
  jit,
  linear,
  setDefaultDevice,
  tensor,
} from "../../core/mod.ts";
import { Linear, ReLU, Sequential } from "../../nn/mod.ts";
import { randomValues, testOnDevices } from "../util.ts";
import { devices, hardwareKernels } from "./devices.ts";
import { trainBothWays } from "./program/training.ts";

const all = hardwareKernels === null ? devices : [...devices, hardwareKernels];
const label = (device: Device) =>
  device === hardwareKernels ? "webgpu with the kernels for hardware" : device.kind;

/** Rows, inputs and outputs: one and several tiles, odd sizes, and batches on both sides of what one kernel sums. */
const sizes: readonly (readonly [number, number, number])[] = [
  [16, 784, 64],
  [16, 32, 10],
  [1, 4, 4],
  [5, 3, 7],
  [33, 20, 1],
  [9, 1, 6],
  [37, 150, 132],
  [130, 40, 36],
  [256, 12, 8],
  [257, 12, 9],
  [2048, 8, 6],
  [2049, 5, 6],
  [60_000, 5, 3],
];

/** Sums of products over the rows, and the sums of the sizes of their terms. */
function sumsOf(
  rows: number,
  g: ArrayLike<number>,
  outputs: number,
  x: ArrayLike<number>,
  inputs: number,
): { value: number; size: number }[] {
  return Array.from({ length: outputs * inputs }, (_, at) => {
    const [o, i] = [Math.floor(at / inputs), at % inputs];
    let [value, size] = [0, 0];
    for (let r = 0; r < rows; r++) {
      const term = g[r * outputs + o] * x[r * inputs + i];
      value += term;
      size += Math.abs(term);
    }
    return { value, size };
  });
}

function checkSums(
  got: ArrayLike<number>,
  want: readonly { value: number; size: number }[],
  text: string,
): void {
  assertEquals(got.length, want.length, text);
  want.forEach(({ value, size }, i) => {
    const error = Math.abs(got[i] - value);
    assert(error <= 1e-6 * size + 1e-30, `${text}: element ${i} is ${got[i]}, not ${value}`);
  });
}

for (const device of all) {
  Deno.test(`linear() gradients of weight and bias are sums over the rows, ${label(device)}`, async () => {
    for (const [n, [rows, inputs, outputs]] of sizes.entries()) {
      using _ = device.scope();
      const [x, g] = [randomValues(rows * inputs, n), randomValues(rows * outputs, 50 + n)];
      const make = (values: ArrayLike<number>, shape: number[], requiresGrad = false) =>
        tensor(Float64Array.from(values), { device, shape, requiresGrad });
      const weight = make(randomValues(outputs * inputs, 90 + n), [outputs, inputs], true);
      const bias = make(randomValues(outputs, 95 + n), [outputs], true);
      const result = linear(make(x, [rows, inputs]), weight, bias);
      const gradient = make(g, [rows, outputs]);
      const text = `${rows} × ${inputs} × ${outputs}`;
      const wanted = sumsOf(rows, g, outputs, x, inputs);
      const wantedBias = sumsOf(rows, g, outputs, new Float32Array(rows).fill(1), 1);
      for (const createGraph of [true, false]) {
        const [w, b] = grad(result, [weight, bias], { gradient, createGraph, retainGraph: true });
        checkSums(await w.data(), wanted, `${text}: weight`);
        checkSums(await b.data(), wantedBias, `${text}: bias`);
      }
      const [alone] = grad(result, [bias], { gradient });
      checkSums(await alone.data(), wantedBias, `${text}: bias alone`);
    }
  });
}

/** A perceptron of long and short sums, as a training step. */
const model = () =>
  new Sequential(
    new Linear(784, 64),
    new ReLU(),
    new Linear(64, 32),
    new ReLU(),
    new Linear(32, 10),
  );

function batchOf(device: Device, turn: number) {
  const inputs = tensor(randomValues(16 * 784, 500 + turn), { device, shape: [16, 784] });
  const targets = Array.from(randomValues(16, 900 + turn, 0, 10), Math.floor);
  return [inputs, tensor(targets, { device, dtype: "i32" })] as const;
}

for (const device of all.filter((d) => d.kind !== "reference")) {
  Deno.test(`jit() gives the bits of products with long sums and of bias gradients, ${label(device)}`, async () => {
    const captures = await trainBothWays(device, {
      subject: { make: model, batch: (device, _, turn) => batchOf(device, turn) },
      optimizer: (parameters) => new Adam(parameters, { lr: 0.01 }),
      step: ({ model, optimizer }, inputs, targets) => {
        const loss = crossEntropy(model.forward(inputs), targets);
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
        return loss;
      },
      sizes: [16, 16, 16],
    });
    assertEquals(captures, 1);
  });
}

testOnDevices({
  name: "jit() of a perceptron has no kernels for bias gradients, and none that copy",
  fn: (device) => {
    const previous = setDefaultDevice(device);
    using _ = device.scope();
    const [x, classes] = batchOf(device, 0);
    const network = model();
    const optimizer = new Adam(network.parameters(), { lr: 0.01 });
    const step = jit(() => {
      const loss = crossEntropy(network.forward(x), classes);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss;
    });
    for (let n = 0; n < 2; n++) step();
    setDefaultDevice(previous);
    // Three products forward, the loss, two gradients of inputs, three of weights, and Adam.
    assertEquals(step.stats().dispatches, 10);
  },
});
