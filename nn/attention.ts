/** Attention of several heads. */

import {
  type Device,
  type Key,
  linear,
  nextKey,
  scaledDotProductAttention,
  ShapeError,
  showShape,
  type Tensor,
  zeros,
} from "../core/mod.ts";
import { packedSelfAttention } from "../core/tensor/attention.ts";
import { headMask, type HeadMasks } from "./attention_masks.ts";
import { checkInteger } from "./checks.ts";
import { xavierUniform } from "./init.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { WeightDropout } from "./weight_dropout.ts";

/** How a multi-head attention is made. */
export interface MultiheadAttentionOptions {
  /** Probability with which weights are dropped in training. @default {0} */
  readonly dropout?: number;
  /** Whether biases are added. @default {true} */
  readonly bias?: boolean;
  /** Size of the last axis of the keys. @default {embedDim} */
  readonly kdim?: number;
  /** Size of the last axis of the values. @default {embedDim} */
  readonly vdim?: number;
  /** Whether sequences are [N, L, E] instead of [L, N, E]. @default {false} */
  readonly batchFirst?: boolean;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** Which keys a query does not see. */
export interface MultiheadAttentionMasks extends HeadMasks {
  /**
   * Whether query i sees only the keys from 0 to i; no mask is needed beside it. @default {false}
   */
  readonly isCausal?: boolean;
}

/**
 * Attention of several heads: queries, keys and values are mapped linearly, cut into heads, each of
 * which attends, and what the heads give is mapped once more.
 *
 * Parameters: `in_proj_weight` [3E, E] (or `q_proj_weight` [E, E], `k_proj_weight` [E, kdim] and
 * `v_proj_weight` [E, vdim] where a size differs), uniform after Glorot; `in_proj_bias` [3E], 0;
 * `out_proj.weight` [E, E], as Linear, and `out_proj.bias` [E], 0. As torch.nn.MultiheadAttention,
 * with its meaning of masks: a bool mask is true where a key is *left out*, the opposite of
 * `scaledDotProductAttention`. Unlike there, only the output is given, as weights are never stored;
 * a query without any key gives what `out_proj` makes of 0, not NaN; and `isCausal` works without a
 * mask. Vaswani et al., "Attention is all you need", 2017.
 *
 * Where keys and values are the queries, all three maps are one product, and heads are views of it.
 *
 * @example
 * ```ts
 * import { MultiheadAttention } from "@legoml/legoml/nn";
 * import { ones, referenceDevice } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new MultiheadAttention(8, 2, { batchFirst: true, device });
 * const x = ones([3, 5, 8], { device });
 * assertEquals(layer.forward(x, x, x, { isCausal: true }).shape, [3, 5, 8]);
 * assertEquals(layer.forward(x, ones([3, 7, 8], { device })).shape, [3, 5, 8]);
 * ```
 */
export class MultiheadAttention extends Module {
  /** Size of the last axis of queries and output. */
  readonly embedDim: number;
  /** Number of heads. */
  readonly numHeads: number;
  /** Size of the last axis of keys. */
  readonly kdim: number;
  /** Size of the last axis of values. */
  readonly vdim: number;
  /** Whether sequences are [N, L, E]. */
  readonly batchFirst: boolean;
  /** [3 · embedDim, embedDim]: weights of queries, keys and values; null where their sizes differ */
  readonly in_proj_weight: Tensor | null = null;
  /** [embedDim, embedDim], or null */
  readonly q_proj_weight: Tensor | null = null;
  /** [embedDim, kdim], or null */
  readonly k_proj_weight: Tensor | null = null;
  /** [embedDim, vdim], or null */
  readonly v_proj_weight: Tensor | null = null;
  /** [3 · embedDim], or null */
  readonly in_proj_bias: Tensor | null = null;
  /** The last map. */
  readonly out_proj: Linear;
  /** Dropout of the weights. */
  readonly weightDropout: WeightDropout;

  /**
   * Draws the weights from the key.
   *
   * @param embedDim size of the last axis of queries and output, at least 1
   * @param numHeads number of heads, which divides embedDim
   * @param options dropout, bias, kdim, vdim, batchFirst, key, device
   * @throws {RangeError} if a size is no integer of at least 1, the heads do not divide embedDim, or
   * dropout is no probability
   */
  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    const { dropout = 0, bias = true, kdim = embedDim, vdim = embedDim, device } = options;
    const key = options.key ?? nextKey();
    this.embedDim = checkInteger("MultiheadAttention", "embedDim", embedDim, 1);
    this.numHeads = checkHeads("MultiheadAttention", "embedDim", embedDim, numHeads);
    this.kdim = checkInteger("MultiheadAttention", "kdim", kdim, 1);
    this.vdim = checkInteger("MultiheadAttention", "vdim", vdim, 1);
    this.batchFirst = options.batchFirst ?? false;
    const draw = (name: string, shape: readonly number[]) =>
      this.registerParameter(name, xavierUniform(shape, { key: key.fold(name), device }));
    if (kdim === embedDim && vdim === embedDim) {
      this.in_proj_weight = draw("in_proj_weight", [3 * embedDim, embedDim]);
    } else {
      this.q_proj_weight = draw("q_proj_weight", [embedDim, embedDim]);
      this.k_proj_weight = draw("k_proj_weight", [embedDim, kdim]);
      this.v_proj_weight = draw("v_proj_weight", [embedDim, vdim]);
    }
    if (bias) {
      const start = zeros([3 * embedDim], { device });
      this.in_proj_bias = this.registerParameter("in_proj_bias", start);
    }
    this.out_proj = new Linear(embedDim, embedDim, { bias, key: key.fold("out_proj"), device });
    if (this.out_proj.bias) {
      const { out_proj } = this;
      out_proj.registerParameter("bias", zeros([embedDim], { device }));
    }
    this.weightDropout = new WeightDropout(dropout, { key: key.fold("dropout") });
  }

  /**
   * Attends.
   *
   * @param query [L, N, embedDim], [N, L, embedDim] with batchFirst, or [L, embedDim]; f32 or f16
   * @param key [S, N, kdim] accordingly; the queries by default
   * @param value [S, N, vdim] accordingly; the keys by default
   * @param masks keyPaddingMask, attnMask, isCausal
   * @returns the shape of the queries
   * @throws {ShapeError} if sizes or masks do not fit
   * @throws {DTypeError} if a mask is neither bool nor f32
   */
  forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    masks: MultiheadAttentionMasks = {},
  ): Tensor {
    this.#check(query, key, value);
    if (query.ndim === 2) return this.#single(query, key, value, masks);
    const axis = this.batchFirst ? 1 : 0;
    const [n, length] = [query.shape[1 - axis], query.shape[axis]];
    const { numHeads } = this;
    const size = { n, heads: numHeads, queries: length, keys: key.shape[axis] };
    const options = {
      mask: headMask("MultiheadAttention", masks, size),
      causal: masks.isCausal ?? false,
      dropout: this.weightDropout.forward(),
    };
    const batched = (t: Tensor) => this.batchFirst ? t : t.transpose(0, 1);
    const itself = key === query && value === query && this.in_proj_weight;
    const heads = itself
      ? packedSelfAttention(
        batched(linear(query, itself, this.in_proj_bias)),
        numHeads,
        options,
      )
      : this.#cross(query, key, value, (t) => cut(batched(t), numHeads), options);
    return this.out_proj.forward(batched(heads));
  }

  /** Sequences without a batch. */
  #single(query: Tensor, key: Tensor, value: Tensor, masks: MultiheadAttentionMasks): Tensor {
    const axis = this.batchFirst ? 0 : 1;
    const q = query.unsqueeze(axis);
    const k = key === query ? q : key.unsqueeze(axis);
    const v = value === key ? k : value.unsqueeze(axis);
    const padding = masks.keyPaddingMask;
    const keyPaddingMask = padding?.ndim === 1 ? padding.unsqueeze(0) : padding;
    return this.forward(q, k, v, { ...masks, keyPaddingMask }).squeeze(axis);
  }

  #check(query: Tensor, key: Tensor, value: Tensor): void {
    const { embedDim, kdim, vdim } = this;
    const [axis, batch] = query.ndim === 2 ? [0, 0] : this.batchFirst ? [1, 0] : [0, 1];
    const fits = (query.ndim === 2 || query.ndim === 3) &&
      [key, value].every((t) => t.ndim === query.ndim) &&
      [[query, embedDim], [key, kdim], [value, vdim]].every(([t, size]) =>
        (t as Tensor).shape.at(-1) === size
      ) &&
      key.shape[axis] === value.shape[axis] &&
      (query.ndim === 2 ||
        [key, value].every((t) => t.shape[batch] === query.shape[batch]));
    if (fits) return;
    const order = this.batchFirst ? ["N, L", "N, S"] : ["L, N", "S, N"];
    throw new ShapeError(
      `Cannot apply MultiheadAttention to query ${showShape(query.shape)}, key ${
        showShape(key.shape)
      } and value ${showShape(value.shape)}: expected [${order[0]}, ${embedDim}], [${
        order[1]
      }, ${kdim}] and [${order[1]}, ${vdim}], or all without N`,
    );
  }

  /** Queries of one sequence, keys and values of another one. */
  #cross(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: (t: Tensor) => Tensor,
    options: Parameters<typeof scaledDotProductAttention>[3],
  ): Tensor {
    const { embedDim: e, in_proj_weight: all, in_proj_bias: bias } = this;
    const part = (from: number, count: number) => ({
      weight: all?.narrow(0, from * e, count * e),
      bias: bias && bias.narrow(0, from * e, count * e),
    });
    const map = (x: Tensor, from: number, own: Tensor | null) => {
      const { weight, bias } = part(from, 1);
      return linear(x, (own ?? weight)!, bias);
    };
    const q = map(query, 0, this.q_proj_weight);
    let [k, v]: Tensor[] = [];
    if (all && key === value) {
      const { weight, bias } = part(1, 2);
      [k, v] = linear(key, weight!, bias).split(e, -1);
    } else {
      [k, v] = [map(key, 1, this.k_proj_weight), map(value, 2, this.v_proj_weight)];
    }
    const out = scaledDotProductAttention(heads(q), heads(k), heads(v), options);
    const [n, , length] = out.shape;
    return out.transpose(1, 2).reshape([n, length, e]);
  }
}

/** [N, L, E] to [N, heads, L, E / heads]. */
function cut(t: Tensor, heads: number): Tensor {
  const [n, length, e] = t.shape;
  return t.reshape([n, length, heads, e / heads]).transpose(1, 2);
}

/**
 * The number of heads, if it divides a width.
 *
 * @param owner the layer, for the message
 * @param name what the width is called, for the message
 * @param width the width
 * @param heads the number of heads
 * @returns the number of heads
 * @throws {RangeError} if it does not divide the width
 */
export function checkHeads(owner: string, name: string, width: number, heads: number): number {
  checkInteger(owner, "heads", heads, 1);
  if (width % heads === 0) return heads;
  throw new RangeError(
    `Cannot make ${owner} with ${name} ${width} and ${heads} heads: expected the heads to divide it`,
  );
}
