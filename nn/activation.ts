/** Activation functions without settings, as layers. */

import type { Tensor } from "../core/mod.ts";
import { Module } from "./module.ts";

/**
 * Rectifier `max(x, 0)`; the derivative at 0 is 0. As torch.nn.ReLU.
 *
 * @example
 * ```ts
 * import { ReLU } from "@legoml/legoml/nn";
 * import { referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([-1, 0, 2], { device: referenceDevice() });
 * assertEquals(await new ReLU().forward(x).array(), [0, 0, 2]);
 * ```
 */
export class ReLU extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}

/**
 * Rectifier with a ceiling `min(max(x, 0), 6)`; the derivative at both corners is 0. As
 * torch.nn.ReLU6.
 */
export class ReLU6 extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.relu6();
  }
}

/**
 * Self-normalising unit `λ·max(0, x) + λα·min(0, e^x − 1)`; λ = 1.0507…, α = 1.6733…. As
 * torch.nn.SELU.
 */
export class SELU extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.selu();
  }
}

/**
 * Sigmoid-weighted unit, or swish: `x / (1 + e^−x)`. As torch.nn.SiLU.
 */
export class SiLU extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.silu();
  }
}

/**
 * `x·tanh(log(1 + e^x))`. As torch.nn.Mish.
 */
export class Mish extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.mish();
  }
}

/**
 * Logistic function `1 / (1 + e^−x)`. As torch.nn.Sigmoid.
 */
export class Sigmoid extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}

/**
 * Logarithm of the logistic function `−log(1 + e^−x)`, without overflow. As torch.nn.LogSigmoid.
 */
export class LogSigmoid extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.logSigmoid();
  }
}

/**
 * Hyperbolic tangent. As torch.nn.Tanh.
 */
export class Tanh extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}

/**
 * `x − tanh x`. As torch.nn.Tanhshrink.
 */
export class Tanhshrink extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.tanhshrink();
  }
}

/**
 * `x / (1 + |x|)`. As torch.nn.Softsign.
 */
export class Softsign extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.softsign();
  }
}

/**
 * `min(max(x + 3, 0), 6) / 6`; the derivative at both corners is 0. As torch.nn.Hardsigmoid.
 */
export class Hardsigmoid extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.hardsigmoid();
  }
}

/**
 * `x·min(max(x + 3, 0), 6) / 6`. As torch.nn.Hardswish.
 */
export class Hardswish extends Module {
  /**
   * Applies the function to each element.
   *
   * @param x any shape, f32 or f16
   * @returns the same shape and dtype
   */
  forward(x: Tensor): Tensor {
    return x.hardswish();
  }
}
