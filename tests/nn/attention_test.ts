/** Attention of several heads, and positions. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Device, DTypeError, jit, Key, ShapeError, tensor, zeros } from "../../core/mod.ts";
import {
  LearnedPositions,
  MultiheadAttention,
  RotaryEmbedding,
  SinusoidalPositions,
} from "../../nn/mod.ts";
import { attentionModuleCases } from "../golden/load_attention.ts";
import {
  assertClose,
  type Bounds,
  compareWithReference,
  gradcheck,
  randomValues,
  reference,
  sample,
  testOnDevices,
} from "../util.ts";
import { assertPass, DIGITS, placeAll, placeInputs } from "./golden.ts";

async function runGolden(device: Device, bounds: Bounds): Promise<void> {
  const cases = attentionModuleCases.filter((c) => c.layer === "MultiheadAttention");
  for (const { name, args, options, params, masks, ...pass } of cases) {
    const module = new MultiheadAttention(args[0], args[1], { ...options, device });
    assertEquals(Object.keys(module.stateDict()), Object.keys(params), name);
    module.loadStateDict(placeAll(params, device));
    const inputs = placeInputs(pass, device);
    const { query, key, value } = inputs;
    const output = module.forward(query, key, value, placeAll(masks, device));
    const leaves = { ...inputs, ...Object.fromEntries(module.namedParameters()) };
    await assertPass(output, pass, leaves, bounds, name);
  }
}

Deno.test("MultiheadAttention gives PyTorch's outputs and gradients, on the reference device", () =>
  runGolden(reference, DIGITS));

testOnDevices({
  name: "MultiheadAttention gives PyTorch's outputs and gradients",
  fn: (device) => runGolden(device, { rel: 4e-6, abs: 2e-6 }),
});

Deno.test("MultiheadAttention by isCausal is that by a mask, and padding may be added", async () => {
  const device = reference;
  const layer = new MultiheadAttention(6, 3, { batchFirst: true, key: new Key(1), device });
  const x = tensor(randomValues(2 * 4 * 6, 1), { shape: [2, 4, 6], device });
  const above = Array.from({ length: 4 }, (_, i) => Array.from({ length: 4 }, (_, j) => j > i));
  const attnMask = tensor(above.flat(), { shape: [4, 4], device });
  const want = await layer.forward(x, x, x, { attnMask }).data();
  assertClose(await layer.forward(x, x, x, { isCausal: true }).data(), want, 1e-14);
  const added = tensor([[0, 0, -Infinity, 0], [0, 0, 0, 0]], { device });
  const flags = tensor([[false, false, true, false], [false, false, false, false]], { device });
  const one = layer.forward(x, x, x, { isCausal: true, keyPaddingMask: added });
  const other = layer.forward(x, x, x, { attnMask, keyPaddingMask: flags });
  assertClose(await one.data(), await other.data(), 1e-14);
});

Deno.test("MultiheadAttention starts as PyTorch's", async () => {
  const layer = new MultiheadAttention(32, 4, { key: new Key(2), device: reference });
  const bound = Math.sqrt(6 / (32 + 96));
  const weight = await layer.in_proj_weight!.data();
  assert(weight.every((w) => Math.abs(w) <= bound));
  assert(weight.some((w) => Math.abs(w) > 0.95 * bound));
  const out = await layer.out_proj.weight.data();
  assert(out.every((w) => Math.abs(w) <= 1 / Math.sqrt(32)));
  for (const bias of [layer.in_proj_bias, layer.out_proj.bias]) {
    assert((await bias!.data()).every((b) => b === 0));
  }
});

testOnDevices({
  name: "MultiheadAttention drops weights in training only, anew in each captured step",
  fn: async (device) => {
    const options = { dropout: 0.5, batchFirst: true, key: new Key(3), device };
    const layer = new MultiheadAttention(8, 2, options);
    const twin = new MultiheadAttention(8, 2, options);
    const x = tensor(randomValues(2 * 5 * 8, 1), { shape: [2, 5, 8], dtype: "f32", device });
    const step = jit((t: typeof x) => layer.forward(t));
    const seen: string[] = [];
    for (let n = 0; n < 3; n++) {
      const got = await (step(x) as typeof x).data();
      assertEquals(got, await twin.forward(x).data(), `step ${n}`);
      seen.push(String(got));
    }
    assertEquals(new Set(seen).size, 3);
    assertEquals(layer.weightDropout.position, 3);
    layer.eval();
    const first = await layer.forward(x).data();
    assertEquals(await layer.forward(x).data(), first);
  },
});

Deno.test("MultiheadAttention says what does not fit", () => {
  const device = reference;
  assertThrows(() => new MultiheadAttention(6, 4, { device }), RangeError, "heads to divide it");
  assertThrows(() => new MultiheadAttention(6, 0, { device }), RangeError, "heads 0");
  assertThrows(() => new MultiheadAttention(6, 2, { dropout: 2, device }), RangeError, "p 2");
  const layer = new MultiheadAttention(6, 2, { batchFirst: true, device });
  const x = zeros([2, 4, 6], { device });
  assertThrows(() => layer.forward(zeros([2, 4, 5], { device })), ShapeError, "[N, L, 6]");
  assertThrows(() => layer.forward(x, zeros([3, 4, 6], { device })), ShapeError, "key [3, 4, 6]");
  const masks = (shape: number[]) => ({ attnMask: zeros(shape, { device }) });
  assertThrows(() => layer.forward(x, x, x, masks([4, 3])), ShapeError, "[4, 4] or [4, 4, 4]");
  const padding = { keyPaddingMask: zeros([4, 2], { device }) };
  assertThrows(() => layer.forward(x, x, x, padding), ShapeError, "expected [2, 4]");
  const counts = { attnMask: zeros([4, 4], { device, dtype: "i32" }) };
  assertThrows(() => layer.forward(x, x, x, counts), DTypeError, "bool or f32");
});

Deno.test("inner products of turned vectors depend on distances only", async () => {
  for (const interleaved of [false, true]) {
    const rotary = new RotaryEmbedding(6, 40, { interleaved, device: reference });
    const [a, b] = [1, 2].map((seed) =>
      tensor(randomValues(6, seed), { shape: [1, 6], device: reference })
    );
    const product = async (m: number, n: number) =>
      await rotary.forward(a, m).mul(rotary.forward(b, n)).sum().item();
    const near = await product(0, 3);
    for (const start of [1, 7, 36]) assertClose([await product(start, start + 3)], [near], 1e-12);
    assert(Math.abs(await product(0, 4) - near) > 1e-3, "another distance");
  }
});

testOnDevices({
  name: "RotaryEmbedding turns pairs by its angles, in both layouts",
  fn: async (device) => {
    const [length, dim] = [5, 8];
    const x = randomValues(2 * length * dim, 1);
    for (const interleaved of [false, true]) {
      const rotary = new RotaryEmbedding(dim, 9, { base: 100, interleaved, device });
      const want = new Float64Array(x.length);
      for (let row = 0; row < 2 * length; row++) {
        for (let i = 0; i < dim / 2; i++) {
          const angle = (row % length + 2) * 100 ** (-2 * i / dim);
          const [first, second] = interleaved ? [2 * i, 2 * i + 1] : [i, i + dim / 2];
          const [a, b] = [x[row * dim + first], x[row * dim + second]];
          want[row * dim + first] = a * Math.cos(angle) - b * Math.sin(angle);
          want[row * dim + second] = b * Math.cos(angle) + a * Math.sin(angle);
        }
      }
      const input = tensor(x, { shape: [2, length, dim], dtype: "f32", device });
      assertClose(await rotary.forward(input, 2).data(), want, { rel: 1e-6, abs: 5e-7 });
      const before = device.work().dispatches;
      rotary.forward(input);
      assertEquals(device.work().dispatches - before, 1);
    }
  },
});

Deno.test("gradients of RotaryEmbedding are those of central differences", async () => {
  for (const interleaved of [false, true]) {
    const rotary = new RotaryEmbedding(4, 9, { interleaved, device: reference });
    await gradcheck((x) => rotary.forward(x), [sample([2, 5, 4], 1)], "rotary", {
      secondOrder: true,
    });
  }
});

testOnDevices({
  name: "positions are added, and their gradients summed",
  fn: async (device) => {
    const table = await new SinusoidalPositions(9, 5, { device: reference }).table.array();
    const want = Array.from({ length: 9 }, (_, p) =>
      [0, 1, 2, 3, 4].map((d) => {
        const angle = p / 10000 ** (2 * Math.floor(d / 2) / 5);
        return d % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
      }));
    assertClose((table as number[][]).flat(), want.flat(), 1e-15);
    const layers = new Map([device, reference].map((d) => {
      const learned = new LearnedPositions(9, 5, { key: new Key(1), device: d });
      return [d, [learned, new SinusoidalPositions(9, 5, { device: d })] as const];
    }));
    for (const n of [0, 1]) {
      const fn = (x: ReturnType<typeof zeros>) => layers.get(x.device)![n].forward(x, 4);
      await compareWithReference(device, fn, [sample([2, 3, 5], 1)], 1e-6, `positions ${n}`);
    }
  },
});

Deno.test("positions say what does not fit", () => {
  const device = reference;
  const x = zeros([2, 5, 4], { device });
  const learned = new LearnedPositions(4, 4, { device });
  assertThrows(() => learned.forward(x), RangeError, "5 positions from 0 on");
  assertThrows(() => new SinusoidalPositions(8, 3, { device }).forward(x), ShapeError, "L, 3]");
  const rotary = new RotaryEmbedding(4, 8, { device });
  assertThrows(() => rotary.forward(x, 4), RangeError, "5 positions from 4 on");
  assertThrows(() => rotary.forward(zeros([3, 2], { device })), ShapeError, "L, 4]");
  assertThrows(() => new RotaryEmbedding(5, 8, { device }), RangeError, "an even number");
});
