/** Activation functions with settings, as layers. */

import type { Tensor } from "../core/mod.ts";
import { map } from "../core/tensor/map.ts";
import { apply, constant, type Expr, input } from "../kernels/expr.ts";
import { checkNumber } from "./checks.ts";
import { Module } from "./module.ts";

/** How a leaky rectifier is made. */
export interface LeakyReLUOptions {
  /** Factor below 0. @default {0.01} */
  readonly negativeSlope?: number;
}

/**
 * Leaky rectifier: `x` above 0, `negativeSlope·x` elsewhere. As torch.nn.LeakyReLU.
 *
 * @example
 * ```ts
 * import { LeakyReLU } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([-1, 0, 2], { device: referenceDevice() });
 * assertEquals(await new LeakyReLU({ negativeSlope: 0.5 }).forward(x).array(), [-0.5, 0, 2]);
 * ```
 */
export class LeakyReLU extends Module {
  /** Factor below 0. */
  readonly negativeSlope: number;

  /**
   * Takes the slope.
   *
   * @param options negativeSlope
   * @throws {RangeError} if the slope is no number
   */
  constructor(options: LeakyReLUOptions = {}) {
    super();
    this.negativeSlope = checkNumber("LeakyReLU", "negativeSlope", options.negativeSlope ?? 0.01);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.leakyRelu(this.negativeSlope);
  }
}

/** How an exponential unit is made. */
export interface ELUOptions {
  /** Where the curve goes for small x: to −alpha. @default {1} */
  readonly alpha?: number;
}

/** Exponential unit: `x` above 0, `alpha·(e^x − 1)` elsewhere. As torch.nn.ELU. */
export class ELU extends Module {
  /** Where the curve goes for small x: to −alpha. */
  readonly alpha: number;

  /**
   * Takes the factor.
   *
   * @param options alpha
   * @throws {RangeError} if alpha is no number
   */
  constructor(options: ELUOptions = {}) {
    super();
    this.alpha = checkNumber("ELU", "alpha", options.alpha ?? 1);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.elu(this.alpha);
  }
}

/**
 * Exponential unit without a bend: `x` above 0, `alpha·(e^(x / alpha) − 1)` elsewhere. As
 * torch.nn.CELU.
 */
export class CELU extends Module {
  /** Where the curve goes for small x: to −alpha. */
  readonly alpha: number;

  /**
   * Takes the factor.
   *
   * @param options alpha, which must not be 0
   * @throws {RangeError} if alpha is 0 or no number
   */
  constructor(options: ELUOptions = {}) {
    super();
    this.alpha = checkNumber("CELU", "alpha", options.alpha ?? 1);
    if (this.alpha === 0) {
      throw new RangeError("Cannot make CELU with alpha 0: expected another number");
    }
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.celu(this.alpha);
  }
}

/** How a Gaussian error unit is made. */
export interface GELUOptions {
  /** "tanh" for the approximation by a hyperbolic tangent. @default {"none"} */
  readonly approximate?: "none" | "tanh";
}

/**
 * Gaussian error unit `x·Φ(x)`, Φ the distribution function of the standard normal. As
 * torch.nn.GELU.
 */
export class GELU extends Module {
  /** "tanh" for the approximation by a hyperbolic tangent. */
  readonly approximate: "none" | "tanh";

  /**
   * Takes the formula.
   *
   * @param options approximate
   * @throws {RangeError} if the approximation is unknown
   */
  constructor(options: GELUOptions = {}) {
    super();
    const { approximate = "none" } = options;
    if (approximate !== "none" && approximate !== "tanh") {
      throw new RangeError(
        `Cannot make GELU with approximate "${approximate}": expected none or tanh`,
      );
    }
    this.approximate = approximate;
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return this.approximate === "tanh" ? x.geluTanh() : x.gelu();
  }
}

/** How a soft rectifier is made. */
export interface SoftplusOptions {
  /** Sharpness of the bend. @default {1} */
  readonly beta?: number;
  /** From `beta·x` above this on the result is `x` itself. @default {20} */
  readonly threshold?: number;
}

/**
 * Soft rectifier `log(1 + e^(beta·x)) / beta`, and `x` where `beta·x` is above the threshold. As
 * torch.nn.Softplus.
 */
export class Softplus extends Module {
  /** Sharpness of the bend. */
  readonly beta: number;
  /** From `beta·x` above this on the result is `x` itself. */
  readonly threshold: number;
  readonly #formula: Expr;

  /**
   * Takes the sharpness.
   *
   * @param options beta, which must not be 0, and threshold
   * @throws {RangeError} if beta is 0, or a setting is no number
   */
  constructor(options: SoftplusOptions = {}) {
    super();
    this.beta = checkNumber("Softplus", "beta", options.beta ?? 1);
    this.threshold = checkNumber("Softplus", "threshold", options.threshold ?? 20);
    if (this.beta === 0) {
      throw new RangeError("Cannot make Softplus with beta 0: expected another number");
    }
    const beta = constant(this.beta);
    const scaled = apply("mul", input(0), beta);
    const soft = apply("div", apply("softplus", scaled), beta);
    const straight = apply("gt", scaled, constant(this.threshold));
    this.#formula = apply("where", straight, input(0), soft);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return map("softplus", this.#formula, [x]);
  }
}

/** How a clipped line is made. */
export interface HardtanhOptions {
  /** Least result. @default {-1} */
  readonly minVal?: number;
  /** Greatest result. @default {1} */
  readonly maxVal?: number;
}

/** `min(max(x, minVal), maxVal)`; the derivative at both corners is 0. As torch.nn.Hardtanh. */
export class Hardtanh extends Module {
  /** Least result. */
  readonly minVal: number;
  /** Greatest result. */
  readonly maxVal: number;
  readonly #formula: Expr;

  /**
   * Takes the bounds.
   *
   * @param options minVal, maxVal
   * @throws {RangeError} if minVal is not below maxVal
   */
  constructor(options: HardtanhOptions = {}) {
    super();
    const { minVal = -1, maxVal = 1 } = options;
    if (!(minVal < maxVal)) {
      throw new RangeError(
        `Cannot make Hardtanh from ${minVal} to ${maxVal}: expected minVal below maxVal`,
      );
    }
    this.minVal = minVal;
    this.maxVal = maxVal;
    const [low, high] = [constant(minVal), constant(maxVal)];
    const upper = apply("where", apply("ge", input(0), high), high, input(0));
    this.#formula = apply("where", apply("le", input(0), low), low, upper);
  }

  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return map("hardtanh", this.#formula, [x]);
  }
}
