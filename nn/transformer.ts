/** Stacks of layers of transformers. */

import type { Tensor } from "../core/mod.ts";
import { checkInteger } from "./checks.ts";
import { Module } from "./module.ts";
import type { LayerNorm } from "./norm.ts";
import type {
  DecoderMasks,
  EncoderMasks,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
} from "./transformer_layers.ts";

/** What a stack of layers has behind its last one. */
export interface StackOptions {
  /** Normalises what the last layer gives. @default {none} */
  readonly norm?: LayerNorm | null;
}

function layersOf<L extends Module>(
  owner: string,
  count: number,
  make: (index: number) => L,
): L[] {
  checkInteger(owner, "numLayers", count, 0);
  return Array.from({ length: count }, (_, i) => make(i));
}

/**
 * Encoder layers in turn, and a normalisation behind them.
 *
 * Keys, as torch.nn.TransformerEncoder: `layers.0.*`, `layers.1.*`, …, `norm.*`. PyTorch copies one
 * layer, so that all start alike; here each is made by itself.
 *
 * @example
 * ```ts
 * import { LayerNorm, TransformerEncoder, TransformerEncoderLayer } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const options = { dimFeedforward: 16, batchFirst: true, device };
 * const encoder = new TransformerEncoder(
 *   2,
 *   () => new TransformerEncoderLayer(8, 2, options),
 *   { norm: new LayerNorm(8, { device }) },
 * );
 * assertEquals(encoder.forward(zeros([3, 5, 8], { device }), { isCausal: true }).shape, [3, 5, 8]);
 * ```
 */
export class TransformerEncoder extends Module {
  /** The layers in their order. */
  readonly layers: readonly TransformerEncoderLayer[];
  /** What is behind them, or null. */
  readonly norm: LayerNorm | null;

  /**
   * Makes the layers.
   *
   * @param numLayers number of layers, at least 0
   * @param layer makes the layer of a number
   * @param options norm
   * @throws {RangeError} if the number is no integer of at least 0
   */
  constructor(
    numLayers: number,
    layer: (index: number) => TransformerEncoderLayer,
    options: StackOptions = {},
  ) {
    super();
    this.layers = layersOf("TransformerEncoder", numLayers, layer);
    this.norm = options.norm ?? null;
  }

  /**
   * Applies the layers.
   *
   * @param src [L, N, dModel], or [N, L, dModel] with batchFirst
   * @param masks handed to every layer
   * @returns the same shape
   * @throws {ShapeError} if a size or mask does not fit
   */
  forward(src: Tensor, masks: EncoderMasks = {}): Tensor {
    const out = this.layers.reduce((x, layer) => layer.forward(x, masks), src);
    return this.norm ? this.norm.forward(out) : out;
  }
}

/**
 * Decoder layers in turn, and a normalisation behind them.
 *
 * Keys, as torch.nn.TransformerDecoder: `layers.0.*`, `layers.1.*`, …, `norm.*`. PyTorch copies one
 * layer, so that all start alike; here each is made by itself.
 *
 * @example
 * ```ts
 * import { TransformerDecoder, TransformerDecoderLayer } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const options = { dimFeedforward: 16, batchFirst: true, device };
 * const decoder = new TransformerDecoder(2, () => new TransformerDecoderLayer(8, 2, options));
 * const [target, memory] = [zeros([3, 5, 8], { device }), zeros([3, 7, 8], { device })];
 * assertEquals(decoder.forward(target, memory).shape, [3, 5, 8]);
 * ```
 */
export class TransformerDecoder extends Module {
  /** The layers in their order. */
  readonly layers: readonly TransformerDecoderLayer[];
  /** What is behind them, or null. */
  readonly norm: LayerNorm | null;

  /**
   * Makes the layers.
   *
   * @param numLayers number of layers, at least 0
   * @param layer makes the layer of a number
   * @param options norm
   * @throws {RangeError} if the number is no integer of at least 0
   */
  constructor(
    numLayers: number,
    layer: (index: number) => TransformerDecoderLayer,
    options: StackOptions = {},
  ) {
    super();
    this.layers = layersOf("TransformerDecoder", numLayers, layer);
    this.norm = options.norm ?? null;
  }

  /**
   * Applies the layers.
   *
   * @param tgt [T, N, dModel], or [N, T, dModel] with batchFirst
   * @param memory [S, N, dModel], or [N, S, dModel]
   * @param masks handed to every layer
   * @returns the shape of the target
   * @throws {ShapeError} if a size or mask does not fit
   */
  forward(tgt: Tensor, memory: Tensor, masks: DecoderMasks = {}): Tensor {
    const out = this.layers.reduce((x, layer) => layer.forward(x, memory, masks), tgt);
    return this.norm ? this.norm.forward(out) : out;
  }
}
