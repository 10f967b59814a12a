/** Layers of transformers. */

import type { Device, Key, Tensor } from "../core/mod.ts";
import { nextKey } from "../core/mod.ts";
import { MultiheadAttention } from "./attention.ts";
import { checkInteger } from "./checks.ts";
import { Dropout } from "./dropout.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./norm.ts";

/** How a layer of a transformer is made. */
export interface TransformerLayerOptions {
  /** Width of the hidden layer between both maps. @default {2048} */
  readonly dimFeedforward?: number;
  /** Probability with which weights and sums are dropped in training. @default {0.1} */
  readonly dropout?: number;
  /** What is between both maps. @default {"relu"} */
  readonly activation?: "relu" | "gelu";
  /** Added to the variance. @default {1e-5} */
  readonly layerNormEps?: number;
  /** Whether sequences are [N, L, E] instead of [L, N, E]. @default {false} */
  readonly batchFirst?: boolean;
  /** Whether inputs of the parts are normalised instead of their sums. @default {false} */
  readonly normFirst?: boolean;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** Masks of an encoder; bool masks are true where a position is left out. */
export interface EncoderMasks {
  /** [L, L] or [N · heads, L, L], bool or f32. @default {none} */
  readonly srcMask?: Tensor | null;
  /** [N, L], bool or f32. @default {none} */
  readonly srcKeyPaddingMask?: Tensor | null;
  /** Whether a position sees only those up to itself. @default {false} */
  readonly isCausal?: boolean;
}

/** Masks of a decoder; bool masks are true where a position is left out. */
export interface DecoderMasks {
  /** [T, T] or [N · heads, T, T], bool or f32. @default {none} */
  readonly tgtMask?: Tensor | null;
  /** [T, S] or [N · heads, T, S], bool or f32. @default {none} */
  readonly memoryMask?: Tensor | null;
  /** [N, T], bool or f32. @default {none} */
  readonly tgtKeyPaddingMask?: Tensor | null;
  /** [N, S], bool or f32. @default {none} */
  readonly memoryKeyPaddingMask?: Tensor | null;
  /** Whether a position of the target sees only those up to itself. @default {false} */
  readonly tgtIsCausal?: boolean;
}

/** What encoder and decoder layers share: attention of a sequence to itself, and two maps. */
export abstract class TransformerLayer extends Module {
  /** Attention of the sequence to itself. */
  readonly self_attn: MultiheadAttention;
  /** The first map, [dModel] to [dimFeedforward]. */
  declare readonly linear1: Linear;
  /** Dropout between both maps. */
  declare readonly dropout: Dropout;
  /** The second map. */
  declare readonly linear2: Linear;
  /** What is between both maps. */
  readonly activation: "relu" | "gelu";
  /** Whether inputs of the parts are normalised. */
  readonly normFirst: boolean;

  /**
   * Makes the parts that are shared.
   *
   * @param dModel size of the last axis, at least 1
   * @param nHead number of heads, which divides dModel
   * @param options those of the layer
   * @param key names the random numbers
   * @param cross whether it attends to a memory, too
   * @throws {RangeError} if a number or name is out of its range, or the heads do not divide dModel
   */
  constructor(
    dModel: number,
    nHead: number,
    options: TransformerLayerOptions,
    key: Key,
    cross: boolean,
  ) {
    super();
    const name = new.target.name;
    const { dimFeedforward = 2048, dropout = 0.1, activation = "relu", device } = options;
    checkInteger(name, "dModel", dModel, 1);
    checkInteger(name, "dimFeedforward", dimFeedforward, 1);
    if (activation !== "relu" && activation !== "gelu") {
      throw new RangeError(
        `Cannot make ${name} with activation "${activation}": expected relu or gelu`,
      );
    }
    this.activation = activation;
    this.normFirst = options.normFirst ?? false;
    this.self_attn = attentionOf("self_attn", dModel, nHead, options, key);
    // The order of fields is that of the keys; `declare` leaves it to the assignments.
    if (cross) {
      const name = "multihead_attn";
      this.registerModule(name, attentionOf(name, dModel, nHead, options, key));
    }
    this.linear1 = new Linear(dModel, dimFeedforward, { key: key.fold("linear1"), device });
    this.dropout = new Dropout(dropout, { key: key.fold("dropout") });
    this.linear2 = new Linear(dimFeedforward, dModel, { key: key.fold("linear2"), device });
  }

  /**
   * `x + part(norm(x))` with normFirst, else `norm(x + part(x))`.
   *
   * @param x any shape with the last axis dModel
   * @param norm of the part
   * @param part what is added
   * @returns the same shape
   */
  protected residual(x: Tensor, norm: LayerNorm, part: (x: Tensor) => Tensor): Tensor {
    return this.normFirst ? x.add(part(norm.forward(x))) : norm.forward(x.add(part(x)));
  }

  /**
   * Both maps, with activation and dropout between them.
   *
   * @param x any shape with the last axis dModel
   * @returns the same shape
   */
  protected feedForward(x: Tensor): Tensor {
    const hidden = this.linear1.forward(x);
    const active = this.activation === "relu" ? hidden.relu() : hidden.gelu();
    return this.linear2.forward(this.dropout.forward(active));
  }
}

function attentionOf(
  name: string,
  dModel: number,
  nHead: number,
  { dropout = 0.1, batchFirst, device }: TransformerLayerOptions,
  key: Key,
): MultiheadAttention {
  const options = { dropout, batchFirst, key: key.fold(name), device };
  return new MultiheadAttention(dModel, nHead, options);
}

/**
 * A layer of an encoder: attention of the sequence to itself, then two maps at every position, each
 * added to its input and normalised.
 *
 * Parameters, as torch.nn.TransformerEncoderLayer: `self_attn.*` (MultiheadAttention), `linear1.*`,
 * `linear2.*`, `norm1.*`, `norm2.*`; options and the meaning of masks are PyTorch's, too. Vaswani
 * et al., "Attention is all you need", 2017; with normFirst Xiong et al., "On layer normalization
 * in the transformer architecture", 2020.
 *
 * @example
 * ```ts
 * import { TransformerEncoderLayer } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new TransformerEncoderLayer(8, 2, { dimFeedforward: 16, batchFirst: true, device });
 * assertEquals(layer.forward(zeros([3, 5, 8], { device })).shape, [3, 5, 8]);
 * ```
 */
export class TransformerEncoderLayer extends TransformerLayer {
  /** Of the attention. */
  readonly norm1: LayerNorm;
  /** Of the maps. */
  readonly norm2: LayerNorm;
  /** Dropout of what attention gives. */
  readonly dropout1: Dropout;
  /** Dropout of what the maps give. */
  readonly dropout2: Dropout;

  /**
   * Draws the weights from the key.
   *
   * @param dModel size of the last axis, at least 1
   * @param nHead number of heads, which divides dModel
   * @param options dimFeedforward, dropout, activation, layerNormEps, batchFirst, normFirst, key,
   * device
   * @throws {RangeError} if a number or name is out of its range, or the heads do not divide dModel
   */
  constructor(dModel: number, nHead: number, options: TransformerLayerOptions = {}) {
    const key = options.key ?? nextKey();
    super(dModel, nHead, options, key, false);
    const { dropout = 0.1, layerNormEps: eps, device } = options;
    this.norm1 = new LayerNorm(dModel, { eps, device });
    this.norm2 = new LayerNorm(dModel, { eps, device });
    this.dropout1 = new Dropout(dropout, { key: key.fold("dropout1") });
    this.dropout2 = new Dropout(dropout, { key: key.fold("dropout2") });
  }

  /**
   * Applies the layer.
   *
   * @param src [L, N, dModel], or [N, L, dModel] with batchFirst
   * @param masks srcMask, srcKeyPaddingMask, isCausal
   * @returns the same shape
   * @throws {ShapeError} if a size or mask does not fit
   */
  forward(src: Tensor, masks: EncoderMasks = {}): Tensor {
    const { srcMask: attnMask, srcKeyPaddingMask: keyPaddingMask, isCausal } = masks;
    const attended = this.residual(
      src,
      this.norm1,
      (x) =>
        this.dropout1.forward(
          this.self_attn.forward(x, x, x, { attnMask, keyPaddingMask, isCausal }),
        ),
    );
    return this.residual(
      attended,
      this.norm2,
      (x) => this.dropout2.forward(this.feedForward(x)),
    );
  }
}

/**
 * A layer of a decoder: attention of the target to itself, attention of the target to the memory
 * that an encoder gives, then two maps at every position.
 *
 * Parameters, as torch.nn.TransformerDecoderLayer: `self_attn.*` and `multihead_attn.*`
 * (MultiheadAttention), `linear1.*`, `linear2.*`, `norm1.*`, `norm2.*`, `norm3.*`; options and the
 * meaning of masks are PyTorch's, too. Vaswani et al., "Attention is all you need", 2017.
 *
 * @example
 * ```ts
 * import { TransformerDecoderLayer } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new TransformerDecoderLayer(8, 2, { dimFeedforward: 16, batchFirst: true, device });
 * const [target, memory] = [zeros([3, 5, 8], { device }), zeros([3, 7, 8], { device })];
 * assertEquals(layer.forward(target, memory, { tgtIsCausal: true }).shape, [3, 5, 8]);
 * ```
 */
export class TransformerDecoderLayer extends TransformerLayer {
  /** Attention of the target to the memory. */
  declare readonly multihead_attn: MultiheadAttention;
  /** Of the attention to itself. */
  readonly norm1: LayerNorm;
  /** Of the attention to the memory. */
  readonly norm2: LayerNorm;
  /** Of the maps. */
  readonly norm3: LayerNorm;
  /** Dropout of what attention to itself gives. */
  readonly dropout1: Dropout;
  /** Dropout of what attention to the memory gives. */
  readonly dropout2: Dropout;
  /** Dropout of what the maps give. */
  readonly dropout3: Dropout;

  /**
   * Draws the weights from the key.
   *
   * @param dModel size of the last axis, at least 1
   * @param nHead number of heads, which divides dModel
   * @param options dimFeedforward, dropout, activation, layerNormEps, batchFirst, normFirst, key,
   * device
   * @throws {RangeError} if a number or name is out of its range, or the heads do not divide dModel
   */
  constructor(dModel: number, nHead: number, options: TransformerLayerOptions = {}) {
    const key = options.key ?? nextKey();
    super(dModel, nHead, options, key, true);
    const { dropout = 0.1, layerNormEps: eps, device } = options;
    this.norm1 = new LayerNorm(dModel, { eps, device });
    this.norm2 = new LayerNorm(dModel, { eps, device });
    this.norm3 = new LayerNorm(dModel, { eps, device });
    this.dropout1 = new Dropout(dropout, { key: key.fold("dropout1") });
    this.dropout2 = new Dropout(dropout, { key: key.fold("dropout2") });
    this.dropout3 = new Dropout(dropout, { key: key.fold("dropout3") });
  }

  /**
   * Applies the layer.
   *
   * @param tgt [T, N, dModel], or [N, T, dModel] with batchFirst
   * @param memory [S, N, dModel], or [N, S, dModel]
   * @param masks of target and memory
   * @returns the shape of the target
   * @throws {ShapeError} if a size or mask does not fit
   */
  forward(tgt: Tensor, memory: Tensor, masks: DecoderMasks = {}): Tensor {
    const own = {
      attnMask: masks.tgtMask,
      keyPaddingMask: masks.tgtKeyPaddingMask,
      isCausal: masks.tgtIsCausal,
    };
    const other = { attnMask: masks.memoryMask, keyPaddingMask: masks.memoryKeyPaddingMask };
    const first = this.residual(
      tgt,
      this.norm1,
      (x) => this.dropout1.forward(this.self_attn.forward(x, x, x, own)),
    );
    const second = this.residual(
      first,
      this.norm2,
      (x) => this.dropout2.forward(this.multihead_attn.forward(x, memory, memory, other)),
    );
    return this.residual(second, this.norm3, (x) => this.dropout3.forward(this.feedForward(x)));
  }
}
