/**
 * Convolution of images with few channels on software adapters: a thread keeps neighbouring pixels of a line, whose patches
 * overlap, so that a load serves several taps (measured on llvmpipe: a load of one number costs as much as one of four).
 */

import { columnStarts, pixelOffset, weights } from "./conv2d_parts.ts";
import type { ConvParams } from "./conv2d.ts";
import { addProducts, declareSums } from "./gemm.ts";
import { CYCLES, type Lines, type Tile } from "./tiles.ts";

/** Elements of the image that one row of the kernel touches. */
function runOf(p: ConvParams): number {
  return p.kernel[1] * p.inChannels;
}

/** Elements from the start of a patch to the start of the next one in the line. */
function stepOf(p: ConvParams): number {
  return p.stride[1] * p.inChannels;
}

/** Whether patches lie in runs, and plain tiles could not load vec4. */
function applies(p: ConvParams): boolean {
  return p.dilation[1] === 1 && p.inChannels % 4 !== 0 && runOf(p) <= 32;
}

/** Whether lines, and every `pixels`-th patch in them, begin at a multiple of four elements. */
function isWide(p: ConvParams, pixels: number): boolean {
  return p.width * p.inChannels % 4 === 0 && pixels * stepOf(p) % 4 === 0;
}

/** Loads for the patches of so many neighbouring pixels. */
function loadsFor(p: ConvParams, pixels: number, wide: boolean): number {
  return Math.ceil(((pixels - 1) * stepOf(p) + runOf(p)) / (wide ? 4 : 1));
}

/** Pixels of a line in a thread, by the rows of its tile; null where plain tiles are better. */
export function forwardLines(p: ConvParams): Lines | undefined {
  if (!applies(p)) return undefined;
  const run = runOf(p);
  return {
    rows: [4, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32].filter((n) => n < 2 * p.outWidth),
    count: (rows) => p.batch * p.outHeight * Math.ceil(p.outWidth / rows) * rows,
    cycles: (rows) => loadsFor(p, rows, isWide(p, rows)) * CYCLES.load / run,
    most: 2048 / run,
  };
}

/** Rows of the kernel in a thread, by the rows of its tile; null where plain tiles are better. */
export function weightLines(p: ConvParams): Lines | undefined {
  if (!applies(p)) return undefined;
  const [kh] = p.kernel;
  const run = runOf(p);
  const unroll = unrollOf(p);
  const loads = loadsFor(p, unroll, isWide(p, unroll));
  return {
    rows: Array.from({ length: kh }, (_, n) => (n + 1) * run),
    count: (rows) => Math.ceil(kh * run / rows) * rows,
    cycles: (rows) => rows / run * loads * CYCLES.load / unroll,
    most: 1024 / unroll,
  };
}

function unrollOf(p: ConvParams): number {
  return Math.min(4, p.outWidth);
}

/** Loads `name<n>`, elements from an address on; gives the text of each. */
function loadRun(
  name: string,
  at: string,
  count: number,
  wide: boolean,
): { lines: string; element: (e: number) => string } {
  const lines: string[] = [];
  for (let n = 0; n < count; n++) {
    lines.push(`    let ${name}${n} = ${wide ? `x[(${at}) / 4u + ${n}u]` : `x[${at} + ${n}u]`};`);
  }
  const element = (e: number) => wide ? `${name}${e >> 2}.${"xyzw"[e & 3]}` : `${name}${e}`;
  return { lines: lines.join("\n"), element };
}

/** Vector width of the image in a kernel of such a tile. */
export function lineWidth(p: ConvParams, tile: Tile, forward: boolean): 1 | 4 {
  return isWide(p, forward ? tile.rows : unrollOf(p)) ? 4 : 1;
}

/** Sums of neighbouring pixels of one line; declares `ox0`, the column of the first. */
export function forwardLineSums(p: ConvParams, tile: Tile, wideW: boolean): string {
  const [kh] = p.kernel;
  const run = runOf(p);
  const pieces = Math.ceil(p.outWidth / tile.rows);
  const wide = isWide(p, tile.rows);
  const { lines, element } = loadRun("q", "at", loadsFor(p, tile.rows, wide), wide);
  const taps = weights(tile, `(ky * ${run}u)`, run, p.outChannels, wideW);
  return `  let piece = min(row0 / ${tile.rows}u, ${p.batch * p.outHeight * pieces - 1}u);
  let ox0 = piece % ${pieces}u * ${tile.rows}u;
  let start = ${pixelOffset(p, `(piece / ${pieces}u)`, "ox0")};
${columnStarts(tile, p.outChannels, wideW)}
${declareSums(tile)}
  for (var ky = 0u; ky < ${kh}u; ky++) {
    let at = start + ky * ${p.dilation[0] * p.width * p.inChannels}u;
${lines}
${taps}
${
    addProducts(tile, run, {
      loadRow: () => "",
      left: (r, s) => element(r * stepOf(p) + s),
      right: (g, s) => `w${g}_${s}`,
    })
  }
  }`;
}

/** Sums over lines `low` to `high` for whole rows of the kernel. */
export function weightLineSums(p: ConvParams, tile: Tile, wideG: boolean): string {
  const [kh] = p.kernel;
  const run = runOf(p);
  const unroll = unrollOf(p);
  const even = p.outWidth - p.outWidth % unroll;
  const lines: string[] = [];
  for (let y = 0; y < tile.rows / run; y++) {
    const ky = `min(row0 / ${run}u + ${y}u, ${kh - 1}u)`;
    lines.push(`  let o${y} = ${ky} * ${p.dilation[0] * p.width * p.inChannels}u;`);
  }
  lines.push(
    columnStarts(tile, p.outChannels, wideG),
    declareSums(tile),
    `  for (var line = low; line < high; line++) {`,
    `    let xl = ${pixelOffset(p, "line", "0u")};`,
    "    var ox = 0u;",
    `    for (; ox < ${even}u; ox += ${unroll}u) {`,
    somePixels(p, tile, unroll, wideG),
    "    }",
  );
  if (even !== p.outWidth) lines.push(somePixels(p, tile, p.outWidth - even, wideG));
  lines.push("  }");
  return lines.join("\n");
}

function somePixels(p: ConvParams, tile: Tile, pixels: number, wideG: boolean): string {
  const run = runOf(p);
  const wide = isWide(p, unrollOf(p));
  const lines = [weights(tile, `(line * ${p.outWidth}u + ox)`, pixels, p.outChannels, wideG, "g")];
  const loads = Array.from(
    { length: tile.rows / run },
    (_, y) => loadRun(`q${y}_`, `xl + ox * ${stepOf(p)}u + o${y}`, loadsFor(p, pixels, wide), wide),
  );
  lines.push(addProducts(tile, pixels, {
    loadRow: (r) => r % run === 0 ? loads[r / run].lines : "",
    left: (r, s) => loads[Math.floor(r / run)].element(s * stepOf(p) + r % run),
    right: (g, s) => `w${g}_${s}`,
  }));
  return lines.join("\n");
}
