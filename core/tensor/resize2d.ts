/** Images of another size. */

import { LOOP_LIMIT } from "../../kernels/loop_limit.ts";
import { channelsLast } from "../../kernels/pool2d.ts";
import {
  placesOver,
  type ResizeAxis,
  resizeKernel,
  type ResizeShape,
  resizeSpreadKernel,
} from "../../kernels/resize2d.ts";
import { isFloat, type Kernel } from "../../kernels/types.ts";
import { DTypeError, ShapeError, showShape } from "../errors.ts";
import { type Pair, pairOf } from "./conv2d.ts";
import { denseOperand, operandOf, residualOf } from "./launch.ts";
import { record } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** How pixels of another grid are found. */
export type InterpolateMode = "nearest" | "nearest-exact" | "bilinear";

/** The size of a result, and how its pixels are found. */
export interface InterpolateOptions {
  /** Height and width of the result, at least 1; either this or scaleFactor. */
  readonly size?: Pair;
  /** By how much height and width grow, above 0; sizes are rounded down. */
  readonly scaleFactor?: Pair;
  /**
   * "nearest" takes pixel `⌊o / factor⌋` as old PyTorch did, "nearest-exact" the one whose middle
   * is nearest, "bilinear" mixes four. @default {"nearest"}
   */
  readonly mode?: InterpolateMode;
  /** Whether the middles of corner pixels coincide, in mode "bilinear". @default {false} */
  readonly alignCorners?: boolean;
}

const modes: readonly string[] = ["nearest", "nearest-exact", "bilinear"];

/**
 * Checks options that do not depend on an image.
 *
 * @param op for the message
 * @param options what was given
 * @throws {RangeError} if an option has no meaning
 */
export function checkInterpolation(op: string, options: InterpolateOptions): void {
  const { size, scaleFactor, mode = "nearest", alignCorners = false } = options;
  if ((size === undefined) === (scaleFactor === undefined)) {
    throw new RangeError(`Cannot ${op}: expected either size or scaleFactor`);
  }
  if (!modes.includes(mode)) {
    throw new RangeError(`Cannot ${op} in mode "${mode}": expected ${modes.join(", ")}`);
  }
  if (alignCorners && mode !== "bilinear") {
    throw new RangeError(
      `Cannot ${op} with aligned corners in mode "${mode}": expected mode bilinear`,
    );
  }
  if (size !== undefined) pairOf(op, "size", size, 1);
  const factors = typeof scaleFactor === "number" ? [scaleFactor] : scaleFactor ?? [];
  if (factors.some((f) => !(f > 0 && f < Infinity))) {
    throw new RangeError(
      `Cannot ${op} with scaleFactor ${JSON.stringify(scaleFactor)}: expected numbers above 0`,
    );
  }
}

/**
 * Images of another size, as torch.nn.functional.interpolate.
 *
 * @param x [N, C, H, W], f32 or f16
 * @param options size or scaleFactor, mode, alignCorners
 * @returns [N, C, H', W'] of the dtype of x, channels last in memory; a given scaleFactor, not the
 * quotient of the sizes, says where pixels lie
 * @throws {DTypeError} if x is no float
 * @throws {ShapeError} if x holds no images, or the result would have no pixels
 * @throws {RangeError} if an option has no meaning
 *
 * @example
 * ```ts
 * import { interpolate, referenceDevice, tensor } from "@legoml/legoml/core";
 * import { assertEquals } from "@std/assert";
 *
 * const x = tensor([[[[0, 8]]]], { device: referenceDevice() });
 * const wide = { size: [1, 4], mode: "bilinear" } as const;
 * assertEquals(await interpolate(x, wide).array(), [[[[0, 2, 6, 8]]]]);
 * ```
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  const op = "interpolate";
  checkInterpolation(op, options);
  if (!isFloat(x.dtype)) {
    throw new DTypeError(`Cannot ${op} a tensor of dtype ${x.dtype}: expected f32 or f16`);
  }
  if (x.ndim !== 4 || x.shape.slice(-2).includes(0)) {
    throw new ShapeError(
      `Cannot ${op} ${showShape(x.shape)}: expected [N, C, H, W] with H and W of at least 1`,
    );
  }
  const [batch, channels] = x.shape;
  const [h, w] = [0, 1].map((d) => axisOf(x.shape[2 + d], d, options));
  if (h.out < 1 || w.out < 1) {
    throw new ShapeError(
      `Cannot ${op} ${showShape(x.shape)} with scaleFactor ${
        JSON.stringify(options.scaleFactor)
      }: the result would be ${h.out} × ${w.out}`,
    );
  }
  return resize(x.to("f32"), { batch, channels, h, w }).to(x.dtype);
}

function axisOf(size: number, d: number, options: InterpolateOptions): ResizeAxis {
  const { mode = "nearest", alignCorners = false } = options;
  const pick = (pair: Pair) => typeof pair === "number" ? pair : pair[d];
  const factor = options.scaleFactor === undefined ? null : pick(options.scaleFactor);
  const out = factor === null ? pick(options.size!) : Math.floor(size * factor);
  if (alignCorners) {
    return { size, out, scale: out > 1 ? (size - 1) / (out - 1) : 0, kind: "linear-aligned" };
  }
  const scale = factor === null ? size / out : 1 / factor;
  return { size, out, scale, kind: mode === "bilinear" ? "linear" : mode };
}

function launch(op: string, kernel: () => Kernel, t: Tensor, shape: readonly number[]): Tensor {
  const out = empty(t.device, shape, "f32", op, channelsLast(shape[1], shape[2], shape[3]));
  if (out.size > 0) {
    const outputs = [denseOperand(out)];
    t.device.record({ kernel: kernel(), inputs: [operandOf(t)], outputs, scalars: [] });
  }
  return out;
}

const strided = (t: Tensor) => ({ dtype: t.dtype, strides: t.strides, offset: residualOf(t) });

/** Resizes both axes at once, or one after the other where a thread would look through too much. */
function resize(x: Tensor, shape: ResizeShape): Tensor {
  const { batch, channels, h, w } = shape;
  const [over, across] = [placesOver(h), placesOver(w)];
  if (Math.max(over, across) > LOOP_LIMIT) {
    throw new ShapeError(
      `Cannot interpolate ${showShape(x.shape)} to ${h.out} × ${w.out}: expected at most about ` +
        `${LOOP_LIMIT / 2} pixels for each`,
    );
  }
  if (over * across > LOOP_LIMIT) {
    const same: ResizeAxis = { size: h.size, out: h.size, scale: 1, kind: "nearest" };
    const wide = resize(x, { ...shape, h: same });
    return resize(wide, { ...shape, w: { ...same, size: w.out, out: w.out } });
  }
  const kernel = () => resizeKernel(shape, strided(x));
  const out = launch("resize2d", kernel, x, [batch, channels, h.out, w.out]);
  return record("resize2d", out, [x], (g) => [spread(g, shape)]);
}

function spread(g: Tensor, shape: ResizeShape): Tensor {
  const { batch, channels, h, w } = shape;
  const kernel = () => resizeSpreadKernel(shape, strided(g));
  const out = launch("resize2d backward", kernel, g, [batch, channels, h.size, w.size]);
  return record("resize2d backward", out, [g], (gg) => [resize(gg, shape)]);
}
