/** Images surrounded by zeros, or with zeros between their pixels: what convolutions read instead of testing every tap. */

import type { StridedOperand } from "./map.ts";
import { type DeviceTraits, intern, type Kernel, sizeOf, type WgslProgram } from "./types.ts";
import { address, coordinates, grid, perThread, shader, storageType } from "./wgsl.ts";

/** Where the pixels of an image go in a larger one. */
export interface PadParams {
  /** [N, H, W, C] of the result, which lies dense in this order. */
  readonly shape: readonly [number, number, number, number];
  /** Rows and columns of the image. */
  readonly size: readonly [number, number];
  /** Row and column of the image's first pixel in the result; may lie outside. */
  readonly start: readonly [number, number];
  /** Distance of the image's pixels in the result. */
  readonly step: readonly [number, number];
  /** The image; strides over [N, h, w, C]. */
  readonly image: StridedOperand;
}

/** The kernel that lays an image out among zeros. Input: the image; output: the result, of its dtype. */
export function padKernel(params: PadParams): Kernel {
  const { dtype } = params.image;
  const key = `pad|${JSON.stringify(params)}`;
  return intern(key, () => ({
    op: "pad",
    key,
    params,
    inputs: [dtype],
    outputs: [dtype],
    scalars: [],
    wgsl: (traits) => padProgram(params, traits),
    reference: ([x], [y]) => padReference(params, x, y),
  }));
}

function padProgram(
  { shape, size, start, step, image }: PadParams,
  traits: DeviceTraits,
): WgslProgram {
  const [n, h, w, c] = shape;
  const { strides, offset, dtype } = image;
  const wide = c % 4 === 0 && strides[3] === 1 && offset % 4 === 0 &&
    strides.slice(0, 3).every((s) => s % 4 === 0);
  const width = wide ? 4 : 1;
  const unit = (s: number, d: number) => wide ? d === 3 ? 1 : s / 4 : s;
  const axis = (name: string, from: string, d: 0 | 1) => [
    `  let ${name}r = i32(${from}) - ${start[d]};`,
    `  let ${name}q = clamp(${name}r / ${step[d]}, 0, ${size[d] - 1});`,
    `  let ${name} = u32(${name}q);`,
    `  let ${name}in = ${name}q * ${step[d]} == ${name}r;`,
  ];
  const from = address("p", strides.map(unit), offset / width);
  const element = storageType(dtype);
  const zero = wide ? `vec4<${element}>(${element}(0))` : `${element}(0)`;
  const text = [
    coordinates("i", [n, h, w, c / width], "c"),
    ...axis("p1", "c1", 0),
    ...axis("p2", "c2", 1),
    "  let p0 = c0;",
    "  let p3 = c3;",
    `  let v = x[${from}];`,
    `  y[i] = select(${zero}, v, p1in && p2in);`,
  ].join("\n");
  const count = sizeOf(shape) / width;
  const bind = (name: string) => ({ name, dtype, width } as const);
  return {
    code: shader([bind("x")], [bind("y")], [], perThread(count, text)),
    groups: grid(count, traits),
  };
}

function padReference(
  { shape, size, start, step, image }: PadParams,
  x: Float64Array,
  y: Float64Array,
): void {
  const [n, h, w, c] = shape;
  const { strides, offset } = image;
  y.fill(0, 0, sizeOf(shape));
  for (let b = 0; b < n; b++) {
    for (let iy = 0; iy < size[0]; iy++) {
      for (let ix = 0; ix < size[1]; ix++) {
        const [oy, ox] = [start[0] + iy * step[0], start[1] + ix * step[1]];
        if (oy < 0 || ox < 0 || oy >= h || ox >= w) continue;
        const from = offset + b * strides[0] + iy * strides[1] + ix * strides[2];
        for (let k = 0; k < c; k++) y[((b * h + oy) * w + ox) * c + k] = x[from + k * strides[3]];
      }
    }
  }
}
