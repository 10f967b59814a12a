/** Images of another size: each pixel of the result is one of the input, or mixed of its neighbours. */

import type { StridedOperand } from "./map.ts";
import { forTaps, poolKernel, type PoolShape, type Taps } from "./pool2d.ts";
import type { Kernel } from "./types.ts";
import { addressesOf, u32 } from "./wgsl.ts";

/** Where the places of a result lie on an axis of the input. */
export interface ResizeAxis {
  /** Elements of the input. */
  readonly size: number;
  /** Elements of the result. */
  readonly out: number;
  /** Steps in the input for one in the result. */
  readonly scale: number;
  /**
   * The nearest element by the lower corner or by the middle of a pixel; or neighbours mixed by the
   * distance of their middles, or by that of corners that coincide.
   */
  readonly kind: "nearest" | "nearest-exact" | "linear" | "linear-aligned";
}

/** Images, and how both axes are resized. */
export type ResizeShape = PoolShape<ResizeAxis>;

function isLinear({ kind }: ResizeAxis): boolean {
  return kind === "linear" || kind === "linear-aligned";
}

/** A number as the text of an f32. */
function float(value: number): string {
  const text = String(Math.fround(value));
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/**
 * Functions `low_<name>(o)`, `high_<name>(o)` and `part_<name>(o)`: the elements that place o lies
 * between, and the share of the higher one.
 */
function placeFunctions(name: string, axis: ResizeAxis): string {
  const { size, kind } = axis;
  const scale = float(axis.scale);
  const place = {
    nearest: `f32(o) * ${scale}`,
    "nearest-exact": `(f32(o) + 0.5) * ${scale}`,
    linear: `max((f32(o) + 0.5) * ${scale} - 0.5, 0.0)`,
    "linear-aligned": `f32(o) * ${scale}`,
  }[kind];
  const last = u32(size - 1);
  return `fn place_${name}(o: u32) -> f32 { return ${place}; }
fn low_${name}(o: u32) -> u32 { return min(u32(place_${name}(o)), ${last}); }
fn high_${name}(o: u32) -> u32 { return min(low_${name}(o) + 1u, ${last}); }
fn part_${name}(o: u32) -> f32 { return ${
    isLinear(axis) ? `place_${name}(o) - f32(low_${name}(o))` : "0.0"
  }; }`;
}

/**
 * Bounds of the places of the result that look at element i: `(i + from) / scale + shift` and
 * `(i + until) / scale + shift`.
 */
const reach = {
  nearest: { from: 0, until: 1, shift: 0 },
  "nearest-exact": { from: 0, until: 1, shift: -0.5 },
  linear: { from: -0.5, until: 1.5, shift: -0.5 },
  "linear-aligned": { from: -1, until: 1, shift: 0 },
} as const;

/** What bounds are widened by against rounding; places between that do not look there weigh 0. */
const SLACK = 0.01;

/** The most places of the result that are looked through for one element. */
export function placesOver({ out, scale, kind }: ResizeAxis): number {
  const { from, until } = reach[kind];
  return scale === 0 ? out : Math.min(out, Math.ceil((until - from) / scale) + 3);
}

/** Functions `first_<name>(i)`, `end_<name>(i)` and `weight_<name>(o, i)`. */
function spreadFunctions(name: string, { size, out, scale, kind }: ResizeAxis): string {
  const weight = `fn weight_${name}(o: u32, i: u32) -> f32 {
  return select(0.0, 1.0 - part_${name}(o), low_${name}(o) == i) +
    select(0.0, part_${name}(o), high_${name}(o) == i);
}`;
  if (scale === 0) {
    return `fn first_${name}(i: u32) -> u32 { return 0u; }
fn end_${name}(i: u32) -> u32 { return ${u32(out)}; }
${weight}`;
  }
  const { from, until, shift } = reach[kind];
  const bound = (edge: number, slack: number) =>
    `(f32(i) + ${float(edge)}) * ${float(1 / scale)} + ${float(shift + slack)}`;
  return `fn first_${name}(i: u32) -> u32 {
  return select(u32(max(${bound(from, -SLACK)}, 0.0)), 0u, i == 0u);
}
fn end_${name}(i: u32) -> u32 {
  let last = min(u32(max(${bound(until, SLACK)}, 0.0)) + 1u, ${u32(out)});
  return select(last, ${u32(out)}, i == ${u32(size - 1)});
}
${weight}`;
}

/** Two pixels mixed by a share of the second one; a share of 0 or 1 gives one of them exactly. */
const mix = (a: string, b: string, part: string) => `(${a} * (1.0 - ${part}) + ${b} * ${part})`;

/** Pixels of the result. Input: an image. Output: dense channels-last. */
export function resizeKernel(shape: ResizeShape, x: StridedOperand): Kernel {
  const { batch, channels, h, w } = shape;
  const key = `resize2d|${JSON.stringify(shape)}|${JSON.stringify(x)}`;
  const at = (row: string, column: string) => `load_x(c0, c3, ${row}_h(c1), ${column}_w(c2))`;
  const line = (row: string) =>
    isLinear(w) ? mix(at(row, "low"), at(row, "high"), "right") : at(row, "low");
  return poolKernel(key, shape, () => ({
    batch,
    channels,
    rows: h.out,
    columns: w.out,
    inputs: [{ name: "x", operand: x }],
    outputs: [{ name: "y", dtype: "f32" }],
    vector: true,
    functions: placeFunctions("h", h) + "\n" + placeFunctions("w", w),
    body: () =>
      `  let below = part_h(c1);
  let right = part_w(c2);
  y[i] = ${isLinear(h) ? mix(line("low"), line("high"), "below") : line("low")};`,
  }), ([values], [y]) => {
    const from = addressesOf([batch, channels, h.size, w.size], x.strides, x.offset);
    y.fill(0, 0, batch * channels * h.out * w.out);
    eachShare(shape, (image, element, place, share) => {
      y[placeOf(shape, image, place, h.out * w.out)] +=
        values[from[image * h.size * w.size + element]] * share;
    });
  });
}

/**
 * The transpose: each pixel of the result goes to those that it was mixed of. Output: an image of
 * the size of the input, dense channels-last.
 */
export function resizeSpreadKernel(shape: ResizeShape, g: StridedOperand): Kernel {
  const { batch, channels, h, w } = shape;
  const key = `resize2d spread|${JSON.stringify(shape)}|${JSON.stringify(g)}`;
  const taps: Taps = {
    rows: placesOver(h),
    columns: placesOver(w),
    rowLow: "first_h(c1)",
    rowHigh: "end_h(c1)",
    columnLow: "first_w(c2)",
    columnHigh: "end_w(c2)",
    ragged: true,
  };
  return poolKernel(key, shape, () => ({
    batch,
    channels,
    rows: h.size,
    columns: w.size,
    inputs: [{ name: "g", operand: g }],
    outputs: [{ name: "y", dtype: "f32" }],
    vector: true,
    functions: [h, w].flatMap((axis, d) => [
      placeFunctions("hw"[d], axis),
      spreadFunctions("hw"[d], axis),
    ]).join("\n"),
    body: (wide) =>
      `  var sum = ${wide("f32")}(0.0);
${
        forTaps(
          taps,
          "    sum += load_g(c0, c3, row, column) * (weight_h(row, c1) * weight_w(column, c2));",
        )
      }
  y[i] = sum;`,
  }), ([values], [y]) => {
    const from = addressesOf([batch, channels, h.out, w.out], g.strides, g.offset);
    y.fill(0, 0, batch * channels * h.size * w.size);
    eachShare(shape, (image, element, place, share) => {
      y[placeOf(shape, image, element, h.size * w.size)] +=
        values[from[image * h.out * w.out + place]] * share;
    });
  });
}

/** Address of a place of an image in channels-last memory. */
function placeOf({ channels }: ResizeShape, image: number, place: number, area: number): number {
  return (Math.floor(image / channels) * area + place) * channels + image % channels;
}

/** The elements that place o is mixed of, with their shares. */
function sharesAt({ size, scale, kind }: ResizeAxis, o: number): [number, number][] {
  const last = size - 1;
  // Where the nearest element changes is decided in f32 on all devices, as in PyTorch.
  const single = Math.fround(scale);
  if (kind === "nearest") return [[Math.min(Math.floor(Math.fround(o * single)), last), 1]];
  if (kind === "nearest-exact") {
    return [[Math.min(Math.floor(Math.fround((o + 0.5) * single)), last), 1]];
  }
  const place = kind === "linear" ? Math.max((o + 0.5) * scale - 0.5, 0) : o * scale;
  const low = Math.min(Math.floor(place), last);
  return [[low, 1 - (place - low)], [Math.min(low + 1, last), place - low]];
}

/** Visits every pair of an element and a place that looks at it, of every image. */
function eachShare(
  { batch, channels, h, w }: ResizeShape,
  visit: (image: number, element: number, place: number, share: number) => void,
): void {
  const columns = Array.from({ length: w.out }, (_, p) => sharesAt(w, p));
  for (let o = 0; o < h.out; o++) {
    for (const [row, ofRow] of sharesAt(h, o)) {
      columns.forEach((shares, p) => {
        for (const [column, ofColumn] of shares) {
          for (let image = 0; image < batch * channels; image++) {
            visit(image, row * w.size + column, o * w.out + p, ofRow * ofColumn);
          }
        }
      });
    }
  }
}
