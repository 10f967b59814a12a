import { type Device, grad, type Tensor, tensor } from "../../core/mod.ts";
import {
  adaptiveAvgPool2d,
  avgPool2d,
  type AvgPool2dOptions,
  globalAvgPool2d,
  maxPool2d,
  type MaxPool2dOptions,
} from "../../core/tensor/pool2d.ts";
import { assertEquals, assertThrows } from "@std/assert";
import {
  assertClose,
  compareWithReference,
  devices,
  gradcheck,
  randomValues,
  reference,
  type Sample,
  sample,
  testOnDevices,
} from "../util.ts";
import { type LayerCase, layerCases, typedValues, values } from "../golden/load.ts";

function poolOf({ layer, args, options }: LayerCase): (x: Tensor) => Tensor {
  if (layer === "MaxPool2d") return (x) => maxPool2d(x, options as unknown as MaxPool2dOptions);
  if (layer === "AvgPool2d") return (x) => avgPool2d(x, options as unknown as AvgPool2dOptions);
  return (x) => adaptiveAvgPool2d(x, args[0] as number | [number, number]);
}

const golden = layerCases.filter((c) => c.layer.endsWith("Pool2d"));

for (const device of devices) {
  for (const vectors of golden) {
    Deno.test(`${vectors.name}: forward and backward as in PyTorch (${device.kind})`, async () => {
      const { input } = vectors.inputs;
      const x = tensor(Float64Array.from(typedValues(input)), {
        device,
        shape: input.shape,
        requiresGrad: true,
      });
      const y = poolOf(vectors)(x);
      const { output } = vectors.outputs;
      assertEquals([...y.shape], [...output.shape]);
      const { output: cotangent } = vectors.cotangents;
      const gradient = tensor(Float64Array.from(typedValues(cotangent)), {
        device,
        shape: cotangent.shape,
      });
      y.backward({ gradient });
      assertClose(await y.data(), values(output), 1e-6, "forward");
      assertClose(await x.grad!.data(), values(vectors.grads.input), 1e-6, "backward");
    });
  }
}

Deno.test("the vectors hold all poolings", () => assertEquals(golden.length, 20));

type Pool = readonly [string, (x: Tensor) => Tensor];

const maxPools: readonly Pool[] = ([
  { kernelSize: 2 },
  { kernelSize: 3, stride: 2, padding: 1 },
  { kernelSize: 2, stride: 1, dilation: 2 },
  { kernelSize: [3, 2], stride: [1, 3], padding: [1, 0] },
  { kernelSize: 2, stride: 3 },
  { kernelSize: 5, stride: 1, padding: 2 },
  { kernelSize: 3, stride: 2, ceilMode: true },
] as MaxPool2dOptions[]).map((options) => [
  `maxPool2d() with ${JSON.stringify(options)}`,
  (x) => maxPool2d(x, options),
]);

const avgPools: readonly Pool[] = [
  ...([
    { kernelSize: 2 },
    { kernelSize: 3, stride: 2, padding: 1 },
    { kernelSize: 3, stride: 2, padding: 1, countIncludePad: false },
    { kernelSize: [3, 2], stride: [1, 3], padding: [1, 0] },
    { kernelSize: 2, stride: 3, ceilMode: true },
    { kernelSize: 5, stride: 1, padding: 2, countIncludePad: false },
    { kernelSize: 4, stride: 3, padding: 2, ceilMode: true },
  ] as AvgPool2dOptions[]).map((options): Pool => [
    `avgPool2d() with ${JSON.stringify(options)}`,
    (x) => avgPool2d(x, options),
  ]),
  ...([1, [2, 3], [3, 5], [11, 2], [null, 1]] as (number | [number | null, number])[])
    .map((size): Pool => [
      `adaptiveAvgPool2d() to ${JSON.stringify(size)}`,
      (x) => adaptiveAvgPool2d(x, size),
    ]),
  ["globalAvgPool2d()", globalAvgPool2d],
];

/** Distinct values, so that a small step changes no winner. */
function distinct(shape: readonly number[], seed: number): Sample {
  const size = shape.reduce((a, b) => a * b, 1);
  const order = Array.from(randomValues(size, seed)).map((v, i) => [v, i]).sort((a, b) =>
    a[0] - b[0]
  );
  const data = new Float64Array(size);
  order.forEach(([, i], rank) => data[i] = 0.01 * rank - size / 200);
  return { shape, data };
}

const shapes = [[2, 4, 7, 6], [1, 3, 7, 7], [3, 1, 8, 9], [0, 4, 6, 6], [5, 7, 11], [2, 8, 5, 5]];

/** The same images in other memory orders. */
const orders: readonly Pool[] = [
  ["row-major", (x) => x],
  ["channels-last", (x) => x.transpose(-3, -1).contiguous().transpose(-3, -1)],
  ["transposed", (x) => x.transpose(-2, -1).contiguous().transpose(-2, -1)],
  [
    "sliced",
    (x) =>
      x.pad(x.shape.map(() => [1, 2])).slice(...x.shape.map((n) => ({ start: 1, stop: n + 1 }))),
  ],
  ["flipped", (x) => x.flip([-1, -3]).contiguous().flip([-1, -3])],
];

for (const [name, pool] of [...maxPools, ...avgPools]) {
  Deno.test(`${name}: gradient of the reference`, async () => {
    for (const shape of [[2, 3, 7, 6], [1, 2, 7, 9], [4, 8, 5]]) {
      const options = { secondOrder: true };
      await gradcheck(pool, [distinct(shape, 1)], `${name} of [${shape}]`, options);
      const curved = (x: Tensor) => pool(x.exp()).square();
      await gradcheck(curved, [distinct(shape, 2)], `${name} of [${shape}], inside a formula`);
    }
  });

  testOnDevices({
    name: `${name}: the device agrees with the reference`,
    fn: async (device) => {
      for (const [i, shape] of shapes.entries()) {
        for (const [order, arrange] of i < 2 ? orders : orders.slice(1, 2)) {
          const fn = (x: Tensor) => pool(arrange(x));
          const label = `${name} of [${shape}], ${order}`;
          const bounds = name.startsWith("max") ? { rel: 1e-7, abs: 2e-7 } : { rel: 0, abs: 1e-6 };
          await compareWithReference(device, fn, [sample(shape, i + 1)], bounds, label);
        }
      }
    },
  });
}

for (const device of devices) {
  Deno.test(`pooling gives channels-last memory (${device.kind})`, () => {
    const x = tensor(new Float64Array(2 * 3 * 4 * 4), { device, shape: [2, 3, 4, 4] });
    for (const y of [maxPool2d(x, { kernelSize: 2 }), avgPool2d(x, { kernelSize: 2 })]) {
      assertEquals([y.shape, y.strides], [[2, 3, 2, 2], [12, 1, 6, 3]]);
    }
  });

  Deno.test(`maxPool2d() takes NaN for the largest and the first of equals (${device.kind})`, async () => {
    for (const channels of [1, 4]) {
      const row = (values: number[]) => values.flatMap((v) => new Array<number>(channels).fill(v));
      const make = (values: number[]) => {
        const flat = tensor(row(values), { device });
        const x = flat.reshape([1, 2, values.length / 2, channels]).permute([0, 3, 1, 2]);
        x.requiresGrad = true;
        return x;
      };
      const one = async (values: number[], options: MaxPool2dOptions) => {
        const x = make(values);
        const y = maxPool2d(x, options);
        y.sum().backward();
        return [
          Array.from(await y.permute([0, 2, 3, 1]).data()).filter((_, i) => i % channels === 0),
          Array.from(await x.grad!.permute([0, 2, 3, 1]).data()).filter((_, i) =>
            i % channels === 0
          ),
        ];
      };
      assertEquals(await one([1, NaN, 3, 4, 5, 6, 7, 8], { kernelSize: 2 }), [[NaN, 8], [
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        1,
      ]]);
      assertEquals(await one([2, 2, -1, -1, 2, 2, -1, -1], { kernelSize: 2 }), [[2, -1], [
        1,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
      ]]);
      const low = -Infinity;
      assertEquals(await one([low, low, low, 0, low, low, 0, 0], { kernelSize: 2 }), [[low, 0], [
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
      ]]);
    }
  });

  Deno.test(`maxPool2d() of a window that lies in the padding alone (${device.kind})`, async () => {
    const x = tensor([1, 2, 3], { device, shape: [1, 1, 1, 3], requiresGrad: true });
    const options = { kernelSize: [1, 2], padding: [0, 1], dilation: [1, 4] } as const;
    const y = maxPool2d(x, options);
    assertEquals(await y.array(), [[[[-Infinity]]]]);
    y.sum().backward({ createGraph: true });
    assertEquals(await x.grad!.array(), [[[[0, 0, 0]]]]);
  });

  Deno.test(`pooling keeps f16 (${device.kind})`, async () => {
    if (!device.traits.f16) return;
    const x = tensor([[[[1, 2], [3, 4]]]], { device, dtype: "f16" });
    x.requiresGrad = true;
    const y = maxPool2d(x, { kernelSize: 2 }).add(avgPool2d(x, { kernelSize: 2 }));
    assertEquals([y.dtype, await y.array()], ["f16", [[[[6.5]]]]]);
    assertEquals(globalAvgPool2d(x.detach()).dtype, "f16");
    y.sum().backward();
    assertEquals([x.grad!.dtype, await x.grad!.array()], ["f16", [[[[0.25, 0.25], [0.25, 1.25]]]]]);
  });
}

testOnDevices({
  name: "pooling of more threads than one dimension of workgroups holds",
  fn: async (device) => {
    const shape = [1, 1, 2100, 2100];
    const data = randomValues(2100 * 2100, 5);
    const x = tensor(data, { device, shape, requiresGrad: true });
    const y = maxPool2d(x, { kernelSize: 3, stride: 1, padding: 1 });
    const [gradient] = grad(y.sum(), [x]);
    const [got, places] = await Promise.all([y.data(), gradient.data()]);
    let sum = 0;
    for (const v of places) sum += v;
    assertEquals(sum, 2100 * 2100);
    for (let at = 0; at < got.length; at += 9973) {
      const [row, column] = [Math.floor(at / 2100), at % 2100];
      let want = -Infinity;
      for (let a = Math.max(0, row - 1); a < Math.min(2100, row + 2); a++) {
        for (let b = Math.max(0, column - 1); b < Math.min(2100, column + 2); b++) {
          want = Math.max(want, data[a * 2100 + b]);
        }
      }
      assertEquals(got[at], want);
    }
  },
});

for (const device of devices) {
  Deno.test(`pooling of windows with more places than a thread may visit (${device.kind})`, async () => {
    const size = 260;
    const data = randomValues(size * size, 8);
    // Equal largest values in two rows and columns: the first in row-major order counts.
    for (const at of [7 * size + 9, 7 * size + 200, 90 * size + 3]) data[at] = 5;
    const x = tensor(data, { device, shape: [1, 1, size, size], requiresGrad: true });
    const most = maxPool2d(x, { kernelSize: size });
    assertEquals(await most.item(), 5);
    most.sum().backward();
    const winners = Array.from(await x.grad!.data()).flatMap((g, i) => g === 0 ? [] : [[i, g]]);
    assertEquals(winners, [[7 * size + 9, 1]]);
    const mean = data.reduce((a, b) => a + b, 0) / data.length;
    for (const pool of [() => adaptiveAvgPool2d(x, 1), () => avgPool2d(x, { kernelSize: size })]) {
      x.grad = null;
      const y = pool();
      assertClose([await y.item()], [mean], { rel: 0, abs: 1e-6 });
      y.sum().backward();
      assertClose(await x.grad!.data(), data.map(() => 1 / data.length), { rel: 2e-6, abs: 0 });
    }
    const dot = tensor([[[[2]]]], { device, requiresGrad: true });
    const spread = adaptiveAvgPool2d(dot, size);
    assertEquals(new Set(await spread.data()), new Set([2]));
    spread.sum().backward();
    assertEquals(await dot.grad!.item(), size * size);
    const long = tensor(new Float64Array(40_000), { device, shape: [1, 1, 1, 40_000] });
    assertThrows(() => avgPool2d(long, { kernelSize: [1, 40_000] }), RangeError, "at most 32768");
  });
}

Deno.test("maxPool2d() is one dispatch, and one more backward", () => {
  const count = (device: Device, fn: () => void) => {
    const before = device.work().dispatches;
    fn();
    return device.work().dispatches - before;
  };
  const x = tensor(randomValues(64, 1), {
    device: reference,
    shape: [1, 4, 4, 4],
    requiresGrad: true,
  });
  let y: Tensor;
  assertEquals(count(reference, () => y = maxPool2d(x, { kernelSize: 2 })), 1);
  const gradient = tensor(randomValues(16, 2), { device: reference, shape: [1, 4, 2, 2] });
  assertEquals(count(reference, () => grad(y, [x], { gradient })), 1);
});

Deno.test("pooling refuses what has no meaning", () => {
  const x = tensor(new Float64Array(16), { device: reference, shape: [1, 1, 4, 4] });
  const fails = (options: MaxPool2dOptions, message: string) =>
    assertThrows(() => maxPool2d(x, options), RangeError, message);
  fails({ kernelSize: 0 }, "kernelSize 0: expected integers of at least 1");
  fails({ kernelSize: 2, stride: [1, 0] }, "stride [1,0]");
  fails({ kernelSize: 2, padding: -1 }, "padding -1");
  fails({ kernelSize: 3, padding: 2 }, "at most half of the kernel");
  fails({ kernelSize: 2, dilation: 1.5 }, "dilation 1.5");
  fails({ kernelSize: 5 }, "a window of 5 rows does not fit into 4 with padding 0");
  fails({ kernelSize: [1, 3], dilation: 2 }, "a window of 5 columns does not fit");
  assertThrows(() => maxPool2d(x.reshape([4, 4]), { kernelSize: 2 }), RangeError, "[4, 4]");
  assertThrows(() => avgPool2d(x.to("i32"), { kernelSize: 2 }), TypeError, "dtype i32");
  assertThrows(() => adaptiveAvgPool2d(x, 0), RangeError, "outputSize [0,0]");
  assertThrows(() => globalAvgPool2d(x.reshape([16])), RangeError, "[16]");
  const none = tensor([], { device: reference, shape: [1, 1, 0, 4] });
  assertThrows(() => globalAvgPool2d(none), RangeError, "H and W of at least 1");
});
