/** Layers that move elements, or do nothing. */

import { type Shape, ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { Module } from "./module.ts";

/** Which axes are merged. */
export interface FlattenOptions {
  /** First axis. @default {1} */
  readonly startDim?: number;
  /** Last axis. @default {-1} */
  readonly endDim?: number;
}

/**
 * Merges axes into one; by default all but the batch.
 *
 * @example
 * ```ts
 * import { Flatten } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const images = zeros([2, 3, 4, 5], { device: referenceDevice() });
 * assertEquals(new Flatten().forward(images).shape, [2, 60]);
 * ```
 */
export class Flatten extends Module {
  /** First axis that is merged. */
  readonly startDim: number;
  /** Last axis that is merged. */
  readonly endDim: number;

  /**
   * Takes the options.
   *
   * @param options startDim, endDim
   */
  constructor(options: FlattenOptions = {}) {
    super();
    this.startDim = options.startDim ?? 1;
    this.endDim = options.endDim ?? -1;
  }

  /**
   * Merges.
   *
   * @param x [N, ...]
   * @returns [N, product of the others], by default
   * @throws {ShapeError} if an axis does not exist
   */
  forward(x: Tensor): Tensor {
    return x.flatten(this.startDim, this.endDim);
  }
}

/**
 * Splits an axis into several.
 *
 * @example
 * ```ts
 * import { Unflatten } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const rows = zeros([2, 60], { device: referenceDevice() });
 * assertEquals(new Unflatten(1, [3, 4, 5]).forward(rows).shape, [2, 3, 4, 5]);
 * ```
 */
export class Unflatten extends Module {
  /** The axis that is split. */
  readonly dim: number;
  /** The sizes that it is split into. */
  readonly sizes: Shape;

  /**
   * Takes an axis and its new sizes.
   *
   * @param dim the axis, negative ones count from the end
   * @param sizes their product is the size of the axis; one may be -1
   */
  constructor(dim: number, sizes: Shape) {
    super();
    this.dim = dim;
    this.sizes = [...sizes];
  }

  /**
   * Splits.
   *
   * @param x a tensor with the axis
   * @returns the same elements with the axis split
   * @throws {ShapeError} if there is no such axis, or the sizes do not fit
   */
  forward(x: Tensor): Tensor {
    const axis = this.dim < 0 ? this.dim + x.ndim : this.dim;
    if (!Number.isInteger(axis) || axis < 0 || axis >= x.ndim) {
      throw new ShapeError(
        `Cannot unflatten dim ${this.dim} of ${showShape(x.shape)}: no such axis`,
      );
    }
    const before = x.shape.slice(0, axis);
    return x.reshape([...before, ...fill(this.sizes, x.shape[axis]), ...x.shape.slice(axis + 1)]);
  }
}

/**
 * The sizes with -1 computed here, since reshape() could not tell it where another axis has size 0.
 */
function fill(sizes: Shape, total: number): number[] {
  const known = sizes.reduce((n, size) => size === -1 ? n : n * size, 1);
  const full = sizes.map((size) => size === -1 ? total / known : size);
  if (
    full.reduce((a, b) => a * b, 1) !== total || !full.every((n) => Number.isInteger(n) && n >= 0)
  ) {
    throw new ShapeError(
      `Cannot unflatten an axis of size ${total} to ${
        showShape(sizes)
      }: expected the product ${total}`,
    );
  }
  return full;
}

/**
 * Gives its input back.
 *
 * @example
 * ```ts
 * import { Identity } from "@legoml/legoml/nn";
 * import { referenceDevice, zeros } from "@legoml/legoml/core";
 * import { assertStrictEquals } from "@std/assert";
 *
 * const x = zeros([2], { device: referenceDevice() });
 * assertStrictEquals(new Identity().forward(x), x);
 * ```
 */
export class Identity extends Module {
  /**
   * Gives the input back.
   *
   * @param x any tensor
   * @returns the same tensor
   */
  forward(x: Tensor): Tensor {
    return x;
  }
}
