/**
 * Forward convolution as a product whose left rows are patches: each row of a tile has a pointer to the first element of its
 * patch, so that nothing is copied. Channels last; the input is padded already.
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
} from "../instructions.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { packPanel, panelBytes, type Side } from "./pack.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { TileStores } from "./stores.ts";
import { addProducts, type Depth, sumsOf, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { advance, atEdge, laneCounts, least, type Names } from "./arithmetic.ts";

/** Rows of a task: a few tiles, so that they and the panels of the weight stay in the nearer caches. */
const ROWS = 16 * TILE_ROWS;

/** The program of a forward convolution. */
export function convProgram(kernel: Kernel, features: WasmFeatures): CpuProgram {
  const p = kernel.params as ConvForward;
  const rows = p.batch * p.outHeight * p.outWidth;
  const depth = p.kernel[0] * p.kernel[1] * p.inChannels;
  const weight: Side = { size: p.outChannels, depth, stride: 1, depthStride: p.outChannels };
  const module = new ModuleBuilder(features);
  const args = module.global();
  const stores = new TileStores(
    module,
    kernel,
    p.epilogue ?? plainResult(convShape(p)),
    { lead: [], rows: [p.batch, p.outHeight, p.outWidth], columns: p.outChannels },
    args,
    p.bias ? 3 : 2,
    p.bias ? 2 : null,
  );
  const panels = Math.ceil(p.outChannels / TILE_COLUMNS);
  const phases = [
    packWeight(module, weight, panels),
    mainPhase(
      module,
      args,
      p,
      rows,
      panels,
      (fn, rows, columns) => tileBody(fn, p, rows, columns, stores, features.relaxed),
    ),
  ];
  return {
    code: module.encode(),
    phases,
    sharedBytes: panels * panelBytes(weight, TILE_COLUMNS),
    threadBytes: 4 * ROWS,
  };
}

/** Lays the columns of the weight side by side in panels. */
function packWeight(module: ModuleBuilder, weight: Side, panels: number): CpuPhase {
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase0");
  const [args, begin, end] = fn.params;
  const [panel, from, to] = fn.locals(3, "i32");
  const bytes = i32.mul(get(panel), i32.const(panelBytes(weight, TILE_COLUMNS)));
  fn.emit(
    set(from, i32.load(get(args), argOffsets.operand(1))),
    countUp(panel, get(begin), get(end), 1, [
      set(to, i32.add(i32.load(get(args), argOffsets.shared), bytes)),
      packPanel(fn, weight, TILE_COLUMNS, panel, from, to),
    ]),
  );
  return { tasks: panels, taskNs: weight.depth * TILE_COLUMNS * 0.3 };
}

/** Statements of a tile function of so many rows and columns. */
type TileBody = (fn: FunctionBuilder, rows: number, columns: number) => void;

/** Goes through blocks of rows: their addresses first, then panel by panel. */
function mainPhase(
  module: ModuleBuilder,
  argsGlobal: number,
  p: ConvForward,
  rows: number,
  panels: number,
  body: TileBody,
): CpuPhase {
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase1");
  const [args, begin, end, scratch] = fn.params;
  const [task, row0, row1] = fn.locals(3, "i32");
  fn.emit(
    setGlobal(argsGlobal, get(args)),
    countUp(task, get(begin), get(end), 1, [
      set(row0, i32.mul(get(task), i32.const(ROWS))),
      set(row1, least(i32.add(get(row0), i32.const(ROWS)), i32.const(rows))),
      patchAddresses(fn, p, args, row0, row1, scratch),
      tiles(module, fn, p, { args, row0, row1, scratch }, rows, panels, body),
    ]),
  );
  const depth = p.kernel[0] * p.kernel[1] * p.inChannels;
  return {
    tasks: Math.ceil(rows / ROWS),
    taskNs: ROWS * panels * TILE_COLUMNS * depth * PRODUCT_NS,
  };
}

/** Writes the address of the first element of each row's patch. */
function patchAddresses(
  fn: FunctionBuilder,
  { height, width, inChannels, stride, outHeight, outWidth }: ConvForward,
  args: Local,
  row0: Local,
  row1: Local,
  table: Local,
): Code {
  const [row, x, y, at, to] = fn.locals(5, "i32");
  const pixel = 4 * inChannels;
  const line = i32.div_u(get(row0), i32.const(outWidth));
  const image = i32.div_u(get(row0), i32.const(outWidth * outHeight));
  return [
    set(x, i32.rem_u(get(row0), i32.const(outWidth))),
    set(y, i32.rem_u(line, i32.const(outHeight))),
    set(at, i32.mul(image, i32.const(height * width * pixel))),
    set(at, i32.add(get(at), i32.mul(get(y), i32.const(stride[0] * width * pixel)))),
    set(at, i32.add(get(at), i32.mul(get(x), i32.const(stride[1] * pixel)))),
    set(at, i32.add(get(at), i32.load(get(args), argOffsets.operand(0)))),
    set(to, get(table)),
    countUp(row, get(row0), get(row1), 1, [
      i32.store(get(to), get(at)),
      advance(to, 4),
      advance(at, stride[1] * pixel),
      advance(x, 1),
      ifElse(i32.eq(get(x), i32.const(outWidth)), [
        set(x, i32.const(0)),
        advance(at, (stride[0] * width - stride[1] * outWidth) * pixel),
        advance(y, 1),
        ifElse(i32.eq(get(y), i32.const(outHeight)), [
          set(y, i32.const(0)),
          advance(at, (height - stride[0] * outHeight) * width * pixel),
        ]),
      ]),
    ]),
  ];
}

/** Calls the tile functions for all panels and all rows of a task. */
function tiles(
  module: ModuleBuilder,
  fn: FunctionBuilder,
  p: ConvForward,
  { args, row0, row1, scratch }: Names<"args" | "row0" | "row1" | "scratch">,
  rows: number,
  panels: number,
  body: TileBody,
): Code {
  const [panel, row, column, at, whole, right] = fn.locals(6, "i32");
  const made = new Map<string, FunctionBuilder>();
  const tile = (count: number, columns: number) => {
    const key = `${count}x${columns}`;
    let own = made.get(key);
    if (own === undefined) {
      own = module.function(["i32", "i32", "i32", "i32"]);
      made.set(key, own);
      body(own, count, columns);
    }
    return call(own.index, get(at), get(right), get(row), get(column));
  };
  const restRows = rows % TILE_ROWS;
  const depth = p.kernel[0] * p.kernel[1] * p.inChannels;
  const panelOf = (columns: number): Code => [
    set(at, get(scratch)),
    rows < TILE_ROWS ? set(row, get(row0)) : countUp(row, get(row0), get(whole), TILE_ROWS, [
      tile(TILE_ROWS, columns),
      advance(at, 4 * TILE_ROWS),
    ]),
    restRows === 0 ? [] : ifElse(i32.lt_u(get(whole), get(row1)), [
      set(row, get(whole)),
      tile(restRows, columns),
    ]),
  ];
  const remainder = i32.rem_u(i32.sub(get(row1), get(row0)), i32.const(TILE_ROWS));
  return [
    set(whole, i32.sub(get(row1), remainder)),
    set(right, i32.load(get(args), argOffsets.shared)),
    countUp(panel, i32.const(0), i32.const(panels), 1, [
      set(column, i32.mul(get(panel), i32.const(TILE_COLUMNS))),
      atEdge(panel, panels, p.outChannels % TILE_COLUMNS, TILE_COLUMNS, panelOf),
      advance(right, 4 * TILE_COLUMNS * depth),
    ]),
  ];
}

/** Statements that compute and store a tile; parameters: table of addresses, panel, first row and column. */
function tileBody(
  fn: FunctionBuilder,
  p: ConvForward,
  rows: number,
  columns: number,
  stores: TileStores,
  relaxed: boolean,
): void {
  const [table, right, row, column] = fn.params;
  const counts = laneCounts(columns);
  const sums = sumsOf(fn, rows, counts.length);
  const pointers = fn.locals(rows, "i32");
  const places = pointers.map((pointer) => ({ pointer, offset: 0 }));
  fn.emit(
    pointers.map((pointer, r) => set(pointer, i32.load(get(table), 4 * r))),
    addProducts(fn, sums, places, right, patchDepth(p), relaxed),
    stores.store(fn, sums, counts, { item: row, row, column }),
  );
}

/** How a patch lies in memory: line by line, or tap by tap where the taps of a line have gaps. */
function patchDepth({ kernel, dilation, width, inChannels }: ConvForward): Depth {
  const [kh, kw] = kernel;
  const step = { leftStep: 4, rightStep: 4 * TILE_COLUMNS, rightJump: 0 };
  const nextLine = 4 * dilation[0] * width * inChannels;
  if (dilation[1] === 1 || kw === 1) {
    const length = kw * inChannels;
    return { ...step, runs: kh, length, leftJump: nextLine - 4 * length };
  }
  const nextTap = 4 * dilation[1] * inChannels;
  return {
    ...step,
    runs: kw,
    length: inChannels,
    leftJump: nextTap - 4 * inChannels,
    outer: { count: kh, leftJump: nextLine - kw * nextTap },
  };
}
