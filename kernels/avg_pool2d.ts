/** Mean of each window, and its transpose, which spreads a value over its window. */

import type { StridedOperand } from "./map.ts";
import {
  type BinAxis,
  forTaps,
  longestWindow,
  poolKernel,
  type PoolShape,
  type Taps,
  type WindowAxis,
  windowsFunctions,
  windowTaps,
} from "./pool2d.ts";
import type { Kernel } from "./types.ts";
import { addressesOf, u32 } from "./wgsl.ts";

/** Windows along an axis: equal ones without dilation, or bins. */
export type AvgAxis = WindowAxis | BinAxis;

/** Images, their windows, and whether padding counts in the divisor. */
export interface AvgPoolShape extends PoolShape<AvgAxis> {
  readonly countPadding: boolean;
}

/**
 * Functions `low_<name>(o)`, `high_<name>(o)` and `count_<name>(o)`: the elements of window o, and
 * its share of the divisor.
 */
function elementFunctions(name: string, axis: AvgAxis, countPadding: boolean): string {
  const { size, out } = axis;
  if (axis.kind === "bins") {
    return `fn low_${name}(o: u32) -> u32 { return o * ${u32(size)} / ${u32(out)}; }
fn high_${name}(o: u32) -> u32 { return ((o + 1u) * ${u32(size)} + ${u32(out - 1)}) / ${u32(out)}; }
fn count_${name}(o: u32) -> u32 { return high_${name}(o) - low_${name}(o); }`;
  }
  const { kernel, stride, padding } = axis;
  const start = `o * ${u32(stride)}`;
  const count = countPadding
    ? `min(${start} + ${u32(kernel)}, ${u32(size + 2 * padding)}) - ${start}`
    : `high_${name}(o) - low_${name}(o)`;
  return `fn low_${name}(o: u32) -> u32 { return max(${start}, ${u32(padding)}) - ${u32(padding)}; }
fn high_${name}(o: u32) -> u32 {
  return min(${start} + ${u32(kernel)}, ${u32(size + padding)}) - ${u32(padding)};
}
fn count_${name}(o: u32) -> u32 { return ${count}; }`;
}

/** Whether some windows have fewer elements than others. */
function isRagged(axis: AvgAxis): boolean {
  if (axis.kind === "bins") return axis.size % axis.out !== 0;
  return axis.padding > 0 || (axis.out - 1) * axis.stride + axis.kernel > axis.size;
}

function elementTaps({ h, w }: AvgPoolShape): Taps {
  return {
    rows: longestWindow(h),
    columns: longestWindow(w),
    rowLow: "low_h(c1)",
    rowHigh: "high_h(c1)",
    columnLow: "low_w(c2)",
    columnHigh: "high_w(c2)",
    ragged: isRagged(h) || isRagged(w),
  };
}

/** Mean of each window. Input: an image. Output: one value for each window, dense channels-last. */
export function avgPoolKernel(shape: AvgPoolShape, x: StridedOperand): Kernel {
  const { batch, channels, h, w, countPadding } = shape;
  const key = `avgPool2d|${JSON.stringify(shape)}|${JSON.stringify(x)}`;
  return poolKernel(key, shape, () => ({
    batch,
    channels,
    rows: h.out,
    columns: w.out,
    inputs: [{ name: "x", operand: x }],
    outputs: [{ name: "y", dtype: "f32" }],
    vector: true,
    functions: elementFunctions("h", h, countPadding) + "\n" +
      elementFunctions("w", w, countPadding),
    body: (wide) =>
      `  var sum = ${wide("f32")}(0.0);
${forTaps(elementTaps(shape), "    sum += load_x(c0, c3, row, column);")}
  y[i] = sum / f32(count_h(c1) * count_w(c2));`,
  }), ([values], [y]) => {
    const from = addressesOf([batch, channels, h.size, w.size], x.strides, x.offset);
    eachPair(shape, (image, element, window, divisor) => {
      y[window] += values[from[image * h.size * w.size + element]] / divisor;
    }, y);
  });
}

/**
 * Spreads each value evenly over its window. Input: one value for each window. Output: an image,
 * dense channels-last.
 */
export function avgSpreadKernel(shape: AvgPoolShape, g: StridedOperand): Kernel {
  const { batch, channels, h, w, countPadding } = shape;
  const key = `avgPool2d spread|${JSON.stringify(shape)}|${JSON.stringify(g)}`;
  return poolKernel(key, shape, () => ({
    batch,
    channels,
    rows: h.size,
    columns: w.size,
    inputs: [{ name: "g", operand: g }],
    outputs: [{ name: "y", dtype: "f32" }],
    vector: true,
    functions: [
      windowsFunctions("h", h),
      windowsFunctions("w", w),
      elementFunctions("h", h, countPadding),
      elementFunctions("w", w, countPadding),
    ].join("\n"),
    body: (wide) =>
      `  var sum = ${wide("f32")}(0.0);
${
        forTaps(
          windowTaps(h, w),
          "    sum += load_g(c0, c3, row, column) / f32(count_h(row) * count_w(column));",
        )
      }
  y[i] = sum;`,
  }), ([values], [y]) => {
    const from = addressesOf([batch, channels, h.out, w.out], g.strides, g.offset);
    const area = h.size * w.size;
    y.fill(0, 0, batch * channels * area);
    eachPair(shape, (image, element, _window, divisor, place) => {
      const [n, c] = [Math.floor(image / channels), image % channels];
      const value = values[from[image * h.out * w.out + place]];
      y[(n * area + element) * channels + c] += value / divisor;
    }, null);
  });
}

/**
 * Elements of a window by PyTorch's definition: where it starts and ends, and how many of them the
 * divisor counts.
 */
function windowAt(axis: AvgAxis, o: number, countPadding: boolean): [number, number, number] {
  if (axis.kind === "bins") {
    const low = Math.floor(o * axis.size / axis.out);
    const high = Math.ceil((o + 1) * axis.size / axis.out);
    return [low, high, high - low];
  }
  const start = o * axis.stride - axis.padding;
  const end = Math.min(start + axis.kernel, axis.size + axis.padding);
  const [low, high] = [Math.max(start, 0), Math.min(end, axis.size)];
  return [low, high, countPadding ? end - start : high - low];
}

/** Visits every element of every window of every image; clears `windows` where given. */
function eachPair(
  shape: AvgPoolShape,
  visit: (image: number, element: number, window: number, divisor: number, place: number) => void,
  windows: Float64Array | null,
): void {
  const { batch, channels, h, w, countPadding } = shape;
  windows?.fill(0, 0, batch * channels * h.out * w.out);
  for (let image = 0; image < batch * channels; image++) {
    const [n, c] = [Math.floor(image / channels), image % channels];
    for (let o = 0; o < h.out; o++) {
      const [top, bottom, rows] = windowAt(h, o, countPadding);
      for (let p = 0; p < w.out; p++) {
        const [left, right, columns] = windowAt(w, p, countPadding);
        const place = o * w.out + p;
        const window = (n * h.out * w.out + place) * channels + c;
        for (let a = top; a < bottom; a++) {
          for (let b = left; b < right; b++) {
            visit(image, a * w.size + b, window, rows * columns, place);
          }
        }
      }
    }
  }
}
