import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  cutOperand,
  cutShape,
  cutStrides,
  cutWriter,
  isOneToOne,
  overWriter,
  relate,
  throughWriter,
} from "../../../core/program/affine.ts";
import type { Layout } from "../../../kernels/types.ts";
import { addressesOf } from "../../../kernels/wgsl.ts";

const sizes = fc.constantFrom(1, 2, 3, 4, 6, 8);
const salt = fc.nat({ max: 10_000 });

interface Pair {
  readonly reader: Layout;
  readonly writer: Layout;
}

function size({ shape }: Layout): number {
  return shape.reduce((a, b) => a * b, 1);
}

function addresses({ shape, strides, offset }: Layout): number[] {
  return [...addressesOf(shape, strides, offset)];
}

/** A layout whose elements lie behind each other without gaps, its axes in any order. */
function dense(shape: readonly number[], order: number, offset: number): Layout {
  const axes = shape.map((_, d) => d);
  for (let d = axes.length - 1; d > 0; d--) {
    const other = (order >> d) % (d + 1);
    [axes[d], axes[other]] = [axes[other], axes[d]];
  }
  const strides = new Array<number>(shape.length).fill(0);
  let step = 1;
  for (const d of axes) {
    strides[d] = step;
    step *= shape[d];
  }
  return { shape, strides, offset };
}

/** Views as ops make them: windows, other orders, repeats, and other shapes of a dense memory. */
function viewed(writer: Layout, moves: readonly number[]): Layout {
  const count = size(writer);
  let { shape, strides, offset } = writer;
  for (const move of moves) {
    const kind = move % 5;
    const d = shape.length === 0 ? 0 : (move >> 3) % shape.length;
    if (kind === 0) {
      const rows = [1, 2, 3, 4, 6, 8][(move >> 4) % 6];
      const most = Math.floor(count / rows);
      const columns = 1 + (move >> 7) % most;
      shape = [rows, columns];
      strides = [columns, 1];
      offset = writer.offset + (move >> 5) % (count - rows * columns + 1);
    } else if (shape.length === 0) continue;
    else if (kind === 1) {
      const from = (move >> 5) % shape[d];
      shape = shape.with(d, 1 + (move >> 7) % (shape[d] - from));
      offset += from * strides[d];
    } else if (kind === 2) {
      shape = shape.with(d, Math.ceil(shape[d] / 2));
      strides = strides.with(d, strides[d] * 2);
    } else if (kind === 3) {
      shape = [...shape.slice(d), ...shape.slice(0, d)];
      strides = [...strides.slice(d), ...strides.slice(0, d)];
    } else {
      shape = shape.toSpliced(d, 0, 2);
      strides = strides.toSpliced(d, 0, 0);
    }
  }
  return { shape, strides, offset };
}

const pairs: fc.Arbitrary<Pair> = fc.record({
  shape: fc.array(sizes, { maxLength: 3 }),
  order: salt,
  offset: fc.constantFrom(0, 0, 64, 5),
  moves: fc.array(salt, { maxLength: 4 }),
}).map(({ shape, order, offset, moves }) => {
  const writer = dense(shape, order, offset);
  return { writer, reader: viewed(writer, moves) };
});

/** Layouts that need not have anything to do with each other. */
const strangers: fc.Arbitrary<Pair> = fc.record({
  shape: fc.array(sizes, { maxLength: 3 }),
  order: salt,
  other: fc.array(fc.tuple(sizes, fc.integer({ min: -4, max: 24 })), { maxLength: 3 }),
  offset: fc.integer({ min: -3, max: 30 }),
}).map(({ shape, order, other, offset }) => ({
  writer: dense(shape, order, 0),
  reader: { shape: other.map(([n]) => n), strides: other.map(([, s]) => s), offset },
}));

/** Coordinates of the writer that wrote each address. */
function coordinatesAt(writer: Layout): Map<number, number[]> {
  const places = new Map<number, number[]>();
  addresses(writer).forEach((address, i) => {
    const coordinates: number[] = [];
    let rest = i;
    for (const n of writer.shape.toReversed()) {
      coordinates.unshift(rest % n);
      rest = Math.floor(rest / n);
    }
    places.set(address, coordinates);
  });
  return places;
}

function checkRelation({ reader, writer }: Pair): boolean {
  const relation = relate(reader, writer);
  if (relation === null) return false;
  const shape = cutShape(relation);
  assertEquals(shape.reduce((a, b) => a * b, 1), size(reader));
  // Another operand of the reader stays where it was.
  const other = reader.shape.map((_, d) => 7 * d + 3);
  assertEquals(
    [...addressesOf(shape, cutStrides(relation, other), 11)],
    [...addressesOf(reader.shape, other, 11)],
  );
  // An operand of the writer is read where the writer read it for the element that the reader wants.
  const operand = { strides: writer.shape.map((_, d) => 100 ** d * 3), offset: 5 };
  const through = throughWriter(relation, operand);
  const places = coordinatesAt(writer);
  const wanted = addresses(reader).map((address) => {
    const at = places.get(address);
    assert(at !== undefined, `address ${address} was never written`);
    return at.reduce((sum, n, d) => sum + n * operand.strides[d], operand.offset);
  });
  assertEquals([...addressesOf(shape, through.strides, through.offset)], wanted);
  return true;
}

function checkWriterSide({ reader, writer }: Pair): boolean {
  const relation = relate(reader, writer);
  if (relation === null) return false;
  const read = addresses(reader);
  const once = new Set(read).size === read.length && read.length === size(writer);
  assertEquals(isOneToOne(relation, writer.shape), once);
  const other = reader.shape.map((_, d) => 7 * d + 3);
  const otherAt = new Map(
    read.map((address, i) => [address, [...addressesOf(reader.shape, other, 0)][i]]),
  );
  const wanted = addresses(writer).map((address) => otherAt.get(address)!);
  if (!once) {
    assertEquals(cutWriter(relation, writer.shape), null);
    return false;
  }
  const over = overWriter(relation, writer.shape, other);
  if (over !== null) assertEquals([...addressesOf(writer.shape, over, 0)], wanted);
  const cut = cutWriter(relation, writer.shape);
  if (cut !== null) {
    const target = cutStrides(relation, other);
    const parts = cut.flat();
    assertEquals(
      [...addressesOf(parts.map((p) => p.size), parts.map((p) => target[p.piece]), 0)],
      wanted,
    );
    const own = [...writer.shape.map((_, d) => 5 * d + 2), 13];
    assertEquals(
      [...addressesOf([...parts.map((p) => p.size), 3], cutOperand(cut, own), 0)],
      [...addressesOf([...writer.shape, 3], own, 0)],
    );
  }
  return over !== null && cut !== null;
}

/** Counts how often a check had something to check. */
function holds(name: string, pair: fc.Arbitrary<Pair>, check: (p: Pair) => boolean, least: number) {
  Deno.test(name, () => {
    let checked = 0;
    fc.assert(fc.property(pair, (p) => void (checked += Number(check(p)))), {
      numRuns: 3000,
      seed: 3,
    });
    assert(checked >= least, `only ${checked} of 3000 cases had a relation`);
  });
}

holds("relate() finds each element that views of a result read", pairs, checkRelation, 1500);
holds("relate() is right or null for strange layouts", strangers, checkRelation, 200);
holds("overWriter() and cutWriter() reach what the reader reaches", pairs, checkWriterSide, 200);
holds("isOneToOne() is right for strange layouts", strangers, checkWriterSide, 5);

Deno.test("relate() is null where the reader leaves what was written, or runs backwards", () => {
  const writer = { shape: [4, 8], strides: [8, 1], offset: 64 };
  const of = (shape: number[], strides: number[], offset: number) =>
    relate({ shape, strides, offset }, writer);
  assertEquals(of([8], [1], 60), null);
  assertEquals(of([8], [1], 92), null);
  assertEquals(of([4, 8], [8, -1], 71), null);
  assertEquals(of([2, 3], [3, 1], 70), null);
  assert(of([4, 8], [8, 1], 64) !== null);
  assert(of([8, 4], [1, 8], 64) !== null);
  assert(of([32], [1], 64) !== null);
});

Deno.test("relate() is null for a writer that leaves gaps", () => {
  const layout = { shape: [4, 3], strides: [4, 1], offset: 0 };
  assertEquals(relate(layout, layout), null);
});
