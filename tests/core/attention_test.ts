/** Attention without a matrix of all scores: values, gradients, masks, dropout, memory, errors. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type AttentionOptions,
  type Device,
  dropoutMask,
  DTypeError,
  grad,
  jit,
  Key,
  scaledDotProductAttention,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../mod.ts";
import { packedSelfAttention } from "../../core/tensor/attention.ts";
import { attentionProductCases } from "../golden/load_attention.ts";
import { assertPass, DIGITS, placeAll, placeInputs } from "../nn/golden.ts";
import {
  assertClose,
  compareWithReference,
  evaluate,
  gradcheck,
  randomValues,
  reference,
  type Sample,
  sample,
  type TensorFunction,
  testOnDevices,
} from "../util.ts";
import { kernelSets, ownDevice } from "./devices.ts";

/** What f32 allows: exponentials of sums of up to 130 products. */
const BOUNDS = { rel: 1e-5, abs: 2e-6 };

function attention(options: AttentionOptions = {}): TensorFunction {
  return (q, k, v) => scaledDotProductAttention(q, k, v, options);
}

/** Attention with the mask as a fourth input. */
function masked(options: AttentionOptions = {}): TensorFunction {
  return (q, k, v, mask) => scaledDotProductAttention(q, k, v, { ...options, mask });
}

function operands(l: number, s: number, d: number, dv: number, batch: number[] = [2, 3]): Sample[] {
  return [
    sample([...batch, l, d], 1, -2, 2),
    sample([...batch, s, d], 2, -2, 2),
    sample([...batch, s, dv], 3),
  ];
}

/** About half of the elements; the first `rows` rows of a matrix have none. */
function flags(shape: number[], seed: number, rows = 0): Sample {
  const columns = shape.at(-1)!;
  const size = shape.reduce((a, b) => a * b, 1);
  const data = randomValues(size, seed, 0, 1).map((x, i) => x < 0.5 && i >= rows * columns ? 1 : 0);
  return { shape, data, dtype: "bool" };
}

async function runGolden(device: Device, bounds: typeof DIGITS): Promise<void> {
  for (const { name, options, masks, ...pass } of attentionProductCases) {
    const inputs = placeInputs(pass, device);
    const { mask = null } = placeAll(masks, device);
    const { q, k, v } = inputs;
    const output = scaledDotProductAttention(q, k, v, { ...options, mask });
    await assertPass(output, pass, inputs, bounds, name);
  }
}

Deno.test("attention is its definition in PyTorch, on the reference device", () =>
  runGolden(reference, DIGITS));

testOnDevices({
  name: "attention is its definition in PyTorch",
  fn: (device) => runGolden(device, { rel: 4e-6, abs: 2e-6 }),
});

const sizes: [number, number, number, number, number[]][] = [
  [1, 1, 1, 1, []],
  [1, 7, 4, 4, [2]],
  [7, 1, 3, 2, [2]],
  [5, 11, 3, 7, [2, 3]],
  [26, 25, 8, 12, [3]],
  [31, 67, 16, 16, [1, 2]],
];

/** Many matrices, whose gradients the CPU computes in one kernel, among them more keys than causal queries see. */
const many: [number, number, number, number, number[]][] = [
  [1, 1, 1, 1, [16]],
  [5, 53, 3, 7, [16]],
  [49, 26, 9, 12, [2, 8]],
  [67, 67, 8, 4, [4, 4]],
];

for (const [name, device] of kernelSets) {
  Deno.test({
    name: `attention agrees with the reference for all sizes, ${name}`,
    ignore: device === null,
    fn: async () => {
      for (const [l, s, d, dv, batch] of [...sizes, ...many]) {
        for (const causal of [false, true]) {
          const label = `${l} × ${s} of ${d} and ${dv}${causal ? ", causal" : ""}`;
          const inputs = operands(l, s, d, dv, batch);
          await compareWithReference(device!, attention({ causal }), inputs, BOUNDS, label);
        }
      }
    },
  });

  Deno.test({
    name: `attention agrees with the reference for masks, dropout and layouts, ${name}`,
    ignore: device === null,
    fn: async () => {
      const inputs = operands(13, 18, 4, 6);
      const dropout = { p: 0.3, key: new Key(5) };
      const added = { ...sample([13, 18], 4), differentiable: false };
      const across: Sample = { ...sample([2, 1, 1, 18], 4), differentiable: false };
      const turned: TensorFunction = (q, k, v) =>
        scaledDotProductAttention(q.transpose(-2, -1), k, v.transpose(-2, -1), { causal: true });
      const cases: [string, TensorFunction, Sample[]][] = [
        ["a bool mask", masked(), [...inputs, flags([13, 18], 4, 2)]],
        ["a bool mask and causal", masked({ causal: true }), [...inputs, flags([18], 5)]],
        ["a bool mask for each query", masked(), [...inputs, flags([3, 13, 1], 6)]],
        ["an added mask", masked(), [...inputs, added]],
        ["an added mask for each item", masked({ causal: true }), [...inputs, across]],
        ["a scale", attention({ scale: -0.7 }), inputs],
        ["dropout", attention({ dropout }), inputs],
        ["dropout of all", attention({ dropout: { ...dropout, p: 1 } }), inputs],
        ["dropout and all else", masked({ dropout, causal: true, scale: 0.4 }), [
          ...inputs,
          flags([2, 1, 13, 18], 7),
        ]],
        ["a broadcast batch", attention({ causal: true }), [
          sample([2, 1, 9, 4], 1),
          sample([3, 9, 4], 2),
          sample([9, 5], 3),
        ]],
        ["rows along memory", turned, [
          sample([2, 4, 9], 1),
          sample([2, 9, 4], 2),
          sample([2, 8, 9], 3),
        ]],
        ["no batch", attention({ causal: true }), operands(3, 4, 2, 2, [0, 2])],
        ["no query", attention(), operands(0, 4, 2, 2)],
        ["no key", attention({ causal: true }), operands(3, 0, 2, 2)],
      ];
      for (const [label, fn, samples] of cases) {
        await compareWithReference(device!, fn, samples, BOUNDS, label);
      }
    },
  });
}

testOnDevices({
  name: "gradients of many heads are those of each head, packed and apart",
  fn: async (device) => {
    const dropout = { p: 0.2, key: new Key(4) };
    const [n, length, heads, depth] = [6, 29, 3, 5];
    const input = sample([n, length, 3 * heads * depth], 1);
    const options = { causal: true, dropout };
    const bounds = { rel: 1e-5, abs: 2e-6 };
    const packed: TensorFunction = (x) => packedSelfAttention(x, heads, options);
    await compareWithReference(device, packed, [input], bounds, "packed");
    const all = await evaluate(device, attention({ causal: true }), operands(29, 29, 5, 4, [18]));
    for (const i of [0, 17]) {
      const rows = (s: Sample): Sample => {
        const size = s.data.length / 18;
        const data = Array.from(s.data).slice(i * size, (i + 1) * size);
        return { shape: [1, ...s.shape.slice(1)], data };
      };
      const own = operands(29, 29, 5, 4, [18]).map(rows);
      const inputs = own.map((s) =>
        tensor(Float64Array.from(s.data), {
          shape: s.shape,
          dtype: "f32",
          device,
          requiresGrad: true,
        })
      );
      const [q, k, v] = inputs;
      const g = randomValues(18 * 29 * 4, 99).slice(i * 29 * 4, (i + 1) * 29 * 4);
      const gradient = tensor(g, { shape: [1, 29, 4], dtype: "f32", device });
      const got = grad(scaledDotProductAttention(q, k, v, { causal: true }), inputs, { gradient });
      for (const [at, t] of got.entries()) {
        const part = Array.from(all.gradients[at]!).slice(i * t.size, (i + 1) * t.size);
        assertEquals(Array.from(await t.data()), part, `matrix ${i}, gradient ${at}`);
      }
    }
  },
});

testOnDevices({
  name: "attention agrees with the reference for wide rows",
  fn: async (device) => {
    // Compilers of software adapters take seconds for each of these kernels.
    const all: [number, number][] = device.kind === "cpu"
      ? [[64, 64], [130, 7], [66, 129], [257, 300]]
      : [[36, 40]];
    for (const [d, dv] of all) {
      const inputs = operands(9, 10, d, dv, [2]);
      const fn = attention({ causal: true });
      await compareWithReference(device, fn, inputs, BOUNDS, `columns ${d}, ${dv}`);
    }
  },
});

Deno.test("gradients of attention are those of central differences, of second order too", async () => {
  const secondOrder = { secondOrder: true };
  const inputs = operands(4, 5, 3, 2, [2]);
  const dropout = { p: 0.4, key: new Key(3) };
  await gradcheck(attention(), inputs, "plain", secondOrder);
  await gradcheck(attention({ causal: true, scale: 0.9 }), inputs, "causal", secondOrder);
  await gradcheck(attention({ dropout }), inputs, "dropout", secondOrder);
  await gradcheck(masked(), [...inputs, flags([4, 5], 4, 1)], "bool mask", secondOrder);
  await gradcheck(masked({ dropout }), [...inputs, sample([4, 5], 4)], "mask", secondOrder);
  const packed: TensorFunction = (x) => packedSelfAttention(x, 2, { causal: true, dropout });
  await gradcheck(packed, [sample([2, 4, 12], 1)], "packed", secondOrder);
});

Deno.test("dropout of weights is that of dropoutMask() over all scores", async () => {
  const key = new Key(8);
  const inputs = operands(6, 7, 4, 3);
  const want = await evaluate(reference, (q, k, v) => {
    const weights = q.matmul(k.transpose(-2, -1)).mul(0.5).softmax(-1);
    return weights.mul(dropoutMask([2, 3, 6, 7], 0.25, key, reference)).matmul(v);
  }, inputs);
  const got = await evaluate(reference, attention({ dropout: { p: 0.25, key } }), inputs);
  assertClose(got.output, want.output, 1e-12, "output");
  got.gradients.forEach((g, i) => assertClose(g!, want.gradients[i]!, 1e-10, `gradient ${i}`));
});

testOnDevices({
  name: "a query without a key gives 0, with no gradient",
  fn: async (device) => {
    const rows = flags([4, 5], 4, 2);
    const { output, gradients } = await evaluate(device, masked(), [
      ...operands(4, 5, 3, 3, []),
      rows,
    ]);
    assertEquals(Array.from(output).slice(0, 6), new Array(6).fill(0));
    assertEquals(Array.from(gradients[0]!).slice(0, 6), new Array(6).fill(0));
    assert([output, ...gradients.slice(0, 3)].every((all) => Array.from(all!).every(isFinite)));
  },
});

testOnDevices({
  name: "attention keeps large scores apart, and hands NaN on",
  fn: async (device) => {
    const q = tensor([[1e4], [-1e4]], { device });
    const k = tensor([[1], [0], [-1]], { device });
    const v = tensor([[1], [2], [3]], { device });
    const options = { causal: true, mask: tensor([true, true, true], { device }) };
    assertClose(await scaledDotProductAttention(q, k, v, options).data(), [1, 2], 1e-6);
    const broken = tensor([[NaN], [1]], { device });
    const [first, second] = await scaledDotProductAttention(broken, k, v, options).data();
    assert(Number.isNaN(first) && Number.isFinite(second), "one query is NaN");
  },
});

testOnDevices({
  name: "packed attention is that of its parts, in values, gradients and order of memory",
  fn: async (device) => {
    const [n, length, heads, depth] = [2, 27, 3, 4];
    const options = { causal: true, dropout: { p: 0.2, key: new Key(4) } };
    const part = (x: Tensor, which: number) =>
      x.reshape([n, length, 3, heads, depth]).select(2, which).transpose(1, 2);
    const parted: TensorFunction = (x) =>
      scaledDotProductAttention(part(x, 0), part(x, 1), part(x, 2), options).transpose(1, 2)
        .reshape([n, length, heads * depth]);
    const input = sample([n, length, 3 * heads * depth], 1);
    const got = await evaluate(device, (x) => packedSelfAttention(x, heads, options), [input]);
    const want = await evaluate(device, parted, [input]);
    assertEquals(got.output, want.output);
    assertEquals(got.gradients, want.gradients);
    const x = zeros([n, length, 3 * heads * depth], { device });
    const before = device.work().dispatches;
    packedSelfAttention(x, heads, options);
    assertEquals(device.work().dispatches - before, 1, "one kernel, no copies");
  },
});

testOnDevices({
  name: "captured attention draws anew in every step, as the uncaptured one does",
  fn: async (device) => {
    const make = () => {
      let position = 0;
      const key = () => new Key(1).fold(position);
      const step = (q: Tensor, k: Tensor, v: Tensor) => {
        const y = scaledDotProductAttention(q, k, v, { causal: true, dropout: { p: 0.5, key } });
        const z = scaledDotProductAttention(y, k, v, { causal: true, dropout: { p: 0.5, key } });
        return [z, ...grad(z.mul(z).sum(), [q, k, v])];
      };
      return { step, next: () => void position++ };
    };
    const inputs = operands(9, 9, 4, 4, [2]).map(({ shape, data }) =>
      tensor(Float64Array.from(data), { shape, dtype: "f32", device, requiresGrad: true })
    );
    const [plain, captured] = [make(), make()];
    const replay = jit((q: Tensor, k: Tensor, v: Tensor) => captured.step(q, k, v));
    const seen = new Set<string>();
    for (let n = 0; n < 4; n++) {
      const want = plain.step(inputs[0], inputs[1], inputs[2]);
      const got = replay(inputs[0], inputs[1], inputs[2]) as Tensor[];
      for (const [i, t] of want.entries()) {
        assertEquals(await got[i].data(), await t.data(), `step ${n}, result ${i}`);
      }
      seen.add(String(await got[0].data()));
      plain.next();
      captured.next();
    }
    assertEquals(seen.size, 4);
  },
});

for (const kind of ["cpu", "webgpu"]) {
  Deno.test({
    name: `attention stores no matrix of all scores, ${kind}`,
    ignore: !kernelSets.some(([name, device]) => name === kind && device !== null),
    fn: async () => {
      const device = await ownDevice({ kind });
      const [heads, length, depth] = [4, 1024, 8];
      const inputs = [1, 2, 3].map((seed) =>
        tensor(randomValues(heads * length * depth, seed), {
          shape: [heads, length, depth],
          dtype: "f32",
          device,
          requiresGrad: true,
        })
      );
      const all = 4 * heads * length * length;
      const g = zeros([heads, length, depth], { device });
      const [q, k, v] = inputs;
      for (const causal of [false, true]) {
        using _ = device.scope();
        grad(scaledDotProductAttention(q, k, v, { causal }), inputs, { gradient: g });
        await device.sync();
      }
      const { peakBytes } = device.memory();
      device.close();
      assert(peakBytes < all / 8, `${peakBytes} bytes, where all scores take ${all}`);
    },
  });
}

testOnDevices({
  name: "attention of f16 sums in f32 and gives f16",
  f16: true,
  fn: async (device) => {
    const inputs = operands(9, 11, 8, 8);
    const half: TensorFunction = (...all) => {
      const [q, k, v] = all.map((t) => t.device === reference ? t : t.to("f16"));
      const y = scaledDotProductAttention(q, k, v, { causal: true });
      assertEquals(y.dtype, q.dtype);
      return y.to("f32");
    };
    // Operands, result and gradients are rounded to 11 bits.
    await compareWithReference(device, half, inputs, { rel: 2e-3, abs: 2e-3 }, "f16");
  },
});

Deno.test("attention says what does not fit", () => {
  const device = reference;
  const make = (...shape: number[]) => zeros(shape, { device });
  const q = make(2, 3, 4);
  const call = (k: Tensor, v: Tensor, options: AttentionOptions = {}) => () =>
    scaledDotProductAttention(q, k, v, options);
  const [k, v] = [make(2, 5, 4), make(2, 5, 6)];
  assertThrows(call(make(2, 5, 3), v), ShapeError, "expected [..., L, D], [..., S, D]");
  assertThrows(call(k, make(2, 4, 6)), ShapeError, "v [2, 4, 6]");
  assertThrows(call(make(3, 5, 4), v), ShapeError, "neither is 1");
  assertThrows(call(make(4), v), ShapeError, "k [4]");
  assertThrows(call(k, v, { mask: make(4, 5) }), ShapeError, "here [2, 3, 5]");
  assertThrows(call(k, v, { mask: make(2, 2, 3, 5) }), ShapeError, "broadcasts to [..., L, S]");
  const counts = zeros([3, 5], { device, dtype: "i32" });
  assertThrows(call(k, v, { mask: counts }), DTypeError, "expected bool or f32");
  assertThrows(call(counts, v), DTypeError, "expected f32 or f16");
  assertThrows(call(k, v, { scale: NaN }), RangeError, "scale NaN");
  const key = new Key(0);
  assertThrows(call(k, v, { dropout: { p: 1.5, key } }), RangeError, "dropout 1.5");
  assertThrows(() => packedSelfAttention(make(2, 3, 10), 2), ShapeError, "divisible by 6");
});
