import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ArrayDataset, LabelledDataset, stratifiedSplit, type Subset } from "../../data/mod.ts";

interface Item {
  readonly label: number;
  readonly id: number;
}

function items(labels: readonly number[]): ArrayDataset<Item> {
  return new ArrayDataset(labels.map((label, id) => ({ label, id })));
}

function all(part: Subset<Item>): Item[] {
  return Array.from({ length: part.length }, (_, i) => part.get(i));
}

Deno.test("stratifiedSplit() gives every item once, and every class its share", () => {
  const labels = fc.array(fc.nat(4), { maxLength: 80 });
  const weights = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(labels, weights, fc.nat(1000), (labels, weights, seed) => {
      const sum = weights.reduce((total, weight) => total + weight, 0);
      const fractions = weights.map((weight) => weight / sum);
      const parts = stratifiedSplit(items(labels), fractions, { seed }).map(all);
      const ids = parts.flat().map(({ id }) => id).sort((a, b) => a - b);
      assertEquals(ids, labels.map((_, i) => i));
      parts.forEach((part, p) => {
        assert(Math.abs(part.length - fractions[p] * labels.length) <= 2);
        assertEquals(part, part.toSorted((a, b) => a.id - b.id));
        for (const label of new Set(labels)) {
          const share = fractions[p] * labels.filter((other) => other === label).length;
          const count = part.filter((item) => item.label === label).length;
          assert(Math.abs(count - share) < 2, `${count} of ${share}`);
        }
      });
    }),
    { numRuns: 300, seed: 4 },
  );
});

Deno.test("stratifiedSplit() of equal classes gives exact shares", () => {
  const labels = Array.from({ length: 1000 }, (_, i) => i % 10);
  const [train, validation] = stratifiedSplit(items(labels), [0.9, 0.1], { seed: 7 });
  for (const [part, count] of [[train, 90], [validation, 10]] as const) {
    for (let label = 0; label < 10; label++) {
      assertEquals(all(part).filter((item) => item.label === label).length, count);
    }
  }
  const again = stratifiedSplit(items(labels), [0.9, 0.1], { seed: 7 });
  assertEquals(all(again[1]), all(validation));
  const other = stratifiedSplit(items(labels), [0.9, 0.1], { seed: 8 });
  assertNotEquals(all(other[1]), all(validation));
});

Deno.test("stratifiedSplit() reads labels where a data set has them", () => {
  const dataset = new LabelledDataset({
    name: "halves",
    inputs: Float32Array.from({ length: 20 }, (_, i) => i),
    labels: Uint8Array.from({ length: 20 }, (_, i) => i < 10 ? 0 : 1),
    shape: [1],
    classes: ["low", "high"],
  });
  dataset.get = () => {
    throw new Error("no item should be read");
  };
  const [half] = stratifiedSplit(dataset, [0.5, 0.5]);
  assertEquals(half.length, 10);
});

Deno.test("stratifiedSplit() checks fractions and labels", () => {
  for (const fractions of [[], [0.5], [0.5, 0.6], [1, 0], [NaN, 1]]) {
    assertThrows(
      () => stratifiedSplit(items([1]), fractions),
      RangeError,
      "above 0 with a sum of 1",
    );
  }
  assertThrows(() => stratifiedSplit(items([0, -1]), [1]), RangeError, "the label of item 1");
  assertThrows(() => stratifiedSplit(items([0]), [1], { seed: -1 }), RangeError, "seed");
});
