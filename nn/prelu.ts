/** The rectifier with learnt slopes. */

import { type Device, full, ShapeError, showShape, type Tensor } from "../core/mod.ts";
import { checkInteger, checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a rectifier with learnt slopes is made. */
export interface PReLUOptions {
  /** What all slopes start from. @default {0.25} */
  readonly init?: number;
  /** Where the slopes live. @default {the default device} */
  readonly device?: Device;
}

/**
 * Leaky rectifier with learnt slopes: `x` above 0, `weight·x` elsewhere.
 *
 * Parameter: `weight` [numParameters]: one slope for all, or one for each channel of axis 1. As
 * torch.nn.PReLU; He et al., "Delving deep into rectifiers", 2015. Weight decay pulls the slopes to
 * 0.
 *
 * @example
 * ```ts
 * import { PReLU } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const x = tensor([-4, 0, 2], { device });
 * assertEquals(await new PReLU(1, { device }).forward(x).array(), [-1, 0, 2]);
 * ```
 */
export class PReLU extends Module {
  /** Number of slopes. */
  readonly numParameters: number;
  /** [numParameters] */
  readonly weight: Tensor;

  /**
   * Starts all slopes from one value.
   *
   * @param numParameters 1, or the number of channels
   * @param options init, device
   * @throws {RangeError} if a number is out of its range
   */
  constructor(numParameters = 1, options: PReLUOptions = {}) {
    super();
    const { init = 0.25, device } = options;
    this.numParameters = checkInteger("PReLU", "numParameters", numParameters, 1);
    const weight = full([numParameters], checkNumber("PReLU", "init", init), { device });
    this.weight = this.registerParameter("weight", weight);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, or [N, numParameters, ...] where there are several slopes; f32 or
   * f16
   * @returns the same shape and dtype
   * @throws {ShapeError} if axis 1 is not numParameters
   */
  forward(x: Tensor): Tensor {
    const { numParameters, weight } = this;
    if (numParameters > 1 && x.shape[1] !== numParameters) {
      throw new ShapeError(
        `Cannot apply PReLU to ${
          showShape(x.shape)
        }: expected ${numParameters} channels along axis 1`,
      );
    }
    const shape = numParameters > 1 ? [numParameters, ...x.shape.slice(2).map(() => 1)] : [];
    return x.leakyRelu(weight.reshape(shape)).to(x.dtype);
  }
}
