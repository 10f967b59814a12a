/**
 * Batches of images from bytes: picking, unpacking, normalising and augmenting in one kernel.
 *
 * Pixels lie four to a word, the first in the lowest byte, in the order [H, W, C]; every image
 * begins at a word. A table gives the value of each of the 256 levels, so that results are those of
 * the host's arithmetic, bit for bit.
 */

import { operandKey, type StridedOperand } from "./map.ts";
import { threefry2x32, threefryFunction } from "./threefry.ts";
import { type DeviceTraits, intern, type Kernel, type WgslProgram } from "./types.ts";
import { address, type Binding, grid, perThread, shader, u32 } from "./wgsl.ts";

/**
 * How images are moved and mirrored at random. All of it comes in memory, so that one kernel and
 * one captured step serve every key and every strength.
 */
export interface ImageShift {
  /** u32 over [4]: the key's two words, the threshold of 2^24 below which a draw mirrors, and the
   * pixels that an image may move in each direction, 0 to 2047. */
  readonly draw: StridedOperand;
  /** One element, i32 or u32: the second word of the counter; the first is the sample. */
  readonly epoch: StridedOperand;
}

/** Parameters of a batch of images. */
export interface GatherImagesParams {
  /** Images of the result. */
  readonly count: number;
  /** Images that there are. */
  readonly rows: number;
  /** Channels, height, width. */
  readonly shape: readonly [number, number, number];
  /** u32 over [rows, words]. */
  readonly images: StridedOperand;
  /** f32 over [C, 256]. */
  readonly levels: StridedOperand;
  /** i32 or u32 over [count]: the number of each sample; null where nobody asks for it. */
  readonly samples: StridedOperand | null;
  /** Whether image n of the result is the one that sample n names; else it is image n. */
  readonly gathered: boolean;
  /** Null for images as they are. */
  readonly shift: ImageShift | null;
}

/** Bits of one draw that choose a shift, and bits of both that choose a mirror image. */
const SHIFT_BITS = 20;
const FLIP_BITS = 12;

/**
 * The batch of these parameters, dense in the order [N, H, W, C]. Inputs: images, levels, samples,
 * draw, epoch, as far as they are there.
 */
export function gatherImagesKernel(params: GatherImagesParams): Kernel {
  const { count, rows, shape, images, levels, samples, gathered, shift } = params;
  const operands = [images, levels, samples, shift && shift.draw, shift && shift.epoch]
    .filter((o) => o !== null);
  const key = `gather images|${count}|${rows}|${shape}|${gathered}|${
    operands.map(operandKey).join("|")
  }`;
  return intern(key, () => ({
    op: "gather images",
    key,
    params,
    inputs: operands.map((o) => o.dtype),
    outputs: ["f32"],
    scalars: [],
    wgsl: (traits) => program(params, traits),
    reference: (ins, [out]) => reference(params, ins, out),
  }));
}

function program(params: GatherImagesParams, traits: DeviceTraits): WgslProgram {
  const { count, shape, samples, shift, images, levels } = params;
  const size = shape[0] * shape[1] * shape[2];
  const width = size % 4 === 0 ? 4 : 1;
  const inputs: Binding[] = [
    { name: "images", dtype: images.dtype },
    { name: "levels", dtype: levels.dtype },
  ];
  if (samples !== null) inputs.push({ name: "samples", dtype: samples.dtype });
  if (shift !== null) {
    inputs.push({ name: "draw", dtype: shift.draw.dtype });
    inputs.push({ name: "epoch", dtype: shift.epoch.dtype });
  }
  const threads = count * size / width;
  const functions = shift === null
    ? [levelFunction(params)]
    : [threefryFunction(), levelFunction(params), shiftedFunction(params)];
  const text = [...functions, perThread(threads, body(params, width))].join("\n");
  return {
    code: shader(inputs, [{ name: "y", dtype: "f32", width }], [], text),
    groups: grid(threads, traits),
  };
}

/** What one thread does: one word's pixels where images end with a word, else one pixel. */
function body(params: GatherImagesParams, width: 1 | 4): string {
  const { rows, shape, images, samples, gathered, shift } = params;
  const perImage = shape[0] * shape[1] * shape[2] / width;
  const lines = [`  let n = i / ${perImage}u;`, `  let e = (i % ${perImage}u) * ${width}u;`];
  if (samples !== null) {
    lines.push(`  let c0 = n;`);
    lines.push(`  let sample = u32(samples[${address("c", samples.strides, samples.offset)}]);`);
  }
  lines.push(
    `  let row = ${gathered ? "sample" : "n"};`,
    `  var value = ${width === 4 ? "vec4<f32>(nan())" : "nan()"};`,
    `  if (row < ${rows}u) {`,
    `    let base = ${u32(images.offset)} + row * ${u32(images.strides[0])};`,
    ...(shift === null ? plainPixels(width) : shiftedPixels(shift, width)),
    `  }`,
    `  y[i] = value;`,
  );
  return lines.join("\n");
}

function plainPixels(width: 1 | 4): string[] {
  if (width === 1) {
    return [
      `    let word = images[base + (e >> 2u)];`,
      `    value = level((word >> ((e & 3u) * 8u)) & 255u, e);`,
    ];
  }
  const pixels = [0, 1, 2, 3].map((k) => `level((word >> ${8 * k}u) & 255u, e + ${k}u)`);
  return [
    `    let word = images[base + (e >> 2u)];`,
    `    value = vec4<f32>(${pixels.join(", ")});`,
  ];
}

function shiftedPixels({ draw, epoch }: ImageShift, width: 1 | 4): string[] {
  const low = 2 ** FLIP_BITS - 1;
  const drawn = (k: number) => `draw[${u32(draw.offset + k * draw.strides[0])}]`;
  const move = (word: string) =>
    `i32(((${word} >> ${
      32 - SHIFT_BITS
    }u) * (2u * padding + 1u)) >> ${SHIFT_BITS}u) - i32(padding)`;
  const pixels = Array.from(
    { length: width },
    (_, k) => `shifted(base, e + ${k}u, dy, dx, flip)`,
  );
  return [
    `    let w = threefry(${drawn(0)}, ${drawn(1)}, sample, u32(epoch[${u32(epoch.offset)}]));`,
    `    let padding = ${drawn(3)};`,
    `    let dy = ${move("w.x")};`,
    `    let dx = ${move("w.y")};`,
    `    let mirror = ((w.x & ${low}u) << ${FLIP_BITS}u) | (w.y & ${low}u);`,
    `    let flip = mirror < ${drawn(2)};`,
    `    value = ${width === 4 ? `vec4<f32>(${pixels.join(", ")})` : pixels[0]};`,
  ];
}

/** `level(byte, e)`: the value of a byte at element e of an image. */
function levelFunction({ shape, levels }: GatherImagesParams): string {
  const [perChannel, step] = levels.strides;
  const byte = step === 1 ? "byte" : `byte * ${u32(step)}`;
  const channel = perChannel === 0 || shape[0] === 1
    ? ""
    : ` + (e % ${shape[0]}u) * ${u32(perChannel)}`;
  return `fn level(byte: u32, e: u32) -> f32 {
  return levels[${u32(levels.offset)} + ${byte}${channel}];
}`;
}

/** `shifted(base, e, dy, dx, flip)`: element e of a moved image, whose surroundings are black. */
function shiftedFunction({ shape: [channels, height, width] }: GatherImagesParams): string {
  return `fn shifted(base: u32, e: u32, dy: i32, dx: i32, flip: bool) -> f32 {
  let c = e % ${channels}u;
  let p = e / ${channels}u;
  let column = p % ${width}u;
  let x = i32(select(column, ${width - 1}u - column, flip)) + dx;
  let y = i32(p / ${width}u) + dy;
  var byte = 0u;
  if (x >= 0 && x < ${width} && y >= 0 && y < ${height}) {
    let at = (u32(y) * ${width}u + u32(x)) * ${channels}u + c;
    byte = (images[base + (at >> 2u)] >> ((at & 3u) * 8u)) & 255u;
  }
  return level(byte, e);
}`;
}

interface Move {
  readonly dy: number;
  readonly dx: number;
  readonly flip: boolean;
}

const still: Move = { dy: 0, dx: 0, flip: false };

/** Where the image of a sample goes in an epoch. */
function moveOf([k0, k1, threshold, padding]: number[], sample: number, epoch: number): Move {
  const [a, b] = threefry2x32(k0, k1, sample, epoch);
  const low = 2 ** FLIP_BITS;
  const shift = (word: number) =>
    Math.floor(Math.floor(word / low) * (2 * padding + 1) / 2 ** SHIFT_BITS) - padding;
  return { dy: shift(a), dx: shift(b), flip: a % low * low + b % low < threshold };
}

function reference(
  params: GatherImagesParams,
  [images, levels, ...rest]: readonly Float64Array[],
  out: Float64Array,
): void {
  const { count, rows, shape, samples, gathered, shift } = params;
  const size = shape[0] * shape[1] * shape[2];
  for (let n = 0; n < count; n++) {
    const sample = samples === null ? n : rest[0][samples.offset + n * samples.strides[0]];
    const row = gathered ? sample : n;
    const part = out.subarray(n * size, (n + 1) * size);
    if (!(row >= 0 && row < rows)) {
      part.fill(NaN);
      continue;
    }
    const move = shift === null
      ? still
      : moveOf(drawOf(shift.draw, rest[1]), sample, rest[2][shift.epoch.offset]);
    writeImage(params, images, levels, row, move, part);
  }
}

function drawOf({ offset, strides }: StridedOperand, words: Float64Array): number[] {
  return [0, 1, 2, 3].map((k) => words[offset + k * strides[0]]);
}

function writeImage(
  params: GatherImagesParams,
  images: Float64Array,
  levels: Float64Array,
  row: number,
  { dy, dx, flip }: Move,
  out: Float64Array,
): void {
  const { shape: [channels, height, width], images: from, levels: table } = params;
  const base = from.offset + row * from.strides[0];
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [sy, sx] = [y + dy, (flip ? width - 1 - x : x) + dx];
      const inside = sy >= 0 && sy < height && sx >= 0 && sx < width;
      for (let c = 0; c < channels; c++) {
        const at = (sy * width + sx) * channels + c;
        const byte = inside ? (images[base + (at >> 2)] >>> (at % 4 * 8)) & 255 : 0;
        out[to++] = levels[table.offset + c * table.strides[0] + byte * table.strides[1]];
      }
    }
  }
}
