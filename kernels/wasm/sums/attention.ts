/**
 * Attention by blocks of rows: the scores of a few queries with all keys (or of a few keys with all queries) lie in memory of
 * the thread, become weights there, and are the left side of a second product. Both products are tiles in registers.
 */

import type { MatrixOperand } from "../../matrix_loads.ts";
import { type Kernel, sizeOf } from "../../types.ts";
import { queryTile, scoreTile, valueTile } from "./attention_tiles.ts";
import { AttentionWeights } from "./attention_weights.ts";
import {
  type QueryProduct,
  type ScoreProduct,
  type ValueProduct,
  type Work,
  workOf,
} from "./attention_work.ts";
import { advance, atEdge, least, type Names, sum as sumOfCode, times } from "./arithmetic.ts";
import { PRODUCT_NS } from "./gemm_plan.ts";
import {
  call,
  type Code,
  countUp,
  get,
  i32,
  ifElse,
  type Local,
  select,
  set,
  setGlobal,
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { packPanel, panelBytes, type Side } from "./pack.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";

/** Rows of a task: whole tiles, and whole panels where they bound the columns of a causal block. */
const BLOCK = 24;
/** Elements that a task of the packing phase moves, about. */
const PACK_ELEMENTS = 16384;
/** Nanoseconds for a weight, about. */
const WEIGHT_NS = 1.5;

/** The program of one of the kernels, or null where columns of a right side are not next to each other. */
export function attentionProgram(kernel: Kernel, features: WasmFeatures): CpuProgram | null {
  const work = workOf(kernel);
  const dense = work.values.every(({ right, out }) =>
    right.columnStride === 1 && out.columnStride === 1
  );
  return dense ? new BlockAttention(kernel, work, features).program() : null;
}

/** A kernel in the making. */
class BlockAttention {
  readonly #work: Work;
  readonly #module: ModuleBuilder;
  readonly #args: number;
  readonly #weights: AttentionWeights;
  readonly #items: number;
  readonly #panels: number;
  /** Bytes of a row of scores. */
  readonly #line: number;

  constructor(kernel: Kernel, work: Work, features: WasmFeatures) {
    this.#work = work;
    this.#module = new ModuleBuilder(features);
    this.#args = this.#module.global();
    this.#items = sizeOf(work.p.batch);
    this.#panels = Math.ceil(work.otherRows / TILE_COLUMNS);
    this.#line = 4 * TILE_COLUMNS * this.#panels;
    this.#weights = new AttentionWeights(this.#module, kernel, this.#args);
  }

  program(): CpuProgram {
    const { scores } = this.#work;
    const pack = this.#packPhase();
    const main = this.#mainPhase();
    const blocks = BLOCK * this.#line;
    return {
      code: this.#module.encode(),
      phases: [pack, main],
      sharedBytes: this.#packedAt(scores.length),
      threadBytes: scores.length * blocks + 4 * BLOCK,
    };
  }

  #sideOf({ other, depth }: ScoreProduct): Side {
    const { rowStride, columnStride } = other;
    return { size: this.#work.otherRows, depth, stride: rowStride, depthStride: columnStride };
  }

  /** Where the panels of a product begin in shared memory. */
  #packedAt(number: number): number {
    return this.#work.scores.slice(0, number).reduce(
      (at, s) => at + this.#items * this.#panels * panelBytes(this.#sideOf(s), TILE_COLUMNS),
      0,
    );
  }

  /** Address of the first element of an operand's matrix. */
  #matrix(operand: number, { offset, batchStrides }: MatrixOperand, item: Local): Code {
    const { batch } = this.#work.p;
    let at: Code = i32.add(
      i32.load([0x23, this.#args], argOffsets.operand(operand)),
      i32.const(4 * offset),
    );
    let below = 1;
    for (let d = batch.length - 1; d >= 0; below *= batch[d--]) {
      if (batchStrides[d] === 0) continue;
      const index = i32.rem_u(i32.div_u(get(item), i32.const(below)), i32.const(batch[d]));
      at = i32.add(at, i32.mul(index, i32.const(4 * batchStrides[d])));
    }
    return at;
  }

  /** Packs the other sides of all products. */
  #packPhase(): CpuPhase {
    const { scores } = this.#work;
    const elements = TILE_COLUMNS * scores.reduce((sum, { depth }) => sum + depth, 0);
    const perTask = Math.max(1, Math.round(PACK_ELEMENTS / elements));
    const all = this.#items * this.#panels;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase0");
    const [args, begin, end] = fn.params;
    const [flat, until, item, panel, from, to] = fn.locals(6, "i32");
    fn.emit(
      setGlobal(this.#args, get(args)),
      set(until, i32.mul(get(end), i32.const(perTask))),
      set(until, least(get(until), i32.const(all))),
      countUp(flat, i32.mul(get(begin), i32.const(perTask)), get(until), 1, [
        set(item, i32.div_u(get(flat), i32.const(this.#panels))),
        set(panel, i32.rem_u(get(flat), i32.const(this.#panels))),
        scores.map((s, n) => {
          const side = this.#sideOf(s);
          const place = times(flat, panelBytes(side, TILE_COLUMNS));
          const base = i32.load(get(args), argOffsets.shared);
          return [
            set(from, this.#matrix(s.otherOperand, s.other, item)),
            set(to, sumOfCode(base, i32.const(this.#packedAt(n)), place)),
            packPanel(fn, side, TILE_COLUMNS, panel, from, to),
          ];
        }),
      ]),
    );
    return { tasks: Math.ceil(all / perTask), taskNs: perTask * elements * 0.5 };
  }

  /** A task is a block of rows, or all blocks of a matrix where they add to the same gradients of queries. */
  #mainPhase(): CpuPhase {
    const { ownRows, otherRows, scores, values, queries, p } = this.#work;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase1");
    const [args, begin, end, scratch] = fn.params;
    const [task, item, row0, factors] = fn.locals(4, "i32");
    const blocks = Math.ceil(ownRows / BLOCK);
    const block = this.#block(fn, { args, scratch, item, row0, factors });
    fn.emit(
      setGlobal(this.#args, get(args)),
      set(factors, i32.add(get(scratch), i32.const(scores.length * BLOCK * this.#line))),
      countUp(
        task,
        get(begin),
        get(end),
        1,
        queries
          ? [
            set(item, get(task)),
            countUp(row0, i32.const(0), i32.const(ownRows), BLOCK, block),
          ]
          : [
            set(item, i32.div_u(get(task), i32.const(blocks))),
            set(row0, i32.mul(i32.rem_u(get(task), i32.const(blocks)), i32.const(BLOCK))),
            block,
          ],
      ),
    );
    const columns = scores.reduce((sum, s) => sum + s.depth, 0) +
      values.reduce((sum, v) => sum + v.columns, queries ? p.depth : 0);
    const blockNs = BLOCK * otherRows * (columns * PRODUCT_NS + WEIGHT_NS) * (p.causal ? 0.5 : 1);
    return queries
      ? { tasks: this.#items, taskNs: blocks * blockNs }
      : { tasks: this.#items * blocks, taskNs: blockNs };
  }

  /** The work of a block of rows. */
  #block(
    fn: FunctionBuilder,
    { args, scratch, item, row0, factors }: Names<"args" | "scratch" | "item" | "row0" | "factors">,
  ): Code {
    const { p, ownRows, byKey, scores, values, queries } = this.#work;
    const [rows, from, until] = fn.locals(3, "i32");
    const panelsTo = i32.div_u(
      sumOfCode(get(row0), get(rows), i32.const(TILE_COLUMNS - 1)),
      i32.const(TILE_COLUMNS),
    );
    const firstPanel = i32.div_u(get(row0), i32.const(TILE_COLUMNS));
    const all = i32.const(this.#panels);
    const left = i32.sub(i32.const(ownRows), get(row0));
    return [
      set(rows, least(left, i32.const(BLOCK))),
      set(from, p.causal && byKey ? least(firstPanel, all) : i32.const(0)),
      set(until, p.causal && !byKey ? least(panelsTo, all) : all),
      scores.map((s, n) =>
        this.#scoreBlock(fn, s, n, { args, scratch, item, row0, rows, from, until })
      ),
      this.#weights.block(fn, {
        scores: Array.from({ length: scores.length }, (_, n) => this.#scoresAt(scratch, n)),
        line: this.#line,
        ...{ item, row0, rows, from, until, factors },
      }),
      values.map((value) =>
        this.#valueBlock(fn, value, { scratch, item, row0, rows, from, until, factors })
      ),
      queries ? this.#queryBlock(fn, queries, { scratch, item, row0, rows, from }) : [],
    ];
  }

  /** Adds what a block of keys gives to the gradients of all queries that see it. */
  #queryBlock(
    fn: FunctionBuilder,
    { dq, operand }: QueryProduct,
    { scratch, item, row0, rows, from }: Names<"scratch" | "item" | "row0" | "rows" | "from">,
  ): Code {
    const { p, ownRows } = this.#work;
    const [panel, first, left, right, to, line, whole, tail, count] = fn.locals(9, "i32");
    const rest = ownRows % TILE_COLUMNS;
    const tiles = new Map<string, FunctionBuilder>();
    const tile = (rows: number, columns: number): Code => {
      const key = `${rows}x${columns}`;
      const shape = { rows, columns, line: this.#line, keys: p.k, dq, rest };
      const made = tiles.get(key) ?? queryTile(this.#module, shape);
      tiles.set(key, made);
      const args = [left, right, whole, tail, to].map(get);
      return call(made.index, ...args, i32.eqz(get(row0)));
    };
    const all = Math.ceil(p.depth / TILE_COLUMNS);
    const query0 = times(from, TILE_COLUMNS);
    const columnsOf = (columns: number) =>
      this.#eachRowTile(fn, count, p.queries, (rows) => tile(rows, columns), [
        advance(left, 4 * TILE_ROWS),
        advance(to, 4 * TILE_ROWS * dq.rowStride),
      ]);
    return ifElse(i32.lt_u(query0, i32.const(p.queries)), [
      set(count, i32.sub(i32.const(p.queries), query0)),
      set(whole, i32.div_u(get(rows), i32.const(TILE_COLUMNS))),
      set(tail, i32.rem_u(get(rows), i32.const(TILE_COLUMNS))),
      set(first, i32.add(this.#scoresAt(scratch, 1), times(from, 4 * TILE_COLUMNS))),
      set(right, this.#matrix(1, p.k, item)),
      set(right, i32.add(get(right), times(row0, 4 * p.k.rowStride))),
      set(line, this.#matrix(operand, dq, item)),
      set(line, i32.add(get(line), times(from, 4 * TILE_COLUMNS * dq.rowStride))),
      countUp(panel, i32.const(0), i32.const(all), 1, [
        set(left, get(first)),
        set(to, get(line)),
        atEdge(panel, all, p.depth % TILE_COLUMNS, TILE_COLUMNS, columnsOf),
        advance(right, 4 * TILE_COLUMNS),
        advance(line, 4 * TILE_COLUMNS),
      ]),
    ]);
  }

  #scoresAt(scratch: Local, n: number): Code {
    return i32.add(get(scratch), i32.const(n * BLOCK * this.#line));
  }

  /** Calls a tile for all whole tiles of some last rows of `size`, then for the rest. */
  #eachRowTile(
    fn: FunctionBuilder,
    rows: Local,
    size: number,
    tile: (rows: number) => Code,
    next: Code,
  ): Code {
    const rest = size % TILE_ROWS;
    const counter = fn.local("i32");
    const whole = fn.local("i32");
    const inWhole = i32.sub(get(rows), i32.rem_u(get(rows), i32.const(TILE_ROWS)));
    return [
      set(whole, inWhole),
      size < TILE_ROWS ? [] : countUp(counter, i32.const(0), get(whole), TILE_ROWS, [
        tile(TILE_ROWS),
        next,
      ]),
      rest === 0 ? [] : ifElse(i32.lt_u(get(whole), get(rows)), tile(rest)),
    ];
  }

  /** The products of a block with the panels from `from` to before `until`: panel by panel, which stays in the first cache. */
  #scoreBlock(
    fn: FunctionBuilder,
    s: ScoreProduct,
    n: number,
    { args, scratch, item, row0, rows, from, until }: Names<
      "args" | "scratch" | "item" | "row0" | "rows" | "from" | "until"
    >,
  ): Code {
    const [panel, first, left, right, to, at] = fn.locals(6, "i32");
    const bytes = panelBytes(this.#sideOf(s), TILE_COLUMNS);
    const tiles = new Map<number, FunctionBuilder>();
    const tile = (count: number): Code => {
      const made = tiles.get(count) ?? scoreTile(this.#module, s, count, this.#line);
      tiles.set(count, made);
      return call(made.index, get(left), get(right), get(at));
    };
    const panelNumber = i32.add(times(item, this.#panels), get(from));
    return [
      set(first, this.#matrix(s.ownOperand, s.own, item)),
      set(first, i32.add(get(first), times(row0, 4 * s.own.rowStride))),
      set(right, i32.load(get(args), argOffsets.shared)),
      set(right, i32.add(get(right), i32.const(this.#packedAt(n)))),
      set(right, i32.add(get(right), i32.mul(panelNumber, i32.const(bytes)))),
      set(to, i32.add(this.#scoresAt(scratch, n), times(from, 4 * TILE_COLUMNS))),
      countUp(panel, get(from), get(until), 1, [
        set(left, get(first)),
        set(at, get(to)),
        this.#eachRowTile(fn, rows, this.#work.ownRows, tile, [
          advance(left, 4 * TILE_ROWS * s.own.rowStride),
          advance(at, TILE_ROWS * this.#line),
        ]),
        advance(right, bytes),
        advance(to, 4 * TILE_COLUMNS),
      ]),
    ];
  }

  /** The products of the weights of a block with all columns of the other side. */
  #valueBlock(
    fn: FunctionBuilder,
    value: ValueProduct,
    { scratch, item, row0, rows, from, until, factors }: Names<
      "scratch" | "item" | "row0" | "rows" | "from" | "until" | "factors"
    >,
  ): Code {
    const { otherRows } = this.#work;
    const { right, out, columns } = value;
    const [panel, first, left, at, to, line, factor, whole, tail] = fn.locals(9, "i32");
    const wholePanels = i32.const(Math.floor(otherRows / TILE_COLUMNS));
    const rest = otherRows % TILE_COLUMNS;
    const tiles = new Map<string, FunctionBuilder>();
    const tile = (count: number, wide: number): Code => {
      const key = `${count}x${wide}`;
      const made = tiles.get(key) ??
        valueTile(this.#module, value, { rows: count, columns: wide, line: this.#line, rest });
      tiles.set(key, made);
      const args = [left, at, whole, tail, to, factor].map(get);
      return call(made.index, ...args);
    };
    const rowsOf = (wide: number) =>
      this.#eachRowTile(fn, rows, this.#work.ownRows, (count) => tile(count, wide), [
        advance(left, TILE_ROWS * this.#line),
        advance(to, 4 * TILE_ROWS * out.rowStride),
        advance(factor, 4 * TILE_ROWS),
      ]);
    const all = Math.ceil(columns / TILE_COLUMNS);
    return [
      set(whole, least(get(until), wholePanels)),
      set(
        whole,
        select(i32.sub(get(whole), get(from)), i32.const(0), i32.lt_u(get(from), get(whole))),
      ),
      set(
        tail,
        i32.and(i32.gt_u(get(until), wholePanels), i32.lt_u(get(from), get(until))),
      ),
      set(at, this.#matrix(value.rightOperand, right, item)),
      set(at, i32.add(get(at), times(from, 4 * TILE_COLUMNS * right.rowStride))),
      set(line, this.#matrix(value.outOperand, out, item)),
      set(line, i32.add(get(line), times(row0, 4 * out.rowStride))),
      set(
        first,
        i32.add(this.#scoresAt(scratch, value.left), times(from, 4 * TILE_COLUMNS)),
      ),
      countUp(panel, i32.const(0), i32.const(all), 1, [
        set(left, get(first)),
        set(to, get(line)),
        set(factor, get(factors)),
        atEdge(panel, all, columns % TILE_COLUMNS, TILE_COLUMNS, rowsOf),
        advance(at, 4 * TILE_COLUMNS),
        advance(line, 4 * TILE_COLUMNS),
      ]),
    ];
  }
}
