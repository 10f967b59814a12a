/** Recurrent layers over sequences. */

import {
  concat,
  type Device,
  type Key,
  linear,
  nextKey,
  ShapeError,
  showShape,
  type Tensor,
  uniform,
  zeros,
} from "../core/mod.ts";
import { type CellKind, gateCount, recurrent } from "../core/tensor/recurrent.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Dropout } from "./dropout.ts";
import { Module } from "./module.ts";

/** How a recurrent layer is made. */
export interface RecurrentOptions {
  /** Layers above each other, at least 1. @default {1} */
  readonly numLayers?: number;
  /** Whether biases are added. @default {true} */
  readonly bias?: boolean;
  /** Whether sequences are [N, T, ...] instead of [T, N, ...]. @default {false} */
  readonly batchFirst?: boolean;
  /** Probability with which outputs of all layers but the last are dropped. @default {0} */
  readonly dropout?: number;
  /** Whether a second pass goes backwards through the sequence. @default {false} */
  readonly bidirectional?: boolean;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** How a plain recurrent layer is made. */
export interface RNNOptions extends RecurrentOptions {
  /** What is applied to the sums. @default {"tanh"} */
  readonly nonlinearity?: "tanh" | "relu";
}

/** Outputs of all steps, and the state after the last one. */
export type RecurrentOutput = readonly [output: Tensor, hN: Tensor];

/** State and cell of an LSTM. */
export type LSTMState = readonly [h: Tensor, c: Tensor];

/** Outputs of all steps, and state and cell after the last one. */
export type LSTMOutput = readonly [output: Tensor, state: LSTMState];

/** The parameters of one pass of one layer. */
interface Direction {
  readonly reverse: boolean;
  readonly suffix: string;
}

/** What recurrent layers share: the parameters, and the passes through their layers. */
export abstract class Recurrent extends Module {
  /** Size of the last axis of the input. */
  readonly inputSize: number;
  /** Size of the state. */
  readonly hiddenSize: number;
  /** Layers above each other. */
  readonly numLayers: number;
  /** Whether biases are added. */
  readonly bias: boolean;
  /** Whether sequences are [N, T, ...]. */
  readonly batchFirst: boolean;
  /** Probability with which outputs between layers are dropped. */
  readonly dropout: number;
  /** Whether a second pass goes backwards through the sequence. */
  readonly bidirectional: boolean;
  /** What drops outputs: one for each layer but the last; none where nothing is dropped. */
  readonly dropouts: readonly Dropout[];
  readonly #kind: CellKind;

  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state, at least 1
   * @param options numLayers, bias, batchFirst, dropout, bidirectional, key, device
   * @param kind what a step computes
   * @throws {RangeError} if a number is out of its range, or projSize is asked for
   */
  constructor(
    inputSize: number,
    hiddenSize: number,
    options: RecurrentOptions,
    kind: "tanh" | "relu" | "lstm" | "gru",
  ) {
    super();
    const owner = new.target.name;
    const { numLayers = 1, dropout = 0, key = nextKey(), device } = options;
    if ((options as { projSize?: number }).projSize) {
      throw new RangeError(`Cannot make ${owner} with projSize: projections are not supported`);
    }
    this.inputSize = checkInteger(owner, "inputSize", inputSize, 1);
    this.hiddenSize = checkInteger(owner, "hiddenSize", hiddenSize, 1);
    this.numLayers = checkInteger(owner, "numLayers", numLayers, 1);
    this.dropout = checkNumber(owner, "dropout", dropout, [0, 1]);
    this.bias = options.bias ?? true;
    this.batchFirst = options.batchFirst ?? false;
    this.bidirectional = options.bidirectional ?? false;
    this.#kind = kind;
    this.dropouts = Array.from(
      { length: dropout > 0 ? numLayers - 1 : 0 },
      (_, layer) => new Dropout(dropout, { key: key.fold(`dropout${layer}`) }),
    );
    const rows = gateCount[kind] * hiddenSize;
    const bound = 1 / Math.sqrt(hiddenSize);
    const draw = (name: string, shape: readonly number[]) => {
      const start = { low: -bound, high: bound, key: key.fold(name), device };
      this.registerParameter(name, uniform(shape, start));
    };
    for (let layer = 0; layer < numLayers; layer++) {
      const size = layer === 0 ? inputSize : hiddenSize * this.#directions(0).length;
      for (const { suffix } of this.#directions(layer)) {
        draw(`weight_ih_${suffix}`, [rows, size]);
        draw(`weight_hh_${suffix}`, [rows, hiddenSize]);
        if (!this.bias) continue;
        draw(`bias_ih_${suffix}`, [rows]);
        draw(`bias_hh_${suffix}`, [rows]);
      }
    }
  }

  #directions(layer: number): Direction[] {
    const forwards = { reverse: false, suffix: `l${layer}` };
    return this.bidirectional
      ? [forwards, { reverse: true, suffix: `l${layer}_reverse` }]
      : [forwards];
  }

  #parameter(name: string): Tensor {
    return (this as unknown as Record<string, Tensor>)[name];
  }

  /**
   * Runs all layers.
   *
   * @param x [T, N, inputSize], [N, T, inputSize] with batchFirst, or [T, inputSize]
   * @param h0 states before the first step, or undefined for zeros
   * @param c0 cells before the first step, or undefined for zeros
   * @returns the outputs, the states after the last step, and the cells of an LSTM
   * @throws {ShapeError} if the sizes do not fit
   */
  protected run(x: Tensor, h0?: Tensor, c0?: Tensor): [Tensor, Tensor, Tensor | null] {
    const { batchFirst, hiddenSize } = this;
    const batched = x.ndim === 3;
    const batch = batched ? x.shape[batchFirst ? 0 : 1] : 1;
    const length = x.shape[batched && batchFirst ? 1 : 0];
    if ((!batched && x.ndim !== 2) || x.shape.at(-1) !== this.inputSize || length === 0) {
      throw new ShapeError(
        `Cannot apply ${this.constructor.name} to ${showShape(x.shape)}: expected ${
          batchFirst ? `[N, T, ${this.inputSize}]` : `[T, N, ${this.inputSize}]`
        } or [T, ${this.inputSize}] with at least one step`,
      );
    }
    const count = this.numLayers * this.#directions(0).length;
    const shape = batched ? [count, batch, hiddenSize] : [count, hiddenSize];
    const lstm = this.#kind === "lstm";
    const first = [this.#start("h0", h0, shape, x), lstm ? this.#start("c0", c0, shape, x) : null]
      .map((t) => t && t.to("f32").reshape([count, batch, hiddenSize]));
    // Layers work on [T, N, ...]; of [N, T, ...] that is a view.
    const steps = !batched ? x.unsqueeze(1) : batchFirst ? x.transpose(0, 1) : x;
    const [output, last] = this.#layers(steps, first[0]!, first[1]);
    const [hN, cN] = lstm ? [0, 1].map((n) => stateOf(last, n)) : [stateOf(last, 0), null];
    const shaped = !batched ? output.squeeze(1) : batchFirst ? output.transpose(0, 1) : output;
    return [
      shaped.to(x.dtype),
      hN.reshape(shape).to(x.dtype),
      cN && cN.reshape(shape).to(x.dtype),
    ];
  }

  /** Output [T, N, D·H] of the last layer, and the last states [S, N, H] of all passes. */
  #layers(x: Tensor, h0: Tensor, c0: Tensor | null): [Tensor, Tensor[]] {
    const last: Tensor[] = [];
    let value = x;
    for (let layer = 0; layer < this.numLayers; layer++) {
      const passes = this.#directions(layer).map((direction) => {
        const at = last.length;
        const states = this.#pass(value, direction, h0.select(0, at), c0 && c0.select(0, at));
        last.push(states.select(0, direction.reverse ? 0 : -1));
        return states.select(1, 0);
      });
      value = passes.length === 1 ? passes[0] : concat(passes, 2);
      value = this.dropouts[layer]?.forward(value) ?? value;
    }
    return [value, last];
  }

  /** All states [T, S, N, H] of one pass. */
  #pass(x: Tensor, { reverse, suffix }: Direction, h: Tensor, c: Tensor | null): Tensor {
    const kind = this.#kind;
    const [ih, hh] = ["ih", "hh"].map((part) =>
      this.bias ? this.#parameter(`bias_${part}_${suffix}`) : null
    );
    // Only the candidate of a GRU has its product multiplied before it is added.
    const apart = kind === "gru";
    const bias = apart || ih === null || hh === null ? ih : ih.add(hh);
    const gates = linear(x, this.#parameter(`weight_ih_${suffix}`), bias);
    return recurrent({
      kind,
      gates: gates.to("f32"),
      weight: this.#parameter(`weight_hh_${suffix}`).to("f32"),
      bias: apart && hh !== null ? hh.to("f32") : null,
      h,
      c,
      reverse,
    });
  }

  #start(name: string, given: Tensor | undefined, shape: readonly number[], x: Tensor): Tensor {
    if (given === undefined) return zeros(shape, { device: x.device });
    if (String(given.shape) === String(shape)) return given;
    throw new ShapeError(
      `Cannot apply ${this.constructor.name} with ${name} ${showShape(given.shape)}: expected ${
        showShape(shape)
      } for an input of ${showShape(x.shape)}`,
    );
  }
}

/** The states, or the cells, of all passes. */
function stateOf(last: readonly Tensor[], place: number): Tensor {
  return concat(last.map((t) => t.narrow(0, place, 1)), 0);
}

/**
 * Plain recurrent layer: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)` for each step, or with a
 * rectifier. As torch.nn.RNN; Elman, "Finding structure in time", 1990.
 *
 * Parameters for layer k: `weight_ih_lk` [H, inputs], `weight_hh_lk` [H, H], `bias_ih_lk` and
 * `bias_hh_lk` [H], with `_reverse` behind them for the pass backwards; all uniform in ±1/√H. All
 * inputs are multiplied at once; in autocast("f16") that product alone is in f16. All sequences of a
 * batch have the same length.
 *
 * @example
 * ```ts
 * import { RNN } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new RNN(3, 4, { numLayers: 2, bidirectional: true, device });
 * const [output, hN] = layer.forward(zeros([7, 5, 3], { device }));
 * assertEquals([output.shape, hN.shape], [[7, 5, 8], [4, 5, 4]]);
 * ```
 */
export class RNN extends Recurrent {
  /** What is applied to the sums. */
  readonly nonlinearity: "tanh" | "relu";

  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state H, at least 1
   * @param options nonlinearity, numLayers, bias, batchFirst, dropout, bidirectional, key, device
   * @throws {RangeError} if an option is out of its range
   */
  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    const { nonlinearity = "tanh" } = options;
    if (nonlinearity !== "tanh" && nonlinearity !== "relu") {
      throw new RangeError(
        `Cannot make RNN with nonlinearity "${nonlinearity}": expected tanh or relu`,
      );
    }
    super(inputSize, hiddenSize, options, nonlinearity);
    this.nonlinearity = nonlinearity;
  }

  /**
   * Goes through sequences.
   *
   * @param x [T, N, inputSize], [N, T, inputSize] with batchFirst, or [T, inputSize]; f32 or f16
   * @param h0 states before the first step [layers · directions, N, H]; zeros by default
   * @returns output [T, N, directions · H] in the order of axes of x, and the states after the last
   * step, of the shape of h0
   * @throws {ShapeError} if the sizes do not fit
   */
  forward(x: Tensor, h0?: Tensor): RecurrentOutput {
    const [output, hN] = this.run(x, h0);
    return [output, hN];
  }
}

/**
 * Gated recurrent unit: `h' = (1 − z)·n + z·h` with the gates r and z, and the candidate
 * `n = tanh(W_in x + b_in + r·(W_hn h + b_hn))`. As torch.nn.GRU; Cho et al., "Learning phrase
 * representations using RNN encoder-decoder", 2014.
 *
 * Parameters as those of `RNN`, with the rows of r, z and n behind each other [3·H, …].
 *
 * @example
 * ```ts
 * import { GRU } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new GRU(3, 4, { batchFirst: true, device });
 * const [output, hN] = layer.forward(zeros([5, 7, 3], { device }));
 * assertEquals([output.shape, hN.shape], [[5, 7, 4], [1, 5, 4]]);
 * ```
 */
export class GRU extends Recurrent {
  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state H, at least 1
   * @param options numLayers, bias, batchFirst, dropout, bidirectional, key, device
   * @throws {RangeError} if an option is out of its range
   */
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, "gru");
  }

  /**
   * Goes through sequences.
   *
   * @param x [T, N, inputSize], [N, T, inputSize] with batchFirst, or [T, inputSize]; f32 or f16
   * @param h0 states before the first step [layers · directions, N, H]; zeros by default
   * @returns output [T, N, directions · H] in the order of axes of x, and the states after the last
   * step, of the shape of h0
   * @throws {ShapeError} if the sizes do not fit
   */
  forward(x: Tensor, h0?: Tensor): RecurrentOutput {
    const [output, hN] = this.run(x, h0);
    return [output, hN];
  }
}

/**
 * Long short-term memory: `c' = f·c + i·g` and `h' = o·tanh(c')` with the gates i, f, o and the
 * candidate g. As torch.nn.LSTM without projections; Hochreiter & Schmidhuber, "Long short-term
 * memory", 1997.
 *
 * Parameters as those of `RNN`, with the rows of i, f, g and o behind each other [4·H, …].
 *
 * @example
 * ```ts
 * import { LSTM } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const layer = new LSTM(3, 4, { device });
 * const [output, [hN, cN]] = layer.forward(zeros([7, 5, 3], { device }));
 * assertEquals([output.shape, hN.shape, cN.shape], [[7, 5, 4], [1, 5, 4], [1, 5, 4]]);
 * assertEquals(Object.keys(layer.stateDict()), [
 *   "weight_ih_l0",
 *   "weight_hh_l0",
 *   "bias_ih_l0",
 *   "bias_hh_l0",
 * ]);
 * ```
 */
export class LSTM extends Recurrent {
  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state H, at least 1
   * @param options numLayers, bias, batchFirst, dropout, bidirectional, key, device
   * @throws {RangeError} if an option is out of its range
   */
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, "lstm");
  }

  /**
   * Goes through sequences.
   *
   * @param x [T, N, inputSize], [N, T, inputSize] with batchFirst, or [T, inputSize]; f32 or f16
   * @param state states and cells before the first step, each [layers · directions, N, H]; zeros by
   * default
   * @returns output [T, N, directions · H] in the order of axes of x, and states and cells after the
   * last step
   * @throws {ShapeError} if the sizes do not fit
   */
  forward(x: Tensor, state?: LSTMState): LSTMOutput {
    const [output, hN, cN] = this.run(x, state?.[0], state?.[1]);
    return [output, [hN, cN!]];
  }
}
