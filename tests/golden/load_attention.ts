/** Typed reader of the vectors of attention and transformers. */

import file from "./attention.json" with { type: "json" };
import type { GoldenOptions, GoldenPass, GoldenTensors } from "./load.ts";

/** A pass of attention itself; a bool mask is true where a key takes part. */
export interface AttentionProductCase extends GoldenPass {
  readonly name: string;
  readonly options: GoldenOptions;
  readonly masks: GoldenTensors;
}

/** A pass through a module; bool masks are true where a position is left out. */
export interface AttentionModuleCase extends GoldenPass {
  readonly name: string;
  readonly layer:
    | "MultiheadAttention"
    | "TransformerEncoderLayer"
    | "TransformerDecoderLayer"
    | "TransformerEncoder"
    | "TransformerDecoder";
  readonly training: boolean;
  readonly args: readonly number[];
  readonly options: GoldenOptions;
  readonly params: GoldenTensors;
  readonly masks: GoldenTensors;
}

// The types that TypeScript infers from the file are unions of hundreds of literals: replace them.
function typed<T>(value: unknown): T {
  return value as T;
}

/** Attention by its definition. */
export const attentionProductCases: readonly AttentionProductCase[] = typed(file.products);
/** Modules. */
export const attentionModuleCases: readonly AttentionModuleCase[] = typed(file.modules);
