/** How convolutions want their operands to lie in memory. */

import { input } from "../../kernels/expr.ts";
import { fullOn } from "./fill.ts";
import { isAligned, launchMap, launchMapInto, noScalars } from "./launch.ts";
import type { Tensor } from "./tensor.ts";

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
  const out = fullOn(image.device, shape, image.dtype, 0);
  const first = [0, 1].map((d) => Math.max(0, Math.ceil(-start[d] / step[d])));
  const last = [0, 1].map((d) =>
    Math.min(image.shape[1 + d] - 1, Math.floor((shape[1 + d] - 1 - start[d]) / step[d]))
  );
  const [rows, columns] = [last[0] - first[0] + 1, last[1] - first[1] + 1];
  if (rows <= 0 || columns <= 0) return out;
  const size = [shape[0], rows, columns, shape[3]];
  const from = image.alias({
    shape: size,
    strides: image.strides,
    offset: image.offset + first[0] * image.strides[1] + first[1] * image.strides[2],
  });
  const [, sy, sx] = out.strides;
  const to = out.alias({
    shape: size,
    strides: [out.strides[0], sy * step[0], sx * step[1], 1],
    offset: (start[0] + first[0] * step[0]) * sy + (start[1] + first[1] * step[1]) * sx,
  });
  launchMapInto(input(0), [from], to, noScalars);
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
