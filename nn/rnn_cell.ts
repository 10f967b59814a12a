/** Single steps of recurrent layers. */

import {
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
import { type CellKind, gateCount, recurrentStep } from "../core/tensor/recurrent.ts";
import { checkInteger } from "./checks.ts";
import { Module } from "./module.ts";
import type { LSTMState } from "./rnn.ts";

/** How a recurrent cell is made. */
export interface CellOptions {
  /** Whether biases are added. @default {true} */
  readonly bias?: boolean;
  /** Names the random numbers. @default {the next key of the default stream} */
  readonly key?: Key;
  /** Where the parameters live. @default {the default device} */
  readonly device?: Device;
}

/** How a plain recurrent cell is made. */
export interface RNNCellOptions extends CellOptions {
  /** What is applied to the sum. @default {"tanh"} */
  readonly nonlinearity?: "tanh" | "relu";
}

/** What recurrent cells share: the parameters, and the products of a step. */
export abstract class RecurrentCell extends Module {
  /** Size of the last axis of the input. */
  readonly inputSize: number;
  /** Size of the state. */
  readonly hiddenSize: number;
  /** [gates · hiddenSize, inputSize] */
  readonly weight_ih: Tensor;
  /** [gates · hiddenSize, hiddenSize] */
  readonly weight_hh: Tensor;
  /** [gates · hiddenSize], or null */
  readonly bias_ih: Tensor | null = null;
  /** [gates · hiddenSize], or null */
  readonly bias_hh: Tensor | null = null;
  readonly #kind: CellKind;

  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state, at least 1
   * @param options bias, key, device
   * @param kind what the step computes
   * @throws {RangeError} if a size is out of its range
   */
  constructor(
    inputSize: number,
    hiddenSize: number,
    options: CellOptions,
    kind: "tanh" | "relu" | "lstm" | "gru",
  ) {
    super();
    const { bias = true, key = nextKey(), device } = options;
    this.inputSize = checkInteger(new.target.name, "inputSize", inputSize, 1);
    this.hiddenSize = checkInteger(new.target.name, "hiddenSize", hiddenSize, 1);
    this.#kind = kind;
    const rows = gateCount[kind] * hiddenSize;
    const bound = 1 / Math.sqrt(hiddenSize);
    const draw = (name: string, shape: readonly number[]) => {
      const start = { low: -bound, high: bound, key: key.fold(name), device };
      return this.registerParameter(name, uniform(shape, start));
    };
    this.weight_ih = draw("weight_ih", [rows, inputSize]);
    this.weight_hh = draw("weight_hh", [rows, hiddenSize]);
    if (!bias) return;
    this.bias_ih = draw("bias_ih", [rows]);
    this.bias_hh = draw("bias_hh", [rows]);
  }

  /**
   * Runs one step.
   *
   * @param x [N, inputSize] or [inputSize]
   * @param h state before, or undefined for zeros
   * @param c cell before, or undefined for zeros
   * @returns the state, and the cell of an LSTM
   * @throws {ShapeError} if the sizes do not fit
   */
  protected run(x: Tensor, h?: Tensor, c?: Tensor): [Tensor, Tensor | null] {
    if ((x.ndim !== 1 && x.ndim !== 2) || x.shape.at(-1) !== this.inputSize) {
      throw new ShapeError(
        `Cannot apply ${this.constructor.name} to ${
          showShape(x.shape)
        }: expected [N, ${this.inputSize}] or [${this.inputSize}]`,
      );
    }
    const state = this.#start("h", h, x);
    const cell = this.#kind === "lstm" ? this.#start("c", c, x) : null;
    const [next, nextCell] = recurrentStep(this.#kind, {
      x: linear(x, this.weight_ih, this.bias_ih),
      y: linear(state, this.weight_hh, this.bias_hh),
      h: state,
      c: cell,
    });
    return [next.to(x.dtype), nextCell && nextCell.to(x.dtype)];
  }

  #start(name: string, given: Tensor | undefined, x: Tensor): Tensor {
    const shape = [...x.shape.slice(0, -1), this.hiddenSize];
    if (given === undefined) return zeros(shape, { device: x.device });
    if (String(given.shape) === String(shape)) return given;
    throw new ShapeError(
      `Cannot apply ${this.constructor.name} with ${name} ${showShape(given.shape)}: expected ${
        showShape(shape)
      } for an input of ${showShape(x.shape)}`,
    );
  }
}

/**
 * One step of `RNN`: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or with a rectifier. As
 * torch.nn.RNNCell.
 *
 * Parameters: `weight_ih` [H, inputs], `weight_hh` [H, H], `bias_ih` and `bias_hh` [H], uniform in
 * ±1/√H.
 *
 * @example
 * ```ts
 * import { RNNCell } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const cell = new RNNCell(3, 4, { device });
 * let h = cell.forward(zeros([2, 3], { device }));
 * h = cell.forward(zeros([2, 3], { device }), h);
 * assertEquals(h.shape, [2, 4]);
 * ```
 */
export class RNNCell extends RecurrentCell {
  /** What is applied to the sum. */
  readonly nonlinearity: "tanh" | "relu";

  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state H, at least 1
   * @param options nonlinearity, bias, key, device
   * @throws {RangeError} if an option is out of its range
   */
  constructor(inputSize: number, hiddenSize: number, options: RNNCellOptions = {}) {
    const { nonlinearity = "tanh" } = options;
    if (nonlinearity !== "tanh" && nonlinearity !== "relu") {
      throw new RangeError(
        `Cannot make RNNCell with nonlinearity "${nonlinearity}": expected tanh or relu`,
      );
    }
    super(inputSize, hiddenSize, options, nonlinearity);
    this.nonlinearity = nonlinearity;
  }

  /**
   * Runs one step.
   *
   * @param x [N, inputSize] or [inputSize], f32 or f16
   * @param h the state before [N, H] or [H]; zeros by default
   * @returns the state behind, of the shape of h and the dtype of x
   * @throws {ShapeError} if the sizes do not fit
   */
  forward(x: Tensor, h?: Tensor): Tensor {
    return this.run(x, h)[0];
  }
}

/**
 * One step of `GRU`. As torch.nn.GRUCell.
 *
 * Parameters as those of `RNNCell`, with the rows of the gates r, z and of the candidate behind each
 * other [3·H, …].
 *
 * @example
 * ```ts
 * import { GRUCell } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const cell = new GRUCell(3, 4, { device });
 * assertEquals(cell.forward(zeros([2, 3], { device })).shape, [2, 4]);
 * ```
 */
export class GRUCell extends RecurrentCell {
  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state H, at least 1
   * @param options bias, key, device
   * @throws {RangeError} if a size is out of its range
   */
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, options, "gru");
  }

  /**
   * Runs one step.
   *
   * @param x [N, inputSize] or [inputSize], f32 or f16
   * @param h the state before [N, H] or [H]; zeros by default
   * @returns the state behind, of the shape of h and the dtype of x
   * @throws {ShapeError} if the sizes do not fit
   */
  forward(x: Tensor, h?: Tensor): Tensor {
    return this.run(x, h)[0];
  }
}

/**
 * One step of `LSTM`. As torch.nn.LSTMCell.
 *
 * Parameters as those of `RNNCell`, with the rows of the gates i, f, of the candidate and of the
 * gate o behind each other [4·H, …].
 *
 * @example
 * ```ts
 * import { LSTMCell } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const cell = new LSTMCell(3, 4, { device });
 * const [h, c] = cell.forward(zeros([2, 3], { device }));
 * assertEquals([h.shape, c.shape], [[2, 4], [2, 4]]);
 * ```
 */
export class LSTMCell extends RecurrentCell {
  /**
   * Draws all parameters from the key.
   *
   * @param inputSize size of the last axis of the input, at least 1
   * @param hiddenSize size of the state H, at least 1
   * @param options bias, key, device
   * @throws {RangeError} if a size is out of its range
   */
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, options, "lstm");
  }

  /**
   * Runs one step.
   *
   * @param x [N, inputSize] or [inputSize], f32 or f16
   * @param state state and cell before, each [N, H] or [H]; zeros by default
   * @returns state and cell behind, of the dtype of x
   * @throws {ShapeError} if the sizes do not fit
   */
  forward(x: Tensor, state?: LSTMState): LSTMState {
    const [h, c] = this.run(x, state?.[0], state?.[1]);
    return [h, c!];
  }
}
