/**
 * The body shared by matrix product and convolution: a tile of rows and columns per thread, kept in named vec4 sums.
 *
 * Sums are added row by row over several steps, so that each stays in a register for that time (measured on llvmpipe: a
 * tenth faster than step by step). Which tile is best, and what the lanes of a workgroup differ in, tiles.ts decides.
 */

import {
  type Epilogue,
  epilogueBindings,
  epilogueFunctions,
  EpilogueStores,
  type Site,
} from "./epilogue.ts";
import { input } from "./expr.ts";
import { foldLanes, foldMemory } from "./gemm_folded.ts";
import { isFolded, isShared, LANES, type SharedTile, slabWidth, type Tile } from "./tiles.ts";
import type { DeviceTraits, Shape } from "./types.ts";
import { type Binding, grid, shader } from "./wgsl.ts";

/** The entry point of a kernel of tiles, and how many workgroups it takes. */
export interface Entry {
  /** Declares `row0` and `col0`, the first row and column of the thread, and `z`, the number of its product. */
  readonly head: string;
  readonly groups: [number, number, number];
  /** Texts of the numbers of the workgroup along columns and rows. */
  readonly across: string;
  readonly down: string;
}

/** The entry point for so many products of rows by columns. */
export function tileEntry(
  tile: Tile,
  rows: number,
  columns: number,
  items: number,
  traits: DeviceTraits,
): Entry {
  const { lanes, lanesX, lanesY } = tile;
  const across = Math.ceil(columns / (tile.columns * lanesX));
  const down = Math.ceil(rows / (tile.rows * lanesY));
  const deep = Math.ceil(items / (lanes === "items" ? LANES : 1));
  const line = isFolded(tile) ? tile.shares * lanesX : LANES;
  const threads = lanes === "both" ? `${lanesX}, ${lanesY}` : `${line}`;
  const lines = [
    `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {`,
  ];
  let [gx, gy, gz] = ["wg.x", "wg.y", "wg.z"];
  let groups: [number, number, number] = [across, down, deep];
  if (groups.some((n) => n > traits.maxGroups)) {
    // More workgroups than one dimension may have: they are counted through.
    const total = across * down * deep;
    groups = grid(total, traits, 1);
    lines.push(
      `  let group = wg.y * ${groups[0]}u + wg.x;`,
      `  if (group >= ${total}u) { return; }`,
    );
    gx = `(group % ${across}u)`;
    gy = `(group / ${across}u % ${down}u)`;
    gz = `(group / ${across * down}u)`;
  }
  const own = (group: string, count: number, lane: string) =>
    count === 1 ? group : `(${group} * ${count}u + ${lane})`;
  const [x, y] = [isFolded(tile) ? "lane" : "lid.x", lanes === "rows" ? "lid.x" : "lid.y"];
  if (isFolded(tile)) lines.push(foldLanes(tile));
  lines.push(
    `  let row0 = ${own(gy, lanesY, y)} * ${tile.rows}u;`,
    `  let col0 = ${own(gx, lanesX, x)} * ${tile.columns}u;`,
    `  let z = ${own(gz, lanes === "items" ? LANES : 1, "lid.x")};`,
  );
  if (lanes === "items" && items % LANES !== 0) lines.push(`  if (z >= ${items}u) { return; }`);
  return { head: lines.join("\n"), groups, across: gx, down: gy };
}

/** Declares the sums `acc<row>_<group of 4 columns>`. */
export function declareSums(tile: Tile): string {
  const lines: string[] = [];
  for (let r = 0; r < tile.rows; r++) {
    for (let c = 0; c < tile.columns / 4; c++) lines.push(`  var acc${r}_${c} = vec4<f32>(0.0);`);
  }
  return lines.join("\n");
}

/** What the two sides of a product are, step by step. */
export interface Factors {
  /** Statements that load what a row needs, placed before its products. */
  loadRow(row: number): string;
  /** Text of the left number of a row. */
  left(row: number, step: number): string;
  /** Text of the right vec4 of a group of four columns. */
  right(group: number, step: number): string;
}

/** Adds the products of some steps, in their order. */
export function addProducts(tile: Tile, steps: number, factors: Factors): string {
  const lines: string[] = [];
  for (let r = 0; r < tile.rows; r++) {
    lines.push(factors.loadRow(r));
    for (let c = 0; c < tile.columns / 4; c++) {
      for (let s = 0; s < steps; s++) {
        lines.push(`    acc${r}_${c} += ${factors.left(r, s)} * ${factors.right(c, s)};`);
      }
    }
  }
  return lines.join("\n");
}

/** What a kernel stores, and where. */
export interface Result {
  /** Rows in all. */
  readonly rows: number;
  /** How the axes of the result are counted. */
  readonly site: Site;
  /** Without it the sums themselves are stored in row-major order, `lead` axes first. */
  readonly epilogue: Epilogue;
  /** Whether the input `bias` is added, one number a column. */
  readonly bias: boolean;
  /** Whether the bias is one number for all columns. */
  readonly oneBias?: boolean;
  /** What is stored beside the sums. */
  readonly beside?: readonly Binding[];
  /** Text of a further condition on a row of the thread, where not all rows belong to the result. */
  readonly inside?: (row: number) => string;
}

/** The sums themselves, in row-major order over the axes of these sizes. */
export function plainResult(shape: Shape): Epilogue {
  const strides = new Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) strides[d] = strides[d + 1] * shape[d + 1];
  return {
    outputs: [{ expr: input(0), target: { dtype: "f32", strides, offset: 0 } }],
    inputs: [],
    scalars: [],
  };
}

/** Stores the sums that lie inside the product, through the formulas of the epilogue. */
export function storeSums(tile: Tile, result: Result): string {
  const { rows, site, epilogue, bias, oneBias } = result;
  const { columns } = site;
  const groups = tile.columns / 4;
  const guarded = columns % (tile.columns * tile.lanesX) !== 0;
  const stores = new EpilogueStores(epilogue, site, groups, guarded);
  const lines = [stores.head()];
  for (let g = 0; bias && g < groups; g++) {
    lines.push(oneBias ? `  let bias${g} = bias[0];` : loadBias(g, columns));
  }
  for (let r = 0; r < tile.rows; r++) {
    const sums = Array.from(
      { length: groups },
      (_, g) => `acc${r}_${g}${bias ? ` + bias${g}` : ""}`,
    );
    const guards = [
      rows % (tile.rows * tile.lanesY) === 0 ? "" : `row0 + ${r}u < ${rows}u`,
      result.inside?.(r) ?? "",
    ].filter((text) => text !== "");
    lines.push(guards.length === 0 ? "  {" : `  if (${guards.join(" && ")}) {`);
    lines.push(stores.row(`(row0 + ${r}u)`, sums), "  }");
  }
  return lines.join("\n");
}

function loadBias(g: number, columns: number): string {
  if (columns % 4 === 0) return `  let bias${g} = bias[min(col${g}_0, ${columns - 4}u) / 4u];`;
  const each = [0, 1, 2, 3].map((j) => `bias[min(col${g}_${j}, ${columns - 1}u)]`);
  return `  let bias${g} = vec4(${each.join(", ")});`;
}

function workgroupMemory(tile: Tile): string {
  return isShared(tile) ? slabs(tile) : isFolded(tile) ? foldMemory(tile) : "";
}

/** Workgroup memory for one slab of either side. */
function slabs(tile: SharedTile): string {
  const size = (slab: "a" | "b") => slabWidth(tile, slab) * tile.depth;
  return `var<workgroup> slabA: array<vec4<f32>, ${size("a")}>;
var<workgroup> slabB: array<vec4<f32>, ${size("b")}>;`;
}

/** A whole shader around a body: the kernel's own inputs, then what the epilogue reads and writes. */
export function gemmShader(
  tile: Tile,
  own: readonly Binding[],
  { epilogue, site, bias, oneBias, beside = [] }: Result,
  body: string,
): string {
  const { columns } = site;
  const { inputs, outputs } = epilogueBindings(epilogue, columns);
  const added: Binding = {
    name: "bias",
    dtype: "f32",
    width: columns % 4 === 0 && !oneBias ? 4 : 1,
  };
  return shader(
    [...own, ...(bias ? [added] : []), ...inputs],
    [...outputs, ...beside],
    epilogue.scalars,
    [workgroupMemory(tile), epilogueFunctions(epilogue), body].join("\n"),
  );
}
