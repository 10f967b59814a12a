/** Which program a grouped convolution gets. */

import type { ConvResult, DirectConvParams } from "../../conv2d_direct.ts";
import type { Kernel } from "../../types.ts";
import type { WasmFeatures } from "../module.ts";
import type { CpuProgram } from "../program.ts";
import { depthwiseProgram, suitsDepthwise } from "./depthwise.ts";
import { depthwiseWeightProgram } from "./depthwise_weight.ts";
import { groupedProgram, suitsGrouped } from "./grouped.ts";
import { groupedWeightProgram } from "./grouped_weight.ts";

/** What the kernel of a grouped convolution is made from. */
type Params = DirectConvParams & { readonly splits: number };

/** The emitter of one result: a program, or null where channels do not fit into vectors. */
export function directConvEmitter(
  result: ConvResult,
): (kernel: Kernel, features: WasmFeatures) => CpuProgram | null {
  return (kernel, features) => {
    const p = kernel.params as Params;
    if (suitsDepthwise(p)) {
      return result === "weight"
        ? depthwiseWeightProgram(p, p.splits, features)
        : depthwiseProgram(result, p, features);
    }
    if (!suitsGrouped(result, p)) return null;
    return result === "weight"
      ? groupedWeightProgram(p, p.splits, features)
      : groupedProgram(result, p, features);
  };
}
