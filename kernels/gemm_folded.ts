/**
 * The end of a product whose long sums are shared: every thread of a workgroup has a part of each sum of one tile, and the
 * parts are folded in workgroup memory, eight at a time and in their order.
 */

import { type Result, storeSums } from "./gemm.ts";
import type { FoldedTile } from "./tiles.ts";

/** Parts that a thread adds up in a row. */
const FAN = 8;

/** Declares `lane`, the thread's number along the columns, and `share`, its number among those that share a tile. */
export function foldLanes({ lanesX }: FoldedTile): string {
  return lanesX === 1
    ? "  let lane = 0u;\n  let share = lid.x;"
    : `  let lane = lid.x % ${lanesX}u;\n  let share = lid.x / ${lanesX}u;`;
}

/** Workgroup memory for the parts of all sums, the parts of a sum behind each other. */
export function foldMemory(tile: FoldedTile): string {
  return `var<workgroup> parts: array<vec4<f32>, ${quads(tile) * tile.shares}>;`;
}

/** Sums of a workgroup in fours. */
function quads({ rows, columns, lanesX }: FoldedTile): number {
  return rows * lanesX * columns / 4;
}

/** Folds the parts `acc<row>_<group>` of all threads and stores the sums, shared out among the threads. */
export function storeFolded(tile: FoldedTile, result: Result): string {
  const { shares, rows, lanesX } = tile;
  const groups = tile.columns / 4;
  const width = lanesX * groups;
  const threads = lanesX * shares;
  const lines: string[] = [];
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const sum = `(lane * ${groups}u + ${r * width + g}u)`;
      lines.push(`  parts[${sum} * ${shares}u + share] = acc${r}_${g};`);
    }
  }
  lines.push("  workgroupBarrier();");
  let step = 1;
  for (; shares / step > FAN; step *= FAN) {
    const span = step * FAN;
    lines.push(
      `  for (var i = lid.x; i < ${quads(tile) * shares / span}u; i += ${threads}u) {`,
      `    parts[i * ${span}u] = ${added(`i * ${span}u`, FAN, step)};`,
      "  }",
      "  workgroupBarrier();",
    );
  }
  const one = { rows: 1, columns: 4, lanes: "steps", lanesX: 1, lanesY: 1 } as const;
  lines.push(
    `  let tileRow = row0;`,
    `  let tileColumn = col0 - lane * ${tile.columns}u;`,
    `  for (var i = lid.x; i < ${quads(tile)}u; i += ${threads}u) {`,
    `    let row0 = tileRow + i / ${width}u;`,
    `    let col0 = tileColumn + i % ${width}u * 4u;`,
    `    if (row0 >= ${result.rows}u || col0 >= ${result.site.columns}u) { continue; }`,
    `    let acc0_0 = ${added(`i * ${shares}u`, shares / step, step)};`,
    storeSums(one, result),
    "  }",
  );
  return lines.join("\n");
}

/** Text of the sum of so many parts from a place on, in their order. */
function added(place: string, count: number, step: number): string {
  return Array.from({ length: count }, (_, n) => `parts[${place} + ${n * step}u]`).join(" + ");
}
