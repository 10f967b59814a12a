/**
 * Weight gradient of a convolution by windows of 3 × 3 with step 1, as the way back through Winograd's algorithm:
 * dw = Gᵀ [Σ (A dy Aᵀ) ⊙ (Bᵀ d B)] G, summed over all tiles.
 *
 * Every task sums over a slice of the images, some tiles at a time while they are in a near cache; a second phase adds the slices
 * in their order and transforms back.
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
  i32x4,
  type Local,
  memoryFill,
  set,
  setGlobal,
  v128,
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { TileStores } from "./stores.ts";
import { addProducts, type Depth, sumsOf, TILE_COLUMNS, tileRowsFor } from "./tile.ts";
import { ofGradients, ofWeightGradients, PATCH, POINTS, transformed, WINDOW } from "./winograd.ts";
import { patchFunction, placeOf, pointStep, suitsWinograd, tilesOf } from "./winograd_tiles.ts";
import { advance, least, sum, times } from "./arithmetic.ts";

/** Bytes of transformed patches and gradients that a task works on at a time. */
const GROUP_BYTES = 192 * 1024;
/** Tiles of a group at least, since all sums are read and written for each. */
const LEAST_TILES = 16;
/** Sums up to which every slice has its own; bytes of them that lie in a near cache of one thread; tasks wanted. */
const MOST_SUMS = 2 ** 18;
const NEAR_BYTES = 256 * 1024;
const TASKS = 16;

/** Whether a weight gradient is sooner done by this algorithm. */
export function suitsWeightWinograd(p: ConvWeight): boolean {
  return suitsWinograd(p) && POINTS * p.inChannels * p.outChannels <= MOST_SUMS;
}

/** The program of a weight gradient that suits, without slices of its own. */
export function weightWinogradProgram(kernel: Kernel, features: WasmFeatures): CpuProgram {
  return new WeightWinograd(kernel, kernel.params as ConvWeight, features).program();
}

/** A weight gradient in the making. */
class WeightWinograd {
  readonly #p: ConvWeight;
  readonly #relaxed: boolean;
  readonly #module: ModuleBuilder;
  readonly #args: number;
  readonly #stores: TileStores;
  readonly #panels: number;
  /** Panels of a task, and tasks of a slice. */
  readonly #taskPanels: number;
  readonly #parts: number;
  /** Tiles in all, of a slice, and of a group. */
  readonly #tiles: number;
  readonly #slice: number;
  readonly #group: number;
  /** Rows of a tile of sums: input channels. */
  readonly #rows: number;

  constructor(kernel: Kernel, p: ConvWeight, features: WasmFeatures) {
    this.#p = p;
    this.#relaxed = features.relaxed;
    this.#module = new ModuleBuilder(features);
    this.#args = this.#module.global();
    this.#panels = Math.ceil(p.outChannels / TILE_COLUMNS);
    this.#rows = tileRowsFor(p.inChannels);
    const { tilesX, tilesY } = tilesOf(p);
    this.#tiles = p.batch * tilesX * tilesY;
    const near = Math.ceil(4 * POINTS * p.inChannels * p.outChannels / NEAR_BYTES);
    this.#taskPanels = Math.ceil(this.#panels / near);
    this.#parts = Math.ceil(this.#panels / this.#taskPanels);
    this.#slice = Math.ceil(p.batch * this.#parts / TASKS) * tilesX * tilesY;
    const bytes = 4 * POINTS * (p.inChannels + this.#panels * TILE_COLUMNS);
    this.#group = Math.max(LEAST_TILES, Math.floor(GROUP_BYTES / bytes / 4) * 4);
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
    return {
      code: this.#module.encode(),
      phases,
      sharedBytes: Math.ceil(this.#tiles / this.#slice) * POINTS * this.#pointBytes(),
      threadBytes: POINTS * (this.#patchBytes() + this.#gradientBytes()),
    };
  }

  /** Bytes of the sums of a panel, and of a point. */
  #panelBytes(): number {
    return 4 * TILE_COLUMNS * this.#rows * Math.ceil(this.#p.inChannels / this.#rows);
  }

  #pointBytes(): number {
    return pointStep(this.#panels * this.#panelBytes());
  }

  /** Bytes of the transformed patches of a group, and of its gradients, for one of the points. */
  #patchBytes(): number {
    return pointStep(4 * this.#group * this.#p.inChannels);
  }

  #gradientBytes(): number {
    return pointStep(4 * this.#group * this.#panels * TILE_COLUMNS);
  }

  /** Address of the sums of a slice. */
  #sumsAt(args: Local, slice: Local): Code {
    return i32.add(
      i32.load(get(args), argOffsets.shared),
      times(slice, POINTS * this.#pointBytes()),
    );
  }

  /** Sums over the slices, group by group. */
  #addPhase(): CpuPhase {
    const { inChannels } = this.#p;
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase0");
    const [args, begin, end, patches] = fn.params;
    const [task, slice, tile0, tile1, until, sums, gradients] = fn.locals(7, "i32");
    const [panel0, panel1] = fn.locals(2, "i32");
    const patch = patchFunction(this.#module, this.#p, this.#patchBytes());
    const gradient = this.#gradientFunction();
    const add = this.#addFunction();
    const part = i32.rem_u(get(task), i32.const(this.#parts));
    const last = i32.add(get(panel0), i32.const(this.#taskPanels));
    fn.emit(
      set(gradients, i32.add(get(patches), i32.const(POINTS * this.#patchBytes()))),
      countUp(task, get(begin), get(end), 1, [
        set(slice, i32.div_u(get(task), i32.const(this.#parts))),
        set(panel0, i32.mul(part, i32.const(this.#taskPanels))),
        set(panel1, least(last, i32.const(this.#panels))),
        set(sums, i32.add(this.#sumsAt(args, slice), times(panel0, this.#panelBytes()))),
        this.#clearSums(sums, panel0, panel1),
        set(until, i32.add(times(slice, this.#slice), i32.const(this.#slice))),
        set(until, least(get(until), i32.const(this.#tiles))),
        countUp(tile0, times(slice, this.#slice), get(until), this.#group, [
          set(tile1, least(i32.add(get(tile0), i32.const(this.#group)), get(until))),
          this.#clearRest(tile0, tile1, patches, gradients),
          call(patch.index, get(args), get(tile0), get(tile1), get(patches)),
          call(
            gradient.index,
            ...[args, tile0, tile1, gradients, panel0, panel1].map(get),
          ),
          call(add.index, ...[patches, gradients, sums, panel0, panel1].map(get)),
        ]),
      ]),
    );
    const products = this.#slice * POINTS * inChannels * this.#taskPanels * TILE_COLUMNS;
    const slices = Math.ceil(this.#tiles / this.#slice);
    return { tasks: slices * this.#parts, taskNs: 1.3 * products * PRODUCT_NS };
  }

  /** Clears the sums of the panels of a task. */
  #clearSums(sums: Local, panel0: Local, panel1: Local): Code {
    const bytes = i32.mul(i32.sub(get(panel1), get(panel0)), i32.const(this.#panelBytes()));
    return Array.from({ length: POINTS }, (_, point) =>
      memoryFill(
        i32.add(get(sums), i32.const(point * this.#pointBytes())),
        i32.const(0),
        bytes,
      ));
  }

  /** What stands for tiles behind the last one of a slice must add nothing. */
  #clearRest(tile0: Local, tile1: Local, patches: Local, gradients: Local): Code {
    const { inChannels } = this.#p;
    const count = i32.sub(get(tile1), get(tile0));
    const rest = i32.sub(i32.const(this.#group), count);
    const clear = (from: Local, pointBytes: number, tileBytes: number) =>
      Array.from({ length: POINTS }, (_, point) =>
        memoryFill(
          sum(get(from), i32.const(point * pointBytes), i32.mul(count, i32.const(tileBytes))),
          i32.const(0),
          i32.mul(rest, i32.const(tileBytes)),
        ));
    return [
      clear(patches, this.#patchBytes(), 4 * inChannels),
      clear(gradients, this.#gradientBytes(), 4 * this.#panels * TILE_COLUMNS),
    ];
  }

  /**
   * The function (args, first tile, tile behind the last, to, first panel, panel behind the last) that transforms the gradients
   * of some panels: [point, tile, output channel].
   */
  #gradientFunction(): FunctionBuilder {
    const { outHeight, outWidth, outChannels } = this.#p;
    const fn = this.#module.function(["i32", "i32", "i32", "i32", "i32", "i32"]);
    const [args, tile0, tile1, to, panel0, panel1] = fn.params;
    const [tile, image, y, x, channel, at, pixel, until] = fn.locals(8, "i32");
    const vectors = (panel: Local) => times(panel, TILE_COLUMNS);
    const masks = fn.locals(WINDOW, "v128");
    const inputs = Array.from({ length: WINDOW }, () => fn.locals(WINDOW, "v128"));
    const { code, grid } = transformed(fn, inputs, ofGradients);
    // Results that do not exist have no gradient.
    const exists = (at: Local, size: number, mask: Local): Code =>
      set(mask, i32x4.splat(i32.sub(i32.const(0), i32.lt_u(get(at), i32.const(size - 1)))));
    const line = i32.add(i32.mul(get(image), i32.const(outHeight)), get(y));
    const load = (r: number, c: number): Code => {
      const value = v128.load(
        i32.add(get(pixel), i32.const(4 * outChannels * (r * outWidth + c))),
      );
      const below = r === 0 ? value : v128.and(value, get(masks[0]));
      return c === 0 ? below : v128.and(below, get(masks[1]));
    };
    fn.emit(
      set(until, least(vectors(panel1), i32.const(outChannels))),
      countUp(tile, get(tile0), get(tile1), 1, [
        placeOf(this.#p, tile, { image, y, x }),
        exists(y, outHeight, masks[0]),
        exists(x, outWidth, masks[1]),
        set(pixel, i32.add(i32.mul(line, i32.const(outWidth)), get(x))),
        set(
          pixel,
          i32.add(
            i32.load(get(args), argOffsets.operand(1)),
            times(pixel, 4 * outChannels),
          ),
        ),
        set(pixel, i32.add(get(pixel), i32.shl(vectors(panel0), i32.const(2)))),
        set(at, i32.add(get(to), i32.shl(vectors(panel0), i32.const(2)))),
        countUp(channel, vectors(panel0), get(until), 4, [
          inputs.map((row, r) => row.map((value, c) => set(value, load(r, c)))),
          code,
          grid.map((row, r) =>
            row.map((value, c) =>
              v128.store(
                i32.add(get(at), i32.const((PATCH * r + c) * this.#gradientBytes())),
                get(value),
              )
            )
          ),
          advance(pixel, 16),
          advance(at, 16),
        ]),
        advance(to, 4 * this.#panels * TILE_COLUMNS),
      ]),
    );
    return fn;
  }

  /** The function (patches, gradients, sums, first panel, panel behind the last) that adds the products of a group. */
  #addFunction(): FunctionBuilder {
    const { inChannels } = this.#p;
    const fn = this.#module.function(["i32", "i32", "i32", "i32", "i32"]);
    const [patches, gradients, from, panel0, panel1] = fn.params;
    const [point, panel, tile, left, right, sums] = fn.locals(6, "i32");
    const rest = inChannels % this.#rows;
    const visit = (rows: number) =>
      call(this.#tileFunction(rows).index, get(left), get(right), get(sums));
    const next = [
      advance(left, 4 * this.#rows),
      advance(sums, 4 * TILE_COLUMNS * this.#rows),
    ];
    fn.emit(
      countUp(point, i32.const(0), i32.const(POINTS), 1, [
        set(right, i32.add(get(gradients), times(panel0, 4 * TILE_COLUMNS))),
        set(sums, get(from)),
        countUp(panel, get(panel0), get(panel1), 1, [
          set(left, get(patches)),
          countUp(tile, i32.const(0), i32.const(inChannels - rest), this.#rows, [
            visit(this.#rows),
            next,
          ]),
          rest === 0 ? [] : [visit(rest), next],
          advance(right, 4 * TILE_COLUMNS),
        ]),
        advance(from, this.#pointBytes()),
        advance(patches, this.#patchBytes()),
        advance(gradients, this.#gradientBytes()),
      ]),
    );
    return fn;
  }

  /** The function (left, right, sums) that adds the products of a group to a tile of sums. */
  #tileFunction(rows: number): FunctionBuilder {
    const made = this.#made.get(rows);
    if (made !== undefined) return made;
    const fn = this.#module.function(["i32", "i32", "i32"]);
    this.#made.set(rows, fn);
    const [left, right, at] = fn.params;
    const sums = sumsOf(fn, rows, TILE_COLUMNS / 4);
    const depth: Depth = {
      runs: 1,
      length: this.#group,
      leftStep: 4 * this.#p.inChannels,
      leftJump: 0,
      rightStep: 4 * this.#panels * TILE_COLUMNS,
      rightJump: 0,
    };
    const places = sums.map((_, r) => ({ pointer: left, offset: 4 * r }));
    fn.emit(
      addProducts(fn, sums, places, right, depth, this.#relaxed),
      sums.map((row, r) =>
        row.map((sum, g) => {
          const bytes = 4 * r * TILE_COLUMNS + 16 * g;
          return v128.store(get(at), f32x4.add(v128.load(get(at), bytes), get(sum)), bytes);
        })
      ),
    );
    return fn;
  }

  readonly #made = new Map<number, FunctionBuilder>();

  /** Adds the slices and transforms back; a task is an input channel. */
  #finishPhase(): CpuPhase {
    const { inChannels, outChannels } = this.#p;
    const slices = Math.ceil(this.#tiles / this.#slice);
    const fn = this.#module.function(["i32", "i32", "i32", "i32"], null, "phase1");
    const [args, begin, end] = fn.params;
    const [channel, slice, column, at, from, row] = fn.locals(6, "i32");
    const points = Array.from({ length: PATCH }, () => fn.locals(PATCH, "v128"));
    const { code, grid } = transformed(fn, points, ofWeightGradients);
    const store = this.#storeFunction();
    const eachPoint = (visit: (point: Local, bytes: number) => Code) =>
      points.map((line, r) =>
        line.map((point, c) => visit(point, (PATCH * r + c) * this.#pointBytes()))
      );
    const panel = i32.shr_u(get(column), i32.const(3));
    const inPanel = i32.shl(i32.and(get(column), i32.const(TILE_COLUMNS - 1)), i32.const(2));
    fn.emit(
      setGlobal(this.#args, get(args)),
      countUp(channel, get(begin), get(end), 1, [
        countUp(column, i32.const(0), i32.const(outChannels), 4, [
          set(
            at,
            sum(
              i32.load(get(args), argOffsets.shared),
              i32.mul(panel, i32.const(this.#panelBytes())),
              times(channel, 4 * TILE_COLUMNS),
              inPanel,
            ),
          ),
          eachPoint((point) => set(point, v128.const([0, 0, 0, 0]))),
          countUp(slice, i32.const(0), i32.const(slices), 1, [
            set(from, i32.add(get(at), times(slice, POINTS * this.#pointBytes()))),
            eachPoint((point, bytes) =>
              set(
                point,
                f32x4.add(get(point), v128.load(i32.add(get(from), i32.const(bytes)))),
              )
            ),
          ]),
          code,
          grid.map((line, r) =>
            line.map((value, c) => [
              set(row, i32.add(get(channel), i32.const((3 * r + c) * inChannels))),
              call(store.index, get(value), get(row), get(column)),
            ])
          ),
        ]),
      ]),
    );
    return { tasks: inChannels, taskNs: outChannels / 4 * (60 + slices * POINTS * 1.5) };
  }

  /** The function (value, row, column) that stores four neighbours. */
  #storeFunction(): FunctionBuilder {
    const fn = this.#module.function(["v128", "i32", "i32"]);
    const [value, row, column] = fn.params;
    fn.emit(this.#stores.store(fn, [[value]], [4], { item: row, row, column }));
    return fn;
  }
}
