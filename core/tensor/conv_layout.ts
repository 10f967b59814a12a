/** How convolutions want their operands to lie in memory. */

import { input } from "../../kernels/expr.ts";
import { padKernel } from "../../kernels/pad.ts";
import { fullOn } from "./fill.ts";
import { denseOperand, isAligned, launchMap, noScalars, operandOf, residualOf } from "./launch.ts";
import { empty, type Tensor } from "./tensor.ts";

/** A tensor that lies in the memory order [N, H, W, C] without gaps, surrounded by zeros; a view of it as such. */
export function channelsLast(x: Tensor, pad: readonly [number, number]): Tensor {
  const nhwc = x.alias({
    shape: [0, 2, 3, 1].map((d) => x.shape[d]),
    strides: [0, 2, 3, 1].map((d) => x.strides[d]),
    offset: x.offset,
  });
  if (pad[0] === 0 && pad[1] === 0) {
    if (nhwc.isContiguous && isAligned(nhwc)) return nhwc;
    return launchMap("channels last", input(0), [nhwc], x.dtype, noScalars, x.device, {
      rowMajor: true,
    });
  }
  const [n, h, w, c] = nhwc.shape;
  const size = [h + 2 * pad[0], w + 2 * pad[1]] as const;
  return place(nhwc, [n, size[0], size[1], c], pad, [1, 1]);
}

/** Zeros [N, H, W, C] with the pixels of an image laid out from a position on, in steps; what falls outside is cut. */
export function place(
  image: Tensor,
  shape: readonly number[],
  start: readonly [number, number],
  step: readonly [number, number],
): Tensor {
  const [n, h, w, c] = shape;
  const size = [image.shape[1], image.shape[2]] as const;
  if (image.size === 0) return fullOn(image.device, shape, image.dtype, 0);
  const out = empty(image.device, shape, image.dtype, "pad");
  if (out.size === 0) return out;
  const operand = { dtype: image.dtype, strides: image.strides, offset: residualOf(image) };
  image.device.record({
    kernel: padKernel({ shape: [n, h, w, c], size, start, step, image: operand }),
    inputs: [operandOf(image)],
    outputs: [denseOperand(out)],
    scalars: [],
  });
  return out;
}

/** The weight [out, in, kh, kw] as [kh, kw, in, out] in memory, or turned round as [kh, kw, out, in]. */
export function packedWeight(weight: Tensor, turned = false): Tensor {
  const w = turned ? weight.detach().flip([2, 3]) : weight.detach();
  const packed = w.permute(turned ? [2, 3, 0, 1] : [2, 3, 1, 0]);
  if (packed.isContiguous && isAligned(packed)) return packed;
  return launchMap("pack weight", input(0), [packed], "f32", noScalars, w.device, {
    rowMajor: true,
  });
}

/** The elements in row-major order from a place where a range can be bound. */
export function aligned(t: Tensor): Tensor {
  return t.isContiguous && isAligned(t)
    ? t
    : launchMap("copy", input(0), [t], t.dtype, noScalars, t.device, { rowMajor: true });
}
