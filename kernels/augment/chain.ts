/**
 * A chain of changes of colour of one pixel, as WGSL and in double precision. Pixels are from 0 to
 * 1; the formulas are torchvision's.
 */

import type { StridedOperand } from "../map.ts";
import { CODES } from "./colour_codes.ts";
import { cell, cellOf } from "./text.ts";

/** Shares of red, green and blue in the brightness of a pixel. */
export const GRAY = [0.2989, 0.587, 0.114] as const;

/** A hair more than a half, since quotients of levels often lie on a half, and rounding may move them. */
const ROUNDING = 0.5 + 2 ** -11;

/** Up to four changes of each image, and where its row names them. */
export interface Chain {
  /** Codes that may come. */
  readonly codes: readonly number[];
  /** Changes, one after the other. */
  readonly slots: number;
  /** f32 over [N, 8]. */
  readonly rows: StridedOperand;
  /** First of 2·slots columns: code and strength of each change. */
  readonly column: number;
  /** 1 or 3. */
  readonly channels: number;
}

/** Identity of a chain, without its operand. */
export function chainKey({ codes, slots, column, channels }: Chain): string {
  return `${codes}|${slots}|${column}|${channels}`;
}

/** What changes need to know of the whole image, as texts; `level` is the value of LUT entry. */
export interface ChainTexts {
  readonly mean: string;
  /** Smallest and largest value of a channel. */
  readonly low: (c: number) => string;
  readonly high: (c: number) => string;
  /** What equalizing makes of a level. */
  readonly level: (c: number, level: string) => string;
  /** The mean of the neighbourhood. */
  readonly blurred: (c: number) => string;
}

/** Functions that the statements of a chain call. */
export const chainFunctions = `fn unit(x: f32) -> f32 { return clamp(x, 0.0, 1.0); }
fn level_of(x: f32) -> u32 { return u32(floor(unit(x) * 255.0 + ${ROUNDING})); }
fn gray(r: f32, g: f32, b: f32) -> f32 { return ${GRAY[0]} * r + ${GRAY[1]} * g + ${GRAY[2]} * b; }
fn hue_of(r: f32, g: f32, b: f32, most: f32, span: f32) -> f32 {
  let red = (most - r) / span;
  let green = (most - g) / span;
  let blue = (most - b) / span;
  let sector = select(select(4.0 + green - red, 2.0 + red - blue, most == g), blue - green, most == r);
  let turns = sector / 6.0 + 1.0;
  return turns - floor(turns);
}
fn hue_channel(sector: u32, order: u32, v: f32, p: f32, q: f32, t: f32) -> f32 {
  let place = (sector + order) % 6u;
  let outer = select(q, v, place == 0u || place == 5u);
  let inner = select(t, p, place == 2u || place == 3u);
  return select(outer, inner, place >= 2u && place <= 4u);
}`;

/** The variables of a pixel's channels. */
const NAMES = ["r", "g", "b"] as const;

/**
 * Statements that change the variables r (g, b) of the pixel of image `n`.
 *
 * @param texts null to stop before a change of contrast, which is when its mean is taken
 */
export function chainText(chain: Chain, texts: ChainTexts | null): string {
  const { codes, slots, rows, column, channels } = chain;
  const names = NAMES.slice(0, channels);
  const lines = Array.from({ length: slots }, (_, slot) => {
    const code = `code${slot}`;
    const parts = codes.filter((value) => value !== 0).map((value) => {
      if (value === CODES.contrast && texts === null) {
        return `  if (${code} == ${value}u) { open = false; }`;
      }
      const body = changeText(value, names, `strength${slot}`, texts);
      if (body === "") return "";
      const open = texts === null && codes.includes(CODES.contrast) && slots > 1 ? " && open" : "";
      return `  if (${code} == ${value}u${open}) {\n${body}\n  }`;
    });
    return `  let code${slot} = u32(${cell("rows", rows, column + 2 * slot)});
  let strength${slot} = ${cell("rows", rows, column + 2 * slot + 1)};
${parts.join("\n")}`;
  });
  return ["  var open = true;", ...lines].join("\n");
}

function changeText(
  code: number,
  names: readonly string[],
  f: string,
  texts: ChainTexts | null,
): string {
  const each = (value: (x: string, c: number) => string) =>
    names.map((x, c) => `    ${x} = ${value(x, c)};`).join("\n");
  switch (code) {
    case CODES.brightness:
      return each((x) => `unit(${f} * ${x})`);
    case CODES.contrast:
      return each((x) => `unit(${f} * ${x} + (1.0 - ${f}) * ${texts!.mean})`);
    case CODES.saturation:
      if (names.length === 1) return "";
      return `    let dull = gray(r, g, b);\n${
        each((x) => `unit(${f} * ${x} + (1.0 - ${f}) * dull)`)
      }`;
    case CODES.hue:
      return names.length === 1 ? "" : hueText(f);
    case CODES.grayscale:
      if (names.length === 1) return "";
      return `    let dull = gray(r, g, b);\n${each(() => "dull")}`;
    case CODES.invert:
      return each((x) => `1.0 - ${x}`);
    case CODES.posterize:
      return `    let mask = 255u - ((1u << (8u - u32(${f}))) - 1u);\n${
        each((x) => `f32(level_of(${x}) & mask) / 255.0`)
      }`;
    case CODES.solarize:
      return each((x) => `select(${x}, 1.0 - ${x}, ${x} >= ${f})`);
    case CODES.autocontrast:
      if (texts === null) return "";
      return each((x, c) => {
        const [low, high] = [texts.low(c), texts.high(c)];
        return `select(unit(${x}), unit((${x} - ${low}) / (${high} - ${low})), ${high} > ${low})`;
      });
    case CODES.equalize:
      return texts === null ? "" : each((x, c) => texts.level(c, `level_of(${x})`));
    case CODES.sharpness:
      if (texts === null) return "";
      return each((x, c) => `unit(${f} * ${x} + (1.0 - ${f}) * ${texts.blurred(c)})`);
    default:
      throw new Error(`internal: no change of colour has the code ${code}`);
  }
}

function hueText(f: string): string {
  return `    let most = max(r, max(g, b));
    let least = min(r, min(g, b));
    let same = most == least;
    let span = most - least;
    let sat = select(span / most, 0.0, same);
    let moved = select(hue_of(r, g, b, most, span), 0.0, same) + ${f};
    let six = (moved - floor(moved)) * 6.0;
    let sector = u32(six);
    let rest = six - floor(six);
    let p = unit(most * (1.0 - sat));
    let q = unit(most * (1.0 - sat * rest));
    let t = unit(most * (1.0 - sat * (1.0 - rest)));
    r = hue_channel(sector, 0u, most, p, q, t);
    g = hue_channel(sector, 4u, most, p, q, t);
    b = hue_channel(sector, 2u, most, p, q, t);`;
}

/** What changes need to know of the whole image. */
export interface ChainFacts {
  readonly mean: number;
  readonly low: (c: number) => number;
  readonly high: (c: number) => number;
  readonly level: (c: number, level: number) => number;
  readonly blurred: (c: number) => number;
}

/** The changed pixel, in place; without facts it stops before a change of contrast. */
export function changePixel(
  chain: Chain,
  rows: Float64Array,
  n: number,
  pixel: number[],
  facts: ChainFacts | null,
): void {
  for (let slot = 0; slot < chain.slots; slot++) {
    const code = cellOf(rows, chain.rows, n, chain.column + 2 * slot);
    if (code === CODES.contrast && facts === null) return;
    changeBy(code, cellOf(rows, chain.rows, n, chain.column + 2 * slot + 1), pixel, facts);
  }
}

function unit(x: number): number {
  return Math.min(1, Math.max(0, x));
}

/** The brightness of a pixel. */
export function grayOf(pixel: readonly number[]): number {
  if (pixel.length === 1) return pixel[0];
  return GRAY[0] * pixel[0] + GRAY[1] * pixel[1] + GRAY[2] * pixel[2];
}

/** The level of a byte that a value stands for. */
export function levelOf(x: number): number {
  return Math.floor(unit(x) * 255 + ROUNDING);
}

function changeBy(code: number, f: number, pixel: number[], facts: ChainFacts | null): void {
  const each = (change: (x: number, c: number) => number) => {
    for (let c = 0; c < pixel.length; c++) pixel[c] = change(pixel[c], c);
  };
  const toward = (goal: number) => each((x) => unit(f * x + (1 - f) * goal));
  const coloured = pixel.length > 1;
  if (code === CODES.brightness) each((x) => unit(f * x));
  else if (code === CODES.contrast) toward(facts!.mean);
  else if (code === CODES.saturation && coloured) toward(grayOf(pixel));
  else if (code === CODES.hue && coloured) turnHue(pixel, f);
  else if (code === CODES.grayscale && coloured) pixel.fill(grayOf(pixel));
  else if (code === CODES.invert) each((x) => 1 - x);
  else if (code === CODES.posterize) {
    const mask = 256 - 2 ** (8 - f);
    each((x) => (levelOf(x) & mask) / 255);
  } else if (code === CODES.solarize) each((x) => x >= f ? 1 - x : x);
  else if (facts !== null) changeByFacts(code, f, pixel, facts);
}

function changeByFacts(code: number, f: number, pixel: number[], facts: ChainFacts): void {
  for (let c = 0; c < pixel.length; c++) {
    const x = pixel[c];
    if (code === CODES.autocontrast) {
      const [low, high] = [facts.low(c), facts.high(c)];
      pixel[c] = unit(high > low ? (x - low) / (high - low) : x);
    } else if (code === CODES.equalize) pixel[c] = facts.level(c, levelOf(x));
    else if (code === CODES.sharpness) pixel[c] = unit(f * x + (1 - f) * facts.blurred(c));
  }
}

function turnHue(pixel: number[], by: number): void {
  const [r, g, b] = pixel;
  const [most, least] = [Math.max(r, g, b), Math.min(r, g, b)];
  const span = most - least;
  let sector = 0;
  if (span > 0) {
    const [red, green, blue] = pixel.map((x) => (most - x) / span);
    sector = most === r ? blue - green : most === g ? 2 + red - blue : 4 + green - red;
  }
  const turns = sector / 6 + 1 + by;
  const six = (turns - Math.floor(turns)) * 6;
  const [i, rest] = [Math.floor(six) % 6, six - Math.floor(six)];
  const sat = span > 0 ? span / most : 0;
  const p = unit(most * (1 - sat));
  const q = unit(most * (1 - sat * rest));
  const t = unit(most * (1 - sat * (1 - rest)));
  const wheel = [most, q, p, p, t, most];
  pixel[0] = wheel[i];
  pixel[1] = wheel[(i + 4) % 6];
  pixel[2] = wheel[(i + 2) % 6];
}
