import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import {
  type Device,
  type DType,
  getRngState,
  Key,
  manualSeed,
  nextKey,
  seedScope,
  setRngState,
  type Tensor,
  threefry2x32,
} from "../../core/mod.ts";
import {
  bernoulli,
  dropoutMask,
  normal,
  permutation,
  randint,
  randomBits,
  truncatedNormal,
  uniform,
} from "../../core/tensor/random_tensors.ts";
import { order } from "../../data/order.ts";
import { normalCdf, normalQuantile } from "../../kernels/normal_distribution.ts";
import { assertClose, cpu, gpu, reference, testOnDevices } from "../util.ts";
import { devices } from "./lines.ts";

const MILLION = 1_000_000;

Deno.test("threefry2x32() gives the published blocks of Threefry-2x32-20", () => {
  // Known answers of the Random123 library, kat_vectors.
  assertEquals(threefry2x32(0, 0, 0, 0), [0x6b200159, 0x99ba4efe]);
  const ones = 0xffffffff;
  assertEquals(threefry2x32(ones, ones, ones, ones), [0x1cb996fc, 0xbb002be7]);
  assertEquals(
    threefry2x32(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3),
    [0xc4923a9c, 0x483df7a0],
  );
});

for (const [name, device] of devices) {
  Deno.test({
    name: `randomBits() are the first words of threefry2x32() on ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const key of [new Key(0), new Key(2 ** 53 - 1), new Key(7).fold("weight").fold(3)]) {
        const words = await randomBits([41, 241], { key, device: device! }).data();
        const want = Uint32Array.from(words, (_, i) => threefry2x32(key.k0, key.k1, i, 0)[0]);
        assertEquals(words, want);
      }
      assertEquals(await randomBits([], { key: new Key(0), device: device! }).item(), 0x6b200159);
    },
  });

  Deno.test({
    name: `randint() is the 96-bit product of both words with the range on ${name}`,
    ignore: device === null,
    fn: async () => {
      const key = new Key(123);
      for (const [low, high] of [[0, 1], [-7, 12], [0, 3_000_000_019], [-(2 ** 31), 2 ** 31 - 1]]) {
        if (high > 2 ** 31) continue;
        const got = await randint(low, high, [5003], { key, device: device! }).data();
        const want = Int32Array.from(got, (_, i) => {
          const [a, b] = threefry2x32(key.k0, key.k1, i, 0);
          const share = (BigInt(a) * 2n ** 32n + BigInt(b)) * BigInt(high - low) / 2n ** 64n;
          return low + Number(share);
        });
        assertEquals(got, want, `[${low}, ${high})`);
      }
    },
  });

  Deno.test({
    name: `uniform() is 24 bits of the word in [low, high) on ${name}`,
    ignore: device === null,
    fn: async () => {
      const key = new Key(9);
      const got = await uniform([4099], { key, device: device! }).data();
      const want = Float64Array.from(
        got,
        (_, i) => Math.floor(threefry2x32(key.k0, key.k1, i, 0)[0] / 256) / 2 ** 24,
      );
      assertClose(got, want, 0);
    },
  });

  Deno.test({
    name: `uniform() never reaches its upper end on ${name}`,
    ignore: device === null,
    fn: async () => {
      const key = new Key(5);
      // Half of the draws would round to an end of a range of two neighbouring numbers.
      for (const [low, high] of [[1, 1 + 2 ** -23], [-1 - 2 ** -23, -1], [2 ** 24, 2 ** 24 + 2]]) {
        const data = await uniform([1000], { key, low, high, device: device! }).data();
        assert(data.every((x) => x >= low && x < high), `[${low}, ${high})`);
      }
      assertEquals(await uniform([2], { key, low: 3, high: 3, device: device! }).array(), [3, 3]);
    },
  });

  Deno.test({
    name:
      `bernoulli() dropoutMask() have nothing between their two values, and the edges on ${name}`,
    ignore: device === null,
    fn: async () => {
      const key = new Key(1);
      const count = async (t: Tensor, value: number) => {
        const data = await t.data();
        const hits = data.filter((x) => Math.abs(x - value) < 1e-6).length;
        assertEquals(hits + data.filter((x) => x === 0).length, data.length);
        return hits / data.length;
      };
      const shape = [300, 1000];
      assertAlmostEquals(
        await count(bernoulli(shape, 0.3, { key, device: device! }), 1),
        0.3,
        0.005,
      );
      assertAlmostEquals(await count(dropoutMask(shape, 0.2, key, device!), 1.25), 0.8, 0.005);
      const options = { key, device: device! };
      assertEquals(await bernoulli([3], 0, options).array(), [0, 0, 0]);
      assertEquals(await bernoulli([3], 1, options).array(), [1, 1, 1]);
      assertEquals(await dropoutMask([3], 0, key, device!).array(), [1, 1, 1]);
      assertEquals(await dropoutMask([3], 1, key, device!).array(), [0, 0, 0]);
      // The draw that uniform() makes decides.
      const draws = await uniform([500], options).data();
      const want = Array.from(draws, (u) => u < 0.25 ? 1 : 0);
      assertEquals(await bernoulli([500], 0.25, options).array(), want);
      const [first] = draws;
      assertEquals(await bernoulli([1], first, options).array(), [0]);
      assertEquals(await bernoulli([1], first + 2 ** -24, options).array(), [1]);
    },
  });
}

/** Draws of all kinds from one key, on a device. */
function draws(device: Device, shape: number[]): Record<string, Tensor> {
  const key = new Key(2024);
  return {
    uniform: uniform(shape, { key, low: -3, high: 5, device }),
    normal: normal(shape, { key, mean: 1, std: 2, device }),
    truncated: truncatedNormal(shape, { key, device }),
    "far tail": truncatedNormal(shape, { key, low: 4, high: 9, device }),
    "other tail": truncatedNormal(shape, { key, low: -11, high: -8, device }),
    "hardly cut": truncatedNormal(shape, { key, low: -40, high: 40, device }),
    bernoulli: bernoulli(shape, 0.4, { key, device }),
    dropout: dropoutMask(shape, 0.4, key, device),
    integer: randint(-100, 100, shape, { key, device }),
  };
}

testOnDevices({
  name:
    "uniform() normal() truncatedNormal() and the others on the device agree with the reference",
  fn: async (device) => {
    const want = draws(reference, [317, 211]);
    for (const [name, t] of Object.entries(draws(device, [317, 211]))) {
      // The angle of a normal draw is rounded at π, and multiplied by up to 6.7 deviations of 2.
      const abs = name === "normal" ? 4e-6 : 1e-6;
      assertClose(await t.data(), await want[name].data(), { rel: 1e-6, abs }, name);
    }
  },
});

testOnDevices({
  name: "randomBits() serve more elements than one dimension of workgroups",
  fn: async (device) => {
    using _ = device.scope();
    const key = new Key(8);
    const words = await randomBits([65535 * 64 + 77], { key, device }).data();
    for (const i of [0, 4_000_000, words.length - 1]) {
      assertEquals(words[i], threefry2x32(key.k0, key.k1, i, 0)[0]);
    }
  },
});

/** Mean, variance, and the moments of third and fourth order about the mean. */
function moments(x: ArrayLike<number>): [number, number, number, number] {
  let mean = 0;
  for (let i = 0; i < x.length; i++) mean += x[i] / x.length;
  const sums = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const d = x[i] - mean;
    for (let k = 0; k < 3; k++) sums[k] += d ** (k + 2) / x.length;
  }
  return [mean, sums[0], sums[1], sums[2]];
}

/** χ² of counts in bins that should be equally full. */
function chiSquare(x: ArrayLike<number>, bins: number, share: (value: number) => number): number {
  const counts = new Float64Array(bins);
  for (let i = 0; i < x.length; i++) counts[Math.min(bins - 1, Math.floor(share(x[i]) * bins))]++;
  const want = x.length / bins;
  return counts.reduce((sum, n) => sum + (n - want) ** 2 / want, 0);
}

/** 100 bins have 99 degrees of freedom: χ² is above 161 or below 52 once in 20,000 times each. */
function assertEven(x: ArrayLike<number>, share: (value: number) => number, label: string): void {
  const value = chiSquare(x, 100, share);
  assert(value > 52 && value < 161, `${label}: χ² of 100 bins is ${value}`);
}

/** Integral of the normal density by Simpson's rule, from the mean. */
const phi = (() => {
  const steps = 20_000;
  const h = 10 / steps;
  const f = (z: number) => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  const table = new Float64Array(steps + 1);
  for (let i = 1; i <= steps; i++) {
    table[i] = table[i - 1] + h / 6 * (f((i - 1) * h) + 4 * f((i - 0.5) * h) + f(i * h));
  }
  return (z: number) => {
    const at = Math.min(steps - 1, Math.abs(z) / h);
    const i = Math.floor(at);
    const value = table[i] + (at - i) * (table[i + 1] - table[i]);
    return 0.5 + (z < 0 ? -value : value);
  };
})();

Deno.test("normalCdf() and normalQuantile() agree with integration, tables and each other", () => {
  for (const z of [-6, -3.5, -2.9, -1, -0.1, 0, 0.5, 2.999, 3.001, 5]) {
    assertAlmostEquals(normalCdf(z), phi(z), 1e-9);
    assertAlmostEquals(normalQuantile(normalCdf(z), normalCdf(-z)), z, 1e-9);
  }
  // Abramowitz and Stegun, table 26.2: -log10 of the upper tail.
  for (const [z, digits] of [[5, 6.54265], [10, 23.11805], [20, 88.56010], [30, 197.30921]]) {
    assertAlmostEquals(-Math.log10(normalCdf(-z)), digits, 1e-5);
  }
  assertAlmostEquals(normalQuantile(0.975, 0.025), 1.959963984540054, 1e-12);
});

const many = cpu ?? gpu ?? reference;

Deno.test("uniform() of a million draws has the moments and spread of its range", async () => {
  using _ = many.scope();
  const x = await uniform([MILLION], { key: new Key(11), low: -1, high: 3, device: many }).data();
  const [mean, variance, third, fourth] = moments(x);
  // Five standard errors each.
  assertAlmostEquals(mean, 1, 5 * Math.sqrt(4 / 3 / MILLION));
  assertAlmostEquals(variance, 4 / 3, 5 * 1.2 / 1000);
  assertAlmostEquals(third, 0, 5 * 2.6 / 1000);
  assertAlmostEquals(fourth, 16 / 5, 5 * 4.3 / 1000);
  assertEven(x, (v) => (v + 1) / 4, "uniform");
});

Deno.test("normal() of a million draws has the moments and distribution", async () => {
  using _ = many.scope();
  const options = { key: new Key(12), mean: -1, std: 2, device: many };
  const x = (await normal([MILLION], options).data()).map((v) => (v + 1) / 2);
  const [mean, variance, third, fourth] = moments(x);
  assertAlmostEquals(mean, 0, 5 / 1000);
  assertAlmostEquals(variance, 1, 5 * Math.sqrt(2) / 1000);
  assertAlmostEquals(third, 0, 5 * Math.sqrt(15) / 1000);
  assertAlmostEquals(fourth, 3, 5 * Math.sqrt(96) / 1000);
  assertEven(x, phi, "normal");
  let extreme = 0;
  for (const v of x) extreme = Math.max(extreme, Math.abs(v));
  assert(extreme > 4.2 && extreme < 6.7, `the most extreme of a million is ${extreme}`);
});

Deno.test("truncatedNormal() draws have the distribution between the cuts", async () => {
  using _ = many.scope();
  for (const [low, high] of [[-2, 2], [-0.5, 3], [1, 1.5]]) {
    const options = { key: new Key(13), mean: 10, std: 3, low: 10 + 3 * low, high: 10 + 3 * high };
    const x = await truncatedNormal([200_000], { ...options, device: many }).data();
    assert(x.every((v) => v >= options.low && v <= options.high));
    const span = phi(high) - phi(low);
    assertEven(x, (v) => (phi((v - 10) / 3) - phi(low)) / span, `[${low}, ${high}]`);
  }
  const point = truncatedNormal([3], { mean: 1, std: 0, key: new Key(0), device: many });
  assertEquals(await point.array(), [1, 1, 1]);
});

Deno.test("randint() of a million draws is even over its range", async () => {
  using _ = many.scope();
  const x = await randint(-50, 50, [MILLION], { key: new Key(14), device: many }).data();
  assertEven(x, (v) => (v + 50.5) / 100, "randint");
});

Deno.test("Key.fold() makes streams that do not correlate", async () => {
  using _ = many.scope();
  const root = new Key(15);
  const keys = [
    root,
    root.fold(0),
    root.fold(1),
    root.fold("0"),
    root.fold("a"),
    root.fold("b"),
    new Key(16),
  ];
  const streams = await Promise.all(
    keys.map((key) => uniform([200_000], { key, low: -1, device: many }).data()),
  );
  const correlation = (a: ArrayLike<number>, b: ArrayLike<number>, shift: number) => {
    let sum = 0;
    for (let i = 0; i + shift < a.length; i++) sum += a[i] * b[i + shift];
    return sum / a.length * 3;
  };
  // The standard error is 1/√200,000 = 0.0022; the largest of these 49 stays within 4.5 of them.
  streams.forEach((a, i) => {
    for (let j = i; j < streams.length; j++) {
      const value = correlation(a, streams[j], i === j ? 1 : 0);
      assert(Math.abs(value) < 0.01, `streams ${i} and ${j} correlate by ${value}`);
    }
  });
  const [first, second] = await Promise.all(
    [root, root.fold(0)].map((key) => normal([200_000], { key, device: many }).data()),
  );
  assert(Math.abs(correlation(first, second, 0) / 3) < 0.01);
});

Deno.test("permutation() is the shuffle of the data order, and evenly spread", async () => {
  const device = reference;
  const key = new Key(42).fold("data shuffle");
  assertEquals(await permutation(1000, { key, device }).array(), [...order(42, 0, 1000)]);
  const once = permutation(1000, { key: new Key(1), device });
  assertEquals(once.dtype, "i32");
  const values = [...await once.data()];
  assertEquals(values.toSorted((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i));
  // Every place gets every number equally often: 10 degrees of freedom twice; χ² above 35 once in
  // 10,000 times.
  const firsts = new Float64Array(11);
  const lasts = new Float64Array(11);
  for (let seed = 0; seed < 2200; seed++) {
    const p = await permutation(11, { key: new Key(seed), device }).data();
    firsts[p[0]]++;
    lasts[p[10]]++;
  }
  for (const counts of [firsts, lasts]) {
    const value = counts.reduce((sum, n) => sum + (n - 200) ** 2 / 200, 0);
    assert(value < 35, `χ² is ${value}`);
  }
  assertEquals(await permutation(0, { device }).array(), []);
  assertEquals(await permutation(1, { device }).array(), [0]);
});

Deno.test("normal() without a key draws from the stream of seedScope()", async () => {
  const draw = () => normal([5], { device: reference }).array();
  const first = await (async () => {
    using _ = seedScope(3);
    return [await draw(), await draw()];
  })();
  using _ = seedScope(3);
  assertEquals([await draw(), await draw()], first);
  assertNotEquals(first[0], first[1]);
});

Deno.test("uniform() normal() take dtype and requiresGrad, and no elements", async () => {
  const device = reference;
  const x = normal([2, 3], { key: new Key(0), device, requiresGrad: true });
  assertEquals([x.requiresGrad, x.isLeaf, x.dtype], [true, true, "f32"]);
  assertEquals(uniform([2], { key: new Key(0), device, dtype: "f16" }).dtype, "f16");
  assertEquals(await uniform([0, 4], { device }).array(), []);
  assertEquals(randint(0, 2, [0], { device }).shape, [0]);
});

Deno.test("uniform() normal() randint() bernoulli() refuse what cannot be drawn", () => {
  const device = reference;
  const i32 = { device, dtype: "i32" as DType };
  assertThrows(() => uniform([1], { device, low: 2 }), RangeError, "from 2 to 1");
  assertThrows(() => uniform([1], { device, high: NaN }), RangeError, "with high NaN");
  assertThrows(() => uniform([1], { device, low: -3e38, high: 3e38 }), RangeError, "high - low");
  assertThrows(() => uniform([1], i32), TypeError, "of dtype i32: expected f32 or f16");
  assertThrows(() => uniform([-1], { device }), RangeError, "shape [-1]");
  assertThrows(() => normal([1], { device, std: -1 }), RangeError, "with std -1");
  assertThrows(() => normal([1], { device, mean: 1e39 }), RangeError, "with mean 1e+39");
  assertThrows(() => truncatedNormal([1], { device, low: 1, high: 1 }), RangeError, "from 1 to 1");
  assertThrows(() => truncatedNormal([1], { device, low: 30, high: 40 }), RangeError, "one tail");
  assertThrows(() => randint(1, 1, [1], { device }), RangeError, "from 1 to before 1");
  assertThrows(() => randint(0, 2 ** 31 + 1, [1], { device }), RangeError, "of 32 bits");
  assertThrows(() => randint(0.5, 2, [1], { device }), RangeError, "from 0.5");
  assertThrows(() => bernoulli([1], 1.5, { device }), RangeError, "with p 1.5");
  assertThrows(() => dropoutMask([1], NaN, new Key(0), device), RangeError, "with p NaN");
  assertThrows(() => permutation(-1, { device }), RangeError, "Cannot permute -1 numbers");
  const key = 7 as unknown as Key;
  assertThrows(() => normal([1], { device, key }), TypeError, "expected a Key");
});

Deno.test("setRngState() goes on with the default stream from where getRngState() saw it", () => {
  manualSeed(2 ** 40 + 3);
  nextKey();
  const state = JSON.parse(JSON.stringify(getRngState()));
  const want = [nextKey(), nextKey()];
  manualSeed(5);
  setRngState(state);
  assertEquals([nextKey(), nextKey()], want);
  for (const wrong of [null, {}, { key: [1], drawn: 0 }, { key: [1, 2], drawn: -1 }]) {
    assertThrows(() => setRngState(wrong as never), TypeError, "expected a key of two words");
  }
});
