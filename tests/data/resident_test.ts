import { assertEquals, assertThrows } from "@std/assert";
import { type Device, jit, OutOfMemoryError, type Tensor } from "../../core/mod.ts";
import {
  ArrayDataset,
  type ClassificationBatch,
  classificationCollate,
  DataLoader,
  digits,
  type ImageBatch,
  ImageDataset,
  ImageLoader,
  type LabelledItem,
  mnist,
  randomSplit,
  ResidentDataset,
} from "../../data/mod.ts";
import { MAP_TENSORS } from "../../core/leaves.ts";
import { devices, ownDevice } from "../core/devices.ts";
import { f32Devices, randomValues, reference, testOnDevices } from "../util.ts";
import { mnistFolder } from "./permissions.ts";

/** Images of several channels, each with a normalisation of its own. */
function colours(
  count: number,
  shape: readonly [number, number, number] = [3, 5, 3],
  seed = 5,
): ImageDataset {
  const size = shape[0] * shape[1] * shape[2];
  const mean = Array.from({ length: shape[0] }, (_, c) => 0.4 + c / 10);
  const std = Array.from({ length: shape[0] }, (_, c) => 0.2 + c / 10);
  return new ImageDataset({
    name: "colours",
    images: Uint8Array.from(randomValues(count * size, seed, 0, 256)),
    labels: Uint8Array.from({ length: count }, (_, i) => (i * 3) % 7),
    shape,
    classes: [..."abcdefg"],
    normalization: { mean, std },
  });
}

/** The batch that the host makes. */
function hostBatch(dataset: ImageDataset, indices: readonly number[], device: Device) {
  const collate = classificationCollate({ normalization: dataset.normalization });
  return collate(indices.map((index) => dataset.get(index)))(device);
}

async function assertSameBatch(
  got: { inputs: Tensor; targets: Tensor; size: number },
  want: { inputs: Tensor; targets: Tensor; size: number },
): Promise<void> {
  assertEquals([got.inputs.shape, got.inputs.dtype], [want.inputs.shape, want.inputs.dtype]);
  assertEquals([got.targets.shape, got.targets.dtype], [want.targets.shape, want.targets.dtype]);
  assertEquals(got.size, want.size);
  assertEquals(await got.inputs.data(), await want.inputs.data());
  assertEquals(await got.targets.data(), await want.targets.data());
}

Deno.test("batch() gives the batch that the host makes, bit for bit", async () => {
  const datasets = [
    digits({ split: "train", count: 30, seed: 2 }),
    colours(20),
    colours(20, [4, 2, 3]),
    colours(9, [1, 3, 3]),
  ];
  for (const device of devices) {
    for (const dataset of datasets) {
      using _ = device.scope();
      using resident = new ResidentDataset(dataset, { device });
      const indices = [3, 8, 0, 8, 5, 1];
      await assertSameBatch(resident.batch(indices), hostBatch(dataset, indices, device));
    }
  }
});

Deno.test("batch() normalises as the options say", async () => {
  using _ = reference.scope();
  const normalization = { mean: 0.5, std: 0.25 };
  using resident = new ResidentDataset(colours(4), { device: reference, normalization });
  const { shape, images } = colours(4);
  const size = shape[0] * shape[1] * shape[2];
  const want = Float32Array.from(
    images.subarray(2 * size, 3 * size),
    (pixel) => (pixel / 255 - 0.5) / 0.25,
  );
  assertEquals(await resident.batch([2]).inputs.data(), Float64Array.from(want));
});

Deno.test("batch() refuses indices outside of the data set", () => {
  using resident = new ResidentDataset(colours(4), { device: reference });
  for (const index of [4, -1, 1.5, NaN]) {
    assertThrows(() => resident.batch([0, index]), RangeError, `Cannot get item ${index}`);
  }
});

Deno.test("ResidentDataset() takes parts of data sets, and gives their items", async () => {
  using _ = reference.scope();
  const whole = colours(20);
  const [, part] = randomSplit(whole, [0.5, 0.5], { seed: 3 });
  using resident = new ResidentDataset(part, { device: reference });
  assertEquals([resident.length, resident.shape], [10, [3, 5, 3]]);
  assertEquals(resident.normalization, whole.normalization);
  assertEquals(resident.get(4), part.get(4));
  const collate = classificationCollate({ normalization: whole.normalization });
  const want = collate([part.get(9), part.get(4)])(reference);
  await assertSameBatch(resident.batch([9, 4]), want);
});

Deno.test("ResidentDataset() takes a byte for a pixel, and gives the memory back", () => {
  const before = reference.memory().liveBuffers;
  const resident = new ResidentDataset(colours(20, [3, 5, 3]), { device: reference });
  assertEquals(resident.bytes, 20 * (48 + 4));
  assertEquals(reference.memory().liveBuffers, before + 3);
  resident.dispose();
  assertEquals(reference.memory().liveBuffers, before);
});

Deno.test("ResidentDataset() outlives the scope in which it was made", async () => {
  const scope = reference.scope();
  using resident = new ResidentDataset(colours(4), { device: reference });
  scope.close();
  using _ = reference.scope();
  assertEquals(await resident.batch([1]).targets.data(), Int32Array.of(3));
});

Deno.test("ResidentDataset() refuses what is no image", () => {
  const make = (items: LabelledItem[]) =>
    new ResidentDataset(new ArrayDataset(items), { device: reference });
  const image = { input: new Uint8Array(4), shape: [1, 2, 2], label: 0, classCount: 2 };
  assertThrows(() => make([]), RangeError, "the number of images must be a whole number");
  const features = { ...image, input: new Float32Array(4) };
  assertThrows(() => make([features]), TypeError, "got Float32Array of shape [1, 2, 2]");
  assertThrows(() => make([image, features]), TypeError, "every item must hold bytes");
  assertThrows(() => make([{ ...image, shape: [4] }]), TypeError, "got Uint8Array of shape [4]");
  assertThrows(() => make([image, { ...image, shape: [2, 1, 2] }]), RangeError, "[1, 2, 2]");
  assertThrows(() => make([image, { ...image, label: 2 }]), RangeError, "from 0 to 1: got 2");
  const normalization = { mean: [0, 0, 0], std: 1 };
  assertThrows(
    () => new ResidentDataset(new ArrayDataset([image]), { device: reference, normalization }),
    RangeError,
    "mean and std are for 3",
  );
});

testOnDevices({
  name: "ResidentDataset() leaves nothing behind where the device is too small",
  fn: async ({ kind }) => {
    const device = await ownDevice({ kind, memoryBudget: 2 ** 16 });
    const before = device.memory().liveBytes;
    assertThrows(() => new ResidentDataset(colours(2000), { device }), OutOfMemoryError);
    assertEquals(device.memory().liveBytes, before);
    device.close();
  },
});

Deno.test("ImageBatch() records nothing before a tensor is read, and each once", () => {
  using _ = reference.scope();
  using resident = new ResidentDataset(colours(4), { device: reference });
  const start = reference.work().dispatches;
  const done = () => reference.work().dispatches - start;
  const batch = resident.batch([2, 0]);
  assertEquals([batch.size, done()], [2, 0]);
  const { inputs } = batch;
  assertEquals(done(), 1);
  assertEquals([batch.inputs === inputs, done()], [true, 1]);
  const { targets } = batch;
  assertEquals([batch.targets === targets, done()], [true, 2]);
});

Deno.test("ImageBatch() makes tensors again that a scope has released", async () => {
  using _ = reference.scope();
  using resident = new ResidentDataset(colours(4), { device: reference });
  const batch = resident.batch([2, 0]);
  const inner = reference.scope();
  const [first, labels] = [await batch.inputs.data(), await batch.targets.data()];
  inner.close();
  assertEquals(await batch.inputs.data(), first);
  assertEquals(await batch.targets.data(), labels);
});

Deno.test("ImageBatch() names its examples", async () => {
  using _ = reference.scope();
  using resident = new ResidentDataset(colours(4), { device: reference });
  const { indices } = resident.batch([2, 0, 3]);
  assertEquals(await indices.data(), Uint32Array.of(2, 0, 3));
});

Deno.test("ImageBatch() can be had with other tensors, for captured steps", async () => {
  for (const device of devices) {
    using _ = device.scope();
    using first = new ResidentDataset(colours(9), { device });
    using second = new ResidentDataset(colours(9, [3, 5, 3], 6), { device });
    const [one, other] = [first.batch([1, 2, 3]), second.batch([8, 7, 1])];
    await one.inputs.data();
    const tensors: Tensor[] = [];
    other[MAP_TENSORS]((t) => (tensors.push(t), t));
    const copy = one[MAP_TENSORS](() => tensors.shift()!);
    assertEquals(copy.size, 3);
    await assertSameBatch(copy, other);
  }
});

/** Sums of both tensors of every batch, as a captured function gives them and as the host does. */
async function compareCaptured(
  loader: ImageLoader,
  plain: DataLoader,
  captured: (batch: ClassificationBatch) => { inputs: Tensor; targets: Tensor },
): Promise<void> {
  const batches = plain[Symbol.asyncIterator]();
  for await (const batch of loader) {
    const want = (await batches.next()).value;
    const got = captured(batch);
    assertEquals(await got.inputs.data(), await want.inputs.data());
    assertEquals(await got.targets.data(), await want.targets.data());
  }
  await batches.next();
}

Deno.test("ImageBatch() makes its tensors inside of captured steps", async () => {
  for (const device of devices) {
    using _ = device.scope();
    const datasets = [colours(10), colours(10, [3, 5, 3], 6), colours(10, [3, 3, 5])];
    const captured = jit(({ inputs, targets }: ClassificationBatch) => ({
      inputs: inputs.neg().neg(),
      targets: targets.add(1).sub(1),
    }));
    for (const residentBytes of [2 ** 28, 0]) {
      for (const dataset of datasets) {
        const options = { batchSize: 4, shuffle: true, device };
        using loader = new ImageLoader(dataset, { ...options, residentBytes });
        const plain = new DataLoader(dataset, options);
        for (let epoch = 0; epoch < 2; epoch++) await compareCaptured(loader, plain, captured);
      }
    }
    // Two sizes of a batch, two shapes of an image, two places: the third data set needs its own
    assertEquals(captured.stats().captures, 8);
    captured.reset();
  }
});

Deno.test("ImageBatch() moves images inside of captured steps as outside", async () => {
  for (const device of devices) {
    using _ = device.scope();
    const captured = jit((batch: ImageBatch) => batch.inputs.mul(1));
    for (const residentBytes of [2 ** 28, 0]) {
      for (const augment of [{ cropPadding: 2 }, { flip: 0.5 }, { cropPadding: 1, flip: 1 }, {}]) {
        for (const seed of [1, 2]) {
          const options = { batchSize: 4, shuffle: true, device, residentBytes, augment, seed };
          using loader = new ImageLoader(colours(8), options);
          for (let epoch = 0; epoch < 2; epoch++) {
            for await (const batch of loader) {
              assertEquals(await captured(batch).data(), await batch.inputs.data());
            }
          }
        }
      }
    }
    // With and without moves, in two places
    assertEquals(captured.stats().captures, 4);
    captured.reset();
  }
});

Deno.test({
  name: "batch() gives the real MNIST images as the host does",
  ignore: mnistFolder === undefined,
  fn: async () => {
    const dataset = await mnist({ split: "test", dataDir: mnistFolder, limit: 500 });
    for (const device of f32Devices) {
      using _ = device.scope();
      using resident = new ResidentDataset(dataset, { device });
      const indices = Array.from({ length: 500 }, (_, i) => (i * 7) % 500);
      await assertSameBatch(resident.batch(indices), hostBatch(dataset, indices, device));
    }
  },
});
