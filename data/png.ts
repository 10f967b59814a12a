/** Pictures to PNG files, alone and as grids. */

import { checkCount } from "./checks.ts";
import { checkImage, type PixelImage } from "./pixel_image.ts";

/**
 * Encodes a picture as a PNG file, 8 bits for each value.
 *
 * @param image 1 grey, 2 grey and alpha, 3 RGB or 4 RGB and alpha channels, last in memory
 * @returns the bytes of the file
 * @throws {RangeError} when a size is out of range, or there are not as many values
 *
 * @example
 * ```ts
 * import { decodeImage, encodePng } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const data = new Uint8Array([0, 85, 170, 255]);
 * const file = await encodePng({ width: 2, height: 2, channels: 1, data });
 * assertEquals((await decodeImage(file)).data, data);
 * ```
 */
export async function encodePng(image: PixelImage): Promise<Uint8Array<ArrayBuffer>> {
  checkImage("encode a PNG", image);
  const { encode } = await import("fast-png");
  const { width, height, channels, data } = image;
  return new Uint8Array(encode({ width, height, channels, data, depth: 8 }));
}

/** Pictures for {@linkcode imageGrid}. */
export interface ImageStack {
  /**
   * Values, `[N, C, H, W]` in row-major order: bytes from 0 to 255, or numbers from 0 to 1 that are
   * clipped to that range.
   */
  readonly data: Uint8Array | Float32Array;
  /** N, C (1 grey or 3 RGB), H and W. */
  readonly shape: readonly number[];
}

/** Options of {@linkcode imageGrid}. */
export interface ImageGridOptions {
  /** Pictures in a row. Default: 8, or as many as there are. */
  readonly columns?: number;
  /** Pixels around each picture, not scaled. Default: 2. */
  readonly padding?: number;
  /** Screen pixels for each pixel. Default: 1. */
  readonly scale?: number;
  /** Grey level of the padding and of empty places, 0 to 255. Default: 0. */
  readonly background?: number;
}

/**
 * Lays pictures out in rows, as torchvision's `make_grid` does, and encodes them as one PNG file.
 *
 * @param images the pictures with their sizes
 * @param options columns, padding, scale, background
 * @returns the bytes of the file
 * @throws {RangeError} when a number is out of range, the shape is not of pictures, there are not as
 * many values, a value is not finite, or the grid has a side above 65,535 pixels
 *
 * @example
 * ```ts
 * import { decodeImage, digits, imageGrid } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const { images } = digits({ split: "train", count: 10 });
 * const file = await imageGrid({ data: images, shape: [10, 1, 28, 28] }, { columns: 5 });
 * const { width, height } = await decodeImage(file); // await Deno.writeFile("digits.png", file)
 * assertEquals([width, height], [5 * 30 + 2, 2 * 30 + 2]);
 * ```
 */
export async function imageGrid(
  images: ImageStack,
  options: ImageGridOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return await encodePng(layOut(images, options));
}

function layOut(images: ImageStack, options: ImageGridOptions): PixelImage {
  const action = "make an image grid";
  const [count, channels, rows, columns] = checkStack(action, images);
  const { padding = 2, scale = 1, background = 0 } = options;
  const across = options.columns ?? Math.min(8, count);
  checkCount(action, "columns", across, 1);
  checkCount(action, "padding", padding, 0);
  checkCount(action, "scale", scale, 1);
  checkCount(action, "background", background, 0, 255);
  const [cellWidth, cellHeight] = [columns * scale + padding, rows * scale + padding];
  const width = across * cellWidth + padding;
  const height = Math.ceil(count / across) * cellHeight + padding;
  // Before anything of that size is made
  checkCount(action, "the width of the grid", width, 1, 65_535);
  checkCount(action, "the height of the grid", height, 1, 65_535);
  checkCount(action, "the number of pixels", width * height, 1, 2 ** 28);
  const data = new Uint8Array(width * height * channels).fill(background);
  const levels = toLevels(action, images.data);
  for (let i = 0; i < count; i++) {
    const left = padding + (i % across) * cellWidth;
    const top = padding + Math.floor(i / across) * cellHeight;
    for (let y = 0; y < rows * scale; y++) {
      let to = ((top + y) * width + left) * channels;
      for (let x = 0; x < columns * scale; x++) {
        const pixel = Math.floor(y / scale) * columns + Math.floor(x / scale);
        for (let c = 0; c < channels; c++) {
          data[to++] = levels[(i * channels + c) * rows * columns + pixel];
        }
      }
    }
  }
  return { width, height, channels, data };
}

function checkStack(action: string, { data, shape }: ImageStack): readonly number[] {
  const isImages = shape.length === 4 &&
    shape.every((size) => Number.isInteger(size) && size > 0) &&
    (shape[1] === 1 || shape[1] === 3);
  if (!isImages) {
    throw new RangeError(
      `Cannot ${action} as the shape must be [N, 1 or 3, H, W]: got [${shape.join(", ")}]`,
    );
  }
  const size = shape.reduce((product, length) => product * length, 1);
  if (data.length === size) return shape;
  throw new RangeError(
    `Cannot ${action} as shape [${shape.join(", ")}] needs ${size} values: got ${data.length}`,
  );
}

function toLevels(action: string, data: Uint8Array | Float32Array): Uint8Array {
  if (data instanceof Uint8Array) return data;
  return Uint8Array.from(data, (value, i) => {
    if (!Number.isFinite(value)) {
      throw new RangeError(`Cannot ${action} as values must be finite: got ${value} at index ${i}`);
    }
    return Math.round(255 * Math.min(Math.max(value, 0), 1));
  });
}
