import {
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertThrows,
} from "@std/assert";
import { digits, type ImageDataset } from "../../data/mod.ts";

Deno.test("digits() makes 28x28 images of the classes in turn", () => {
  const dataset = digits({ split: "train", count: 25 });
  assertEquals([dataset.name, dataset.count, dataset.shape], ["digits train", 25, [1, 28, 28]]);
  assertEquals([...dataset.labels], Array.from({ length: 25 }, (_, i) => i % 10));
  assertEquals(dataset.images.length, 25 * 784);
  assertEquals(digits({ split: "test", count: 0 }).count, 0);
});

Deno.test("digits() makes image i of seed, split and i alone", () => {
  const long = digits({ split: "train", count: 40, seed: 3 });
  assertEquals(
    digits({ split: "train", count: 20, seed: 3 }).images,
    long.images.subarray(0, 20 * 784),
  );
  for (
    const other of [
      digits({ split: "test", count: 40, seed: 3 }),
      digits({ split: "train", count: 40, seed: 4 }),
    ]
  ) {
    const same = Array.from(
      { length: 40 },
      (_, i) => String(other.get(i).input) === String(long.get(i).input),
    );
    assertEquals(same.includes(true), false);
  }
});

Deno.test("digits() draws no image twice", () => {
  const dataset = digits({ split: "train", count: 500 });
  const images = Array.from({ length: 500 }, (_, i) => String(dataset.get(i).input));
  assertEquals(new Set(images).size, 500);
});

Deno.test("digits() is normalised by its own mean and standard deviation", () => {
  const dataset = digits({ split: "train", count: 2000, seed: 8 });
  const { mean, std } = dataset.statistics();
  assertAlmostEquals(mean[0], dataset.normalization.mean as number, 0.01);
  assertAlmostEquals(std[0], dataset.normalization.std as number, 0.01);
});

Deno.test("digits() keeps every digit within the frame, neither faint nor full", () => {
  const dataset = digits({ split: "train", count: 500, seed: 2 });
  let touching = 0;
  for (let i = 0; i < dataset.count; i++) {
    const pixels = dataset.get(i).input;
    const bright = pixels.filter((pixel) => pixel > 100).length;
    assertGreater(bright, 15);
    assertLess(bright, 320);
    const edge = pixels.filter((pixel, at) =>
      pixel > 100 && (at < 28 || at >= 756 || at % 28 === 0 || at % 28 === 27)
    );
    if (edge.length > 0) touching++;
  }
  assertLess(touching, 10);
});

/** Sorts images by the nearest mean image; returns the share that is right. */
function nearestMean(train: ImageDataset, test: ImageDataset): number {
  const means = Array.from({ length: 10 }, () => new Float64Array(784));
  for (let i = 0; i < train.count; i++) {
    train.get(i).input.forEach((pixel, at) =>
      means[train.labels[i]][at] += pixel * 10 / train.count
    );
  }
  let right = 0;
  for (let i = 0; i < test.count; i++) {
    const pixels = test.get(i).input;
    const distances = means.map((mean) =>
      mean.reduce((sum, value, at) => sum + (value - pixels[at]) ** 2, 0)
    );
    if (distances.indexOf(Math.min(...distances)) === test.labels[i]) right++;
  }
  return right / test.count;
}

Deno.test("digits() can be told apart, but not by mean images alone", () => {
  const train = digits({ split: "train", count: 2000 });
  const test = digits({ split: "test", count: 500 });
  const accuracy = nearestMean(train, test);
  // A convolutional network gets above 0.97; MNIST itself gives 0.82 here
  assertGreater(accuracy, 0.6);
  assertLess(accuracy, 0.9);
});

Deno.test("digits() rejects options out of range", () => {
  const split = "valid" as "train";
  assertThrows(() => digits({ split }), RangeError, 'must be "train" or "test": got "valid"');
  for (const count of [-1, 1.5, 1_000_001]) {
    assertThrows(() => digits({ split: "train", count }), RangeError, `got ${count}`);
  }
  assertThrows(
    () => digits({ split: "train", seed: -1 }),
    RangeError,
    "seed must be a whole number",
  );
});
