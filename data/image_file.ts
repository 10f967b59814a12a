/** Pictures from PNG and JPEG files. */

import type { decode as decodePngFile, DecodedPng } from "fast-png";
import type { decode as decodeJpegFile } from "jpeg-js";
import type { PixelImage } from "./pixel_image.ts";
import { isPng, type PngStructure, pngStructure } from "./png_chunks.ts";

/** Options of {@linkcode decodeImage}. */
export interface DecodeImageOptions {
  /** Name for messages. Default: "image". */
  readonly name?: string;
  /** Most pixels of the picture. Default: 67,108,864 (2^26). */
  readonly maxPixels?: number;
}

/** A picture that cannot be read. */
export class ImageError extends SyntaxError {
  /** "ImageError". */
  override readonly name = "ImageError";
}

/** Decodes a picture at once; made by {@linkcode imageDecoder}. */
export type ImageDecoder = (bytes: Uint8Array, options?: DecodeImageOptions) => PixelImage;

/**
 * Decodes a PNG or JPEG file.
 *
 * All kinds of PNG are read (grey, palette, RGB, with and without alpha, 1 to 16 bits), except
 * interlaced ones of fewer than 8 bits; 16 bits are rounded to 8, a transparent colour becomes an
 * alpha channel. JPEG, baseline and progressive, always gives RGB; what EXIF says of the orientation
 * is not applied, as in Pillow. A file that is cut short is an error, never half a picture.
 *
 * The decoders are loaded by the first call.
 *
 * @param bytes the whole file
 * @param options name for messages, most pixels
 * @returns the picture with the channels of the file
 * @throws {ImageError} when it is neither, corrupt, cut short, too large, or of an unsupported kind
 *
 * @example
 * ```ts
 * import { decodeImage, encodePng } from "@legoml/legoml/data";
 * import { assertEquals } from "@std/assert";
 *
 * const red = { width: 1, height: 1, channels: 3, data: new Uint8Array([255, 0, 0]) };
 * assertEquals(await decodeImage(await encodePng(red)), red);
 * ```
 */
export async function decodeImage(
  bytes: Uint8Array,
  options: DecodeImageOptions = {},
): Promise<PixelImage> {
  return (await imageDecoder())(bytes, options);
}

interface Libraries {
  readonly png: typeof decodePngFile;
  readonly jpeg: typeof decodeJpegFile;
  readonly crc: (bytes: Uint8Array) => number;
  readonly inflate: (bytes: Uint8Array, most: number) => Uint8Array;
}

/**
 * Loads the decoders.
 *
 * @returns decodes without waiting
 */
export async function imageDecoder(): Promise<ImageDecoder> {
  const [png, jpeg, zlib] = await Promise.all([
    import("fast-png"),
    import("jpeg-js"),
    import("node:zlib"),
  ]);
  const libraries: Libraries = {
    png: png.decode,
    jpeg: jpeg.decode,
    crc: (bytes) => zlib.crc32(bytes),
    inflate: (bytes, most) => zlib.inflateSync(bytes, { maxOutputLength: most }),
  };
  return (bytes, { name = "image", maxPixels = 2 ** 26 } = {}) => {
    const what = `Cannot read "${name}"`;
    try {
      if (isPng(bytes)) return readPng(bytes, maxPixels, libraries);
      if (bytes[0] === 0xff && bytes[1] === 0xd8) return readJpeg(bytes, maxPixels, libraries.jpeg);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const kind = isPng(bytes) ? "PNG" : "JPEG";
      throw new ImageError(`${what} as it is no valid ${kind}: ${reason}`, { cause });
    }
    const start = bytes.subarray(0, 4);
    throw new ImageError(
      `${what} as it must be a PNG or JPEG file: ` +
        (start.length === 0 ? "got nothing" : `it begins with bytes ${start.toHex()}`),
    );
  };
}

function readPng(bytes: Uint8Array, maxPixels: number, libraries: Libraries): PixelImage {
  const structure = pngStructure(bytes, maxPixels, libraries.crc);
  const { unpackedBytes, packed } = structure;
  // The decoder takes what it gets: checksum and length of the pixels are checked here
  const unpacked = libraries.inflate(packed, unpackedBytes + 1).length;
  if (unpacked !== unpackedBytes) {
    throw new SyntaxError(`its pixels must unpack to ${unpackedBytes} bytes: got ${unpacked}`);
  }
  return toBytes(structure, libraries.png(structure.file, { checkCrc: false }));
}

function toBytes({ width, height, depth, colorType }: PngStructure, png: DecodedPng): PixelImage {
  const levels = unpackBits(png, width, height, depth);
  const scale = 255 / (2 ** depth - 1);
  if (colorType === 3) return fromPalette(png, levels, width, height);
  const { channels, transparency: clear } = png;
  const area = width * height;
  const total = clear === undefined ? channels : channels + 1;
  const data = new Uint8Array(area * total);
  for (let i = 0; i < area; i++) {
    let isClear = clear !== undefined;
    for (let c = 0; c < channels; c++) {
      const level = levels[i * channels + c];
      data[i * total + c] = Math.round(level * scale);
      isClear &&= level === clear![c];
    }
    if (clear !== undefined) data[i * total + channels] = isClear ? 0 : 255;
  }
  return { width, height, channels: total, data };
}

function fromPalette(
  { palette = [] }: DecodedPng,
  indices: ArrayLike<number>,
  width: number,
  height: number,
): PixelImage {
  const channels = palette[0].length;
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const colour = palette[indices[i]];
    if (colour === undefined) {
      throw new SyntaxError(`its palette has ${palette.length} colours: got number ${indices[i]}`);
    }
    data.set(colour, i * channels);
  }
  return { width, height, channels, data };
}

// Rows of fewer than 8 bits a value begin at a byte each
function unpackBits(
  { data, channels }: DecodedPng,
  width: number,
  height: number,
  depth: number,
): ArrayLike<number> {
  if (depth >= 8) return data;
  const values = new Uint8Array(width * height * channels);
  const rowBytes = Math.ceil(width * depth / 8);
  const mask = 2 ** depth - 1;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      values[to++] = (data[y * rowBytes + (bit >> 3)] >> (8 - depth - (bit & 7))) & mask;
    }
  }
  return values;
}

function readJpeg(bytes: Uint8Array, maxPixels: number, decode: Libraries["jpeg"]): PixelImage {
  checkJpegEnd(bytes);
  const { width, height, data } = decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    tolerantDecoding: false,
    maxResolutionInMP: maxPixels / 1e6,
    maxMemoryUsageInMB: 64 + maxPixels * 24 / 2 ** 20,
  });
  if (!(width >= 1 && height >= 1)) {
    throw new SyntaxError(`its sides must be from 1: got ${height} × ${width}`);
  }
  return { width, height, channels: 3, data };
}

// The decoder reads zeros after the end; the end marker cannot stand inside packed pixels
function checkJpegEnd(bytes: Uint8Array): void {
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    if (bytes[at + 1] === 0xff) at++;
    else at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  for (let end = bytes.length - 2; end > at; end--) {
    if (bytes[end] === 0xff && bytes[end + 1] === 0xd9) return;
  }
  throw new SyntaxError("it is cut short");
}
