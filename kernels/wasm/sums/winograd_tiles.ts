/** Tiles of two by two results that Winograd's algorithm works on: where they are, and their transformed patches. */

import type { ConvParams } from "../../conv2d.ts";
import { type Code, countUp, get, i32, type Local, set, v128 } from "../instructions.ts";
import type { FunctionBuilder, ModuleBuilder } from "../module.ts";
import { argOffsets } from "../program.ts";
import { ofInputs, PATCH, transformed, WINDOW } from "./winograd.ts";
import { advance, least, type Names } from "./arithmetic.ts";

/** Channels below which the transforms cost more than they save. */
const FEW_CHANNELS = 16;
/** Results that tiles may cover beyond the image, as a share. */
const MOST_WASTE = 1.45;

/** Tiles along both axes of an image. */
export function tilesOf({ outHeight, outWidth }: ConvParams): { tilesX: number; tilesY: number } {
  return { tilesX: Math.ceil(outWidth / WINDOW), tilesY: Math.ceil(outHeight / WINDOW) };
}

/** Whether a convolution, and its weight gradient, is sooner done by this algorithm. */
export function suitsWinograd(p: ConvParams): boolean {
  const ones = [...p.stride, ...p.dilation].every((n) => n === 1);
  const square = p.kernel[0] === 3 && p.kernel[1] === 3;
  const channels = [p.inChannels, p.outChannels].every((n) => n >= FEW_CHANNELS && n % 4 === 0);
  const { tilesX, tilesY } = tilesOf(p);
  const covered = tilesX * tilesY * WINDOW * WINDOW;
  return ones && square && channels && covered <= MOST_WASTE * p.outHeight * p.outWidth;
}

/** Bytes of a cache line. */
const LINE = 64;

/**
 * Bytes from one point to the next, for so many bytes each: an odd number of cache lines, since sixteen points at distances of a
 * power of two would push each other out of the first cache.
 */
export function pointStep(bytes: number): number {
  const lines = Math.ceil(bytes / LINE);
  return LINE * (lines + (lines % 2 === 0 ? 1 : 0));
}

/** Where a tile is: image, row and column of its first result. */
export function placeOf(
  p: ConvParams,
  tile: Local,
  { image, y, x }: Names<"image" | "y" | "x">,
): Code {
  const { tilesX, tilesY } = tilesOf(p);
  const line = i32.div_u(get(tile), i32.const(tilesX));
  return [
    set(x, i32.shl(i32.rem_u(get(tile), i32.const(tilesX)), i32.const(1))),
    set(y, i32.shl(i32.rem_u(line, i32.const(tilesY)), i32.const(1))),
    set(image, i32.div_u(line, i32.const(tilesY))),
  ];
}

/**
 * The function (args, first tile, tile behind the last, to) that transforms patches: [point, tile, channel].
 *
 * @param pointBytes from one point to the next
 */
export function patchFunction(
  module: ModuleBuilder,
  p: ConvParams,
  pointBytes: number,
): FunctionBuilder {
  const { height, width, inChannels } = p;
  const fn = module.function(["i32", "i32", "i32", "i32"]);
  const [args, tile0, tile1, to] = fn.params;
  const [tile, image, y, x, channel] = fn.locals(5, "i32");
  const pixels = fn.locals(PATCH * PATCH, "i32");
  const inputs = Array.from({ length: PATCH }, () => fn.locals(PATCH, "v128"));
  const { code, grid } = transformed(fn, inputs, ofInputs);
  // Tiles at the edge reach over it; what they read there only goes into results that do not exist.
  const inside = (at: Local, n: number, size: number): Code => {
    const next = i32.add(get(at), i32.const(n));
    return least(next, i32.const(size - 1));
  };
  const pixelOf = (row: number, column: number): Code => {
    const line = i32.add(i32.mul(get(image), i32.const(height)), inside(y, row, height));
    const pixel = i32.add(i32.mul(line, i32.const(width)), inside(x, column, width));
    const operand = i32.load(get(args), argOffsets.operand(0));
    return i32.add(operand, i32.mul(pixel, i32.const(4 * inChannels)));
  };
  fn.emit(
    countUp(tile, get(tile0), get(tile1), 1, [
      placeOf(p, tile, { image, y, x }),
      pixels.map((pixel, n) => set(pixel, pixelOf(Math.floor(n / PATCH), n % PATCH))),
      countUp(channel, i32.const(0), i32.const(inChannels), 4, [
        inputs.map((row, r) =>
          row.map((value, c) => set(value, v128.load(get(pixels[PATCH * r + c]))))
        ),
        code,
        grid.map((row, r) =>
          row.map((value, c) =>
            v128.store(
              i32.add(get(to), i32.const((PATCH * r + c) * pointBytes)),
              get(value),
            )
          )
        ),
        pixels.map((pixel) => advance(pixel, 16)),
        advance(to, 16),
      ]),
    ]),
  );
  return fn;
}
