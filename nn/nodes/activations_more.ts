/** Nodes of the other activation functions. */

import {
  Hardsigmoid,
  Hardswish,
  LogSigmoid,
  Mish,
  ReLU6,
  SELU,
  SiLU,
  Softsign,
  Tanhshrink,
} from "../activation.ts";
import {
  CELU,
  ELU,
  type ELUOptions,
  Hardtanh,
  type HardtanhOptions,
  LeakyReLU,
  type LeakyReLUOptions,
  Softplus,
  type SoftplusOptions,
} from "../activation_options.ts";
import { defineNode, type NodeClass } from "../define_node.ts";
import { type GateOptions, GLU, SwiGLU } from "../gates.ts";
import { type Field, integer, number } from "../node_fields.ts";
import { PReLU } from "../prelu.ts";
import {
  Hardshrink,
  type ShrinkOptions,
  Softmax2d,
  Softmin,
  Softshrink,
  Threshold,
  type ThresholdOptions,
} from "../shrink.ts";
import { LogSoftmax, Softmax } from "../softmax.ts";
import type { PlainNodeOptions } from "./activation.ts";
import { axis } from "./fields.ts";

/** A finite number. */
const finite = (fallback?: number): Field<number> =>
  number(-Number.MAX_VALUE, Number.MAX_VALUE, fallback);
const positive = (fallback: number): Field<number> =>
  number(Number.MIN_VALUE, Number.MAX_VALUE, fallback);

/** The rectifier that ends at 6. Builds `ReLU6`. */
export const Relu6Node: NodeClass<PlainNodeOptions> = defineNode(
  "Relu6Node",
  {},
  () => new ReLU6(),
);

/** The scaled exponential unit. Builds `SELU`. */
export const SeluNode: NodeClass<PlainNodeOptions> = defineNode("SeluNode", {}, () => new SELU());

/** `x·sigmoid(x)`. Builds `SiLU`. */
export const SiluNode: NodeClass<PlainNodeOptions> = defineNode("SiluNode", {}, () => new SiLU());

/** `x·tanh(softplus(x))`. Builds `Mish`. */
export const MishNode: NodeClass<PlainNodeOptions> = defineNode("MishNode", {}, () => new Mish());

/** The logarithm of the logistic function. Builds `LogSigmoid`. */
export const LogSigmoidNode: NodeClass<PlainNodeOptions> = defineNode(
  "LogSigmoidNode",
  {},
  () => new LogSigmoid(),
);

/** `x − tanh(x)`. Builds `Tanhshrink`. */
export const TanhshrinkNode: NodeClass<PlainNodeOptions> = defineNode(
  "TanhshrinkNode",
  {},
  () => new Tanhshrink(),
);

/** `x / (1 + |x|)`. Builds `Softsign`. */
export const SoftsignNode: NodeClass<PlainNodeOptions> = defineNode(
  "SoftsignNode",
  {},
  () => new Softsign(),
);

/** The logistic function in straight lines. Builds `Hardsigmoid`. */
export const HardsigmoidNode: NodeClass<PlainNodeOptions> = defineNode(
  "HardsigmoidNode",
  {},
  () => new Hardsigmoid(),
);

/** `x·hardsigmoid(x)`. Builds `Hardswish`. */
export const HardswishNode: NodeClass<PlainNodeOptions> = defineNode(
  "HardswishNode",
  {},
  () => new Hardswish(),
);

/** A slope below 0. Builds `LeakyReLU`. */
export const LeakyReluNode: NodeClass<LeakyReLUOptions> = defineNode<LeakyReLUOptions>(
  "LeakyReluNode",
  { negativeSlope: finite(0.01) },
  (values) => new LeakyReLU(values),
);

/** The exponential unit. Builds `ELU`. */
export const EluNode: NodeClass<ELUOptions> = defineNode<ELUOptions>(
  "EluNode",
  { alpha: finite(1) },
  (values) => new ELU(values),
);

/** The exponential unit whose slope does not jump. Builds `CELU`. */
export const CeluNode: NodeClass<ELUOptions> = defineNode<ELUOptions>(
  "CeluNode",
  { alpha: finite(1) },
  (values) => new CELU(values),
);

/** `log(1 + e^(beta·x)) / beta`. Builds `Softplus`. */
export const SoftplusNode: NodeClass<SoftplusOptions> = defineNode<SoftplusOptions>(
  "SoftplusNode",
  { beta: positive(1), threshold: finite(20) },
  (values) => new Softplus(values),
);

/** A clipped line. Builds `Hardtanh`. */
export const HardtanhNode: NodeClass<HardtanhOptions> = defineNode<HardtanhOptions>(
  "HardtanhNode",
  { minVal: finite(-1), maxVal: finite(1) },
  (values) => new Hardtanh(values),
);

/** What a `PReLUNode` describes. */
export interface PReLUNodeOptions {
  /** Number of slopes: 1, or that of the channels. @default {1} */
  readonly numParameters?: number;
  /** What all slopes start from. @default {0.25} */
  readonly init?: number;
}

/** A learnt slope below 0. Builds `PReLU`. */
export const PReLUNode: NodeClass<PReLUNodeOptions> = defineNode<PReLUNodeOptions>(
  "PReLUNode",
  { numParameters: integer(1, 1), init: finite(0.25) },
  ({ numParameters, init }, { device }) => new PReLU(numParameters, { init, device }),
);

/** Values near 0 become 0. Builds `Hardshrink`. */
export const HardshrinkNode: NodeClass<ShrinkOptions> = defineNode<ShrinkOptions>(
  "HardshrinkNode",
  { lambda: number(0, Number.MAX_VALUE, 0.5) },
  (values) => new Hardshrink(values),
);

/** Values are moved towards 0. Builds `Softshrink`. */
export const SoftshrinkNode: NodeClass<ShrinkOptions> = defineNode<ShrinkOptions>(
  "SoftshrinkNode",
  { lambda: number(0, Number.MAX_VALUE, 0.5) },
  (values) => new Softshrink(values),
);

/** Small values are replaced. Builds `Threshold`. */
export const ThresholdNode: NodeClass<ThresholdOptions> = defineNode<ThresholdOptions>(
  "ThresholdNode",
  { threshold: finite(), value: finite() },
  (values) => new Threshold(values),
);

/** What the node of a softmax describes. */
export interface SoftmaxNodeOptions {
  /** The axis, counted with the batch; negative ones count from the end. @default {-1} */
  readonly dim?: number;
}

/** Shares that sum to 1 along an axis. Builds `Softmax`. */
export const SoftmaxNode: NodeClass<SoftmaxNodeOptions> = defineNode<SoftmaxNodeOptions>(
  "SoftmaxNode",
  { dim: axis(-1) },
  (values) => new Softmax(values),
);

/** The logarithms of `SoftmaxNode`'s. Builds `LogSoftmax`. */
export const LogSoftmaxNode: NodeClass<SoftmaxNodeOptions> = defineNode<SoftmaxNodeOptions>(
  "LogSoftmaxNode",
  { dim: axis(-1) },
  (values) => new LogSoftmax(values),
);

/** Shares, the larger the smaller the value. Builds `Softmin`. */
export const SoftminNode: NodeClass<SoftmaxNodeOptions> = defineNode<SoftmaxNodeOptions>(
  "SoftminNode",
  { dim: axis(-1) },
  (values) => new Softmin(values),
);

/** Shares over the channels of each pixel. Builds `Softmax2d`. */
export const Softmax2dNode: NodeClass<PlainNodeOptions> = defineNode(
  "Softmax2dNode",
  {},
  () => new Softmax2d(),
);

/** One half times the logistic function of the other. Builds `GLU`. */
export const GLUNode: NodeClass<GateOptions> = defineNode<GateOptions>(
  "GLUNode",
  { dim: axis(-1) },
  (values) => new GLU(values),
);

/** `SiLU` of one half times the other. Builds `SwiGLU`. */
export const SwiGLUNode: NodeClass<GateOptions> = defineNode<GateOptions>(
  "SwiGLUNode",
  { dim: axis(-1) },
  (values) => new SwiGLU(values),
);
