/** A data set of digits that are drawn by code: for programs that have no files and no network. */

import { Key } from "../core/tensor/random.ts";
import { checkCount } from "./checks.ts";
import { type Glyph, glyphs, type Point, type Stroke } from "./digit_strokes.ts";
import { ImageDataset } from "./image_dataset.ts";
import { KeyedStream } from "./order.ts";

/** Options of {@linkcode digits}. */
export interface DigitsOptions {
  /** Which part; the two have no image in common. */
  readonly split: "train" | "test";
  /** Number of images, 0 to 1,000,000. Default: 10,000 for training, 2,000 for testing. */
  readonly count?: number;
  /** Seed, a whole number from 0 to 2^53 - 1. Default: 0. */
  readonly seed?: number;
}

const side = 28;

/**
 * Draws 28×28 grey images of the digits 0 to 9.
 *
 * Each image is one of several ways to write its digit, with its points moved, then turned, scaled,
 * sheared and shifted at random, drawn with a pen of random width and darkness, and covered with
 * noise. Image i has the class i mod 10 and depends on seed, split and i alone: a longer data set
 * begins with the shorter one.
 *
 * These are not handwritten digits: an accuracy on them says that training works, and nothing about
 * MNIST.
 *
 * @param options split, count, seed
 * @returns images `[1, 28, 28]`, white on black like MNIST's
 * @throws {RangeError} when the split, the count or the seed is out of range
 *
 * @example
 * ```ts
 * import { digits } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const train = digits({ split: "train", count: 20, seed: 1 });
 * assertEquals([train.count, train.shape, train.labels[13]], [20, [1, 28, 28], 3]);
 * ```
 */
export function digits(options: DigitsOptions): ImageDataset {
  const { split, seed = 0 } = options;
  if (split !== "train" && split !== "test") {
    throw new RangeError(`Cannot draw digits as split must be "train" or "test": got "${split}"`);
  }
  const count = options.count ?? (split === "train" ? 10_000 : 2_000);
  checkCount("draw digits", "count", count, 0, 1_000_000);
  checkCount("draw digits", "seed", seed, 0);
  const key = new Key(seed).fold(`digits ${split}`);
  const images = new Uint8Array(count * side * side);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
  for (let i = 0; i < count; i++) {
    const image = images.subarray(i * side * side, (i + 1) * side * side);
    drawDigit(labels[i], new KeyedStream(key, i), image);
  }
  return new ImageDataset({
    name: `digits ${split}`,
    images,
    labels,
    shape: [1, side, side],
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    normalization: { mean: 0.11, std: 0.25 },
  });
}

function drawDigit(digit: number, random: KeyedStream, image: Uint8Array): void {
  const choices = glyphs[digit];
  const glyph = choices[Math.floor(random.uniform() * choices.length)];
  const place = randomPlacement(random);
  const lines = moved(glyph, random).map((stroke) => flatten(stroke).map(place));
  const radius = between(random, 0.7, 1.9);
  const distances = distanceField(lines, radius + 2);
  ink(distances, radius, random, image);
}

// Every point moves by itself, but the two halves of a corner stay together
function moved(glyph: Glyph, random: KeyedStream): Stroke[] {
  const amount = between(random, 0.015, 0.045);
  return glyph.map((stroke) => {
    let previous: Point | undefined;
    let point: Point = [0, 0];
    return stroke.map((at) => {
      if (previous === undefined || at[0] !== previous[0] || at[1] !== previous[1]) {
        point = [at[0] + amount * random.normal(), at[1] + amount * random.normal()];
      }
      previous = at;
      return point;
    });
  });
}

function randomPlacement(random: KeyedStream): (point: Point) => Point {
  const angle = clamp(random.normal() * 7, -14, 14) * Math.PI / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const size = between(random, 0.85, 1.12) * 21;
  const [width, height] = [size * between(random, 0.78, 1.15), size];
  const shear = clamp(random.normal() * 0.16, -0.4, 0.4);
  const [shiftX, shiftY] = [between(random, -2.2, 2.2), between(random, -1.8, 1.8)];
  return ([x, y]) => {
    const v = (y - 0.5) * height;
    const u = (x - 0.5) * width - shear * v;
    return [side / 2 + shiftX + cos * u - sin * v, side / 2 + shiftY + sin * u + cos * v];
  };
}

const stepsPerSpan = 6;

// Catmull-Rom splines between corners, as lines of a few pixels
function flatten(stroke: Stroke): Point[] {
  const line: Point[] = [];
  for (const part of splitAtCorners(stroke)) {
    for (let span = 0; span + 1 < part.length; span++) {
      const [a, b, c, d] = [-1, 0, 1, 2].map((by) => part[clamp(span + by, 0, part.length - 1)]);
      const steps = part.length === 2 ? 1 : stepsPerSpan;
      for (let step = line.length === 0 ? 0 : 1; step <= steps; step++) {
        const t = step / steps;
        line.push([spline(a[0], b[0], c[0], d[0], t), spline(a[1], b[1], c[1], d[1], t)]);
      }
    }
  }
  return line;
}

function splitAtCorners(stroke: Stroke): Stroke[] {
  const parts: Point[][] = [[]];
  stroke.forEach((point, i) => {
    if (i > 0 && point === stroke[i - 1]) parts.push([]);
    parts.at(-1)!.push(point);
  });
  return parts;
}

function spline(a: number, b: number, c: number, d: number, t: number): number {
  const slope = c - a;
  const square = 2 * a - 5 * b + 4 * c - d;
  const cube = 3 * (b - c) + d - a;
  return b + 0.5 * t * (slope + t * (square + t * cube));
}

// Distance of each pixel's centre to the nearest line, in pixels; only exact below `reach`
function distanceField(lines: readonly Point[][], reach: number): Float64Array {
  const squares = new Float64Array(side * side).fill(reach * reach);
  for (const line of lines) {
    for (let i = 0; i + 1 < line.length; i++) spread(squares, line[i], line[i + 1], reach);
  }
  return squares.map(Math.sqrt);
}

function spread(squares: Float64Array, from: Point, to: Point, reach: number): void {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const scale = 1 / Math.max(dx * dx + dy * dy, 1e-12);
  const left = clamp(Math.floor(Math.min(from[0], to[0]) - reach), 0, side);
  const right = clamp(Math.ceil(Math.max(from[0], to[0]) + reach), 0, side);
  const top = clamp(Math.floor(Math.min(from[1], to[1]) - reach), 0, side);
  const bottom = clamp(Math.ceil(Math.max(from[1], to[1]) + reach), 0, side);
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const [px, py] = [column + 0.5 - from[0], row + 0.5 - from[1]];
      const t = clamp((px * dx + py * dy) * scale, 0, 1);
      const square = (px - t * dx) ** 2 + (py - t * dy) ** 2;
      const at = row * side + column;
      if (square < squares[at]) squares[at] = square;
    }
  }
}

function ink(
  distances: Float64Array,
  radius: number,
  random: KeyedStream,
  image: Uint8Array,
): void {
  const softness = between(random, 0.8, 1.6);
  const dark = between(random, 170, 255);
  const noise = random.uniform() ** 2 * 36;
  let bits = 0;
  for (let at = 0; at < image.length; at++) {
    if (at % 2 === 0) bits = random.words()[0];
    const half = at % 2 === 0 ? bits & 0xffff : bits >>> 16;
    // The sum of two uniform bytes: a cheap bell, from -1 to 1
    const bell = ((half & 0xff) + (half >>> 8)) / 255 - 1;
    const coverage = clamp((radius - distances[at]) / softness + 0.5, 0, 1);
    image[at] = clamp(Math.round(dark * coverage + noise * bell), 0, 255);
  }
}

function between(random: KeyedStream, low: number, high: number): number {
  return low + (high - low) * random.uniform();
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
