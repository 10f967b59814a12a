/**
 * Weight gradient of a convolution with a filter for each channel. A task sums a slice of the lines: the products of a few
 * pixels in registers, those of a block of lines beside them in memory, and blocks in the result, so that long sums stay
 * accurate.
 */

import {
  call,
  type Code,
  countUp,
  f32x4,
  get,
  i32,
  type Local,
  memoryFill,
  set,
  v128,
} from "../instructions.ts";
import type { DirectConvParams } from "../../conv2d_direct.ts";
import {
  eachTile,
  ENTRY,
  flatLineTable,
  type Gather,
  gatherOf,
  lineRuns,
  type Tile,
} from "./conv2d_gather.ts";
import {
  eachVector,
  lineProducts,
  once,
  product,
  storeLanes,
  tapGroups,
  TAPS,
  tilePixels,
  VECTOR_NS,
} from "./depthwise.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { argOffsets, type CpuProgram } from "../program.ts";
import { least, type Names, times } from "./arithmetic.ts";

/** Pixels of a block of lines, about. */
const BLOCK_PIXELS = 2048;

/** The program of a depthwise weight gradient in slices. */
export function depthwiseWeightProgram(
  p: DirectConvParams,
  splits: number,
  features: WasmFeatures,
): CpuProgram {
  const gather = gatherOf("weight", p);
  const module = new ModuleBuilder(features);
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase0");
  const [args, begin, end, table] = fn.params;
  const [slice, line, until, sums, to] = fn.locals(5, "i32");
  const lines = p.batch * p.output[0];
  const chunk = Math.ceil(lines / splits);
  const ofBlock = Math.max(1, Math.round(BLOCK_PIXELS / p.output[1]));
  const size = 4 * p.kernel[0] * p.kernel[1] * p.inChannels;
  const sumsBytes = 4 * p.kernel[0] * p.kernel[1] * padded(p);
  const tableBytes = Math.ceil(ENTRY * p.kernel[0] / 64) * 64;
  const blockEnd = fn.local("i32");
  fn.emit(
    set(sums, i32.add(get(table), i32.const(tableBytes))),
    countUp(slice, get(begin), get(end), 1, [
      set(to, i32.add(i32.load(get(args), argOffsets.operand(2)), times(slice, size))),
      memoryFill(get(to), i32.const(0), i32.const(size)),
      set(until, least(i32.add(times(slice, chunk), i32.const(chunk)), i32.const(lines))),
      countUp(line, times(slice, chunk), get(until), ofBlock, [
        memoryFill(get(sums), i32.const(0), i32.const(sumsBytes)),
        set(blockEnd, least(i32.add(get(line), i32.const(ofBlock)), get(until))),
        addLines(module, fn, gather, { args, line, blockEnd, table, sums }),
        addBlock(fn, p, sums, to),
      ]),
    ]),
  );
  return {
    code: module.encode(),
    phases: [{ tasks: splits, taskNs: chunk * lineProducts(gather) * VECTOR_NS }],
    sharedBytes: 0,
    threadBytes: tableBytes + sumsBytes,
  };
}

/** Channels of the sums of a block. */
function padded(p: DirectConvParams): number {
  return Math.ceil(p.inChannels / 4) * 4;
}

/** Adds the lines of a block. */
function addLines(
  module: ModuleBuilder,
  fn: FunctionBuilder,
  gather: Gather,
  { args, line, blockEnd, table, sums }: Names<"args" | "line" | "blockEnd" | "table" | "sums">,
): Code {
  const { p } = gather;
  const [own, end, g] = fn.locals(3, "i32");
  const made = new Map<string, FunctionBuilder>();
  const relaxed = module.features.relaxed;
  const tileOf = (tile: Tile) => once(made, tile, () => tileFunction(module, p, tile, relaxed));
  return countUp(own, get(line), get(blockEnd), 1, [
    flatLineTable(fn, gather, { args, line: own, table, end }, 4 * p.kernel[1] * padded(p)),
    set(g, i32.add(i32.load(get(args), argOffsets.operand(1)), times(own, lineBytes(p)))),

    eachTile(
      fn,
      gather,
      lineRuns(gather, tilePixels(p)),
      [i32.const(0), get(g)],
      (tile, from, at) =>
        call(tileOf(tile).index, get(table), get(end), get(from), get(at), get(sums)),
    ),
  ]);
}

function lineBytes(p: DirectConvParams): number {
  return 4 * p.output[1] * p.outChannels;
}

/** Adds the sums of a block to those of the slice. */
function addBlock(fn: FunctionBuilder, p: DirectConvParams, sums: Local, result: Local): Code {
  const [tap, from, to] = fn.locals(3, "i32");
  const sum = fn.local("v128");
  const move = (pointer: Local, bytes: number) =>
    set(pointer, i32.add(get(pointer), i32.const(bytes)));
  const add = (count: number): Code => [
    set(sum, f32x4.add(v128.load(get(to)), v128.load(get(from)))),
    storeLanes(get(to), sum, count, 0),
    move(from, 16),
    move(to, 4 * count),
  ];
  return [
    set(from, get(sums)),
    set(to, get(result)),
    countUp(tap, i32.const(0), i32.const(p.kernel[0] * p.kernel[1]), 1, [
      eachVector(fn, p.inChannels, add, []),
    ]),
  ];
}

/** A function for a tile: table of its line, end of that, place in the input lines, gradient, and the sums of the block. */
function tileFunction(
  module: ModuleBuilder,
  p: DirectConvParams,
  tile: Tile,
  relaxed: boolean,
): FunctionBuilder {
  const fn = module.function(["i32", "i32", "i32", "i32", "i32"]);
  const [table, end, from, gradient, sums] = fn.params;
  const [entry, source, to] = fn.locals(3, "i32");
  const values = fn.locals(tile.pixels, "v128");
  const pixel = 4 * p.inChannels;
  const add = addTaps(fn, tile, values, { source, to }, p, relaxed);
  const vector: Code = [
    values.map((value, n) => set(value, v128.load(get(gradient), n * pixel))),
    countUp(entry, get(table), get(end), ENTRY, [
      set(source, i32.add(get(from), i32.load(get(entry)))),
      set(to, i32.add(get(sums), i32.load(get(entry), 4))),
      add,
    ]),
  ];
  const move = (pointer: Local) => set(pointer, i32.add(get(pointer), i32.const(16)));
  fn.emit(eachVector(fn, p.inChannels, () => vector, [from, gradient, sums].map(move)));
  return fn;
}

/** Statements that add the products of one row of taps to the sums of a block. */
function addTaps(
  fn: FunctionBuilder,
  { hits }: Tile,
  gradients: readonly Local[],
  { source, to }: Names<"source" | "to">,
  p: DirectConvParams,
  relaxed: boolean,
): Code {
  const sums = fn.locals(TAPS, "v128");
  const value = fn.local("v128");
  const [pixel, tapBytes] = [4 * p.inChannels, 4 * padded(p)];
  return tapGroups(hits).map(({ used, sources }) => {
    const begun = new Set<number>();
    const add = (tap: number, gradient: Local): Code => {
      const sum = sums[used.indexOf(tap)];
      const first = !begun.has(tap);
      begun.add(tap);
      return set(
        sum,
        first
          ? f32x4.mul(get(value), get(gradient))
          : product(get(value), get(gradient), get(sum), relaxed),
      );
    };
    return [
      sources.map(({ from, reached }) => [
        set(value, v128.load(get(source), from * pixel)),
        reached.map((hit) => add(hit.tap, gradients[hit.pixel])),
      ]),
      used.map((tap, n) =>
        v128.store(
          get(to),
          f32x4.add(v128.load(get(to), tap * tapBytes), get(sums[n])),
          tap * tapBytes,
        )
      ),
    ];
  });
}
