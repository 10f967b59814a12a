/**
 * Output and input gradient of a convolution in groups of several channels: a tile of pixels by channels whose sums are in
 * registers, as in a matrix product, with one left pointer for all pixels. The weights of a few channels lie in a panel, and
 * the source of some lines, group by group, in a copy with zeros around it.
 */

import { call, type Code, countUp, get, i32, type Local, set, v128 } from "../instructions.ts";
import type { ConvResult, DirectConvParams } from "../../conv2d_direct.ts";
import {
  eachTile,
  ENTRY,
  type Gather,
  gatherOf,
  lineRuns,
  lineTable,
  resultStep,
  type Tile,
} from "./conv2d_gather.ts";
import { once } from "./depthwise.ts";
import { PRODUCT_NS } from "./gemm_plan.ts";
import { copyLines, type Lines, linesOf } from "./grouped_lines.ts";
import { type FunctionBuilder, ModuleBuilder, type WasmFeatures } from "../module.ts";
import { packPanel, panelBytes, type Side } from "./pack.ts";
import { argOffsets, type CpuPhase, type CpuProgram } from "../program.ts";
import { addProducts, sumsOf } from "./tile.ts";
import { least } from "./arithmetic.ts";

/** Pixels of a tile at most, of one vector and of two. */
const PIXELS = [10, 6] as const;
/** Nanoseconds of a task, about. */
const TASK_NS = 60_000;

/** How groups are cut into panels. */
interface Panels {
  /** Vectors of a panel. */
  readonly vectors: number;
  /** Panels of a group, and of all of them. */
  readonly ofGroup: number;
  readonly all: number;
  /** Channels of a group on the side that is summed over, and on that of the result. */
  readonly depth: number;
  readonly channels: number;
}

function panelsOf({ p, source, result }: Gather): Panels {
  const [depth, channels] = [source.channels / p.groups, result.channels / p.groups];
  const vectors = channels % 8 === 0 ? 2 : 1;
  const ofGroup = channels / (4 * vectors);
  return { vectors, ofGroup, all: ofGroup * p.groups, depth, channels };
}

/** Whether the channels of a group fill vectors in a result, and few taps enough stand along the line to be in the code. */
export function suitsGrouped(result: ConvResult, p: DirectConvParams): boolean {
  const channels = (result === "input" ? p.inChannels : p.outChannels) / p.groups;
  return channels % 4 === 0 && p.kernel[1] <= 16 && p.stride[1] <= 8;
}

/** The program of the output of a grouped convolution, or of its input gradient. */
export function groupedProgram(
  result: ConvResult,
  p: DirectConvParams,
  features: WasmFeatures,
): CpuProgram {
  const gather = gatherOf(result, p);
  const panels = panelsOf(gather);
  const lines = linesOf(gather, panels.depth, Math.round(TASK_NS / lineNs(gather, panels)));
  const module = new ModuleBuilder(features);
  const phases = [packPhase(module, gather, panels), mainPhase(module, gather, panels, lines)];
  return {
    code: module.encode(),
    phases,
    sharedBytes: panels.all * p.kernel[0] * p.kernel[1] * tapBytes(panels),
    threadBytes: tableBytes(p) + lines.allBytes,
  };
}

/** Nanoseconds of a line of the result, about. */
function lineNs({ p, forward, result }: Gather, { depth }: Panels): number {
  const taps = p.kernel[0] * p.kernel[1] / (forward ? 1 : p.stride[0] * p.stride[1]);
  return result.size[1] * result.channels * depth * Math.max(1, taps) * PRODUCT_NS;
}

/** Bytes of the table of a line. */
function tableBytes(p: DirectConvParams): number {
  return Math.ceil(ENTRY * p.kernel[0] / 64) * 64;
}

/** Bytes of a panel's weights for one tap. */
function tapBytes({ depth, vectors }: Panels): number {
  return 16 * vectors * depth;
}

/** Lays the weights of each panel side by side, tap by tap; those of an input gradient are turned. */
function packPhase(module: ModuleBuilder, { p, forward }: Gather, panels: Panels): CpuPhase {
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase0");
  const [args, begin, end] = fn.params;
  const [panel, inGroup, tap, from, to] = fn.locals(5, "i32");
  const { vectors, ofGroup, depth, channels } = panels;
  const taps = p.kernel[0] * p.kernel[1];
  const side: Side = {
    size: channels,
    depth,
    stride: forward ? 1 : p.outChannels,
    depthStride: forward ? p.outChannels : 1,
  };
  const group = i32.div_u(get(panel), i32.const(ofGroup));
  const groupBytes = 4 * p.outChannels / p.groups;
  fn.emit(
    countUp(panel, get(begin), get(end), 1, [
      set(inGroup, i32.rem_u(get(panel), i32.const(ofGroup))),
      set(from, i32.add(i32.load(get(args), argOffsets.operand(1)), times(group, groupBytes))),
      set(to, times(get(panel), taps * tapBytes(panels))),
      set(to, i32.add(get(to), i32.load(get(args), argOffsets.shared))),
      countUp(tap, i32.const(0), i32.const(taps), 1, [
        packPanel(fn, side, 4 * vectors, inGroup, from, to),
        set(from, i32.add(get(from), i32.const(4 * p.outChannels * p.inChannels / p.groups))),
        set(to, i32.add(get(to), i32.const(panelBytes(side, 4 * vectors)))),
      ]),
    ]),
  );
  return { tasks: panels.all, taskNs: taps * tapBytes(panels) * 0.1 };
}

function times(a: Code, b: number): Code {
  return i32.mul(a, i32.const(b));
}

/** Goes through parts of the images, group by group. */
function mainPhase(
  module: ModuleBuilder,
  gather: Gather,
  panels: Panels,
  lines: Lines,
): CpuPhase {
  const { p, source, result } = gather;
  const fn = module.function(["i32", "i32", "i32", "i32"], null, "phase1");
  const [args, begin, end, table] = fn.params;
  const [task, number, y0, y1, group, image, copy, first] = fn.locals(8, "i32");
  const names = { args, number, y0, y1, group, table, copy, first };
  const parts = Math.ceil(result.size[0] / lines.count);
  const height = i32.const(result.size[0]);
  fn.emit(
    set(copy, i32.add(get(table), i32.const(tableBytes(p)))),
    countUp(task, get(begin), get(end), 1, [
      set(number, i32.div_u(get(task), i32.const(parts))),
      set(y0, times(i32.rem_u(get(task), i32.const(parts)), lines.count)),
      set(y1, i32.add(get(y0), i32.const(lines.count))),
      set(y1, least(get(y1), height)),
      set(image, times(get(number), 4 * source.size[0] * source.size[1] * source.channels)),
      set(image, i32.add(get(image), i32.load(get(args), argOffsets.operand(0)))),
      countUp(group, i32.const(0), i32.const(p.groups), 1, [
        copyLines(fn, gather, lines, { y0, y1, first, image, to: copy }),
        groupPanels(module, fn, { gather, panels, lines }, names),
        set(image, i32.add(get(image), i32.const(4 * panels.depth))),
      ]),
    ]),
  );
  return { tasks: parts * p.batch, taskNs: lines.count * lineNs(gather, panels) };
}

/** How everything is cut. */
interface Cut {
  readonly gather: Gather;
  readonly panels: Panels;
  readonly lines: Lines;
}

/** Statements for the panels of a group in some lines of an image. */
function groupPanels(
  module: ModuleBuilder,
  fn: FunctionBuilder,
  { gather, panels, lines }: Cut,
  names: Readonly<
    Record<"args" | "number" | "y0" | "y1" | "group" | "table" | "copy" | "first", Local>
  >,
): Code {
  const { p, result } = gather;
  const [panel, until, y, image, end, weights, to] = fn.locals(7, "i32");
  const { args, table } = names;
  const made = new Map<string, FunctionBuilder>();
  const tileOf = (tile: Tile) =>
    once(made, tile, () => tileFunction(module, lines.along, panels, tile));
  const line = i32.add(times(get(names.number), result.size[0]), get(y));
  const bytes = { line: lines.bytes, taps: p.kernel[1] * tapBytes(panels) };
  return [
    set(image, i32.sub(get(names.copy), times(get(names.first), lines.bytes))),
    set(panel, times(get(names.group), panels.ofGroup)),
    set(until, i32.add(get(panel), i32.const(panels.ofGroup))),
    countUp(panel, get(panel), get(until), 1, [
      set(weights, times(get(panel), p.kernel[0] * bytes.taps)),
      set(weights, i32.add(get(weights), i32.load(get(args), argOffsets.shared))),
      countUp(y, get(names.y0), get(names.y1), 1, [
        lineTable(fn, lines.along, { y, image, table, end }, bytes),
        set(to, times(line, 4 * result.size[1] * result.channels)),
        set(to, i32.add(get(to), times(get(panel), 16 * panels.vectors))),
        set(to, i32.add(get(to), i32.load(get(args), argOffsets.operand(2)))),
        eachTile(
          fn,
          lines.along,
          lineRuns(lines.along, PIXELS[panels.vectors - 1]),
          [i32.const(0), get(to)],
          (tile, from, at) =>
            call(tileOf(tile).index, get(table), get(end), get(from), get(weights), get(at)),
        ),
      ]),
    ]),
  ];
}

/** A function for a tile: table of its line, end of that, place in the copied lines, panel, and result. */
function tileFunction(
  module: ModuleBuilder,
  gather: Gather,
  panels: Panels,
  tile: Tile,
): FunctionBuilder {
  const fn = module.function(["i32", "i32", "i32", "i32", "i32"]);
  const [table, end, from, panel, to] = fn.params;
  const [entry, left, right] = fn.locals(3, "i32");
  const sums = sumsOf(fn, tile.pixels, panels.vectors);
  const pixel = 4 * gather.result.channels * resultStep(gather);
  const row = tapsOf(tile);
  if (row !== null) {
    const sourcePixel = 4 * panels.depth;
    // The pointer itself must never lie before the memory, although taps may go backwards.
    const places = row.from.map((from) => ({
      pointer: left,
      offset: (from - row.from[0]) * sourcePixel,
    }));
    const depth = {
      runs: row.count,
      length: panels.depth,
      leftStep: 4,
      leftJump: (row.fromStep - 1) * sourcePixel,
      rightStep: 16 * panels.vectors,
      rightJump: (row.step - 1) * tapBytes(panels),
    };
    const start = i32.add(get(from), i32.const(row.from[0] * sourcePixel));
    const first = i32.add(get(panel), i32.const(row.first * tapBytes(panels)));
    fn.emit(countUp(entry, get(table), get(end), ENTRY, [
      set(left, i32.add(start, i32.load(get(entry)))),
      set(right, i32.add(first, i32.load(get(entry), 4))),
      addProducts(fn, sums, places, right, depth, module.features.relaxed),
    ]));
  }
  fn.emit(
    sums.map((row, n) => row.map((sum, v) => v128.store(get(to), get(sum), n * pixel + 16 * v))),
  );
  return fn;
}

/**
 * The taps of a tile, all of which reach all of its pixels: the first one, how many, from one to the next, the source pixels
 * of the first, and from these to those of the next.
 */
function tapsOf({ hits }: Tile) {
  if (hits.length === 0) return null;
  const taps = [...new Set(hits.map((hit) => hit.tap))];
  const sources = (tap: number) => hits.filter((hit) => hit.tap === tap).map((hit) => hit.from);
  const from = sources(taps[0]);
  const [step, fromStep] = taps.length === 1
    ? [1, 0]
    : [taps[1] - taps[0], sources(taps[1])[0] - from[0]];
  return { first: taps[0], count: taps.length, step, from, fromStep };
}
