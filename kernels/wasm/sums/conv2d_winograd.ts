/**
 * Forward convolution by windows of 3 × 3 with step 1 as sixteen products over transformed patches and weights (winograd.ts).
 * A task transforms the patches of some tiles, multiplies them while they are in a near cache, and transforms back.
 */

import { type ConvForward, convShape } from "../../conv2d.ts";
import { plainResult } from "../../gemm.ts";
import type { Kernel } from "../../types.ts";
import { PRODUCT_NS } from "./gemm_plan.ts";
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
  v128,
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { TileStores } from "./stores.ts";
import { addProducts, type Depth, sumsOf, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { type Grid, ofProducts, ofWeights, PATCH, POINTS, transformed } from "./winograd.ts";
import { patchFunction, placeOf, pointStep, tilesOf } from "./winograd_tiles.ts";
import { advance, least, type Names, sum, times } from "./arithmetic.ts";

/** Bytes of transformed patches and products that a task keeps in a near cache. */
const TASK_BYTES = 256 * 1024;
/** The program of a convolution that suits. */
export function winogradProgram(kernel: Kernel, features: WasmFeatures): CpuProgram {
  return new Winograd(kernel, kernel.params as ConvForward, features).program();
}

/** A convolution in the making. */
class Winograd {
  readonly #p: ConvForward;
  readonly #relaxed: boolean;
  readonly #module: ModuleBuilder;
  readonly #args: number;
  readonly #stores: TileStores;
  readonly #panels: number;
  readonly #tiles: number;
  /** Tiles of a task. */
  readonly #count: number;

  constructor(kernel: Kernel, p: ConvForward, features: WasmFeatures) {
    this.#p = p;
    this.#relaxed = features.relaxed;
    this.#module = new ModuleBuilder(features);
    this.#args = this.#module.global();
    this.#panels = Math.ceil(p.outChannels / TILE_COLUMNS);
    const { tilesX, tilesY } = tilesOf(p);
    this.#tiles = p.batch * tilesX * tilesY;
    const bytes = 4 * POINTS * (p.inChannels + this.#panels * TILE_COLUMNS);
    const count = Math.floor(TASK_BYTES / bytes / TILE_ROWS) * TILE_ROWS;
    this.#count = Math.max(2 * TILE_ROWS, count);
    this.#stores = new TileStores(
      this.#module,
      kernel,
      p.epilogue ?? plainResult(convShape(p)),
      { lead: [], rows: [p.batch, p.outHeight, p.outWidth], columns: p.outChannels },
      this.#args,
      p.bias ? 3 : 2,
      p.bias ? 2 : null,
    );
  }

  program(): CpuProgram {
    const phases = [this.#weightPhase(), this.#mainPhase()];
    return {
      code: this.#module.encode(),
      phases,
      sharedBytes: POINTS * this.#panels * this.#panelBytes(),
      threadBytes: POINTS * (this.#patchBytes() + this.#productBytes()),
    };
  }

  /** Bytes of a panel of transformed weights. */
  #panelBytes(): number {
    return 4 * TILE_COLUMNS * this.#p.inChannels;
  }

  /** Bytes of the transformed patches of a task, and of its products, for one of the points. */
  #patchBytes(): number {
    return pointStep(4 * this.#count * this.#p.inChannels);
  }

  #productBytes(): number {
    return pointStep(4 * this.#count * this.#panels * TILE_COLUMNS);
  }

  /** Transforms the weights of a panel of output channels: [point, panel, input channel, column]. */
  #weightPhase(): CpuPhase {
    const { inChannels, outChannels } = this.#p;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase0");
    const [args, begin, end] = fn.params;
    const [panel, channel, from, to] = fn.locals(4, "i32");
    const weights = [0, 1, 2].map(() => fn.locals(3, "v128"));
    const { code, grid } = transformed(fn, weights, ofWeights);
    const tapBytes = 4 * inChannels * outChannels;
    const point = this.#panels * this.#panelBytes();
    const half = (offset: number): Code => [
      weights.map((row, y) =>
        row.map((w, x) => set(w, v128.load(get(from), (3 * y + x) * tapBytes + offset)))
      ),
      code,
      grid.map((row, y) =>
        row.map((value, x) => v128.store(get(to), get(value), (PATCH * y + x) * point + offset))
      ),
    ];
    const operand = i32.load(get(args), argOffsets.operand(1));
    fn.emit(
      countUp(panel, get(begin), get(end), 1, [
        set(from, sum(operand, times(panel, 4 * TILE_COLUMNS))),
        set(to, sum(i32.load(get(args), argOffsets.shared), times(panel, this.#panelBytes()))),
        countUp(channel, i32.const(0), i32.const(inChannels), 1, [
          half(0),
          half(16),
          advance(from, 4 * outChannels),
          advance(to, 4 * TILE_COLUMNS),
        ]),
      ]),
    );
    return { tasks: this.#panels, taskNs: inChannels * 60 };
  }

  #mainPhase(): CpuPhase {
    const { inChannels } = this.#p;
    const tiles = this.#tiles;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase1");
    const [args, begin, end, scratch] = fn.params;
    const [task, tile0, tile1] = fn.locals(3, "i32");
    const bound = i32.add(get(tile0), i32.const(this.#count));
    const patch = patchFunction(this.#module, this.#p, this.#patchBytes());
    const multiply = this.#multiplyFunction();
    const finish = this.#finishFunction();
    fn.emit(
      setGlobal(this.#args, get(args)),
      countUp(task, get(begin), get(end), 1, [
        set(tile0, times(task, this.#count)),
        set(tile1, least(bound, i32.const(tiles))),
        call(patch.index, get(args), get(tile0), get(tile1), get(scratch)),
        call(multiply.index, get(args), i32.sub(get(tile1), get(tile0)), get(scratch)),
        call(finish.index, get(tile0), get(tile1), get(scratch)),
      ]),
    );
    const products = this.#count * POINTS * inChannels * this.#panels * TILE_COLUMNS;
    return { tasks: Math.ceil(tiles / this.#count), taskNs: 1.3 * products * PRODUCT_NS };
  }

  /** The products of all points: [point, tile, output channel]. */
  #multiplyFunction(): FunctionBuilder {
    const fn = this.#module.function(["i32", "i32", "i32"]);
    const [args, count, scratch] = fn.params;
    const [point, panel, tile, left, leftPoint, right, to, toPanel] = fn.locals(8, "i32");
    const tileFunction = this.#tileFunction();
    const rows = 4 * TILE_ROWS * this.#p.inChannels;
    const line = 4 * this.#panels * TILE_COLUMNS;
    fn.emit(
      set(leftPoint, get(scratch)),
      set(right, i32.load(get(args), argOffsets.shared)),
      countUp(point, i32.const(0), i32.const(POINTS), 1, [
        set(
          toPanel,
          sum(
            get(scratch),
            i32.const(POINTS * this.#patchBytes()),
            times(point, this.#productBytes()),
          ),
        ),
        countUp(panel, i32.const(0), i32.const(this.#panels), 1, [
          set(left, get(leftPoint)),
          set(to, get(toPanel)),
          // Rows behind the last tile hold what was there before, and nobody reads what comes of them.
          countUp(tile, i32.const(0), get(count), TILE_ROWS, [
            call(tileFunction.index, get(left), get(right), get(to)),
            advance(left, rows),
            advance(to, TILE_ROWS * line),
          ]),
          advance(right, this.#panelBytes()),
          advance(toPanel, 4 * TILE_COLUMNS),
        ]),
        advance(leftPoint, this.#patchBytes()),
      ]),
    );
    return fn;
  }

  /** Multiplies a tile of rows with a panel. */
  #tileFunction(): FunctionBuilder {
    const { inChannels } = this.#p;
    const fn = this.#module.function(["i32", "i32", "i32"]);
    const [left, right, to] = fn.params;
    const sums = sumsOf(fn, TILE_ROWS, TILE_COLUMNS / 4);
    const pointers = fn.locals(TILE_ROWS, "i32");
    const depth: Depth = {
      runs: 1,
      length: inChannels,
      leftStep: 4,
      leftJump: 0,
      rightStep: 4 * TILE_COLUMNS,
      rightJump: 0,
    };
    const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
    const line = 4 * this.#panels * TILE_COLUMNS;
    fn.emit(
      pointers.map((p, r) => set(p, i32.add(get(left), i32.const(4 * r * inChannels)))),
      addProducts(fn, sums, places, right, depth, this.#relaxed),
      sums.map((row, r) =>
        row.map((value, g) => v128.store(get(to), get(value), r * line + 16 * g))
      ),
    );
    return fn;
  }

  /** Transforms the products back, and stores the results that lie inside the image. */
  #finishFunction(): FunctionBuilder {
    const { outChannels, outHeight, outWidth } = this.#p;
    const fn = this.#module.function(["i32", "i32", "i32"]);
    const [tile0, tile1, scratch] = fn.params;
    const [tile, image, y, x, row, column, at, from] = fn.locals(8, "i32");
    const products = Array.from({ length: PATCH }, () => fn.locals(PATCH, "v128"));
    const { code, grid } = transformed(fn, products, ofProducts);
    const load = (n: number) => v128.load(i32.add(get(at), i32.const(n * this.#productBytes())));
    const line = i32.add(i32.mul(get(image), i32.const(outHeight)), get(y));
    fn.emit(
      set(from, i32.add(get(scratch), i32.const(POINTS * this.#patchBytes()))),
      countUp(tile, get(tile0), get(tile1), 1, [
        placeOf(this.#p, tile, { image, y, x }),
        set(row, i32.add(i32.mul(line, i32.const(outWidth)), get(x))),
        set(at, get(from)),
        countUp(column, i32.const(0), i32.const(outChannels), 4, [
          products.map((values, r) => values.map((v, c) => set(v, load(PATCH * r + c)))),
          code,
          this.#storeWindow(grid, { row, column, x, y }),
          advance(at, 16),
        ]),
        advance(from, 4 * this.#panels * TILE_COLUMNS),
      ]),
    );
    return fn;
  }

  /** Stores one line of a window, and the other where the image has it. */
  #storeWindow(grid: Grid, { row, column, x, y }: Names<"row" | "column" | "x" | "y">): Code {
    const { outHeight, outWidth } = this.#p;
    const pair = this.#storeFunction(2).index;
    const single = outWidth % 2 === 0 ? pair : this.#storeFunction(1).index;
    const line = ([a, b]: readonly Local[], at: Code): Code => {
      const both = call(pair, get(a), get(b), at, get(column));
      if (outWidth % 2 === 0) return both;
      const last = i32.eq(get(x), i32.const(outWidth - 1));
      return ifElse(last, call(single, get(a), get(b), at, get(column)), both);
    };
    const below = line(grid[1], i32.add(get(row), i32.const(outWidth)));
    const exists = i32.ne(get(y), i32.const(outHeight - 1));
    return [line(grid[0], get(row)), outHeight % 2 === 0 ? below : ifElse(exists, below)];
  }

  readonly #made = new Map<number, FunctionBuilder>();

  /** The function that stores one or both of two neighbouring results: the values, row and column. */
  #storeFunction(count: number): FunctionBuilder {
    let fn = this.#made.get(count);
    if (fn !== undefined) return fn;
    fn = this.#module.function(["v128", "v128", "i32", "i32"]);
    this.#made.set(count, fn);
    const [a, b, row, column] = fn.params;
    const sums = [[a], [b]].slice(0, count);
    fn.emit(this.#stores.store(fn, sums, [4], { item: row, row, column }));
    return fn;
  }
}
