/**
 * The body shared by matrix product and convolution: a tile of R rows and C columns per thread, kept in named vec4 sums.
 *
 * On software adapters a workgroup is 8 lanes along the columns and the rows come from the workgroup alone, so that loads of
 * the left operand are the same for all lanes: one scalar load and a broadcast (measured: 20 GFLOP/s on two cores, where
 * the usual shared-memory tile reaches 3–6). Hardware adapters get small tiles and many threads.
 */

import type { DeviceTraits } from "./types.ts";

/** Rows and columns of one thread, and threads of a workgroup along columns and rows. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly lanesX: number;
  readonly lanesY: number;
}

function powerBelow(n: number, most: number): number {
  let p = 1;
  while (p * 2 <= n && p * 2 <= most) p *= 2;
  return p;
}

/** The tile for a product of this many rows and columns. */
export function chooseTile(rows: number, columns: number, traits: DeviceTraits): Tile {
  if (!traits.software) return { rows: 4, columns: 4, lanesX: 16, lanesY: 8 };
  return {
    rows: powerBelow(Math.max(4, rows), 16),
    columns: columns > 32 ? 8 : 4,
    lanesX: 8,
    lanesY: 1,
  };
}

/** Workgroups that cover the product with tiles. */
export function tileGroups(
  rows: number,
  columns: number,
  depth: number,
  tile: Tile,
): [number, number, number] {
  return [
    Math.ceil(columns / (tile.columns * tile.lanesX)),
    Math.ceil(rows / (tile.rows * tile.lanesY)),
    depth,
  ];
}

/**
 * Declares the entry point; `row0` and `col0` are the first row and column of the thread.
 *
 * @param group text of the workgroup's place along the columns
 */
export function tileHead(tile: Tile, group = "wg.x"): string {
  const { rows, columns, lanesX, lanesY } = tile;
  const row = lanesY === 1 ? "wg.y" : `(wg.y * ${lanesY}u + lid.y)`;
  return `@compute @workgroup_size(${lanesX}, ${lanesY}, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let row0 = ${row} * ${rows}u;
  let col0 = (${group} * ${lanesX}u + lid.x) * ${columns}u;`;
}

/** Declares the sums `acc<row>_<group of 4 columns>`. */
export function declareSums(tile: Tile): string {
  const lines: string[] = [];
  for (let r = 0; r < tile.rows; r++) {
    for (let c = 0; c < tile.columns / 4; c++) lines.push(`  var acc${r}_${c} = vec4<f32>(0.0);`);
  }
  return lines.join("\n");
}

/** Adds the products of one step: `left(row)` is a number, `right(group)` a vec4. */
export function addProducts(
  tile: Tile,
  left: (row: number) => string,
  right: (group: number) => string,
): string {
  const lines: string[] = [];
  for (let r = 0; r < tile.rows; r++) {
    for (let c = 0; c < tile.columns / 4; c++) {
      lines.push(`    acc${r}_${c} += ${left(r)} * ${right(c)};`);
    }
  }
  return lines.join("\n");
}

/**
 * Stores the sums that lie inside the product.
 *
 * @param address text of the element address of a row's first column; the columns follow with stride 1
 * @param bias whether the input `bias` is added, one number a column
 */
export function storeSums(
  tile: Tile,
  rows: number,
  columns: number,
  address: (row: string) => string,
  bias: boolean,
): string {
  const lines: string[] = [];
  const wide = columns % 4 === 0;
  for (let c = 0; c < tile.columns / 4; c++) {
    for (let j = 0; j < 4; j++) {
      lines.push(`  let col${c}_${j} = col0 + ${c * 4 + j}u;`);
      if (bias) lines.push(`  let bias${c}_${j} = bias[min(col${c}_${j}, ${columns - 1}u)];`);
    }
  }
  for (let r = 0; r < tile.rows; r++) {
    lines.push(`  if (row0 + ${r}u < ${rows}u) {`, `    let at = ${address(`(row0 + ${r}u)`)};`);
    for (let c = 0; c < tile.columns / 4; c++) {
      if (wide) lines.push(`    if (col${c}_0 < ${columns}u) {`);
      for (let j = 0; j < 4; j++) {
        const sum = `acc${r}_${c}.${"xyzw"[j]}${bias ? ` + bias${c}_${j}` : ""}`;
        const store = `y[at + col${c}_${j}] = ${sum};`;
        lines.push(wide ? `      ${store}` : `    if (col${c}_${j} < ${columns}u) { ${store} }`);
      }
      if (wide) lines.push("    }");
    }
    lines.push("  }");
  }
  return lines.join("\n");
}
