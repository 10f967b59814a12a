/** How a matrix product is cut into tasks, and which of its sides are packed. */

import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import type { Side } from "./pack.ts";

/** Bytes of the left side that a task keeps in the nearer caches while it goes through the columns. */
const LEFT_BYTES = 96 * 1024;
/** Bytes of one panel that stay in the first cache although every step lies in a line of its own. */
const SCATTERED_BYTES = 16 * 1024;
/** Columns below which packing the left side costs more than it saves, and rows likewise for the right side. */
const FEW_COLUMNS = 24;
const FEW_ROWS = 4 * TILE_ROWS;
/** Nanoseconds that one thread takes for a product with its sum, about, and those of a task worth to be shared. */
export const PRODUCT_NS = 1 / 15;
const TASK_NS = 40_000;
const MOST_TASKS = 48;

/** How a side is read: where it lies, from panels of all of it, or from panels that each task packs for itself. */
export type Packing = "none" | "shared" | "own";

/** A plan. */
export interface GemmPlan {
  readonly packLeft: boolean;
  readonly packRight: Packing;
  /** Rows of a task, a multiple of those of a tile. */
  readonly rows: number;
  /** Panels of columns of a task. */
  readonly panels: number;
  /** Tasks along the rows, and along the columns. */
  readonly down: number;
  readonly across: number;
  /** About how long a task takes. */
  readonly taskNs: number;
}

/**
 * The plan for products of a left and a right side.
 *
 * @param items number of products
 */
export function gemmPlan(left: Side, right: Side, items: number): GemmPlan {
  const { size: m, depth } = left;
  const n = right.size;
  const panels = Math.ceil(n / TILE_COLUMNS);
  const scattered = (side: Side) => 64 * depth > SCATTERED_BYTES && side.depthStride * 4 > 32;
  const packLeft = left.depthStride !== 1 && n >= FEW_COLUMNS && scattered(left);
  const wanted = Math.min(MOST_TASKS, Math.ceil(m * n * depth * items * PRODUCT_NS / TASK_NS));
  const cached = Math.floor(LEFT_BYTES / (4 * Math.max(1, depth)) / TILE_ROWS) * TILE_ROWS;
  let rows = Math.min(Math.ceil(m / TILE_ROWS) * TILE_ROWS, Math.max(4 * TILE_ROWS, cached));
  const down = () => Math.ceil(m / rows);
  const across = Math.min(panels, Math.max(1, Math.ceil(wanted / (items * down()))));
  const perTask = Math.ceil(panels / across);
  if (items * down() * across < wanted) {
    const parts = Math.ceil(wanted / (items * across));
    rows = Math.max(TILE_ROWS, Math.ceil(m / parts / TILE_ROWS) * TILE_ROWS);
  }
  const needed = right.stride !== 1 || (m > FEW_ROWS && scattered(right));
  const packRight = !needed ? "none" : down() === 1 ? "own" : "shared";
  return {
    packLeft,
    packRight,
    rows,
    panels: perTask,
    down: down(),
    across: Math.ceil(panels / perTask),
    taskNs: rows * perTask * TILE_COLUMNS * depth * PRODUCT_NS,
  };
}
