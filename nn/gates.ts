/** Gated activations: one half of the features decides how much of the other passes. */

import { ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { map } from "../core/tensor/map.ts";
import { axisOf } from "../core/tensor/shape.ts";
import { apply, type Expr, input } from "../kernels/expr.ts";
import { Module } from "./module.ts";

/** Along which axis the halves lie. */
export interface GateOptions {
  /** The axis; negative ones count from the end. @default {-1} */
  readonly dim?: number;
}

const glu = apply("mul", input(0), apply("sigmoid", input(1)));
const swiglu = apply("mul", apply("silu", input(0)), input(1));

/** Applies a formula to the first and the second half of an axis. */
function halves(layer: string, x: Tensor, dim: number, expr: Expr): Tensor {
  const axis = axisOf(`apply ${layer}`, dim, x.ndim);
  const size = x.shape[axis];
  if (size % 2 !== 0) {
    throw new ShapeError(
      `Cannot apply ${layer} to ${showShape(x.shape)} along dim ${dim}: expected an even size`,
    );
  }
  const parts = [0, size / 2].map((start) => x.narrow(axis, start, size / 2));
  return map(layer, expr, parts, { dtype: x.dtype });
}

/**
 * Gated linear unit `a · sigmoid(b)` of the halves a and b of an axis. As torch.nn.GLU; Dauphin et
 * al., "Language modeling with gated convolutional networks", 2017.
 *
 * @example
 * ```ts
 * import { GLU } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[6, 8, 0, 0]], { device: referenceDevice() });
 * assertEquals(await new GLU().forward(x).array(), [[3, 4]]);
 * ```
 */
export class GLU extends Module {
  /** The axis of the halves. */
  readonly dim: number;

  /**
   * Takes the options.
   *
   * @param options dim
   */
  constructor(options: GateOptions = {}) {
    super();
    this.dim = options.dim ?? -1;
  }

  /**
   * Gates the first half by the second.
   *
   * @param x a tensor with the axis, of even size there; f32 or f16
   * @returns half as large along the axis, of the same dtype
   * @throws {ShapeError} if there is no such axis, or its size is odd
   */
  forward(x: Tensor): Tensor {
    return halves("GLU", x, this.dim, glu);
  }
}

/**
 * Gated unit `a · sigmoid(a) · b` of the halves a and b of an axis: what the feed-forward layer of
 * Shazeer, "GLU variants improve transformer", 2020, has between its products. The gate is the
 * first half, as in SwiGLU(x) = Swish(xW) ⊗ xV; that of `GLU` is the second.
 *
 * @example
 * ```ts
 * import { SwiGLU } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = tensor([2, 3], { device: referenceDevice() });
 * const [y] = await new SwiGLU().forward(x).data();
 * assertAlmostEquals(y, 2 * 3 / (1 + Math.exp(-2)), 1e-12);
 * ```
 */
export class SwiGLU extends Module {
  /** The axis of the halves. */
  readonly dim: number;

  /**
   * Takes the options.
   *
   * @param options dim
   */
  constructor(options: GateOptions = {}) {
    super();
    this.dim = options.dim ?? -1;
  }

  /**
   * Gates the second half by the first.
   *
   * @param x a tensor with the axis, of even size there; f32 or f16
   * @returns half as large along the axis, of the same dtype
   * @throws {ShapeError} if there is no such axis, or its size is odd
   */
  forward(x: Tensor): Tensor {
    return halves("SwiGLU", x, this.dim, swiglu);
  }
}
