/** Nodes of layers over sequences [channels, places]. */

import { sizeOfInput } from "../block_node.ts";
import { Conv1d, ConvTranspose1d } from "../conv1d.ts";
import { defineNode, type FieldsOf, type NodeClass } from "../define_node.ts";
import { boolean, integer, orNull } from "../node_fields.ts";
import { AvgPool1d, MaxPool1d } from "../pool1d.ts";
import { count } from "./fields.ts";

/** What a `Conv1dNode` describes. */
export interface Conv1dNodeOptions {
  /** Channels of the output; null for inChannels. @default {null} */
  readonly outChannels?: number | null;
  /** Channels of the input; null where the input says them. @default {null} */
  readonly inChannels?: number | null;
  /** Size of the kernel. @default {3} */
  readonly kernelSize?: number;
  /** Step between output places. @default {1} */
  readonly stride?: number;
  /** Zeros at both ends. @default {0} */
  readonly padding?: number;
  /** Distance between taps. @default {1} */
  readonly dilation?: number;
  /** Blocks of channels that do not see each other. @default {1} */
  readonly groups?: number;
  /** Whether a bias is added. @default {true} */
  readonly bias?: boolean;
}

const conv: FieldsOf<Conv1dNodeOptions> = {
  outChannels: count,
  inChannels: count,
  kernelSize: integer(1, 3),
  stride: integer(1, 1),
  padding: integer(0, 0),
  dilation: integer(1, 1),
  groups: integer(1, 1),
  bias: boolean(true),
};

/**
 * A convolution of sequences; builds a `Conv1d`.
 *
 * @example
 * ```ts
 * import { Conv1dNode } from "@legoml/legoml/nn";
 * import { assertEquals } from "@std/assert";
 *
 * const node = new Conv1dNode({ outChannels: 8, kernelSize: 5, stride: 2, padding: 2 });
 * assertEquals(node.outputShape([3, 100]), [8, 50]);
 * ```
 */
export const Conv1dNode: NodeClass<Conv1dNodeOptions> = defineNode<Conv1dNodeOptions>(
  "Conv1dNode",
  conv,
  ({ inChannels, outChannels, ...options }, at) => {
    const from = inChannels ?? sizeOfInput("Conv1dNode", "inChannels", at);
    return new Conv1d(from, outChannels ?? from, { ...options, device: at.device });
  },
);

/** What a `ConvTranspose1dNode` describes. */
export interface ConvTranspose1dNodeOptions extends Conv1dNodeOptions {
  /** Places added at the end of the output. @default {0} */
  readonly outputPadding?: number;
}

/** A transposed convolution of sequences; builds a `ConvTranspose1d`. */
export const ConvTranspose1dNode: NodeClass<ConvTranspose1dNodeOptions> = defineNode<
  ConvTranspose1dNodeOptions
>(
  "ConvTranspose1dNode",
  { ...conv, outputPadding: integer(0, 0) },
  ({ inChannels, outChannels, ...options }, at) => {
    const from = inChannels ?? sizeOfInput("ConvTranspose1dNode", "inChannels", at);
    return new ConvTranspose1d(from, outChannels ?? from, { ...options, device: at.device });
  },
);

/** What an `AvgPool1dNode` describes. */
export interface AvgPool1dNodeOptions {
  /** Length of the window. @default {2} */
  readonly kernelSize?: number;
  /** Steps between windows; null for the length of the window. @default {null} */
  readonly stride?: number | null;
  /** Places at both ends, at most half of the window. @default {0} */
  readonly padding?: number;
}

/** What a `MaxPool1dNode` describes. */
export interface MaxPool1dNodeOptions extends AvgPool1dNodeOptions {
  /** Distance between taps. @default {1} */
  readonly dilation?: number;
}

const windows: FieldsOf<AvgPool1dNodeOptions> = {
  kernelSize: integer(1, 2),
  stride: orNull(integer(1)),
  padding: integer(0, 0),
};

/** The mean of each window of a sequence; builds an `AvgPool1d`. */
export const AvgPool1dNode: NodeClass<AvgPool1dNodeOptions> = defineNode<AvgPool1dNodeOptions>(
  "AvgPool1dNode",
  windows,
  ({ kernelSize, stride, padding }) =>
    new AvgPool1d({ kernelSize, stride: stride ?? kernelSize, padding }),
);

/** The largest value of each window of a sequence; builds a `MaxPool1d`. */
export const MaxPool1dNode: NodeClass<MaxPool1dNodeOptions> = defineNode<MaxPool1dNodeOptions>(
  "MaxPool1dNode",
  { ...windows, dilation: integer(1, 1) },
  ({ kernelSize, stride, padding, dilation }) =>
    new MaxPool1d({ kernelSize, stride: stride ?? kernelSize, padding, dilation }),
);
