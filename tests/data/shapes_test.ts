import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { type ImageDataset, shapes } from "../../data/mod.ts";
import { sha256Hex } from "../../data/download.ts";
import { shapeDistances } from "../../data/shape_distances.ts";

Deno.test("shapes() depends on seed, split and index alone", () => {
  const train = shapes({ split: "train", count: 30, seed: 5 });
  assertEquals(
    train.images.subarray(0, 12 * 3072),
    shapes({ split: "train", count: 12, seed: 5 }).images,
  );
  assertEquals([...train.labels.subarray(0, 12)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
  const others = [
    shapes({ split: "test", count: 30, seed: 5 }),
    shapes({ split: "train", count: 30, seed: 6 }),
  ];
  for (const other of others) {
    for (let i = 0; i < 30; i++) {
      assert(other.get(i).input.some((value, at) => value !== train.get(i).input[at]));
    }
  }
});

Deno.test("shapes() draws the same images on every machine", async () => {
  const { images } = shapes({ split: "train", count: 200, seed: 0 });
  assertEquals((await sha256Hex(images)).slice(0, 16), "cc5bb9a06cdea407");
});

Deno.test("shapes() says what its normalisation is", () => {
  const dataset = shapes({ split: "train", count: 3000 });
  const { mean, std } = dataset.statistics();
  for (const channel of [0, 1, 2]) {
    assertAlmostEquals(mean[channel], dataset.normalization.mean as number, 0.01);
    assertAlmostEquals(std[channel], dataset.normalization.std as number, 0.01);
  }
});

Deno.test("shapes() checks its options", () => {
  assertThrows(() => shapes({ split: "all" as "train" }), RangeError, '"train" or "test"');
  assertThrows(() => shapes({ split: "train", count: -1 }), RangeError, "count must be");
  assertThrows(() => shapes({ split: "train", seed: 0.5 }), RangeError, "seed must be");
});

Deno.test("distances to shapes are below 0 inside and grow by 1 in 1", () => {
  const [disc, ring, square, , cross] = shapeDistances;
  assertAlmostEquals(disc(0.5, 0), -0.35);
  assertAlmostEquals(ring(0, 0), 0.5);
  assertAlmostEquals(square(0, 0.5), -0.28);
  assertAlmostEquals(square(3, 0), 2.22);
  assertAlmostEquals(square(0.78 + 3, 0.78 + 4), 5);
  assertAlmostEquals(cross(0.6, 0.6), 0.33);
  for (const distance of shapeDistances) {
    for (let i = 0; i < 200; i++) {
      const [x, y, turn] = [Math.sin(i) * 1.5, Math.cos(3 * i) * 1.5, i];
      const step = distance(x + 0.01 * Math.cos(turn), y + 0.01 * Math.sin(turn)) - distance(x, y);
      assert(Math.abs(step) <= 0.01 + 1e-9);
    }
  }
});

/** Accuracy of a softmax regression on all pixels, trained by gradient descent. */
function linearAccuracy(train: ImageDataset, test: ImageDataset, epochs: number): number {
  const weights = new Float32Array(10 * 3073);
  const scores = (image: Float32Array): number[] =>
    Array.from({ length: 10 }, (_, c) => {
      let sum = weights[c * 3073 + 3072];
      for (let i = 0; i < 3072; i++) sum += weights[c * 3073 + i] * image[i];
      return sum;
    });
  const inputs = (data: ImageDataset, i: number) =>
    Float32Array.from(data.get(i).input, (value) => (value / 255 - 0.4) / 0.25);
  for (let step = 0; step < epochs * train.count; step++) {
    const i = step * 7 % train.count;
    const image = inputs(train, i);
    const logits = scores(image);
    const top = Math.max(...logits);
    const exps = logits.map((value) => Math.exp(value - top));
    const sum = exps.reduce((total, value) => total + value, 0);
    exps.forEach((value, c) => {
      const slope = 1e-4 * (value / sum - (c === train.labels[i] ? 1 : 0));
      for (let at = 0; at < 3072; at++) weights[c * 3073 + at] -= slope * image[at];
      weights[c * 3073 + 3072] -= slope;
    });
  }
  let right = 0;
  for (let i = 0; i < test.count; i++) {
    const logits = scores(inputs(test, i));
    if (logits.indexOf(Math.max(...logits)) === test.labels[i]) right++;
  }
  return right / test.count;
}

Deno.test("a linear model does not solve shapes()", () => {
  const train = shapes({ split: "train", count: 1501 });
  const test = shapes({ split: "test", count: 500 });
  const accuracy = linearAccuracy(train, test, 4);
  assert(accuracy < 0.3, `${accuracy}`);
  assert(accuracy > 0.1, `${accuracy}`);
});
