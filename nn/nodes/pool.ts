/** Nodes of pooling. */

import type { Pair, Shape } from "../../core/mod.ts";
import type { TensorModule } from "../module.ts";
import { Node } from "../node.ts";
import { pair, readFields } from "../node_fields.ts";
import { AvgPool2d, MaxPool2d } from "../pool.ts";
import { windowPlaces } from "./shapes.ts";

const avgFields = { kernelSize: pair(1, 2), stride: pair(1, 2), padding: pair(0, 0) };
const maxFields = { ...avgFields, dilation: pair(1, 1) };

/** What an `AvgPool2dNode` describes. */
export interface AvgPool2dNodeOptions {
  /** Size of the window. @default {2} */
  readonly kernelSize?: Pair;
  /** Step of the window. @default {2} */
  readonly stride?: Pair;
  /** Zeros around the image, at most half of the window. @default {0} */
  readonly padding?: Pair;
}

/** What a `MaxPool2dNode` describes. */
export interface MaxPool2dNodeOptions extends AvgPool2dNodeOptions {
  /** Distance between taps. @default {1} */
  readonly dilation?: Pair;
}

/** The largest value of each window. Builds `MaxPool2d`. */
export class MaxPool2dNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "MaxPool2dNode";
  /** Size of the window. */
  readonly kernelSize: Pair;
  /** Step of the window. */
  readonly stride: Pair;
  /** Rows and columns around the image that never win. */
  readonly padding: Pair;
  /** Distance between taps. */
  readonly dilation: Pair;

  /**
   * Checks the options.
   *
   * @param options kernelSize, stride, padding, dilation
   * @throws {NodeError} if an option is unknown or not allowed
   */
  constructor(options: MaxPool2dNodeOptions = {}) {
    super();
    const values = readFields(maxFields, { ...options }, "MaxPool2dNode");
    this.kernelSize = values.kernelSize;
    this.stride = values.stride;
    this.padding = values.padding;
    this.dilation = values.dilation;
  }

  /** Makes the module. */
  protected override make(): TensorModule {
    return new MaxPool2d(this);
  }

  /**
   * [C, H, W] with the places of the window.
   *
   * @param input [C, H, W]
   * @param path the place of this node, for messages
   * @returns [C, places along H, places along W]
   * @throws {ShapeError} if the input does not fit
   */
  override outputShape(input: Shape, path: string = this.type): Shape {
    const places = windowPlaces(path, input, this);
    return [input[0], ...places];
  }
}

/** The mean of each window. Builds `AvgPool2d`. */
export class AvgPool2dNode extends Node {
  /** The type tag in JSON. */
  override readonly type: string = "AvgPool2dNode";
  /** Size of the window. */
  readonly kernelSize: Pair;
  /** Step of the window. */
  readonly stride: Pair;
  /** Zeros around the image. */
  readonly padding: Pair;

  /**
   * Checks the options.
   *
   * @param options kernelSize, stride, padding
   * @throws {NodeError} if an option is unknown or not allowed
   */
  constructor(options: AvgPool2dNodeOptions = {}) {
    super();
    const values = readFields(avgFields, { ...options }, "AvgPool2dNode");
    this.kernelSize = values.kernelSize;
    this.stride = values.stride;
    this.padding = values.padding;
  }

  /** Makes the module. */
  protected override make(): TensorModule {
    return new AvgPool2d(this);
  }

  /**
   * [C, H, W] with the places of the window.
   *
   * @param input [C, H, W]
   * @param path the place of this node, for messages
   * @returns [C, places along H, places along W]
   * @throws {ShapeError} if the input does not fit
   */
  override outputShape(input: Shape, path: string = this.type): Shape {
    const { kernelSize, stride, padding } = this;
    const window = { kernelSize, stride, padding, dilation: 1 };
    return [input[0], ...windowPlaces(path, input, window)];
  }
}

Node.register("MaxPool2dNode", maxFields, (values) => new MaxPool2dNode(values));
Node.register("AvgPool2dNode", avgFields, (values) => new AvgPool2dNode(values));
