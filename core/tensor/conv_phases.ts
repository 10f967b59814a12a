/** The input gradient of a convolution: which taps reach which pixels, and a convolution for each kind of pixel. */

import { convKernel } from "../../kernels/conv2d.ts";
import type { Epilogue } from "../../kernels/epilogue.ts";
import { input } from "../../kernels/expr.ts";
import { channelsLast, convParams, type Geometry, packedWeight, place } from "./conv_layout.ts";
import { fullOn } from "./fill.ts";
import { denseOperand } from "./launch.ts";
import { empty, type Tensor } from "./tensor.ts";

/** How a kernel moves along one axis. */
export interface PhaseGeometry {
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

/** Pixels first, first + stride, … of an axis, all reached by the same taps. */
export interface Phase {
  /** The first pixel. */
  readonly first: number;
  /** How many pixels there are. */
  readonly count: number;
  /** The first tap that reaches them, the step to the next one, and how many there are; 0 where none does. */
  readonly tap: number;
  readonly tapStep: number;
  readonly taps: number;
  /** Distance between the output pixels that neighbouring taps read. */
  readonly dilation: number;
  /** Output pixels that a pixel needs beside the first. */
  readonly reach: number;
  /** Where output pixel 0 lies, from the output pixel that the first pixel needs first. */
  readonly start: number;
}

/**
 * The classes of input pixels of a convolution along one axis. Pixel i gets tap k of output pixel o where
 * i + padding = o·stride + k·dilation.
 *
 * @param size input pixels
 * @param kernel taps
 */
export function phasesOf(
  size: number,
  kernel: number,
  { stride, padding, dilation }: PhaseGeometry,
): Phase[] {
  const phases: Phase[] = [];
  const tapStep = stride / greatestCommonDivisor(stride, dilation);
  for (let first = 0; first < Math.min(stride, size); first++) {
    let tap = 0;
    while (tap < tapStep && (first + padding - tap * dilation) % stride !== 0) tap++;
    const taps = tap < tapStep && tap < kernel ? Math.ceil((kernel - tap) / tapStep) : 0;
    const between = tapStep * dilation / stride;
    const reach = Math.max(0, taps - 1) * between;
    phases.push({
      first,
      count: Math.ceil((size - first) / stride),
      tap,
      tapStep,
      taps,
      dilation: between,
      reach,
      start: reach - (first + padding - tap * dilation) / stride,
    });
  }
  return phases;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/**
 * The input gradient without groups: pixels whose distance is the stride see the same taps, so each such class is a
 * convolution of the output's gradient with some of the taps, stored where the class lies.
 */
export function spreadGradient(
  g: Tensor,
  weight: Tensor,
  geometry: Geometry,
  size: readonly [number, number],
): Tensor {
  const [, channels, kh, kw] = weight.shape;
  const [ys, xs] = [0, 1].map((d) => phasesOf(size[d], [kh, kw][d], axisOf(geometry, d)));
  const [h, w] = size;
  const shape = [g.shape[0], channels, h, w];
  const strides = [h * w * channels, 1, w * channels, channels];
  const full = [...ys, ...xs].every((phase) => phase.taps > 0);
  const out = full
    ? empty(g.device, shape, "f32", "conv2d", strides)
    : fullOn(g.device, [shape[0], h, w, channels], "f32", 0).permute([0, 3, 1, 2]);
  const image = channelsLast(g.detach(), [0, 0]);
  for (const y of ys) {
    for (const x of xs) {
      if (y.taps === 0 || x.taps === 0 || out.size === 0) continue;
      const grown = [y.count + y.reach, x.count + x.reach];
      const from = place(image, [shape[0], ...grown, g.shape[1]], [y.start, x.start], [1, 1]);
      const taps = weight.detach().slice({}, {}, sliceOf(y), sliceOf(x));
      const params = convParams(
        from,
        channels,
        [y.taps, x.taps],
        { ...geometry, stride: [1, 1], dilation: [y.dilation, x.dilation] },
        [y.count, x.count],
      );
      out.device.record({
        kernel: convKernel(params, false, placedIn(out, geometry.stride, [y.first, x.first])),
        inputs: [from, packedWeight(taps, true)].map(denseOperand),
        outputs: [denseOperand(out)],
        scalars: [],
      });
    }
  }
  return out;
}

function axisOf({ stride, padding, dilation }: Geometry, d: number): PhaseGeometry {
  return { stride: stride[d], padding: padding[d], dilation: dilation[d] };
}

function sliceOf({ tap, tapStep, taps }: Phase): { start: number; stop: number; step: number } {
  return { start: tap, stop: tap + (taps - 1) * tapStep + 1, step: tapStep };
}

/** Stores a convolution in every so many pixels of an image; plainly where that is all of them. */
function placedIn(
  out: Tensor,
  [sy, sx]: readonly [number, number],
  [y, x]: readonly [number, number],
): Epilogue | undefined {
  if (sy === 1 && sx === 1) return undefined;
  const [n, c, h, w] = out.strides;
  const target = { dtype: "f32", strides: [n, h * sy, w * sx, c], offset: y * h + x * w } as const;
  return { outputs: [{ expr: input(0), target }], inputs: [], scalars: [] };
}
