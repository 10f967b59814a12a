/** What changes of colour need to know of whole images: brightness, extremes, histograms. */

import { operandKey, type StridedOperand } from "../map.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "../types.ts";
import { grid, perThread, shader } from "../wgsl.ts";
import {
  type Chain,
  chainFunctions,
  chainKey,
  chainText,
  changePixel,
  grayOf,
  levelOf,
} from "./chain.ts";
import { CODES } from "./colour_codes.ts";
import { cell, cellOf, pixel, pixelAt } from "./text.ts";

/** Images with the changes that their rows name. */
export interface ColourParams {
  /** N, C, H, W. */
  readonly shape: readonly [number, number, number, number];
  /** f32 over [N, C, H, W]. */
  readonly images: StridedOperand;
  readonly chain: Chain;
}

/** Identity of such images. */
export function colourKey({ shape, images, chain }: ColourParams): string {
  return `${shape}|${operandKey(images)}|${operandKey(chain.rows)}|${chainKey(chain)}`;
}

/** Pixels that a thread adds up. */
const SEGMENT = 256;

/** Threads for each image. */
export function segmentsOf({ shape: [, , height, width] }: ColourParams): number {
  return Math.ceil(height * width / SEGMENT);
}

/** Numbers of each image: the sum or mean of its brightness, then the extremes of its channels. */
export function factsWidth(channels: number): number {
  return 1 + 2 * channels;
}

/** Codes for which this kernel is needed. */
export const FACT_CODES: readonly number[] = [CODES.contrast, CODES.autocontrast];

/**
 * Sum of brightness before a change of contrast, and extremes of channels, of the parts of images,
 * f32 [N, segments, 1 + 2·C]; of images that need none, nothing. Inputs: images, rows.
 */
export function partialFactsKernel(params: ColourParams): Kernel {
  const key = `augment facts|${colourKey(params)}`;
  return intern(key, () => ({
    op: "augment facts",
    key,
    params,
    inputs: [params.images.dtype, params.chain.rows.dtype],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => partialProgram(params, traits),
    reference: (ins, [out]) => partialReference(params, ins, out),
  }));
}

function partialProgram(params: ColourParams, traits: DeviceTraits): WgslProgram {
  const { shape: [count, channels, height, width], images, chain } = params;
  const segments = segmentsOf(params);
  const names = ["r", "g", "b"].slice(0, channels);
  const codes = Array.from(
    { length: chain.slots },
    (_, slot) => `u32(${cell("rows", chain.rows, chain.column + 2 * slot)})`,
  );
  const needed = codes.flatMap((code) => FACT_CODES.map((fact) => `${code} == ${fact}u`));
  const at = `i * ${factsWidth(channels)}u`;
  const body = `  let n = i / ${segments}u;
  let first = (i % ${segments}u) * ${SEGMENT}u;
  if (${needed.join(" || ")}) {
    var sum = 0.0;
${names.map((_, c) => `    var low${c} = 1e30;\n    var high${c} = -1e30;`).join("\n")}
    for (var p = first; p < min(first + ${SEGMENT}u, ${height * width}u); p++) {
      let px = p % ${width}u;
      let py = p / ${width}u;
${
    names.map((x, c) =>
      `      var ${x} = ${pixel(images, "n", `${c}u`, "py", "px")};
      low${c} = min(low${c}, ${x});
      high${c} = max(high${c}, ${x});`
    ).join("\n")
  }
${chainText(chain, null)}
      sum += ${channels === 1 ? "r" : "gray(r, g, b)"};
    }
    y[${at}] = sum;
${
    names.map((_, c) =>
      `    y[${at} + ${1 + 2 * c}u] = low${c};\n    y[${at} + ${2 + 2 * c}u] = high${c};`
    )
      .join("\n")
  }
  }`;
  return {
    code: shader(
      [{ name: "images", dtype: images.dtype }, { name: "rows", dtype: chain.rows.dtype }],
      [{ name: "y", dtype: "f32" }],
      [],
      [chainFunctions, perThread(count * segments, body)].join("\n"),
    ),
    groups: grid(count * segments, traits),
  };
}

function partialReference(
  params: ColourParams,
  [pixels, rows]: readonly Float64Array[],
  out: Float64Array,
): void {
  const { shape: [count, channels, height, width], images, chain } = params;
  const segments = segmentsOf(params);
  const wide = factsWidth(channels);
  const slots = Array.from({ length: chain.slots }, (_, slot) => chain.column + 2 * slot);
  const value = new Array<number>(channels);
  for (let n = 0; n < count; n++) {
    if (!slots.some((slot) => FACT_CODES.includes(cellOf(rows, chain.rows, n, slot)))) continue;
    for (let s = 0; s < segments; s++) {
      const at = (n * segments + s) * wide;
      out[at] = 0;
      for (let c = 0; c < channels; c++) {
        out[at + 1 + 2 * c] = Infinity;
        out[at + 2 + 2 * c] = -Infinity;
      }
      for (let p = s * SEGMENT; p < Math.min((s + 1) * SEGMENT, height * width); p++) {
        for (let c = 0; c < channels; c++) {
          value[c] = pixels[pixelAt(images, n, c, Math.floor(p / width), p % width)];
          out[at + 1 + 2 * c] = Math.min(out[at + 1 + 2 * c], value[c]);
          out[at + 2 + 2 * c] = Math.max(out[at + 2 + 2 * c], value[c]);
        }
        changePixel(chain, rows, n, value, null);
        out[at] += grayOf(value);
      }
    }
  }
}

/** Mean of brightness and extremes of each image, f32 [N, 1 + 2·C], from those of its parts. */
export function factsKernel(
  count: number,
  segments: number,
  channels: number,
  area: number,
): Kernel {
  const wide = factsWidth(channels);
  const key = `augment facts of parts|${count}|${segments}|${channels}|${area}`;
  const first = (n: string, k: number) => `parts[${n} * ${segments * wide}u + ${k}u]`;
  const names = Array.from({ length: wide }, (_, k) => k);
  const fold = (k: number, more: string) =>
    k === 0 ? `f0 + ${more}` : `${k % 2 === 1 ? "min" : "max"}(f${k}, ${more})`;
  const body = `${names.map((k) => `  var f${k} = ${first("i", k)};`).join("\n")}
  for (var s = 1u; s < ${segments}u; s++) {
${
    names.map((k) => `    f${k} = ${fold(k, `parts[(i * ${segments}u + s) * ${wide}u + ${k}u]`)};`)
      .join("\n")
  }
  }
  y[i * ${wide}u] = f0 / ${area}.0;
${names.slice(1).map((k) => `  y[i * ${wide}u + ${k}u] = f${k};`).join("\n")}`;
  return intern(key, () => ({
    op: "augment facts",
    key,
    params: { count, segments, channels, area },
    inputs: ["f32"],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => ({
      code: shader(
        [{ name: "parts", dtype: "f32" }],
        [{ name: "y", dtype: "f32" }],
        [],
        perThread(count, body),
      ),
      groups: grid(count, traits),
    }),
    reference: ([parts], [out]) => {
      for (let n = 0; n < count; n++) {
        for (let k = 0; k < wide; k++) {
          const values = Array.from(
            { length: segments },
            (_, s) => parts[(n * segments + s) * wide + k],
          );
          const fold = k === 0
            ? values.reduce((a, b) => a + b) / area
            : values.reduce((a, b) => k % 2 === 1 ? Math.min(a, b) : Math.max(a, b));
          out[n * wide + k] = fold;
        }
      }
    },
  }));
}

/** Pixels that a thread counts. */
export function countedPixels(area: number): number {
  return Math.max(4096, Math.ceil(area / 100));
}

/**
 * Histograms of the parts of channels, f32 [N, C, parts, 256], of images that are to be equalized.
 * Inputs: images, rows.
 */
export function histogramKernel(params: ColourParams): Kernel {
  const { shape: [count, channels, height, width], images, chain } = params;
  const area = height * width;
  const most = countedPixels(area);
  const parts = Math.ceil(area / most);
  const key = `augment histogram|${colourKey(params)}`;
  const body = `  let n = i / ${channels * parts}u;
  if (u32(${cell("rows", chain.rows, chain.column)}) == ${CODES.equalize}u) {
    let c = (i / ${parts}u) % ${channels}u;
    let first = (i % ${parts}u) * ${most}u;
    for (var k = 0u; k < 256u; k++) { y[i * 256u + k] = 0.0; }
    for (var p = first; p < min(first + ${most}u, ${area}u); p++) {
      let px = p % ${width}u;
      let py = p / ${width}u;
      let bin = i * 256u + level_of(${pixel(images, "n", "c", "py", "px")});
      y[bin] = y[bin] + 1.0;
    }
  }`;
  const threads = count * channels * parts;
  return intern(key, () => ({
    op: "augment histogram",
    key,
    params,
    inputs: [images.dtype, chain.rows.dtype],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => ({
      code: shader(
        [{ name: "images", dtype: images.dtype }, { name: "rows", dtype: chain.rows.dtype }],
        [{ name: "y", dtype: "f32" }],
        [],
        [chainFunctions, perThread(threads, body)].join("\n"),
      ),
      groups: grid(threads, traits),
    }),
    reference: ([pixels, rows], [out]) => {
      for (let i = 0; i < threads; i++) {
        const n = Math.floor(i / (channels * parts));
        if (cellOf(rows, chain.rows, n, chain.column) !== CODES.equalize) continue;
        const [c, first] = [Math.floor(i / parts) % channels, i % parts * most];
        out.fill(0, i * 256, (i + 1) * 256);
        for (let p = first; p < Math.min(first + most, area); p++) {
          const value = pixels[pixelAt(images, n, c, Math.floor(p / width), p % width)];
          out[i * 256 + levelOf(value)]++;
        }
      }
    },
  }));
}

/**
 * What equalizing makes of each level, from 0 to 1, f32 [N, C, 256], from the histograms of parts.
 * Inputs: histograms, rows.
 */
export function levelsKernel(params: ColourParams): Kernel {
  const { shape: [count, channels, height, width], chain } = params;
  const area = height * width;
  const parts = Math.ceil(area / countedPixels(area));
  const key = `augment levels|${count}|${channels}|${area}|${
    operandKey(chain.rows)
  }|${chain.column}`;
  const threads = count * channels;
  const body = `  let n = i / ${channels}u;
  if (u32(${cell("rows", chain.rows, chain.column)}) == ${CODES.equalize}u) {
    var last = 0u;
    for (var k = 0u; k < 256u; k++) {
      var sum = 0.0;
      for (var s = 0u; s < ${parts}u; s++) { sum += counts[(i * ${parts}u + s) * 256u + k]; }
      y[i * 256u + k] = sum;
      if (sum > 0.0) { last = u32(sum); }
    }
    let step = (${area}u - last) / 255u;
    var before = 0u;
    for (var k = 0u; k < 256u; k++) {
      let here = u32(y[i * 256u + k]);
      let level = min(255u, (before + step / 2u) / max(step, 1u));
      y[i * 256u + k] = f32(select(level, k, step == 0u)) / 255.0;
      before += here;
    }
  }`;
  return intern(key, () => ({
    op: "augment levels",
    key,
    params,
    inputs: ["f32", chain.rows.dtype],
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => ({
      code: shader(
        [{ name: "counts", dtype: "f32" }, { name: "rows", dtype: chain.rows.dtype }],
        [{ name: "y", dtype: "f32" }],
        [],
        perThread(threads, body),
      ),
      groups: grid(threads, traits),
    }),
    reference: ([counts, rows], [out]) => {
      for (let i = 0; i < threads; i++) {
        const n = Math.floor(i / channels);
        if (cellOf(rows, chain.rows, n, chain.column) !== CODES.equalize) continue;
        const histogram = Array.from({ length: 256 }, (_, k) => {
          let sum = 0;
          for (let s = 0; s < parts; s++) sum += counts[(i * parts + s) * 256 + k];
          return sum;
        });
        equalized(histogram).forEach((level, k) => out[i * 256 + k] = level / 255);
      }
    },
  }));
}

/** What equalizing makes of each level. */
function equalized(histogram: readonly number[]): number[] {
  const filled = histogram.filter((count) => count > 0);
  const total = filled.reduce((a, b) => a + b, 0);
  const step = Math.floor((total - filled[filled.length - 1]) / 255);
  let before = 0;
  return histogram.map((count, level) => {
    const to = step === 0
      ? level
      : Math.min(255, Math.floor((before + Math.floor(step / 2)) / step));
    before += count;
    return to;
  });
}
