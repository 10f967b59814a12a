/** The structure of a PNG file, checked before anything is decoded. */

/** What a PNG file says of itself. */
export interface PngStructure {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Bits of a value: 1, 2, 4, 8 or 16. */
  readonly depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha. */
  readonly colorType: number;
  /** The same picture without chunks that say nothing of its pixels. */
  readonly file: Uint8Array<ArrayBuffer>;
  /** The packed pixels. */
  readonly packed: Uint8Array<ArrayBuffer>;
  /** Bytes that the pixels must unpack to. */
  readonly unpackedBytes: number;
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const valuesOfPixel: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const depths: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/**
 * Whether data starts as a PNG file does.
 *
 * @param bytes the data
 * @returns true when it has the signature
 */
export function isPng(bytes: Uint8Array): boolean {
  return signature.every((byte, i) => bytes[i] === byte);
}

/**
 * Walks over the chunks of a PNG file.
 *
 * @param bytes the whole file
 * @param maxPixels most pixels that it may have
 * @param crc CRC-32 of bytes
 * @returns sizes, and the chunks that pixels need
 * @throws {SyntaxError} with the reason when the file is cut short, a checksum is wrong, or the
 * header is invalid
 */
export function pngStructure(
  bytes: Uint8Array,
  maxPixels: number,
  crc: (bytes: Uint8Array) => number,
): PngStructure {
  const chunks = chunksOf(bytes, crc);
  if (chunks[0]?.type !== "IHDR" || chunks[0].data.length !== 13) {
    throw new SyntaxError("its first chunk must be an IHDR of 13 bytes");
  }
  const header = headerOf(chunks[0].data, maxPixels);
  const kept = chunks.filter(({ type }) => kinds.includes(type));
  for (const { type } of chunks) {
    // A capital first letter says that the picture cannot be shown without it
    if (!kinds.includes(type) && type < "a") throw new SyntaxError(`chunk ${type} is not known`);
  }
  if (kept.filter(({ type }) => type === "IHDR").length > 1) {
    throw new SyntaxError("it must have one IHDR chunk: got more");
  }
  const data = kept.filter(({ type }) => type === "IDAT");
  if (data.length === 0) throw new SyntaxError("it has no IDAT chunk");
  const palette = kept.find(({ type }) => type === "PLTE");
  if (header.colorType === 3 && (palette === undefined || palette.data.length < 3)) {
    throw new SyntaxError("it has no palette");
  }
  return {
    ...header,
    file: joined([bytes.subarray(0, 8), ...kept.map(({ whole }) => whole)]),
    packed: joined(data.map(({ data }) => data)),
  };
}

const kinds = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"];

interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
  /** With length, type and checksum. */
  readonly whole: Uint8Array;
}

function chunksOf(bytes: Uint8Array, crc: (bytes: Uint8Array) => number): Chunk[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks: Chunk[] = [];
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const end = at + 12 + length;
    if (end > bytes.length) break;
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) throw new SyntaxError(`there is no chunk at byte ${at}`);
    if (crc(bytes.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw new SyntaxError(`the checksum of chunk ${type} at byte ${at} is wrong`);
    }
    chunks.push({
      type,
      data: bytes.subarray(at + 8, end - 4),
      whole: bytes.subarray(at, end),
    });
    if (type === "IEND") return chunks;
    at = end;
  }
  throw new SyntaxError("it is cut short");
}

function headerOf(
  data: Uint8Array,
  maxPixels: number,
): Pick<PngStructure, "width" | "height" | "depth" | "colorType" | "unpackedBytes"> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colorType, compression, filter, interlace] = data.subarray(8);
  if (width === 0 || height === 0 || width > 65_535 || height > 65_535) {
    throw new SyntaxError(`its sides must be from 1 to 65535: got ${height} × ${width}`);
  }
  if (width * height > maxPixels) {
    throw new SyntaxError(`it may have at most ${maxPixels} pixels: got ${height} × ${width}`);
  }
  if (!depths[colorType]?.includes(depth)) {
    throw new SyntaxError(`there is no colour type ${colorType} with ${depth} bits`);
  }
  if (compression !== 0 || filter !== 0 || interlace > 1) {
    throw new SyntaxError("its compression, filter or interlace method is not known");
  }
  if (interlace === 1 && depth < 8) {
    throw new SyntaxError(`interlaced pictures of ${depth} bits are not supported`);
  }
  const bits = valuesOfPixel[colorType] * depth;
  const unpackedBytes = (interlace === 1 ? passes : [[0, 0, 1, 1]]).reduce(
    (sum, [x, y, stepX, stepY]) => {
      const columns = Math.max(0, Math.ceil((width - x) / stepX));
      const rows = Math.max(0, Math.ceil((height - y) / stepY));
      return sum + (columns === 0 ? 0 : rows * (1 + Math.ceil(columns * bits / 8)));
    },
    0,
  );
  return { width, height, depth, colorType, unpackedBytes };
}

// Adam7: first column and row, and the steps between them
const passes = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
