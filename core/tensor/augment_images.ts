/** Steps of image augmentation on any machine: rows of random numbers, moves, colours, mixtures. */

import type { Chain } from "../../kernels/augment/chain.ts";
import { CODES } from "../../kernels/augment/colour_codes.ts";
import { colourKernel } from "../../kernels/augment/colour.ts";
import { DRAW_TRIES, type DrawColumn, drawsKernel } from "../../kernels/augment/draws.ts";
import { mixKernel } from "../../kernels/augment/mix.ts";
import {
  type ErasePart,
  placedSizes,
  placeKernel,
  type PlaceParts,
} from "../../kernels/augment/place.ts";
import { ROW, rowsKernel, type RowsSpec } from "../../kernels/augment/rows.ts";
import {
  type ColourParams,
  countedPixels,
  FACT_CODES,
  factsKernel,
  factsWidth,
  histogramKernel,
  levelsKernel,
  partialFactsKernel,
  segmentsOf,
} from "../../kernels/augment/statistics.ts";
import { warpKernel } from "../../kernels/augment/warp.ts";
import type { AugmentMachine, DrawWords } from "./augment_machine.ts";

export { type ChangeName, CODES } from "../../kernels/augment/colour_codes.ts";
export type { DrawColumn } from "../../kernels/augment/draws.ts";
export type {
  CropPart,
  ErasePart,
  NormalizePart,
  PlaceParts,
} from "../../kernels/augment/place.ts";
export type { PolicyChange } from "../../kernels/augment/rows_policy.ts";
export type { RowsSpec } from "../../kernels/augment/rows.ts";
export {
  type AugmentMachine,
  deviceMachine,
  type DrawWords,
  type HostBlock,
  hostMachine,
} from "./augment_machine.ts";

type Sizes = readonly [number, number, number, number];

function sizesOf<T>(machine: AugmentMachine<T>, images: T): Sizes {
  const [count, channels, height, width] = machine.shapeOf(images);
  return [count, channels, height, width];
}

/** Where the rows of a batch are drawn. */
export interface DrawPlace<T> {
  /** [N]: the number of each image. @default {its place in the batch} */
  readonly samples?: T;
  /** [1]: in place of the position. */
  readonly epoch?: T;
  readonly words: DrawWords;
}

/** A row of random numbers for each image, [count, columns]. */
export function drawColumns<T>(
  machine: AugmentMachine<T>,
  count: number,
  columns: readonly DrawColumn[],
  { samples, epoch, words }: DrawPlace<T>,
): T {
  const inputs = [samples, epoch].filter((block) => block !== undefined);
  const kernel = drawsKernel({
    count,
    columns,
    samples: samples === undefined ? null : machine.operand(samples),
    epoch: epoch === undefined ? null : machine.operand(epoch),
  });
  const { now, live } = words;
  return machine.run(kernel, inputs, [count, columns.length], {
    now: [...now, DRAW_TRIES],
    live: live && (() => [...live(), DRAW_TRIES]),
  });
}

/** A row of what happens to each image, [N, 8]. */
export function rowsOf<T>(machine: AugmentMachine<T>, spec: RowsSpec, draws: T): T {
  const [count] = machine.shapeOf(draws);
  return machine.run(rowsKernel(count, spec, machine.operand(draws)), [draws], [count, ROW]);
}

/** Images through the matrices of their rows. */
export function warp<T>(
  machine: AugmentMachine<T>,
  images: T,
  rows: T,
  options: { readonly bilinear: boolean; readonly fill: readonly number[] },
): T {
  const shape = sizesOf(machine, images);
  const kernel = warpKernel({
    shape,
    images: machine.operand(images),
    rows: machine.operand(rows),
    ...options,
  });
  return machine.run(kernel, [images, rows], shape);
}

/** Cropped, mirrored, normalised, erased images, as far as the parts say; `rows` are the boxes. */
export function place<T>(
  machine: AugmentMachine<T>,
  images: T,
  parts: PlaceParts,
  draws: T | null,
  rows: T | null,
): T {
  const shape = sizesOf(machine, images);
  const read = draws !== null && readsDraws(parts) ? draws : null;
  const kernel = placeKernel({
    ...parts,
    shape,
    images: machine.operand(images),
    draws: read === null ? null : machine.operand(read),
    rows: rows === null ? null : machine.operand(rows),
  });
  const inputs = [images, read, rows].filter((block) => block !== null);
  const [height, width] = placedSizes({ shape, crop: parts.crop });
  return machine.run(kernel, inputs, [shape[0], shape[1], height, width]);
}

function readsDraws({ crop, flipX, flipY, erase }: PlaceParts): boolean {
  const noise = (part?: ErasePart) => part !== undefined && part.value === null;
  return crop !== undefined || flipX !== undefined || flipY !== undefined || noise(erase);
}

/** Which changes of colour the rows of images name. */
export interface ChangeOptions {
  /** Codes that may come; more than one change for each image only of the first four. */
  readonly codes: readonly number[];
  readonly slots: number;
  /** First column of the rows. */
  readonly column: number;
}

/** Images with the changes of colour that their rows name; pixels are from 0 to 1. */
export function changeColours<T>(
  machine: AugmentMachine<T>,
  images: T,
  rows: T,
  options: ChangeOptions,
): T {
  const shape = sizesOf(machine, images);
  const [count, channels, height, width] = shape;
  const area = height * width;
  const chain: Chain = { ...options, rows: machine.operand(rows), channels };
  const params: ColourParams = { shape, images: machine.operand(images), chain };
  const needs = (codes: readonly number[]) => codes.some((code) => options.codes.includes(code));
  const made: T[] = [];
  const keep = (block: T): T => {
    made.push(block);
    return block;
  };
  let facts: T | null = null;
  if (needs(FACT_CODES)) {
    const segments = segmentsOf(params);
    const wide = factsWidth(channels);
    const parts = keep(
      machine.run(partialFactsKernel(params), [images, rows], [count, segments, wide]),
    );
    const kernel = factsKernel(count, segments, channels, area);
    facts = keep(machine.run(kernel, [parts], [count, wide]));
  }
  let levels: T | null = null;
  if (needs([CODES.equalize])) {
    const parts = Math.ceil(area / countedPixels(area));
    const counts = keep(
      machine.run(histogramKernel(params), [images, rows], [count, channels, parts * 256]),
    );
    levels = keep(machine.run(levelsKernel(params), [counts, rows], [count, channels, 256]));
  }
  const kernel = colourKernel({
    ...params,
    facts: facts && machine.operand(facts),
    levels: levels && machine.operand(levels),
  });
  const inputs = [images, rows, facts, levels].filter((block) => block !== null);
  const out = machine.run(kernel, inputs, shape);
  made.forEach((block) => machine.drop(block));
  return out;
}

/** Each image mixed with the one before it, as its row says. */
export function mixImages<T>(machine: AugmentMachine<T>, images: T, rows: T): T {
  const shape = sizesOf(machine, images);
  const kernel = mixKernel({
    shape,
    images: machine.operand(images),
    rows: machine.operand(rows),
  });
  return machine.run(kernel, [images, rows], shape);
}
