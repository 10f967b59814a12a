import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { jit, Key, ones, ShapeError, type Tensor, tensor, zeros } from "../../core/mod.ts";
import { DropPath } from "../../nn/mod.ts";
import { assertClose, devices, randomValues, reference as device, testOnDevices } from "../util.ts";

const key = new Key(0);

Deno.test("DropPath keeps 1 - p of the samples whole and divides them by it", async () => {
  const n = 20_000;
  for (const p of [0.1, 0.5, 0.9]) {
    const y = await new DropPath(p, { key }).forward(ones([n, 3], { device })).data();
    const kept = [];
    for (let i = 0; i < n; i++) {
      assertEquals(new Set(y.slice(3 * i, 3 * i + 3)).size, 1);
      if (y[3 * i] !== 0) kept.push(y[3 * i]);
    }
    // Five standard deviations of the binomial distribution.
    assertClose([kept.length / n], [1 - p], 5 * Math.sqrt(p * (1 - p) / n), `p ${p}`);
    assert(kept.every((value) => Math.abs(value - 1 / (1 - p)) < 1e-6), `p ${p}`);
  }
});

Deno.test("DropPath keeps all for p = 0 and in evaluation, nothing for p = 1", async () => {
  const x = tensor([[1, -2], [3, 4]], { device });
  assertStrictEquals(new DropPath().forward(x), x);
  assertStrictEquals(new DropPath(1).eval().forward(x), x);
  assertEquals(await new DropPath(1).forward(x).abs().array(), [[0, 0], [0, 0]]);
});

Deno.test("DropPath draws another mask at each call, the same from the same position", async () => {
  const x = ones([64, 1, 1, 1], { device });
  const layer = new DropPath(0.5, { key });
  const masks = [];
  for (let i = 0; i < 3; i++) masks.push(await layer.forward(x).array());
  assertNotEquals(masks[0], masks[1]);
  assertEquals(layer.position, 3);
  const resumed = new DropPath(0.5, { key });
  resumed.position = 2;
  assertEquals(await resumed.forward(x).array(), masks[2]);
  assertThrows(() => resumed.position = -1, RangeError, "with position -1");
});

Deno.test("DropPath hands the gradient through its mask", async () => {
  const x = tensor(randomValues(32, 4), { shape: [8, 4], device, requiresGrad: true });
  const y = new DropPath(0.25, { key }).forward(x);
  y.sum().backward();
  const [out, input, gradient] = await Promise.all([y.data(), x.data(), x.grad!.data()]);
  assertClose(gradient, Float64Array.from(out, (v, i) => v / input[i]), 1e-12);
});

for (const on of devices) {
  Deno.test(`DropPath draws on in captured steps, on ${on.kind}`, async () => {
    const run = async (captured: boolean) => {
      const layer = new DropPath(0.5, { key });
      const forward = (x: Tensor) => layer.forward(x);
      const step = captured ? jit(forward) : forward;
      const out = [];
      for (let i = 0; i < 4; i++) out.push(await step(ones([32, 2], { device: on })).array());
      return [layer.position, out];
    };
    const captured = await run(true);
    assertEquals(captured, await run(false));
    assertNotEquals((captured[1] as unknown[])[2], (captured[1] as unknown[])[3]);
  });
}

testOnDevices({
  name: "DropPath draws the same masks as on the reference device, in halves too",
  fn: async (on) => {
    const draws = [on, device].map((d) =>
      new DropPath(0.3, { key }).forward(ones([70, 2], { device: d })).gt(0).data()
    );
    const [a, b] = await Promise.all(draws);
    assertEquals([...a], [...b]);
    if (!on.traits.f16) return;
    const half = new DropPath(0.5, { key }).forward(ones([70, 2], { device: on, dtype: "f16" }));
    assertEquals(half.dtype, "f16");
  },
});

Deno.test("DropPath refuses what has no meaning", () => {
  assertThrows(() => new DropPath(1.1), RangeError, "Cannot make DropPath with p 1.1");
  assertThrows(() => new DropPath(NaN), RangeError, "DropPath with p NaN");
  const layer = new DropPath(0.5, { key });
  assertThrows(() => layer.forward(zeros([], { device })), ShapeError, "an axis of samples");
});
