/** Images seen through a matrix of their own: turned, moved, scaled and sheared in one kernel. */

import { operandKey, type StridedOperand } from "../map.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "../types.ts";
import { grid, perThread, shader } from "../wgsl.ts";
import { cell, cellOf, float, perChannel, pixel, pixelAt, roundEven } from "./text.ts";

/** Parameters of warped images. */
export interface WarpParams {
  /** N, C, H, W. */
  readonly shape: readonly [number, number, number, number];
  /** f32 over [N, C, H, W]. */
  readonly images: StridedOperand;
  /** f32 over [N, 8]: two rows of the matrix, from the result to the image, round its centre. */
  readonly rows: StridedOperand;
  readonly bilinear: boolean;
  /** What lies round the images: one number, or one for each channel. */
  readonly fill: readonly number[];
}

/** Warped images, dense in the order [N, H, W, C]. Inputs: images, rows. */
export function warpKernel(params: WarpParams): Kernel {
  const { shape, images, rows, bilinear, fill } = params;
  const key = `augment warp|${shape}|${operandKey(images)}|${operandKey(rows)}|${bilinear}|${fill}`;
  return intern(key, () => ({
    op: "augment warp",
    key,
    params,
    inputs: [images.dtype, rows.dtype],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(params, traits),
    reference: (ins, [out]) => reference(params, ins, out),
  }));
}

function program(params: WarpParams, traits: DeviceTraits): WgslProgram {
  const { shape: [count, channels, height, width], images, rows, bilinear, fill } = params;
  const threads = count * channels * height * width;
  const sample = bilinear
    ? `  let x0 = floor(sx);
  let y0 = floor(sy);
  let fx = sx - x0;
  let fy = sy - y0;
  let top = at(n, c, y0, x0) * (1.0 - fx) + at(n, c, y0, x0 + 1.0) * fx;
  let low = at(n, c, y0 + 1.0, x0) * (1.0 - fx) + at(n, c, y0 + 1.0, x0 + 1.0) * fx;
  y[i] = top * (1.0 - fy) + low * fy;`
    : `  y[i] = at(n, c, round(sy), round(sx));`;
  const body = `  let c = i % ${channels}u;
  let p = i / ${channels}u;
  let n = p / ${height * width}u;
  let dx = f32(p % ${width}u) - ${float((width - 1) / 2)};
  let dy = f32((p / ${width}u) % ${height}u) - ${float((height - 1) / 2)};
  let sx = ${cell("rows", rows, 0)} * dx + ${cell("rows", rows, 1)} * dy + ${
    cell("rows", rows, 2)
  } + ${float((width - 1) / 2)};
  let sy = ${cell("rows", rows, 3)} * dx + ${cell("rows", rows, 4)} * dy + ${
    cell("rows", rows, 5)
  } + ${float((height - 1) / 2)};
${sample}`;
  const at = `fn at(n: u32, c: u32, py: f32, px: f32) -> f32 {
  var value = fill(c);
  if (px >= 0.0 && px <= ${float(width - 1)} && py >= 0.0 && py <= ${float(height - 1)}) {
    value = ${pixel(images, "n", "c", "u32(py)", "u32(px)")};
  }
  return value;
}`;
  const text = [perChannel("fill", fill), at, perThread(threads, body)].join("\n");
  return {
    code: shader(
      [{ name: "images", dtype: images.dtype }, { name: "rows", dtype: rows.dtype }],
      [{ name: "y", dtype: "f32" }],
      [],
      text,
    ),
    groups: grid(threads, traits),
  };
}

function reference(
  { shape: [count, channels, height, width], images, rows, bilinear, fill }: WarpParams,
  [pixels, matrices]: readonly Float64Array[],
  out: Float64Array,
): void {
  const [midX, midY] = [(width - 1) / 2, (height - 1) / 2];
  let to = 0;
  for (let n = 0; n < count; n++) {
    const m = Array.from({ length: 6 }, (_, j) => cellOf(matrices, rows, n, j));
    const at = (c: number, y: number, x: number) =>
      y >= 0 && y < height && x >= 0 && x < width
        ? pixels[pixelAt(images, n, c, y, x)]
        : fill[c % fill.length];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const sx = m[0] * (x - midX) + m[1] * (y - midY) + m[2] + midX;
        const sy = m[3] * (x - midX) + m[4] * (y - midY) + m[5] + midY;
        for (let c = 0; c < channels; c++) {
          out[to++] = bilinear ? blend(at, c, sy, sx) : at(c, roundEven(sy), roundEven(sx));
        }
      }
    }
  }
}

function blend(
  at: (c: number, y: number, x: number) => number,
  c: number,
  sy: number,
  sx: number,
): number {
  const [y0, x0] = [Math.floor(sy), Math.floor(sx)];
  const [fy, fx] = [sy - y0, sx - x0];
  const top = at(c, y0, x0) * (1 - fx) + at(c, y0, x0 + 1) * fx;
  const low = at(c, y0 + 1, x0) * (1 - fx) + at(c, y0 + 1, x0 + 1) * fx;
  return top * (1 - fy) + low * fy;
}
