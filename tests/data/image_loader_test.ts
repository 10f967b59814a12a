import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  Context,
  crossEntropy,
  type Device,
  Engine,
  noGrad,
  referenceDevice,
  seedScope,
  SGD,
  zeros,
} from "../../core/mod.ts";
import {
  type ClassificationBatch,
  DataLoader,
  digits,
  ImageDataset,
  ImageLoader,
  type ImageLoaderOptions,
  ResidentDataset,
} from "../../data/mod.ts";
import { Flatten, Linear, Sequential } from "../../nn/mod.ts";
import { ownDevice } from "../core/devices.ts";
import { devices, randomValues, reference, testOnDevices } from "../util.ts";

/** On the device, and on the host with an upload for each batch. */
const placements = [{}, { residentBytes: 0 }] as const;

function colours(count: number): ImageDataset {
  return new ImageDataset({
    name: "colours",
    images: Uint8Array.from(randomValues(count * 75, 8, 0, 256)),
    labels: Uint8Array.from({ length: count }, (_, i) => (i * 3) % 7),
    shape: [3, 5, 5],
    classes: [..."abcdefg"],
    normalization: { mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4] },
  });
}

type Values = { inputs: number[]; shape: readonly number[]; targets: number[]; size: number };

/** What the batches of the next epoch hold. */
async function epoch(loader: AsyncIterable<ClassificationBatch>): Promise<Values[]> {
  const out: Values[] = [];
  for await (const { inputs, targets, size } of loader) {
    out.push({
      inputs: [...await inputs.data()],
      shape: inputs.shape,
      targets: [...await targets.data()],
      size,
    });
  }
  return out;
}

/** The image that each index has in an epoch. */
async function byIndex(loader: ImageLoader): Promise<Map<number, number[]>> {
  const images = new Map<number, number[]>();
  for await (const { inputs, indices } of loader) {
    const [values, names] = [await inputs.data(), await indices.data()];
    const size = values.length / names.length;
    names.forEach((name, i) => images.set(name, [...values.slice(i * size, (i + 1) * size)]));
  }
  return images;
}

Deno.test("ImageLoader() gives the batches of a DataLoader with the same seed", async () => {
  for (const device of devices) {
    for (const placement of placements) {
      for (const dataset of [colours(23), digits({ split: "train", count: 21 })]) {
        using _ = device.scope();
        const options = { batchSize: 8, shuffle: true, seed: 7, device };
        const plain = new DataLoader(dataset, options);
        using loader = new ImageLoader(dataset, { ...options, ...placement });
        assertEquals(loader.isResident, !("residentBytes" in placement));
        for (let index = 0; index < 2; index++) {
          assertEquals(await epoch(loader), await epoch(plain));
        }
        assertEquals(loader.state(), plain.state());
      }
    }
  }
});

Deno.test("ImageLoader() keeps the order of the data set without shuffle", async () => {
  using _ = reference.scope();
  for (const placement of placements) {
    using loader = new ImageLoader(colours(5), { batchSize: 2, device: reference, ...placement });
    const seen: number[][] = [];
    for await (const { indices } of loader) seen.push([...await indices.data()]);
    assertEquals(seen, [[0, 1], [2, 3], [4]]);
  }
});

Deno.test("ImageLoader() continues where a state says, moves included", async () => {
  using _ = reference.scope();
  for (const placement of placements) {
    const options: ImageLoaderOptions = {
      batchSize: 3,
      shuffle: true,
      seed: 3,
      augment: { cropPadding: 2, flip: 0.5 },
      device: reference,
      ...placement,
    };
    using straight = new ImageLoader(colours(10), options);
    const expected = [...await epoch(straight), ...await epoch(straight)];
    using before = new ImageLoader(colours(10), options);
    await epoch(before);
    let left = 2;
    for await (const _ of before) if (--left === 0) break;
    using after = new ImageLoader(colours(10), options);
    after.load(JSON.parse(JSON.stringify(before.state())));
    assertEquals(await epoch(after), expected.slice(6));
  }
});

Deno.test("ImageLoader() moves an image by seed, epoch and index alone", async () => {
  for (const device of devices) {
    using _ = device.scope();
    const augment = { cropPadding: 2, flip: 0.5 };
    const make = (options: ImageLoaderOptions) =>
      new ImageLoader(colours(20), { augment, seed: 9, device, ...options });
    using whole = make({ batchSize: 20 });
    using shuffled = make({ batchSize: 7, shuffle: true });
    using streamed = make({ batchSize: 6, shuffle: true, residentBytes: 0 });
    using other = make({ batchSize: 20, seed: 10 });
    for (let index = 0; index < 2; index++) {
      const want = await byIndex(whole);
      assertEquals(want.size, 20);
      assertEquals(new Map([...await byIndex(shuffled)].sort(([a], [b]) => a - b)), want);
      assertEquals(new Map([...await byIndex(streamed)].sort(([a], [b]) => a - b)), want);
      assertNotEquals(await byIndex(other), want);
    }
    whole.setEpoch(0);
    const [first, second] = [await byIndex(whole), await byIndex(whole)];
    const same = [...first].filter(([index, image]) => `${image}` === `${second.get(index)}`);
    assert(same.length < 5, `${same.length} of 20 images did not move`);
  }
});

Deno.test("ImageLoader() uploads once for each batch", async () => {
  const device = referenceDevice();
  using _ = device.scope();
  for (const placement of placements) {
    using loader = new ImageLoader(colours(9), { batchSize: 3, device, ...placement });
    const written: number[] = [];
    const { backend } = device;
    const write = backend.write;
    backend.write = (buffer, offset, dtype, data) => {
      written.push(data.length);
      write.call(backend, buffer, offset, dtype, data);
    };
    for await (const { inputs, targets } of loader) {
      await Promise.all([inputs.data(), targets.data()]);
    }
    backend.write = write;
    // Three numbers and the epoch; or number, epoch, label and 75 bytes for each
    const words = loader.isResident ? 4 : 3 * (3 + 19);
    assertEquals(written, [words, words, words]);
  }
});

Deno.test("ImageLoader() records nothing before a tensor is read", async () => {
  const device = referenceDevice();
  using _ = device.scope();
  using loader = new ImageLoader(colours(9), { batchSize: 3, device });
  for await (const batch of loader) assertEquals(batch.size, 3);
  assertEquals(device.work().dispatches, 0);
});

Deno.test("ImageLoader() keeps a data set on the device up to residentBytes", () => {
  const bytes = 9 * (19 + 1) * 4;
  const make = (residentBytes: number) =>
    new ImageLoader(colours(9), { device: reference, residentBytes });
  using fits = make(bytes);
  using tooLarge = make(bytes - 1);
  assertEquals([fits.isResident, tooLarge.isResident], [true, false]);
});

testOnDevices({
  name: "ImageLoader() uploads batches where the device has no room for the data set",
  fn: async ({ kind }) => {
    const device = await ownDevice({ kind, memoryBudget: 2 ** 16 });
    {
      using _ = device.scope();
      const dataset = colours(2000);
      using loader = new ImageLoader(dataset, { batchSize: 50, device });
      assertEquals(loader.isResident, false);
      const plain = new DataLoader(dataset, { batchSize: 50, device: reference });
      const batches = loader[Symbol.asyncIterator]();
      const want = (await plain[Symbol.asyncIterator]().next()).value!;
      const got = (await batches.next()).value!;
      assertEquals([...await got.inputs.data()], [...await want.inputs.data()]);
      await batches.return?.();
    }
    device.close();
  },
});

Deno.test("ImageLoader() shares a data set that is on the device", async () => {
  const device = referenceDevice();
  using _ = device.scope();
  const dataset = colours(10);
  using resident = new ResidentDataset(dataset, { device });
  const { liveBytes } = device.memory();
  const loaders = [0, 1].map((seed) =>
    new ImageLoader(resident, { batchSize: 4, shuffle: true, seed })
  );
  assertEquals(device.memory().liveBytes, liveBytes);
  for (const [seed, loader] of loaders.entries()) {
    const plain = new DataLoader(dataset, { batchSize: 4, shuffle: true, seed, device });
    assertEquals(await epoch(loader), await epoch(plain));
    loader.dispose();
  }
  const normalization = { mean: 0, std: 2 };
  using other = new ImageLoader(resident, { batchSize: 4, normalization });
  const plain = new DataLoader(
    new ImageDataset({ ...dataset, images: dataset.images, normalization }),
    { batchSize: 4, device },
  );
  assertEquals(await epoch(other), await epoch(plain));
});

type Make = (options: ImageLoaderOptions) => AsyncIterable<ClassificationBatch>;

/** Trains for three epochs: the losses, and the buffers in use after each epoch. */
async function train(device: Device, make: Make): Promise<{ losses: number[]; live: number[] }> {
  using _ = seedScope(1);
  const model = new Sequential(new Flatten(), new Linear(784, 10, { device }));
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  const context = new Context({ model, optimizer, lossFn: crossEntropy, device });
  const sum = zeros([], { device });
  const losses: number[] = [];
  const live: number[] = [];
  const engine = new Engine(
    (engine, { inputs, targets }: ClassificationBatch, { model, optimizer, lossFn }) => {
      const loss = lossFn(model.forward(inputs), targets);
      optimizer.zeroGrad();
      engine.backward(loss);
      optimizer.step();
      noGrad(() => sum.add_(loss.detach()));
      return { loss };
    },
    context,
  );
  engine.on("epochEnd", async () => {
    losses.push(await sum.item());
    live.push(device.memory().liveBuffers);
  });
  await engine.loop(make({ batchSize: 16, shuffle: true, seed: 2, device }), { maxEpochs: 3 });
  return { losses, live };
}

Deno.test("ImageLoader() trains as a DataLoader does, in flat memory", async () => {
  const dataset = digits({ split: "train", count: 50, seed: 4 });
  for (const { kind } of devices) {
    const open = () => ownDevice({ kind });
    // A device for each run, since what an earlier one left is collected at some time.
    const trainAlone = async (make: Make) => {
      const device = await open();
      const result = await train(device, make);
      device.close();
      return result;
    };
    const want = await trainAlone((options) => new DataLoader(dataset, options));
    for (const placement of placements) {
      const { losses, live } = await trainAlone(
        (options) => new ImageLoader(dataset, { ...options, ...placement }),
      );
      assertEquals(losses, want.losses);
      assertEquals(live[2], live[1]);
    }
  }
});

Deno.test("ImageLoader() refuses options out of range", () => {
  const make = (options: ImageLoaderOptions) => () =>
    new ImageLoader(colours(3), { device: reference, ...options });
  assertThrows(make({ residentBytes: -1 }), RangeError, "residentBytes");
  assertThrows(make({ batchSize: 0 }), RangeError, "batchSize");
  assertThrows(make({ augment: { cropPadding: 1.5 } }), RangeError, "cropPadding 1.5");
  assertThrows(make({ augment: { flip: 2 } }), RangeError, "flip 2");
  assertThrows(make({ normalization: { mean: 0, std: 0 } }), RangeError, "above 0");
  const normalization = { mean: [0, 0], std: 1 };
  assertThrows(make({ normalization }), RangeError, "mean and std are for 2");
  assertThrows(make({ normalization, residentBytes: 0 }), RangeError, "mean and std are for 2");
  assertThrows(
    () => new ImageLoader(colours(3).take(0), { device: reference }),
    RangeError,
    "make an ImageLoader as the number of images",
  );
});

Deno.test("ImageLoader() refuses a data set that is on another device", () => {
  using resident = new ResidentDataset(colours(3), { device: reference });
  assertThrows(
    () => new ImageLoader(resident, { device: referenceDevice() }),
    TypeError,
    "the data set must be on the loader's device",
  );
});
