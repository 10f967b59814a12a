/** Nodes of attention, of transformers, and of positions in sequences [places, features]. */

import type { Tensor } from "../../core/mod.ts";
import { MultiheadAttention, type MultiheadAttentionOptions } from "../attention.ts";
import { sizeOfInput } from "../block_node.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import type { TensorModule } from "../module.ts";
import type { Node } from "../node.ts";
import { node } from "../node.ts";
import { boolean, choice, type Field, integer, number } from "../node_fields.ts";
import { LayerNorm } from "../norm.ts";
import { LearnedPositions, RotaryEmbedding, SinusoidalPositions } from "../positions.ts";
import { TransformerEncoder } from "../transformer.ts";
import { TransformerEncoderLayer, type TransformerLayerOptions } from "../transformer_layers.ts";
import { count } from "./fields.ts";
import { typedNode, type TypedNodeClass } from "./typed.ts";

/**
 * A `MultiheadAttention` of a sequence to itself, where a place may see only those up to itself.
 *
 * @example
 * ```ts
 * import { SelfAttention } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new SelfAttention(8, 2, true, { batchFirst: true, device });
 * assertEquals(layer.forward(zeros([3, 5, 8], { device })).shape, [3, 5, 8]);
 * ```
 */
export class SelfAttention extends MultiheadAttention {
  /** Whether a place sees only those up to itself. */
  readonly causal: boolean;

  /**
   * Draws the parameters as `MultiheadAttention` does.
   *
   * @param embedDim size of the last axis
   * @param numHeads number of heads, which divides it
   * @param causal whether a place sees only those up to itself
   * @param options dropout, bias, batchFirst, key, device
   * @throws {RangeError} if a number is out of its range, or the heads do not divide embedDim
   */
  constructor(
    embedDim: number,
    numHeads: number,
    causal: boolean,
    options: Omit<MultiheadAttentionOptions, "kdim" | "vdim"> = {},
  ) {
    super(embedDim, numHeads, options);
    this.causal = causal;
  }

  /**
   * Attends.
   *
   * @param x [N, L, embedDim] where the layer is made with batchFirst, else [L, N, embedDim]
   * @returns the same shape
   * @throws {ShapeError} if x is no such sequence
   */
  override forward(x: Tensor): Tensor {
    return super.forward(x, x, x, { isCausal: this.causal });
  }
}

/** What a `MultiheadAttentionNode` describes. */
export interface MultiheadAttentionNodeOptions {
  /** Number of heads, which divides the features. */
  readonly numHeads: number;
  /** Features of each place; null where the input says them. @default {null} */
  readonly embedDim?: number | null;
  /** Probability with which weights are dropped in training. @default {0} */
  readonly dropout?: number;
  /** Whether biases are added. @default {true} */
  readonly bias?: boolean;
  /** Whether a place sees only those up to itself. @default {false} */
  readonly causal?: boolean;
}

/** Attention of a sequence to itself; builds a `SelfAttention`, which is a `MultiheadAttention`. */
export const MultiheadAttentionNode: TypedNodeClass<MultiheadAttentionNodeOptions, SelfAttention> =
  typedNode<MultiheadAttentionNodeOptions, SelfAttention>(
    "MultiheadAttentionNode",
    {
      numHeads: integer(1),
      embedDim: count,
      dropout: number(0, 1, 0),
      bias: boolean(true),
      causal: boolean(false),
    },
    ({ numHeads, embedDim, dropout, bias, causal }, at) => {
      const width = embedDim ?? sizeOfInput("MultiheadAttentionNode", "embedDim", at);
      const options = { dropout, bias, batchFirst: true, device: at.device };
      return new SelfAttention(width, numHeads, causal, options);
    },
  );

/** A `TransformerEncoderLayer` where a place may see only those up to itself. */
class CausalEncoderLayer extends TransformerEncoderLayer {
  override forward(src: Tensor): Tensor {
    return super.forward(src, { isCausal: true });
  }
}

/** What a `TransformerEncoderLayerNode` describes. */
export interface TransformerEncoderLayerNodeOptions {
  /** Number of heads, which divides the features. */
  readonly nHead: number;
  /** Features of each place; null where the input says them. @default {null} */
  readonly dModel?: number | null;
  /** Width of the hidden layer between both maps. @default {2048} */
  readonly dimFeedforward?: number;
  /** Probability with which weights and sums are dropped in training. @default {0.1} */
  readonly dropout?: number;
  /** What is between both maps. @default {"relu"} */
  readonly activation?: "relu" | "gelu";
  /** Whether inputs of the parts are normalised instead of their sums. @default {false} */
  readonly normFirst?: boolean;
  /** Added to the variance. @default {1e-5} */
  readonly layerNormEps?: number;
  /** Whether a place sees only those up to itself. @default {false} */
  readonly causal?: boolean;
}

/** Attention to itself and two maps, each with a path around it; builds a `TransformerEncoderLayer`. */
export const TransformerEncoderLayerNode: TypedNodeClass<
  TransformerEncoderLayerNodeOptions,
  TransformerEncoderLayer
> = typedNode<TransformerEncoderLayerNodeOptions, TransformerEncoderLayer>(
  "TransformerEncoderLayerNode",
  {
    nHead: integer(1),
    dModel: count,
    dimFeedforward: integer(1, 2048),
    dropout: number(0, 1, 0.1),
    activation: choice(["relu", "gelu"], "relu"),
    normFirst: boolean(false),
    layerNormEps: number(0, Number.MAX_VALUE, 1e-5),
    causal: boolean(false),
  },
  ({ nHead, dModel, causal, ...values }, at) => {
    const width = dModel ?? sizeOfInput("TransformerEncoderLayerNode", "dModel", at);
    const options: TransformerLayerOptions = { ...values, batchFirst: true, device: at.device };
    const kind = causal ? CausalEncoderLayer : TransformerEncoderLayer;
    return new kind(width, nHead, options);
  },
);

/** A node of this kind. */
export type TransformerEncoderLayerNode = InstanceType<typeof TransformerEncoderLayerNode>;

const layer: Field<TransformerEncoderLayerNode> = {
  expected: "a TransformerEncoderLayerNode",
  read: (value, path, depth) => {
    const found: Node | undefined = node().read(value, path, depth);
    return found instanceof TransformerEncoderLayerNode ? found : undefined;
  },
};

/** What a `TransformerEncoderNode` describes. */
export interface TransformerEncoderNodeOptions {
  /** How many layers there are. */
  readonly numLayers: number;
  /** Each of the layers. */
  readonly layer: TransformerEncoderLayerNode;
  /** Whether what the last layer gives is normalised. @default {false} */
  readonly norm?: boolean;
}

/**
 * Layers of a transformer one behind the other; builds a `TransformerEncoder`.
 *
 * @example
 * ```ts
 * import { TransformerEncoderLayerNode, TransformerEncoderNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = new TransformerEncoderLayerNode({ nHead: 4, dimFeedforward: 64 });
 * const node = new TransformerEncoderNode({ numLayers: 2, layer, norm: true });
 * assertEquals(node.outputShape([10, 32]), [10, 32]);
 * ```
 */
export const TransformerEncoderNode: TypedNodeClass<
  TransformerEncoderNodeOptions,
  TransformerEncoder
> = typedNode<TransformerEncoderNodeOptions, TransformerEncoder>(
  "TransformerEncoderNode",
  { numLayers: integer(1), layer, norm: boolean(false) },
  ({ numLayers, layer, norm }, at) => {
    const inputShape = at.inputShape ?? undefined;
    const width = layer.dModel ?? sizeOfInput("TransformerEncoderNode", "layer.dModel", at);
    const make = () => layer.build({ device: at.device, inputShape });
    const last = norm ? new LayerNorm(width, { eps: layer.layerNormEps, device: at.device }) : null;
    return new TransformerEncoder(numLayers, make, { norm: last });
  },
);

/** What the node of a table of positions describes. */
export interface PositionsNodeOptions {
  /** How many places there are at most. */
  readonly maxLength: number;
}

/** Adds a learnt vector to each place; builds a `LearnedPositions`. */
export const LearnedPositionsNode: NodeClass<PositionsNodeOptions> = defineNode<
  PositionsNodeOptions
>(
  "LearnedPositionsNode",
  { maxLength: integer(1) },
  ({ maxLength }, at): TensorModule => {
    const width = sizeOfInput("LearnedPositionsNode", "features", at);
    return new LearnedPositions(maxLength, width, { device: at.device });
  },
);

/** Adds sines and cosines to each place; builds a `SinusoidalPositions`. */
export const SinusoidalPositionsNode: NodeClass<PositionsNodeOptions> = defineNode<
  PositionsNodeOptions
>(
  "SinusoidalPositionsNode",
  { maxLength: integer(1) },
  ({ maxLength }, at): TensorModule => {
    const width = sizeOfInput("SinusoidalPositionsNode", "features", at);
    return new SinusoidalPositions(maxLength, width, { device: at.device });
  },
);

/** What a `RotaryEmbeddingNode` describes. */
export interface RotaryEmbeddingNodeOptions extends PositionsNodeOptions {
  /** How fast angles fall from pair to pair. @default {10000} */
  readonly base?: number;
  /** Whether pairs are neighbours. @default {false} */
  readonly interleaved?: boolean;
}

/** Turns pairs of features by angles that grow with the place; builds a `RotaryEmbedding`. */
export const RotaryEmbeddingNode: NodeClass<RotaryEmbeddingNodeOptions> = defineNode<
  RotaryEmbeddingNodeOptions
>(
  "RotaryEmbeddingNode",
  {
    maxLength: integer(1),
    base: number(Number.MIN_VALUE, Number.MAX_VALUE, 10000),
    interleaved: boolean(false),
  },
  ({ maxLength, base, interleaved }, at): TensorModule => {
    const dim = sizeOfInput("RotaryEmbeddingNode", "features", at);
    return new RotaryEmbedding(dim, maxLength, { base, interleaved, device: at.device });
  },
);
