/**
 * Output and input gradient of a convolution with a filter for each channel: a few pixels of four channels at a time, whose
 * sums stay in registers while every source pixel is read once for each row of taps.
 */

import {
  call,
  type Code,
  countUp,
  f32x4,
  get,
  i32,
  type Local,
  set,
  v128,
} from "../instructions.ts";
import type { ConvResult, DirectConvParams } from "../../conv2d_direct.ts";
import {
  eachTile,
  ENTRY,
  flatLineTable,
  type Gather,
  gatherOf,
  lineRuns,
  resultStep,
  type Tile,
} from "./conv2d_gather.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { argOffsets, type CpuProgram } from "../program.ts";
import { least } from "./arithmetic.ts";

/** Weights, or sums of a weight gradient, that are in registers together. */
export const TAPS = 5;
/** Vectors in registers at most: sums and weights, and one source pixel beside them. */
const REGISTERS = 13;
/** Nanoseconds of a product of vectors, about, and those of a task. */
export const VECTOR_NS = 1 / 3;
const TASK_NS = 20_000;

/** Pixels of a tile at most. */
export function tilePixels(p: DirectConvParams): number {
  return REGISTERS - Math.min(TAPS, p.kernel[1]);
}

/** Products of vectors for a line of the result, taps outside counted too, and at least the pixels themselves. */
export function lineProducts({ p, forward, result }: Gather): number {
  const vectors = result.size[1] * Math.ceil(p.inChannels / 4);
  const share = forward ? 1 : p.stride[0] * p.stride[1];
  return vectors * Math.max(1, p.kernel[0] * p.kernel[1] / share);
}

/** Whether a convolution has one filter for each channel, and few enough taps along the line to stand in the code. */
export function suitsDepthwise(p: DirectConvParams): boolean {
  return p.inChannels === p.groups && p.outChannels === p.groups && p.kernel[1] <= 32 &&
    p.stride[1] <= 8;
}

/** The program of a depthwise output, or of an input gradient. */
export function depthwiseProgram(
  result: ConvResult,
  p: DirectConvParams,
  features: WasmFeatures,
): CpuProgram {
  const gather = gatherOf(result, p);
  const module = new ModuleBuilder(features);
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase0");
  const [args, begin, end, table] = fn.params;
  const [line, until, tableEnd, weight, to] = fn.locals(5, "i32");
  const lines = p.batch * gather.result.size[0];
  const lineNs = lineProducts(gather) * VECTOR_NS;
  const ofTask = Math.max(1, Math.min(lines, Math.round(TASK_NS / lineNs)));
  const pixel = 4 * p.inChannels;
  const made = new Map<string, FunctionBuilder>();
  const tileOf = (tile: Tile) =>
    once(made, tile, () => tileFunction(module, gather, tile, features.relaxed));
  const last = i32.const(lines);
  fn.emit(
    set(weight, i32.load(get(args), argOffsets.operand(1))),
    set(until, i32.mul(get(end), i32.const(ofTask))),
    set(until, least(get(until), last)),
    countUp(line, i32.mul(get(begin), i32.const(ofTask)), get(until), 1, [
      flatLineTable(fn, gather, { args, line, table, end: tableEnd }, pixel * p.kernel[1]),
      set(to, i32.mul(get(line), i32.const(gather.result.size[1] * pixel))),
      set(to, i32.add(get(to), i32.load(get(args), argOffsets.operand(2)))),
      eachTile(
        fn,
        gather,
        lineRuns(gather, tilePixels(p)),
        [i32.const(0), get(to)],
        (tile, from, at) =>
          call(tileOf(tile).index, get(table), get(tableEnd), get(from), get(weight), get(at)),
      ),
    ]),
  );
  return {
    code: module.encode(),
    phases: [{ tasks: Math.ceil(lines / ofTask), taskNs: ofTask * lineNs }],
    sharedBytes: 0,
    threadBytes: ENTRY * p.kernel[0],
  };
}

/** The function of a tile, made where there is none of its kind yet. */
export function once(
  made: Map<string, FunctionBuilder>,
  tile: Tile,
  make: () => FunctionBuilder,
): FunctionBuilder {
  const key = JSON.stringify(tile);
  const fn = made.get(key) ?? make();
  made.set(key, fn);
  return fn;
}

/** Statements for all vectors of the channels in turn: `of` gets how many channels there are, and `next` moves on. */
export function eachVector(
  fn: FunctionBuilder,
  channels: number,
  of: (count: number) => Code,
  next: Code,
): Code {
  const whole = Math.floor(channels / 4);
  return [
    whole === 0 ? [] : countUp(fn.local("i32"), i32.const(0), i32.const(whole), 1, [of(4), next]),
    channels % 4 === 0 ? [] : of(channels % 4),
  ];
}

/** Statements that store the first lanes of a vector. */
export function storeLanes(address: Code, value: Local, count: number, offset: number): Code {
  if (count === 4) return v128.store(address, get(value), offset);
  return Array.from(
    { length: count },
    (_, lane) => v128.store32_lane(address, get(value), lane, offset + 4 * lane),
  );
}

/** A function for a tile: table of its line, end of that, place in the source lines, weights, and result. */
function tileFunction(
  module: ModuleBuilder,
  gather: Gather,
  tile: Tile,
  relaxed: boolean,
): FunctionBuilder {
  const fn = module.function(["i32", "i32", "i32", "i32", "i32"]);
  const [table, end, from, weight, to] = fn.params;
  const [entry, source, taps] = fn.locals(3, "i32");
  const sums = fn.locals(tile.pixels, "v128");
  const pixel = 4 * gather.p.inChannels;
  const add = addTaps(fn, tile, sums, { source, taps }, pixel, relaxed);
  const move = (pointer: Local) => set(pointer, i32.add(get(pointer), i32.const(16)));
  const vector = (count: number): Code => [
    sums.map((sum) => set(sum, v128.const([0, 0, 0, 0]))),
    countUp(entry, get(table), get(end), ENTRY, [
      set(source, i32.add(get(from), i32.load(get(entry)))),
      set(taps, i32.add(get(weight), i32.load(get(entry), 4))),
      add,
    ]),
    sums.map((sum, n) => storeLanes(get(to), sum, count, n * resultStep(gather) * pixel)),
  ];
  fn.emit(eachVector(fn, gather.p.inChannels, vector, [from, weight, to].map(move)));
  return fn;
}

/** Statements that add the products of one row of taps; taps go by groups whose weights fit into registers. */
function addTaps(
  fn: FunctionBuilder,
  { hits }: Tile,
  sums: readonly Local[],
  { source, taps }: Readonly<Record<"source" | "taps", Local>>,
  pixel: number,
  relaxed: boolean,
): Code {
  const weights = fn.locals(TAPS, "v128");
  const value = fn.local("v128");
  return tapGroups(hits).map(({ used, sources }) => [
    used.map((tap, n) => set(weights[n], v128.load(get(taps), tap * pixel))),
    sources.map(({ from, reached }) => [
      set(value, v128.load(get(source), from * pixel)),
      reached.map(({ tap, pixel }) => {
        const weight = get(weights[used.indexOf(tap)]);
        return set(sums[pixel], product(get(value), weight, get(sums[pixel]), relaxed));
      }),
    ]),
  ]);
}

/** Hits by groups of taps, and in each group by source pixels. */
export function tapGroups(hits: Tile["hits"]): {
  used: number[];
  sources: { from: number; reached: Tile["hits"] }[];
}[] {
  const all = [...new Set(hits.map((hit) => hit.tap))];
  const groups = Array.from(
    { length: Math.ceil(all.length / TAPS) },
    (_, n) => all.slice(n * TAPS, (n + 1) * TAPS),
  );
  return groups.map((used) => {
    const own = hits.filter(({ tap }) => used.includes(tap));
    const pixels = [...new Set(own.map((hit) => hit.from))].sort((a, b) => a - b);
    const sources = pixels.map((from) => ({
      from,
      reached: own.filter((hit) => hit.from === from),
    }));
    return { used, sources };
  });
}

/** The value of a · b + sum. */
export function product(a: Code, b: Code, sum: Code, relaxed: boolean): Code {
  return relaxed ? f32x4.relaxed_madd(a, b, sum) : f32x4.add(sum, f32x4.mul(a, b));
}
