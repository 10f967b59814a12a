/** How convolutions want their operands to lie in memory. */

import type { ConvParams } from "../../kernels/conv2d.ts";
import { input } from "../../kernels/expr.ts";
import { padKernel } from "../../kernels/pad.ts";
import { fullOn } from "./fill.ts";
import { denseOperand, isAligned, launchMap, noScalars, operandOf, residualOf } from "./launch.ts";
import { empty, type Tensor } from "./tensor.ts";

/** How a convolution moves, in both axes. */
export interface Geometry {
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
}

/** Parameters of the kernels for an image [N, H, W, C]. */
export function convParams(
  x: Tensor,
  outChannels: number,
  kernel: readonly [number, number],
  geometry: Geometry,
  output: readonly [number, number],
): ConvParams {
  return {
    batch: x.shape[0],
    height: x.shape[1],
    width: x.shape[2],
    inChannels: x.shape[3],
    outChannels,
    kernel,
    stride: geometry.stride,
    dilation: geometry.dilation,
    outHeight: output[0],
    outWidth: output[1],
  };
}

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
  // Lines of images with few channels get whole vec4; the kernels never look at what is added at their ends.
  const unit = c % 4 === 0 ? 1 : c % 2 === 0 ? 2 : 4;
  const width = Math.ceil((w + 2 * pad[1]) / unit) * unit;
  return place(nhwc, [n, h + 2 * pad[0], width, c], pad, [1, 1]);
}

/**
 * Zeros [N, H, W, C] with the pixels of an image laid out from a position on, in steps; what falls outside is cut. The
 * image itself where that is the same.
 */
export function place(
  image: Tensor,
  shape: readonly number[],
  start: readonly [number, number],
  step: readonly [number, number],
): Tensor {
  const [n, h, w, c] = shape;
  const size = [image.shape[1], image.shape[2]] as const;
  const same = shape.every((n, d) => n === image.shape[d]) && step[0] === 1 && step[1] === 1;
  const still = start[0] === 0 && start[1] === 0;
  if (same && still && image.isContiguous && isAligned(image)) return image;
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
