/** What charts are put together of: texts, axes, numbers and colours. */

// @ts-types="npm:@types/d3-scale@4.0.9"
import { scaleLinear, scaleLog } from "d3-scale";

/** A part of a picture: markup that was escaped. */
export type Markup = string;

/** Sizes of letters in pixels. */
export const FONT = { title: 16, label: 13, tick: 12 } as const;

/** Okabe and Ito's colours, which look different to the colour-blind as well; without their yellow. */
export const COLOURS = [
  "#0072B2",
  "#D55E00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#E69F00",
  "#000000",
] as const;

/** Patterns of lines, for more of them than there are colours. */
const DASHES = ["", "6 3", "2 3", "8 3 2 3"] as const;

/** Where something is drawn, in pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Numbers to pixels, with ticks. */
export interface Axis {
  /** The pixel of a number. */
  at(value: number): number;
  readonly ticks: readonly { readonly value: number; readonly text: string }[];
}

/** How numbers are spread over an axis. */
export type Spread = "linear" | "log";

/** Text for markup. */
export function escapeText(text: string): Markup {
  const names: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  // deno-lint-ignore no-control-regex -- XML has no form for control characters
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"']/g, (c) => names[c]);
}

/** An element with escaped attributes; those that are `undefined` are left out. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number | undefined>>,
  content: Markup = "",
): Markup {
  const pairs = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const text = pairs.map(([key, value]) =>
    ` ${key}="${typeof value === "number" ? pixel(value) : escapeText(value!)}"`
  ).join("");
  return content === "" ? `<${name}${text}/>` : `<${name}${text}>${content}</${name}>`;
}

/** How a text stands. */
export interface TextPlace {
  readonly anchor?: "start" | "middle" | "end";
  readonly size?: number;
  readonly fill?: string;
  readonly weight?: string;
  readonly rotate?: number;
}

/** A line of text. */
export function text(content: string, x: number, y: number, place: TextPlace = {}): Markup {
  const { anchor, size = FONT.tick, fill, weight, rotate } = place;
  return element("text", {
    x,
    y,
    "text-anchor": anchor,
    "font-size": size,
    fill,
    "font-weight": weight,
    transform: rotate === undefined
      ? undefined
      : `rotate(${pixel(rotate)} ${pixel(x)} ${pixel(y)})`,
  }, escapeText(content));
}

/** About how wide a text is. */
export function textWidth(content: string, size: number): number {
  return content.length * size * 0.58;
}

/** The text, cut where it is longer than a number of letters. */
export function shorten(content: string, letters: number): string {
  const all = [...content];
  return all.length <= letters ? content : all.slice(0, letters - 1).join("") + "…";
}

/** The whole picture. */
export function picture(width: number, height: number, title: string, parts: Markup[]): Markup {
  const head = element("title", {}, escapeText(title));
  const heading = text(title, width / 2, FONT.title + 8, {
    anchor: "middle",
    size: FONT.title,
    weight: "600",
  });
  const body = [
    head,
    element("rect", { width, height, fill: "#ffffff" }),
    ...title === "" ? [] : [heading],
    ...parts,
  ];
  return element("svg", {
    xmlns: "http://www.w3.org/2000/svg",
    width,
    height,
    viewBox: `0 0 ${pixel(width)} ${pixel(height)}`,
    role: "img",
    "font-family": "system-ui, sans-serif",
    fill: "#222222",
  }, body.join("\n"));
}

/** An axis over numbers, extended to round ones; over 0 to 1 where there are none. */
export function axisOf(
  values: readonly number[],
  [from, to]: readonly [number, number],
  spread: Spread,
): Axis {
  const [low, high] = extentOf(values);
  const [first, last] = low === high ? around(low, spread) : [low, high];
  const count = Math.max(2, Math.round(Math.abs(to - from) / 60));
  if (spread === "log") {
    const scale = scaleLog([first, last], [from, to]).nice();
    const format = scale.tickFormat(count, "~g");
    const ticks = scale.ticks(count).map((value) => ({ value, text: format(value) }));
    return { at: (value) => scale(value), ticks: ticks.filter((tick) => tick.text !== "") };
  }
  const scale = scaleLinear([first, last], [from, to]).nice(count);
  const largest = Math.max(Math.abs(first), Math.abs(last));
  const form = largest < 1e-3 ? "~e" : largest >= 1e6 ? "~s" : undefined;
  const format = scale.tickFormat(count, form);
  return {
    at: (value) => scale(value),
    ticks: scale.ticks(count).map((value) => ({ value, text: format(value) })),
  };
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
  const widest = Math.max(0, ...y.ticks.map((tick) => textWidth(tick.text, FONT.tick)));
  return [
    ...y.ticks.flatMap((tick) => {
      const at = y.at(tick.value);
      return [
        element("line", { x1: left, x2: right, y1: at, y2: at, ...grid }),
        text(tick.text, left - 8, at + FONT.tick / 3, { anchor: "end" }),
      ];
    }),
    ...x.ticks.flatMap((tick) => {
      const at = x.at(tick.value);
      return [
        element("line", { x1: at, x2: at, y1: top, y2: bottom, ...grid }),
        text(tick.text, at, bottom + FONT.tick + 6, { anchor: "middle" }),
      ];
    }),
    element("path", {
      d: `M${pixel(left)} ${pixel(top)}V${pixel(bottom)}H${pixel(right)}`,
      fill: "none",
      stroke: "#444444",
    }),
    text(xLabel, (left + right) / 2, bottom + FONT.tick + FONT.label + 14, middle),
    text(yLabel, left - widest - 20, (top + bottom) / 2, { ...middle, rotate: -90 }),
  ].join("\n");
}

/** Colour and pattern of the n-th line. */
export function lineStyle(index: number): { stroke: string; "stroke-dasharray"?: string } {
  const dash = DASHES[Math.floor(index / COLOURS.length) % DASHES.length];
  const stroke = COLOURS[index % COLOURS.length];
  return dash === "" ? { stroke } : { stroke, "stroke-dasharray": dash };
}

/** Room to the left of a box for the numbers and the label of an axis. */
export function leftRoom(axis: Axis): number {
  const widest = Math.max(0, ...axis.ticks.map((tick) => textWidth(tick.text, FONT.tick)));
  return widest + 20 + FONT.label + 6;
}

/** A pixel with at most two decimals. */
export function pixel(value: number): string {
  return String(Math.round(value * 100) / 100);
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

function around(value: number, spread: Spread): [number, number] {
  if (spread === "log") return [value / 2, value * 2];
  const room = value === 0 ? 1 : Math.abs(value) / 2;
  return [value - room, value + room];
}

/** A size in pixels, if it leaves room for a chart. */
export function checkSize(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 120 && value <= 20_000) return value;
  throw new RangeError(
    `Cannot draw a chart with ${name} ${value}: expected a number from 120 to 20000`,
  );
}
