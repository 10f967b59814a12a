/**
 * Weight gradient of a convolution as a product whose rows are (tap, input channel) and whose summed axis runs over output
 * pixels. A task adds up block by block of pixels, so that what it reads stays in the first cache: all sums over a slice of the
 * images where there are few sums, or some of the sums over all images. A second phase adds the slices in their order.
 */

import { type ConvWeight, convWeightShape } from "../../conv2d.ts";
import { plainResult } from "../../gemm.ts";
import type { Kernel } from "../../types.ts";
import { PRODUCT_NS } from "./gemm_plan.ts";
import {
  call,
  type Code,
  countUp,
  f32x4,
  get,
  i32,
  type Local,
  set,
  setGlobal,
  v128,
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { TileStores } from "./stores.ts";
import { addProducts, type Depth, sumsOf, TILE_COLUMNS, tileRowsFor } from "./tile.ts";
import { atEdge, laneCounts, least, type Names } from "./arithmetic.ts";

/** Bytes of either side that a block of pixels reads at most, unless it is a single line. */
const BLOCK_BYTES = 16 * 1024;
/** Bytes of the right side that come into the first cache with the columns of a tile, for each pixel. */
const CACHE_LINE = 64;
/** Sums that may lie in a near cache of one thread, and slices of the images that they are then summed over. */
const SLICED_SUMS = 2 ** 15;
const SLICES = 16;
/** Sums of a task at most where there are more. */
const TASK_SUMS = 2 ** 14;
/** Tiles that a task of the second phase adds up. */
const FINISHED_TILES = 16;

/** How the sums are cut. */
interface Plan {
  /** Rows of a tile. */
  readonly rows: number;
  /** Tiles along the rows, and panels of columns. */
  readonly tiles: number;
  readonly panels: number;
  /** Tiles and panels of a task. */
  readonly taskTiles: number;
  readonly taskPanels: number;
  /** Parts of the images that are summed apart, and images of each. */
  readonly slices: number;
  readonly images: number;
  /** Output lines of a block. */
  readonly lines: number;
}

function rowsOf(p: ConvWeight): number {
  return p.kernel[0] * p.kernel[1] * p.inChannels;
}

function planOf(p: ConvWeight): Plan {
  const all = rowsOf(p);
  const rows = tileRowsFor(all);
  const tiles = Math.ceil(all / rows);
  const panels = Math.ceil(p.outChannels / TILE_COLUMNS);
  const sums = tiles * rows * panels * TILE_COLUMNS;
  const sliced = sums <= SLICED_SUMS;
  const images = sliced ? Math.ceil(p.batch / SLICES) : p.batch;
  const slices = Math.ceil(p.batch / images);
  const taskTiles = sliced ? tiles : Math.min(tiles, TASK_SUMS / TILE_COLUMNS / rows | 0);
  const taskPanels = sliced
    ? panels
    : Math.max(1, Math.floor(TASK_SUMS / (rows * TILE_COLUMNS * taskTiles)));
  const line = Math.max(4 * p.stride[0] * p.width * p.inChannels, CACHE_LINE * p.outWidth);
  const lines = Math.max(1, Math.min(p.outHeight, Math.floor(BLOCK_BYTES / line)));
  // Blocks of about the same size.
  const blocks = Math.ceil(p.outHeight / lines);
  const even = Math.ceil(p.outHeight / blocks);
  return { rows, tiles, panels, taskTiles, taskPanels, slices, images, lines: even };
}

/** The program of a weight gradient without slices. */
export function convWeightProgram(kernel: Kernel, features: WasmFeatures): CpuProgram {
  const p = kernel.params as ConvWeight;
  return new WeightGradient(kernel, p, features).program();
}

/** What a task is told. */
type TaskNames = Names<"args" | "slice" | "tile0" | "tile1" | "panel0" | "panel1">;

/** A weight gradient in the making. */
class WeightGradient {
  readonly #p: ConvWeight;
  readonly #plan: Plan;
  readonly #module: ModuleBuilder;
  readonly #args: number;
  readonly #stores: TileStores;
  readonly #relaxed: boolean;
  readonly #made = new Map<string, FunctionBuilder>();

  constructor(kernel: Kernel, p: ConvWeight, features: WasmFeatures) {
    this.#p = p;
    this.#plan = planOf(p);
    this.#relaxed = features.relaxed;
    this.#module = new ModuleBuilder(features);
    this.#args = this.#module.global();
    this.#stores = new TileStores(
      this.#module,
      kernel,
      p.epilogue ?? plainResult(convWeightShape(p)),
      { lead: [], rows: [...p.kernel, p.inChannels], columns: p.outChannels },
      this.#args,
      2,
      null,
    );
  }

  program(): CpuProgram {
    const phases = [this.#addPhase(), this.#finishPhase()];
    const { rows, taskTiles, slices } = this.#plan;
    return {
      code: this.#module.encode(),
      phases,
      sharedBytes: slices * this.#sliceBytes(),
      threadBytes: 4 * rows * taskTiles,
    };
  }

  /** Bytes of a tile of sums, and of all of them. */
  #tileBytes(): number {
    return 4 * this.#plan.rows * TILE_COLUMNS;
  }

  #sliceBytes(): number {
    return this.#plan.tiles * this.#plan.panels * this.#tileBytes();
  }

  /** Address of a tile in the sums of a slice, panel by panel. */
  #sumsAt(args: Local, slice: Code, panel: Code, tile: Code): Code {
    const { tiles } = this.#plan;
    const number = i32.add(i32.mul(panel, i32.const(tiles)), tile);
    const at = i32.add(
      i32.mul(slice, i32.const(this.#sliceBytes())),
      i32.mul(number, i32.const(this.#tileBytes())),
    );
    return i32.add(i32.load(get(args), argOffsets.shared), at);
  }

  /** Adds up; a task is a part of the sums over a slice of the images. */
  #addPhase(): CpuPhase {
    const { tiles, panels, taskTiles, taskPanels, rows, slices, images } = this.#plan;
    const { batch, outHeight, outWidth } = this.#p;
    const across = Math.ceil(panels / taskPanels);
    const down = Math.ceil(tiles / taskTiles);
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase0");
    const [args, begin, end, table] = fn.params;
    const [task, part, slice, tile0, tile1, panel0, panel1, image0, image1] = fn.locals(9, "i32");
    const places = { args, slice, tile0, tile1, panel0, panel1, image0, image1, table };
    fn.emit(
      countUp(task, get(begin), get(end), 1, [
        set(slice, i32.div_u(get(task), i32.const(across * down))),
        set(part, i32.rem_u(get(task), i32.const(across * down))),
        set(tile0, i32.mul(i32.div_u(get(part), i32.const(across)), i32.const(taskTiles))),
        set(tile1, least(i32.add(get(tile0), i32.const(taskTiles)), i32.const(tiles))),
        set(panel0, i32.mul(i32.rem_u(get(part), i32.const(across)), i32.const(taskPanels))),
        set(panel1, least(i32.add(get(panel0), i32.const(taskPanels)), i32.const(panels))),
        set(image0, i32.mul(get(slice), i32.const(images))),
        set(image1, least(i32.add(get(image0), i32.const(images)), i32.const(batch))),
        this.#rowOffsets(fn, tile0, tile1, table),
        this.#clear(fn, places),
        this.#blocks(fn, places),
      ]),
    );
    const products = taskTiles * taskPanels * rows * TILE_COLUMNS * images * outHeight * outWidth;
    return { tasks: across * down * slices, taskNs: products * PRODUCT_NS };
  }

  /** Adds the slices and stores what comes out. */
  #finishPhase(): CpuPhase {
    const { rows, tiles, panels, slices } = this.#plan;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase1");
    const [args, begin, end] = fn.params;
    const [flat, until, tile, panel, at] = fn.locals(5, "i32");
    const row = i32.mul(get(tile), i32.const(rows));
    const column = i32.mul(get(panel), i32.const(TILE_COLUMNS));
    fn.emit(
      setGlobal(this.#args, get(args)),
      set(until, least(i32.mul(get(end), i32.const(FINISHED_TILES)), i32.const(tiles * panels))),
      countUp(flat, i32.mul(get(begin), i32.const(FINISHED_TILES)), get(until), 1, [
        set(panel, i32.div_u(get(flat), i32.const(tiles))),
        set(tile, i32.rem_u(get(flat), i32.const(tiles))),
        set(at, this.#sumsAt(args, i32.const(0), get(panel), get(tile))),
        this.#atEdges(
          tile,
          panel,
          (height, width) => call(this.#finisher(height, width).index, get(at), row, column),
        ),
      ]),
    );
    const tasks = Math.ceil(tiles * panels / FINISHED_TILES);
    return { tasks, taskNs: FINISHED_TILES * rows * TILE_COLUMNS * slices * 0.3 };
  }

  /** Writes how far each row's element lies from that of the first tap and channel. */
  #rowOffsets(fn: FunctionBuilder, tile0: Local, tile1: Local, table: Local): Code {
    const { kernel: [, kw], dilation, width, inChannels } = this.#p;
    const rows = this.#plan.rows;
    const [row, until, to] = fn.locals(3, "i32");
    const all = rowsOf(this.#p);
    const tap = i32.div_u(get(row), i32.const(inChannels));
    const terms = [
      i32.rem_u(get(row), i32.const(inChannels)),
      i32.mul(
        i32.rem_u(tap, i32.const(kw)),
        i32.const(dilation[1] * inChannels),
      ),
      i32.mul(
        i32.div_u(tap, i32.const(kw)),
        i32.const(dilation[0] * width * inChannels),
      ),
    ].reduce((a, b) => i32.add(a, b));
    return [
      set(to, get(table)),
      set(until, i32.mul(get(tile1), i32.const(rows))),
      set(until, least(get(until), i32.const(all))),
      countUp(row, i32.mul(get(tile0), i32.const(rows)), get(until), 1, [
        i32.store(get(to), i32.shl(terms, i32.const(2))),
        set(to, i32.add(get(to), i32.const(4))),
      ]),
    ];
  }

  #clear(fn: FunctionBuilder, { args, slice, tile0, tile1, panel0, panel1 }: TaskNames): Code {
    const [panel, at, until] = fn.locals(3, "i32");
    const zero = v128.const([0, 0, 0, 0]);
    return countUp(panel, get(panel0), get(panel1), 1, [
      set(until, this.#sumsAt(args, get(slice), get(panel), get(tile1))),
      countUp(
        at,
        this.#sumsAt(args, get(slice), get(panel), get(tile0)),
        get(until),
        16,
        v128.store(get(at), zero),
      ),
    ]);
  }

  /** Adds block by block of pixels, image by image. */
  #blocks(fn: FunctionBuilder, places: TaskNames & Names<"image0" | "image1" | "table">): Code {
    const { height, width, inChannels, outHeight, outWidth, outChannels, stride } = this.#p;
    const { lines } = this.#plan;
    const [image, line, count, x, g] = fn.locals(5, "i32");
    const xLine = 4 * stride[0] * width * inChannels;
    const gLine = 4 * outWidth * outChannels;
    const address = (operand: number, imageBytes: number, lineBytes: number) =>
      [
        i32.load(get(places.args), argOffsets.operand(operand)),
        i32.mul(get(image), i32.const(imageBytes)),
        i32.mul(get(line), i32.const(lineBytes)),
      ].reduce((a, b) => i32.add(a, b));
    return countUp(
      image,
      get(places.image0),
      get(places.image1),
      1,
      countUp(line, i32.const(0), i32.const(outHeight), lines, [
        set(count, i32.sub(i32.const(outHeight), get(line))),
        set(count, least(get(count), i32.const(lines))),
        set(x, address(0, 4 * height * width * inChannels, xLine)),
        set(g, address(1, outHeight * gLine, gLine)),
        this.#addTiles(fn, places, { x, g, count }),
      ]),
    );
  }

  /** Adds a block to all tiles of a task, panel by panel. */
  #addTiles(
    fn: FunctionBuilder,
    { args, slice, tile0, tile1, panel0, panel1, table }: TaskNames & Names<"table">,
    { x, g, count }: Names<"x" | "g" | "count">,
  ): Code {
    const { rows } = this.#plan;
    const [tile, panel, row, sums, right] = fn.locals(5, "i32");
    return countUp(panel, get(panel0), get(panel1), 1, [
      set(row, get(table)),
      set(sums, this.#sumsAt(args, get(slice), get(panel), get(tile0))),
      set(right, i32.add(get(g), i32.mul(get(panel), i32.const(4 * TILE_COLUMNS)))),
      countUp(tile, get(tile0), get(tile1), 1, [
        this.#atEdges(tile, panel, (height, width) =>
          call(
            this.#adder(height, width).index,
            get(x),
            get(row),
            get(right),
            get(sums),
            get(count),
          )),
        set(row, i32.add(get(row), i32.const(4 * rows))),
        set(sums, i32.add(get(sums), i32.const(this.#tileBytes()))),
      ]),
    ]);
  }

  /** Code for a tile of the size that it has at its place. */
  #atEdges(tile: Local, panel: Local, visit: (rows: number, columns: number) => Code): Code {
    const { rows, tiles, panels } = this.#plan;
    const restRows = rowsOf(this.#p) % rows;
    const restColumns = this.#p.outChannels % TILE_COLUMNS;
    return atEdge(
      panel,
      panels,
      restColumns,
      TILE_COLUMNS,
      (width) => atEdge(tile, tiles, restRows, rows, (height) => visit(height, width)),
    );
  }

  /** The function that adds a block to a tile: the block's input, row offsets, right side, sums, and lines. */
  #adder(rows: number, columns: number): FunctionBuilder {
    return this.#once(`add ${rows}x${columns}`, 5, (fn) => {
      const { width, inChannels, outWidth, outChannels, stride } = this.#p;
      const [x, table, right, at, count] = fn.params;
      const sums = sumsOf(fn, rows, Math.ceil(columns / 4));
      const pointers = fn.locals(rows, "i32");
      const leftStep = 4 * stride[1] * inChannels;
      const depth: Depth = {
        runs: count,
        length: outWidth,
        leftStep,
        leftJump: 4 * stride[0] * width * inChannels - outWidth * leftStep,
        rightStep: 4 * outChannels,
        rightJump: 0,
      };
      const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
      const eachSum = (visit: (sum: Local, bytes: number) => Code) =>
        sums.map((row, r) => row.map((sum, g) => visit(sum, 4 * r * TILE_COLUMNS + 16 * g)));
      fn.emit(
        pointers.map((p, r) => set(p, i32.add(get(x), i32.load(get(table), 4 * r)))),
        addProducts(fn, sums, places, right, depth, this.#relaxed),
        // Sums of sums stay accurate over any number of pixels.
        eachSum((sum, bytes) =>
          v128.store(get(at), f32x4.add(v128.load(get(at), bytes), get(sum)), bytes)
        ),
      );
    });
  }

  /** The function that adds the slices of a tile and stores it: the address of the first one, first row and column. */
  #finisher(rows: number, columns: number): FunctionBuilder {
    return this.#once(`store ${rows}x${columns}`, 3, (fn) => {
      const [at, row, column] = fn.params;
      const counts = laneCounts(columns);
      const sums = sumsOf(fn, rows, counts.length);
      const add: Code = [
        sums.map((line, r) =>
          line.map((sum, g) => {
            const part = v128.load(get(at), 4 * r * TILE_COLUMNS + 16 * g);
            return set(sum, f32x4.add(get(sum), part));
          })
        ),
        set(at, i32.add(get(at), i32.const(this.#sliceBytes()))),
      ];
      fn.emit(
        countUp(fn.local("i32"), i32.const(0), i32.const(this.#plan.slices), 1, add),
        this.#stores.store(fn, sums, counts, { item: row, row, column }),
      );
    });
  }

  #once(key: string, params: number, body: (fn: FunctionBuilder) => void): FunctionBuilder {
    let fn = this.#made.get(key);
    if (fn === undefined) {
      fn = this.#module.function(Array.from({ length: params }, () => "i32"));
      this.#made.set(key, fn);
      body(fn);
    }
    return fn;
  }
}
