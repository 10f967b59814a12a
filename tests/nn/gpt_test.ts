/** The language model: against its formula, training, and sampling. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Adam,
  crossEntropy,
  type Device,
  DTypeError,
  jit,
  Key,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../core/mod.ts";
import { GPT, type GPTOptions, RotaryEmbedding } from "../../nn/mod.ts";
import { drawToken } from "../../nn/gpt_generate.ts";
import { assertClose, reference, testOnDevices } from "../util.ts";

const SIZES: GPTOptions = { vocabSize: 7, contextLength: 6, layers: 2, heads: 2, width: 8 };

function make(device: Device, options: Partial<GPTOptions> = {}): GPT {
  return new GPT({ ...SIZES, key: new Key(1), device, ...options });
}

function tokensOf(rows: number[][], device: Device): Tensor {
  return tensor(rows, { dtype: "i32", device });
}

const ROWS = [[1, 5, 2, 6, 0], [3, 3, 4, 0, 1]];

/** The model by ordinary ops, head by head, with all scores. */
function formula(model: GPT, tokens: Tensor, rotary: RotaryEmbedding | null): Tensor {
  const p = model.stateDict();
  const length = tokens.shape[1];
  const [width, heads] = [8, 2];
  const norm = (x: Tensor, name: string) => {
    const centred = x.sub(x.mean(-1, { keepdim: true }));
    const variance = centred.mul(centred).mean(-1, { keepdim: true });
    return centred.div(variance.add(1e-5).sqrt()).mul(p[`${name}.weight`]).add(p[`${name}.bias`]);
  };
  const map = (x: Tensor, name: string) => x.matmul(p[`${name}.weight`].t()).add(p[`${name}.bias`]);
  const allowed = tensor(
    Array.from({ length: length * length }, (_, n) => n % length <= Math.floor(n / length)),
    { shape: [length, length], device: tokens.device },
  );
  let x = p["wte.weight"].indexSelect(0, tokens.reshape([-1])).reshape([-1, length, width]);
  if (!rotary) x = x.add(p["wpe.weight"].narrow(0, 0, length));
  for (let layer = 0; layer < 2; layer++) {
    const at = `h.${layer}`;
    const all = map(norm(x, `${at}.ln_1`), `${at}.attn.c_attn`);
    const each = Array.from({ length: heads }, (_, h) => {
      const size = width / heads;
      const part = (which: number) => all.narrow(2, which * width + h * size, size);
      const turn = (t: Tensor) => rotary ? rotary.forward(t) : t;
      const scores = turn(part(0)).matmul(turn(part(1)).transpose(1, 2)).div(Math.sqrt(size));
      return allowed.where(scores, -Infinity).softmax(-1).matmul(part(2));
    });
    const joined = each.map((t, h) =>
      t.pad([[0, 0], [0, 0], [h * width / heads, (heads - 1 - h) * width / heads]])
    ).reduce((a, b) => a.add(b));
    x = x.add(map(joined, `${at}.attn.c_proj`));
    const hidden = map(norm(x, `${at}.ln_2`), `${at}.mlp.c_fc`);
    const inner = hidden.add(hidden.pow(3).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    const active = hidden.mul(inner.tanh().add(1)).mul(0.5);
    x = x.add(map(active, `${at}.mlp.c_proj`));
  }
  return norm(x, "ln_f").matmul(p["lm_head.weight"].t());
}

/** Weights large enough that nothing cancels. */
async function enlarge(model: GPT): Promise<void> {
  const dict = Object.fromEntries(
    await Promise.all(
      model.namedParameters().map(async ([name, t], n) => {
        const values = Float64Array.from(
          await t.data(),
          (v, i) => Math.fround(v * 20 + 0.05 * Math.sin(i + n)),
        );
        return [name, tensor(values, { shape: t.shape, dtype: "f32", device: t.device })] as const;
      }),
    ),
  );
  model.loadStateDict(dict, { strict: false });
}

for (const positions of ["learned", "rotary"] as const) {
  Deno.test(`GPT with ${positions} positions is its formula, and so are its gradients`, async () => {
    const model = make(reference, { positions });
    await enlarge(model);
    const rotary = positions === "rotary" ? new RotaryEmbedding(4, 6, { device: reference }) : null;
    const tokens = tokensOf(ROWS, reference);
    const want = formula(model, tokens, rotary);
    want.mul(want).sum().backward();
    const gradients = await Promise.all(model.parameters().map((p) => p.grad!.data()));
    model.zeroGrad();
    const got = model.forward(tokens);
    assertClose(await got.data(), await want.data(), { rel: 1e-9, abs: 1e-10 });
    got.mul(got).sum().backward();
    for (const [i, [name, p]] of model.namedParameters().entries()) {
      assertClose(await p.grad!.data(), gradients[i], { rel: 1e-8, abs: 1e-8 }, name);
    }
  });

  testOnDevices({
    name: `GPT with ${positions} positions agrees with the reference`,
    fn: async (device) => {
      const [model, want] = [make(device, { positions }), make(reference, { positions })];
      await enlarge(model);
      await enlarge(want);
      const [y, z] = [model, want].map((m) =>
        m.forward(tokensOf(ROWS, m === model ? device : reference))
      );
      // Four parts that each normalise and sum.
      assertClose(await y.data(), await z.data(), { rel: 2e-5, abs: 2e-5 });
    },
  });
}

Deno.test("GPT sees no token behind the one that it continues", async () => {
  const model = make(reference);
  const [one, other] = [[1, 2, 3, 4], [1, 2, 6, 5]].map((row) =>
    model.forward(tokensOf([row], reference)).narrow(1, 0, 2)
  );
  assertEquals(await one.data(), await other.data());
});

Deno.test("keys and sharing of GPT's parameters", async () => {
  const tied = make(reference);
  assert(tied.stateDict()["lm_head.weight"] === tied.wte.weight);
  const block = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
    .flatMap((part) => [`${part}.weight`, `${part}.bias`]);
  assertEquals(Object.keys(tied.stateDict()), [
    "wte.weight",
    "wpe.weight",
    ...[0, 1].flatMap((n) => block.map((key) => `h.${n}.${key}`)),
    "ln_f.weight",
    "ln_f.bias",
    "lm_head.weight",
  ]);
  const free = make(reference, { tieWeights: false, positions: "rotary" });
  assertEquals(free.parameterCount, tied.parameterCount + 7 * 8 - 6 * 8);
  assertEquals("wpe.weight" in free.stateDict(), false);
  const std = async (t: Tensor) => await t.std().item();
  const wide = make(reference, { width: 64, layers: 8 });
  assertClose([await std(wide.h[0].mlp.parameters()[0])], [0.02], 0.05);
  assertClose([await std(wide.h[0].mlp.parameters()[2])], [0.02 / 4], 0.05);
});

testOnDevices({
  name: "GPT learns to count in a captured step, and generates what it learnt",
  fn: async (device) => {
    const options = { width: 16, layers: 1, contextLength: 8, dropout: 0.05 };
    const model = make(device, options);
    const optimizer = new Adam(model.parameters(), { lr: 0.01 });
    const step = jit((x: Tensor, y: Tensor) => {
      const loss = crossEntropy(model.forward(x).reshape([-1, 7]), y.reshape([-1]));
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss;
    });
    const rows = Array.from(
      { length: 7 },
      (_, from) => Array.from({ length: 9 }, (_, i) => (from + i) % 7),
    );
    const x = tokensOf(rows.map((row) => row.slice(0, 8)), device);
    const y = tokensOf(rows.map((row) => row.slice(1)), device);
    const first = await (step(x, y) as Tensor).item();
    for (let n = 0; n < 120; n++) (step(x, y) as Tensor).dispose();
    const last = await (step(x, y) as Tensor).item();
    assert(first > 1.7 && last < 0.3, `loss from ${first} to ${last}`);
    // Longer than the context, so that the first tokens are forgotten.
    const text = await model.generate(tokensOf([[2, 3], [5, 6]], device), {
      maxNewTokens: 9,
      temperature: 0,
    });
    const count = (from: number) => Array.from({ length: 11 }, (_, i) => (from + i) % 7);
    assertEquals(await text.array(), [count(2), count(5)]);
    assert(model.training && model.h[0].training, "the mode is restored");
  },
});

Deno.test("GPT draws the same tokens from the same key, row by row", async () => {
  const model = make(reference);
  const options = { maxNewTokens: 6, key: new Key(7) };
  const both = await (await model.generate(tokensOf([[1, 2], [3, 4]], reference), options)).array();
  const seen: (readonly number[])[] = [];
  const again = await model.generate(tokensOf([[1, 2]], reference), {
    ...options,
    onToken: (tokens) => void seen.push(tokens),
  });
  assertEquals(await again.array(), [(both as number[][])[0]]);
  assertEquals(seen.flat(), (both as number[][])[0].slice(2));
  const other = await model.generate(tokensOf([[1, 2]], reference), {
    ...options,
    key: new Key(8),
  });
  assert(String(await other.array()) !== String(await again.array()));
});

Deno.test("tokens are drawn by their share", () => {
  const logits = [Math.log(1), Math.log(2), Math.log(5)];
  const drawn = (temperature: number, topK: number) =>
    [0.1, 0.3, 0.6, 0.7, 0.85, 0.95].map((u) => drawToken(logits, temperature, topK, u));
  // Of 8 parts 5, 2 and 1, the most likely first.
  assertEquals(drawn(1, 3), [2, 2, 2, 1, 1, 0]);
  assertEquals(drawn(0.5, 3), [2, 2, 2, 2, 1, 1]);
  assertEquals(drawn(1, 2), [2, 2, 2, 2, 1, 1]);
  assertEquals(drawn(1, 1), [2, 2, 2, 2, 2, 2]);
  assertEquals(drawn(0, 3), [2, 2, 2, 2, 2, 2]);
  assertEquals(drawToken([3, 3, 1], 0, 3, 0.9), 0);
  assertEquals(drawToken([-Infinity, 2], 1, 2, 0.999999), 1);
  assertThrows(() => drawToken([NaN, 1], 1, 2, 0.5), RangeError, "NaN");
});

Deno.test("GPT says what does not fit", async () => {
  const device = reference;
  const wrong: [Partial<GPTOptions>, string][] = [
    [{ heads: 3 }, "width 8 and 3 heads"],
    [{ vocabSize: 0 }, "vocabSize 0"],
    [{ contextLength: 1.5 }, "contextLength 1.5"],
    [{ layers: 0 }, "layers 0"],
    [{ dropout: -1 }, "dropout -1"],
    [{ positions: "none" as "learned" }, 'positions "none"'],
    [{ positions: "rotary", heads: 8 }, "dim 1"],
  ];
  for (const [options, message] of wrong) {
    assertThrows(() => make(device, options), RangeError, message);
  }
  const model = make(device);
  const tokens = (shape: number[]) => zeros(shape, { dtype: "i32", device });
  assertThrows(() => model.forward(tokens([2, 7])), RangeError, "sequences of 7 tokens");
  assertThrows(() => model.forward(tokens([7])), ShapeError, "[N, L]");
  assertThrows(() => model.forward(zeros([2, 3], { device })), DTypeError, "i32 or u32");
  const generate = (options: object, shape = [1, 2]) => () =>
    model.generate(tokens(shape), { maxNewTokens: 1, ...options });
  await assertRejects(generate({ maxNewTokens: -1 }), RangeError, "maxNewTokens -1");
  await assertRejects(generate({ topK: 0 }), RangeError, "topK 0");
  await assertRejects(generate({ temperature: -1 }), RangeError, "temperature -1");
  await assertRejects(generate({}, [1, 0]), ShapeError, "L of at least 1");
});
