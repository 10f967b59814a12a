import { assertEquals, assertLess, assertNotEquals, assertThrows } from "@std/assert";
import { Key } from "../../core/tensor/random.ts";
import { order } from "../../data/mod.ts";
import { KeyedStream, permutation } from "../../data/order.ts";

Deno.test("order() gives the orders of an independent program", () => {
  // Written anew in Python from the Threefry paper, FNV-1a and Fisher and Yates' shuffle; they must
  // never change, or no run could be continued with a later version
  const expected: [seed: number, epoch: number, indices: number[]][] = [
    [42, 0, [4, 2, 7, 11, 10, 8, 1, 5, 3, 0, 9, 6]],
    [42, 1, [6, 7, 9, 4, 1, 10, 2, 3, 5, 0, 8, 11]],
    [2 ** 40 + 7, 3, [2, 5, 0, 1, 10, 11, 8, 6, 4, 9, 7, 3]],
  ];
  for (const [seed, epoch, indices] of expected) {
    assertEquals([...order(seed, epoch, 12)], indices);
  }
});

Deno.test("order() gives every index once", () => {
  for (const count of [0, 1, 2, 997]) {
    const sorted = order(1, 2, count).toSorted();
    assertEquals(sorted, Uint32Array.from({ length: count }, (_, i) => i));
  }
});

Deno.test("order() differs between epochs, seeds and purposes", () => {
  const orders = [order(1, 0, 30), order(1, 1, 30), order(2, 0, 30), order(2 ** 32 + 1, 0, 30)];
  orders.push(permutation(1, "data split", 0, 30));
  assertEquals(new Set(orders.map(String)).size, orders.length);
});

Deno.test("order() gives all permutations of four as often", () => {
  const counts = new Map<string, number>();
  const epochs = 24_000;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const name = String(order(9, epoch, 4));
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  assertEquals(counts.size, 24);
  const expected = epochs / 24;
  const square = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  assertLess(square, 49.7); // chi-square with 23 degrees of freedom stays below with p = 0.999
});

Deno.test("order() rejects arguments out of range", () => {
  for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
    assertThrows(() => order(seed, 0, 3), RangeError, "seed must be a whole number");
  }
  for (const epoch of [-1, 2 ** 32, 0.5]) {
    assertThrows(() => order(0, epoch, 3), RangeError, "epoch must be a whole number");
  }
  assertThrows(() => order(0, 0, -1), RangeError, "count must be a whole number");
});

Deno.test("KeyedStream.uniform() is uniform, and normal() is normal", () => {
  const stream = new KeyedStream(new Key(3), 0);
  const count = 20_000;
  const uniforms = Array.from({ length: count }, () => stream.uniform());
  const normals = Array.from({ length: count }, () => stream.normal());
  const moment = (values: number[], power: number) =>
    values.reduce((sum, value) => sum + value ** power, 0) / count;
  // Four standard errors of each moment
  const checks: [actual: number, expected: number, deviation: number][] = [
    [moment(uniforms, 1), 1 / 2, Math.sqrt(1 / 12)],
    [moment(uniforms, 2), 1 / 3, Math.sqrt(4 / 45)],
    [moment(normals, 1), 0, 1],
    [moment(normals, 2), 1, Math.sqrt(2)],
    [moment(normals, 4), 3, Math.sqrt(96)],
  ];
  for (const [actual, expected, deviation] of checks) {
    assertLess(Math.abs(actual - expected), 4 * deviation / Math.sqrt(count));
  }
  assertEquals(uniforms.every((value) => value >= 0 && value < 1), true);
});

Deno.test("KeyedStream() gives the same numbers for the same position, others for others", () => {
  const draw = (position: number) => {
    const stream = new KeyedStream(new Key(3), position);
    return [stream.uniform(), stream.uniform()];
  };
  assertEquals(draw(5), draw(5));
  assertNotEquals(draw(5), draw(6));
  assertThrows(() => new KeyedStream(new Key(3), -1), RangeError, "position");
});
