import { assertEquals, assertThrows } from "@std/assert";
import {
  DTypeError,
  interpolate,
  type InterpolateOptions,
  jit,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../core/mod.ts";
import {
  assertClose,
  compareWithReference,
  devices,
  gradcheck,
  randomValues,
  reference as device,
  sample,
  testOnDevices,
} from "../util.ts";

const settings: Record<string, InterpolateOptions> = {
  nearest: { size: [7, 3] },
  "nearest-exact": { scaleFactor: [1.5, 0.6], mode: "nearest-exact" },
  bilinear: { scaleFactor: 2.3, mode: "bilinear" },
  "bilinear, smaller": { size: [2, 2], mode: "bilinear" },
  "bilinear, aligned": { size: [9, 2], mode: "bilinear", alignCorners: true },
  "bilinear, aligned, one row": { size: [1, 11], mode: "bilinear", alignCorners: true },
};

Deno.test("interpolate() has right gradients of first and second order", async () => {
  for (const [name, options] of Object.entries(settings)) {
    const fn = (x: Tensor) => interpolate(x, options).square();
    await gradcheck(fn, [sample([2, 3, 5, 4], 1)], name, { secondOrder: true });
  }
});

testOnDevices({
  name: "interpolate() agrees with the reference on images of any memory order",
  fn: async (on) => {
    for (const [name, options] of Object.entries(settings)) {
      for (const channels of [3, 8]) {
        const fn = (x: Tensor) => interpolate(x, options);
        const x = sample([2, channels, 13, 6], 2);
        // Places are computed in f32: off by the last digit of numbers up to 30.
        const bounds = { rel: 4e-6, abs: 8e-6 };
        await compareWithReference(on, fn, [x], bounds, name);
        const turned = (x: Tensor) => interpolate(x.transpose(2, 3), options);
        await compareWithReference(on, turned, [x], bounds, `${name}, transposed`);
      }
    }
  },
});

Deno.test("interpolate() keeps what is linear, away from the edges", async () => {
  const rows = Array.from({ length: 8 }, (_, i) => 3 * i + 1);
  const x = tensor(rows, { shape: [1, 1, 8, 1], device });
  const y = await interpolate(x, { scaleFactor: [4, 1], mode: "bilinear" }).data();
  const want = Array.from({ length: 32 }, (_, o) => 3 * ((o + 0.5) / 4 - 0.5) + 1);
  assertClose(y.slice(2, 30), want.slice(2, 30), 1e-12);
  assertEquals([y[0], y[31]], [1, 22]);
});

for (const on of devices) {
  Deno.test(`interpolate() takes large factors, and batches of no images, on ${on.kind}`, async () => {
    // One pixel is looked for by 300 × 300 places: in two steps.
    const x = tensor([[[[2]]]], { device: on, requiresGrad: true });
    const y = interpolate(x, { size: 300, mode: "bilinear" });
    y.sum().backward();
    assertEquals(await y.sum().item(), 180_000);
    assertEquals(await x.grad!.item(), 90_000);
    const none = zeros([0, 2, 3, 3], { device: on, requiresGrad: true });
    const out = interpolate(none, { scaleFactor: 2 });
    assertEquals([...out.shape], [0, 2, 6, 6]);
    out.sum().backward();
    assertEquals([...none.grad!.shape], [0, 2, 3, 3]);
  });

  Deno.test(`interpolate() gives the same bits in captured steps, on ${on.kind}`, async () => {
    const turn = (x: Tensor) => {
      const leaf = x.detach();
      leaf.requiresGrad = true;
      interpolate(leaf, settings.bilinear).square().sum().backward();
      return leaf.grad!;
    };
    const step = jit(turn);
    for (let i = 0; i < 3; i++) {
      const x = tensor(randomValues(96, i), { shape: [1, 4, 6, 4], device: on });
      assertEquals(await step(x).array(), await turn(x).array());
    }
  });
}

Deno.test("interpolate() refuses what has no meaning", () => {
  const x = zeros([1, 1, 4, 4], { device });
  const options: [InterpolateOptions, string][] = [
    [{}, "Cannot interpolate: expected either size or scaleFactor"],
    [{ size: 2, scaleFactor: 2 }, "expected either size or scaleFactor"],
    [{ size: 0 }, "with size 0"],
    [{ scaleFactor: -1 }, "with scaleFactor -1: expected numbers above 0"],
    [{ size: 2, mode: "bicubic" as "nearest" }, 'in mode "bicubic"'],
    [{ size: 2, alignCorners: true }, 'aligned corners in mode "nearest"'],
  ];
  for (const [wrong, text] of options) {
    assertThrows(() => interpolate(x, wrong), RangeError, text);
  }
  assertThrows(
    () => interpolate(x, { scaleFactor: 0.1 }),
    ShapeError,
    "Cannot interpolate [1, 1, 4, 4] with scaleFactor 0.1: the result would be 0 × 0",
  );
  assertThrows(() => interpolate(x.squeeze(0), { size: 2 }), ShapeError, "expected [N, C, H, W]");
  assertThrows(() => interpolate(x.to("i32"), { size: 2 }), DTypeError, "expected f32 or f16");
});
