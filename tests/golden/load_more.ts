/** Typed reader of the vectors of further layers and losses. */

import layersFile from "./layers_more.json" with { type: "json" };
import lossesFile from "./losses_more.json" with { type: "json" };
import type { GoldenOptions, GoldenPass, GoldenTensors, LayerCase, LossCase } from "./load.ts";

/** A pass through a recurrent layer or cell: inputs input, h0?, c0?; outputs output?, hN, cN?. */
export interface RecurrentCase extends GoldenPass {
  readonly name: string;
  readonly layer: string;
  readonly args: readonly number[];
  readonly options: GoldenOptions;
  readonly params: GoldenTensors;
}

/** Several passes through one InstanceNorm layer, with the buffers that each leaves. */
export interface InstanceNormCase {
  readonly name: string;
  readonly layer: string;
  readonly args: readonly number[];
  readonly options: GoldenOptions;
  readonly params: GoldenTensors;
  readonly steps: readonly (GoldenPass & {
    readonly training: boolean;
    readonly buffers: GoldenTensors;
  })[];
}

// The types that TypeScript infers from the files are unions of hundreds of literals: replace them.
function typed<T>(file: unknown): T {
  return file as T;
}

/** Further layers: one pass each. */
export const moreLayerCases: readonly LayerCase[] = typed(layersFile.cases);
/** Recurrent layers and cells: one pass each. */
export const recurrentCases: readonly RecurrentCase[] = typed(layersFile.recurrent);
/** InstanceNorm with running statistics: several passes each. */
export const instanceNormCases: readonly InstanceNormCase[] = typed(layersFile.instanceNorm);
/** Further losses; their inputs in the order of the arguments, and perhaps a weight. */
export const moreLossCases: readonly LossCase[] = typed(lossesFile.cases);
