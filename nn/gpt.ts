/** A language model: the transformer of GPT-2. */

import {
  type Device,
  DTypeError,
  type Key,
  linear,
  nextKey,
  noGrad,
  ShapeError,
  showShape,
  type Tensor,
} from "../core/mod.ts";
import { checkHeads } from "./attention.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Dropout } from "./dropout.ts";
import { Embedding } from "./embedding.ts";
import { type GenerateOptions, generateTokens } from "./gpt_generate.ts";
import { GPT_STD, GPTBlock, type PackedTurn } from "./gpt_block.ts";
import { normal } from "./init.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./norm.ts";
import { LearnedPositions, RotaryEmbedding } from "./positions.ts";

/** How a GPT is made. */
export interface GPTOptions {
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
  /** Learnt vectors that are added to the embeddings, or queries and keys that are turned. @default {"learned"} */
  readonly positions?: "learned" | "rotary";
  /** Whether the last map has the weight of the embedding. @default {true} */
  readonly tieWeights?: boolean;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/**
 * A model that gives, for every token of a sequence, the logits of the next one, from that token and
 * those before it.
 *
 * Token and position embeddings, blocks of causal attention and two maps (4 × width, GELU in its
 * tanh form) with normalisations before both, a last normalisation, and a map to the tokens without
 * bias. Parameters by key: `wte.weight` [vocabSize, width], `wpe.weight` [contextLength, width]
 * (learned positions only), of each block `h.0.ln_1.*`, `h.0.attn.c_attn.*` [3 · width, width],
 * `h.0.attn.c_proj.*`, `h.0.ln_2.*`, `h.0.mlp.c_fc.*`, `h.0.mlp.c_proj.*`, then `ln_f.*` and
 * `lm_head.weight` (the same tensor as `wte.weight` where tied). These are GPT-2's names; weights
 * are [out, in] as in torch.nn.Linear, where GPT-2's files have them transposed.
 *
 * Weights start normal with deviation 0.02, those that end a block's part with 0.02 / √(2 · layers),
 * biases with 0. Radford et al., "Language models are unsupervised multitask learners", 2019; rotary
 * positions: see RotaryEmbedding.
 *
 * @example
 * ```ts
 * import { crossEntropy, GPT } from "@legoml/legoml/nn";
 * import { Key, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const sizes = { vocabSize: 10, contextLength: 8, layers: 2, heads: 2, width: 16 };
 * const model = new GPT({ ...sizes, key: new Key(0), device });
 * const tokens = tensor([[1, 2, 3, 4]], { dtype: "i32", device });
 * const logits = model.forward(tokens);
 * assertEquals(logits.shape, [1, 4, 10]);
 * crossEntropy(logits.reshape([4, 10]), tensor([2, 3, 4, 5], { dtype: "i32", device })).backward();
 *
 * const text = await model.generate(tokens, { maxNewTokens: 3, key: new Key(1) });
 * assertEquals(text.shape, [1, 7]);
 * ```
 */
export class GPT extends Module {
  /** Number of tokens that there are. */
  readonly vocabSize: number;
  /** Tokens of a sequence at most. */
  readonly contextLength: number;
  /** Embedding of tokens. */
  readonly wte: Embedding;
  /** Embedding of positions, or null where queries and keys are turned. */
  readonly wpe: LearnedPositions | null;
  /** Dropout of the embeddings. */
  readonly dropout: Dropout;
  /** The blocks in their order. */
  readonly h: readonly GPTBlock[];
  /** Normalises what the last block gives. */
  readonly ln_f: LayerNorm;
  /** The map to the tokens. */
  readonly lm_head: Linear;
  /** Turns queries and keys, or null. */
  readonly rotary: RotaryEmbedding | null;
  /** [contextLength, 3, 1, 2, D / 2]: what turns queries and keys and leaves values; or null */
  readonly cosines: Tensor | null = null;
  /** Accordingly. */
  readonly sines: Tensor | null = null;

  /**
   * Draws the weights from the key.
   *
   * @param options sizes, dropout, positions, tieWeights, key, device
   * @throws {RangeError} if a size is no integer of at least 1, the heads do not divide the width,
   * dropout is no probability, or rotary positions are asked for with heads of an odd width
   */
  constructor(options: GPTOptions) {
    super();
    const { vocabSize, contextLength, layers = 4, heads = 4, width = 128, dropout = 0 } = options;
    const { positions = "learned", tieWeights = true, key = nextKey(), device } = options;
    this.vocabSize = checkInteger("GPT", "vocabSize", vocabSize, 1);
    this.contextLength = checkInteger("GPT", "contextLength", contextLength, 1);
    checkInteger("GPT", "layers", layers, 1);
    checkInteger("GPT", "width", width, 1);
    checkHeads("GPT", "width", width, heads);
    checkNumber("GPT", "dropout", dropout, [0, 1]);
    if (positions !== "learned" && positions !== "rotary") {
      throw new RangeError(
        `Cannot make GPT with positions "${positions}": expected learned or rotary`,
      );
    }
    const started = (name: string, shape: readonly number[]) =>
      normal(shape, { std: GPT_STD, key: key.fold(name), device });
    this.wte = new Embedding(vocabSize, width, { key: key.fold("wte"), device });
    this.wte.registerParameter("weight", started("wte.weight", [vocabSize, width]));
    const learned = { key: key.fold("wpe"), device };
    this.wpe = positions === "learned" ? new LearnedPositions(contextLength, width, learned) : null;
    this.dropout = new Dropout(dropout, { key: key.fold("dropout") });
    const residualStd = GPT_STD / Math.sqrt(2 * layers);
    this.h = Array.from(
      { length: layers },
      (_, i) =>
        new GPTBlock({ width, heads, dropout, residualStd, key: key.fold(`h.${i}`), device }),
    );
    this.ln_f = new LayerNorm(width, { device });
    this.lm_head = new Linear(width, vocabSize, { bias: false, key: key.fold("lm_head"), device });
    const last = tieWeights ? this.wte.weight : started("lm_head.weight", [vocabSize, width]);
    this.lm_head.registerParameter("weight", last);
    this.rotary = positions === "rotary"
      ? new RotaryEmbedding(width / heads, contextLength, { device })
      : null;
    if (this.rotary) this.#registerTables(this.rotary);
  }

  /** Values are turned by an angle of 0. */
  #registerTables({ cosines, sines, dim }: RotaryEmbedding): void {
    using _ = noGrad();
    const shape = [this.contextLength, 3, 1, 2, dim / 2];
    const both = (t: Tensor, value: number) => {
      const table = t.unsqueeze(1).unsqueeze(1).expand(shape).contiguous();
      table.narrow(1, 2, 1).fill_(value);
      return table;
    };
    const register = (name: string, table: Tensor) =>
      this.registerBuffer(name, table, { persistent: false });
    register("cosines", both(cosines, 1));
    register("sines", both(sines, 0));
  }

  /**
   * Gives the logits of the tokens that follow.
   *
   * @param tokens [N, L] i32 or u32, each from 0 to vocabSize − 1, L from 1 to contextLength
   * @returns [N, L, vocabSize]
   * @throws {ShapeError} if there are not two axes
   * @throws {RangeError} if a sequence is longer than the context
   * @throws {DTypeError} if the tokens are no integers
   */
  forward(tokens: Tensor): Tensor {
    return this.logits(this.hidden(tokens));
  }

  /**
   * Gives what the last map is applied to.
   *
   * @param tokens as forward()
   * @returns [N, L, width], normalised
   */
  hidden(tokens: Tensor): Tensor {
    this.#check(tokens);
    const length = tokens.shape[1];
    const embedded = this.wte.forward(tokens);
    const placed = this.wpe ? this.wpe.forward(embedded) : embedded;
    const turn = this.#turn(length);
    const start = this.dropout.forward(placed);
    return this.ln_f.forward(this.h.reduce((x, block) => block.forward(x, turn), start));
  }

  /**
   * The last map.
   *
   * @param hidden [..., width], from hidden()
   * @returns [..., vocabSize]
   */
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.lm_head.weight);
  }

  /**
   * Continues sequences token by token; works in evaluation mode, and restores the mode.
   *
   * Once a sequence is longer than the context, the oldest tokens are forgotten. Equal keys draw
   * equal tokens, each row independently of the others. The cost of a token is a pass over the
   * sequence, filled up to a power of two (so that few kernels are made), and one read.
   *
   * @param tokens [N, L] i32 or u32, what the sequences begin with, L at least 1
   * @param options maxNewTokens, temperature, topK, key, onToken
   * @returns [N, L + maxNewTokens] i32, on the device of the tokens
   * @throws {RangeError} if a number is out of its range
   * @throws {ShapeError} if there are not two axes, or no tokens
   */
  generate(tokens: Tensor, options: GenerateOptions): Promise<Tensor> {
    return generateTokens(this, tokens, options);
  }

  #turn(length: number): PackedTurn | null {
    const { rotary, cosines, sines } = this;
    if (!rotary || !cosines || !sines) return null;
    return { rotary, cosines: cosines.narrow(0, 0, length), sines: sines.narrow(0, 0, length) };
  }

  #check(tokens: Tensor): void {
    if (tokens.dtype !== "i32" && tokens.dtype !== "u32") {
      throw new DTypeError(`Cannot apply GPT to ${tokens.dtype}: expected tokens as i32 or u32`);
    }
    if (tokens.ndim !== 2) {
      throw new ShapeError(`Cannot apply GPT to ${showShape(tokens.shape)}: expected [N, L]`);
    }
    if (tokens.shape[1] > this.contextLength) {
      throw new RangeError(
        `Cannot apply GPT to sequences of ${tokens.shape[1]} tokens: expected at most ` +
          `${this.contextLength}, the length of its context`,
      );
    }
  }
}
