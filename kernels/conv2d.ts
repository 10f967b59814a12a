/**
 * Two-dimensional convolution as implicit matrix product, channels last, without groups.
 *
 * Forward: rows are output pixels, columns output channels, the summed axis runs over taps and input channels; patches are
 * gathered while loading, never stored. Weight gradient: rows are (tap, input channel), columns output channels, the summed
 * axis runs over output pixels and is cut into slices of whole lines, which a second pass adds in fixed order. The input
 * gradient is a forward convolution with the turned weight.
 */

import { applyEpilogue, type Epilogue, epilogueKey, epilogueSignature } from "./epilogue.ts";
import { convProgram, convWeightProgram, forwardProblem, weightProblem } from "./conv2d_code.ts";
import { tileNames, tileOf } from "./tiles.ts";
import { intern, type Kernel, type Shape, sizeOf } from "./types.ts";

/** Sizes of a convolution over an input that is already padded; dense, channels last. */
export interface ConvParams {
  readonly batch: number;
  /** Height and width of the padded input. */
  readonly height: number;
  readonly width: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  /** Height and width of the output. */
  readonly outHeight: number;
  readonly outWidth: number;
}

/** Multiplications and additions of one pass. */
export function convFlops(p: ConvParams): number {
  return 2 * p.batch * p.outHeight * p.outWidth * p.kernel[0] * p.kernel[1] * p.inChannels *
    p.outChannels;
}

/** Parameters of a forward convolution kernel. */
export interface ConvForward extends ConvParams {
  readonly bias: boolean;
  readonly epilogue?: Epilogue;
}

/** Parameters of a weight-gradient kernel. */
export interface ConvWeight extends ConvParams {
  readonly splits: number;
  readonly epilogue?: Epilogue;
}

/**
 * Forward convolution. Inputs: x [batch, height, width, in], w [kh, kw, in, out] and, where asked for, bias [out]; output
 * [batch, outHeight, outWidth, out].
 *
 * @param epilogue what is stored instead of the output, over its axes
 */
export function convKernel(p: ConvParams, bias: boolean, epilogue?: Epilogue): Kernel {
  const key = `conv2d|${bias}|${convKey(p)}${epilogue ? `|${epilogueKey(epilogue)}` : ""}`;
  const shape = convShape(p);
  return intern(key, () => ({
    op: "conv2d",
    key,
    params: { ...p, bias, epilogue } satisfies ConvForward,
    ...epilogueSignature(bias ? ["f32", "f32", "f32"] : ["f32", "f32"], epilogue),
    flops: convFlops(p),
    variants: (traits) => tileNames(forwardProblem(p, epilogue), traits),
    wgsl: (traits, variant) => {
      const tile = tileOf(forwardProblem(p, epilogue), traits, variant);
      return convProgram(p, bias, epilogue, tile, traits);
    },
    reference: (inputs, outputs, scalars) => {
      if (epilogue === undefined) return convReference(p, inputs, outputs[0]);
      const sums = new Float64Array(sizeOf(shape));
      convReference(p, bias ? inputs : inputs.slice(0, 2), sums);
      applyEpilogue(epilogue, shape, sums, inputs.slice(bias ? 3 : 2), outputs, scalars);
    },
  }));
}

/** Text that identifies a convolution. */
function convKey(p: ConvParams): string {
  const { batch, height, width, inChannels, outChannels, kernel, stride, dilation } = p;
  const sizes = [batch, height, width, inChannels, outChannels, p.outHeight, p.outWidth];
  return `${sizes}|${kernel}|${stride}|${dilation}`;
}

/** Axes of the output: [batch, outHeight, outWidth, out]. */
export function convShape(p: ConvParams): Shape {
  return [p.batch, p.outHeight, p.outWidth, p.outChannels];
}

/** Axes of the weight: [kh, kw, in, out]. */
export function convWeightShape(p: ConvParams): Shape {
  return [...p.kernel, p.inChannels, p.outChannels];
}

function convReference(
  p: ConvParams,
  [x, w, bias]: readonly Float64Array[],
  y: Float64Array,
): void {
  const { inChannels: cin, outChannels: cout } = p;
  let at = 0;
  forEachPixel(p, (n, oy, ox) => {
    for (let co = 0; co < cout; co++) {
      let sum = bias ? bias[co] : 0;
      forEachTap(p, n, oy, ox, (from, tap) => {
        for (let ci = 0; ci < cin; ci++) sum += x[from + ci] * w[(tap * cin + ci) * cout + co];
      });
      y[at++] = sum;
    }
  });
}

function forEachPixel(p: ConvParams, visit: (n: number, oy: number, ox: number) => void): void {
  for (let n = 0; n < p.batch; n++) {
    for (let oy = 0; oy < p.outHeight; oy++) {
      for (let ox = 0; ox < p.outWidth; ox++) visit(n, oy, ox);
    }
  }
}

/** Visits the taps of an output pixel with the address of the first channel that each reads. */
function forEachTap(
  p: ConvParams,
  n: number,
  oy: number,
  ox: number,
  visit: (from: number, tap: number) => void,
): void {
  for (let ky = 0; ky < p.kernel[0]; ky++) {
    for (let kx = 0; kx < p.kernel[1]; kx++) {
      const iy = oy * p.stride[0] + ky * p.dilation[0];
      const ix = ox * p.stride[1] + kx * p.dilation[1];
      visit(((n * p.height + iy) * p.width + ix) * p.inChannels, ky * p.kernel[1] + kx);
    }
  }
}

/**
 * Weight gradient. Inputs: x [batch, height, width, in], g [batch, outHeight, outWidth, out]; output
 * [splits, kh, kw, in, out], to be summed over the slices.
 *
 * @param epilogue what is stored instead of the output, over the axes [kh, kw, in, out]; only without slices
 */
export function convWeightKernel(p: ConvParams, splits: number, epilogue?: Epilogue): Kernel {
  const text = epilogue ? `|${epilogueKey(epilogue)}` : "";
  const key = `conv2d_weight|${splits}|${convKey(p)}${text}`;
  const shape = convWeightShape(p);
  return intern(key, () => ({
    op: "conv2d_weight",
    key,
    params: { ...p, splits, epilogue } satisfies ConvWeight,
    ...epilogueSignature(["f32", "f32"], epilogue),
    flops: convFlops(p),
    variants: (traits) => tileNames(weightProblem(p, splits, epilogue), traits),
    wgsl: (traits, variant) => {
      const tile = tileOf(weightProblem(p, splits, epilogue), traits, variant);
      return convWeightProgram(p, splits, epilogue, tile, traits);
    },
    reference: (inputs, outputs, scalars) => {
      if (epilogue === undefined) return convWeightReference(p, splits, inputs, outputs[0]);
      const sums = new Float64Array(sizeOf(shape));
      convWeightReference(p, splits, inputs, sums);
      applyEpilogue(epilogue, shape, sums, inputs.slice(2), outputs, scalars);
    },
  }));
}

function convWeightReference(
  p: ConvParams,
  splits: number,
  [x, g]: readonly Float64Array[],
  y: Float64Array,
): void {
  const { inChannels: cin, outChannels: cout } = p;
  const chunk = Math.ceil(p.batch * p.outHeight / splits);
  const size = p.kernel[0] * p.kernel[1] * cin * cout;
  y.fill(0);
  forEachPixel(p, (n, oy, ox) => {
    const line = n * p.outHeight + oy;
    const slice = Math.floor(line / chunk) * size;
    forEachTap(p, n, oy, ox, (from, tap) => {
      for (let ci = 0; ci < cin; ci++) {
        for (let co = 0; co < cout; co++) {
          y[slice + (tap * cin + ci) * cout + co] += x[from + ci] *
            g[(line * p.outWidth + ox) * cout + co];
        }
      }
    });
  });
}
