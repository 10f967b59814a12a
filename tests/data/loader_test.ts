import { assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { referenceDevice } from "../../core/mod.ts";
import {
  ArrayDataset,
  autoencoderCollate,
  CsvDataset,
  DataLoader,
  type DataLoaderOptions,
  type Dataset,
  digits,
  order,
  randomSplit,
  Subset,
} from "../../data/mod.ts";

/** A loader of the numbers 0 to count - 1, whose batches are plain arrays. */
function numbers(
  count: number,
  options: Omit<DataLoaderOptions<number, number[]>, "collate"> = {},
): DataLoader<number, number[]> {
  const dataset = new ArrayDataset(Array.from({ length: count }, (_, i) => i));
  return new DataLoader(dataset, { ...options, collate: (items) => () => [...items] });
}

async function epoch<Batch>(loader: AsyncIterable<Batch>): Promise<Batch[]> {
  return await Array.fromAsync(loader);
}

/** Lets timers fire that are due now. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("DataLoader() yields the items in order, the last batch smaller", async () => {
  const loader = numbers(7, { batchSize: 3 });
  assertEquals([loader.length, loader.sampleCount], [3, 7]);
  assertEquals(await epoch(loader), [[0, 1, 2], [3, 4, 5], [6]]);
});

Deno.test("DataLoader() leaves the last batch out with dropLast, unless it is full", async () => {
  const loader = numbers(7, { batchSize: 3, dropLast: true });
  assertEquals([loader.length, loader.sampleCount], [2, 6]);
  assertEquals(await epoch(loader), [[0, 1, 2], [3, 4, 5]]);
  assertEquals((await epoch(numbers(6, { batchSize: 3, dropLast: true }))).length, 2);
  assertEquals(await epoch(numbers(2, { batchSize: 3, dropLast: true })), []);
});

Deno.test("DataLoader() has batches of one by default, and none without items", async () => {
  assertEquals(await epoch(numbers(2)), [[0], [1]]);
  const empty = numbers(0, { shuffle: true });
  assertEquals([empty.length, await epoch(empty), empty.state().epoch], [0, [], 1]);
});

Deno.test("DataLoader() yields every index once per epoch, in order(seed, epoch)", async () => {
  const loader = numbers(50, { batchSize: 8, shuffle: true, seed: 6 });
  for (let index = 0; index < 3; index++) {
    assertEquals((await epoch(loader)).flat(), [...order(6, index, 50)]);
  }
});

Deno.test("DataLoader() moves on to the next epoch after a complete iteration only", async () => {
  const loader = numbers(4, { batchSize: 2, shuffle: true });
  const first = (await epoch(loader)).flat();
  loader.setEpoch(0);
  for await (const _ of loader) break;
  assertEquals((await epoch(loader)).flat(), first);
  assertEquals(loader.state().epoch, 1);
});

Deno.test("DataLoader() counts an epoch whose last batch was handed out as complete", async () => {
  const loader = numbers(4, { batchSize: 2 });
  let seen = 0;
  for await (const _ of loader) if (++seen === 2) break;
  assertEquals([loader.state().epoch, loader.state().position], [1, 0]);
});

Deno.test("setEpoch() starts any epoch", async () => {
  const loader = numbers(20, { batchSize: 5, shuffle: true, seed: 1 });
  loader.setEpoch(7);
  assertEquals((await epoch(loader)).flat(), [...order(1, 7, 20)]);
  assertThrows(() => loader.setEpoch(-1), RangeError, "epoch must be a whole number");
});

Deno.test("state() counts what was handed out, whatever was prepared", async () => {
  const loader = numbers(10, { batchSize: 2, prefetch: 4 });
  const positions: number[] = [loader.state().position];
  for await (const _ of loader) {
    await turn();
    positions.push(loader.state().position);
  }
  assertEquals(positions, [0, 1, 2, 3, 4, 5]);
  assertEquals(loader.state(), { epoch: 1, position: 0, seed: 0, batchSize: 2, count: 10 });
});

Deno.test("load() continues at every position with what would have come", async () => {
  const options = { batchSize: 3, shuffle: true, seed: 3 };
  const straight = numbers(10, options);
  const expected = [...await epoch(straight), ...await epoch(straight), ...await epoch(straight)];
  for (let stop = 0; stop <= 2 * straight.length; stop++) {
    const before = numbers(10, options);
    const seen: number[][] = [];
    while (seen.length < stop) {
      for await (const batch of before) {
        seen.push(batch);
        if (seen.length === stop) break;
      }
    }
    const after = numbers(10, options);
    after.load(JSON.parse(JSON.stringify(before.state())));
    while (seen.length < expected.length) seen.push(...await epoch(after));
    assertEquals(seen, expected, `stopped after ${stop} batches`);
  }
});

Deno.test("load() at the end of an epoch yields nothing more of it", async () => {
  const loader = numbers(4, { batchSize: 2 });
  loader.load({ epoch: 2, position: 2 });
  assertEquals([await epoch(loader), loader.state().epoch], [[], 3]);
});

Deno.test("load() during an iteration counts for the next one", async () => {
  const loader = numbers(6, { batchSize: 2 });
  const seen: number[][] = [];
  for await (const batch of loader) {
    if (seen.length === 0) loader.load({ epoch: 5, position: 1 });
    seen.push(batch);
  }
  assertEquals(seen.length, 3);
  assertEquals([loader.state().epoch, loader.state().position], [5, 1]);
  assertEquals(await epoch(loader), [[2, 3], [4, 5]]);
});

Deno.test("load() rejects states of another loader", () => {
  const loader = numbers(10, { batchSize: 2, seed: 1 });
  const state = loader.state();
  const wrong: [Partial<typeof state>, string][] = [
    [{ seed: 2 }, "seed must be 1: got 2"],
    [{ batchSize: 5 }, "batchSize must be 2: got 5"],
    [{ count: 11 }, "count must be 10: got 11"],
    [{ position: 6 }, "position must be a whole number from 0 to 5: got 6"],
    [{ position: 0.5 }, "position"],
    [{ epoch: -1 }, "epoch"],
  ];
  for (const [part, text] of wrong) {
    assertThrows(() => loader.load({ ...state, ...part }), RangeError, text);
  }
  assertEquals(loader.state(), state);
});

Deno.test("DataLoader() rejects options out of range", () => {
  for (const batchSize of [0, -1, 2.5, NaN]) {
    assertThrows(
      () => numbers(4, { batchSize }),
      RangeError,
      `make a DataLoader as batchSize must be a whole number of at least 1: got ${batchSize}`,
    );
  }
  assertThrows(() => numbers(4, { seed: -1 }), RangeError, "seed");
  assertThrows(() => numbers(4, { prefetch: -1 }), RangeError, "prefetch");
});

Deno.test("DataLoader() asks for collate when items are not labelled", () => {
  assertThrows(() => new DataLoader(new ArrayDataset([1, 2])), TypeError, "pass collate");
});

/** A data set that says which items were asked for, and fails at one of them. */
function watched(count: number, failAt = -1): Dataset<number> & { asked: number[] } {
  const asked: number[] = [];
  return {
    asked,
    length: count,
    get(index): number {
      if (index === failAt) throw new Error(`item ${index} is broken`);
      asked.push(index);
      return index;
    },
  };
}

const plain = (items: readonly number[]) => () => [...items];

Deno.test("DataLoader() prepares batches ahead while the program waits", async () => {
  const dataset = watched(10);
  const loader = new DataLoader(dataset, { prefetch: 3, collate: plain });
  const iterator = loader[Symbol.asyncIterator]();
  await iterator.next();
  assertEquals(dataset.asked, [0]);
  for (let i = 0; i < 10; i++) await turn();
  assertEquals(dataset.asked, [0, 1, 2, 3]);
  assertEquals((await iterator.next()).value, [1]);
  for (let i = 0; i < 10; i++) await turn();
  assertEquals(dataset.asked, [0, 1, 2, 3, 4]);
  await iterator.return?.();
  for (let i = 0; i < 3; i++) await turn();
  assertEquals(dataset.asked.length, 5);
});

Deno.test("DataLoader() yields the same with any prefetch", async () => {
  const expected = await epoch(numbers(20, { batchSize: 3, shuffle: true, prefetch: 0 }));
  for (const prefetch of [0, 1, 5, 100]) {
    const seen: number[][] = [];
    for await (const batch of numbers(20, { batchSize: 3, shuffle: true, prefetch })) {
      if (seen.length % 2 === 0) await turn();
      seen.push(batch);
    }
    assertEquals(seen, expected);
  }
});

Deno.test("DataLoader() prepares nothing ahead with prefetch 0", async () => {
  const dataset = watched(4);
  const loader = new DataLoader(dataset, { prefetch: 0, collate: plain });
  for await (const [index] of loader) {
    await turn();
    assertEquals(dataset.asked.length, index + 1);
  }
});

Deno.test("DataLoader() throws an item's error where its batch is asked for", async () => {
  for (const prefetch of [0, 3]) {
    const loader = new DataLoader(watched(6, 4), { batchSize: 2, prefetch, collate: plain });
    const seen: number[][] = [];
    const error = await assertRejects(async () => {
      for await (const batch of loader) {
        seen.push(batch);
        for (let i = 0; i < 4; i++) await turn();
      }
    }, Error);
    assertEquals([error.message, seen], ["item 4 is broken", [[0, 1], [2, 3]]]);
    assertEquals(loader.state().position, 2);
  }
});

/** What normalisation makes of one image. */
function normalised(pixels: Uint8Array, mean: number, std: number): Float32Array {
  return Float32Array.from(pixels, (pixel) => (pixel / 255 - mean) / std);
}

Deno.test("DataLoader() makes classification batches of normalised images", async () => {
  const dataset = digits({ split: "train", count: 12, seed: 5 });
  const options = { batchSize: 5, shuffle: true, seed: 9, device: referenceDevice() };
  const indices = order(9, 0, 12);
  let at = 0;
  for await (const batch of new DataLoader(dataset, options)) {
    assertEquals(batch.inputs.shape, [batch.size, 1, 28, 28]);
    const labels = await batch.targets.data();
    const values = Float32Array.from(await batch.inputs.data());
    for (let i = 0; i < batch.size; i++, at++) {
      assertEquals(labels[i], indices[at] % 10);
      const image = dataset.images.subarray(indices[at] * 784, (indices[at] + 1) * 784);
      assertEquals(values.subarray(i * 784, (i + 1) * 784), normalised(image, 0.11, 0.25));
    }
  }
  assertEquals(at, 12);
});

Deno.test("DataLoader() normalises a part as the whole data set", async () => {
  const dataset = digits({ split: "train", count: 4 });
  const part = new Subset(new Subset(dataset, [3, 1]), [1]);
  for await (const { inputs } of new DataLoader(part, { device: referenceDevice() })) {
    const values = Float32Array.from(await inputs.data());
    assertEquals(values, normalised(dataset.images.subarray(784, 1568), 0.11, 0.25));
  }
});

Deno.test("DataLoader() makes batches of features, and of a part of a data set", async () => {
  const text = "a,b,y\n1,2,x\n3,4,z\n5,6,x\n7,8,z\n";
  const dataset = CsvDataset.fromText(text, { target: "y" });
  const [part] = randomSplit(dataset, [0.75, 0.25], { seed: 1 });
  const rows = new Map([[1, 0], [3, 1], [5, 0], [7, 1]]);
  for await (
    const { inputs, targets } of new DataLoader(part, { batchSize: 3, device: referenceDevice() })
  ) {
    const values = await inputs.array() as number[][];
    const labels = await targets.array() as number[];
    assertEquals(values.length, 3);
    values.forEach(([a, b], i) => assertEquals([b, labels[i]], [a + 1, rows.get(a)]));
  }
});

Deno.test("DataLoader() makes autoencoder batches", async () => {
  const dataset = digits({ split: "train", count: 4 });
  const loader = new DataLoader(dataset, {
    batchSize: 4,
    collate: autoencoderCollate(),
    device: referenceDevice(),
  });
  for await (const { inputs, targets } of loader) {
    assertEquals(inputs === targets, true);
    assertEquals(Math.fround((await inputs.data())[400]), Math.fround(dataset.images[400] / 255));
  }
});

Deno.test("DataLoader() makes tensors that belong to the open step scope", async () => {
  const device = referenceDevice();
  const loader = new DataLoader(digits({ split: "train", count: 8 }), { batchSize: 2, device });
  const counts: number[] = [];
  const iterator = loader[Symbol.asyncIterator]();
  for (let step = 0; step < 4; step++) {
    const scope = device.scope();
    await iterator.next();
    scope.close();
    counts.push(device.memory().liveBuffers);
  }
  assertEquals(counts, new Array(4).fill(counts[0]));
  assertNotEquals(loader.state().position, 0);
});
