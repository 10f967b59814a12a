/** A data set of colour images that are drawn by code: for programs without files or network. */

import { Key } from "../core/tensor/random.ts";
import { checkCount } from "./checks.ts";
import { ImageDataset } from "./image_dataset.ts";
import { KeyedStream } from "./order.ts";
import { type Distance, shapeClasses, shapeDistances } from "./shape_distances.ts";

/** Options of {@linkcode shapes}. */
export interface ShapesOptions {
  /** Which part; the two have no image in common. */
  readonly split: "train" | "test";
  /** Number of images, 0 to 1,000,000. Default: 10,000 for training, 2,000 for testing. */
  readonly count?: number;
  /** Seed, a whole number from 0 to 2^53 - 1. Default: 0. */
  readonly seed?: number;
}

const side = 32;
const area = side * side;

/**
 * Draws 32×32 colour images of ten shapes.
 *
 * The class is the shape alone: colours, textures of shape and background, place, size, angle and
 * noise are drawn at random; all that holds is that the shape is lighter than what is behind it. A
 * linear model stays far behind a small convolutional network here, as it does on CIFAR. Image i has
 * the class i mod 10 and depends on seed, split and i alone: a longer data set begins with the
 * shorter one.
 *
 * An accuracy on them says that training works, and nothing about CIFAR.
 *
 * @param options split, count, seed
 * @returns images `[3, 32, 32]`
 * @throws {RangeError} when the split, the count or the seed is out of range
 *
 * @example
 * ```ts
 * import { shapes } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const train = shapes({ split: "train", count: 20, seed: 1 });
 * assertEquals([train.count, train.shape], [20, [3, 32, 32]]);
 * assertEquals(train.classes[train.labels[13]], "triangle");
 * ```
 */
export function shapes(options: ShapesOptions): ImageDataset {
  const { split, seed = 0 } = options;
  if (split !== "train" && split !== "test") {
    throw new RangeError(`Cannot draw shapes as split must be "train" or "test": got "${split}"`);
  }
  const count = options.count ?? (split === "train" ? 10_000 : 2_000);
  checkCount("draw shapes", "count", count, 0, 1_000_000);
  checkCount("draw shapes", "seed", seed, 0);
  const key = new Key(seed).fold(`shapes ${split}`);
  const images = new Uint8Array(count * 3 * area);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
  for (let i = 0; i < count; i++) {
    const image = images.subarray(i * 3 * area, (i + 1) * 3 * area);
    drawImage(shapeDistances[labels[i]], new KeyedStream(key, i), image);
  }
  return new ImageDataset({
    name: `shapes ${split}`,
    images,
    labels,
    shape: [3, side, side],
    classes: shapeClasses,
    normalization: { mean: 0.403, std: 0.247 },
  });
}

type Point = [number, number];
type Colour = readonly [number, number, number];
/** How much of a texture's second colour a pixel has, from 0 to 1. */
type Texture = (x: number, y: number) => number;

function drawImage(distance: Distance, random: KeyedStream, image: Uint8Array): void {
  const [ink, paper] = contrasting(random);
  const front = surface(ink, random);
  const back = surface(paper, random);
  const radius = between(random, 8, 12.5);
  const place = placement(radius, random);
  const noise = between(random, 4, 20);
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at++) {
      const [u, v] = place(x + 0.5, y + 0.5);
      const cover = clamp(0.5 - radius * distance(u, v), 0, 1);
      const [a, b] = [front(x, y), back(x, y)];
      const bits = random.words()[0];
      for (let channel = 0; channel < 3; channel++) {
        const value = b[channel] + cover * (a[channel] - b[channel]);
        const grain = noise * (((bits >>> (10 * channel)) & 1023) / 511.5 - 1);
        image[channel * area + at] = clamp(Math.round(value + grain), 0, 255);
      }
    }
  }
}

// The shape is lighter than what is behind it, by enough to be seen under the noise
function contrasting(random: KeyedStream): [Colour, Colour] {
  const draw =
    (): Colour => [between(random, 15, 240), between(random, 15, 240), between(random, 15, 240)];
  const light = ([r, g, b]: Colour) => (r + g + b) / 3;
  for (let tries = 0; tries < 30; tries++) {
    const [first, second] = [draw(), draw()];
    const difference = light(first) - light(second);
    if (Math.abs(difference) >= 45) return difference > 0 ? [first, second] : [second, first];
  }
  return [[220, 220, 220], [60, 60, 60]];
}

/** A colour that goes over into a similar one by a random texture. */
function surface(colour: Colour, random: KeyedStream): (x: number, y: number) => Colour {
  const amount = between(random, 12, 38);
  const shift = colour.map(() => amount * (2 * random.uniform() - 1));
  const texture = randomTexture(random);
  return (x, y) => {
    const share = texture(x, y);
    return [
      colour[0] + share * shift[0],
      colour[1] + share * shift[1],
      colour[2] + share * shift[2],
    ];
  };
}

function randomTexture(random: KeyedStream): Texture {
  const kind = Math.floor(4 * random.uniform());
  const angle = 2 * Math.PI * random.uniform();
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const phase = 2 * Math.PI * random.uniform();
  const rate = 2 * Math.PI / between(random, 4, 10);
  if (kind === 0) return () => 0;
  if (kind === 1) return (x, y) => 0.5 + ((x - 16) * cos + (y - 16) * sin) / 44;
  if (kind === 2) return (x, y) => 0.5 + 0.5 * Math.sin(rate * (x * cos + y * sin) + phase);
  return (x, y) =>
    0.5 + 0.5 * Math.sin(rate * (x * cos + y * sin) + phase) * Math.sin(rate * (y * cos - x * sin));
}

// From pixels to the shape's own axes, in which its radius is about 1
function placement(radius: number, random: KeyedStream): (x: number, y: number) => Point {
  const angle = 2 * Math.PI * random.uniform();
  const [cos, sin] = [Math.cos(angle) / radius, Math.sin(angle) / radius];
  const reach = side / 2 - 0.8 * radius;
  const [left, top] = [between(random, -reach, reach), between(random, -reach, reach)];
  return (x, y) => {
    const [dx, dy] = [x - side / 2 - left, y - side / 2 - top];
    return [cos * dx + sin * dy, cos * dy - sin * dx];
  };
}

function between(random: KeyedStream, low: number, high: number): number {
  return low + (high - low) * random.uniform();
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
