/** The shaders of convolution by implicit matrix product. */

import { type ConvParams, convShape, convWeightShape } from "./conv2d.ts";
import type { Epilogue } from "./epilogue.ts";
import {
  addProducts,
  declareSums,
  gemmShader,
  plainResult,
  type Result,
  storeSums,
  tileEntry,
} from "./gemm.ts";
import { sharedSums, type Side } from "./gemm_shared.ts";
import { matrixSide, quad } from "./matrix_loads.ts";
import {
  forwardLines,
  forwardLineSums,
  lineWidth,
  weightLines,
  weightLineSums,
} from "./conv2d_lines.ts";
import { columnStarts, pixelOffset, tapOffset, weights } from "./conv2d_parts.ts";
import { isShared, type Problem, type Tile } from "./tiles.ts";
import { type DeviceTraits, sizeOf, type WgslProgram } from "./types.ts";

/** The output as a product: pixels by channels, summed over the patch. */
export function forwardProblem(p: ConvParams, epilogue: Epilogue | undefined): Problem {
  const steps = p.kernel[0] * p.kernel[1] * p.inChannels;
  const rows = p.batch * p.outHeight * p.outWidth;
  const sides = { scalarRows: p.inChannels % 4 !== 0, scalarColumns: p.outChannels % 4 !== 0 };
  return {
    rows,
    columns: p.outChannels,
    steps,
    items: 1,
    epilogue,
    ...sides,
    lines: forwardLines(p),
  };
}

/** The shader of a forward convolution. */
export function convProgram(
  p: ConvParams,
  bias: boolean,
  epilogue: Epilogue | undefined,
  tile: Tile,
  traits: DeviceTraits,
): WgslProgram {
  const { outChannels: cout } = p;
  const problem = forwardProblem(p, epilogue);
  const { steps } = problem;
  const rows = tile.line ? problem.lines!.count(tile.rows) : problem.rows;
  const wideX = p.inChannels % 4 === 0;
  const wideW = cout % 4 === 0;
  const { head, groups } = tileEntry(tile, rows, cout, 1, traits);
  const lines = [head];
  if (isShared(tile)) {
    const summed = { low: "0u", until: `${steps}u`, whole: steps % tile.depth === 0 };
    const right = matrixSide("w", cout, 1, cout, wideW ? "rows" : null);
    lines.push("  let wBase = 0u;", sharedSums(tile, patchSide(p, wideX), right, summed));
  } else if (tile.line) lines.push(forwardLineSums(p, tile, wideW));
  else {
    for (let r = 0; r < tile.rows; r++) lines.push(patchStart(p, r, wideX));
    lines.push(columnStarts(tile, cout, wideW), declareSums(tile));
    lines.push(patchLoops(p, tile, wideX, wideW));
  }
  const shape = convShape(p);
  const width = tile.line ? Math.ceil(p.outWidth / tile.rows) * tile.rows : p.outWidth;
  const site = { lead: [], rowShape: [p.batch, p.outHeight, width], columns: cout };
  const inside = width === p.outWidth ? undefined : (r: number) => `ox0 + ${r}u < ${p.outWidth}u`;
  const result: Result = { rows, site, epilogue: epilogue ?? plainResult(shape), bias, inside };
  lines.push(storeSums(tile, result), "}");
  const inputs = [
    { name: "x", dtype: "f32", width: tile.line ? lineWidth(p, tile, true) : wideX ? 4 : 1 },
    { name: "w", dtype: "f32", width: wideW ? 4 : 1 },
  ] as const;
  return { code: gemmShader(tile, inputs, result, lines.join("\n")), groups };
}

/** Patches as blocks of four pixels by four elements of the patch. */
function patchSide(p: ConvParams, wide: boolean): Side {
  const cin = p.inChannels;
  const offset = (k: string) =>
    cin === 1 ? tapOffset(p, k) : `${tapOffset(p, `(${k} / ${cin}u)`)} + ${k} % ${cin}u`;
  return {
    alongDepth: wide,
    setup: (prefix, first) =>
      [0, 1, 2, 3].map((r) => patchStart(p, r, wide, first, prefix)).join("\n"),
    load: (prefix, k) => {
      const lines: string[] = [];
      for (let s = 0; s < (wide ? 1 : 4); s++) {
        lines.push(`      let ${prefix}o${s} = ${offset(`(${k} + ${s}u)`)};`);
        for (let r = 0; r < 4; r++) {
          const at = `${prefix}p${r} + ${prefix}o${s}${wide ? " / 4u" : ""}`;
          lines.push(`      let ${prefix}x${r}_${s} = x[${at}];`);
        }
      }
      const value = (r: number, s: number) =>
        wide ? `${prefix}x${r}_0.${"xyzw"[s]}` : `${prefix}x${r}_${s}`;
      return { lines: lines.join("\n"), values: [0, 1, 2, 3].map((s) => quad((r) => value(r, s))) };
    },
  };
}

/** Sums over the patch: runs of elements that lie behind each other in the image, one after the other. */
function patchLoops(p: ConvParams, tile: Tile, wideX: boolean, wideW: boolean): string {
  const [kh, kw] = p.kernel;
  const whole = p.dilation[1] === 1;
  const [runs, length] = whole ? [kh, kw * p.inChannels] : [kh * kw, p.inChannels];
  const start = whole ? `run * ${p.dilation[0] * p.width * p.inChannels}u` : tapOffset(p, "run");
  const unroll = wideX ? 4 : length <= 8 ? length : 4;
  const some = (steps: number) => {
    const first = runs === 1 ? "j" : `run * ${length}u + j`;
    const loads = weights(tile, `(${first})`, steps, p.outChannels, wideW);
    const here = `    let here = (at + j)${wideX ? " / 4u" : ""};\n`;
    return here + loads + "\n" + addProducts(tile, steps, {
      loadRow: (r) =>
        wideX
          ? `    let x${r} = x[p${r} + here];`
          : Array.from({ length: steps }, (_, s) => `    let x${r}_${s} = x[p${r} + here + ${s}u];`)
            .join("\n"),
      left: (r, s) => wideX ? `x${r}.${"xyzw"[s]}` : `x${r}_${s}`,
      right: (g, s) => `w${g}_${s}`,
    });
  };
  const lines = runs === 1
    ? ["  {", "    let at = 0u;"]
    : [`  for (var run = 0u; run < ${runs}u; run++) {`, `    let at = ${start};`];
  if (length === unroll) lines.push("    let j = 0u;", some(unroll));
  else {
    const even = length - length % unroll;
    lines.push(
      "    var j = 0u;",
      `    for (; j < ${even}u; j += ${unroll}u) {`,
      some(unroll),
      "    }",
    );
    if (length !== even) lines.push(some(length - even));
  }
  lines.push("  }");
  return lines.join("\n");
}

/** Address `p<row>` of the first element of the patch of an output pixel, held inside at the end; in vec4 if `wide`. */
function patchStart(
  p: ConvParams,
  row: number,
  wide: boolean,
  first = "row0",
  prefix = "",
): string {
  const pixels = p.batch * p.outHeight * p.outWidth;
  const i = `${prefix}i${row}`;
  const start = pixelOffset(p, `(${i} / ${p.outWidth}u)`, `${i} % ${p.outWidth}u`);
  return `  let ${i} = min(${first} + ${row}u, ${pixels - 1}u);
  let ${prefix}p${row} = ${start}${wide ? " / 4u" : ""};`;
}

/** The gradient of the weight as a product: taps and channels by channels, summed over slices of the pixels. */
export function weightProblem(
  p: ConvParams,
  splits: number,
  epilogue: Epilogue | undefined,
): Problem {
  const rows = sizeOf(convWeightShape(p).slice(0, -1));
  const steps = Math.ceil(p.batch * p.outHeight / splits) * p.outWidth;
  const sides = { scalarRows: p.inChannels % 4 !== 0, scalarColumns: p.outChannels % 4 !== 0 };
  return {
    rows,
    columns: p.outChannels,
    steps,
    items: splits,
    epilogue,
    ...sides,
    lines: weightLines(p),
  };
}

/** What is stored: the plain gradient has an axis of slices in front. */
function weightResult(p: ConvParams, epilogue: Epilogue | undefined, splits: number): Result {
  const shape = convWeightShape(p);
  const rowShape = shape.slice(0, -1);
  const rows = sizeOf(rowShape);
  const columns = p.outChannels;
  if (epilogue !== undefined) {
    return { rows, site: { lead: [], rowShape, columns }, epilogue, bias: false };
  }
  const site = { lead: ["z"], rowShape: [rows], columns };
  return { rows, site, epilogue: plainResult([splits, rows, columns]), bias: false };
}

/** The shader of a weight gradient. */
export function convWeightProgram(
  p: ConvParams,
  splits: number,
  epilogue: Epilogue | undefined,
  tile: Tile,
  traits: DeviceTraits,
): WgslProgram {
  const { inChannels: cin, outChannels: cout, outWidth: ow } = p;
  const result = weightResult(p, epilogue, splits);
  const lineCount = p.batch * p.outHeight;
  const chunk = Math.ceil(lineCount / splits);
  const wideX = cin % 4 === 0 && tile.rows % 4 === 0;
  const wideG = cout % 4 === 0;
  const { head, groups } = tileEntry(tile, result.rows, cout, splits, traits);
  const lines = [
    head,
    `  let low = z * ${chunk}u;`,
    `  let high = min(low + ${chunk}u, ${lineCount}u);`,
  ];
  if (isShared(tile)) {
    const whole = lineCount % splits === 0 && chunk * ow % tile.depth === 0;
    const summed = { low: `low * ${ow}u`, until: `high * ${ow}u`, whole };
    const right = matrixSide("g", cout, 1, cout, wideG ? "rows" : null);
    lines.push("  let gBase = 0u;", sharedSums(tile, tapSide(p, wideX), right, summed));
  } else if (tile.line) lines.push(weightLineSums(p, tile, wideG));
  else {
    lines.push(
      tapRows(p, tile.rows, wideX),
      columnStarts(tile, cout, wideG),
      declareSums(tile),
      `  for (var line = low; line < high; line++) {`,
      `    let xl = ${pixelOffset(p, "line", "0u")};`,
      lineLoop(p, tile, wideX, wideG),
      "  }",
    );
  }
  lines.push(storeSums(tile, result), "}");
  const inputs = [
    { name: "x", dtype: "f32", width: tile.line ? lineWidth(p, tile, false) : wideX ? 4 : 1 },
    { name: "g", dtype: "f32", width: wideG ? 4 : 1 },
  ] as const;
  return { code: gemmShader(tile, inputs, result, lines.join("\n")), groups };
}

/** Offsets `r<row>` of taps and channels from the first element of a patch, held inside at the end. */
function tapRows(
  p: ConvParams,
  count: number,
  wide: boolean,
  first = "row0",
  prefix = "",
): string {
  const { inChannels: cin } = p;
  const rows = p.kernel[0] * p.kernel[1] * cin;
  const lines: string[] = [];
  for (let r = 0; r < count; r += wide ? 4 : 1) {
    const m = `${prefix}m${r}`;
    lines.push(`  let ${m} = min(${first} + ${r}u, ${rows - (wide ? 4 : 1)}u);`);
    const offset = `${tapOffset(p, `(${m} / ${cin}u)`)} + ${m} % ${cin}u`;
    lines.push(`  let ${prefix}r${r} = (${offset})${wide ? " / 4u" : ""};`);
  }
  return lines.join("\n");
}

/** Taps and channels as blocks of four of them by four pixels. */
function tapSide(p: ConvParams, wide: boolean): Side {
  return {
    alongDepth: false,
    setup: (prefix, first) => tapRows(p, 4, wide, first, prefix),
    load: (prefix, k) => {
      const lines: string[] = [];
      for (let s = 0; s < 4; s++) {
        const pixel = `(${k} + ${s}u)`;
        const offset = pixelOffset(p, `(${pixel} / ${p.outWidth}u)`, `(${pixel} % ${p.outWidth}u)`);
        lines.push(`      let ${prefix}o${s} = ${offset};`);
        for (let r = 0; r < (wide ? 1 : 4); r++) {
          const at = `${prefix}o${s}${wide ? " / 4u" : ""} + ${prefix}r${r}`;
          lines.push(`      let ${prefix}x${r}_${s} = x[${at}];`);
        }
      }
      const value = (s: number) => wide ? `${prefix}x0_${s}` : quad((r) => `${prefix}x${r}_${s}`);
      return { lines: lines.join("\n"), values: [0, 1, 2, 3].map(value) };
    },
  };
}

/** Sums over one line of output pixels, some at a time. */
function lineLoop(p: ConvParams, tile: Tile, wideX: boolean, wideG: boolean): string {
  const { outWidth: ow } = p;
  const unroll = [4, 5, 3, 2].find((n) => ow % n === 0) ?? Math.min(4, ow);
  const step = p.stride[1] * p.inChannels;
  const some = (steps: number) => {
    const unit = wideX ? 4 : 1;
    const loads = [
      `    let xp = (xl + ox * ${step}u)${wideX ? " / 4u" : ""};`,
      weights(tile, `(line * ${ow}u + ox)`, steps, p.outChannels, wideG, "g"),
    ];
    const loadRow = (r: number) => {
      if (wideX && r % 4 !== 0) return "";
      return Array.from({ length: steps }, (_, s) => {
        return `    let x${r}_${s} = x[xp + (r${r} + ${s * step / unit}u)];`;
      }).join("\n");
    };
    return loads.join("\n") + "\n" + addProducts(tile, steps, {
      loadRow,
      left: (r, s) => wideX ? `x${r & ~3}_${s}.${"xyzw"[r & 3]}` : `x${r}_${s}`,
      right: (g, s) => `w${g}_${s}`,
    });
  };
  const even = ow - ow % unroll;
  const lines = [
    "    var ox = 0u;",
    `    for (; ox < ${even}u; ox += ${unroll}u) {`,
    some(unroll),
    "    }",
  ];
  if (even !== ow) lines.push(some(ow - even));
  return lines.join("\n");
}
