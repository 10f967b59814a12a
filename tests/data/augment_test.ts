import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  AutogradError,
  type Device,
  DTypeError,
  jit,
  Key,
  ShapeError,
  type Tensor,
  tensor,
  uniform,
} from "../../core/mod.ts";
import {
  type Augmentation,
  AugmentLoader,
  AugmentPipeline,
  type AugmentPipelineJson,
  colorJitter,
  compose,
  cutout,
  digits,
  normalizeImages,
  randAugment,
  randomAdjustSharpness,
  randomAffine,
  randomAutocontrast,
  randomCrop,
  randomEqualize,
  randomErasing,
  randomGrayscale,
  randomHorizontalFlip,
  randomInvert,
  randomPosterize,
  randomRotation,
  randomSolarize,
  randomVerticalFlip,
  trivialAugmentWide,
} from "../../data/mod.ts";
import type { PlannedStep } from "../../data/augment/step.ts";
import { assertClose, devices, randomValues, reference, testOnDevices } from "../util.ts";

const SHAPE = [3, 13, 15] as const;
const COUNT = 24;
const bytes = Uint8Array.from(
  randomValues(COUNT * 585, 5, 0, 120),
  (value, i) => value + i * 7 % 130,
);

function batchOn(device: Device, requiresGrad = false): Tensor {
  const values = Float32Array.from(bytes, (byte) => byte / 255);
  return tensor(values, { device, shape: [COUNT, ...SHAPE], requiresGrad });
}

const moments = { mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4] };

/** Every step, alone and with neighbours that share its kernel. */
const pipelines: Readonly<Record<string, readonly Augmentation[]>> = {
  standard: [
    randomCrop({ padding: 2, fill: 0.5 }),
    randomHorizontalFlip(),
    normalizeImages(moments),
    randomErasing({ p: 0.7, value: [1, 2, 3] }),
  ],
  reflect: [randomCrop({ padding: 4, paddingMode: "reflect", size: [9, 16] })],
  edge: [randomCrop({ padding: [1, 2, 3, 4], paddingMode: "edge" }), cutout({ size: 5 })],
  "other order": [
    cutout({ size: 4, p: 0.5 }),
    randomVerticalFlip(),
    randomHorizontalFlip(),
    randomHorizontalFlip(),
    randomCrop({ size: 11 }),
  ],
  noise: [randomErasing({ p: 1, value: "random", scale: [0.3, 0.5] })],
  affine: [randomAffine({
    degrees: 30,
    translate: [0.2, 0.1],
    scale: [0.7, 1.4],
    shear: [-10, 10, -5, 5],
    interpolation: "bilinear",
    fill: [0.1, 0.5, 0.9],
    p: 0.8,
  })],
  rotation: [randomRotation({ degrees: 90, interpolation: "bilinear" })],
  jitter: [colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.2 })],
  colours: [
    randomGrayscale({ p: 0.3 }),
    randomInvert(),
    randomPosterize({ bits: 3 }),
    randomSolarize({ threshold: 0.5 }),
  ],
  statistics: [randomAutocontrast(), randomEqualize(), randomAdjustSharpness({ factor: 2 })],
  randAugment: [randAugment()],
  "some of randAugment": [randAugment({ numOps: 3, p: 0.5, interpolation: "bilinear" })],
  trivialAugmentWide: [trivialAugmentWide({ fill: 0.5 })],
};

const numbers = Uint32Array.from({ length: COUNT }, (_, i) => 1000 - 7 * i);

Deno.test("AugmentPipeline does the same on the host and on every device", async () => {
  for (const [name, steps] of Object.entries(pipelines)) {
    const augment = compose(steps, { seed: 3 });
    const host = [...numbers].map((sample, i) =>
      augment.applyToImage(bytes.subarray(585 * i, 585 * (i + 1)), SHAPE, { sample, epoch: 5 })
    );
    const shape = augment.outputShape(SHAPE);
    const want = host.flatMap(({ values }) => [...values]);
    assertEquals(host[0].shape, shape);
    for (const device of devices) {
      using _ = device.scope();
      const samples = tensor(numbers, { device });
      for (const epoch of [5, tensor(new Int32Array([5]), { device })]) {
        const got = augment.apply(batchOn(device), { samples, epoch });
        assertEquals(got.shape, [COUNT, ...shape]);
        // Angles and logarithms of f32, and sums of 200 pixels.
        assertClose(await got.data(), want, { rel: 2e-6, abs: 2e-6 }, `${name}, ${device.kind}`);
      }
    }
  }
});

Deno.test("steps that share a kernel do what they do one by one", async () => {
  using _ = reference.scope();
  const steps = pipelines.standard as readonly PlannedStep[];
  const together = compose(steps, { seed: 3 });
  const want = await together.apply(batchOn(reference), { epoch: 1 }).data();
  // Numbers belong to columns, so each step gets as many idle columns before it as the others take.
  const idle: Augmentation[] = [];
  let now = batchOn(reference);
  for (const step of steps) {
    now = compose([...idle, step], { seed: 3 }).apply(now, { epoch: 1 });
    step.plan(SHAPE, 0).columns.forEach(() => idle.push(randomVerticalFlip({ p: 0 })));
  }
  assertClose(await now.data(), want, 1e-12);
  // Random numbers, boxes, and all the rest.
  const step = jit((x: Tensor) => together.apply(x));
  step(batchOn(reference));
  assertEquals(step.stats().dispatches, 3);
});

testOnDevices({
  name: "AugmentPipeline draws other numbers at each call, captured or not",
  fn: async (device) => {
    for (const steps of [pipelines.standard, pipelines.jitter, pipelines.randAugment]) {
      using _ = device.scope();
      const images = batchOn(device);
      const samples = tensor(numbers, { device });
      const eager = compose(steps, { seed: 8 });
      const captured = compose(steps, { seed: 8 });
      const step = jit((x: Tensor, at: Tensor) => captured.apply(x, { samples: at }), {
        verify: 2,
      });
      const seen: Float32Array[] = [];
      for (let call = 0; call < 4; call++) {
        const want = await eager.apply(images, { samples }).data();
        assertEquals(await step(images, samples).data(), want);
        seen.push(want as Float32Array);
      }
      await step.verified();
      assertEquals([eager.position, captured.position], [4, 4]);
      assertNotEquals(seen[0], seen[1]);
      captured.position = 1;
      assertEquals(await step(images, samples).data(), seen[1]);
      const other = compose(steps, { key: new Key(8) });
      assertNotEquals(await other.apply(images, { samples }).data(), seen[0]);
    }
  },
});

Deno.test("a quarter turn, half a turn of hue twice, and two flips are permutations", async () => {
  for (const device of devices) {
    using _ = device.scope();
    const image = uniform([2, 3, 6, 6], { key: new Key(1), device });
    for (const interpolation of ["nearest", "bilinear"] as const) {
      const quarter = compose([randomRotation({ degrees: [90, 90], interpolation })]);
      const want = await image.transpose(2, 3).flip(2).contiguous().data();
      const got = await quarter.apply(image).data();
      if (interpolation === "nearest") assertEquals(got, want);
      else assertClose(got, want, 2e-6, device.kind);
    }
    const half = colorJitter({ hue: [0.5, 0.5] });
    const hue = await compose([half, half]).apply(image).data();
    assertClose(hue, await image.data(), 2e-6, device.kind);
    const flip = randomHorizontalFlip({ p: 1 });
    assertEquals(await compose([flip, flip]).apply(image).data(), await image.data());
    const both = await compose([flip, randomVerticalFlip({ p: 1 })]).apply(image).data();
    assertEquals(both, await image.flip([2, 3]).contiguous().data());
  }
});

Deno.test("crops, flips and ops are drawn evenly, erased shares as asked", async () => {
  using _ = reference.scope();
  const count = 4000;
  const device = reference;
  const ramp = tensor(Float64Array.from({ length: 49 }, (_, i) => i + 1), { device, dtype: "f32" });
  const images = ramp.reshape([1, 1, 7, 7]).expand([count, 1, 7, 7]);
  const crop = await compose([randomCrop({ size: 4 })]).apply(images).data();
  const counts = new Map<number, number>();
  for (let n = 0; n < count; n++) {
    counts.set(crop[16 * n], (counts.get(crop[16 * n]) ?? 0) + 1);
  }
  assertEquals(counts.size, 16);
  // χ² with 15 degrees of freedom is above 37.7 once in a thousand draws.
  const expected = count / 16;
  const chi = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  assert(chi < 37.7, `crops: ${chi}`);

  const flips = await compose([randomHorizontalFlip({ p: 0.3 })], { seed: 5 }).apply(images).data();
  let flipped = 0;
  for (let n = 0; n < count; n++) if (flips[49 * n] === 7) flipped++;
  assert(Math.abs(flipped / count - 0.3) < 4 * Math.sqrt(0.21 / count), `flips: ${flipped}`);

  const size = 64;
  const blank = tensor(new Float32Array(1), { device, shape: [1, 1, 1, 1] })
    .expand([600, 1, size, size]);
  const erased = await compose([randomErasing({ p: 1, value: 1, scale: [0.1, 0.2] })])
    .apply(blank).mean([1, 2, 3]).data();
  let mean = 0;
  for (const share of erased) {
    assert(share > 0.09 && share < 0.21, `a box of ${share}`);
    mean += share / 600;
  }
  assert(Math.abs(mean - 0.15) < 4 * 0.1 / Math.sqrt(12 * 600), `erased: ${mean}`);

  const noise = await compose([randomErasing({ p: 1, value: "random", scale: [0.5, 0.5] })])
    .apply(blank).data();
  const drawn = [...noise].filter((value) => value !== 0);
  const average = drawn.reduce((a, b) => a + b) / drawn.length;
  const variance = drawn.reduce((a, b) => a + b * b) / drawn.length;
  assert(Math.abs(average) < 4 / Math.sqrt(drawn.length), `noise: ${average}`);
  assert(Math.abs(variance - 1) < 4 * Math.sqrt(2 / drawn.length), `noise: ${variance}`);
});

Deno.test("evaluation() keeps what is not random", async () => {
  using _ = reference.scope();
  const augment = compose(pipelines.standard, { seed: 1 });
  const steady = augment.evaluation();
  assertEquals([augment.isRandom, steady.isRandom, steady.steps.length], [true, false, 1]);
  const image = batchOn(reference);
  const want = await image.sub(tensor(moments.mean, { device: reference }).reshape([3, 1, 1]))
    .div(tensor(moments.std, { device: reference }).reshape([3, 1, 1])).data();
  assertClose(await steady.apply(image).data(), want, 1e-6);
  assertEquals(steady.position, 0);
  assertEquals(compose([]).apply(image), image);
});

Deno.test("AugmentPipeline survives JSON", async () => {
  for (const [name, steps] of Object.entries(pipelines)) {
    using _ = reference.scope();
    const augment = compose(steps, { seed: 3 });
    const json = JSON.parse(JSON.stringify(augment)) as AugmentPipelineJson;
    const again = AugmentPipeline.fromJSON(json);
    assertEquals(JSON.parse(JSON.stringify(again)), json, name);
    const want = await augment.apply(batchOn(reference)).data();
    assertEquals(await again.apply(batchOn(reference)).data(), want);
  }
  const made = AugmentPipeline.fromJSON({ steps: [{ name: "randAugment" }] });
  assertEquals(made.steps[0].toJSON(), randAugment().toJSON());
  const read = (json: unknown) => () => AugmentPipeline.fromJSON(json as AugmentPipelineJson);
  assertThrows(read(null), TypeError, "a list of steps");
  assertThrows(read({ steps: [], more: 1 }), TypeError, "found more");
  assertThrows(read({ steps: [1] }), TypeError, "a name as step 0");
  assertThrows(read({ steps: [{ name: "toString" }] }), TypeError, "found toString");
  assertThrows(read({ steps: [{ name: "cutout", side: 3 }] }), TypeError, "found side");
  assertThrows(read({ steps: [{ name: "cutout" }] }), RangeError, "size undefined");
  assertThrows(read({ steps: [], seed: "1" }), TypeError, "as seed");
});

Deno.test("steps refuse what they cannot do", () => {
  assertThrows(() => randomHorizontalFlip({ p: 1.5 }), RangeError, "a probability");
  assertThrows(() => randomCrop({ padding: -1 }), RangeError, "padding -1");
  assertThrows(() => randomCrop({ paddingMode: "wrap" as "edge" }), RangeError, "wrap");
  assertThrows(() => randomAffine({ scale: [2, 1] }), RangeError, "scale [2,1]");
  assertThrows(() => randomAffine({ shear: 90 }), RangeError, "shear 90");
  assertThrows(() => colorJitter({ hue: 0.6 }), RangeError, "hue 0.6");
  assertThrows(() => randomPosterize({ bits: 9 }), RangeError, "bits 9");
  assertThrows(() => randAugment({ magnitude: 31 }), RangeError, "from 0 to 30");
  assertThrows(() => randAugment({ ops: ["Shear" as "ShearX"] }), RangeError, 'op "Shear"');
  assertThrows(() => normalizeImages({ mean: 0, std: 0 }), RangeError, "std 0");
  assertThrows(() => compose([randomCrop as unknown as Augmentation]), TypeError, "function at 0");
  assertThrows(() => compose([], { seed: -1 }), RangeError, "seed -1");
  const apply = (step: Augmentation, shape: readonly [number, number, number]) => () =>
    compose([step]).outputShape(shape);
  assertThrows(apply(randomCrop({ size: 9, padding: 1 }), [3, 6, 8]), RangeError, "found 9 × 9");
  const reflect = randomCrop({ padding: 6, paddingMode: "reflect" });
  assertThrows(apply(reflect, [3, 6, 8]), RangeError, "smaller than the image");
  assertThrows(apply(colorJitter(), [2, 6, 8]), RangeError, "2 channels: expected 1 or 3");
  assertThrows(apply(randAugment(), [4, 6, 8]), RangeError, "4 channels");
  assertThrows(apply(normalizeImages(moments), [1, 6, 8]), RangeError, "found 3");
  assertThrows(apply(randomInvert(), [3, 2000, 2000]), RangeError, "at most");

  using _ = reference.scope();
  const augment = compose([randomInvert()]);
  const images = batchOn(reference);
  const samples = tensor(new Int32Array(2), { device: reference });
  assertThrows(() => augment.apply(images.reshape([COUNT, 585])), ShapeError, "[N, C, H, W]");
  assertThrows(() => augment.apply(images.to("f16")), DTypeError, "f16");
  assertThrows(() => augment.apply(images, { samples }), ShapeError, "expected [24]");
  assertThrows(() => augment.apply(images, { epoch: images }), DTypeError, "epoch of dtype f32");
  assertThrows(() => augment.apply(images, { epoch: -1 }), RangeError, "epoch");
  assertThrows(() => augment.apply(batchOn(reference, true)), AutogradError, "gradient");
  const at = { sample: 0, epoch: 0 };
  assertThrows(() => augment.applyToImage(bytes, SHAPE, at), RangeError, "expected 585 values");
  assertThrows(() => augment.position = -1, RangeError, "position");
});

Deno.test("AugmentLoader changes an image by seed, epoch and index alone", async () => {
  using _ = reference.scope();
  const dataset = digits({ split: "train", count: 20 });
  const augment = compose([
    randomAffine({ degrees: 20 }),
    normalizeImages({ mean: 0.1, std: 0.3 }),
  ]);
  const make = (batchSize: number, shuffle: boolean) =>
    new AugmentLoader(dataset, { augment, batchSize, shuffle, device: reference });
  const images = async (loader: AugmentLoader) => {
    const all: string[] = [];
    for await (const { inputs, targets } of loader) {
      const [values, labels] = [await inputs.data(), await targets.data()];
      labels.forEach((label, i) => all.push(`${label} ${values.slice(784 * i, 784 * (i + 1))}`));
    }
    return all;
  };
  const [plain, mixed] = [make(20, false), make(6, true)];
  const first = await images(plain);
  assertEquals((await images(mixed)).sort(), first.toSorted());
  const second = await images(plain);
  assertNotEquals(second, first);
  mixed.load({ epoch: 1, position: 2 });
  const rest = await images(mixed);
  assertEquals(rest.length, 8);
  assert(rest.every((image) => second.includes(image)));
});
