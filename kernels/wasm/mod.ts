/** Kernels as WebAssembly: products and convolutions by hand, everything else from its WGSL. */

import type { ConvForward, ConvWeight } from "../conv2d.ts";
import type { MatmulParams } from "../matmul.ts";
import type { DeviceTraits, Kernel } from "../types.ts";
import { compileWgsl } from "./wgsl/compile.ts";
import { attentionProgram } from "./sums/attention.ts";
import { convProgram } from "./sums/conv2d.ts";
import { directConvEmitter } from "./sums/conv2d_direct.ts";
import { convWeightProgram } from "./sums/conv2d_weight.ts";
import { suitsWeightWinograd, weightWinogradProgram } from "./sums/conv2d_weight_winograd.ts";
import { winogradProgram } from "./sums/conv2d_winograd.ts";
import { matmulProgram } from "./sums/matmul.ts";
import type { WasmFeatures } from "./module.ts";
import type { CpuProgram } from "./program.ts";
import { reduceProgram } from "./sums/reduce.ts";
import { suitsWinograd } from "./sums/winograd_tiles.ts";

/** What kernels may rely on. */
export const cpuTraits: DeviceTraits = {
  software: true,
  wasm: true,
  maxGroups: 2 ** 31 - 1,
  f16: true,
  maxBindings: 64,
};

/** A program made by hand, or null where the kernel is one of those that have none. */
type Emitter = (kernel: Kernel, features: WasmFeatures) => CpuProgram | null;

const emitters: Readonly<Record<string, Emitter>> = {
  attention: attentionProgram,
  attentionQueryGradient: attentionProgram,
  attentionKeyGradient: attentionProgram,
  matmul: (kernel, features) =>
    (kernel.params as MatmulParams).splits === 1 ? matmulProgram(kernel, features) : null,
  reduce: reduceProgram,
  conv2d: (kernel, features) =>
    suitsWinograd(kernel.params as ConvForward)
      ? winogradProgram(kernel, features)
      : convProgram(kernel, features),
  conv2d_weight: (kernel, features) => {
    const params = kernel.params as ConvWeight;
    if (params.splits !== 1) return null;
    return suitsWeightWinograd(params)
      ? weightWinogradProgram(kernel, features)
      : convWeightProgram(kernel, features);
  },
  conv2d_direct_output: directConvEmitter("output"),
  conv2d_direct_input: directConvEmitter("input"),
  conv2d_direct_weight: directConvEmitter("weight"),
};

/** The program of any kernel. */
export function cpuProgram(kernel: Kernel, features: WasmFeatures): CpuProgram {
  return emitters[kernel.op]?.(kernel, features) ??
    compileWgsl(kernel, kernel.wgsl(cpuTraits), features);
}
