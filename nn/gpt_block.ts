/** The block of a GPT: causal attention and two maps, each behind a normalisation and added to its input. */

import { type Device, type Key, linear, type Tensor, zeros } from "../core/mod.ts";
import { packedSelfAttention } from "../core/tensor/attention.ts";
import { Dropout } from "./dropout.ts";
import { normal } from "./init.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./norm.ts";
import type { RotaryEmbedding } from "./positions.ts";
import { WeightDropout } from "./weight_dropout.ts";

/** What all blocks are made with. */
export interface GPTBlockOptions {
  /** Size of the last axis. */
  readonly width: number;
  /** Number of heads, which divides the width. */
  readonly heads: number;
  /** Probability with which weights and sums are dropped in training. */
  readonly dropout: number;
  /** Deviation of the weights whose results are added to the input. */
  readonly residualStd: number;
  /** Names the random numbers. */
  readonly key: Key;
  /** Where the parameters live. */
  readonly device?: Device;
}

/** Tables of a rotary embedding for queries, keys and (unturned) values. */
export interface PackedTurn {
  /** What turns. */
  readonly rotary: RotaryEmbedding;
  /** [L, 3, 1, 2, D / 2] */
  readonly cosines: Tensor;
  /** [L, 3, 1, 2, D / 2] */
  readonly sines: Tensor;
}

/** Deviation of all other weights. */
export const GPT_STD = 0.02;

function mapOf(
  from: number,
  to: number,
  std: number,
  { key, device }: { readonly key: Key; readonly device?: Device },
): Linear {
  const layer = new Linear(from, to, { key, device });
  layer.registerParameter("weight", normal([to, from], { std, key: key.fold("weight"), device }));
  layer.registerParameter("bias", zeros([to], { device }));
  return layer;
}

/** Causal attention of a sequence to itself: `c_attn` gives queries, keys and values of all heads at once. */
class CausalAttention extends Module {
  readonly c_attn: Linear;
  readonly c_proj: Linear;
  readonly weightDropout: WeightDropout;
  readonly #heads: number;

  constructor({ width, heads, dropout, residualStd, key, device }: GPTBlockOptions) {
    super();
    this.#heads = heads;
    this.c_attn = mapOf(width, 3 * width, GPT_STD, { key: key.fold("c_attn"), device });
    this.c_proj = mapOf(width, width, residualStd, { key: key.fold("c_proj"), device });
    this.weightDropout = new WeightDropout(dropout, { key: key.fold("dropout") });
  }

  forward(x: Tensor, turn: PackedTurn | null): Tensor {
    const [n, length, width] = x.shape;
    let qkv = linear(x, this.c_attn.weight, this.c_attn.bias);
    if (turn) {
      const parts = qkv.reshape([n, length, 3, this.#heads, width / this.#heads]);
      qkv = turn.rotary.turn(parts, turn.cosines, turn.sines).reshape([n, length, 3 * width]);
    }
    const dropout = this.weightDropout.forward();
    const heads = packedSelfAttention(qkv, this.#heads, { causal: true, dropout });
    return this.c_proj.forward(heads);
  }
}

/** Two maps with GELU between them. */
class FeedForward extends Module {
  readonly c_fc: Linear;
  readonly c_proj: Linear;

  constructor({ width, residualStd, key, device }: GPTBlockOptions) {
    super();
    this.c_fc = mapOf(width, 4 * width, GPT_STD, { key: key.fold("c_fc"), device });
    this.c_proj = mapOf(4 * width, width, residualStd, { key: key.fold("c_proj"), device });
  }

  forward(x: Tensor): Tensor {
    return this.c_proj.forward(this.c_fc.forward(x).geluTanh());
  }
}

/** A block of a GPT: `x + attn(ln_1(x))`, then `x + mlp(ln_2(x))`. */
export class GPTBlock extends Module {
  /** Before the attention. */
  readonly ln_1: LayerNorm;
  /** The attention. */
  readonly attn: Module & { forward(x: Tensor, turn: PackedTurn | null): Tensor };
  /** Before the maps. */
  readonly ln_2: LayerNorm;
  /** The maps. */
  readonly mlp: Module & { forward(x: Tensor): Tensor };
  /** Dropout of what both parts give. */
  readonly dropouts: readonly Dropout[];

  /**
   * Draws the weights from the key.
   *
   * @param options sizes, dropout, deviation, key, device
   */
  constructor(options: GPTBlockOptions) {
    super();
    const { width, dropout, key, device } = options;
    this.ln_1 = new LayerNorm(width, { device });
    this.attn = new CausalAttention({ ...options, key: key.fold("attn") });
    this.ln_2 = new LayerNorm(width, { device });
    this.mlp = new FeedForward({ ...options, key: key.fold("mlp") });
    this.dropouts = ["dropout1", "dropout2"].map((name) =>
      new Dropout(dropout, { key: key.fold(name) })
    );
  }

  /**
   * Applies the block.
   *
   * @param x [N, L, width]
   * @param turn how queries and keys are turned, or null
   * @returns [N, L, width]
   */
  forward(x: Tensor, turn: PackedTurn | null = null): Tensor {
    const [first, second] = this.dropouts;
    const attended = x.add(first.forward(this.attn.forward(this.ln_1.forward(x), turn)));
    return attended.add(second.forward(this.mlp.forward(this.ln_2.forward(attended))));
  }
}
