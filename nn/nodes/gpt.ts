/** The language model as a node. */

import { GPT } from "../gpt.ts";
import { boolean, choice, integer, number } from "../node_fields.ts";
import { typedNode, type TypedNodeClass } from "./typed.ts";

/** What a `GPTNode` describes. */
export interface GPTNodeOptions {
  /** Number of tokens that there are. */
  readonly vocabSize: number;
  /** Tokens of a sequence at most. */
  readonly contextLength: number;
  /** Number of blocks. @default {4} */
  readonly layers?: number;
  /** Heads of each block, which divide the width. @default {4} */
  readonly heads?: number;
  /** Numbers for each token. @default {128} */
  readonly width?: number;
  /** Probability with which embeddings, weights and sums are dropped in training. @default {0} */
  readonly dropout?: number;
  /** Learnt vectors, or queries and keys that are turned. @default {"learned"} */
  readonly positions?: "learned" | "rotary";
  /** Whether the last map has the weight of the embedding. @default {true} */
  readonly tieWeights?: boolean;
}

/**
 * The transformer of GPT-2 over tokens [places]; builds a `GPT`.
 *
 * @example
 * ```ts
 * import { GPTNode } from "@legoml/legoml/nn";
 * import { referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new GPTNode({ vocabSize: 65, contextLength: 32, layers: 2, width: 16 });
 * assertEquals(node.outputShape([8]), [8, 65]);
 * const model = node.build({ device: referenceDevice(), seed: 42 });
 * assertEquals(model.contextLength, 32);
 * ```
 */
export const GPTNode: TypedNodeClass<GPTNodeOptions, GPT> = typedNode<GPTNodeOptions, GPT>(
  "GPTNode",
  {
    vocabSize: integer(1),
    contextLength: integer(1),
    layers: integer(1, 4),
    heads: integer(1, 4),
    width: integer(1, 128),
    dropout: number(0, 1, 0),
    positions: choice(["learned", "rotary"], "learned"),
    tieWeights: boolean(true),
  },
  (values, { device }) => new GPT({ ...values, device }),
);
