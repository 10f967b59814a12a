/** Lines of one group's channels, copied side by side with zeros at their ends, so that all taps reach all pixels. */

import {
  type Code,
  countUp,
  get,
  i32,
  type Local,
  memoryFill,
  select,
  set,
  v128,
} from "../instructions.ts";
import type { Gather } from "./conv2d_gather.ts";
import type { FunctionBuilder } from "../module.ts";

/** Bytes of the copied lines that stay in the first cache, and lines of the result that are worth a copy in any case. */
const COPIED_BYTES = 24 * 1024;
const FEW_LINES = 4;
/** Bytes behind the copied lines that vectors may reach. */
const BEHIND = 16;

/** How lines are copied. */
export interface Lines {
  /** The gather along a copied line. */
  readonly along: Gather;
  /** Source pixels where a copied line begins, inside the source or not. */
  readonly before: number;
  /** Bytes of a copied line, and of all of them. */
  readonly bytes: number;
  readonly allBytes: number;
  /** Lines of the result that are computed from a copy. */
  readonly count: number;
}

/** The plan of the copies for a gather of so many channels, for at most about so many lines of the result. */
export function linesOf(gather: Gather, channels: number, most: number): Lines {
  const { p, forward, source, result } = gather;
  const [stride, padding] = [p.stride[1], p.padding[1]];
  const reach = (p.kernel[1] - 1) * p.dilation[1];
  const last = result.size[1] - 1;
  const low = forward ? -padding : Math.ceil((padding - reach) / stride);
  const high = forward ? last * stride + reach - padding : Math.floor((last + padding) / stride);
  const width = Math.max(1, high - low + 1);
  const moved = forward ? padding + low : padding - low * stride;
  const bytes = 4 * channels * width;
  let count = Math.min(result.size[0], Math.max(FEW_LINES, most));
  while (count > FEW_LINES && spanOf(gather, count) * bytes > COPIED_BYTES) count--;
  // Parts of about the same size.
  count = Math.ceil(result.size[0] / Math.ceil(result.size[0] / count));
  const along = {
    ...gather,
    p: { ...p, padding: [p.padding[0], moved] as const },
    source: { size: [source.size[0], width] as const, channels },
  };
  return { along, before: low, bytes, allBytes: spanOf(gather, count) * bytes + BEHIND, count };
}

/** Source lines that so many neighbouring lines reach at most. */
function spanOf({ p, forward, source }: Gather, lines: number): number {
  const [stride, reach] = [p.stride[0], (p.kernel[0] - 1) * p.dilation[0]];
  const span = forward
    ? (lines - 1) * stride + reach + 1
    : Math.floor((lines - 1 + reach) / stride) + 1;
  return Math.min(source.size[0], span);
}

/**
 * Statements that copy what the lines from `y0` to before `y1` reach; `first` becomes the first source line that is copied.
 *
 * @param image address of the first line of the source, at the first channel that is copied
 * @param to where the copies go
 */
export function copyLines(
  fn: FunctionBuilder,
  { source }: Gather,
  lines: Lines,
  { y0, y1, first, image, to }: Readonly<Record<"y0" | "y1" | "first" | "image" | "to", Local>>,
): Code {
  const [line, until, from, at, pixel] = fn.locals(5, "i32");
  const { channels } = lines.along.source;
  const ahead = Math.max(0, -lines.before);
  const begin = Math.max(0, lines.before);
  const width = lines.along.source.size[1];
  const pixels = Math.max(0, Math.min(source.size[1], lines.before + width) - begin);
  const move = (pointer: Local, bytes: number) =>
    set(pointer, i32.add(get(pointer), i32.const(bytes)));
  const fill = (bytes: number): Code =>
    bytes === 0 ? [] : [memoryFill(get(at), i32.const(0), i32.const(bytes)), move(at, bytes)];
  const used = Math.min(ahead, width);
  return [
    lineRange(lines.along, { y0, y1, first, until }),
    set(at, get(to)),
    countUp(line, get(first), get(until), 1, [
      set(from, i32.mul(get(line), i32.const(4 * source.size[1] * source.channels))),
      set(from, i32.add(get(from), get(image))),
      move(from, 4 * begin * source.channels),
      fill(4 * channels * used),
      countUp(pixel, i32.const(0), i32.const(pixels), 1, [
        copyPixel(channels, from, at),
        move(from, 4 * source.channels),
        move(at, 4 * channels),
      ]),
      fill(4 * channels * (width - used - pixels)),
    ]),
  ];
}

/** Copies whole vectors; the last one may reach into the next pixel, which is written later. */
function copyPixel(channels: number, from: Local, to: Local): Code {
  return Array.from(
    { length: Math.ceil(channels / 4) },
    (_, v) => v128.store(get(to), v128.load(get(from), 16 * v), 16 * v),
  );
}

/** Sets the first source line that some lines reach, and the one behind the last. */
function lineRange(
  { p, forward, source }: Gather,
  { y0, y1, first, until }: Readonly<Record<"y0" | "y1" | "first" | "until", Local>>,
): Code {
  const [stride, padding] = [p.stride[0], p.padding[0]];
  const reach = (p.kernel[0] - 1) * p.dilation[0];
  const times = (a: Code) => i32.mul(a, i32.const(stride));
  const over = (a: Code) => i32.div_s(a, i32.const(stride));
  const plus = (a: Code, b: number) => i32.add(a, i32.const(b));
  const last = plus(get(y1), -1);
  const low = forward
    ? plus(times(get(y0)), -padding)
    : over(plus(get(y0), padding - reach + stride - 1));
  const high = forward
    ? plus(times(last), reach - padding + 1)
    : plus(over(plus(last, padding)), 1);
  const height = i32.const(source.size[0]);
  return [
    set(first, low),
    set(first, select(get(first), i32.const(0), i32.gt_s(get(first), i32.const(0)))),
    set(until, high),
    set(until, select(get(until), height, i32.lt_s(get(until), height))),
    // Counters have no sign.
    set(until, select(get(until), get(first), i32.gt_s(get(until), get(first)))),
  ];
}
