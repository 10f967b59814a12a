/**
 * Two-dimensional convolution as implicit matrix product, channels last, without groups.
 *
 * Forward: rows are output pixels, columns output channels, the summed axis runs over taps and input channels; patches are
 * gathered while loading, never stored. Weight gradient: rows are (tap, input channel), columns output channels, the summed
 * axis runs over output pixels and is cut into slices of whole lines, which a second pass adds in fixed order. The input
 * gradient is a forward convolution with the turned weight.
 */

import {
  addProducts,
  chooseTile,
  declareSums,
  storeSums,
  type Tile,
  tileGroups,
  tileHead,
} from "./gemm.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "./types.ts";
import { shader } from "./wgsl.ts";

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

/** Text of the offset of tap `t` from the first element of a patch. */
function tapOffset(p: ConvParams, t: string): string {
  const [, kw] = p.kernel;
  return `(${t} / ${kw}u * ${p.dilation[0] * p.width}u + ${t} % ${kw}u * ${
    p.dilation[1]
  }u) * ${p.inChannels}u`;
}

/**
 * Forward convolution. Inputs: x [batch, height, width, in], w [kh, kw, in, out] and, where asked for, bias [out]; output
 * [batch, outHeight, outWidth, out].
 */
export function convKernel(p: ConvParams, bias: boolean): Kernel {
  const key = `conv2d|${bias}|${JSON.stringify(p)}`;
  return intern(key, () => ({
    op: "conv2d",
    key,
    params: p,
    inputs: bias ? ["f32", "f32", "f32"] : ["f32", "f32"],
    outputs: ["f32"],
    scalars: [],
    flops: convFlops(p),
    wgsl: (traits) => convProgram(p, bias, traits),
    reference: (inputs, outputs) => convReference(p, inputs, outputs[0]),
  }));
}

function convProgram(p: ConvParams, bias: boolean, traits: DeviceTraits): WgslProgram {
  const { inChannels: cin, outChannels: cout } = p;
  const pixels = p.batch * p.outHeight * p.outWidth;
  const tile = chooseTile(pixels, cout, traits);
  const taps = p.kernel[0] * p.kernel[1];
  const wideX = cin % 4 === 0;
  const wideW = cout % 4 === 0;
  const lines = [tileHead(tile)];
  for (let r = 0; r < tile.rows; r++) lines.push(patchStart(p, r, pixels));
  lines.push(columnStarts(tile, cout, wideW), declareSums(tile));
  if (wideX) {
    lines.push(`  for (var t = 0u; t < ${taps}u; t++) {`, `    let xt = ${tapOffset(p, "t")};`);
    lines.push(`    for (var ci = 0u; ci < ${cin}u; ci += 4u) {`);
    for (let r = 0; r < tile.rows; r++) lines.push(`    let x${r} = x[(p${r} + xt + ci) / 4u];`);
    for (let s = 0; s < 4; s++) {
      lines.push(weights(tile, `(t * ${cin}u + ci + ${s}u)`, cout, wideW, `_${s}`));
      lines.push(addProducts(tile, (r) => `x${r}.${"xyzw"[s]}`, (g) => `w${g}_${s}`));
    }
    lines.push("    }", "  }");
  } else if (taps * cin <= 32) {
    for (let s = 0; s < taps * cin; s++) {
      const [ky, kx] = [Math.floor(s / cin / p.kernel[1]), Math.floor(s / cin) % p.kernel[1]];
      const at = (ky * p.dilation[0] * p.width + kx * p.dilation[1]) * cin + s % cin;
      lines.push(weights(tile, `${s}u`, cout, wideW, `_${s}`));
      lines.push(addProducts(tile, (r) => `x[p${r} + ${at}u]`, (g) => `w${g}_${s}`));
    }
  } else {
    lines.push(`  for (var t = 0u; t < ${taps}u; t++) {`, `    let xt = ${tapOffset(p, "t")};`);
    lines.push(`    for (var ci = 0u; ci < ${cin}u; ci++) {`);
    lines.push(weights(tile, `(t * ${cin}u + ci)`, cout, wideW, ""));
    lines.push(addProducts(tile, (r) => `x[p${r} + xt + ci]`, (g) => `w${g}`));
    lines.push("    }", "  }");
  }
  lines.push(storeSums(tile, pixels, cout, (row) => `${row} * ${cout}u`, bias), "}");
  const inputs = [
    { name: "x", dtype: "f32", width: wideX ? 4 : 1 },
    { name: "w", dtype: "f32", width: wideW ? 4 : 1 },
    ...(bias ? [{ name: "bias", dtype: "f32" } as const] : []),
  ] as const;
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32" }], [], lines.join("\n")),
    groups: tileGroups(pixels, cout, 1, tile),
  };
}

/** Address `p<row>` of the first element of the patch of an output pixel, held inside at the end. */
function patchStart(p: ConvParams, row: number, pixels: number): string {
  const { outWidth: ow, outHeight: oh } = p;
  return `  let i${row} = min(row0 + ${row}u, ${pixels - 1}u);
  let p${row} = ((i${row} / ${oh * ow}u * ${p.height}u + i${row} / ${ow}u % ${oh}u * ${
    p.stride[0]
  }u) * ${p.width}u + i${row} % ${ow}u * ${p.stride[1]}u) * ${p.inChannels}u;`;
}

/** Columns `c<group>` of the thread, in fours where they lie in vec4, held inside at the end. */
function columnStarts(tile: Tile, columns: number, wide: boolean): string {
  const lines: string[] = [];
  for (let g = 0; g < tile.columns / 4; g++) {
    if (wide) lines.push(`  let c${g} = min(col0 + ${g * 4}u, ${columns - 4}u);`);
    else {
      for (let j = 0; j < 4; j++) {
        lines.push(`  let c${g}_${j} = min(col0 + ${g * 4 + j}u, ${columns - 1}u);`);
      }
    }
  }
  return lines.join("\n");
}

/** Loads `w<group><suffix>`, the columns of one row of a matrix with `columns` columns. */
function weights(
  tile: Tile,
  row: string,
  columns: number,
  wide: boolean,
  suffix: string,
  name = "w",
): string {
  const lines: string[] = [];
  for (let g = 0; g < tile.columns / 4; g++) {
    const value = wide
      ? `${name}[(${row} * ${columns}u + c${g}) / 4u]`
      : `vec4(${[0, 1, 2, 3].map((j) => `${name}[${row} * ${columns}u + c${g}_${j}]`).join(", ")})`;
    lines.push(`    let w${g}${suffix} = ${value};`);
  }
  return lines.join("\n");
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
 */
export function convWeightKernel(p: ConvParams, splits: number): Kernel {
  const key = `conv2d_weight|${splits}|${JSON.stringify(p)}`;
  return intern(key, () => ({
    op: "conv2d_weight",
    key,
    params: { ...p, splits },
    inputs: ["f32", "f32"],
    outputs: ["f32"],
    scalars: [],
    flops: convFlops(p),
    wgsl: (traits) => convWeightProgram(p, splits, traits),
    reference: (inputs, outputs) => convWeightReference(p, splits, inputs, outputs[0]),
  }));
}

function convWeightProgram(p: ConvParams, splits: number, traits: DeviceTraits): WgslProgram {
  const { inChannels: cin, outChannels: cout } = p;
  const rows = p.kernel[0] * p.kernel[1] * cin;
  const tile = chooseTile(rows, cout, traits);
  const lineCount = p.batch * p.outHeight;
  const chunk = Math.ceil(lineCount / splits);
  const wideX = cin % 4 === 0;
  const wideG = cout % 4 === 0;
  const lines = [tileHead(tile)];
  for (let r = 0; r < tile.rows; r += wideX ? 4 : 1) {
    lines.push(`  let m${r} = min(row0 + ${r}u, ${rows - (wideX ? 4 : 1)}u);`);
    lines.push(`  let r${r} = ${tapOffset(p, `(m${r} / ${cin}u)`)} + m${r} % ${cin}u;`);
  }
  lines.push(
    columnStarts(tile, cout, wideG),
    declareSums(tile),
    `  let low = wg.z * ${chunk}u;`,
    `  let high = min(low + ${chunk}u, ${lineCount}u);`,
    `  for (var line = low; line < high; line++) {`,
    `    let xl = (line / ${p.outHeight}u * ${p.height}u + line % ${p.outHeight}u * ${
      p.stride[0]
    }u) * ${p.width * cin}u;`,
    `    for (var ox = 0u; ox < ${p.outWidth}u; ox++) {`,
    `    let xp = xl + ox * ${p.stride[1] * cin}u;`,
    weights(tile, `(line * ${p.outWidth}u + ox)`, cout, wideG, "", "g"),
  );
  for (let r = 0; r < tile.rows; r += wideX ? 4 : 1) {
    lines.push(wideX ? `    let x${r} = x[(xp + r${r}) / 4u];` : `    let x${r} = x[xp + r${r}];`);
  }
  const left = (r: number) => wideX ? `x${r & ~3}.${"xyzw"[r & 3]}` : `x${r}`;
  lines.push(addProducts(tile, left, (g) => `w${g}`), "    }", "  }");
  lines.push(
    storeSums(tile, rows, cout, (row) => `(wg.z * ${rows}u + ${row}) * ${cout}u`, false),
    "}",
  );
  const inputs = [
    { name: "x", dtype: "f32", width: wideX ? 4 : 1 },
    { name: "g", dtype: "f32", width: wideG ? 4 : 1 },
  ] as const;
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32" }], [], lines.join("\n")),
    groups: tileGroups(rows, cout, splits, tile),
  };
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
