/** Which tiles a matrix product or convolution may be cut into on a device, the likely best first. */

import { topological } from "./expr.ts";
import type { Epilogue } from "./epilogue.ts";
import type { DeviceTraits } from "./types.ts";

/**
 * What the threads of a workgroup differ in. On software adapters a workgroup is one vector of lanes, each with a large tile
 * of its own along one axis, or in a product (or slice) of its own; hardware adapters get many threads in both directions.
 * Where few sums are long, lanes share a tile and each takes steps of its own.
 */
export type Lanes = "columns" | "rows" | "items" | "both" | "steps";

/** Lanes of a workgroup on software adapters. */
export const LANES = 8;

/** Rows and columns of one thread, and threads of a workgroup along columns and rows. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly lanes: Lanes;
  readonly lanesX: number;
  readonly lanesY: number;
  /** Steps of the summed axis that a workgroup loads into its memory at a time; none where absent. */
  readonly depth?: number;
  /** Threads that share a tile, each with steps of its own; their sums are folded at the end. One where absent. */
  readonly shares?: number;
  /** Whether the rows of a thread are neighbours whose operands overlap. */
  readonly line?: boolean;
}

/** A tile whose operands go through workgroup memory. */
export type SharedTile = Tile & { readonly depth: number };

/** A tile whose sums are shared among threads. */
export type FoldedTile = Tile & { readonly shares: number };

/** So many products of rows by columns with sums of so many steps. */
export interface Problem {
  readonly rows: number;
  readonly columns: number;
  readonly steps: number;
  readonly items: number;
  readonly epilogue?: Epilogue;
  /** Whether the operand of the rows, or of the columns, cannot be loaded as vec4. */
  readonly scalarRows?: boolean;
  readonly scalarColumns?: boolean;
  /** A second way to lay out the rows, if there is one. */
  readonly lines?: Lines;
  /** Whether threads can share a tile, each with steps of its own. */
  readonly foldable?: boolean;
  /** Whether neighbours along the columns lie behind each other in memory. */
  readonly denseColumns?: boolean;
}

/** Rows that share what they load. */
export interface Lines {
  /** Sizes of a thread's rows to choose from. */
  readonly rows: readonly number[];
  /** Rows in all, with those that only fill up. */
  readonly count: (rows: number) => number;
  /** Cycles that the loads of a thread's rows take, per step. */
  readonly cycles: (rows: number) => number;
  /** Sums of a thread at most. */
  readonly most: number;
}

/** Sums that a thread keeps at most, so that the code of some steps fits the instruction cache and compiles quickly. */
const MOST_SUMS = 384;
/** Tiles that are worth a measurement. */
const MOST_TILES = 3;
const ROWS = [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64];
const COLUMNS = [4, 8, 12, 16, 20, 24, 28, 32];

/**
 * Cycles of a software adapter, measured on llvmpipe: a product with its sum; a number loaded for all lanes or for each, as
 * a quarter of a vec4; a load, which takes as long for one number as for four, and a little longer where all lanes want the
 * same. What is stored, or folded from all lanes, and what a workgroup takes to start are rough.
 */
export const CYCLES = {
  product: 1.24,
  spread: 11.7,
  perLane: 10.2,
  load: 41,
  store: 20,
  fold: 25,
  group: 1500,
};
/** Cycles that a sum of the tile must save to be worth the time that its code takes to compile. */
const COMPILE = 1500;
/** Workgroups that run at the same time, about. */
const CORES = 4;

/** The tiles to choose from; all give the same bits. */
export function tilesFor(p: Problem, traits: DeviceTraits): readonly Tile[] {
  if (sharesSteps(p, traits)) return foldedTiles(p, traits);
  if (!traits.software) return hardwareTiles(p);
  return softwareTiles(p).map(({ tile }) => tile);
}

/** A tile with the cycles that it is expected to take. */
interface Rated {
  readonly tile: Tile;
  readonly cost: number;
}

/** Tiles of software adapters whose lanes sum alone. */
function softwareTiles(p: Problem): readonly Rated[] {
  const most = MOST_SUMS / formulaWeight(p.epilogue);
  const best: Rated[] = [];
  for (const lanes of ["columns", "rows", "items"] as const) {
    if (lanes === "items" && p.items === 1) continue;
    const plain = ROWS.flatMap((rows) =>
      COLUMNS.map((columns) => softwareTile(rows, columns, lanes, false))
    );
    const lines = (p.lines?.rows ?? []).flatMap((rows) =>
      COLUMNS.map((columns) => softwareTile(rows, columns, lanes, true))
    );
    for (const candidates of [plain, lines]) {
      let [tile, least]: [Tile | null, number] = [null, Infinity];
      for (const candidate of candidates) {
        const sums = candidate.rows * candidate.columns;
        if (sums > Math.min(most, candidate.line ? p.lines!.most : most)) continue;
        const cost = costOf(p, candidate);
        if (cost < least) [tile, least] = [candidate, cost];
      }
      if (tile !== null) best.push({ tile, cost: least });
    }
  }
  return mostLikely(best);
}

/** The few tiles that are worth a measurement, the likely best first. */
function mostLikely(tiles: Rated[]): readonly Rated[] {
  tiles.sort((a, b) => a.cost - b.cost);
  return tiles.filter(({ cost }, n) => n < MOST_TILES && cost < 1.4 * tiles[0].cost);
}

/** Steps from which on a sum can be shared, and sums below which a hardware adapter has threads to spare. */
const SHARED_STEPS = 128;
const FEW_SUMS = 2 ** 14;
/** Threads of a workgroup on hardware along the steps, and along the columns where these are dense. */
const FOLD_SHARES = 32;
const FOLD_COLUMNS = 8;
/** As COMPILE, for sums that lanes share: small products belong to small steps, which run often. */
const FOLD_COMPILE = 900;

/**
 * Whether threads share each tile. This changes the order of summation, so that it follows from the sizes alone, whatever is
 * stored of the sums and however the operands lie.
 */
export function sharesSteps(p: Problem, traits: DeviceTraits): boolean {
  if (!p.foldable || p.steps < SHARED_STEPS) return false;
  const { rows, columns, steps, items } = p;
  if (!traits.software) return rows * columns * items <= FEW_SUMS;
  const plain: Problem = { rows, columns, steps, items };
  return ratedFolds(plain)[0].cost < softwareTiles(plain)[0].cost;
}

function foldedTiles(p: Problem, traits: DeviceTraits): readonly Tile[] {
  if (traits.software) return ratedFolds(p).map(({ tile }) => tile);
  // Neighbours run along the axis that is dense in memory.
  const lanesX = p.denseColumns ? FOLD_COLUMNS : 1;
  return (p.rows === 1 ? [1] : p.rows === 2 ? [2] : [4, 2])
    .map((rows) => ({ rows, columns: 4, lanes: "steps", lanesX, lanesY: 1, shares: FOLD_SHARES }));
}

/** Tiles that the lanes of a software adapter share, the likely best first. */
function ratedFolds(p: Problem): readonly Rated[] {
  const most = MOST_SUMS / formulaWeight(p.epilogue);
  const tiles = COLUMNS.flatMap((columns) =>
    ROWS.map((rows): Tile => (
      { rows, columns, lanes: "steps", lanesX: 1, lanesY: 1, shares: LANES }
    ))
  );
  const rated = tiles.filter(({ rows, columns }) => rows * columns <= most)
    .map((tile) => ({ tile, cost: foldCost(p, tile) }));
  return mostLikely(rated);
}

function foldCost(p: Problem, { rows, columns }: Tile): number {
  const groups = Math.ceil(p.columns / columns) * Math.ceil(p.rows / rows) * p.items;
  const sums = rows * columns;
  const loads = rows * (p.scalarRows ? 4 : 1) + columns * (p.scalarColumns ? 4 : 1);
  const step = sums * CYCLES.product + loads * CYCLES.perLane;
  const group = Math.ceil(p.steps / LANES) * step + sums * CYCLES.fold + 2 * CYCLES.group;
  return Math.ceil(groups / CORES) * CORES * group + sums * FOLD_COMPILE;
}

const BOTH = { lanes: "both" } as const;
/** Threads sum from registers alone, each with its own loads. */
const ALONE: Tile = { ...BOTH, rows: 4, columns: 4, lanesX: 16, lanesY: 8 };
/** As ALONE, for a single row. */
const ROW: Tile = { ...BOTH, rows: 1, columns: 4, lanesX: 64, lanesY: 1 };
const SLABS: readonly Tile[] = [
  { ...BOTH, rows: 8, columns: 8, lanesX: 8, lanesY: 16, depth: 16 },
  { ...BOTH, rows: 8, columns: 4, lanesX: 16, lanesY: 8, depth: 16 },
  { ...BOTH, rows: 4, columns: 4, lanesX: 8, lanesY: 8, depth: 16 },
];
/** Workgroups that are enough to keep a device busy. */
const ENOUGH = 96;

/** The largest slab that still gives enough workgroups and is half filled, then the other tiles that fit. */
function hardwareTiles(p: Problem): readonly Tile[] {
  if (p.rows === 1) return [ROW];
  const most = 64 / formulaWeight(p.epilogue);
  const fitting = SLABS.filter((t) =>
    t.rows * t.columns <= most && 2 * p.rows >= t.rows * t.lanesY &&
    2 * p.columns >= t.columns * t.lanesX && p.steps >= 8
  );
  const groups = (t: Tile) =>
    Math.ceil(p.rows / (t.rows * t.lanesY)) * Math.ceil(p.columns / (t.columns * t.lanesX)) *
    p.items;
  const first = fitting.find((t) => groups(t) >= ENOUGH) ?? fitting.at(-1);
  if (first === undefined) return [ALONE];
  return [first, ...fitting.filter((t) => t !== first), ALONE];
}

function softwareTile(rows: number, columns: number, lanes: Lanes, line: boolean): Tile {
  const [lanesX, lanesY] = [lanes === "columns" ? LANES : 1, lanes === "rows" ? LANES : 1];
  return { rows, columns, lanes, lanesX, lanesY, ...(line ? { line } : {}) };
}

/** Long formulas are written out for every sum, so that tiles get smaller. */
function formulaWeight(epilogue: Epilogue | undefined): number {
  const length = epilogue?.outputs.reduce((n, o) => n + topological(o.expr).length, 0) ?? 0;
  return length > 48 ? 4 : length > 16 ? 2 : 1;
}

function costOf(p: Problem, { rows, columns, lanes, lanesX, lanesY, line }: Tile): number {
  const allRows = line ? p.lines!.count(rows) : p.rows;
  const groups = Math.ceil(p.columns / (columns * lanesX)) *
    Math.ceil(allRows / (rows * lanesY)) * Math.ceil(p.items / (lanes === "items" ? LANES : 1));
  const sums = rows * columns;
  const each = (uniform: boolean, scalar = false) =>
    (uniform ? CYCLES.spread : CYCLES.perLane) * (scalar ? 4 : 1);
  const left = line ? p.lines!.cycles(rows) : rows * each(lanes === "columns", p.scalarRows);
  const step = sums * CYCLES.product + left + columns * each(lanes === "rows", p.scalarColumns);
  const group = p.steps * step + sums * CYCLES.store + CYCLES.group;
  const code = sums * COMPILE * (p.columns % 4 === 0 ? 1 : 2);
  return Math.ceil(groups / CORES) * CORES * group + code;
}

/** Names of the tiles, as variants of a kernel. */
export function tileNames(p: Problem, traits: DeviceTraits): readonly string[] {
  return tilesFor(p, traits).map(nameOf);
}

function nameOf(t: Tile): string {
  if (isFolded(t)) return `${t.rows}x${t.columns} by ${t.shares}`;
  if (t.lanes !== "both") return `${t.rows}x${t.columns} ${t.lanes}${t.line ? " of lines" : ""}`;
  const size = `${t.rows * t.lanesY}x${t.columns * t.lanesX}`;
  return t.depth === undefined ? `${size} registers` : `${size} shared`;
}

/** The tile of this name, or the likely best one. */
export function tileOf(p: Problem, traits: DeviceTraits, name?: string): Tile {
  const tiles = tilesFor(p, traits);
  if (name === undefined) return tiles[0];
  const tile = tiles.find((t) => nameOf(t) === name);
  if (tile === undefined) throw new Error(`internal: no tile "${name}" for this product`);
  return tile;
}

/** Whether the operands of a tile go through workgroup memory. */
export function isShared(tile: Tile): tile is SharedTile {
  return tile.depth !== undefined;
}

/** Whether the sums of a tile are shared among threads. */
export function isFolded(tile: Tile): tile is FoldedTile {
  return tile.shares !== undefined;
}

/** The rows of the left side, or the columns of the right side, that a workgroup holds. */
export type Slab = "a" | "b";

/** Fours of rows (or columns) of a slab. */
export function quadsOf(tile: Tile, slab: Slab): number {
  return (slab === "a" ? tile.rows * tile.lanesY : tile.columns * tile.lanesX) / 4;
}

/** Length of a step in a slab: one more than its quads, so that threads that store along the steps use different banks. */
export function slabWidth(tile: Tile, slab: Slab): number {
  return quadsOf(tile, slab) + 1;
}
