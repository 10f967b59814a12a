/** Mixed precision: layers that multiply take and give f16 while everything else stays as it is. */

import { DTypeError } from "../errors.ts";
import { type Capture, currentCapture } from "../backend/capture.ts";
import * as convs from "./conv2d.ts";
import type { ConvOptions, ConvTransposeOptions } from "./conv2d.ts";
import * as matmuls from "./matmul.ts";
import type { Tensor } from "./tensor.ts";

/** What products are stored as. */
export type AutocastDType = "f16" | "f32";

/** A scope, and the capture inside of which it was opened. */
interface AutocastScope {
  readonly dtype: AutocastDType;
  readonly capture: Capture | null;
}

let current: AutocastScope = { dtype: "f32", capture: null };

/** What products are stored as here: f32 outside of autocast(). */
export function autocastDType(): AutocastDType {
  const { dtype, capture } = current;
  const asking = currentCapture();
  // A captured step brings its own scopes along; only one around it can be another one later.
  if (asking !== capture) asking?.guard(() => current.dtype === dtype);
  return dtype;
}

/**
 * Mixed precision until the result is disposed: `using _ = autocast("f16")`.
 *
 * @param dtype "f16", or "f32" to leave mixed precision for a while
 */
export function autocast(dtype: AutocastDType): Disposable;
/**
 * Runs a synchronous function in mixed precision, as `torch.autocast`: linear(), matmul(), conv2d()
 * and convTranspose2d(), and the layers made of them, take their inputs and weights rounded to f16
 * and give f16. Products are summed in f32; the bias stays f32.
 *
 * Elementwise ops and pooling keep the type of their inputs. Sums, means, softmax and losses compute
 * in f32, and give f32. Parameters stay f32, and so do their gradients; backward() may run outside.
 * Gradients of f16 values are f16, so multiply the loss by a LossScaler. Differences to PyTorch: exp,
 * pow, cumsum and normalization layers give f16 for f16 inputs, though they compute in f32, and a
 * weight that is used twice is rounded twice.
 *
 * @param dtype "f16", or "f32" to leave mixed precision for a while
 * @param fn runs at once; what it does after an `await` is not in mixed precision
 * @returns what the function returns
 * @throws {RangeError} if dtype is another one
 *
 * @example
 * ```ts
 * import { autocast, linear, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = referenceDevice();
 * const weight = tensor([[1, 2]], { device, requiresGrad: true });
 * const x = tensor([[3, 4]], { device });
 * const y = autocast("f16", () => linear(x, weight));
 * y.sum().backward();
 * assertEquals([y.dtype, weight.grad!.dtype], ["f16", "f32"]);
 * ```
 */
export function autocast<T>(dtype: AutocastDType, fn: () => T): T;
export function autocast<T>(dtype: AutocastDType, fn?: () => T): T | Disposable {
  if (dtype !== "f16" && dtype !== "f32") {
    throw new RangeError(`Cannot autocast to ${dtype}: expected f16 or f32`);
  }
  const before = current;
  current = { dtype, capture: currentCapture() };
  const restore = () => {
    current = before;
  };
  if (fn === undefined) return { [Symbol.dispose]: restore };
  try {
    return fn();
  } finally {
    restore();
  }
}

/** The f32 tensor as products shall see it. @throws {DTypeError} if the device cannot store f16 */
function narrowed(t: Tensor): Tensor {
  if (autocastDType() !== "f16" || t.dtype !== "f32") return t;
  if (!t.device.traits.f16) {
    throw new DTypeError(
      `Cannot autocast to f16: the device "${t.device.name}" has no f16 storage; use f32`,
    );
  }
  return t.to("f16");
}

/**
 * Matrix product by PyTorch's rules: vectors are taken as a row or a column, batch axes broadcast.
 *
 * @param a [..., M, K] or [K], f32 or f16
 * @param b [..., K, N] or [K], f32 or f16
 * @returns [..., M, N] without the axes of vectors; f32, or f16 where both operands are
 * @throws {ShapeError} if the inner sizes differ or the batch axes do not broadcast
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return matmuls.matmul(narrowed(a), narrowed(b));
}

/**
 * Affine map over the last axis, `x Wᵀ + b`, as one kernel.
 *
 * @param x [..., in], f32 or f16
 * @param weight [out, in]
 * @param bias [out], or null
 * @returns [..., out], of the dtype of x; f16 in autocast("f16")
 * @throws {ShapeError} if the sizes do not fit
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return matmuls.linear(narrowed(x), narrowed(weight), bias);
}

/**
 * Convolution (cross-correlation) of images, as torch.nn.functional.conv2d.
 *
 * @param x [N, in, H, W], f32 or f16
 * @param weight [out, in / groups, kh, kw]
 * @param bias [out], or null
 * @param options stride, padding, dilation, groups
 * @returns [N, out, (H + 2·padding − dilation·(kh − 1) − 1) / stride + 1, …], sums in f32; of the
 * dtype of x, f16 in autocast("f16")
 * @throws {ShapeError} if the sizes do not fit
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvOptions = {},
): Tensor {
  return convs.conv2d(narrowed(x), narrowed(weight), bias, options);
}

/**
 * Transposed convolution, the input gradient of conv2d used as a layer, as torch.nn.functional.conv_transpose2d.
 *
 * @param x [N, in, H, W], f32 or f16
 * @param weight [in, out / groups, kh, kw]
 * @param bias [out], or null
 * @param options stride, padding, outputPadding, dilation, groups
 * @returns [N, out, (H − 1)·stride − 2·padding + dilation·(kh − 1) + outputPadding + 1, …]; of the
 * dtype of x, f16 in autocast("f16")
 * @throws {ShapeError} if the sizes do not fit
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  options: ConvTransposeOptions = {},
): Tensor {
  return convs.convTranspose2d(narrowed(x), narrowed(weight), bias, options);
}
