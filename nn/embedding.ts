/** The table of vectors. */

import { embedding, nextKey, noGrad, type Tensor } from "../core/mod.ts";
import { checkInteger } from "./checks.ts";
import { type InitOptions, normal } from "./init.ts";
import { Module } from "./module.ts";

/** How an embedding is made. */
export interface EmbeddingLayerOptions extends InitOptions {
  /**
   * Row that stands for "nothing": it starts at 0 and gets no gradient; negative ones count from
   * the end.
   * @default {none}
   */
  readonly paddingIdx?: number;
}

/**
 * Rows of a table by index: `y[i] = weight[x[i]]`.
 *
 * Parameter: `weight` [numEmbeddings, embeddingDim], standard normal, as torch.nn.Embedding.
 *
 * @example
 * ```ts
 * import { Embedding } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const words = new Embedding(100, 8, { paddingIdx: 0, device });
 * const y = words.forward(tensor([[5, 0], [7, 5]], { dtype: "i32", device }));
 * assertEquals(y.shape, [2, 2, 8]);
 * assertEquals(await y.slice(0, 1).array(), new Array(8).fill(0));
 * ```
 */
export class Embedding extends Module {
  /** Number of rows. */
  readonly numEmbeddings: number;
  /** Length of a row. */
  readonly embeddingDim: number;
  /** Row that stands for nothing, counted from the start, or null. */
  readonly paddingIdx: number | null;
  /** [numEmbeddings, embeddingDim] */
  readonly weight: Tensor;

  /**
   * Draws the table from the key.
   *
   * @param numEmbeddings number of rows, at least 0
   * @param embeddingDim length of a row, at least 0
   * @param options paddingIdx, key, device
   * @throws {RangeError} if a size is no integer of at least 0, or there is no row paddingIdx
   */
  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingLayerOptions = {}) {
    super();
    const { paddingIdx, key = nextKey(), device } = options;
    this.numEmbeddings = checkInteger("Embedding", "numEmbeddings", numEmbeddings, 0);
    this.embeddingDim = checkInteger("Embedding", "embeddingDim", embeddingDim, 0);
    this.paddingIdx = paddingIdx === undefined ? null : rowOf(paddingIdx, numEmbeddings);
    const weight = normal([numEmbeddings, embeddingDim], { key: key.fold("weight"), device });
    this.weight = this.registerParameter("weight", weight);
    if (this.paddingIdx !== null) clearRow(weight, this.paddingIdx);
  }

  /**
   * Looks rows up.
   *
   * @param x [...] i32 or u32, each from 0 to numEmbeddings - 1
   * @returns [..., embeddingDim] f32
   * @throws {DTypeError} if the indices are no integers
   */
  forward(x: Tensor): Tensor {
    return embedding(this.weight, x, { paddingIdx: this.paddingIdx ?? undefined });
  }
}

function clearRow(weight: Tensor, index: number): void {
  using _ = noGrad();
  using row = weight.select(0, index);
  row.fill_(0);
}

function rowOf(index: number, rows: number): number {
  if (!Number.isInteger(index) || index < -rows || index >= rows) {
    throw new RangeError(
      `Cannot make Embedding with paddingIdx ${index}: expected an integer from ${-rows} to ${
        rows - 1
      }`,
    );
  }
  return index < 0 ? index + rows : index;
}
