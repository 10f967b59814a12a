/** Which kernels can take formulas into the place where they store their sums. */

import {
  type ConvForward,
  convKernel,
  convShape,
  type ConvWeight,
  convWeightKernel,
  convWeightShape,
} from "./conv2d.ts";
import type { Epilogue } from "./epilogue.ts";
import { matmulKernel, type MatmulParams } from "./matmul.ts";
import type { Kernel, Shape } from "./types.ts";

/**
 * The kernel that stores formulas of its sums instead of the sums.
 *
 * @param kernel any kernel
 * @param epilogue formulas and operands over the axes that resultShape() gives
 * @returns the kernel, with the epilogue's inputs behind its own and the epilogue's targets as outputs; null where the
 *   kernel is of another kind, sums in slices, or has an epilogue already
 */
export function withEpilogue(kernel: Kernel, epilogue: Epilogue): Kernel | null {
  switch (kernel.op) {
    case "matmul": {
      const params = kernel.params as MatmulParams;
      return isWhole(params) && !params.rowSums ? matmulKernel({ ...params, epilogue }) : null;
    }
    case "conv2d": {
      const params = kernel.params as ConvForward;
      return params.epilogue ? null : convKernel(params, params.bias, epilogue);
    }
    case "conv2d_weight": {
      const params = kernel.params as ConvWeight;
      return isWhole(params) ? convWeightKernel(params, 1, epilogue) : null;
    }
    default:
      return null;
  }
}

function isWhole(params: MatmulParams | ConvWeight): boolean {
  return params.splits === 1 && params.epilogue === undefined;
}

/**
 * Axes of the result of a matrix product or convolution: `[…batch, M, N]`, `[batch, outHeight, outWidth, out]`, or
 * `[kh, kw, in, out]`, over which the strides of an epilogue run.
 */
export function resultShape(kernel: Kernel): Shape {
  switch (kernel.op) {
    case "matmul": {
      const { batch, m, n } = kernel.params as MatmulParams;
      return [...batch, m, n];
    }
    case "conv2d":
      return convShape(kernel.params as ConvForward);
    case "conv2d_weight":
      return convWeightShape(kernel.params as ConvWeight);
    default:
      throw new Error(`internal: ${kernel.op} has no sums to store`);
  }
}
