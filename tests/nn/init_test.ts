import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { type Device, Key, seedScope, ShapeError, type Tensor } from "../../core/mod.ts";
import * as nn from "../../nn/mod.ts";
import { init } from "../../nn/mod.ts";
import { type Draw, initVectors } from "../golden/load.ts";
import { assertClose, f32Devices, reference, testOnDevices } from "../util.ts";

type LayerClass = new (...args: unknown[]) => nn.Module;
type Initializer = (shape: readonly number[], options: unknown) => Tensor;

/** Vectors name modes and nonlinearities as PyTorch does. */
function camel(value: unknown): unknown {
  return typeof value === "string" ? value.replace(/_(\w)/g, (_, c) => c.toUpperCase()) : value;
}

function camelOptions(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([k, v]) => [k, camel(v)]));
}

function moments(values: ArrayLike<number>): { mean: number; std: number } {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  const mean = sum / values.length;
  let square = 0;
  for (let i = 0; i < values.length; i++) square += (values[i] - mean) ** 2;
  return { mean, std: Math.sqrt(square / values.length) };
}

/** Five standard errors: one draw in two million fails by chance, and the keys are fixed. */
function assertDrawn(values: ArrayLike<number>, draw: Draw, label: string): void {
  const n = values.length;
  const list = Array.from(values);
  if (draw.kind === "constant") {
    assert(list.every((x) => x === draw.value), `${label}: expected ${draw.value} everywhere`);
    return;
  }
  const { mean, std } = moments(list);
  if (draw.kind === "uniform") {
    const width = draw.to - draw.from;
    const inside = list.every((x) => x >= draw.from - 1e-8 && x <= draw.to + 1e-8);
    assert(inside, `${label}: outside of [${draw.from}, ${draw.to}]`);
    // The largest of n numbers misses the end by more than 16/n of the width once in e^16 draws.
    const reach = list.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    assert(reach > draw.to - width * Math.min(1, 16 / n), `${label}: only up to ${reach}`);
    assertClose(
      [mean],
      [(draw.from + draw.to) / 2],
      5 * width / Math.sqrt(12 * n),
      `${label}, mean`,
    );
    return;
  }
  assertClose([mean], [draw.mean], 5 * draw.std / Math.sqrt(n), `${label}, mean`);
  assertClose([std], [draw.std], 5 * draw.std / Math.sqrt(2 * n), `${label}, std`);
}

async function checkLayers(device: Device): Promise<void> {
  using _ = seedScope(1);
  for (const { name, layer, args, options, entries } of initVectors.layers) {
    const made = (nn as unknown as Record<string, LayerClass>)[layer];
    const filled = layer === "PReLU" && args.length === 0 ? [1] : args;
    const module = new made(...filled, { ...options, device });
    const found = { ...Object.fromEntries(module.namedParameters()), ...module.stateDict() };
    assertEquals(Object.keys(found).sort(), Object.keys(entries).sort(), name);
    for (const [key, { shape, ...draw }] of Object.entries(entries)) {
      assertEquals(found[key].shape, shape, `${name}, ${key}`);
      // init: 0.1 is kept as an f32 on devices.
      const values = Array.from(await found[key].data(), Math.fround);
      const want = draw.kind === "constant" ? { ...draw, value: Math.fround(draw.value) } : draw;
      assertDrawn(values, want, `${name}, ${key}`);
    }
  }
}

Deno.test("layers start from PyTorch's distributions, on the reference device", async () => {
  await checkLayers(reference);
});

testOnDevices({
  name: "layers start from PyTorch's distributions",
  fn: async (device) => {
    await checkLayers(device);
  },
});

Deno.test("Kaiming's and Xavier's initialisers draw from PyTorch's distributions", async () => {
  for (const { name, initializer, shape, options, draws } of initVectors.initializers) {
    const draw = (init as unknown as Record<string, Initializer>)[initializer];
    const key = new Key(7).fold(name);
    const made = draw(shape, { ...camelOptions(options), key, device: reference });
    assertEquals(made.shape, shape, name);
    assertDrawn(await made.data(), draws, name);
  }
});

Deno.test("truncatedNormal() has the moments of the closed form, inside the cut", async () => {
  for (const { name, options: { mean, std, a, b }, ...want } of initVectors.truncNormal) {
    const key = new Key(3).fold(name);
    const options = { mean, std, low: a, high: b, key, device: reference };
    const values = await init.truncatedNormal([40_000], options).data();
    assert(Array.from(values).every((x) => x >= a && x <= b), name);
    const found = moments(values);
    assertClose([found.mean], [want.mean], 5 * want.std / 200, `${name}, mean`);
    assertClose([found.std], [want.std], 5 * want.std / 200, `${name}, std`);
  }
});

Deno.test("calculateGain() gives PyTorch's gains", () => {
  for (const { name, param, gain } of initVectors.gains) {
    const nonlinearity = camel(name.split(" ")[0]) as init.Nonlinearity;
    const found = param === null
      ? init.calculateGain(nonlinearity)
      : init.calculateGain(nonlinearity, param);
    assertClose([found], [gain], 1e-15, name);
  }
  assertThrows(
    () => init.calculateGain("swish" as init.Nonlinearity),
    RangeError,
    'Cannot calculate the gain of "swish"',
  );
});

Deno.test("fans() counts what meets in a weight", () => {
  assertEquals(init.fans([10, 20]), { fanIn: 20, fanOut: 10 });
  assertEquals(init.fans([8, 3, 5, 7]), { fanIn: 105, fanOut: 280 });
  assertThrows(() => init.fans([3]), ShapeError, "expected at least 2 axes");
});

Deno.test("initialisers refuse unknown modes", () => {
  const mode = "fan_in" as "fanIn";
  assertThrows(
    () => init.kaimingUniform([2, 2], { mode, device: reference }),
    RangeError,
    'Cannot initialise in mode "fan_in": expected fanIn or fanOut',
  );
});

Deno.test("layers draw the same bits from the same key, and others from another", async () => {
  const weight = async (key: Key, device = reference) =>
    Array.from(await new nn.Linear(20, 30, { key, device }).weight.data(), Math.fround);
  const first = await weight(new Key(5));
  assertEquals(await weight(new Key(5)), first);
  assertNotEquals(await weight(new Key(6)), first);
  const layer = new nn.Linear(30, 30, { key: new Key(5), device: reference });
  const bias = Array.from(await layer.bias!.data()).slice(0, 30);
  assertNotEquals(Array.from(await layer.weight.data()).slice(0, 30), bias);
  for (const device of f32Devices) {
    assertClose(await weight(new Key(5), device), first, 1e-7, device.kind);
  }
});

Deno.test("layers without a key draw from the default stream", async () => {
  const draw = async (): Promise<number[][]> => {
    using _ = seedScope(11);
    const layers = [0, 1].map(() => new nn.Linear(4, 4, { device: reference }));
    return await Promise.all(layers.map(async ({ weight }) => [...await weight.data()]));
  };
  const [first, second] = [await draw(), await draw()];
  assertEquals(second, first);
  assertNotEquals(first[0], first[1]);
});

Deno.test("constant() fills, and weights without elements can be drawn", async () => {
  assertEquals(await init.constant([2], 0.5, { device: reference }).array(), [0.5, 0.5]);
  for (const draw of [init.kaimingUniform, init.kaimingNormal, init.xavierUniform]) {
    assertEquals(draw([3, 0], { device: reference }).shape, [3, 0]);
  }
  const layer = new nn.Linear(0, 2, { device: reference });
  assertEquals(await layer.bias!.array(), [0, 0]);
});
