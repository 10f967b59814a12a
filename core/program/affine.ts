/** How the places that one kernel reads are the places that another one has written, as a map between their coordinates. */

import type { Layout } from "../../kernels/types.ts";

/** A part of an axis of the reader: so many steps of `step` along an axis of the writer; axis -1 where it stands still. */
interface Piece {
  readonly size: number;
  readonly axis: number;
  readonly step: number;
}

/** The coordinates of a reader, some of its axes cut in pieces, as coordinates of the writer. */
export interface Relation {
  /** Pieces of each axis of the reader, outermost first. */
  readonly pieces: readonly (readonly Piece[])[];
  /** Coordinates of the writer for the first element of the reader. */
  readonly start: readonly number[];
}

/** Axes from the slowest to the fastest; null where their elements do not lie behind each other without gaps. */
function denseOrder({ shape, strides }: Layout): number[] | null {
  const order = shape.map((_, d) => d).sort((a, b) => strides[b] - strides[a]);
  let step = 1;
  for (const d of order.toReversed()) {
    if (shape[d] !== 1 && strides[d] !== step) return null;
    step *= shape[d];
  }
  return order;
}

/** Where a reader finds what a writer wrote, both in elements of one buffer; null where no linear map says it. */
export function relate(reader: Layout, writer: Layout): Relation | null {
  const order = denseOrder(writer);
  if (order === null) return null;
  const size = writer.shape.reduce((a, b) => a * b, 1);
  const from = reader.offset - writer.offset;
  if (from < 0 || from >= size) return null;
  const start = writer.shape.map((n, d) => n === 1 ? 0 : Math.floor(from / writer.strides[d]) % n);
  const reach = [...start];
  const pieces: Piece[][] = [];
  for (let axis = 0; axis < reader.shape.length; axis++) {
    const cut = cutAxis(reader.shape[axis], reader.strides[axis], writer, order, start);
    if (cut === null) return null;
    for (const piece of cut) {
      if (piece.axis >= 0) reach[piece.axis] += piece.step * (piece.size - 1);
    }
    pieces.push(cut);
  }
  return reach.every((last, d) => last < writer.shape[d]) ? { pieces, start } : null;
}

/** Cuts an axis where it runs over the end of one of the writer's. */
function cutAxis(
  size: number,
  stride: number,
  { shape, strides }: Layout,
  order: readonly number[],
  start: readonly number[],
): Piece[] | null {
  if (size === 1 || stride === 0) return [{ size, axis: -1, step: 0 }];
  if (stride < 0) return null;
  const pieces: Piece[] = [];
  let [rest, step] = [size, stride];
  while (true) {
    const axis = order.find((d) => shape[d] > 1 && strides[d] <= step);
    if (axis === undefined || step % strides[axis] !== 0) return null;
    const along = step / strides[axis];
    if (start[axis] + along * (rest - 1) < shape[axis]) {
      return [{ size: rest, axis, step: along }, ...pieces];
    }
    const inner = shape[axis] / along;
    if (!Number.isInteger(inner) || inner < 2 || rest % inner !== 0 || start[axis] !== 0) {
      return null;
    }
    pieces.unshift({ size: inner, axis, step: along });
    rest /= inner;
    step *= inner;
    if (rest === 1) return pieces;
  }
}

/** Sizes of the reader's axes after the cut. */
export function cutShape({ pieces }: Relation): number[] {
  return pieces.flat().map((piece) => piece.size);
}

/** Strides of another operand of the reader over the cut axes. */
export function cutStrides({ pieces }: Relation, strides: readonly number[]): number[] {
  return pieces.flatMap((cut, axis) => {
    const out: number[] = [];
    let stride = strides[axis];
    for (const { size } of cut.toReversed()) {
      out.unshift(stride);
      stride *= size;
    }
    return out;
  });
}

/** An operand of the writer as the reader would read it, over the cut axes. */
export function throughWriter(
  { pieces, start }: Relation,
  operand: { readonly strides: readonly number[]; readonly offset: number },
): { strides: number[]; offset: number } {
  return {
    strides: pieces.flat().map(({ axis, step }) => axis < 0 ? 0 : step * operand.strides[axis]),
    offset: start.reduce((at, n, d) => at + n * operand.strides[d], operand.offset),
  };
}

/** Whether the reader visits every element of the writer exactly once. */
export function isOneToOne({ pieces, start }: Relation, shape: readonly number[]): boolean {
  if (start.some((n) => n !== 0)) return false;
  const count = shape.map(() => 1);
  for (const { axis, size } of pieces.flat()) {
    if (axis >= 0) count[axis] *= size;
    else if (size > 1) return false;
  }
  return shape.every((n, d) => n === count[d]);
}

/**
 * Strides over the writer's axes of an operand of the reader, for a relation that is one to one; null where they are not
 * the same all along an axis.
 */
export function overWriter(
  relation: Relation,
  shape: readonly number[],
  strides: readonly number[],
): number[] | null {
  const cut = cutStrides(relation, strides);
  const flat = relation.pieces.flat();
  const out = shape.map(() => 0);
  for (let d = 0; d < shape.length; d++) {
    const unit = flat.findIndex(({ axis, step }) => axis === d && step === 1);
    if (unit < 0) {
      if (shape[d] !== 1) return null;
      continue;
    }
    const stride = cut[unit];
    const even = flat.every(({ axis, step }, i) => axis !== d || cut[i] === stride * step);
    if (!even) return null;
    out[d] = stride;
  }
  return out;
}

/** A part of an axis of the writer, and which of the reader's pieces runs along it. */
export interface WriterPiece {
  readonly size: number;
  readonly piece: number;
}

/** The writer's axes cut so that the reader steps evenly along each part; null where it does not visit every element once. */
export function cutWriter(relation: Relation, shape: readonly number[]): WriterPiece[][] | null {
  if (!isOneToOne(relation, shape)) return null;
  const flat = relation.pieces.flat();
  const cut: WriterPiece[][] = [];
  for (let d = 0; d < shape.length; d++) {
    const along = flat.flatMap(({ axis, size, step }, piece) =>
      axis === d ? [{ size, step, piece }] : []
    ).sort((a, b) => a.step - b.step);
    let step = 1;
    for (const part of along) {
      if (part.step !== step) return null;
      step *= part.size;
    }
    cut.push(along.toReversed());
  }
  return cut;
}

/** Strides of one of the writer's operands over its axes after such a cut, and over the axes behind them. */
export function cutOperand(
  cut: readonly (readonly WriterPiece[])[],
  strides: readonly number[],
): number[] {
  const over = cut.flatMap((parts, d) => {
    let stride = strides[d];
    return parts.toReversed().map(({ size }) => {
      const own = stride;
      stride *= size;
      return own;
    }).toReversed();
  });
  return [...over, ...strides.slice(cut.length)];
}
