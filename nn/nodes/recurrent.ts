/** Nodes of recurrent layers, which turn sequences [places, features] into sequences, or into one vector. */

import { concat, type Tensor } from "../../core/mod.ts";
import { sizeOfInput } from "../block_node.ts";
import type { FieldsOf } from "../define_node.ts";
import { Module } from "../module.ts";
import type { MakeOptions } from "../node.ts";
import { boolean, choice, integer, number } from "../node_fields.ts";
import {
  GRU,
  LSTM,
  type LSTMOutput,
  type Recurrent,
  type RecurrentOptions,
  type RecurrentOutput,
  RNN,
} from "../rnn.ts";
import { count } from "./fields.ts";
import { typedNode, type TypedNodeClass } from "./typed.ts";

/** What of a recurrent layer the next part gets: the outputs of all steps, or the last state. */
export type RecurrentResult = "sequence" | "last";

/** A recurrent layer whose `forward` can take a sequence alone. */
export type RecurrentModule = Recurrent & {
  forward(x: Tensor): RecurrentOutput | LSTMOutput;
};

/**
 * A recurrent layer that gives one tensor, so that it stands in a `Sequential`.
 *
 * @example
 * ```ts
 * import { GRU, RecurrentLayer } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const gru = new GRU(3, 8, { batchFirst: true, bidirectional: true, device });
 * const layer = new RecurrentLayer(gru, "last");
 * assertEquals(layer.forward(zeros([5, 7, 3], { device })).shape, [5, 16]);
 * assertEquals(Object.keys(layer.stateDict())[0], "layer.weight_ih_l0");
 * ```
 */
export class RecurrentLayer extends Module {
  /** The layer. */
  readonly layer: RecurrentModule;
  /** What of it is given. */
  readonly output: RecurrentResult;

  /**
   * Takes the layer.
   *
   * @param layer an RNN, GRU or LSTM
   * @param output "sequence" for the outputs of all steps, "last" for the state after the last step of
   * the topmost layer: that of the forward pass, then that of the backward pass where there is one
   * @throws {RangeError} if there is no such output
   */
  constructor(layer: RecurrentModule, output: RecurrentResult = "sequence") {
    super();
    if (output !== "sequence" && output !== "last") {
      throw new RangeError(
        `Cannot make RecurrentLayer with output "${output}": expected sequence or last`,
      );
    }
    this.layer = layer;
    this.output = output;
  }

  /**
   * Applies the layer from a state of zeros.
   *
   * @param x [N, T, inputSize] where the layer is made with batchFirst, else [T, N, inputSize]
   * @returns the outputs of all steps with their axes in the same order and D·hiddenSize features, or
   * [N, D·hiddenSize]; D is 2 for two passes, else 1
   * @throws {ShapeError} if x is no such sequence
   */
  forward(x: Tensor): Tensor {
    const [output, state] = this.layer.forward(x);
    if (this.output === "sequence") return output;
    const states = isPair(state) ? state[0] : state;
    if (!this.layer.bidirectional) return states.select(0, -1);
    return concat([states.select(0, -2), states.select(0, -1)], -1);
  }
}

function isPair(state: RecurrentOutput[1] | LSTMOutput[1]): state is LSTMOutput[1] {
  return Array.isArray(state);
}

/** What the node of a recurrent layer describes. */
export interface RecurrentNodeOptions {
  /** Size of the state. */
  readonly hiddenSize: number;
  /** Features of each step; null where the input says them. @default {null} */
  readonly inputSize?: number | null;
  /** Layers above each other. @default {1} */
  readonly numLayers?: number;
  /** Whether biases are added. @default {true} */
  readonly bias?: boolean;
  /** Probability with which outputs of all layers but the last are dropped. @default {0} */
  readonly dropout?: number;
  /** Whether a second pass goes backwards through the sequence. @default {false} */
  readonly bidirectional?: boolean;
  /** The outputs of all steps, or the last state. @default {"sequence"} */
  readonly output?: RecurrentResult;
}

/** What an `RNNNode` describes. */
export interface RNNNodeOptions extends RecurrentNodeOptions {
  /** What is applied to the sums. @default {"tanh"} */
  readonly nonlinearity?: "tanh" | "relu";
}

const fields: FieldsOf<RecurrentNodeOptions> = {
  hiddenSize: integer(1),
  inputSize: count,
  numLayers: integer(1, 1),
  bias: boolean(true),
  dropout: number(0, 1, 0),
  bidirectional: boolean(false),
  output: choice(["sequence", "last"], "sequence"),
};

/** Makes a layer that takes the batch first, as all nodes do. */
function layerOf(
  type: string,
  values: Readonly<Required<RecurrentNodeOptions>>,
  at: MakeOptions,
  make: (inputSize: number, options: RecurrentOptions) => RecurrentModule,
): RecurrentLayer {
  const { numLayers, bias, dropout, bidirectional, output } = values;
  const inputSize = values.inputSize ?? sizeOfInput(type, "inputSize", at);
  const options = { numLayers, bias, dropout, bidirectional, batchFirst: true, device: at.device };
  return new RecurrentLayer(make(inputSize, options), output);
}

/** A plain recurrent layer over [places, features]; builds a `RecurrentLayer` of an `RNN`. */
export const RNNNode: TypedNodeClass<RNNNodeOptions, RecurrentLayer> = typedNode<
  RNNNodeOptions,
  RecurrentLayer
>(
  "RNNNode",
  { ...fields, nonlinearity: choice(["tanh", "relu"], "tanh") },
  (values, at) =>
    layerOf(
      "RNNNode",
      values,
      at,
      (inputSize, options) =>
        new RNN(inputSize, values.hiddenSize, { ...options, nonlinearity: values.nonlinearity }),
    ),
);

/** Gated recurrent units over [places, features]; builds a `RecurrentLayer` of a `GRU`. */
export const GRUNode: TypedNodeClass<RecurrentNodeOptions, RecurrentLayer> = typedNode<
  RecurrentNodeOptions,
  RecurrentLayer
>(
  "GRUNode",
  fields,
  (values, at) =>
    layerOf(
      "GRUNode",
      values,
      at,
      (inputSize, options) => new GRU(inputSize, values.hiddenSize, options),
    ),
);

/**
 * Long short-term memory over [places, features]; builds a `RecurrentLayer` of an `LSTM`.
 *
 * @example A classifier of sequences
 * ```ts
 * import { LinearNode, LSTMNode, SequentialNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new SequentialNode({
 *   parts: [
 *     new LSTMNode({ hiddenSize: 32, numLayers: 2, output: "last" }),
 *     new LinearNode({ outFeatures: 5 }),
 *   ],
 * });
 * assertEquals(node.outputShape([20, 3]), [5]);
 * ```
 */
export const LSTMNode: TypedNodeClass<RecurrentNodeOptions, RecurrentLayer> = typedNode<
  RecurrentNodeOptions,
  RecurrentLayer
>(
  "LSTMNode",
  fields,
  (values, at) =>
    layerOf(
      "LSTMNode",
      values,
      at,
      (inputSize, options) => new LSTM(inputSize, values.hiddenSize, options),
    ),
);
