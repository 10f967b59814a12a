/**
 * Two-dimensional convolution by its definition, one thread per result: for groups and depthwise layers, and as the plain
 * variant that the implicit matrix product is compared with.
 */

import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "./types.ts";
import { grid, perThread, shader, u32 } from "./wgsl.ts";

/** Sizes of a grouped convolution; strides in elements, bound at offset 0 of dense tensors. */
export interface DirectConvParams {
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  /** Height and width of the input, without padding. */
  readonly input: readonly [number, number];
  /** Height and width of the output. */
  readonly output: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
}

/** Which of the three results is computed: the output, or the gradient of the input or of the weight. */
export type ConvResult = "output" | "input" | "weight";

/**
 * The convolution kernel for one result. All tensors are dense: images [N, H, W, C], the weight [kh, kw, in/groups, out].
 * Operands: output from (x, w), input from (g, w), weight [splits, kh, kw, in/groups, out] from (x, g).
 */
export function directConvKernel(result: ConvResult, p: DirectConvParams, splits = 1): Kernel {
  const key = `conv2d_direct|${result}|${splits}|${JSON.stringify(p)}`;
  return intern(key, () => ({
    op: `conv2d_direct_${result}`,
    key,
    params: { ...p, splits },
    inputs: ["f32", "f32"],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(result, p, splits, traits),
    reference: (inputs, outputs) => reference(result, p, splits, inputs, outputs[0]),
  }));
}

function program(
  result: ConvResult,
  p: DirectConvParams,
  splits: number,
  traits: DeviceTraits,
): WgslProgram {
  const [text, count] = result === "output"
    ? outputBody(p)
    : result === "input"
    ? inputBody(p)
    : weightBody(p, splits);
  const inputs = [{ name: "a", dtype: "f32" }, { name: "b", dtype: "f32" }] as const;
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32" }], [], perThread(count, text)),
    groups: grid(count, traits),
  };
}

function outputBody(p: DirectConvParams): [string, number] {
  const [ci, co] = [p.inChannels / p.groups, p.outChannels / p.groups];
  const [oh, ow] = p.output;
  return [
    `  let co = i % ${p.outChannels}u; let ox = i / ${p.outChannels}u % ${ow}u;
  let oy = i / ${p.outChannels * ow}u % ${oh}u; let n = i / ${p.outChannels * ow * oh}u;
  let first = co / ${co}u * ${ci}u;
  var sum = 0.0;
  for (var ky = 0u; ky < ${p.kernel[0]}u; ky++) {
    let iy = oy * ${p.stride[0]}u + ky * ${p.dilation[0]}u - ${u32(p.padding[0])};
    if (iy >= ${p.input[0]}u) { continue; }
    for (var kx = 0u; kx < ${p.kernel[1]}u; kx++) {
      let ix = ox * ${p.stride[1]}u + kx * ${p.dilation[1]}u - ${u32(p.padding[1])};
      if (ix >= ${p.input[1]}u) { continue; }
      let xa = ((n * ${p.input[0]}u + iy) * ${p.input[1]}u + ix) * ${p.inChannels}u + first;
      let wa = (ky * ${p.kernel[1]}u + kx) * ${ci}u;
      for (var c = 0u; c < ${ci}u; c++) { sum += a[xa + c] * b[(wa + c) * ${p.outChannels}u + co]; }
    }
  }
  y[i] = sum;`,
    p.batch * oh * ow * p.outChannels,
  ];
}

function inputBody(p: DirectConvParams): [string, number] {
  const [ci, co] = [p.inChannels / p.groups, p.outChannels / p.groups];
  const [h, w] = p.input;
  const [oh, ow] = p.output;
  return [
    `  let ci = i % ${p.inChannels}u; let ix = i / ${p.inChannels}u % ${w}u;
  let iy = i / ${p.inChannels * w}u % ${h}u; let n = i / ${p.inChannels * w * h}u;
  let first = ci / ${ci}u * ${co}u;
  var sum = 0.0;
  for (var ky = 0u; ky < ${p.kernel[0]}u; ky++) {
    let sy = iy + ${p.padding[0]}u - ky * ${p.dilation[0]}u;
    if (sy >= ${oh * p.stride[0]}u || sy % ${p.stride[0]}u != 0u) { continue; }
    for (var kx = 0u; kx < ${p.kernel[1]}u; kx++) {
      let sx = ix + ${p.padding[1]}u - kx * ${p.dilation[1]}u;
      if (sx >= ${ow * p.stride[1]}u || sx % ${p.stride[1]}u != 0u) { continue; }
      let ga = ((n * ${oh}u + sy / ${p.stride[0]}u) * ${ow}u + sx / ${
      p.stride[1]
    }u) * ${p.outChannels}u + first;
      let wa = ((ky * ${p.kernel[1]}u + kx) * ${ci}u + ci % ${ci}u) * ${p.outChannels}u + first;
      for (var c = 0u; c < ${co}u; c++) { sum += a[ga + c] * b[wa + c]; }
    }
  }
  y[i] = sum;`,
    p.batch * h * w * p.inChannels,
  ];
}

function weightBody(p: DirectConvParams, splits: number): [string, number] {
  const [ci, co] = [p.inChannels / p.groups, p.outChannels / p.groups];
  const [oh, ow] = p.output;
  const size = p.kernel[0] * p.kernel[1] * ci * p.outChannels;
  const lines = p.batch * oh;
  const chunk = Math.ceil(lines / splits);
  return [
    `  let slice = i / ${size}u; let e = i % ${size}u;
  let co = e % ${p.outChannels}u; let c = e / ${p.outChannels}u % ${ci}u;
  let tap = e / ${p.outChannels * ci}u; let ky = tap / ${p.kernel[1]}u; let kx = tap % ${
      p.kernel[1]
    }u;
  let ci = co / ${co}u * ${ci}u + c;
  let high = min((slice + 1u) * ${chunk}u, ${lines}u);
  var sum = 0.0;
  for (var line = slice * ${chunk}u; line < high; line++) {
    let n = line / ${oh}u;
    let iy = line % ${oh}u * ${p.stride[0]}u + ky * ${p.dilation[0]}u - ${u32(p.padding[0])};
    if (iy >= ${p.input[0]}u) { continue; }
    for (var ox = 0u; ox < ${ow}u; ox++) {
      let ix = ox * ${p.stride[1]}u + kx * ${p.dilation[1]}u - ${u32(p.padding[1])};
      if (ix >= ${p.input[1]}u) { continue; }
      sum += a[((n * ${p.input[0]}u + iy) * ${p.input[1]}u + ix) * ${p.inChannels}u + ci] *
        b[(line * ${ow}u + ox) * ${p.outChannels}u + co];
    }
  }
  y[i] = sum;`,
    size * splits,
  ];
}

/** Visits every product of the convolution: addresses in the input, the weight and the output, and the output line. */
function forEachProduct(
  p: DirectConvParams,
  visit: (x: number, w: number, y: number, line: number) => void,
): void {
  const [ci, co] = [p.inChannels / p.groups, p.outChannels / p.groups];
  for (let line = 0; line < p.batch * p.output[0]; line++) {
    const n = Math.floor(line / p.output[0]);
    for (let ox = 0; ox < p.output[1]; ox++) {
      for (let ky = 0; ky < p.kernel[0]; ky++) {
        for (let kx = 0; kx < p.kernel[1]; kx++) {
          const iy = (line % p.output[0]) * p.stride[0] + ky * p.dilation[0] - p.padding[0];
          const ix = ox * p.stride[1] + kx * p.dilation[1] - p.padding[1];
          if (iy < 0 || ix < 0 || iy >= p.input[0] || ix >= p.input[1]) continue;
          for (let o = 0; o < p.outChannels; o++) {
            for (let c = 0; c < ci; c++) {
              visit(
                ((n * p.input[0] + iy) * p.input[1] + ix) * p.inChannels + Math.floor(o / co) * ci +
                  c,
                ((ky * p.kernel[1] + kx) * ci + c) * p.outChannels + o,
                (line * p.output[1] + ox) * p.outChannels + o,
                line,
              );
            }
          }
        }
      }
    }
  }
}

function reference(
  result: ConvResult,
  p: DirectConvParams,
  splits: number,
  [a, b]: readonly Float64Array[],
  out: Float64Array,
): void {
  const size = p.kernel[0] * p.kernel[1] * (p.inChannels / p.groups) * p.outChannels;
  const chunk = Math.ceil(p.batch * p.output[0] / splits);
  out.fill(0);
  forEachProduct(p, (x, w, y, line) => {
    if (result === "output") out[y] += a[x] * b[w];
    else if (result === "input") out[x] += a[y] * b[w];
    else out[Math.floor(line / chunk) * size + w] += a[x] * b[y];
  });
}
