import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { normalize, Standardizer } from "../../data/mod.ts";

Deno.test("normalize() maps every pixel to (pixel / 255 - mean) / std", () => {
  const image = Uint8Array.from({ length: 256 }, (_, pixel) => pixel);
  const out = new Float32Array(256);
  normalize({ mean: 0.1307, std: 0.3081 })(image, 1, out, 0);
  image.forEach((pixel) => assertEquals(out[pixel], Math.fround((pixel / 255 - 0.1307) / 0.3081)));
  // What torchvision gives for black and white, which rounds to f32 at each step
  assertAlmostEquals(out[0], -0.4242129623889923, 1e-7);
  assertAlmostEquals(out[255], 2.821486711502075, 3e-7);
});

Deno.test("normalize() without options scales to 0 and 1", () => {
  const out = new Float32Array(2);
  normalize()(new Uint8Array([0, 255]), 1, out, 0);
  assertEquals(out, new Float32Array([0, 1]));
});

Deno.test("normalize() treats each channel by its own moments, and writes at the offset", () => {
  const out = new Float32Array(6).fill(9);
  const image = new Uint8Array([0, 255, 0, 255]);
  normalize({ mean: [0, 0.5], std: [1, 0.5] })(image, 2, out, 1);
  assertEquals(out, new Float32Array([9, 0, 1, -1, 1, 9]));
  normalize({ mean: [0, 0.5], std: 0.5 })(image, 2, out, 1);
  assertEquals(out, new Float32Array([9, 0, 2, -1, 1, 9]));
});

Deno.test("normalize() rejects moments that cannot be used", () => {
  for (const std of [0, -1, NaN, Infinity, [], [1, 0]]) {
    assertThrows(() => normalize({ std }), RangeError, "standard deviation");
  }
  for (const mean of [NaN, Infinity, []]) {
    assertThrows(() => normalize({ mean }), RangeError, "mean");
  }
  assertThrows(() => normalize({ mean: [0, 0], std: [1, 1, 1] }), RangeError, "got 2 and 3");
  const transform = normalize({ mean: [0, 0], std: 1 });
  const image = new Uint8Array(3);
  assertThrows(() => transform(image, 3, new Float32Array(3), 0), RangeError, "3 channels");
});

Deno.test("Standardizer.fit() measures columns in double precision", () => {
  // A large offset that f32 sums would lose: 16,777,216 is 2^24
  const rows = new Float32Array([2 ** 24, 1, 2 ** 24 + 2, 1, 2 ** 24 + 4, 1]);
  const { mean, std } = Standardizer.fit(rows, 2);
  assertAlmostEquals(mean[0], 2 ** 24 + 2, 1e-6);
  assertAlmostEquals(std[0], Math.sqrt(8 / 3), 1e-6);
  assertEquals([mean[1], std[1]], [1, 1]);
});

Deno.test("Standardizer.fit() takes a feature that rounding alone moves as constant", () => {
  const rows = new Float32Array(1000).fill(0.1);
  const standardized = Standardizer.fit(rows, 1).apply(rows);
  assertEquals(standardized.every((value) => Math.abs(value) < 1e-6), true);
});

Deno.test("Standardizer() rejects rows and states that do not fit", () => {
  assertThrows(() => Standardizer.fit(new Float32Array(), 2), RangeError, "no row");
  assertThrows(() => Standardizer.fit(new Float32Array(3), 2), RangeError, "2 features");
  assertThrows(() => Standardizer.fit(new Float32Array(3), 0), RangeError, "0 features");
  assertThrows(() => new Standardizer({ mean: [0, 0], std: [1] }), RangeError, "got 2 and 1");
  assertThrows(() => new Standardizer({ mean: [0], std: [0] }), RangeError, "above 0");
  const standardizer = new Standardizer({ mean: [0, 0], std: [1, 1] });
  assertThrows(() => standardizer.apply(new Float32Array(3)), RangeError, "2 features");
});
