/**
 * Largest value of each window, with its place, and the two linear maps that follow that place back
 * and forth.
 */

import type { StridedOperand } from "./map.ts";
import {
  channelsLast,
  forTaps,
  poolKernel,
  type PoolShape,
  type WindowAxis,
  windowsFunctions,
  windowTaps,
} from "./pool2d.ts";
import type { Kernel } from "./types.ts";
import { addressesOf, u32 } from "./wgsl.ts";

/** The place of a window that lies in the padding alone. */
const NOWHERE = 0xffffffff;

type Shape = PoolShape<WindowAxis>;

function keyOf(name: string, shape: Shape, operand: StridedOperand): string {
  return `${name}|${JSON.stringify(shape)}|${JSON.stringify(operand)}`;
}

/** Whether all windows lie inside the axis. */
function inside({ size, out, kernel, stride, padding, dilation }: WindowAxis): boolean {
  return padding === 0 && (out - 1) * stride + dilation * (kernel - 1) < size;
}

/**
 * Largest value of each window; NaN counts as the largest, the first of equals wins.
 *
 * Input: x. Outputs, dense channels-last: the values and, where asked for, their places `row · W +
 * column` in u32.
 */
export function maxPoolKernel(shape: Shape, x: StridedOperand, places: boolean): Kernel {
  const { batch, channels, h, w } = shape;
  return poolKernel(`${keyOf("maxPool2d", shape, x)}|${places}`, shape, () => ({
    batch,
    channels,
    rows: h.out,
    columns: w.out,
    inputs: [{ name: "x", operand: x }],
    outputs: [
      { name: "y", dtype: "f32" },
      ...(places ? [{ name: "places", dtype: "u32" } as const] : []),
    ],
    vector: true,
    functions: "",
    body: (wide) => maxBody(shape, wide, places),
  }), ([input], [y, found]) => maxReference(shape, x, input, y, places ? found : null));
}

function maxBody({ h, w }: Shape, wide: (type: string) => string, places: boolean): string {
  const safe = inside(h) && inside(w);
  const lines = [
    `  var best = ${wide("f32")}(-inf());`,
    `  var at = ${wide("u32")}(${u32(NOWHERE)});`,
  ];
  // Rows and columns before the image wrap round to huge numbers, so one comparison guards both ends.
  const place = (index: string, tap: string, { stride, dilation, padding }: WindowAxis) =>
    `${index} * ${u32(stride)} + ${tap} * ${u32(dilation)} - ${u32(padding)}`;
  const nan = `(bitcast<${wide("u32")}>(v) & ${wide("u32")}(0x7fffffffu)) > ${
    wide("u32")
  }(0x7f800000u)`;
  const first = `at == ${wide("u32")}(${u32(NOWHERE)})`;
  lines.push(forTaps(
    {
      rows: h.kernel,
      columns: w.kernel,
      rowLow: "0u",
      rowHigh: u32(h.kernel),
      columnLow: "0u",
      columnHigh: u32(w.kernel),
      ragged: false,
    },
    `    let py = ${place("c1", "row", h)};
    let px = ${place("c2", "column", w)};
    ${safe ? "" : `if (py < ${h.size}u && px < ${w.size}u) `}{
    let v = load_x(c0, c3, py, px);
    let take = (v > best) | (${nan}) | (${first});
    best = select(best, v, take);
    at = select(at, ${wide("u32")}(py * ${w.size}u + px), take);
    }`,
  ));
  lines.push("  y[i] = best;");
  if (places) lines.push("  places[i] = at;");
  return lines.join("\n");
}

/** Visits the windows channels-last, as results lie. */
function eachWindow(
  { batch, channels, h, w }: Shape,
  visit: (n: number, c: number, row: number, column: number, at: number) => void,
): void {
  let at = 0;
  for (let n = 0; n < batch; n++) {
    for (let row = 0; row < h.out; row++) {
      for (let column = 0; column < w.out; column++) {
        for (let c = 0; c < channels; c++) visit(n, c, row, column, at++);
      }
    }
  }
}

function maxReference(
  shape: Shape,
  operand: StridedOperand,
  x: Float64Array,
  y: Float64Array,
  places: Float64Array | null,
): void {
  const { batch, channels, h, w } = shape;
  const from = addressesOf([batch, channels, h.size, w.size], operand.strides, operand.offset);
  eachWindow(shape, (n, c, row, column, at) => {
    let best = -Infinity;
    let place = NOWHERE;
    for (let a = 0; a < h.kernel; a++) {
      for (let b = 0; b < w.kernel; b++) {
        const py = row * h.stride - h.padding + a * h.dilation;
        const px = column * w.stride - w.padding + b * w.dilation;
        if (py < 0 || py >= h.size || px < 0 || px >= w.size) continue;
        const value = x[from[((n * channels + c) * h.size + py) * w.size + px]];
        if (value > best || Number.isNaN(value) || place === NOWHERE) {
          best = value;
          place = py * w.size + px;
        }
      }
    }
    y[at] = best;
    if (places) places[at] = place;
  });
}

/**
 * Adds each value to the place that its window chose; each place looks at the windows that reach
 * it.
 *
 * Inputs: values of the windows, the places. Output: an image, dense channels-last.
 */
export function maxScatterKernel(shape: Shape, g: StridedOperand): Kernel {
  const { batch, channels, h, w } = shape;
  const places: StridedOperand = {
    dtype: "u32",
    strides: channelsLast(channels, h.out, w.out),
    offset: 0,
  };
  return poolKernel(keyOf("maxPool2d scatter", shape, g), shape, () => ({
    batch,
    channels,
    rows: h.size,
    columns: w.size,
    inputs: [{ name: "g", operand: g }, { name: "places", operand: places }],
    outputs: [{ name: "y", dtype: "f32" }],
    vector: true,
    functions: `${windowsFunctions("h", h)}\n${windowsFunctions("w", w)}`,
    body: (wide) =>
      `  var sum = ${wide("f32")}(0.0);
  let here = ${wide("u32")}(c1 * ${w.size}u + c2);
${
        forTaps(
          windowTaps(h, w),
          `    let chosen = load_places(c0, c3, row, column) == here;
    sum += select(${wide("f32")}(0.0), load_g(c0, c3, row, column), chosen);`,
        )
      }
  y[i] = sum;`,
  }), ([values, at], [y]) => {
    const from = addressesOf([batch, channels, h.out, w.out], g.strides, g.offset);
    y.fill(0, 0, batch * channels * h.size * w.size);
    eachWindow(shape, (n, c, row, column, index) => {
      if (at[index] === NOWHERE) return;
      const value = values[from[((n * channels + c) * h.out + row) * w.out + column]];
      y[(n * h.size * w.size + at[index]) * channels + c] += value;
    });
  });
}

/**
 * The value at the place that each window chose; 0 for windows in the padding.
 *
 * Inputs: an image, the places. Output: one value for each window, dense channels-last.
 */
export function maxGatherKernel(shape: Shape, x: StridedOperand): Kernel {
  const { batch, channels, h, w } = shape;
  const places: StridedOperand = {
    dtype: "u32",
    strides: channelsLast(channels, h.out, w.out),
    offset: 0,
  };
  return poolKernel(keyOf("maxPool2d gather", shape, x), shape, () => ({
    batch,
    channels,
    rows: h.out,
    columns: w.out,
    inputs: [{ name: "x", operand: x }, { name: "places", operand: places }],
    outputs: [{ name: "y", dtype: "f32" }],
    // Neighbouring channels may have chosen different places.
    vector: false,
    functions: "",
    body: () =>
      `  let at = load_places(c0, c3, c1, c2);
  var v = 0.0;
  if (at != ${u32(NOWHERE)}) { v = load_x(c0, c3, at / ${w.size}u, at % ${w.size}u); }
  y[i] = v;`,
  }), ([values, at], [y]) => {
    const from = addressesOf([batch, channels, h.size, w.size], x.strides, x.offset);
    eachWindow(shape, (n, c, _row, _column, index) => {
      const start = (n * channels + c) * h.size * w.size;
      y[index] = at[index] === NOWHERE ? 0 : values[from[start + at[index]]];
    });
  });
}
