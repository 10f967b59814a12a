/**
 * Output and input gradient of a grouped convolution as one thing: every pixel of a result gathers pixels of a source. Along
 * the lines, which taps lie inside the image is known when code is made; across them it is found once a line.
 */

import type { ConvResult, DirectConvParams } from "../../conv2d_direct.ts";
import { type Code, countUp, get, i32, ifElse, type Local, set } from "../instructions.ts";
import type { FunctionBuilder } from "../module.ts";
import { argOffsets } from "../program.ts";

/** An image: height, width and channels. */
export interface Extent {
  readonly size: readonly [number, number];
  readonly channels: number;
}

/** What is gathered from where. */
export interface Gather {
  readonly p: DirectConvParams;
  /** Whether the output gathers from the input, not the other way. */
  readonly forward: boolean;
  readonly source: Extent;
  readonly result: Extent;
}

/** A tap that reaches a pixel of a tile: the number of the tap, that of the pixel, and that of the source pixel. */
export interface Hit {
  readonly tap: number;
  readonly pixel: number;
  readonly from: number;
}

/** Neighbouring pixels of a line with the taps that reach them; source pixels count from the first one of the tile. */
export interface Tile {
  readonly pixels: number;
  readonly hits: readonly Hit[];
}

/** Tiles of one kind behind each other, in pixels of a line. */
export interface Run {
  readonly tile: Tile;
  readonly count: number;
  /** First pixel of the first tile, and the distance between tiles. */
  readonly first: number;
  readonly step: number;
  /** The same for the pixels of the source. */
  readonly from: number;
  readonly fromStep: number;
}

/** Bytes of an entry in the table of a line: address of a source line, and the number of bytes to the weights of its taps. */
export const ENTRY = 8;

/** The gather of an output, or of an input gradient; a weight gradient walks its pixels as an output does. */
export function gatherOf(result: ConvResult, p: DirectConvParams): Gather {
  const input = { size: p.input, channels: p.inChannels };
  const output = { size: p.output, channels: p.outChannels };
  return result === "input"
    ? { p, forward: false, source: output, result: input }
    : { p, forward: true, source: input, result: output };
}

/** Pixels of a result from one to the next that the same taps reach. */
export function resultStep({ p, forward }: Gather): number {
  return forward ? 1 : p.stride[1];
}

/** The source pixel that a tap brings to a pixel of a line, or null. */
function sourceOf({ p, forward, source }: Gather, pixel: number, tap: number): number | null {
  const reach = tap * p.dilation[1] - p.padding[1];
  const at = forward ? pixel * p.stride[1] + reach : (pixel - reach) / p.stride[1];
  return Number.isInteger(at) && at >= 0 && at < source.size[1] ? at : null;
}

/** A tile at its place. */
function tileAt(gather: Gather, first: number, pixels: number): { tile: Tile; from: number } {
  const step = resultStep(gather);
  const hits: Hit[] = [];
  for (let tap = 0; tap < gather.p.kernel[1]; tap++) {
    for (let pixel = 0; pixel < pixels; pixel++) {
      const from = sourceOf(gather, first + pixel * step, tap);
      if (from !== null) hits.push({ tap, pixel, from });
    }
  }
  const from = hits.reduce((least, hit) => Math.min(least, hit.from), Infinity);
  const moved = hits.map((hit) => ({ ...hit, from: hit.from - from }));
  return { tile: { pixels, hits: moved }, from: hits.length === 0 ? 0 : from };
}

/** A line of the result as tiles of at most so many pixels. */
export function lineRuns(gather: Gather, most: number): Run[] {
  const step = resultStep(gather);
  const runs: Run[] = [];
  for (let phase = 0; phase < Math.min(step, gather.result.size[1]); phase++) {
    const all = Math.ceil((gather.result.size[1] - phase) / step);
    const tiles = Math.ceil(all / most);
    for (let n = 0, done = 0; n < tiles; n++) {
      const pixels = Math.ceil((all - done) / (tiles - n));
      append(runs, gather, phase + done * step, pixels);
      done += pixels;
    }
  }
  return runs;
}

/** Appends a tile, to the last run where it is of the same kind and as far on as the others. */
function append(runs: Run[], gather: Gather, first: number, pixels: number): void {
  const { tile, from } = tileAt(gather, first, pixels);
  const last = runs.at(-1);
  if (last !== undefined && JSON.stringify(last.tile) === JSON.stringify(tile)) {
    const [step, fromStep] = last.count === 1
      ? [first - last.first, from - last.from]
      : [last.step, last.fromStep];
    if (
      first === last.first + last.count * step && from === last.from + last.count * fromStep
    ) {
      runs[runs.length - 1] = { ...last, count: last.count + 1, step, fromStep };
      return;
    }
  }
  runs.push({ tile, count: 1, first, step: 0, from, fromStep: 0 });
}

/**
 * Statements for all tiles of a line.
 *
 * @param from address of the first pixel of a source line, or a number that stands for it
 * @param to address of the first pixel of the line
 * @param visit statements for a tile, given addresses of its first source pixel and its first pixel
 */
export function eachTile(
  fn: FunctionBuilder,
  gather: Gather,
  runs: readonly Run[],
  [from, to]: readonly [Code, Code],
  visit: (tile: Tile, from: Local, to: Local) => Code,
): Code {
  const [n, source, target] = fn.locals(3, "i32");
  const move = (pointer: Local, bytes: number) =>
    set(pointer, i32.add(get(pointer), i32.const(bytes)));
  const [sourcePixel, pixel] = [4 * gather.source.channels, 4 * gather.result.channels];
  return runs.map((run) => [
    set(source, i32.add(from, i32.const(run.from * sourcePixel))),
    set(target, i32.add(to, i32.const(run.first * pixel))),
    run.count === 1
      ? visit(run.tile, source, target)
      : countUp(n, i32.const(0), i32.const(run.count), 1, [
        visit(run.tile, source, target),
        move(source, run.fromStep * sourcePixel),
        move(target, run.step * pixel),
      ]),
  ]);
}

/**
 * Statements that write the table of a line: an entry for each row of taps that lies inside the image.
 *
 * @param y the line, `image` the address of the first line of its source, `table` where it begins; `end` becomes its end
 * @param bytes from one line of the source to the next, and from the weights of one row of taps to those of the next
 */
export function lineTable(
  fn: FunctionBuilder,
  { p, forward, source }: Gather,
  { y, image, table, end }: Readonly<Record<"y" | "image" | "table" | "end", Local>>,
  bytes: { readonly line: number; readonly taps: number },
): Code {
  const [tap, from, reach] = fn.locals(3, "i32");
  const [stride, height] = [p.stride[0], source.size[0]];
  const entry: Code = [
    i32.store(get(end), i32.add(get(image), i32.mul(get(from), i32.const(bytes.line)))),
    i32.store(get(end), i32.mul(get(tap), i32.const(bytes.taps)), 4),
    set(end, i32.add(get(end), i32.const(ENTRY))),
  ];
  const inside = (then: Code) => ifElse(i32.lt_u(get(from), i32.const(height)), then);
  const first = i32.const(forward ? -p.padding[0] : p.padding[0]);
  return [
    set(reach, i32.add(forward ? i32.mul(get(y), i32.const(stride)) : get(y), first)),
    set(end, get(table)),
    countUp(tap, i32.const(0), i32.const(p.kernel[0]), 1, [
      forward || stride === 1
        ? [set(from, get(reach)), inside(entry)]
        : ifElse(i32.eqz(i32.rem_s(get(reach), i32.const(stride))), [
          set(from, i32.div_s(get(reach), i32.const(stride))),
          inside(entry),
        ]),
      set(reach, i32.add(get(reach), i32.const(forward ? p.dilation[0] : -p.dilation[0]))),
    ]),
  ];
}

/** As lineTable(), for lines that are counted through all images of the first operand. */
export function flatLineTable(
  fn: FunctionBuilder,
  gather: Gather,
  { args, line, table, end }: Readonly<Record<"args" | "line" | "table" | "end", Local>>,
  tapsBytes: number,
): Code {
  const { source, result } = gather;
  const [y, image] = fn.locals(2, "i32");
  const lineBytes = 4 * source.size[1] * source.channels;
  const number = i32.div_u(get(line), i32.const(result.size[0]));
  return [
    set(image, i32.mul(number, i32.const(source.size[0] * lineBytes))),
    set(image, i32.add(get(image), i32.load(get(args), argOffsets.operand(0)))),
    set(y, i32.rem_u(get(line), i32.const(result.size[0]))),
    lineTable(fn, gather, { y, image, table, end }, { line: lineBytes, taps: tapsBytes }),
  ];
}
