/** Axes of charts: numbers to pixels, with ticks at round numbers, over all that f64 can hold. */

// @ts-types="npm:@types/d3-scale@4.0.9"
import { scaleLinear, scaleLog } from "d3-scale";
import { element, FONT, type Markup, pixel, text, textWidth } from "./chart_parts.ts";

/** Where something is drawn, in pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** A round number at an axis. */
export interface Tick {
  readonly value: number;
  readonly text: string;
}

/** Numbers to pixels, with ticks. */
export interface Axis {
  /** The pixel of a number, which must be one that the axis can show. */
  at(value: number): number;
  readonly ticks: readonly Tick[];
}

/** How numbers are spread over an axis. */
export type Spread = "linear" | "log";

/** From and to which pixel an axis goes. */
type Pixels = readonly [from: number, to: number];

/** Sizes beyond which sums and quotients of bounds may overflow or vanish. */
const [LARGE, SMALL] = [1e280, 1e-280];
/** A span that is less of the numbers than this is a single number. */
const SAME = 1e-14;

/** An axis over numbers, extended to round ones; over 0 to 1 where there are none. */
export function axisOf(values: readonly number[], pixels: Pixels, spread: Spread): Axis {
  const [low, high] = extentOf(values);
  const count = Math.max(2, Math.round(Math.abs(pixels[1] - pixels[0]) / 60));
  if (spread === "linear") return linearAxis(low, high, pixels, count);
  return low < SMALL || high > LARGE
    ? exponentAxis(low, high, pixels, count)
    : logAxis(low, high, pixels, count);
}

function linearAxis(low: number, high: number, pixels: Pixels, count: number): Axis {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const factor = size > LARGE ? 1e-20 : size < SMALL && size > 0 ? 1e20 : 1;
  const [first, last] = apart(low * factor, high * factor, size * factor);
  const scale = scaleLinear([first, last], pixels).nice(count);
  const form = size < 1e-3 || size >= 1e15 ? "~e" : size >= 1e6 ? "~s" : undefined;
  const format = scale.tickFormat(count, form);
  const at = (value: number) => scale(value * factor);
  // The smallest numbers lie so far apart that a round one among them may lie outside.
  const isInside = (value: number) => (at(value) - pixels[0]) * (at(value) - pixels[1]) <= 1e-6;
  const ticks = scale.ticks(count).map((value) => value / factor).filter(Number.isFinite)
    .filter(isInside).map((value) => ({ value, text: format(value) }));
  return { at, ticks: withoutTwins(ticks) };
}

function apart(low: number, high: number, size: number): [number, number] {
  if (high - low > size * SAME) return [low, high];
  const room = size === 0 ? 1 : size / 2;
  return [low - room, high + room];
}

function logAxis(low: number, high: number, pixels: Pixels, count: number): Axis {
  const bounds = low === high ? [low / 2, high * 2] : [low, high];
  const scale = scaleLog(bounds, pixels).nice();
  const format = scale.tickFormat(count, "~g");
  const ticks = scale.ticks(count).map((value) => ({ value, text: format(value) }));
  return { at: (value) => scale(value), ticks: ticks.filter((tick) => tick.text !== "") };
}

/** A logarithmic axis at the ends of f64, where powers of ten beside the bounds may not exist. */
function exponentAxis(low: number, high: number, pixels: Pixels, count: number): Axis {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const { at, ticks } = linearAxis(first, last, pixels, count);
  const powers = ticks.filter(({ value }) => Number.isInteger(value))
    .map(({ value }) => ({
      value: Number(`1e${value}`),
      text: `1e${value > 0 ? "+" : ""}${value}`,
    }))
    .filter(({ value }) => value > 0 && Number.isFinite(value));
  return { at: (value) => at(Math.log10(value)), ticks: powers };
}

/** Numbers so small that several have one text keep the first. */
function withoutTwins(ticks: readonly Tick[]): Tick[] {
  return ticks.filter(({ text }, i) => i === 0 || text !== ticks[i - 1].text);
}

/** The least and the largest number; 0 and 1 where there is none. */
export function extentOf(values: readonly number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** Lines and numbers of the axes around a box, and what is written beside them. */
export function frame(
  box: Box,
  x: Axis,
  y: Axis,
  { xLabel, yLabel }: { readonly xLabel: string; readonly yLabel: string },
): Markup {
  const { left, top, right, bottom } = box;
  const grid = { stroke: "#dddddd" };
  const middle = { anchor: "middle", size: FONT.label } as const;
  const widest = widestOf(y);
  return [
    ...y.ticks.flatMap((tick) => {
      const at = y.at(tick.value);
      return [
        element("line", { x1: left, x2: right, y1: at, y2: at, ...grid }),
        text(tick.text, left - 8, at + FONT.tick / 3, { anchor: "end" }),
      ];
    }),
    ...x.ticks.map((tick) => {
      const at = x.at(tick.value);
      return element("line", { x1: at, x2: at, y1: top, y2: bottom, ...grid });
    }),
    ...besides(x).map((tick) =>
      text(tick.text, x.at(tick.value), bottom + FONT.tick + 6, { anchor: "middle" })
    ),
    element("path", {
      d: `M${pixel(left)} ${pixel(top)}V${pixel(bottom)}H${pixel(right)}`,
      fill: "none",
      stroke: "#444444",
    }),
    text(xLabel, (left + right) / 2, bottom + FONT.tick + FONT.label + 14, middle),
    text(yLabel, left - widest - 20, (top + bottom) / 2, { ...middle, rotate: -90 }),
  ].join("\n");
}

/** The ticks whose texts stand beside each other without touching. */
function besides({ at, ticks }: Axis): Tick[] {
  let end = -Infinity;
  return ticks.filter((tick) => {
    const half = textWidth(tick.text, FONT.tick) / 2;
    if (at(tick.value) - half < end + 4) return false;
    end = at(tick.value) + half;
    return true;
  });
}

function widestOf({ ticks }: Axis): number {
  return Math.max(0, ...ticks.map((tick) => textWidth(tick.text, FONT.tick)));
}

/** Room to the left of a box for the numbers and the label of an axis. */
export function leftRoom(axis: Axis): number {
  return widestOf(axis) + 20 + FONT.label + 6;
}
