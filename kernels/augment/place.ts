/**
 * What moves pixels by whole places and changes each by itself: crop, mirror, normalise, erase; any
 * part of these, in that order, in one kernel.
 */

import { operandKey, type StridedOperand } from "../map.ts";
import { threefry2x32, threefryFunction } from "../threefry.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "../types.ts";
import { type Binding, grid, perThread, shader } from "../wgsl.ts";
import { cell, cellOf, perChannel, pixel, pixelAt } from "./text.ts";

/** A window of the padded images. */
export interface CropPart {
  /** First of 2 columns: row and column of the window in the padded image. */
  readonly column: number;
  /** Padding above and on the left. */
  readonly top: number;
  readonly left: number;
  /** Sizes of the window. */
  readonly height: number;
  readonly width: number;
  readonly mode: "constant" | "reflect" | "edge";
  /** What constant padding holds: one number, or one for each channel. */
  readonly fill: readonly number[];
}

/** Means and deviations: one number, or one for each channel. */
export interface NormalizePart {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** A box that is filled. */
export interface ErasePart {
  /** What with; null for normally distributed numbers. */
  readonly value: readonly number[] | null;
  /** First of 2 columns of 16 bits, the key of those numbers. */
  readonly column: number;
}

/** What happens, in this order. */
export interface PlaceParts {
  readonly crop?: CropPart;
  /** Columns of the flags. */
  readonly flipX?: number;
  readonly flipY?: number;
  readonly normalize?: NormalizePart;
  readonly erase?: ErasePart;
}

/** Parameters of placed images. */
export interface PlaceParams extends PlaceParts {
  /** N, C, H, W of the images. */
  readonly shape: readonly [number, number, number, number];
  /** f32 over [N, C, H, W]. */
  readonly images: StridedOperand;
  /** f32 over [N, columns]; null where nothing is drawn. */
  readonly draws: StridedOperand | null;
  /** f32 over [N, 8], the box of each image; null without one. */
  readonly rows: StridedOperand | null;
}

/** Placed images, dense in the order [N, H, W, C]. Inputs: images, draws, rows, as far as there. */
export function placeKernel(params: PlaceParams): Kernel {
  const { images, draws, rows, ...rest } = params;
  const operands = [images, draws, rows].filter((o) => o !== null);
  const key = `augment place|${JSON.stringify(rest)}|${draws !== null}|${
    operands.map(operandKey).join("|")
  }`;
  return intern(key, () => ({
    op: "augment place",
    key,
    params,
    inputs: operands.map((o) => o.dtype),
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(params, traits),
    reference: (ins, [out]) => reference(params, ins, out),
  }));
}

/** Sizes of the result. */
export function placedSizes({ shape, crop }: Pick<PlaceParams, "shape" | "crop">): number[] {
  return crop === undefined ? shape.slice(2) : [crop.height, crop.width];
}

function program(params: PlaceParams, traits: DeviceTraits): WgslProgram {
  const { shape: [count, channels], images, draws, rows, crop, normalize, erase } = params;
  const [height, width] = placedSizes(params);
  const threads = count * channels * height * width;
  const inputs: Binding[] = [{ name: "images", dtype: images.dtype }];
  if (draws !== null) inputs.push({ name: "draws", dtype: draws.dtype });
  if (rows !== null) inputs.push({ name: "rows", dtype: rows.dtype });
  const body = [
    `  let c = i % ${channels}u;`,
    `  let p = i / ${channels}u;`,
    `  let n = p / ${height * width}u;`,
    `  let px = p % ${width}u;`,
    `  let py = (p / ${width}u) % ${height}u;`,
    ...sourceLines(params, height, width),
    ...(normalize === undefined ? [] : [`  value = (value - mean(c)) * scale(c);`]),
    ...(erase === undefined ? [] : eraseLines(params, erase, width)),
    "  y[i] = value;",
  ].join("\n");
  const functions = [
    ...(crop?.mode === "constant" ? [perChannel("fill", crop.fill)] : []),
    ...(crop !== undefined && crop.mode !== "constant" ? [insideFunction(crop.mode)] : []),
    ...(normalize === undefined ? [] : [
      perChannel("mean", normalize.mean),
      perChannel("scale", normalize.std.map((std) => 1 / std)),
    ]),
    ...(erase?.value ? [perChannel("blank", erase.value)] : []),
    ...(erase?.value === null ? [threefryFunction(), noiseFunction] : []),
  ];
  const text = [...functions, perThread(threads, body)].join("\n");
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32" }], [], text),
    groups: grid(threads, traits),
  };
}

/** `value`: the pixel that comes to (`py`, `px`). */
function sourceLines(params: PlaceParams, height: number, width: number): string[] {
  const { shape: [, , rows, columns], images, draws, crop, flipX, flipY } = params;
  const mirrored = (index: string, size: number, column: number | undefined) =>
    column === undefined
      ? index
      : `select(${index}, ${size - 1}u - ${index}, ${cell("draws", draws!, column)} > 0.5)`;
  const fx = mirrored("px", width, flipX);
  const fy = mirrored("py", height, flipY);
  if (crop === undefined) return [`  var value = ${pixel(images, "n", "c", fy, fx)};`];
  const place = (index: string, before: number, column: number) =>
    `i32(${index}) + i32(${cell("draws", draws!, column)}) - ${before}`;
  const lines = [
    `  let sx = ${place(fx, crop.left, crop.column + 1)};`,
    `  let sy = ${place(fy, crop.top, crop.column)};`,
  ];
  if (crop.mode === "constant") {
    return [
      ...lines,
      "  var value = fill(c);",
      `  if (sx >= 0 && sx < ${columns} && sy >= 0 && sy < ${rows}) {`,
      `    value = ${pixel(images, "n", "c", "u32(sy)", "u32(sx)")};`,
      "  }",
    ];
  }
  const inside = (s: string, size: number) => `inside(${s}, ${size})`;
  return [
    ...lines,
    `  var value = ${pixel(images, "n", "c", inside("sy", rows), inside("sx", columns))};`,
  ];
}

/** `inside(s, size)`: the place whose value a place outside of the image repeats. */
function insideFunction(mode: "reflect" | "edge"): string {
  const place = mode === "edge" ? "clamp(s, 0, size - 1)" : "size - 1 - abs(size - 1 - abs(s))";
  return `fn inside(s: i32, size: i32) -> u32 { return u32(${place}); }`;
}

function eraseLines({ draws, rows }: PlaceParams, erase: ErasePart, width: number): string[] {
  const edge = (k: number) => `u32(${cell("rows", rows!, k)})`;
  const blank = erase.value === null
    ? `noise(${cell("draws", draws!, erase.column)}, ${
      cell("draws", draws!, erase.column + 1)
    }, py * ${width}u + px, c)`
    : "blank(c)";
  return [
    `  if (py >= ${edge(0)} && py < ${edge(1)} && px >= ${edge(2)} && px < ${edge(3)}) {`,
    `    value = ${blank};`,
    "  }",
  ];
}

/** `noise(a, b, place, c)`: a normal number by Box and Muller's method. */
const noiseFunction = `fn noise(a: f32, b: f32, place: u32, c: u32) -> f32 {
  let w = threefry(u32(a), u32(b), place, c);
  let radius = sqrt(-2.0 * precise_log((f32(w.x >> 8u) + 1.0) * 5.9604644775390625e-8));
  return radius * precise_cos(f32(w.y >> 8u) * 3.7450703e-7);
}`;

function noise(a: number, b: number, place: number, c: number): number {
  const [first, second] = threefry2x32(a, b, place, c);
  const radius = Math.sqrt(-2 * Math.log(((first >>> 8) + 1) / 2 ** 24));
  return radius * Math.cos(2 * Math.PI * (second >>> 8) / 2 ** 24);
}

function reference(
  params: PlaceParams,
  ins: readonly Float64Array[],
  out: Float64Array,
): void {
  const { shape: [count, channels], draws, rows, crop, normalize, erase, flipX, flipY } = params;
  const [height, width] = placedSizes(params);
  const boxes = ins[draws === null ? 1 : 2];
  const of = (values: readonly number[], c: number) => values[c % values.length];
  let to = 0;
  for (let n = 0; n < count; n++) {
    const drawn = (column: number) => cellOf(ins[1], draws!, n, column);
    const flips = [flipY, flipX].map((column) => column !== undefined && drawn(column) > 0.5);
    const shift = crop === undefined ? [0, 0] : [drawn(crop.column), drawn(crop.column + 1)];
    const box = rows === null ? [] : [0, 1, 2, 3].map((k) => cellOf(boxes, rows, n, k));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const sy = (flips[0] ? height - 1 - y : y) + shift[0] - (crop?.top ?? 0);
        const sx = (flips[1] ? width - 1 - x : x) + shift[1] - (crop?.left ?? 0);
        const erased = y >= box[0] && y < box[1] && x >= box[2] && x < box[3];
        for (let c = 0; c < channels; c++) {
          let value = valueAt(params, ins[0], n, c, sy, sx);
          if (normalize) value = (value - of(normalize.mean, c)) / of(normalize.std, c);
          if (erased && erase) {
            value = erase.value === null
              ? noise(drawn(erase.column), drawn(erase.column + 1), y * width + x, c)
              : of(erase.value, c);
          }
          out[to++] = value;
        }
      }
    }
  }
}

function valueAt(
  { shape: [, , height, width], images, crop }: PlaceParams,
  pixels: Float64Array,
  n: number,
  c: number,
  y: number,
  x: number,
): number {
  if (y >= 0 && y < height && x >= 0 && x < width) return pixels[pixelAt(images, n, c, y, x)];
  const { mode, fill } = crop!;
  if (mode === "constant") return fill[c % fill.length];
  const inside = (s: number, size: number) =>
    mode === "edge"
      ? Math.min(size - 1, Math.max(0, s))
      : size - 1 - Math.abs(size - 1 - Math.abs(s));
  return pixels[pixelAt(images, n, c, inside(y, height), inside(x, width))];
}
