import { assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  ArrayDataset,
  ImageDataset,
  LabelledDataset,
  randomSplit,
  Subset,
  take,
} from "../../data/mod.ts";

/** Every item of a data set. */
function all<Item>(dataset: { length: number; get(index: number): Item }): Item[] {
  return Array.from({ length: dataset.length }, (_, i) => dataset.get(i));
}

Deno.test("ArrayDataset.get() gives the items, and rejects other indices", () => {
  const dataset = new ArrayDataset(["a", "b", "c"]);
  assertEquals([dataset.length, all(dataset)], [3, ["a", "b", "c"]]);
  for (const index of [-1, 3, 0.5, NaN]) {
    assertThrows(() => dataset.get(index), RangeError, `item ${index} as the index must be`);
  }
});

Deno.test("Subset.get() follows its indices", () => {
  const dataset = new ArrayDataset([10, 11, 12, 13]);
  assertEquals(all(new Subset(dataset, [3, 0, 3])), [13, 10, 13]);
  assertEquals(all(new Subset(new Subset(dataset, [3, 1]), [1])), [11]);
  assertThrows(() => new Subset(dataset, [0, 4]), RangeError, "item 4");
  assertThrows(() => new Subset(dataset, [0]).get(1), RangeError, "item 1");
});

Deno.test("take() gives the first items, or all", () => {
  const dataset = new ArrayDataset([1, 2, 3]);
  assertEquals([0, 2, 9].map((count) => all(take(dataset, count))), [[], [1, 2], [1, 2, 3]]);
  assertThrows(() => take(dataset, -1), RangeError, "count must be a whole number of at least 0");
});

Deno.test("randomSplit() gives every item to exactly one part", () => {
  const dataset = new ArrayDataset(Array.from({ length: 101 }, (_, i) => i));
  const parts = randomSplit(dataset, [0.7, 0.2, 0.1], { seed: 5 });
  assertEquals(parts.map((part) => part.length), [71, 20, 10]);
  assertEquals(parts.flatMap(all).sort((a, b) => a - b), all(dataset));
  assertNotEquals(parts.flatMap(all), all(dataset));
});

Deno.test("randomSplit() depends on the seed alone", () => {
  const dataset = new ArrayDataset(Array.from({ length: 50 }, (_, i) => i));
  const [first, second, third] = [7, 7, 8].map((seed) =>
    randomSplit(dataset, [0.5, 0.5], { seed })
  );
  assertEquals(first.map(all), second.map(all));
  assertNotEquals(first.map(all), third.map(all));
});

Deno.test("randomSplit() rejects fractions whose sum is not 1", () => {
  const dataset = new ArrayDataset([1, 2, 3]);
  for (const fractions of [[], [0.5], [0.5, 0.6], [1, 0], [1.5, -0.5], [NaN, 1]]) {
    assertThrows(() => randomSplit(dataset, fractions), RangeError, "with a sum of 1");
  }
});

const labelled = {
  name: "points",
  inputs: new Float32Array([1, 2, 3, 4, 5, 6]),
  labels: new Uint8Array([1, 0, 1]),
  shape: [2],
  classes: ["no", "yes"],
};

Deno.test("LabelledDataset.get() gives views of the inputs", () => {
  const dataset = new LabelledDataset(labelled);
  const item = dataset.get(1);
  assertEquals(item, { input: new Float32Array([3, 4]), shape: [2], label: 0, classCount: 2 });
  assertEquals(item.input.buffer, labelled.inputs.buffer);
  assertThrows(() => dataset.get(3), RangeError, "from 0 to 2");
});

Deno.test("LabelledDataset() rejects what does not fit", () => {
  const wrong: [Partial<typeof labelled>, string][] = [
    [{ labels: new Uint8Array([1, 0]) }, "2 labels need as many examples of 2 elements: got 3"],
    [{ shape: [4] }, "got 1.5 examples"],
    [{ shape: [0] }, "shape[0] must be a whole number of at least 1: got 0"],
    [{ classes: [] }, "number of classes"],
    [{ labels: new Uint8Array([1, 2, 0]) }, "from 0 to 1: got 2 at index 1"],
  ];
  for (const [options, part] of wrong) {
    assertThrows(() => new LabelledDataset({ ...labelled, ...options }), RangeError, part);
  }
  const negative = { ...labelled, labels: new Int32Array([1, 0, -1]) };
  assertThrows(() => new LabelledDataset(negative), RangeError, "got -1 at index 2");
});

const colour = new ImageDataset({
  name: "colours",
  images: new Uint8Array([0, 255, 51, 51, 255, 0, 102, 204]),
  labels: new Uint8Array([0, 1]),
  shape: [2, 1, 2],
  classes: ["a", "b"],
});

Deno.test("ImageDataset.statistics() measures each channel on pixels from 0 to 1", () => {
  const { mean, std } = colour.statistics();
  // Channel 0: 0, 1, 1, 0. Channel 1: 0.2, 0.2, 0.4, 0.8
  assertAlmostEquals(mean[0], 0.5, 1e-12);
  assertAlmostEquals(std[0], 0.5, 1e-12);
  assertAlmostEquals(mean[1], 0.4, 1e-12);
  assertAlmostEquals(std[1], Math.sqrt(0.06), 1e-12);
  assertThrows(() => colour.take(0).statistics(), RangeError, "number of images");
});

Deno.test("ImageDataset.take() shares the pixels and keeps the rest", () => {
  const one = colour.take(1);
  assertEquals([one.count, one.name, one.classes], [1, "colours", ["a", "b"]]);
  assertEquals(one.images.buffer, colour.images.buffer);
  assertEquals(one.get(0).input, new Uint8Array([0, 255, 51, 51]));
  assertEquals(one.normalization, { mean: 0, std: 1 });
});
