/** What charts are put together of: elements, texts, sizes and colours. */

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

/** How large a picture is, and what it is called and tells. */
export interface PictureHead {
  readonly width: number;
  readonly height: number;
  /** What stands above, and what screen readers say first; "" for nothing. */
  readonly title: string;
  /** What the picture shows, in words, for those who do not see it. */
  readonly description: string;
}

/** The whole picture. */
export function picture(
  { width, height, title, description }: PictureHead,
  parts: readonly Markup[],
): Markup {
  const heading = text(title, width / 2, FONT.title + 8, {
    anchor: "middle",
    size: FONT.title,
    weight: "600",
  });
  const body = [
    element("title", {}, escapeText(title === "" ? "Chart" : title)),
    element("desc", {}, escapeText(description)),
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

/** Colour and pattern of the n-th line. */
export function lineStyle(index: number): { stroke: string; "stroke-dasharray"?: string } {
  const dash = DASHES[Math.floor(index / COLOURS.length) % DASHES.length];
  const stroke = COLOURS[index % COLOURS.length];
  return dash === "" ? { stroke } : { stroke, "stroke-dasharray": dash };
}

/** A pixel with at most two decimals. */
export function pixel(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** A size in pixels, if it leaves room for a chart. */
export function checkSize(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 120 && value <= 20_000) return value;
  throw new RangeError(
    `Cannot draw a chart with ${name} ${value}: expected a number from 120 to 20000`,
  );
}
