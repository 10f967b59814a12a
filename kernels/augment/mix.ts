/** Two images of a batch as one: a share of each pixel, or a box of the other one. */

import { operandKey, type StridedOperand } from "../map.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "../types.ts";
import { grid, perThread, shader } from "../wgsl.ts";
import { cell, cellOf, pixel, pixelAt } from "./text.ts";

/** Parameters of mixed images. */
export interface MixParams {
  /** N, C, H, W. */
  readonly shape: readonly [number, number, number, number];
  /** f32 over [N, C, H, W]. */
  readonly images: StridedOperand;
  /** f32 over [N, 8]: a box, and the share of the image outside of it. */
  readonly rows: StridedOperand;
}

/** Each image with the one before it, dense in the order [N, H, W, C]. Inputs: images, rows. */
export function mixKernel(params: MixParams): Kernel {
  const { shape, images, rows } = params;
  const key = `augment mix|${shape}|${operandKey(images)}|${operandKey(rows)}`;
  return intern(key, () => ({
    op: "augment mix",
    key,
    params,
    inputs: [images.dtype, rows.dtype],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(params, traits),
    reference: ([pixels, boxes], [out]) => {
      const [count, channels, height, width] = shape;
      let to = 0;
      for (let n = 0; n < count; n++) {
        const other = (n + count - 1) % count;
        const [y0, y1, x0, x1, share] = [0, 1, 2, 3, 4].map((k) => cellOf(boxes, rows, n, k));
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const part = y >= y0 && y < y1 && x >= x0 && x < x1 ? 0 : share;
            for (let c = 0; c < channels; c++) {
              out[to++] = part * pixels[pixelAt(images, n, c, y, x)] +
                (1 - part) * pixels[pixelAt(images, other, c, y, x)];
            }
          }
        }
      }
    },
  }));
}

function program({ shape, images, rows }: MixParams, traits: DeviceTraits): WgslProgram {
  const [count, channels, height, width] = shape;
  const threads = count * channels * height * width;
  const edge = (k: number) => `u32(${cell("rows", rows, k)})`;
  const body = `  let c = i % ${channels}u;
  let p = i / ${channels}u;
  let n = p / ${height * width}u;
  let px = p % ${width}u;
  let py = (p / ${width}u) % ${height}u;
  let other = (n + ${count - 1}u) % ${count}u;
  let boxed = py >= ${edge(0)} && py < ${edge(1)} && px >= ${edge(2)} && px < ${edge(3)};
  let part = select(${cell("rows", rows, 4)}, 0.0, boxed);
  y[i] = part * ${pixel(images, "n", "c", "py", "px")} + (1.0 - part) * ${
    pixel(images, "other", "c", "py", "px")
  };`;
  return {
    code: shader(
      [{ name: "images", dtype: images.dtype }, { name: "rows", dtype: rows.dtype }],
      [{ name: "y", dtype: "f32" }],
      [],
      perThread(threads, body),
    ),
    groups: grid(threads, traits),
  };
}
