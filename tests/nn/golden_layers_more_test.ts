import { assertEquals } from "@std/assert";
import type { Device, Tensor } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import type { GoldenTensors } from "../golden/load.ts";
import { instanceNormCases, moreLayerCases, recurrentCases } from "../golden/load_more.ts";
import { type Bounds, reference, testOnDevices } from "../util.ts";
import { assertGolden, assertPass, DIGITS, place, placeAll, placeInputs } from "./golden.ts";

interface Made extends nn.Module {
  forward(...inputs: unknown[]): unknown;
}

/** `new layer(...args, options)` on a device; layers without a device ignore it. */
function make(
  layer: string,
  args: readonly unknown[],
  options: Readonly<Record<string, unknown>>,
  device: Device,
): Made {
  const classes = nn as unknown as Record<string, new (...args: unknown[]) => Made>;
  if (classes[layer] === undefined) throw new Error(`no layer ${layer}`);
  return new classes[layer](...args, { ...options, device });
}

/** The keys of the state dict are PyTorch's, in its order. */
function load(module: nn.Module, params: GoldenTensors, device: Device, name: string): void {
  assertEquals(Object.keys(module.stateDict()), Object.keys(params), name);
  module.loadStateDict(placeAll(params, device));
}

/** What f32 allows, by how much a layer sums and cancels. */
function boundsOf(layer: string): Bounds {
  if (/Norm|GRN/.test(layer)) return { rel: 5e-6, abs: 5e-6 };
  if (/Conv|Attention|RNN|GRU|LSTM/.test(layer)) return { rel: 2e-6, abs: 4e-6 };
  // Where a pixel lies is known to half of the last place of its number.
  if (layer === "Upsample") return { rel: 4e-6, abs: 2e-6 };
  return { rel: 4e-6, abs: 4e-7 };
}

async function runLayers(device: Device, bounds: (layer: string) => Bounds) {
  for (const { name, layer, args, options, params, ...pass } of moreLayerCases) {
    const module = make(layer, args, options, device);
    load(module, params, device, name);
    const inputs = placeInputs(pass, device);
    const output = module.forward(inputs.input) as Tensor;
    const leaves = { ...inputs, ...Object.fromEntries(module.namedParameters()) };
    await assertPass(output, pass, leaves, bounds(layer), name);
  }
}

/** Output, state and cell by name, of whatever the module gives. */
function named(result: unknown, layer: string): Record<string, Tensor> {
  if (layer === "LSTM") {
    const [output, [hN, cN]] = result as nn.LSTMOutput;
    return { output, hN, cN };
  }
  if (layer === "LSTMCell") {
    const [hN, cN] = result as nn.LSTMState;
    return { hN, cN };
  }
  if (layer.endsWith("Cell")) return { hN: result as Tensor };
  const [output, hN] = result as nn.RecurrentOutput;
  return { output, hN };
}

async function runRecurrent(device: Device, bounds: (layer: string) => Bounds) {
  for (const { name, layer, args, options, params, ...pass } of recurrentCases) {
    const module = make(layer, args, options, device);
    load(module, params, device, name);
    const { input, h0, c0 } = placeInputs(pass, device);
    const state = c0 === undefined ? h0 : [h0, c0];
    const outputs = named(module.forward(input, state), layer);
    assertEquals(Object.keys(outputs), Object.keys(pass.outputs), name);
    const limit = bounds(layer);
    for (const [key, want] of Object.entries(pass.outputs)) {
      await assertGolden(outputs[key], want, limit, `${name}, ${key}`);
    }
    const total = Object.entries(outputs)
      .map(([key, t]) => t.mul(place(pass.cotangents[key], device)).sum())
      .reduce((a, b) => a.add(b));
    total.backward();
    const leaves: Record<string, Tensor> = {
      ...{ input, h0, c0 },
      ...Object.fromEntries(module.namedParameters()),
    };
    const wide = { rel: 4 * limit.rel, abs: 4 * limit.abs };
    for (const [key, want] of Object.entries(pass.grads)) {
      await assertGolden(leaves[key].grad, want, wide, `${name}, gradient of ${key}`);
    }
  }
}

async function runInstanceNorms(device: Device, bounds: Bounds) {
  for (const { name, layer, args, options, params, steps } of instanceNormCases) {
    const module = make(layer, args, options, device);
    load(module, params, device, name);
    for (const [i, { training, buffers, ...pass }] of steps.entries()) {
      const label = `${name}, pass ${i}`;
      module.train(training).zeroGrad();
      const inputs = placeInputs(pass, device);
      const output = module.forward(inputs.input) as Tensor;
      const leaves = { ...inputs, ...Object.fromEntries(module.namedParameters()) };
      await assertPass(output, pass, leaves, bounds, label);
      const found = Object.fromEntries(module.namedBuffers());
      assertEquals(Object.keys(found), Object.keys(buffers), label);
      for (const [key, want] of Object.entries(buffers)) {
        await assertGolden(found[key], want, bounds, `${label}, ${key}`);
      }
    }
  }
}

Deno.test("further layers give PyTorch's outputs and gradients, on the reference device", async () => {
  await runLayers(reference, () => DIGITS);
});

Deno.test("recurrent layers give PyTorch's outputs and gradients, on the reference device", async () => {
  await runRecurrent(reference, () => DIGITS);
});

Deno.test("InstanceNorm gives PyTorch's passes and buffers, on the reference device", async () => {
  await runInstanceNorms(reference, DIGITS);
});

testOnDevices({
  name: "further layers give PyTorch's outputs and gradients",
  fn: (device) => runLayers(device, boundsOf),
});

testOnDevices({
  name: "recurrent layers give PyTorch's outputs and gradients",
  fn: (device) => runRecurrent(device, boundsOf),
});

testOnDevices({
  name: "InstanceNorm gives PyTorch's passes and buffers",
  fn: (device) => runInstanceNorms(device, boundsOf("Norm")),
});
