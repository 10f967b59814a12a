import type { Device, Tensor } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import { moreLossCases } from "../golden/load_more.ts";
import { type Bounds, reference, testOnDevices } from "../util.ts";
import { assertPass, DIGITS, placeInputs } from "./golden.ts";

type Loss = (...operands: unknown[]) => Tensor;

async function runLosses(device: Device, bounds: Bounds) {
  for (const { name, loss, options, ...pass } of moreLossCases) {
    const fn = (nn as unknown as Record<string, Loss>)[loss];
    if (fn === undefined) throw new Error(`no loss ${loss}`);
    const { weight, ...inputs } = placeInputs(pass, device);
    const settings = weight ? { ...options, weight } : options;
    const output = fn(...Object.values(inputs), settings);
    await assertPass(output, pass, inputs, bounds, name);
  }
}

Deno.test("further losses give PyTorch's values and gradients, on the reference device", async () => {
  await runLosses(reference, DIGITS);
});

testOnDevices({
  name: "further losses give PyTorch's values and gradients",
  // Cosines and third powers are short sums; the logarithms near 0 lose a few more places.
  fn: (device) => runLosses(device, { rel: 5e-6, abs: 2e-6 }),
});
