/** One picture in memory, and how it changes its channels and size. */

import { checkCount } from "./checks.ts";

/** A picture: 8 bits for each value, channels last. */
export interface PixelImage {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. */
  readonly channels: number;
  /** Values, `[height, width, channels]` in row-major order, 0 to 255. */
  readonly data: Uint8Array;
}

/**
 * Checks a picture.
 *
 * @param action what cannot be done otherwise
 * @param image the picture
 * @throws {RangeError} when a size is out of range, or there are not as many values
 */
export function checkImage(action: string, image: PixelImage): void {
  const { width, height, channels, data } = image;
  checkCount(action, "width", width, 1, 65_535);
  checkCount(action, "height", height, 1, 65_535);
  checkCount(action, "channels", channels, 1, 4);
  if (data.length === width * height * channels) return;
  throw new RangeError(
    `Cannot ${action} as ${height} × ${width} pixels of ${channels} channels need ` +
      `${width * height * channels} values: got ${data.length}`,
  );
}

/**
 * Gives a picture other channels, as Pillow's `convert` does: grey is repeated, colour becomes
 * `0.299 R + 0.587 G + 0.114 B`, alpha is dropped or 255.
 *
 * @param image the picture
 * @param channels 1 grey, 3 RGB, 4 RGB and alpha
 * @returns the picture itself where it has them already, else a new one
 */
export function withChannels(image: PixelImage, channels: number): PixelImage {
  if (image.channels === channels) return image;
  const { width, height, data, channels: own } = image;
  const area = width * height;
  const values = new Uint8Array(area * channels);
  const isGrey = own < 3;
  const hasAlpha = own % 2 === 0;
  for (let i = 0; i < area; i++) {
    const at = i * own;
    const [r, g, b] = isGrey
      ? [data[at], data[at], data[at]]
      : [data[at], data[at + 1], data[at + 2]];
    const to = i * channels;
    if (channels === 1) {
      values[to] = isGrey ? r : (r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >>> 16;
      continue;
    }
    values[to] = r;
    values[to + 1] = g;
    values[to + 2] = b;
    if (channels === 4) values[to + 3] = hasAlpha ? data[at + own - 1] : 255;
  }
  return { width, height, channels, data: values };
}

/**
 * Resizes a picture by a triangle filter that grows with the reduction, so that nothing aliases:
 * Pillow's `BILINEAR`, PyTorch's `interpolate(mode="bilinear", antialias=True)`.
 *
 * Rows and columns are filtered one after the other in double precision and rounded once, where
 * Pillow rounds twice: values may differ from its by 1.
 *
 * @param image the picture
 * @param height rows of the result
 * @param width columns of the result
 * @returns the picture itself where it has that size already, else a new one
 */
export function resized(image: PixelImage, height: number, width: number): PixelImage {
  if (image.height === height && image.width === width) return image;
  const { channels, data } = image;
  const columns = filterTaps(image.width, width);
  const rows = filterTaps(image.height, height);
  const between = new Float64Array(image.height * width * channels);
  for (let y = 0, to = 0; y < image.height; y++) {
    for (const { first, weights } of columns) {
      const from = (y * image.width + first) * channels;
      for (let c = 0; c < channels; c++) {
        between[to++] = weighted(data, from + c, channels, weights);
      }
    }
  }
  const values = new Uint8Array(height * width * channels);
  const stride = width * channels;
  rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < stride; x++) {
      values[y * stride + x] = Math.round(weighted(between, first * stride + x, stride, weights));
    }
  });
  return { width, height, channels, data: values };
}

interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

/** Which values each place of the result is made of; the weights of a place sum to 1. */
function filterTaps(from: number, to: number): Taps[] {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const last = Math.min(from, Math.floor(centre + support + 0.5));
    const raw = Array.from(
      { length: last - first },
      (_, k) => Math.max(0, 1 - Math.abs((first + k + 0.5 - centre) / support)),
    );
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: raw.map((weight) => weight / sum) };
  });
}

function weighted(
  values: ArrayLike<number>,
  at: number,
  stride: number,
  weights: readonly number[],
): number {
  let sum = 0;
  for (let k = 0; k < weights.length; k++) sum += weights[k] * values[at + k * stride];
  return sum;
}
