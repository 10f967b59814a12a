/**
 * LegoML: train neural networks in TypeScript, on WebGPU, with Deno first.
 *
 * Everything is here; the same names can be had by subject from `@legoml/legoml/core`, `/nn`, `/data`, `/metrics`, `/track` and
 * `/kernels`.
 *
 * @example
 * ```ts
 * import { AdamW, crossEntropy, getDevice, MLPNode, tensor } from "@legoml/legoml";
 *
 * const device = await getDevice({ kind: "reference" });
 * const model = new MLPNode({ inFeatures: 2, dims: [8, 2] }).build({ device, seed: 1 });
 * const optimizer = new AdamW(model.parameters(), { lr: 0.05 });
 * const inputs = tensor([[0, 0], [0, 1], [1, 0], [1, 1]], { device });
 * const targets = tensor([0, 1, 1, 0], { device, dtype: "i32" });
 * for (let step = 0; step < 50; step++) {
 *   const loss = crossEntropy(model.forward(inputs), targets);
 *   optimizer.zeroGrad();
 *   loss.backward();
 *   optimizer.step();
 * }
 * ```
 *
 * @module
 */

export * from "./core/mod.ts";
export * from "./nn/mod.ts";
export * from "./data/mod.ts";
export * from "./metrics/mod.ts";
export * from "./track/mod.ts";
