import { assertEquals } from "@std/assert";
import type { Device } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import { batchNormCases, layerCases } from "../golden/load.ts";
import { type Bounds, reference, testOnDevices } from "../util.ts";
import { assertGolden, assertPass, DIGITS, placeAll, placeInputs } from "./golden.ts";

type LayerClass = new (...args: unknown[]) => nn.TensorModule;

/** `new layer(...args, options)` on a device; layers without a device ignore it. */
function make(
  layer: string,
  args: readonly unknown[],
  options: Readonly<Record<string, unknown>>,
  device: Device,
): nn.TensorModule {
  const made = (nn as unknown as Record<string, LayerClass>)[layer];
  if (made === undefined) throw new Error(`no layer ${layer}`);
  // The number of slopes comes before the options.
  const filled = layer === "PReLU" && args.length === 0 ? [1] : args;
  return new made(...filled, { ...options, device });
}

function named(module: nn.Module): Record<string, ReturnType<nn.Module["parameters"]>[number]> {
  return Object.fromEntries(module.namedParameters());
}

/** What f32 allows, by how much a layer sums and cancels. */
function boundsOf(layer: string, name: string): Bounds {
  // The mean of 1e4 itself is only known to half of its last place, 5e-4.
  if (name.includes("large mean")) return { rel: 2e-3, abs: 2e-3 };
  if (/Norm/.test(layer)) return { rel: 5e-6, abs: 5e-6 };
  if (/Conv|Linear/.test(layer)) return { rel: 1e-6, abs: 4e-6 };
  return { rel: 4e-6, abs: 4e-7 };
}

async function runLayers(device: Device, bounds: (layer: string, name: string) => Bounds) {
  for (const { name, layer, args, options, params, ...pass } of layerCases) {
    const module = make(layer, args, options, device);
    module.loadStateDict(placeAll(params, device));
    const inputs = placeInputs(pass, device);
    const output = module.forward(inputs.input);
    await assertPass(output, pass, { ...inputs, ...named(module) }, bounds(layer, name), name);
  }
}

async function runBatchNorms(device: Device, bounds: Bounds) {
  for (const { name, layer, args, options, params, steps } of batchNormCases) {
    const module = make(layer, args, options, device);
    module.loadStateDict(placeAll(params, device));
    for (const [i, { training, buffers, ...pass }] of steps.entries()) {
      const label = `${name}, pass ${i}`;
      module.train(training).zeroGrad();
      const inputs = placeInputs(pass, device);
      const output = module.forward(inputs.input);
      await assertPass(output, pass, { ...inputs, ...named(module) }, bounds, label);
      const found = Object.fromEntries(module.namedBuffers());
      assertEquals(Object.keys(found), Object.keys(buffers), label);
      for (const [key, want] of Object.entries(buffers)) {
        await assertGolden(found[key], want, bounds, `${label}, ${key}`);
      }
    }
  }
}

Deno.test("layers give PyTorch's outputs and gradients, on the reference device", async () => {
  await runLayers(reference, () => DIGITS);
});

testOnDevices({
  name: "layers give PyTorch's outputs and gradients",
  fn: async (device) => {
    await runLayers(device, boundsOf);
  },
});

Deno.test("BatchNorm gives PyTorch's results and statistics, on the reference device", async () => {
  await runBatchNorms(reference, DIGITS);
});

testOnDevices({
  name: "BatchNorm gives PyTorch's results and statistics",
  fn: async (device) => {
    await runBatchNorms(device, { rel: 5e-6, abs: 5e-6 });
  },
});
