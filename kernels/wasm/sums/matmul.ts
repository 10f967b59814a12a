/** Matrix products as blocked tiles over packed panels. */

import type { MatmulParams } from "../../matmul.ts";
import { plainResult } from "../../gemm.ts";
import { type Kernel, sizeOf } from "../../types.ts";
import { type GemmPlan, gemmPlan } from "./gemm_plan.ts";
import {
  call,
  type Code,
  countUp,
  get,
  i32,
  ifElse,
  type Local,
  set,
  setGlobal,
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { packPanel, panelBytes, type Side } from "./pack.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { rowSumsPhase } from "./row_sums.ts";
import { TileStores } from "./stores.ts";
import { addLongRun, type Depth, sumsOf, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { advance, atEdge, laneCounts, least, type Names } from "./arithmetic.ts";

/** Elements that a task of the packing phase moves, about. */
const PACK_ELEMENTS = 16384;

/** The program of a matrix product without slices. */
export function matmulProgram(kernel: Kernel, features: WasmFeatures): CpuProgram {
  const params = kernel.params as MatmulParams;
  return new Matmul(kernel, params, features).program();
}

/** Steps in bytes of an operand over the axes of the batch. */
function batchBytes(strides: readonly number[], batch: readonly number[]): number[] {
  return batch.map((_, d) => 4 * strides[d]);
}

/** A matrix product in the making. */
class Matmul {
  readonly #kernel: Kernel;
  readonly #params: MatmulParams;
  readonly #features: WasmFeatures;
  readonly #left: Side;
  readonly #right: Side;
  readonly #items: number;
  readonly #panels: number;
  /** Right sides that differ. */
  readonly #rights: number;
  readonly #plan: GemmPlan;
  readonly #module: ModuleBuilder;
  /** Number of the global that holds the address of the arguments. */
  readonly #args: number;
  readonly #stores: TileStores;
  readonly #tiles = new Map<string, FunctionBuilder>();

  constructor(kernel: Kernel, params: MatmulParams, features: WasmFeatures) {
    const { m, n, k, a, b, batch, bias, epilogue } = params;
    this.#kernel = kernel;
    this.#params = params;
    this.#features = features;
    this.#left = { size: m, depth: k, stride: a.rowStride, depthStride: a.columnStride };
    this.#right = { size: n, depth: k, stride: b.columnStride, depthStride: b.rowStride };
    this.#items = sizeOf(batch);
    this.#panels = Math.ceil(n / TILE_COLUMNS);
    this.#rights = b.batchStrides.every((s) => s === 0) ? 1 : this.#items;
    const plan = gemmPlan(this.#left, this.#right, this.#items);
    this.#plan = plan;
    this.#module = new ModuleBuilder(features);
    this.#args = this.#module.global();
    this.#stores = new TileStores(
      this.#module,
      kernel,
      epilogue ?? plainResult([...batch, m, n]),
      { lead: batch, rows: [m], columns: n },
      this.#args,
      bias ? 3 : 2,
      bias ? 2 : null,
    );
  }

  program(): CpuProgram {
    const { packLeft, packRight, rows, panels, down, across, taskNs } = this.#plan;
    const phases: CpuPhase[] = [];
    if (packRight === "shared") phases.push(this.#packPhase(phases.length));
    this.#mainPhase(phases.length);
    phases.push({ tasks: this.#items * down * across, taskNs });
    if (this.#params.rowSums) {
      const { a } = this.#params;
      phases.push(
        rowSumsPhase(this.#module, `phase${phases.length}`, this.#left, a.offset, {
          left: argOffsets.operand(0),
          sums: argOffsets.operand(this.#kernel.inputs.length + 1),
        }),
      );
    }
    const panel = panelBytes(this.#right, TILE_COLUMNS);
    const left = packLeft ? rows / TILE_ROWS * panelBytes(this.#left, TILE_ROWS) : 0;
    return {
      code: this.#module.encode(),
      phases,
      sharedBytes: packRight === "shared" ? this.#rights * this.#panels * panel : 0,
      threadBytes: left + (packRight === "own" ? panels * panel : 0),
    };
  }

  /** Address of the first element of an operand's matrix. */
  #matrix(operand: 0 | 1, item: Local): Code {
    const { a, b, batch } = this.#params;
    const { offset, batchStrides } = operand === 0 ? a : b;
    const steps = batchBytes(batchStrides, batch);
    let at: Code = i32.add(
      i32.load([0x23, this.#args], argOffsets.operand(operand)),
      i32.const(4 * offset),
    );
    let below = 1;
    for (let d = batch.length - 1; d >= 0; below *= batch[d--]) {
      if (steps[d] === 0) continue;
      const index = i32.rem_u(i32.div_u(get(item), i32.const(below)), i32.const(batch[d]));
      at = i32.add(at, i32.mul(index, i32.const(steps[d])));
    }
    return at;
  }

  /** Packs all of the right sides. */
  #packPhase(number: number): CpuPhase {
    const depth = Math.max(1, this.#right.depth);
    const perTask = Math.max(1, Math.round(PACK_ELEMENTS / (depth * TILE_COLUMNS)));
    const all = this.#rights * this.#panels;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, `phase${number}`);
    const [args, begin, end] = fn.params;
    const [flat, until, item, panel, from, to] = fn.locals(6, "i32");
    fn.emit(
      setGlobal(this.#args, get(args)),
      set(until, i32.mul(get(end), i32.const(perTask))),
      set(until, least(get(until), i32.const(all))),
      countUp(flat, i32.mul(get(begin), i32.const(perTask)), get(until), 1, [
        set(item, i32.div_u(get(flat), i32.const(this.#panels))),
        set(panel, i32.rem_u(get(flat), i32.const(this.#panels))),
        set(from, this.#matrix(1, item)),
        set(to, this.#panelAt(i32.load(get(args), argOffsets.shared), get(flat))),
        packPanel(fn, this.#right, TILE_COLUMNS, panel, from, to),
      ]),
    );
    return { tasks: Math.ceil(all / perTask), taskNs: perTask * depth * TILE_COLUMNS * 0.5 };
  }

  #panelAt(base: Code, number: Code): Code {
    return i32.add(base, i32.mul(number, i32.const(panelBytes(this.#right, TILE_COLUMNS))));
  }

  /** Goes through the blocks of rows and columns. */
  #mainPhase(number: number): void {
    const { rows, panels, down, across, packLeft } = this.#plan;
    const { m } = this.#params;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, `phase${number}`);
    const [args, begin, end, scratch] = fn.params;
    const [task, item, rest] = fn.locals(3, "i32");
    const [row0, row1, panel0, panel1, left, right, own] = fn.locals(7, "i32");
    fn.emit(
      setGlobal(this.#args, get(args)),
      countUp(task, get(begin), get(end), 1, [
        set(item, i32.div_u(get(task), i32.const(down * across))),
        set(rest, i32.rem_u(get(task), i32.const(down * across))),
        set(row0, i32.mul(i32.div_u(get(rest), i32.const(across)), i32.const(rows))),
        set(row1, least(i32.add(get(row0), i32.const(rows)), i32.const(m))),
        set(panel0, i32.mul(i32.rem_u(get(rest), i32.const(across)), i32.const(panels))),
        set(panel1, least(i32.add(get(panel0), i32.const(panels)), i32.const(this.#panels))),
        set(left, this.#matrix(0, item)),
        set(own, get(scratch)),
        packLeft ? this.#packLeft(fn, left, row0, row1, own) : this.#skipRows(left, row0),
        this.#rightOf(fn, { item, panel0, panel1, right, own, args }),
        this.#block(fn, { item, row0, row1, panel0, panel1, left, right }),
      ]),
    );
  }

  #skipRows(left: Local, row0: Local): Code {
    const bytes = i32.mul(get(row0), i32.const(4 * this.#left.stride));
    return set(left, i32.add(get(left), bytes));
  }

  /** Packs the rows of a task; `left` and `own` move on. */
  #packLeft(fn: FunctionBuilder, left: Local, row0: Local, row1: Local, own: Local): Code {
    const from = fn.local("i32");
    const panel = fn.local("i32");
    const until = fn.local("i32");
    const bytes = panelBytes(this.#left, TILE_ROWS);
    const tiles = (rows: Code) => i32.div_u(rows, i32.const(TILE_ROWS));
    return [
      set(from, get(left)),
      set(left, get(own)),
      set(until, tiles(i32.add(get(row1), i32.const(TILE_ROWS - 1)))),
      countUp(panel, tiles(get(row0)), get(until), 1, [
        packPanel(fn, this.#left, TILE_ROWS, panel, from, own),
        set(own, i32.add(get(own), i32.const(bytes))),
      ]),
    ];
  }

  /** Leaves the address of the task's first panel in `right`. */
  #rightOf(
    fn: FunctionBuilder,
    { item, panel0, panel1, right, own, args }: Names<
      "item" | "panel0" | "panel1" | "right" | "own" | "args"
    >,
  ): Code {
    const { packRight } = this.#plan;
    if (packRight === "shared") {
      const flat = this.#rights === 1
        ? get(panel0)
        : i32.add(i32.mul(get(item), i32.const(this.#panels)), get(panel0));
      return set(right, this.#panelAt(i32.load(get(args), argOffsets.shared), flat));
    }
    const matrix = this.#matrix(1, item);
    if (packRight === "none") {
      const bytes = i32.mul(get(panel0), i32.const(4 * TILE_COLUMNS * this.#right.stride));
      return set(right, i32.add(matrix, bytes));
    }
    const from = fn.local("i32");
    const panel = fn.local("i32");
    return [
      set(from, matrix),
      set(right, get(own)),
      countUp(panel, get(panel0), get(panel1), 1, [
        packPanel(fn, this.#right, TILE_COLUMNS, panel, from, own),
        set(own, i32.add(get(own), i32.const(panelBytes(this.#right, TILE_COLUMNS)))),
      ]),
    ];
  }

  /** All tiles of a task: panel by panel, so that a panel stays in the first cache. */
  #block(
    fn: FunctionBuilder,
    { item, row0, row1, panel0, panel1, left, right }: Names<
      "item" | "row0" | "row1" | "panel0" | "panel1" | "left" | "right"
    >,
  ): Code {
    const { m, n } = this.#params;
    const [panel, row, column, at, whole] = fn.locals(5, "i32");
    const restRows = m % TILE_ROWS;
    const rightBytes = this.#plan.packRight === "none"
      ? 4 * TILE_COLUMNS * this.#right.stride
      : panelBytes(this.#right, TILE_COLUMNS);
    const leftBytes = this.#plan.packLeft
      ? panelBytes(this.#left, TILE_ROWS)
      : 4 * TILE_ROWS * this.#left.stride;
    const tile = (rows: number, columns: number) =>
      call(this.#tile(rows, columns).index, get(at), get(right), get(item), get(row), get(column));
    const panelOf = (columns: number): Code => [
      set(at, get(left)),
      countUp(row, get(row0), get(whole), TILE_ROWS, [
        m >= TILE_ROWS ? tile(TILE_ROWS, columns) : [],
        advance(at, leftBytes),
      ]),
      restRows === 0 ? [] : ifElse(i32.lt_u(get(whole), get(row1)), [
        set(row, get(whole)),
        tile(restRows, columns),
      ]),
    ];
    const rows = i32.sub(get(row1), get(row0));
    return [
      set(whole, i32.sub(get(row1), i32.rem_u(rows, i32.const(TILE_ROWS)))),
      countUp(panel, get(panel0), get(panel1), 1, [
        set(column, i32.mul(get(panel), i32.const(TILE_COLUMNS))),
        atEdge(panel, this.#panels, n % TILE_COLUMNS, TILE_COLUMNS, panelOf),
        advance(right, rightBytes),
      ]),
    ];
  }

  /** The function that computes and stores a tile of so many rows and columns. */
  #tile(rows: number, columns: number): FunctionBuilder {
    const key = `${rows}x${columns}`;
    let fn = this.#tiles.get(key);
    if (fn !== undefined) return fn;
    fn = this.#module.function(["i32", "i32", "i32", "i32", "i32"]);
    this.#tiles.set(key, fn);
    const [left, right, item, row, column] = fn.params;
    const counts = laneCounts(columns);
    const sums = sumsOf(fn, rows, counts.length);
    const { packLeft, packRight } = this.#plan;
    const rowBytes = packLeft ? 4 : 4 * this.#left.stride;
    const pointers = fn.locals(rows, "i32");
    const depth: Depth = {
      runs: 1,
      length: this.#left.depth,
      leftStep: packLeft ? 4 * TILE_ROWS : 4 * this.#left.depthStride,
      leftJump: 0,
      rightStep: packRight === "none" ? 4 * this.#right.depthStride : 4 * TILE_COLUMNS,
      rightJump: 0,
    };
    const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
    fn.emit(
      pointers.map((p, r) => set(p, i32.add(get(left), i32.const(r * rowBytes)))),
      addLongRun(fn, sums, places, right, depth, this.#features.relaxed),
      this.#stores.store(fn, sums, counts, { item, row, column }),
    );
    return fn;
  }
}
